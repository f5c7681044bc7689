"""Variations that change x as a learned ratio, against a toy whose likelihood is known at every (theta, nu)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from shifted_store import OBSERVABLES, RATE, THRESHOLD, ExactRatio, amplitude, log_density, shifted_store, sigma

import columnminer
from columnminer.errors import CheckWarning, InputError, MissingError, OutputExistsError, UnknownNameError
from columnminer.infer.events import Events
from columnminer.infer.fit import fit
from columnminer.infer.grid import Grid
from columnminer.infer.limits import expected_limits
from columnminer.infer.neural import NeuralLikelihood
from columnminer.learn import varied as varied_module
from columnminer.learn.calibration import calibrate
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import DensityEstimator, RatioEstimator, load_estimator
from columnminer.learn.variations import learn_variations
from columnminer.model.priors import flat_prior, gaussian_prior
from columnminer.sample.sampling import sample_density, sample_plain, sample_ratio

pytestmark = pytest.mark.filterwarnings("ignore:.*was never checked")

LUMINOSITY = 8000.0
SHIFT, SECOND = 0.1, 0.06
LEARNER = RatioEstimator((20, 20))
FEW = {"epochs": 1, "seed": 3}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A two-sided energy scale, and a one-sided one."""
    folder = tmp_path_factory.mktemp("shifted")
    return shifted_store(folder / "events.zarr", 100_000, {"scale": (SHIFT, -SHIFT), "second": (SECOND,)})


@pytest.fixture(scope="module")
def learned(store):
    return learn_variations(store, ExactRatio(), learner=LEARNER, epochs=25, seed=1)


@pytest.fixture(scope="module")
def likelihood(store, learned):
    return NeuralLikelihood.from_store(store, learned, LUMINOSITY, nuisances=True)


def true_log_ratio(x, theta, scale):
    return log_density(x[:, 0], x[:, 1], theta, scale) - log_density(x[:, 0], x[:, 1], 0.0)


def events(n, theta, scale, n_expected, seed=8):
    """Events of the truth, weighted to an expectation."""
    rng = np.random.default_rng(seed)
    z, y = rng.exponential(size=n), rng.uniform(-1.0, 1.0, n)
    passed = scale * z > THRESHOLD
    weights = amplitude(z, y, theta)[passed] ** 2
    x = np.stack([scale * z, y], axis=1)[passed]
    return Events(x, OBSERVABLES, weights * (n_expected / weights.sum()))


class ExactVariedRatio:
    """The truth in theta and the energy scale."""

    parameter_names = ("theta", "scale")

    def log_ratio(self, x, theta, *, pairing="grid", names=None):
        return np.stack([true_log_ratio(x, point[0], 1.0 + SHIFT * point[1]) for point in theta])


def explained(estimator, x, point, scale):
    truth = true_log_ratio(x, point[0], scale)
    base = true_log_ratio(x, point[0], 1.0)
    residual = estimator.log_ratio(x, point) - truth
    return 1.0 - np.var(residual) / np.var(truth - base)


@pytest.fixture(scope="module")
def x(store):
    return next(store.blocks("test")).x[:5000]


# What is learned ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "scale"),
    [
        ([0.0, 1.0, 0.0], 1.0 + SHIFT),
        ([0.0, 0.5, 0.0], 1.0 + 0.5 * SHIFT),
        ([0.0, -0.5, 0.0], 1.0 - 0.5 * SHIFT),
        ([0.0, -1.0, 0.0], 1.0 - SHIFT),
        ([0.3, 1.0, 0.0], 1.0 + SHIFT),
        ([0.0, 0.0, 1.0], 1.0 + SECOND),
        ([0.0, 0.0, -0.5], 1.0 - 0.5 * SECOND),
        ([0.0, 1.0, 0.5], (1.0 + SHIFT) * (1.0 + 0.5 * SECOND)),
    ],
)
def test_it_is_the_ratio_of_the_truth(learned, x, point, scale):
    """Between the sides too, extrapolated where there is but one, and for both at once."""
    assert explained(learned, x, point, scale) > 0.9


def test_shuffled_labels_teach_nothing(store, x):
    control = learn_variations(
        store, ExactRatio(), names=["scale"], learner=LEARNER, epochs=25, seed=1, shuffle_labels=True
    )
    assert explained(control, x, [0.0, 1.0], 1.0 + SHIFT) < 0.4


def test_at_nu_zero_it_is_the_estimator(learned, x):
    np.testing.assert_array_equal(learned.log_ratio(x, [0.4]), ExactRatio().log_ratio(x, [[0.4]]))
    np.testing.assert_array_equal(learned.log_ratio(x, [0.4, 0.0, -0.0]), ExactRatio().log_ratio(x, [[0.4]]))
    assert learned.parameter_names == ("theta", "scale", "second")
    assert learned.nuisance_names == ("scale", "second")


