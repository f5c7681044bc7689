from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from analytic_store import ExactRatio, ExactScore, analytic_store, density, integral
from analytic_store import sigma as sigma_of
from scipy import sparse

import columnminer as cm
from columnminer.errors import CheckWarning, InputError, MissingError, UnknownNameError
from columnminer.infer.events import Events
from columnminer.infer.fisher import FisherInformation
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.information import Information
from columnminer.show.slices import plot_information_slices
from columnminer.store.madminer import import_madminer

EDGES = np.linspace(20.0, 400.0, 11)
PHI_EDGES = np.linspace(-3.1416, 3.1416, 6)


# In closed form ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr")


def test_truth_and_rate_have_their_closed_form(store):
    information = FisherInformation(store, 300.0)
    for theta in (-1.0, 0.0, 0.7):
        # (d sigma)^2 / sigma = 4 b^2, whatever theta; its integral is 1/3.
        assert information.truth([theta]).information[0, 0] == pytest.approx(100.0, rel=1e-5)
        rate = 300.0 * (theta / 6.0) ** 2 / (1.0 + theta**2 / 12.0)
        assert information.rate([theta]).information[0, 0] == pytest.approx(rate, abs=1e-4)
    assert information.truth("one").parameter_names == ("theta",)


def test_histogram_has_its_closed_form_and_tends_to_the_truth(store):
    information, theta, h = FisherInformation(store, 300.0), 0.7, 1e-5
    edges = np.linspace(0, 1, 6)
    low, high = edges[:-1], edges[1:]
    slope = (integral(low, high, theta + h) - integral(low, high, theta - h)) / (2 * h)
    exact = 300.0 * (slope**2 / integral(low, high, theta)).sum()
    assert information.histogram([theta], "x", edges[1:-1]).information[0, 0] == pytest.approx(exact, rel=1e-3)
    finer = [information.histogram([theta], "x", n).information[0, 0] for n in (2, 8, 50)]
    assert finer == sorted(finer)
    assert finer[-1] == pytest.approx(100.0, rel=0.01)


@pytest.mark.parametrize("estimator", [ExactScore(0.7), ExactRatio()], ids=["score", "ratio"])
def test_detector_information_of_the_exact_score_is_the_truth(store, estimator):
    detector = FisherInformation(store, 300.0, partition="all").detector([0.7], estimator)
    assert detector.information[0, 0] == pytest.approx(100.0, rel=1e-5)
    assert detector.error[0, 0] < 3.0
    rate = FisherInformation(store, 300.0).rate([0.7]).information[0, 0]
    shape = FisherInformation(store, 300.0, partition="all").detector([0.7], estimator, include_rate=False)
    assert shape.information[0, 0] == pytest.approx(100.0 - rate, rel=1e-5)


def test_backgrounds_dilute_and_cuts_remove(tmp_path):
    store = analytic_store(tmp_path / "events.zarr", 5000, background=1.0)
    truth = FisherInformation(store, 300.0).histogram([0.0], "x", 40).information[0, 0]
    assert truth == pytest.approx(50.0, rel=0.01)  # 4 b^2 / (1 + 1)
    half = FisherInformation(store, 300.0, cuts=["x > 0.5"], efficiencies=["0.5"])
    assert half.histogram([0.0], "x", 40).information[0, 0] == pytest.approx(0.5 * truth / 2, rel=0.02)


def test_distribution_sums_to_the_total(store):
    information = FisherInformation(store, 300.0)
    slices = information.distribution([0.7], "x", [0.2, 0.8])
    np.testing.assert_allclose(slices.full.sum(axis=0), information.truth([0.7]).information)
    np.testing.assert_allclose(slices.rate.sum(axis=0), information.histogram([0.7], "x", [0.2, 0.8]).information)
    exact = integral(np.array([0, 0.2, 0.8]), np.array([0.2, 0.8, 1]), 0.7)
    np.testing.assert_allclose(slices.cross_section, exact, rtol=1e-3)
    everywhere = FisherInformation(store, 300.0, partition="all")
    learned = everywhere.distribution([0.7], "x", [0.2, 0.8], estimator=ExactScore(0.7))
    np.testing.assert_allclose(learned.full, slices.full, rtol=1e-5)  # the exact score knows as much as the truth
    detector = everywhere.detector([0.7], ExactScore(0.7)).information
    np.testing.assert_allclose(learned.full.sum(axis=0), detector, rtol=1e-5)


