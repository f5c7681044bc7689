"""Nuisance parameters in scores: kept, projected, profiled; and estimators over (theta, nu) asked about theta alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gaussian_nuisances import (
    FEATURES,
    INFORMATION,
    LATENT_INFORMATION,
    NUISANCES,
    PARAMETERS,
    exact_score,
    nuisance_samples,
    profiled,
)
from mixed_store import mixed_store

import columnminer as cm
from columnminer.errors import CheckWarning, InputError, MissingError
from columnminer.infer.summary import Summary
from columnminer.learn.checks import check_score
from columnminer.learn.estimators import (
    DensityEstimator,
    DoubleRatioEstimator,
    Ensemble,
    RatioEstimator,
    ScoreEstimator,
)
from columnminer.learn.information import Information, profiling
from columnminer.model.priors import flat_prior, gaussian_prior
from columnminer.sample.samples import Samples
from columnminer.sample.sampling import sample_density, sample_double_ratio, sample_local, sample_ratio

pytestmark = pytest.mark.filterwarnings("ignore:negative weights", "ignore:.*fewer than 100 effective")

TRAINING = {"epochs": 12, "batch_size": 256, "learning_rate": 0.01, "seed": 3}
FEW = {"epochs": 2, "batch_size": 64, "seed": 1}
N = 20_000


@pytest.fixture(scope="module")
def samples():
    return nuisance_samples(N)


@pytest.fixture(scope="module")
def estimator(samples):
    return ScoreEstimator((20,)).fit(samples, **TRAINING)


@pytest.fixture(scope="module")
def x():
    """Events of another draw."""
    return nuisance_samples(N, seed=1).x


def correlations(t, other):
    return np.array([np.corrcoef(column, other)[0, 1] for column in t.T])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return mixed_store(tmp_path_factory.mktemp("stores") / "mixed.zarr")


# The toy -----------------------------------------------------------------------------------------------------------


def test_the_profiled_score_is_not_correlated_with_that_of_nuisances(estimator, x):
    t = estimator.score(x)
    assert np.sqrt(np.mean((t - exact_score(x)) ** 2, axis=0)).max() < 0.12  # it has learned something
    found = correlations(estimator.score(x, nuisances="profile"), t[:, 2])
    assert np.abs(found).max() < 4.0 / np.sqrt(N)
    # Negative controls: the components alone, and what the information of latent variables would give.
    assert np.abs(correlations(estimator.score(x, nuisances="project"), t[:, 2])).min() > 0.1
    of_latent = t @ profiling(LATENT_INFORMATION, [0, 1]).T
    assert np.abs(correlations(of_latent, t[:, 2])).max() > 20.0 / np.sqrt(N)


def test_the_information_of_the_profiled_score_is_the_profiled_information(estimator, x):
    reduced = estimator.without_nuisances("profile")
    found = cm.fisher_information(reduced, x)
    np.testing.assert_allclose(found.information, profiled(INFORMATION), rtol=0.06, atol=0.01)
    held = cm.fisher_information(estimator.without_nuisances("project"), x)
    np.testing.assert_allclose(held.information, INFORMATION[:2, :2], rtol=0.06, atol=0.01)
    assert np.linalg.eigvalsh(held.information - found.information).max() > 0.2  # profiling costs


def test_on_the_training_events_it_is_exact_but_for_rounding(estimator, samples):
    t = estimator.score(samples.x)
    np.testing.assert_allclose(estimator.score(samples.x, nuisances="profile").T @ t[:, 2] / N, 0.0, atol=1e-8)
    known = np.array(estimator.fitted.training["information"])
    np.testing.assert_allclose(known[:3, :3], t[:, :3].T @ t[:, :3] / N, rtol=1e-6)


def test_a_nuisance_that_does_nothing_is_left_alone(estimator, x):
    """The network gives noise for it, which profiling must not amplify."""
    known = np.array(estimator.fitted.training["information"])
    np.testing.assert_array_equal(known[3], 0.0)
    np.testing.assert_array_equal(known[:, 3], 0.0)
    assert np.abs(estimator.score(x)[:, 3]).max() > 0.0
    np.testing.assert_array_equal(profiling(known, [0, 1])[:, 3], 0.0)


def test_weights_of_events_count(samples):
    """Half of the events twice, the others not at all: the information is that of the half."""
    weights = np.where(np.arange(N) < N // 2, 2.0, 0.0)
    weighted = ScoreEstimator((5,)).fit(dataclasses.replace(samples, weights=weights), **(TRAINING | {"epochs": 1}))
    t = weighted.score(samples.x)[: N // 2, :3]
    known = np.array(weighted.fitted.training["information"])[:3, :3]
    np.testing.assert_allclose(known, t.T @ t / (N // 2), rtol=1e-6)


def test_profiling_is_that_of_an_information_matrix():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 5))
    information = a @ a.T
    keep = [3, 0]
    matrix = profiling(information, keep)
    reduced = matrix @ information @ matrix.T
    np.testing.assert_allclose(np.linalg.inv(reduced), np.linalg.inv(information)[np.ix_(keep, keep)])
    np.testing.assert_allclose((matrix @ information)[:, [1, 2, 4]], 0.0, atol=1e-12)
    # Units of the others do not matter, and two that do the same are as good as one.
    unit = np.diag([1.0, 1e-9, 1e6, 1.0, 1.0])
    other = profiling(unit @ information @ unit, keep)
    np.testing.assert_allclose(other @ unit, matrix, rtol=1e-6)
    twice = np.vstack([np.eye(5), np.eye(5)[4]])
    double = profiling(twice @ information @ twice.T, keep)
    np.testing.assert_allclose(double @ twice, matrix, rtol=1e-6)


def test_an_estimator_of_what_is_left(estimator, x, tmp_path):
    """Everything that takes an estimator takes it: here saved, as a module, and as axes of a histogram."""
    for how in ("profile", "project"):
        reduced = estimator.without_nuisances(how)
        assert reduced.parameter_names == ("cg", "cu")
        assert reduced.nuisance_names == ()
        assert reduced.reference.shape == (2,)
        expected = estimator.score(x, nuisances=how)
        np.testing.assert_allclose(reduced.score(x), expected, atol=1e-5)
        reduced.save(tmp_path / how)
        again = cm.load_estimator(tmp_path / how)
        np.testing.assert_array_equal(again.score(x), reduced.score(x))
        assert again.fitted.training["nuisances"] == how
        summary = Summary(again, FEATURES)
        assert summary.names == ("score(cg)", "score(cu)")
        np.testing.assert_array_equal(summary(x[:5], FEATURES), again.score(x[:5]))
        np.testing.assert_allclose(again.module()(torch.from_numpy(x[:5])).numpy(), expected[:5], atol=1e-5)
    estimator.save(tmp_path / "whole")
    again = cm.load_estimator(tmp_path / "whole")
    assert again.nuisance_names == NUISANCES
    np.testing.assert_array_equal(again.score(x, nuisances="profile"), estimator.score(x, nuisances="profile"))
    assert estimator.score(x).shape == (N, 4)  # the network itself was left alone


def test_another_information_to_profile_with(estimator, x):
    """With infinitely strong constraints nothing is left to profile; without any, it is the profile of the features."""
    known = np.array(estimator.fitted.training["information"])
    for strength, how in ((1e12, "project"), (0.0, "profile")):
        total = known + np.diag([0.0, 0.0, strength, strength])
        given = Information(total, np.zeros((4,) * 4), PARAMETERS)
        found = estimator.without_nuisances("profile", given).score(x)
        np.testing.assert_allclose(found, estimator.score(x, nuisances=how), atol=1e-5)
    with pytest.raises(InputError, match="information is about cu, cg"):
        estimator.without_nuisances(information=Information(np.eye(2), np.zeros((2,) * 4), ("cu", "cg")))
    with pytest.raises(InputError, match="'profile', not 'project'"):
        estimator.without_nuisances("project", given)


def test_an_ensemble_is_the_mean_of_profiled_members(samples, x):
    ensemble = Ensemble([ScoreEstimator((8,)) for _ in range(3)], votes=[1.0, 2.0, 1.0])
    ensemble.fit(samples, **(TRAINING | {"epochs": 2}))
    assert ensemble.nuisance_names == NUISANCES
    each = [member.score(x, nuisances="profile") for member in ensemble.members]
    assert len({str(member.fitted.training["information"]) for member in ensemble.members}) == 3
    expected = np.average(each, axis=0, weights=[1.0, 2.0, 1.0])
    np.testing.assert_allclose(ensemble.score(x, nuisances="profile"), expected)
    assert ensemble.score_covariance(x, nuisances="profile").shape == (N, 2, 2)
    reduced = ensemble.without_nuisances()
    assert reduced.parameter_names == ("cg", "cu")
    np.testing.assert_allclose(reduced.score(x), expected, atol=1e-5)


def test_what_cannot_be_asked(estimator, samples, x):
    with pytest.raises(InputError, match="'profile' or 'project', not 'fit'"):
        estimator.score(x, nuisances="fit")
    known = dataclasses.replace(samples, nuisance_names=())
    plain = ScoreEstimator((5,)).fit(known, **(TRAINING | {"epochs": 1}))
    assert "information" not in plain.fitted.training
    with pytest.raises(MissingError, match="knows no nuisance parameters among cg, cu, nu, norm"):
        plain.score(x, nuisances="profile")
    with pytest.raises(MissingError, match="RatioEstimator has no score without nuisances"):
        RatioEstimator((5,)).without_nuisances()
    with pytest.raises(InputError, match="check it before without_nuisances"):
        check_score(estimator.without_nuisances(), dataclasses.replace(samples, partition="validation"))
    with pytest.raises(InputError, match="nuisances mu are not all among the parameters cg"):
        dataclasses.replace(samples, nuisance_names=("mu",))


# Samples of a store --------------------------------------------------------------------------------------------------


def test_samples_say_which_parameters_are_nuisances(store, tmp_path):
    shown = Samples.of(sample_local(store, "sm", 50, out=tmp_path / "shown.zarr"))
    assert shown.nuisance_names == shown.take(slice(3)).nuisance_names == ("rate", "shape")
    stored = cm.SampleStore(tmp_path / "shown.zarr")
    assert Samples.of(stored).nuisance_names == ("rate", "shape")
    assert sample_local(store, "sm", 50, nuisance_score=False).nuisance_names == ()
    del stored.attributes["nuisance_names"]  # written before there was such a thing
    assert Samples.of(stored).nuisance_names == ()


def test_a_score_from_a_store_on_disk(store, tmp_path):
    """Streamed samples give the information that those in memory give, and a common rate has none."""
    samples = Samples.of(sample_local(store, "sm", 2000, negative_weights="keep", out=tmp_path / "local.zarr"))
    estimator = ScoreEstimator((8,)).fit(cm.SampleStore(tmp_path / "local.zarr"), **FEW)
    known = np.array(estimator.fitted.training["information"])
    t = estimator.score(samples.x)[:, [0, 2]]
    expected = (samples.weights[:, None] * t).T @ t / samples.weights.sum()
    np.testing.assert_allclose(known[np.ix_([0, 2], [0, 2])], expected, rtol=1e-5)
    np.testing.assert_array_equal(known[1], 0.0)
    profiled_t = estimator.score(samples.x, nuisances="profile")
    assert profiled_t.shape == (2000, 1)
    weighted = samples.weights * profiled_t[:, 0]
    assert abs(weighted @ t[:, 1]) < 1e-4 * np.abs(weighted * t[:, 1]).sum()
    reduced = estimator.without_nuisances()
    reduced.check_store(store, "test")
    with pytest.raises(InputError, match="trained on partition 'train'"):
        reduced.check_store(store, "train")
    with pytest.warns(CheckWarning, match="never checked"):
        found = cm.FisherInformation(store, 10.0).detector("sm", reduced, include_rate=False)
    assert found.parameter_names == ("c",)
    blocks = list(store.blocks("test"))
    expected = sum(b.weights("sm")[0] @ estimator.score(b.x, nuisances="profile")[:, 0] ** 2 for b in blocks)
    assert found.information[0, 0] == pytest.approx(10.0 * expected, rel=1e-5)


# Points in theta alone -----------------------------------------------------------------------------------------------


def test_points_in_theta_alone_are_at_nominal_nuisances(store, tmp_path):
    prior, nu = flat_prior([(-1.0, 1.0)]), gaussian_prior([0.0, 0.0], [1.0, 1.0])
    options = {"nu0": nu, "n_theta": 50, "negative_weights": "clip"}
    ratio = sample_ratio(store, prior, "sm", 2000, **options)
    double = sample_double_ratio(store, prior, prior, 2000, **options, nu1=nu)
    assert ratio.nuisance_names == double.nuisance_names == ("rate", "shape")
    single = RatioEstimator((8,)).fit(ratio, **FEW)
    single.save(tmp_path / "ratio")
    both = DoubleRatioEstimator((8,)).fit(double, **FEW)
    x, theta, whole = ratio.x[:30], np.linspace(-0.5, 0.5, 30)[:, None], np.zeros((30, 3))
    whole[:, :1] = theta
    for estimator in (single, cm.load_estimator(tmp_path / "ratio"), Ensemble([single, single])):
        for pairing in ("pairs", "grid"):
            for what in (estimator.log_ratio, estimator.score):
                np.testing.assert_array_equal(what(x, theta, pairing=pairing), what(x, whole, pairing=pairing))
    assert single.score(x, theta).shape == (30, 3)  # slopes along nuisance parameters, too
    assert (single.log_ratio(x, theta) != single.log_ratio(x, whole + np.array([0.0, 0.0, 1.0]))).any()
    np.testing.assert_array_equal(both.log_ratio(x, theta, [0.0]), both.log_ratio(x, whole, [0.0, 0.0, 0.0]))
    with pytest.raises(InputError, match=r"3 columns \(c, rate, shape; without rate, shape, they are at 0\)"):
        single.log_ratio(x, [0.1, 0.2])


def test_densities_over_nuisances_too(samples, x):
    """There is no sampler that gives them yet: the points are put together by hand."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 4)) * [0.1, 0.1, 0.1, 0.1]
    given = dataclasses.replace(samples.take(slice(2000)), theta0=points)
    density = DensityEstimator((8,), n_transforms=1).fit(given, "nde", **FEW)
    some, theta = x[:10], [0.1, -0.1]
    np.testing.assert_array_equal(density.log_density(some, theta), density.log_density(some, [*theta, 0.0, 0.0]))
    np.testing.assert_array_equal(density.ratio_to([0.0, 0.0]).reference, np.zeros(4))
    with pytest.raises(InputError, match="theta1 is one point"):
        density.ratio_to([0.0, 0.0, 0.0])


def test_without_nuisances_the_number_of_columns_is_strict(store):
    """Negative control: an estimator of theta alone takes nothing but theta."""
    samples = sample_density(store, flat_prior([(-1.0, 1.0)]), 300, n_theta=20)
    assert samples.nuisance_names == ()
    density = DensityEstimator((8,), n_transforms=1).fit(samples, "nde", **FEW)
    for wrong in ([0.1, 0.0, 0.0], []):
        with pytest.raises(InputError, match=r"theta needs 1 columns \(c\), but has"):
            density.log_density(samples.x[:3], wrong)