def test_it_is_normalised_at_every_point(learned, store):
    """The mean of the ratio under the reference; without the normalisation it is another at nu = 2."""
    block = next(store.blocks("test"))
    weights = block.weights("zero")[0] / block.weights("zero")[0].sum()
    for point in ([0.0, 1.0, 0.0], [0.5, -1.5, 0.0], [-0.5, 2.0, 1.0]):
        at_nominal = weights @ np.exp(learned.log_ratio(block.x, point[:1]))
        assert weights @ np.exp(learned.log_ratio(block.x, point)) == pytest.approx(at_nominal, abs=0.01)
    nu = {"scale": 2.0, "second": 1.0}
    ratios = np.exp(learned.log_ratio(block.x, [-0.5])) * learned.response(block.x, nu)
    assert abs(weights @ ratios / (weights @ np.exp(learned.log_ratio(block.x, [-0.5]))) - 1.0) > 0.02


def test_pairs_are_the_diagonal_of_the_grid_and_blocks_do_not_matter(learned, x, monkeypatch):
    points = np.array([[0.2, 0.5, 0.0], [-0.3, 0.0, 1.0], [0.2, -1.0, 0.3]])
    grid = learned.log_ratio(x[:3], points, pairing="grid")
    assert grid.shape == (3, 3)
    np.testing.assert_allclose(learned.log_ratio(x[:3], points), np.diagonal(grid), rtol=1e-6)
    scores = learned.score(x[:3], points, pairing="grid")
    np.testing.assert_allclose(learned.score(x[:3], points), scores[range(3), range(3)], rtol=1e-6)
    monkeypatch.setattr(varied_module, "_PAIRS", 100_000)
    learned._norms.clear()
    np.testing.assert_allclose(learned.log_ratio(x[:3], points, pairing="grid"), grid, rtol=1e-9)


def test_columns_may_come_in_another_order(learned, x):
    point = [0.2, 0.7, -0.3]
    swapped = learned.log_ratio(x[:, ::-1], point, names=OBSERVABLES[::-1])
    np.testing.assert_allclose(swapped, learned.log_ratio(x, point, names=OBSERVABLES), rtol=1e-9)


# Likelihoods --------------------------------------------------------------------------------------------------------


def test_gradients_are_the_derivatives(likelihood):
    data = events(3000, 0.2, 1.05, 2000.0)
    assert likelihood.names == ("theta", "rate", "scale", "second")
    points, h = np.array([[0.3, 0.1, 0.7, -0.4], [-0.2, 0.0, 0.0, 0.0]]), 1e-3
    for step, slope in zip(h * np.eye(4), likelihood.gradient(points, data).T, strict=True):
        high, low = (likelihood.log_likelihood(points + s * step, data) for s in (1.0, -1.0))
        np.testing.assert_allclose(slope, (high - low) / (2.0 * h), rtol=1e-3, atol=1e-3)


def test_the_rate_is_that_of_the_varied_selections(likelihood, store):
    (up, down), (second,) = store.varied("scale"), store.varied("second")
    for nu, varied in (({"scale": 1.0}, up), ({"scale": -1.0}, down), ({"second": 1.0}, second)):
        expected = LUMINOSITY * varied.xsec("zero").value[0]
        assert likelihood.expected(theta=0.0, **nu) == pytest.approx(expected, rel=1e-12)
        assert likelihood.expected(theta=0.0) != pytest.approx(expected, rel=1e-3)
    up_twice = likelihood.expected(theta=0.0, scale=1.0, rate=1.0)
    assert up_twice == pytest.approx((1.0 + RATE) * LUMINOSITY * up.xsec("zero").value[0], rel=1e-9)
    assert up.xsec("zero").value[0] == pytest.approx(sigma(0.0, 1.0 + SHIFT), rel=0.01)


@pytest.mark.parametrize("theta", [0.0, 0.2])
def test_a_fit_with_the_variation_is_not_biased_and_one_that_ignores_it_is(store, learned, theta):
    data = events(60_000, theta, 1.0 + SHIFT, LUMINOSITY * sigma(theta, 1.0 + SHIFT))

    def fitted(estimator):
        model = NeuralLikelihood.from_store(store, estimator, LUMINOSITY, nuisances=True).fix(second=0.0)
        best = fit(model.constrained().with_data((data, 0.0, 0.0)))
        assert best.valid
        return best.by_name, dict(zip(best.parameter_names, best.errors, strict=True))

    truth, errors = fitted(ExactVariedRatio())  # of the same data, so that only the models differ
    found, _ = fitted(learned)
    ignoring, _ = fitted(ExactRatio())
    assert abs(found["theta"] - truth["theta"]) < 0.5 * errors["theta"]
    assert abs(found["theta"] - theta) < 1.5 * errors["theta"]  # these data are one sample, too
    assert found["scale"] == pytest.approx(truth["scale"], abs=errors["scale"])
    assert found["scale"] > 3.0 * errors["scale"]
    assert abs(ignoring["theta"] - truth["theta"]) > 2.5 * errors["theta"]