def test_slices_are_drawn_as_they_are(store):
    """Shares of information and cross section, with error bars; empty overflow is left out."""
    slices = FisherInformation(store, 300.0).distribution([0.7], "x", [0.2, 0.5, 1.5])
    ax = plot_information_slices(slices, label="x")
    area, full, rate = [patch.get_data().values for patch in ax.patches]
    np.testing.assert_allclose(area, (slices.cross_section / slices.cross_section.sum())[:3])
    np.testing.assert_allclose(full, (slices.full[:, 0, 0] / slices.full.sum())[:3])
    np.testing.assert_allclose(rate, (slices.rate[:, 0, 0] / slices.full.sum())[:3])
    np.testing.assert_allclose(ax.patches[0].get_data().edges, [-0.1, 0.2, 0.5, 1.5])
    bars = np.array([np.ptp(segment[:, 1]) / 2 for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(bars, (np.sqrt(slices.full_covariance[:, 0, 0, 0, 0]) / slices.full.sum())[:3])
    assert [text.get_text() for text in ax.texts] == ["underflow"]
    with pytest.raises(InputError, match="slices of one observable"):
        plot_information_slices(FisherInformation(store, 300.0).distribution([0.7], ["x", "y"], 3))
    with pytest.raises(UnknownNameError, match=r"not about 'thet'\. Did you mean 'theta'"):
        plot_information_slices(slices, parameters=["thet"])
    nothing = FisherInformation(store, 300.0, cuts=["x > 2"]).distribution([0.7], "x", [0.2, 0.5])
    with pytest.raises(MissingError, match="no information about theta"):
        plot_information_slices(nothing)


@pytest.mark.usefixtures("unchecked")
def test_where_no_event_passes_there_is_no_information(store, ensemble):
    nothing = FisherInformation(store, 300.0, cuts=["x > 2"])
    for found in (
        nothing.truth([0.7]),
        nothing.rate([0.7]),
        nothing.histogram([0.7], "x", [0.2, 0.5]),
        nothing.detector([0.7], ExactScore(0.7)),
        nothing.detector([0.7], ensemble, mode="information"),
    ):
        assert not found.information.any()
        assert not found.covariance.any()


def test_an_estimator_of_theta_alone_is_asked_about_theta_alone(tmp_path):
    store = analytic_store(tmp_path / "events.zarr", 4000, tilt=0.4)
    information = FisherInformation(store, 300.0, partition="all")
    assert information.rate([0.7]).parameter_names == ("theta", "tilt")
    detector = information.detector([0.7], ExactScore(0.7))
    assert detector.parameter_names == ("theta",)
    assert detector.information[0, 0] == pytest.approx(100.0, rel=1e-4)
    assert information.truth([0.0]).information[0, 1] == pytest.approx(300.0 * 2 * 0.4 / 12, rel=0.02)


def test_errors_name_what_is_wrong(store):
    information = FisherInformation(store, 300.0)
    with pytest.raises(InputError, match="luminosity"):
        FisherInformation(store, 0.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'x'"):
        information.histogram([0.0], "xx")
    with pytest.raises(InputError, match="zz"):
        FisherInformation(store, 1.0, cuts=["zz > 3"])
    with pytest.raises(InputError, match="trained for the score at"):
        information.detector([0.0], ExactScore(1.0))
    with pytest.raises(InputError, match="theta"):
        information.rate([0.0, 1.0])

    class Other(ExactScore):
        parameter_names = ("phi",)

    with pytest.raises(InputError, match="gives the score for phi, the information is about theta"):
        information.detector([0.0], Other(0.0))


# From ensembles, and from sampled events ------------------------------------------------------------------------------


class Member(ExactScore):
    """The exact score, but for a mistake that grows with x."""

    estimates, feature_names, store_hash, partition = "score", ("x",), "", "train"

    def __init__(self, reference, mistake):
        super().__init__(reference)
        self.mistake = mistake

    def check_store(self, store, partition, *, other_store=False):
        if partition == "train":
            msg = "trained on these events"
            raise InputError(msg)

    def score(self, x, *, names=None):
        named = list(names or ("x", "y"))
        columns = x if named == ["x", "y"] else np.stack([x[:, named.index("x")]] * 2, axis=1)
        return (1.0 + self.mistake) * super().score(columns) + self.mistake


@pytest.fixture(scope="module")
def ensemble():
    return Ensemble([Member(0.7, m) for m in (-0.2, 0.0, 0.1, 0.3)], votes=[1.0, 2.0, 2.0, 1.0])


@pytest.fixture
def unchecked():
    """Let estimators that were never checked pass without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckWarning)
        yield


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mode", ["score", "information"])
def test_the_spread_of_an_ensemble_joins_the_statistical_error(store, ensemble, mode):
    """That of `fisher_information`, on the same weighted events."""
    information = FisherInformation(store, 300.0, partition="test")
    found = information.detector([0.7], ensemble, mode=mode)
    x = np.concatenate([b.x for b in store.blocks("test")])
    weights = store.event_weights([0.7], partition="test")[0]
    members = cm.fisher_information(
        ensemble, x, names=store.observable_names, weights=weights, n_events=300.0 * weights.sum(), mode=mode
    )
    rate = information.rate([0.7]).information
    np.testing.assert_allclose(found.information, members.information + rate)
    if mode == "score":  # the mean of the members' scores is a score like any other
        mistake = np.array([-0.2, 0.0, 0.1, 0.3]) @ ensemble.votes
        alone = information.detector([0.7], Member(0.7, mistake))
        np.testing.assert_allclose(found.information, alone.information)
        np.testing.assert_allclose(found.covariance, alone.covariance + members.covariance)
    assert members.covariance[0, 0, 0, 0] > 0.5 * found.covariance[0, 0, 0, 0]
    agreed = information.detector([0.7], Ensemble([Member(0.7, 0.1)] * 3), mode=mode)
    one = information.detector([0.7], Member(0.7, 0.1))
    np.testing.assert_allclose(agreed.covariance, one.covariance)
    slices = information.distribution([0.7], "x", [0.3, 0.6], estimator=Ensemble([Member(0.7, 0.0)] * 2))
    exact = information.distribution([0.7], "x", [0.3, 0.6], estimator=ExactScore(0.7))
    np.testing.assert_allclose(slices.full, exact.full)


@pytest.mark.usefixtures("unchecked")
def test_double_ratios_and_learned_ensembles_have_one_too(store):
    class Double:
        estimates, parameter_names, reference = "double ratio", ("theta",), np.array([0.1])

        def log_ratio(self, x, theta0, theta1, *, names=None):
            raise AssertionError

        def score(self, x, theta0, theta1, *, names=None):
            assert theta1 is self.reference
            return ExactRatio().score(x, theta0, names=names)

    information = FisherInformation(store, 300.0, partition="test")
    exact = information.detector([0.7], ExactRatio())
    np.testing.assert_allclose(information.detector([0.7], Double()).information, exact.information)

    learned = Ensemble([cm.ScoreEstimator((5,), features=["x"]) for _ in range(3)])
    learned.fit(cm.sample_local(store, [0.7], 6000), epochs=4, batch_size=128, learning_rate=0.02, seed=1)
    for mode in ("score", "information"):
        found = information.detector([0.7], learned, mode=mode)
        sampled = information.detector([0.7], learned, mode=mode, sample=cm.sample_test(store, [0.7], 10_000))
        assert found.information[0, 0] == pytest.approx(exact.information[0, 0], rel=0.2)
        assert sampled.information[0, 0] == pytest.approx(found.information[0, 0], abs=4.0 * sampled.error[0, 0])


def drawn(n, theta, rng):
    """Events of the analytic law."""
    x = rng.uniform(size=(20 * n, 2))
    return x[rng.uniform(0.0, 3.0, len(x)) < density(x[:, 0], theta)][:n]


def test_information_from_sampled_events(store):
    """With the error that many samples have; that of the cross section enters too."""
    information, rng = FisherInformation(store, 300.0), np.random.default_rng(5)
    found = [information.detector([0.7], ExactScore(0.7), sample=drawn(500, 0.7, rng)) for _ in range(100)]
    values = np.array([f.information[0, 0] for f in found])
    error = np.mean([f.error[0, 0] for f in found])
    assert abs(values.mean() - 100.0) < 4.0 * error / np.sqrt(len(values))
    assert values.std() == pytest.approx(error, rel=4.0 / np.sqrt(2 * len(values)))
    large = information.detector([0.7], ExactRatio(), sample=drawn(200_000, 0.7, rng), include_rate=False)
    sigma, relative = sigma_of(0.7), store.xsec([[0.7]]).error[0] / sigma_of(0.7)
    assert large.information[0, 0] == pytest.approx(100.0 - 300.0 * (0.7 / 6.0) ** 2 / sigma, rel=0.01)
    assert large.error[0, 0] > 0.99 * relative * large.information[0, 0]


def test_samples_know_where_they_were_drawn(store, tmp_path):
    """Columns by name, cuts and efficiencies, samples at rest; and what is refused."""
    cut = FisherInformation(store, 300.0, cuts=["x > 0.5"], efficiencies=["0.2 + 0.5 * x"])
    sample = cm.sample_test(store, [0.7], 20_000, seed=1)
    found = cut.detector([0.7], ExactScore(0.7), sample=sample)
    weighted = cut.detector([0.7], ExactScore(0.7))
    assert found.information[0, 0] == pytest.approx(weighted.information[0, 0], abs=4.0 * found.error[0, 0])
    assert found.information[0, 0] < 0.5 * FisherInformation(store, 300.0).truth([0.7]).information[0, 0]
    swapped = Events(np.asarray(sample.x, dtype=float)[:, ::-1], ("y", "x"))
    again = cut.detector([0.7], ExactScore(0.7), sample=swapped)
    np.testing.assert_allclose(again.information, found.information)
    kept = cm.sample_test(store, [0.7], 20_000, seed=1, out=tmp_path / "sample.zarr")
    same = cut.detector([0.7], ExactScore(0.7), sample=kept)
    np.testing.assert_allclose(same.information, found.information)
    with pytest.raises(InputError, match=r"was not drawn at theta = \[0.3\]"):
        cut.detector([0.3], ExactScore(0.3), sample=sample)
    with pytest.raises(InputError, match="not drawn at theta"):
        cut.detector([0.7], ExactScore(0.7), sample=cm.sample_ratio(store, [[0.7]], [0.0], 100))
    with pytest.raises(InputError, match="trained on these events"):
        cut.detector([0.7], Member(0.7, 0.0), sample=cm.sample_local(store, [0.7], 100))
    with pytest.raises(InputError, match="with a positive sum"):
        cut.detector([0.7], ExactScore(0.7), sample=np.full((5, 2), 0.1))
    with pytest.raises(InputError, match="'score' or 'information'"):
        cut.detector([0.7], ExactScore(0.7), mode="mean")


# Profiling and projecting --------------------------------------------------------------------------------------------


def random_information(n=4, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    root = 0.05 * rng.normal(size=(n, n, 5))
    root += root.transpose(1, 0, 2)
    covariance = np.einsum("ijs,kls->ijkl", root, root)
    return Information(a @ a.T + np.eye(n), covariance, tuple("abcd"[:n])), root


def test_profile_inverts_the_covariance_of_a_fit():
    information, _ = random_information()
    profiled = information.profile(["c", "a"])
    inverse = np.linalg.inv(information.information)
    np.testing.assert_allclose(np.linalg.inv(profiled.information), inverse[np.ix_([2, 0], [2, 0])])
    assert profiled.parameter_names == ("c", "a")
    projected = information.project(["c", "a"])
    np.testing.assert_array_equal(projected.information, information.information[np.ix_([2, 0], [2, 0])])
    np.testing.assert_array_equal(projected.covariance, information.covariance[np.ix_(*[[2, 0]] * 4)])


def test_profiled_covariance_is_that_of_toys():
    information, root = random_information()
    rng = np.random.default_rng(1)
    small = 1e-2
    toys = []
    for z in rng.normal(size=(4000, 5)):
        varied = information.information + small * root @ z
        toys.append(
            Information(varied, information.covariance, information.parameter_names).profile(["a", "b"]).information
        )
    toys = np.array(toys)
    expected = information.profile(["a", "b"]).covariance * small**2
    measured = np.einsum("tij,tkl->ijkl", toys - toys.mean(axis=0), toys - toys.mean(axis=0)) / len(toys)
    np.testing.assert_allclose(measured, expected, atol=0.1 * np.abs(expected).max())


def test_informations_add_and_refuse_what_does_not_fit():
    first, second = random_information(seed=1)[0], random_information(seed=2)[0]
    total = first + second
    np.testing.assert_allclose(total.information, first.information + second.information)
    np.testing.assert_allclose(total.covariance, first.covariance + second.covariance)
    with pytest.raises(InputError, match="cannot add informations about a, b, c, d and a, b"):
        first + second.project(["a", "b"])
    with pytest.raises(UnknownNameError, match="not about 'e'"):
        first.profile(["e"])
    with pytest.raises(InputError, match="list of different parameter names"):
        first.project(["a", "a"])
    singular = Information(np.zeros((2, 2)), np.zeros((2,) * 4), ("a", "b"))
    with pytest.raises(MissingError, match="about b is singular"):
        singular.profile(["a"])
    with pytest.raises(InputError, match="has shape"):
        Information(np.zeros((2, 2)), np.zeros((2, 2)), ("a", "b"))


# Numbers of MadMiner -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oracle(shared):
    return json.loads((shared / "vbf" / "oracle.json").read_text())["fisher"]


@pytest.fixture(scope="module")
def vbf(shared, tmp_path_factory):
    return import_madminer(shared / "vbf" / "madminer_lhe_nosmear.h5", tmp_path_factory.mktemp("vbf") / "events.zarr")


@pytest.mark.parametrize(
    ("key", "cuts", "calculate"),
    [
        ("rate_information", [], lambda f: f.rate("sm")),
        ("truth_information", [], lambda f: f.truth([0, 0])),
        ("histo_information", [], lambda f: f.histogram([0, 0], "pt_j1", EDGES)),
        ("histo_information_explicit_edges", [], lambda f: f.histogram([0, 0], "pt_j1", [30, 100, 200, 400.0])),
        ("histo_information_dynamic", [], lambda f: f.histogram([0, 0], "pt_j1", 10)),
        ("histo_information_2d", [], lambda f: f.histogram([0, 0], ["pt_j1", "delta_phi_jj"], [EDGES, PHI_EDGES])),
        ("rate_information_cut", ["pt_j1 > 80."], lambda f: f.rate([0, 0])),
        ("truth_information_cut", ["pt_j1 > 80."], lambda f: f.truth([0, 0])),
    ],
)
def test_information_is_madminers(vbf, oracle, key, cuts, calculate):
    ours = calculate(FisherInformation(vbf, oracle["luminosity"], cuts=cuts)).information
    theirs = np.array(oracle[key]["information"])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8 * np.abs(theirs).max())


def test_cross_sections_and_gradients_in_bins_are_madminers(vbf, oracle):
    rates = FisherInformation(vbf, 1.0).binned_rates([0, 0], "pt_j1", EDGES)
    _, sigma, gradient = oracle["histogram_of_sigma_dsigma"]
    np.testing.assert_allclose(rates.cross_section, sigma, rtol=0, atol=1e-8 * np.max(sigma))
    np.testing.assert_allclose(rates.gradient, gradient, rtol=0, atol=1e-8 * np.abs(gradient).max())


TWO = {"pt_j1": EDGES, "delta_phi_jj": PHI_EDGES}


@pytest.mark.parametrize(
    ("key", "axes", "cut", "expected"),
    [
        ("truth_information", None, None, (755.84, 83.982, 83.982)),
        ("truth_information_cut", None, 80.0, (755.46, 83.940, 83.940)),
        ("rate_information", {}, None, (2.3661, 0.19759, 1.05457)),
        ("rate_information_cut", {}, 80.0, (3.4827, 0.039379, 1.74834)),
        ("histo_information", {"pt_j1": EDGES}, None, (106.418, 11.5185, 32.5575)),
        ("histo_information_explicit_edges", {"pt_j1": [30, 100, 200, 400.0]}, None, (101.178, 10.7425, 31.5271)),
        ("histo_information_dynamic", {"pt_j1": 10}, None, (16.5641, 0.0636590, 5.80061)),
        ("histo_information_2d", TWO, None, (181.958, 22.6485, 35.9976)),
    ],
)
def test_covariances_stand_beside_madminers(vbf, oracle, *, key, axes, cut, expected):
    """Of the entry [0, 0]: MadMiner's, the same with the sign of the third term mended, and ours.

    Truth: its variance is 9 times too large, as (1 + 1 + 1)^2 stands for (1 + 1 - 1)^2. In bins the mended sign alone
    does not do, as the errors of the sums at the benchmarks are still taken to be fully correlated; their covariance is
    known, sum_e w_eb w_eb'. Which one is right, the bootstrap says (below, and in `test_fisher_covariance.py`).
    """
    luminosity = oracle["luminosity"]
    information = FisherInformation(vbf, luminosity, cuts=[] if cut is None else [f"pt_j1 > {cut}"])
    w, dw = vbf.setup.weights([0, 0])[0], vbf.setup.weight_gradients([0, 0])[0]
    weights = np.concatenate([block.benchmark_weights for block in vbf.blocks()])
    x = np.asarray(vbf.observables[:])
    seen = np.ones(len(x), dtype=bool) if cut is None else x[:, vbf.observable_names.index("pt_j1")] > cut
    sums = errors = weights[seen]  # the error of one event is its weight
    ours = information.truth([0, 0])
    if axes is not None:
        index = np.zeros(len(sums), dtype=int)
        ours = information.rate([0, 0])
        if axes:
            rates = information.binned_rates([0, 0], list(axes), list(axes.values()))
            for axis in rates.axes:
                column = x[seen, vbf.observable_names.index(axis.name)]
                index = index * len(axis) + np.searchsorted(axis.edges, column)
            ours = information.histogram([0, 0], list(axes), list(axes.values()))
        one_hot = sparse.csr_array((np.ones(len(index)), (index, np.arange(len(index)))))
        sums, errors = one_hot @ sums, np.sqrt(one_hot @ sums**2)
        sums, errors = sums[filled := sums.any(axis=1)], errors[filled]

    def recipe(sign):
        sigma, g, of_g = sums @ w, sums @ dw.T, errors @ dw.T
        half = np.einsum("ki,kj,k->kij", of_g, g, 1.0 / sigma)
        third = np.einsum("ki,kj,k->kij", g, g, sigma**-2 * (errors @ w))
        change = luminosity * (half + half.transpose(0, 2, 1) + sign * third)
        return np.einsum("kij,klm->ijlm", change, change)

    known = np.array(oracle[key]["covariance"])
    np.testing.assert_allclose(recipe(+1), known, rtol=0, atol=1e-8 * np.abs(known).max())
    found = [covariance[0, 0, 0, 0] for covariance in (known, recipe(-1), ours.covariance)]
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_bootstrap_decides(vbf, oracle):
    """The variance of the rate information: ours is right within the error of 500 replicas, the mended one is not."""
    w, dw = vbf.setup.weights([0, 0])[0], vbf.setup.weight_gradients([0, 0])[0]
    weights = np.concatenate([block.benchmark_weights for block in vbf.blocks()])
    columns, rng = weights @ np.column_stack([w, dw[0]]), np.random.default_rng(4)
    sums = np.array([rng.poisson(1.0, len(columns)) @ columns for _ in range(500)])
    measured = np.var(oracle["luminosity"] * sums[:, 1] ** 2 / sums[:, 0])
    variance_error = np.sqrt(2 / 500)
    assert measured == pytest.approx(1.05457, rel=4 * variance_error)
    for wrong in (2.3661, 0.19759):
        assert abs(measured / wrong - 1) > 8 * variance_error


# With nuisance parameters --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def systematics(shared, tmp_path_factory):
    source = shared / "vbf" / "madminer_lhe_systematics.h5"
    return import_madminer(source, tmp_path_factory.mktemp("systematics") / "events.zarr")


@pytest.mark.parametrize(
    ("key", "calculate"),
    [
        ("rate", lambda f: f.rate([0, 0])),
        ("truth", lambda f: f.truth([0, 0])),
        ("histo", lambda f: f.histogram([0, 0], "pt_j1", np.linspace(30.0, 400.0, 11))),
    ],
)
def test_information_about_nuisances_is_madminers(shared, systematics, key, calculate):
    theirs = json.loads((shared / "vbf" / "oracle_systematics.json").read_text())["fisher"]
    information = FisherInformation(systematics, 300e3)
    ours = calculate(information)
    assert ours.parameter_names == ("CWL2", "CPWL2", "signal_norm", "scales")
    expected = np.array(theirs[key]["information"])
    np.testing.assert_allclose(ours.information, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    # MadMiner leaves the covariance in the nuisance directions zero; ours is that of a bootstrap (below).
    assert not np.any(np.array(theirs[key]["covariance"])[2:])
    assert ours.error[2, 2] > 0.0
    if key == "truth":
        constrained = ours + information.constraints()
        np.testing.assert_array_equal(information.constraints().information, theirs["constraint"])
        for how in ("profile", "project"):
            result = getattr(constrained, how)(["CWL2", "CPWL2"]).information
            name = {"profile": "profiled", "project": "projected"}[how]
            np.testing.assert_allclose(result, theirs[f"truth_plus_constraint_{name}"], rtol=1e-8)


def test_covariances_about_nuisances_are_those_of_a_bootstrap(systematics):
    """MadMiner gives zero in the nuisance directions."""
    blocks = list(systematics.blocks())
    columns = np.concatenate(
        [
            np.column_stack([b.weights([0, 0])[0], b.weight_gradients([0, 0])[0].T, b.nuisance_weights[:, 1:]])
            for b in blocks
        ]
    )
    information = FisherInformation(systematics, 300e3).rate([0, 0])
    rng, replicas = np.random.default_rng(8), []
    for _ in range(500):
        sigma, *slopes, up, down = rng.poisson(1.0, len(columns)) @ columns
        gradient = np.array([*slopes, sigma * np.log(1.1), sigma * 0.5 * np.log(up / down)])
        replicas.append(300e3 * np.outer(gradient, gradient) / sigma)
    first_order = np.ones((4, 4), dtype=bool)
    first_order[1, 1] = False  # the square of a gradient that is zero within its error: there is no first order
    np.testing.assert_allclose(information.error[first_order], np.std(replicas, axis=0)[first_order], rtol=0.16)
