"""Density estimators against the exact density of a toy with a latent variable, and what follows from a density."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from analytic_store import ExactRatio, analytic_store, density, score

from columnminer import DrellYan, FisherInformation, expected_limits, flat_prior, sample_density, sample_ratio
from columnminer.errors import FileFormatError, InputError, MissingError, UnknownNameError
from columnminer.infer.estimates import RatioLike, gives_ratio
from columnminer.infer.neural import NeuralLikelihood
from columnminer.learn.checks import check, check_ratio
from columnminer.learn.densities import DensityEstimator
from columnminer.learn.estimators import RatioEstimator, load_estimator
from columnminer.learn.losses import negative_log_likelihood, score_error
from columnminer.sample.samples import Samples

FEATURES = ("far", "wide")
FAST = {"epochs": 3, "batch_size": 512, "seed": 1}


def toy(n, seed=0):
    """z ~ N(theta, 1), far = 5 + 2 N(z, 1) and wide ~ N(far / 4, exp(0.3 theta)), with the joint score given z."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-1.5, 1.5, n)
    z = rng.normal(theta)
    far = 5.0 + 2.0 * rng.normal(z)
    pull = rng.normal(size=n)
    wide = far / 4.0 + np.exp(0.3 * theta) * pull
    return Samples(
        x=np.stack([far, wide], axis=1),
        theta0=theta[:, None],
        t_xz=(z - theta + 0.3 * (pull**2 - 1.0))[:, None],
        feature_names=FEATURES,
        parameter_names=("mean",),
        store_hash="toy",
        partition="train",
    )


def exact(x, theta):
    """log p(x | theta) and its derivative: far is N(5 + 2 theta, 2 sqrt 2)."""
    u, width = (x[:, 0] - 5.0) / 2.0, np.exp(0.3 * theta)
    pull = (x[:, 1] - x[:, 0] / 4.0) / width
    far = -((u - theta) ** 2) / 4.0 - np.log(2.0 * np.sqrt(4.0 * np.pi))
    wide = -(pull**2) / 2.0 - np.log(width * np.sqrt(2.0 * np.pi))
    return far + wide, (u - theta) / 2.0 + 0.3 * (pull**2 - 1.0)


def rms(a):
    return float(np.sqrt(np.mean(np.square(a))))


def errors(estimator):
    """RMS of log density, log ratio to 0, and score against the exact ones."""
    test = toy(4000, seed=9)
    log_p, t = exact(test.x, test.theta0[:, 0])
    log_r = log_p - exact(test.x, 0.0)[0]
    return np.array(
        [
            rms(estimator.log_density(test.x, test.theta0) - log_p),
            rms(estimator.log_ratio(test.x, test.theta0, [0.0]) - log_r),
            rms(estimator.score(test.x, test.theta0)[:, 0] - t),
        ]
    )


@pytest.fixture(scope="module")
def samples():
    return toy(40_000)


@pytest.fixture(scope="module")
def scandal(samples):
    return DensityEstimator((20, 20)).fit(samples, "scandal", **FAST)


# RMS errors of log p, log r and score; without any knowledge of theta, the last two would be 0.79 and 0.82.
@pytest.mark.parametrize(
    ("method", "settings", "bounds"),
    [
        ("nde", {"base": "mixture"}, (0.11, 0.13, 0.22)),
        ("scandal", {"flow": "spline", "n_transforms": 1, "n_bins": 6}, (0.14, 0.15, 0.14)),
    ],
)
def test_the_density_is_the_exact_one(samples, method, settings, bounds):
    estimator = DensityEstimator((20, 20), **settings).fit(samples, method, **FAST)
    assert (errors(estimator) < bounds).all()


def test_the_joint_score_makes_the_density_more_precise_and_wrong_points_spoil_it(samples, scandal):
    bounds = (0.11, 0.1, 0.1)
    assert (errors(scandal) < bounds).all()
    nde = DensityEstimator((20, 20)).fit(samples, "nde", **FAST)
    assert errors(scandal)[2] < 0.7 * errors(nde)[2]
    other_points = np.random.default_rng(3).permutation(samples.theta0)
    wrong = DensityEstimator((20, 20)).fit(dataclasses.replace(samples, theta0=other_points), "nde", **FAST)
    assert (errors(wrong) > 2.0 * np.array(bounds)).all()