def test_data_are_made_at_nu_by_what_was_learned(likelihood, store):
    """Asimov data and toys at nu = 1 look like the varied selection, and those at nu = 0 do not."""
    up = store.varied("scale")[0]
    block = next(up.blocks("test"))
    weights = block.weights("zero")[0]
    mean = weights @ block.x[:, 0] / weights.sum()
    error = block.x[:, 0].std() / np.sqrt(len(block.x))

    def mean_of(data):
        blocks = list(data.blocks())
        return sum(w @ x[:, 0] for x, w in blocks) / sum(w.sum() for _, w in blocks)

    asimov = likelihood.asimov(theta=0.0, scale=1.0)
    assert mean_of(asimov) == pytest.approx(mean, abs=3.0 * error)
    assert mean_of(likelihood.asimov(theta=0.0)) != pytest.approx(mean, abs=8.0 * error)
    assert sum(w.sum() for _, w in asimov.blocks()) == pytest.approx(likelihood.expected(theta=0.0, scale=1.0))
    toy = likelihood.simulate(5, theta=0.0, scale=1.0)
    assert toy.x[:, 0].mean() == pytest.approx(mean, abs=4.0 * error)
    alone = NeuralLikelihood.from_store(store, ExactRatio(), LUMINOSITY, nuisances=True)
    with pytest.raises(MissingError, match="does not know what scale does to events"):
        alone.asimov(theta=0.0, scale=1.0)


def test_limits_profile_it(store, learned):
    """What is not known of the scale costs precision; the likelihood of theta alone does not see it."""
    options = {"grid": Grid([(-0.15, 0.15, 7)]), "luminosity": 1000.0, "include_rate": False}
    known = expected_limits(store, learned, "zero", **options)
    profiled = expected_limits(store, learned, "zero", **options, nuisances=True)
    assert set(profiled.nuisances) == {"rate", "scale", "second"}
    assert profiled.log_ratio[[0, -1]].max() > 0.9 * known.log_ratio[[0, -1]].max()
    assert np.abs(profiled.nuisances["scale"][[0, -1]]).min() > 0.05
    assert profiled.best_fit_index == 3


# Estimators ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bases(store):
    """A ratio estimator, an ensemble, and a calibrated one."""
    draw = {"theta0": flat_prior([(-0.5, 0.5)]), "theta1": "zero", "n": 2000, "n_theta": 50}
    samples = sample_ratio(store, **draw)
    single = RatioEstimator((5,)).fit(samples, epochs=1)
    reference = sample_plain(store, "zero", 500, partition="validation")
    tuning = sample_ratio(store, **draw, partition="validation")
    calibrated = calibrate(single, tuning, "normalisation", reference_events=reference)
    ensemble = Ensemble([RatioEstimator((5,)), RatioEstimator((5,))]).fit(samples, epochs=1)
    return {"single": single, "ensemble": ensemble, "calibrated": calibrated}


@pytest.mark.parametrize("kind", ["single", "ensemble", "calibrated"])
def test_what_was_saved_says_the_same(bases, kind, store, x, tmp_path):
    learner = Ensemble([RatioEstimator((4,)), RatioEstimator((4,))]) if kind == "ensemble" else RatioEstimator((4,))
    estimator = learn_variations(store, bases[kind], learner=learner, limit=2000, **FEW)
    estimator.save(tmp_path / "e")
    loaded = load_estimator(tmp_path / "e")
    point = [0.2, 0.6, -0.7]
    np.testing.assert_array_equal(loaded.log_ratio(x, point), estimator.log_ratio(x, point))
    np.testing.assert_array_equal(loaded.score(x[:9], point), estimator.score(x[:9], point))
    assert (loaded.parameter_names, loaded.store_hash) == (("theta", "scale", "second"), store.hash)
    assert [v.two_sided for v in loaded.variations] == [True, False]
    np.testing.assert_array_equal(loaded.reference, [0.0, 0.0, 0.0])
    assert NeuralLikelihood.from_store(store, loaded, 10.0, nuisances=True).names[-1] == "second"
    with pytest.raises(OutputExistsError):
        estimator.save(tmp_path / "e")
    estimator.save(tmp_path / "e", replace=True)
    bases["single"].save(tmp_path / "other")
    with pytest.raises(OutputExistsError, match="holds no estimator with variations"):
        estimator.save(tmp_path / "other", replace=True)


