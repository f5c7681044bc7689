"""NanoAOD: the real open-data file, and files of its shape that hold events whose every weight is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot
from nanoaod_files import damage, relative_weights, write_nanoaod, write_tree

import columnminer as cm
from columnminer.errors import FileFormatError
from columnminer.formats.nanoaod import NanoAODReader
from columnminer.formats.reader import Generated
from columnminer.schema import NOMINAL

if TYPE_CHECKING:
    from columnminer.schema import EventBatch

SELECTION = cm.Selection(
    {"m_ll": "(mu[0] + mu[1]).m", "pt": "mu[0].pt", "charge": "mu[0].charge", "met": "met.pt"}, cuts=["mu[1].pt > 20"]
)


@pytest.fixture(scope="module")
def drell_yan() -> cm.DrellYan:
    return cm.DrellYan()


@pytest.fixture(scope="module")
def events(drell_yan: cm.DrellYan) -> EventBatch:
    return relative_weights(drell_yan.generate(600, "sm", seed=3))


@pytest.fixture
def written(tmp_path: Path, events: EventBatch) -> Path:
    write_nanoaod(tmp_path / "signal.root", events)
    return tmp_path / "signal.root"


def processed(samples: list[cm.Sample], setup: cm.Setup, out: Path, **options: object) -> cm.EventStore:
    return cm.process(samples, setup, SELECTION, out, progress=False, **options)


# The real file


def test_the_open_data_file_says_what_its_weights_are(shared: Path) -> None:
    path = shared / "nanoaod" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    info = cm.open_reader(path).info()
    assert info.n_events == 200
    assert info.generated is None  # it has no Runs tree
    assert info.weight_names[0] == NOMINAL
    assert sum(name.startswith("LHEScaleWeight") for name in info.weight_names) == 9
    assert sum(name.startswith("LHEPdfWeight") for name in info.weight_names) == 102
    assert info.weight_descriptions["LHEPdfWeight[1]"] == "PDF=292202"
    scale = cm.ScaleUncertainty("scale").shifts(info.weight_names, info.weight_descriptions)
    assert (scale[0].up, scale[0].down) == ("LHEScaleWeight[8]", "LHEScaleWeight[0]")
    pdf = cm.PDFUncertainty("pdf", 292201, 100, errors="replicas").shifts(info.weight_names, info.weight_descriptions)
    assert [shift.up for shift in pdf[:2]] == ["LHEPdfWeight[1]", "LHEPdfWeight[2]"]


def test_the_open_data_file_reads_as_uproot_reads_it(shared: Path) -> None:
    path = shared / "nanoaod" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    reader = cm.open_reader(path)
    batches = list(reader.batches(size=90, skip=15))
    assert [(batch.first_event, len(batch)) for batch in batches] == [(15, 90), (105, 90), (195, 5)]
    with uproot.open(path) as file:
        names = ["genWeight", "LHEScaleWeight", "Jet_pt", "Muon_charge", "MET_pt"]
        raw = file["Events"].arrays(names, entry_start=15)
    weights = np.concatenate([batch.weights for batch in batches])
    nominal = ak.to_numpy(raw["genWeight"]).astype(float)
    np.testing.assert_array_equal(weights[:, 0], nominal)
    np.testing.assert_array_equal(weights[:, 1:10], nominal[:, None] * ak.to_numpy(raw["LHEScaleWeight"]))
    for field, branch in {("j", "pt"): "Jet_pt", ("mu", "charge"): "Muon_charge", ("met", "pt"): "MET_pt"}.items():
        ours = ak.concatenate([batch.events[field] for batch in batches])
        assert ak.all(ours == raw[branch])


def test_the_open_data_file_becomes_a_store(shared: Path, tmp_path: Path) -> None:
    path = shared / "nanoaod" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    space = cm.ParameterSpace([cm.Parameter("c")])
    setup = cm.Setup(space, {"sm": {"c": 0}}, systematics=[cm.ScaleUncertainty("scale")])
    selection = cm.Selection(
        {"n_jets": "len(j)", "ht": lambda events: ak.sum(events.Jet.pt, axis=1), "n_tight": "len(tight)"},
        objects={"tight": lambda events: events.Jet[(events.Jet.pt > 40) & (events.Jet.btagDeepFlavB > 0.3)]},
        cuts=["len(j) >= 2"],
    )
    sample = cm.Sample(path, benchmark="sm", cross_section=831.8, systematics="scale")
    store = cm.process([sample], setup, selection, tmp_path / "tt.zarr", progress=False)
    with uproot.open(path) as file:
        raw = file["Events"].arrays(["Jet_pt", "Jet_btagDeepFlavB", "genWeight"])
    kept = ak.num(raw.Jet_pt) >= 2
    np.testing.assert_array_equal(store.observables[:, 0], ak.num(raw.Jet_pt)[kept])
    np.testing.assert_allclose(store.observables[:, 1], ak.sum(raw.Jet_pt, axis=1)[kept], rtol=1e-5)
    tight = ak.sum((raw.Jet_pt > 40) & (raw.Jet_btagDeepFlavB > 0.3), axis=1)
    np.testing.assert_array_equal(store.observables[:, 2], tight[kept])
    share = (
        ak.to_numpy(raw.genWeight)[ak.to_numpy(kept)].astype(float).sum()
        / ak.to_numpy(raw.genWeight).astype(float).sum()
    )
    assert store.xsec().value[0] == pytest.approx(831.8 * share, rel=1e-9)


def test_functions_read_only_what_they_use(shared: Path) -> None:
    path = shared / "nanoaod" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    batch = next(NanoAODReader(path, weights=[NOMINAL]).batches())
    log: list[Any] = []
    batch.events.attrs["@events_factory"]._mapping._access_log = log
    selection = cm.Selection(
        {"n": "len(tight)", "pt": "tight[0].pt"},
        objects={"tight": lambda events: events.Jet[(events.Jet.pt > 30) & (events.Jet.jetId > 0)]},
        cuts=["met.pt > 5"],
    )
    assert selection.apply(batch).passed.any()
    read = {entry.branch for entry in log}
    assert {"Jet_pt", "Jet_jetId", "MET_pt"} <= read
    assert not any(name.startswith(("Electron", "Muon_", "Tau", "Photon", "LHE")) for name in read)


# Files of its shape


def test_the_store_is_that_of_the_lhe_events(
    drell_yan: cm.DrellYan, events: EventBatch, written: Path, tmp_path: Path
) -> None:
    setup = drell_yan.setup()
    cm.write_lhe(tmp_path / "signal.lhe", events, drell_yan.info("sm"))
    stores = [
        processed([cm.Sample(path, benchmark="sm", cross_section=12.5, k_factor=1.1)], setup, tmp_path / f"{i}.zarr")
        for i, path in enumerate([written, tmp_path / "signal.lhe"])
    ]
    nano, lhe = stores
    np.testing.assert_array_equal(nano.weights[:], lhe.weights[:])
    met = nano.observable_names.index("met")  # the files were given one, as neutrinos there are none
    np.testing.assert_allclose(np.delete(nano.observables[:], met, 1), np.delete(lhe.observables[:], met, 1), rtol=1e-5)
    assert len(nano) > 500
    assert nano.samples[0].cross_section == pytest.approx(12.5 * 1.1)


def test_ranges_of_a_file_are_tasks_with_the_same_outcome(
    drell_yan: cm.DrellYan, written: Path, tmp_path: Path
) -> None:
    sample = [cm.Sample(written, benchmark="sm", cross_section=1.0)]
    whole = processed(sample, drell_yan.setup(), tmp_path / "whole.zarr", part_size=200)
    split = processed(sample, drell_yan.setup(), tmp_path / "split.zarr", part_size=200, workers=2)
    assert split.hash == whole.hash
    assert split.attributes["samples"] == whole.attributes["samples"]  # the hash of the file, too


def test_files_of_a_sample_have_the_factor_of_their_sum_of_weights(
    drell_yan: cm.DrellYan, events: EventBatch, tmp_path: Path
) -> None:
    runs = {
        "genEventCount": np.array([900, 100]),
        "genEventSumw": np.array([700.0, 300.0]),
        "genEventSumw2": np.ones(2),
    }
    write_nanoaod(tmp_path / "skim.root", events, runs=runs)
    other = relative_weights(drell_yan.generate(200, "sm", seed=9))
    write_nanoaod(tmp_path / "other.root", other)
    assert NanoAODReader(tmp_path / "skim.root").info().generated == Generated(1000, 1000.0, 2.0)
    sample = cm.Sample([tmp_path / "skim.root", tmp_path / "other.root"], benchmark="sm", cross_section=24.0)
    store = processed([sample], drell_yan.setup(), tmp_path / "out.zarr")
    np.testing.assert_allclose(store.weights[:, 0], 24.0 / (1000 + 200), rtol=1e-12)
    assert store.samples[0].n_generated == 1200


def test_weights_can_be_named_by_the_user_or_by_their_couplings(
    drell_yan: cm.DrellYan, events: EventBatch, tmp_path: Path
) -> None:
    setup = drell_yan.setup()
    write_nanoaod(tmp_path / "silent.root", events, names=[])
    with pytest.raises(cm.ColumnMinerError, match="no weight for benchmark 'c_ll_plus'"):
        processed([cm.Sample(tmp_path / "silent.root", benchmark="sm")], setup, tmp_path / "none.zarr")
    named = cm.Sample(
        tmp_path / "silent.root", benchmark="sm", cross_section=1.0, weight_names=list(setup.benchmark_names)
    )
    labels = [
        f"EFTrwgt{i}_" + "_".join(f"{name}_{value}" for name, value in benchmark.values.items())
        for i, benchmark in enumerate(setup.benchmarks)
    ]
    write_nanoaod(tmp_path / "labels.root", events, names=labels)
    labelled = cm.Sample(tmp_path / "labels.root", benchmark="sm", cross_section=1.0)
    stores = [processed([s], setup, tmp_path / f"{i}.zarr") for i, s in enumerate([named, labelled])]
    np.testing.assert_array_equal(stores[0].weights[:], stores[1].weights[:])
    assert stores[0].weights[:, 1].std() > 0


def test_a_label_with_an_unknown_coupling_is_refused(
    drell_yan: cm.DrellYan, events: EventBatch, tmp_path: Path
) -> None:
    names = [*events.weight_names[1:-1], "c_ll_2.0_c_xx_1.5"]
    write_nanoaod(tmp_path / "f.root", events, names=names)
    with pytest.raises(cm.ColumnMinerError, match=r"f\.root: the weight 'c_ll_2\.0_c_xx_1\.5' names 'xx'"):
        processed([cm.Sample(tmp_path / "f.root", benchmark="sm")], drell_yan.setup(), tmp_path / "o.zarr")


def test_parton_shower_weights_are_variations(drell_yan: cm.DrellYan, events: EventBatch, tmp_path: Path) -> None:
    n = len(events)
    shower = np.tile(np.array([1.5, 0.75], np.float32), (n, 1))
    title = "PS weights (w_var / w_nominal);   [0] is ISR=2 FSR=1; [1] is ISR=0.5 FSR=1[2] is ISR=1 FSR=0.5;"
    shower = np.hstack([shower, np.ones((n, 1), np.float32)])
    write_nanoaod(tmp_path / "f.root", events, extra={"PSWeight": ak.from_regular(shower)}, titles={"PSWeight": title})
    setup = cm.Setup(
        drell_yan.setup().space,
        drell_yan.setup().benchmarks,
        systematics=[cm.WeightVariation("isr", up="ISR=2 FSR=1", down="ISR=0.5 FSR=1")],
    )
    sample = cm.Sample(tmp_path / "f.root", benchmark="sm", cross_section=1.0, systematics="isr")
    store = processed([sample], setup, tmp_path / "o.zarr")
    factors = [store.event_weights("sm", nu=[nu])[0] / store.event_weights("sm")[0] for nu in (1, -1)]
    np.testing.assert_allclose(factors[0], 1.5, rtol=1e-12)
    np.testing.assert_allclose(factors[1], 0.75, rtol=1e-12)


def test_recorded_events_pass_where_they_are_certified(
    drell_yan: cm.DrellYan, events: EventBatch, written: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "golden.json"
    mask.write_text(json.dumps({"1": [[3, 4], [8, 8]], "2": [[1, 100]]}))
    selection = cm.Selection({"block": lambda e: e.luminosityBlock}, cuts=[cm.LuminosityMask(mask)])
    write_nanoaod(tmp_path / "data.root", events, drop=["genWeight", "LHEReweightingWeight"], runs={})
    store = cm.process(
        [cm.Sample(tmp_path / "data.root", data=True)],
        drell_yan.setup(),
        selection,
        tmp_path / "d.zarr",
        progress=False,
    )
    assert np.unique(store.observables[:, 0]).tolist() == [3, 4, 8]
    assert len(store) == 30
    simulated = cm.process(
        [cm.Sample(written, benchmark="sm", cross_section=1.0)],
        drell_yan.setup(),
        selection,
        tmp_path / "s.zarr",
        progress=False,
    )
    assert len(simulated) == 600
    (tmp_path / "wrong.json").write_text("[1, 2]")
    with pytest.raises(cm.ColumnMinerError, match=r"wrong\.json: this is no luminosity mask"):
        cm.LuminosityMask(tmp_path / "wrong.json")


# Bad files


def test_a_damaged_basket_names_file_and_events_and_others_carry_on(
    drell_yan: cm.DrellYan, events: EventBatch, written: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.root"
    write_nanoaod(bad, events)
    damage(bad, "Muon_pt", 2)
    other = cm.Sample(written, benchmark="sm", name="good", cross_section=1.0)
    broken = cm.Sample(bad, benchmark="sm", name="bad", cross_section=1.0)
    out = tmp_path / "o.zarr"
    with pytest.raises(cm.ColumnMinerError, match=r"bad\.root, events 0 to 599 .*damaged") as raised:
        processed([broken, other], drell_yan.setup(), out)
    assert "1 of 2 failed" in str(raised.value)
    parts = [path for path in (tmp_path / "o.zarr.parts").rglob("0*") if len(path.name) == 12 and path.name.isdigit()]
    assert len(parts) == 1  # that of the good one
    write_nanoaod(tmp_path / "fine.root", events)
    weights_only = NanoAODReader(bad, weights=[NOMINAL])  # the damage is where nobody looks
    assert sum(len(batch) for batch in weights_only.batches()) == 600


@pytest.mark.parametrize("count", [b"\xff\xff\xff\xff", b"\0\0\xff\xff", b"\x7f\xff\xff\xff"])
def test_counts_that_lead_beyond_their_content_are_damage(tmp_path: Path, count: bytes) -> None:
    """Awkward stumbles over them when a column is used, in its own way; the message names file, events and object."""
    whole = Path(__file__).parent / "data" / "fuzz" / "nanoaod.root"
    content = bytearray(whole.read_bytes())
    with uproot.open(whole) as file:
        branch = file["Events/nMuon"]
        end = int(branch.member("fBasketSeek")[0] + branch.member("fBasketBytes")[0])
        assert content[end - 4 : end] == b"\0\0\0\2"  # not compressed: the last event of this part has two muons
    content[end - 4 : end] = count
    (tmp_path / "bad.root").write_bytes(content)
    selection = cm.Selection({"pt": "mu[0].pt"}, defaults={"pt": 0.0})
    batches = NanoAODReader(tmp_path / "bad.root").batches(size=2)
    with pytest.raises(FileFormatError, match=r"bad\.root, events \d to \d .*: mu.*damaged"):
        list(map(selection.apply, batches))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"root" + b"\x00" * 200, "a ROOT file without a tree"),
        (b"no root file at all", "no event file of a known format"),
    ],
)
def test_what_is_no_root_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.root").write_bytes(content)
    with pytest.raises(cm.ColumnMinerError, match=rf"x\.root.*{message}"):
        cm.open_reader(tmp_path / "x.root").info()


def test_a_cut_file_is_named(tmp_path: Path, written: Path) -> None:
    cut = tmp_path / "cut.root"
    cut.write_bytes(written.read_bytes()[:20_000])
    with pytest.raises(cm.ColumnMinerError, match=r"cut\.root"):
        cm.open_reader(cut).info()


def test_a_file_without_events_is_named(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "x.root") as file:
        write_tree(file, "Other", {"x": np.ones(3)}, {}, 3)
    with pytest.raises(cm.ColumnMinerError, match=r"x\.root.*without a tree of events.*Other"):
        cm.open_reader(tmp_path / "x.root")
    with pytest.raises(cm.ColumnMinerError, match="there is no tree 'Events'"):
        NanoAODReader(tmp_path / "x.root").info()
    with uproot.recreate(tmp_path / "y.root") as file:
        write_tree(file, "Events", {"x": np.ones(3)}, {}, 3)
    with pytest.raises(cm.ColumnMinerError, match=r"y\.root.*not what it should be"):
        NanoAODReader(tmp_path / "y.root").info()


def test_a_missing_branch_is_named(drell_yan: cm.DrellYan, events: EventBatch, tmp_path: Path) -> None:
    write_nanoaod(tmp_path / "f.root", events, drop=["MET_pt", "MET_phi"])
    with pytest.raises(cm.ColumnMinerError, match=r"f\.root: these events give no 'met'"):
        processed(
            [cm.Sample(tmp_path / "f.root", benchmark="sm", cross_section=1.0)], drell_yan.setup(), tmp_path / "o"
        )


def test_fewer_weights_than_declared_are_named(drell_yan: cm.DrellYan, events: EventBatch, tmp_path: Path) -> None:
    ratios = (events.weights[:, 1:] / events.weights[:, :1]).astype(np.float32).tolist()
    ratios[317].pop()
    write_nanoaod(tmp_path / "f.root", events, extra={"LHEReweightingWeight": ak.Array(ratios)})
    sample = cm.Sample(tmp_path / "f.root", benchmark="sm", cross_section=1.0)
    with pytest.raises(cm.ColumnMinerError, match=rf"weight '{events.weight_names[-1]}' of event 317 "):
        processed([sample], drell_yan.setup(), tmp_path / "o.zarr")
    with pytest.raises(cm.ColumnMinerError, match="weight_names has 2 names, but LHEReweightingWeight has 6"):
        cm.open_reader(tmp_path / "f.root", weight_names=["a", "b"]).info()