def test_shuffled_labels_give_a_density_that_does_not_depend_on_theta(samples):
    closure = DensityEstimator((20, 20)).fit(samples, "scandal", shuffle_labels=True, **FAST)
    test = toy(2000, seed=9)
    assert rms(closure.log_ratio(test.x, test.theta0, [0.0])) < 0.08


def test_the_density_integrates_to_one_over_the_features(samples, scandal):
    far, wide = np.linspace(-20.0, 30.0, 401), np.linspace(-12.0, 14.0, 301)
    cell = (far[1] - far[0]) * (wide[1] - wide[0])
    plane = np.stack([a.ravel() for a in np.meshgrid(far, wide, indexing="ij")], axis=1)
    densities = np.exp(scandal.log_density(plane, [[-1.0], [1.0]], pairing="grid"))
    np.testing.assert_allclose(densities.sum(axis=1) * cell, 1.0, atol=2e-3)

    for settings in ({"base": "mixture", "n_transforms": 1}, {"flow": "spline"}):
        line = DensityEstimator((8,), features=["far"], **settings).fit(samples, "nde", limit=5000, epochs=1)
        fine = np.linspace(-60.0, 70.0, 2001)
        for theta in (-1.0, 1.0):
            p = np.exp(line.log_density(fine[:, None], [theta]))
            assert p.sum() * (fine[1] - fine[0]) == pytest.approx(1.0, abs=2e-3)


def test_two_peaks_need_more_than_gaussians():
    """x = +-2 + N(0, 0.5) with probability 1 / (1 + exp(-theta)) of the right peak: no shift of a Gaussian."""
    rng = np.random.default_rng(4)
    theta = rng.uniform(-2.0, 2.0, 30_000)
    right = rng.uniform(size=theta.size) < 1.0 / (1.0 + np.exp(-theta))
    x = np.where(right, 2.0, -2.0) + 0.5 * rng.normal(size=theta.size)
    names = {"feature_names": ("x",), "parameter_names": ("a",)}
    peaks = Samples(x=x[:, None], theta0=theta[:, None], **names)
    log_right = -np.log1p(np.exp(-theta[:2000]))
    log_left = log_right - theta[:2000]
    shapes = [-(((x[:2000] - m) / 0.5) ** 2) / 2 - np.log(0.5 * np.sqrt(2 * np.pi)) for m in (2.0, -2.0)]
    truth = np.logaddexp(log_right + shapes[0], log_left + shapes[1])

    def error(**settings):
        estimator = DensityEstimator((16, 16), **settings).fit(peaks, "nde", **FAST)
        return rms(estimator.log_density(x[:2000, None], theta[:2000, None]) - truth)

    assert error(base="mixture", n_components=2, n_transforms=1) < 0.1
    assert error(flow="spline", n_transforms=2) < 0.25
    assert error(n_transforms=1) > 0.6


def drell_yan(process, n_points, n_each, seed):
    """Events of the built-in generator at random points, with the joint score given helicities."""
    points = np.random.default_rng(seed).uniform(-process.bound, process.bound, (n_points, 2))
    x, t_xz = [], []
    for i, point in enumerate(points):
        x.append(process.sample(n_each, point, seed + i).cosine)
        weights = process.generate(n_each, point, seed + i).weights[:, 1:]
        slopes = weights @ process.setup().weight_gradients(point)[0].T
        relative = slopes / (weights @ process.setup().weights(point)[0])[:, None]
        t_xz.append(relative - process.xsec_gradients(point) / process.xsec(point))
    return Samples(
        x=np.concatenate(x)[:, None],
        theta0=np.repeat(points, n_each, axis=0),
        t_xz=np.concatenate(t_xz),
        feature_names=process.feature_names,
        parameter_names=process.parameter_names,
    )