def test_nuisance_parameters_of_weights_stand_before_those_of_selections(store, x):
    drawn = sample_ratio(store, flat_prior([(-0.5, 0.5)]), "zero", 2000, nu0=gaussian_prior([0.0], [1.0]))
    base = RatioEstimator((5,)).fit(drawn, epochs=1)
    varied = learn_variations(store, base, learner=RatioEstimator((4,)), limit=2000, **FEW)
    assert varied.parameter_names == ("theta", "rate", "scale", "second")
    assert varied.nuisance_names == ("rate", "scale", "second")
    np.testing.assert_array_equal(varied.log_ratio(x, [0.2, 0.5, 0.0, 0.0]), base.log_ratio(x, [0.2, 0.5]))
    model = NeuralLikelihood.from_store(store, varied, 100.0, nuisances=True)
    data, point, h = model.asimov(scale=1.0), np.array([0.2, 0.5, 0.7, -0.2]), 1e-2
    for step, slope in zip(h * np.eye(4), model.gradient(point, data), strict=True):
        difference = model.log_likelihood(point + step, data) - model.log_likelihood(point - step, data)
        assert slope == pytest.approx(difference / (2.0 * h), rel=1e-2, abs=1e-2)


def test_it_is_checked_where_the_variations_are_0(bases, store):
    varied = learn_variations(store, bases["single"], learner=RatioEstimator((4,)), limit=2000, **FEW)
    drawn = sample_ratio(store, flat_prior([(-0.5, 0.5)]), "zero", 4000, partition="validation")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckWarning)  # of one epoch
        found = columnminer.check(varied, drawn, closure=False)
    assert "mean ratio" in {check.name for check in found}
    assert varied.checks == bases["single"].checks == found


def test_fisher_information_says_that_it_does_not_know_them(store, learned):
    with pytest.raises(InputError, match="gives the score for theta, scale, second, the information is about theta"):
        columnminer.FisherInformation(store, 1.0).detector("zero", learned)


def test_densities_are_taken_to_the_reference(store, x, tmp_path):
    drawn = sample_density(store, flat_prior([(-0.5, 0.5)]), 1000)
    density = DensityEstimator((4,), n_transforms=1).fit(drawn, epochs=1)
    varied = learn_variations(store, density, learner=RatioEstimator((4,)), limit=2000, names=["second"], **FEW)
    np.testing.assert_allclose(varied.log_ratio(x, [0.2]), density.ratio_to([0.0]).log_ratio(x, [0.2]), rtol=1e-9)
    varied.save(tmp_path / "d")
    loaded = load_estimator(tmp_path / "d")
    np.testing.assert_array_equal(loaded.log_ratio(x, [0.2, 0.5]), varied.log_ratio(x, [0.2, 0.5]))


def test_what_it_refuses(bases, store, learned, tmp_path):
    with pytest.raises(InputError, match="trained on partition 'train'"):
        NeuralLikelihood.from_store(store, learned, 1.0, partition="train")
    with pytest.raises(InputError, match="trained on another store"):
        learned.check_store(store.varied("scale")[0], "test")
    with pytest.raises(MissingError, match="has no variations to learn"):
        learn_variations(store.varied("scale")[0], ExactRatio())
    with pytest.raises(UnknownNameError, match="no selections that vary 'scales'"):
        learn_variations(store, ExactRatio(), names=["scales"])
    other = RatioEstimator((5,)).fit(sample_ratio(store.varied("scale")[0], "one", "zero", 200), epochs=1)
    with pytest.raises(InputError, match="another store"):
        learn_variations(store, other)
    with pytest.raises(MissingError, match="cannot be saved"):
        learned.save(tmp_path / "e")
    with pytest.raises(InputError, match="points need values for theta, scale, second"):
        learned.log_ratio(np.ones((1, 2)), [0.0, 1.0])
    with pytest.raises(MissingError, match="'rate' does to events was not learned"):
        learned.response(np.ones((1, 2)), {"rate": 1.0})


def test_samples_have_both_selections_in_balance(store):
    samples = columnminer.sample_variation(store, "scale", "one")
    up, down = store.varied("scale")
    n = {1.0: up.n_events("train"), -1.0: down.n_events("train")}
    for side in (1.0, -1.0):
        rows = samples.theta0[:, 0] == side
        sums = [samples.weights[rows & (samples.y == y)].sum() for y in (0, 1)]
        np.testing.assert_allclose(sums, len(samples) / 4.0)
        assert (rows & (samples.y == 0)).sum() == n[side]
        assert (rows & (samples.y == 1)).sum() == store.n_events("train")
    rows = (samples.theta0[:, 0] == 1.0) & (samples.y == 0)
    block = next(up.blocks("train", size=len(up)))
    mean = np.average(block.x[:, 1], weights=block.weights("one")[0])
    assert np.average(samples.x[rows, 1], weights=samples.weights[rows]) == pytest.approx(mean, rel=1e-4)
    assert samples.parameter_names == ("scale",)
