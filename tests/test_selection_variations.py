"""Nuisance parameters that change what is seen of events: other selections of the same events, up to the templates."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import zarr

import columnminer.processing as processing_module
from columnminer.errors import InputError, MissingError, OutputExistsError, UnknownNameError
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.grid import Grid
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.metric import Metric
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import NormalisationUncertainty, SelectionVariation
from columnminer.observe.detector import Detector
from columnminer.observe.selection import Selection
from columnminer.observe.smearing import Resolution
from columnminer.processing import process
from columnminer.sample.sampling import sample_local, sample_ratio
from columnminer.store.combine import combine
from columnminer.store.eventstore import EventStore
from columnminer.store.samples import Sample

pytestmark = pytest.mark.filterwarnings("ignore:.*fewer than 100 effective")

EDGES = np.array([60.0, 90.0, 130.0])
POINTS = {
    "sm": (0.0, 0.0),
    "w": (15.2, 0.1),
    "neg_w": (-15.4, 0.2),
    "ww": (0.3, 15.1),
    "neg_ww": (0.4, -15.3),
    "morphing_basis_vector_5": (-19.60508862934695, 19.1342318369043),
}


def jets(scale, efficiency="1"):
    """Jets with energies times `scale`; more of them pass where it is larger."""
    return Selection(
        {"pt_j1": f"{scale} * j[0].pt", "m_aa": "(a[0] + a[1]).m"},
        cuts=["pt_j1 > 50"],
        efficiencies=[efficiency],
        detector=Detector({"j": Resolution(pt=(0.0, 0.05))}),
    )


NOMINAL, UP, DOWN, TRIGGER = jets("1.0"), jets("1.1"), jets("0.9"), jets("1.0", "0.8")
VARIATIONS = {"jes": (UP, DOWN), "trigger": TRIGGER}


@pytest.fixture(scope="module")
def setup():
    systematics = [SelectionVariation("jes"), NormalisationUncertainty("rate", 0.2), SelectionVariation("trigger")]
    space = ParameterSpace([Parameter(name, bounds=(-20, 20), max_power=2) for name in ("CWL2", "CPWL2")])
    points = {name: dict(zip(space.names, values, strict=True)) for name, values in POINTS.items()}
    return Setup(space, points, systematics).with_morphing(max_overall_power=2, morphing_basis=list(POINTS))


@pytest.fixture(scope="module")
def samples(data):
    """Two signal samples with both variations, and a background with one, in files of 60, 30 and 30 events."""
    vbf = data / "vbf"
    both = ["jes", "rate", "trigger"]
    return [
        *(Sample(vbf / f"signal_{name}.lhe.gz", benchmark=name, systematics=both) for name in ("sm", "w")),
        Sample(vbf / "background_qcd.lhe.gz", background=True, name="qcd", systematics=["trigger"]),
    ]


@pytest.fixture(scope="module")
def run(samples, setup):
    def run(out, selection=NOMINAL, samples=samples, **options):
        return process(samples, setup, selection, out, progress=False, part_size=25, **options)

    return run


@pytest.fixture(scope="module")
def store(run, tmp_path_factory):
    return run(tmp_path_factory.mktemp("v") / "events.zarr", variations=VARIATIONS)


@pytest.fixture(scope="module")
def alone(samples, setup, tmp_path_factory):
    """Stores that were processed with each selection as the nominal one; qcd, if `jes` varies, with the nominal one."""
    folder, stores = tmp_path_factory.mktemp("alone"), {}
    plain = Setup(setup.space, setup.benchmarks, [NormalisationUncertainty("rate", 0.2)]).with_morphing(
        max_overall_power=2, morphing_basis=list(POINTS)
    )
    own = [dataclasses.replace(s, systematics=("rate",) if s.benchmark else ()) for s in samples]
    for name, selection in {"nominal": NOMINAL, "up": UP, "down": DOWN, "trigger": TRIGGER}.items():
        stores[name] = process(own, plain, selection, folder / f"{name}.zarr", part_size=25, progress=False)
    return stores


def columns(store, signal=None):
    found = store.columns(slice(0, len(store)))
    background = np.array([s.background for s in store.samples])[found["sample"]]
    keep = slice(None) if signal is None else background != signal
    return {name: found[name][keep] for name in ("observables", "weights", "nuisance_weights", "sample", "event")}


def assert_same(one, other):
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_varied_events_are_those_of_the_varied_selection(store, alone):
    """In samples that the nuisance parameter acts on; others are as they are nominally."""
    assert store.variations == ("jes", "trigger")
    assert_same(columns(store), columns(alone["nominal"]))
    (up, down), (trigger,) = store.varied("jes"), store.varied("trigger")
    for varied, name in ((up, "up"), (down, "down")):
        assert_same(columns(varied, signal=True), columns(alone[name], signal=True))
        assert_same(columns(varied, signal=False), columns(alone["nominal"], signal=False))
        assert varied.attributes["selection"] == alone[name].attributes["selection"]
        assert len(columns(varied, signal=False)["event"]) > 0
    assert_same(columns(trigger), columns(alone["trigger"]))
    assert len(down) < len(store) < len(up)
    assert store.nuisance_names == ("rate",)


def test_events_keep_their_partition_in_every_selection(store):
    """So that nothing that is learned or filled with the one meets events of another partition in the other."""

    def partitions(store):
        found = store.columns(slice(0, len(store)))
        return dict(zip(zip(found["sample"], found["event"], strict=True), found["partition"], strict=True))

    nominal = partitions(store)
    for varied in (*store.varied("jes"), *store.varied("trigger")):
        codes = partitions(varied)
        common = nominal.keys() & codes.keys()
        assert len(common) > 50
        assert all(nominal[key] == codes[key] for key in common)
        assert set(codes.values()) == {0, 1, 2}
    assert partitions(store.varied("jes")[0]).keys() - nominal.keys()  # some pass there alone


def test_parts_and_interruptions_change_nothing(run, store, tmp_path, monkeypatch, samples):
    """A run that was killed after its files were read, or in the middle of writing, goes on to the same bits."""

    original = processing_module.assemble

    def killed(*args, **options):
        original(*args, **options)
        raise KeyboardInterrupt

    out = tmp_path / "events.zarr"
    monkeypatch.setattr(processing_module, "assemble", killed)
    with pytest.raises(KeyboardInterrupt):
        run(out, variations=VARIATIONS)
    out.rename(tmp_path / "elsewhere.zarr")
    monkeypatch.undo()
    again = run(out, variations=VARIATIONS)
    assert again.hash == store.hash
    assert [s.hash for s in again.varied("jes")] == [s.hash for s in store.varied("jes")]
    moved = EventStore(out.rename(tmp_path / "moved.zarr"))
    assert len(moved.varied("jes")[0]) == len(store.varied("jes")[0])
    swapped = run(tmp_path / "swapped.zarr", variations=VARIATIONS | {"jes": (DOWN, UP)})
    assert swapped.hash != store.hash
    with pytest.raises(OutputExistsError, match=r"variations\.jes\[0\]"):
        run(tmp_path / "swapped.zarr", variations=VARIATIONS)


def filled(store):
    """Counts of pt_j1 with weights at the reference benchmark, all events; signal and background apart."""
    block = next(store.blocks())
    index, w = np.digitize(block.x[:, 0], EDGES), block.benchmark_weights[:, 0]
    return [np.bincount(index, w * (block.background == b), len(EDGES) + 1) for b in (False, True)]


@pytest.fixture(scope="module")
def likelihood(store):
    return HistogramLikelihood.from_store(store, "pt_j1", 1e6, bins=EDGES, partition="all", nuisances=True)


def at(likelihood, **nus):
    return likelihood.templates.at(np.array([nus.get(name, 0.0) for name in likelihood.names]))


def test_templates_go_through_the_varied_histograms(likelihood, alone):
    assert likelihood.names == ("CWL2", "CPWL2", "rate", "jes", "trigger")
    signal, background = filled(alone["nominal"])
    (up, _), (down, _), (signal_off, background_off) = (filled(alone[n]) for n in ("up", "down", "trigger"))
    assert (signal > 0).all()
    np.testing.assert_allclose(at(likelihood), signal + background, rtol=1e-12)
    np.testing.assert_allclose(at(likelihood, jes=1.0), up + background, rtol=1e-12)
    np.testing.assert_allclose(at(likelihood, jes=-1.0), down + background, rtol=1e-12)
    np.testing.assert_allclose(at(likelihood, trigger=1.0), signal_off + background_off, rtol=1e-12)
    np.testing.assert_allclose(at(likelihood, trigger=1.0), 0.8 * at(likelihood), rtol=1e-12)
    np.testing.assert_allclose(at(likelihood, jes=1.0, rate=1.0), 1.2 * up + background, rtol=1e-12)
    half = signal * (up / down) ** 0.25 * (up * down / signal**2) ** 0.125
    np.testing.assert_allclose(at(likelihood, jes=0.5), half + background, rtol=1e-12)
    # negative control: up is not down, and neither is nominal
    assert np.abs(up / down - 1.0).max() > 0.2
    assert np.abs(up / signal - 1.0).max() > 0.1


def test_the_rate_is_that_of_the_varied_selection(likelihood, alone):
    """Where more events pass, there are more; and a data set made at another scale is found there."""
    sums = {name: np.sum(filled(store), axis=1) for name, store in alone.items()}
    point = dict.fromkeys(likelihood.names, 0.0)
    expected = likelihood.rate.total.at(np.array([*(point | {"jes": 1.0}).values()]))
    np.testing.assert_allclose(expected, sums["up"][0] + sums["nominal"][1], rtol=1e-12)
    data = likelihood.asimov(point | {"jes": 0.6})
    scan = np.linspace(-1.0, 1.0, 41)
    points = np.array([[*(point | {"jes": nu}).values()] for nu in scan])
    assert scan[np.argmax(likelihood.log_likelihood(points, data))] == pytest.approx(0.6)


def test_gradients_along_varied_selections(likelihood):
    at_point, h = np.array([0.3, -0.2, 0.4, 0.7, -0.5]), 1e-6
    gradient = likelihood.templates.gradient(at_point)
    for i, direction in enumerate(np.eye(5)):
        up, down = (likelihood.templates.at(at_point + s * h * direction) for s in (1, -1))
        np.testing.assert_allclose(gradient[i], (up - down) / (2 * h), rtol=1e-6, atol=1e-9 * np.abs(up).max())


def test_histograms_inform_about_varied_selections(store, likelihood):
    """The slope of a bin is that of its logarithm between the varied histograms, of signal and background apart."""
    fisher, point = FisherInformation(store, 1e6), np.zeros(5)
    templates = fisher.templates("sm", "pt_j1", EDGES)
    information = templates.information(point)
    sigma, slopes = likelihood.templates.at(point), likelihood.templates.gradient(point)
    expected = sum(np.outer(g, g) / s for g, s in zip(slopes.T, sigma, strict=True))
    np.testing.assert_allclose(information, expected, rtol=1e-10)
    up, down = (at(likelihood, jes=nu) for nu in (1e-4, -1e-4))
    assert information[3, 3] == pytest.approx((((up - down) / 2e-4) ** 2 / sigma).sum(), rel=1e-6)
    # What FisherInformation knows is the same; and the other parameters cost precision.
    plain = fisher.histogram("sm", "pt_j1", EDGES)
    np.testing.assert_allclose(1e6 * information[:2, :2], plain.information[:2, :2], rtol=1e-10)
    grid = Grid([(-0.1, 0.1, 3), (-0.1, 0.1, 3)])
    metric = Metric.from_store(store, 1e6, grid, "pt_j1", bins=EDGES)([[0.0, 0.0]])[0]
    constrained = 1e6 * information + np.diag([0.0, 0.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(np.linalg.inv(metric), np.linalg.inv(constrained)[:2, :2], rtol=1e-8)
    without = (plain + fisher.constraints()).profile(["CWL2", "CPWL2"]).information
    assert metric[0, 0] < 0.99 * without[0, 0]


def test_cuts_and_efficiencies_see_the_varied_observables(store, alone):
    options = {"cuts": ["pt_j1 > 80"], "efficiencies": ["pt_j1 / 200"], "nuisances": True, "partition": "all"}
    likelihood = HistogramLikelihood.from_store(store, "pt_j1", 1e6, bins=EDGES, **options)
    expected = np.zeros(len(EDGES) + 1)
    for name, background in (("up", False), ("nominal", True)):
        block = next(alone[name].blocks())
        keep = (block.x[:, 0] > 80) & (block.background == background)
        x, w = block.x[keep, 0], block.benchmark_weights[keep, 0]
        expected += np.bincount(np.digitize(x, EDGES), w * x / 200, len(EDGES) + 1)
    np.testing.assert_allclose(at(likelihood, jes=1.0), expected, rtol=1e-12)


def test_partitions_of_templates_are_kept(store):
    """Train and validation together, each scaled to the whole: what both of them say of the cross section."""
    likelihood = HistogramLikelihood.from_store(store, "m_aa", 1e6, bins=[[0.0]], nuisances=True)
    up = store.varied("jes")[0]
    sample, rows = up.sample[:], np.isin(up.partition[:], [0, 1])
    kept = np.bincount(sample[rows]) / np.bincount(sample)
    generated = np.array([60, 30])
    scale = np.append(generated / (generated @ kept[:2]), 1.0 / kept[2])
    expected = (up.weights[:, 0] * scale[sample])[rows].sum()
    assert at(likelihood, jes=1.0).sum() == pytest.approx(expected, rel=1e-9)
    assert at(likelihood).sum() != pytest.approx(expected, rel=1e-3)


def test_combined_parts_are_varied_like_the_whole(run, samples, store, likelihood, tmp_path):
    """Signal with both variations and a background with one, processed apart."""
    signal = run(tmp_path / "signal.zarr", samples=samples[:2], variations=VARIATIONS)
    qcd = run(tmp_path / "qcd.zarr", samples=samples[2:], variations={"trigger": TRIGGER})
    both = combine([signal, qcd], tmp_path / "both.zarr", k_factors=[1.0, 2.0])
    assert both.variations == store.variations
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.zarr", "qcd.zarr", "signal.zarr"]
    for name in store.variations:
        for ours, theirs in zip(both.varied(name), store.varied(name), strict=True):
            for background in (False, True):
                mine, yours = columns(ours, signal=not background), columns(theirs, signal=not background)
                order, theirs_order = (np.lexsort((c["event"], c["sample"])) for c in (mine, yours))
                np.testing.assert_array_equal(mine["observables"][order], yours["observables"][theirs_order])
                factor = 2.0 if background else 1.0
                np.testing.assert_allclose(mine["weights"][order], factor * yours["weights"][theirs_order])
    combined = HistogramLikelihood.from_store(both, "pt_j1", 1e6, bins=EDGES, partition="all", nuisances=True)
    for nus in ({}, {"jes": 1.0}, {"jes": -0.4, "trigger": 0.7}):
        point = np.array([nus.get(name, 0.0) for name in likelihood.names])
        theirs = likelihood.templates.at(point)
        extra = likelihood.templates.background * likelihood.templates.background_variations.factors(point[2:])
        np.testing.assert_allclose(combined.templates.at(point), theirs + extra, rtol=1e-12)
    one_sided = run(tmp_path / "one.zarr", samples=samples[1:2], variations={"jes": UP, "trigger": TRIGGER})
    with pytest.raises(InputError, match="'jes' has one other selection in one store, and two"):
        combine([run(tmp_path / "two.zarr", samples=samples[:1], variations=VARIATIONS), one_sided], tmp_path / "x")


def test_stores_from_before_have_no_variations(alone, tmp_path):
    folder = tmp_path / "old.zarr"
    shutil.copytree(alone["nominal"].path, folder)
    group = zarr.open_group(str(folder), mode="r+")
    attributes = dict(group.attrs)
    assert attributes.pop("variations") == {}
    group.attrs.clear()
    group.attrs.update(attributes)
    old = EventStore(folder)
    assert "variations" not in old.attributes
    assert old.variations == ()
    likelihood = HistogramLikelihood.from_store(old, "pt_j1", 1e6, bins=EDGES, nuisances=True)
    assert likelihood.names == ("CWL2", "CPWL2", "rate")


def test_gold_knows_nothing_of_varied_selections(store):
    """At fixed x weights do not change: a score of zero would be a lie, so that there is none."""
    sample = sample_local(store, "sm", 50)
    assert sample.parameter_names == ("CWL2", "CPWL2", "rate")
    with pytest.raises(UnknownNameError, match="no nuisance parameter is called 'jes'"):
        sample_ratio(store, "sm", "w", 50, nu0={"jes": 1.0})
    # But the events at nu = 1 are a store, to be drawn from.
    assert len(sample_local(store.varied("jes")[0], "sm", 50)) == 50


def test_what_does_not_fit_is_said_before_events_are_read(run, samples, store, alone, tmp_path):
    out = tmp_path / "s.zarr"
    with pytest.raises(MissingError, match="SelectionVariation 'trigger', whose selections are missing"):
        run(out, variations={"jes": UP})
    with pytest.raises(UnknownNameError, match=r"no SelectionVariation called 'je'. Did you mean 'jes'"):
        run(out, variations=VARIATIONS | {"je": UP})
    with pytest.raises(InputError, match="one selection, or two"):
        run(out, variations=VARIATIONS | {"jes": (UP, DOWN, UP)})
    with pytest.raises(InputError, match="need the observables pt_j1, m_aa, in this order"):
        run(out, variations=VARIATIONS | {"jes": Selection({"pt_j1": "j[0].pt"})})
    with pytest.raises(InputError, match="'jes' acts on no sample"):
        run(out, samples=samples[2:], variations=VARIATIONS)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UnknownNameError, match=r"no selections that vary 'je'. Did you mean 'jes'"):
        store.varied("je")
    with pytest.raises(InputError, match="a slice have no counterparts for 'jes'"):
        HistogramLikelihood.from_store(store, "pt_j1", 1.0, bins=EDGES, partition=slice(0, 50), nuisances=True)