def test_drell_yan_densities_have_the_exact_ratios_unless_points_are_wrong():
    process = DrellYan(process="ee", bound=8.0)
    train, test = drell_yan(process, 30, 1000, seed=5), drell_yan(process, 10, 300, seed=500)
    exact_ratio = process.log_ratio(test.x, test.theta0)

    def error(samples, method):
        estimator = DensityEstimator((20, 20), base="mixture", n_transforms=1)
        estimator.fit(samples, method, alpha=10.0, seed=1, epochs=4, batch_size=512)
        return rms(estimator.log_ratio(test.x, test.theta0, process.reference) - exact_ratio)

    assert rms(exact_ratio) > 1.0
    found = {method: error(train, method) for method in ("scandal", "nde")}
    other_points = np.random.default_rng(3).permutation(train.theta0)
    found["nde, wrong points"] = error(dataclasses.replace(train, theta0=other_points), "nde")
    found["scandal, wrong gold"] = error(dataclasses.replace(train, t_xz=-train.t_xz), "scandal")
    assert found["scandal"] < 0.3
    assert found["nde"] < 0.65
    assert found["nde, wrong points"] > 0.9
    assert found["scandal, wrong gold"] > 0.9


def test_every_term_of_the_loss_is_smallest_at_the_exact_density():
    """The latent toy z ~ N(theta, 1), x ~ N(z, 1) with the model N(x; a theta, s): exact expectations by quadrature.

    p(x | theta) is N(theta, sqrt 2). Loss and gradients are polynomials in z and x.
    """
    node, weight = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(8))
    i, j, k = torch.meshgrid(*[torch.arange(8)] * 3, indexing="ij")
    theta, z, x = node[i].flatten(), (node[i] + node[j]).flatten(), (node[i] + node[j] + node[k]).flatten()
    weights = (weight[i] * weight[j] * weight[k]).flatten()
    weights = weights / weights.mean()

    def terms(parameters, gold):
        points = theta.clone().requires_grad_()
        a, log_s = parameters
        log_p = -((x - a * points) ** 2) / (2.0 * torch.exp(2.0 * log_s)) - log_s
        (t,) = torch.autograd.grad(log_p.sum(), points, create_graph=True)
        return negative_log_likelihood(log_p, weights), score_error(t[:, None], gold[:, None], weights)

    truth = torch.tensor([1.0, np.log(2.0) / 2.0], dtype=torch.float64)
    for which in (0, 1):
        slope = torch.autograd.functional.jacobian(lambda p, n=which: terms(p, z - theta)[n], truth)
        bend = torch.autograd.functional.hessian(lambda p, n=which: terms(p, z - theta)[n], truth)
        assert slope.abs().max() < 1e-10
        assert torch.linalg.eigvalsh(bend).min() > 0.05
    wrong = torch.autograd.functional.jacobian(lambda p: terms(p, theta - z)[1], truth)
    assert wrong.abs().max() > 0.1


def test_ratios_are_antisymmetric_and_differences_of_densities(scandal):
    test = toy(60, seed=5)
    other = np.random.default_rng(6).uniform(-1.0, 1.0, (60, 1))
    forward = scandal.log_ratio(test.x, test.theta0, other)
    np.testing.assert_array_equal(forward, -scandal.log_ratio(test.x, other, test.theta0))
    np.testing.assert_array_equal(scandal.log_ratio(test.x, other, other), 0.0)
    difference = scandal.log_density(test.x, test.theta0) - scandal.log_density(test.x, other)
    np.testing.assert_array_equal(forward, difference)
    np.testing.assert_allclose(scandal.reference, toy(40_000).theta0.mean(axis=0))
    np.testing.assert_array_equal(scandal.log_ratio(test.x, [0.5]), scandal.log_ratio(test.x, [0.5], scandal.reference))


def test_pairs_and_grid_agree_and_the_score_is_the_gradient(scandal, monkeypatch):
    monkeypatch.setattr("columnminer.learn.densities._BLOCK", 37)
    test = toy(50, seed=5)
    points = np.linspace(-1.0, 1.0, 7)[:, None]
    log_p = scandal.log_density(test.x, points, pairing="grid")
    log_r = scandal.log_ratio(test.x, points, [0.2], pairing="grid")
    scores = scandal.score(test.x, points, pairing="grid")
    assert (log_p.shape, log_r.shape, scores.shape) == ((7, 50), (7, 50), (7, 50, 1))
    for i in range(7):
        np.testing.assert_allclose(log_p[i], scandal.log_density(test.x, points[i]), atol=1e-5)
        np.testing.assert_allclose(log_r[i], scandal.log_ratio(test.x, points[i], [0.2]), atol=1e-5)
        np.testing.assert_allclose(scores[i], scandal.score(test.x, points[i]), atol=1e-5)
    step = 1e-2
    slope = (scandal.log_density(test.x, test.theta0 + step) - scandal.log_density(test.x, test.theta0 - step)) / 0.02
    np.testing.assert_allclose(scandal.score(test.x, test.theta0)[:, 0], slope, atol=5e-3)


def test_densities_are_per_unit_of_the_features(samples):
    """In MeV instead of GeV the density is a thousandth; in other units of theta the score is another."""
    few = samples.take(slice(5000))
    other = dataclasses.replace(few, x=few.x * [1e3, 1.0], theta0=few.theta0 * 10.0, t_xz=few.t_xz / 10.0)
    a, b = (DensityEstimator((8,)).fit(s, "scandal", epochs=1) for s in (few, other))
    np.testing.assert_allclose(
        b.log_density(other.x, other.theta0) + np.log(1e3), a.log_density(few.x, few.theta0), atol=5e-3
    )
    np.testing.assert_allclose(10.0 * b.score(other.x, other.theta0), a.score(few.x, few.theta0), atol=2e-2)


@pytest.mark.parametrize("settings", [{}, {"flow": "spline", "n_bins": 4}, {"base": "mixture", "activation": "elu"}])
def test_saved_densities_come_back(tmp_path, samples, settings):
    few = samples.take(slice(2000))
    estimator = DensityEstimator((8, 6), features=["wide", "far"], **settings).fit(few, "scandal", alpha=2.0, epochs=1)
    estimator.save(tmp_path / "density")
    assert sorted(p.name for p in (tmp_path / "density").iterdir()) == ["estimator.json", "weights.safetensors"]
    again = load_estimator(tmp_path / "density")
    assert isinstance(again, DensityEstimator)
    x, theta = few.x[:20], few.theta0[:20]
    for method in ("log_density", "log_ratio", "score"):
        expected = getattr(estimator, method)(x, theta, names=FEATURES)
        np.testing.assert_array_equal(getattr(again, method)(x, theta, names=FEATURES), expected)
    assert again._settings() == estimator._settings()
    assert again.fitted.training == estimator.fitted.training
    assert estimator.fitted.training["alpha"] == 2.0

    with pytest.raises(FileFormatError, match="'DensityEstimator', not a RatioEstimator"):
        RatioEstimator.load(tmp_path / "density")
    document = json.loads((tmp_path / "density" / "estimator.json").read_text())
    document["settings"]["n_transforms"] += 1
    (tmp_path / "density" / "estimator.json").write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match="damaged"):
        load_estimator(tmp_path / "density")


def test_the_same_seed_gives_the_same_density_and_the_global_stream_is_left_alone(samples):
    few = samples.take(slice(3000))
    before = torch.get_rng_state()
    a, b, c = (
        DensityEstimator((8,), base="mixture").fit(few, seed=s, epochs=1).log_density(few.x[:9], few.theta0[:9])
        for s in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


def test_signed_weights_count(samples):
    """Some events twice, and minus once again, are the sample itself."""
    few, extra = samples.take(slice(15_000)), samples.take(slice(0, 15_000, 5))
    arrays = {n: np.concatenate([getattr(s, n) for s in (few, extra, extra)]) for n in ("x", "theta0", "t_xz")}
    weights = np.repeat([1.0, 1.0, -1.0], [15_000, 3000, 3000])
    signed = DensityEstimator((20, 20)).fit(dataclasses.replace(few, **arrays, weights=weights), "scandal", **FAST)
    assert (errors(signed) < (0.2, 0.15, 0.15)).all()


def test_what_is_wrong_is_named(samples, scandal):
    few = samples.take(slice(100))
    with pytest.raises(InputError, match="'nde' or 'scandal', not 'carl'"):
        DensityEstimator().fit(few, "carl")
    with pytest.raises(MissingError, match="scandal needs t_xz"):
        DensityEstimator().fit(dataclasses.replace(few, t_xz=None))
    with pytest.raises(InputError, match=r"40 of 100 have a label y other than 0: .*samples\.take"):
        DensityEstimator().fit(dataclasses.replace(few, y=(np.arange(100) < 40).astype(float)), "nde")
    with pytest.raises(InputError, match="no flow 'mfa'"):
        DensityEstimator(flow="mfa")
    with pytest.raises(InputError, match="no base 'cauchy'; there are gaussian, mixture"):
        DensityEstimator(base="cauchy")
    with pytest.raises(InputError, match="n_transforms must be positive, not 0"):
        DensityEstimator(n_transforms=0)
    with pytest.raises(UnknownNameError, match="no activation is called 'tangent'"):
        DensityEstimator(activation="tangent")
    with pytest.raises(MissingError, match="has learned nothing yet"):
        DensityEstimator().log_density(np.zeros((1, 2)), [0.0])
    with pytest.raises(InputError, match="100 events and 3 points make no pairs"):
        scandal.log_density(few.x, few.theta0[:3])
    with pytest.raises(InputError, match="give one point theta1, not 3"):
        scandal.log_ratio(few.x, few.theta0, few.theta0[:3], pairing="grid")
    with pytest.raises(InputError, match="'pairs' or 'grid'"):
        scandal.score(few.x, few.theta0, pairing="both")
    with pytest.raises(InputError, match="theta1 is one point with values for mean"):
        scandal.ratio_to([[0.0], [1.0]])
    with pytest.raises(InputError, match="a network needs hidden layers"):
        DensityEstimator(())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")


@pytest.fixture(scope="module")
def sharp(store):
    """A density of x between two sharp edges, 0 and 1, learned from a store."""
    drawn = sample_density(store, flat_prior([(-1.0, 1.0)]), 30_000, n_theta=300, seed=2)
    spline = DensityEstimator((20, 20), features=["x"], flow="spline", n_transforms=1)
    spline.fit(drawn, "scandal", seed=1, epochs=4, batch_size=512)
    check(spline, sample_density(store, flat_prior([(-1.0, 1.0)]), 6000, n_theta=50, seed=4, partition="validation"))
    return spline


def test_samples_for_densities_follow_each_theta(store):
    drawn = sample_density(store, [{"theta": -1.0}, {"theta": 1.0}], 20_000, seed=1)
    assert {a for a in ("theta0", "theta1", "y", "r_xz", "t_xz") if getattr(drawn, a) is not None} == {"theta0", "t_xz"}
    for theta in (-1.0, 1.0):
        at = drawn.theta0[:, 0] == theta
        assert at.sum() == 10_000
        grid = (np.arange(2000) + 0.5) / 2000
        assert drawn.x[at, 0].mean() == pytest.approx(np.mean(grid * density(grid, theta)), abs=0.01)
        np.testing.assert_allclose(drawn.t_xz[at, 0], score(drawn.x[at, 0], theta), atol=1e-2)


def test_limits_take_a_density_as_a_ratio(store, sharp):
    ratio = sharp.ratio_to([0.0])
    assert isinstance(ratio, RatioLike)
    assert gives_ratio(ratio)
    grid = np.linspace(-1.0, 1.0, 9)[:, None]
    learned, known = (expected_limits(store, what, [0.4], grid, 200.0) for what in (ratio, ExactRatio()))
    np.testing.assert_allclose(learned.log_ratio, known.log_ratio, atol=0.15 * np.ptp(known.log_ratio))
    directly = expected_limits(store, sharp, [0.4], grid, 200.0)
    np.testing.assert_allclose(directly.log_ratio, learned.log_ratio, atol=2e-3)

    likelihood = NeuralLikelihood.from_store(store, ratio, 200.0)
    data = likelihood.asimov([0.4])
    step = 1e-2
    slope = (likelihood.log_likelihood([0.3 + step], data) - likelihood.log_likelihood([0.3 - step], data)) / (2 * step)
    np.testing.assert_allclose(likelihood.gradient([0.3], data)[0], slope, rtol=0.02, atol=0.02)
    with pytest.raises(InputError, match="trained on partition 'train'"):
        NeuralLikelihood.from_store(store, ratio, 200.0, partition="train")
    assert ratio.feature_names == ("x",)


def test_a_density_passes_the_checks_of_ratios(store, sharp):
    held_out = sample_ratio(store, flat_prior([(-1.0, 1.0)]), [0.0], 6000, n_theta=50, seed=3, partition="test")
    assert all(check.passed for check in check_ratio(sharp.ratio_to([0.0]), held_out))
    with pytest.raises(InputError, match="denominator"):
        check_ratio(sharp.ratio_to([0.1]), held_out)


def test_fisher_information_from_a_density(store, sharp):
    information = FisherInformation(store, 200.0)
    learned = information.detector([0.3], sharp.ratio_to([0.0])).information
    np.testing.assert_allclose(learned, information.truth([0.3]).information, rtol=0.1)
