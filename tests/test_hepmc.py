"""HepMC files against pyhepmc, against the parton-level events they were showered from, and against themselves."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import tracemalloc
import warnings
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pyhepmc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import columnminer as cm
from columnminer.errors import FileFormatError, InputError
from columnminer.formats.hepmc import HepMCReader
from columnminer.formats.hepmc_header import weight_columns
from columnminer.formats.reader import Reader
from columnminer.schema import NOMINAL

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (NOMINAL, "w", "neg_w", "ww", "neg_ww", "morphing_basis_vector_5")
FIELDS = ("px", "py", "pz", "e", "pdgid", "status")


@pytest.fixture(scope="module")
def small(data) -> Path:
    return data / "hepmc" / "signal_sm_pythia8.hepmc.gz"


@pytest.fixture(scope="module")
def text(small) -> str:
    return gzip.decompress(small.read_bytes()).decode()


def by_pyhepmc(path: Path, *, final: bool = True) -> list[dict[str, np.ndarray]]:
    """The same columns, from another program."""
    events = []
    with pyhepmc.open(str(path)) as file:
        for event in file:
            p = event.numpy.particles
            kept = p.status == 1 if final else np.ones(len(p.status), dtype=bool)
            columns = {"px": p.px, "py": p.py, "pz": p.pz, "e": p.e, "pdgid": p.pid, "status": p.status}
            events.append({name: np.array(column[kept]) for name, column in columns.items()})
            events[-1] |= {"weights": np.array(event.weights), "number": event.event_number}
    return events


def as_hepmc2(source: Path, target: Path) -> Path:
    with (
        pyhepmc.open(str(source)) as events,
        pyhepmc.open(str(target), "w", format="HepMC2") as out,
    ):
        for event in events:
            out.write(event)
    return target


def final(batch):
    return batch.events.particles[batch.events.particles.status == 1]


def agree(batches, events, *, ordered: bool = True) -> None:
    particles = ak.concatenate([final(batch) for batch in batches])
    if not ordered:  # pyhepmc sorts the particles of HepMC2 along the graph
        particles = particles[ak.argsort(particles.pz, stable=True)]
        orders = [np.argsort(event["pz"], kind="stable") for event in events]
        events = [
            {n: c[o] if n in FIELDS else c for n, c in event.items()} for event, o in zip(events, orders, strict=True)
        ]
    numbers = ak.concatenate([batch.events.event_number for batch in batches])
    assert numbers.to_list() == [event["number"] for event in events]
    assert ak.num(particles).to_list() == [len(event["px"]) for event in events]
    for name in FIELDS:
        ours, theirs = ak.to_numpy(ak.flatten(particles[name])), np.concatenate([event[name] for event in events])
        # pyhepmc reads numbers with a conversion of its own, whose last bit may differ.
        np.testing.assert_allclose(ours, theirs, rtol=4e-16, atol=0)
    weights = np.concatenate([batch.weights for batch in batches])
    np.testing.assert_allclose(weights, [event["weights"] for event in events], rtol=4e-16)


def write(folder: Path, text: str, name: str = "events.hepmc") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return path


def read(path: Path):
    return cm.open_reader(path).batches(size=1)


def first_fault(path: Path) -> tuple[int, str]:
    batches = []
    with pytest.raises(FileFormatError) as caught:
        batches.extend(read(path))
    return sum(map(len, batches)), str(caught.value)


def test_the_committed_file_agrees_with_pyhepmc(small):
    reader = cm.open_reader(small, digest=True)
    assert isinstance(reader, HepMCReader)
    assert isinstance(reader, Reader)
    info = reader.info()
    assert info.weight_names == NAMES
    assert info.weight_descriptions == {NOMINAL: "Weight"}
    assert (info.cross_section, info.weighting) == (1.041e-3, None)
    batches = list(reader.batches(size=2))
    assert [(len(b), b.first_event, b.showered, b.source) for b in batches] == [
        (2, 0, True, str(small)),
        (2, 2, True, str(small)),
        (1, 4, True, str(small)),
    ]
    agree(batches, by_pyhepmc(small))
    raw = small.read_bytes()
    assert reader.content == {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_hepmc2(small, tmp_path, suffix):
    plain = as_hepmc2(small, tmp_path / "two.hepmc")
    path = write(tmp_path, plain.read_text(), "two.hepmc" + suffix)
    reader = cm.open_reader(path)
    info = reader.info()
    assert info.weight_names == NAMES
    assert info.cross_section == 1.041e-3
    assert info.attributes["format"] == "HepMC2 ascii"
    batches = list(reader.batches(size=3))
    agree(batches, by_pyhepmc(plain), ordered=False)
    agree(batches, by_pyhepmc(small), ordered=False)
    assert batches[0].events.process_id.to_list() == [0, 0, 0]


def test_all_particles(small, tmp_path):
    for path in (small, as_hepmc2(small, tmp_path / "two.hepmc")):
        (batch,) = HepMCReader(path, all_particles=True).batches()
        events = by_pyhepmc(path, final=False)
        for name in FIELDS:
            ours = ak.sort(batch.events.particles[name]).to_list()
            assert ours == [sorted(event[name].tolist()) for event in events]


def test_beside_the_final_state_there_is_what_tags_need(small):
    (batch,) = HepMCReader(small).batches()
    decayed = batch.events.particles[batch.events.particles.status != 1]
    assert np.all(decayed.status == 2)
    expected = []
    for event in by_pyhepmc(small, final=False):
        heavy = [
            int(pdgid)
            for pdgid, status in zip(event["pdgid"], event["status"], strict=True)
            if status == 2 and (abs(pdgid) == 15 or open_flavour(int(pdgid)) in {4, 5})
        ]
        expected.append(sorted(heavy))
    assert ak.sort(decayed.pdgid).to_list() == expected
    assert 15 in expected[3]
    assert any(abs(i) // 100 % 10 == 5 or abs(i) // 1000 % 10 == 5 for i in expected[4])


def open_flavour(pdgid: int) -> int:
    """Heaviest quark of a hadron that is not cancelled by its antiquark; 0 for everything else."""
    from particle import pdgid as ids

    if not ids.is_hadron(pdgid) or (ids.is_meson(pdgid) and abs(pdgid) // 100 % 10 == abs(pdgid) // 10 % 10):
        return 0
    return 5 if ids.has_bottom(pdgid) else 4 if ids.has_charm(pdgid) else 0


def test_energy_and_momentum_are_conserved(small):
    (batch,) = HepMCReader(small).batches()
    particles = final(batch)
    np.testing.assert_allclose(ak.sum(particles.e, axis=1), 13_000.0, rtol=1e-9)
    for component in ("px", "py", "pz"):
        np.testing.assert_allclose(ak.sum(particles[component], axis=1), 0.0, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("skip", [0, 1, 3, 5, 9])
def test_batches_of_any_size_are_the_same_events(small, size, skip):
    whole = next(HepMCReader(small).batches())
    batches = list(HepMCReader(small).batches(size=size, skip=skip))
    assert [b.first_event for b in batches] == list(range(min(skip, 5), 5, size))
    if batches:
        assert ak.array_equal(ak.concatenate([b.events for b in batches]), whole.events[skip:])
        np.testing.assert_array_equal(np.concatenate([b.weights for b in batches]), whole.weights[skip:])


def test_units(small, text, tmp_path):
    (gev,) = HepMCReader(small).batches()
    with pyhepmc.open(str(small)) as events, pyhepmc.open(str(tmp_path / "mev.hepmc"), "w") as out:
        for event in events:
            event.set_units(pyhepmc.Units.MEV, pyhepmc.Units.CM)
            out.write(event)
    assert "U MEV CM" in (tmp_path / "mev.hepmc").read_text()
    (mev,) = cm.open_reader(tmp_path / "mev.hepmc").batches()
    for name in ("px", "py", "pz", "e"):
        np.testing.assert_allclose(
            ak.flatten(mev.events.particles[name]), ak.flatten(gev.events.particles[name]), rtol=1e-12, atol=1e-12
        )
    n, message = first_fault(write(tmp_path, text.replace("U GEV", "U TEV", 3)))
    assert n == 0
    assert "'TEV' is no unit" in message


EVENT = """E {number} 1 3
U GEV MM
{weights}A 0 GenCrossSection {xs} 0.5 10 10
A 0 event_scale 91.2
A 0 alphaQCD 0.118
A 0 alphaQED 0.0078
A 0 signal_process_id 221
A 0 signal_process_vertex 1
A 3 flow1 501
P 1 0 22 0 0 5 5 0 4
V -1 0 [1]
P 2 -1 11 0 0 2.5 2.5 0.000511 1
P 3 -1 -11 0 0 2.5 2.5 0.000511 1
"""


def made(weights: list[str], *, names: str = "", xs: tuple[float, ...] = (2.0, 3.0, 4.0)) -> str:
    events = [
        EVENT.format(number=7 + i, weights=w and f"W {w}\n", xs=x)
        for i, (w, x) in enumerate(zip(weights, xs, strict=True))
    ]
    start = f"HepMC::Version 3.02.05\nHepMC::Asciiv3-START_EVENT_LISTING\n{names}T A\\|1.0\\|a\\\\b\n"
    return start + "".join(events) + "HepMC::Asciiv3-END_EVENT_LISTING\n\n"


def test_numbers_of_events_and_the_running_cross_section(tmp_path):
    reader = cm.open_reader(write(tmp_path, made(["1", "2", "3"])))
    assert (reader.info().cross_section, reader.info().cross_section_error) == (2.0, 0.5)
    assert reader.info().attributes["generators"] == ["A 1.0 a\\b"]
    (batch,) = reader.batches()
    assert reader.info().cross_section == 4.0
    assert batch.events.event_number.to_list() == [7, 8, 9]
    assert batch.events.scale.to_list() == [91.2] * 3
    assert batch.events.alpha_qcd.to_list() == [0.118] * 3
    assert batch.events.alpha_qed.to_list() == [0.0078] * 3
    assert batch.events.process_id.to_list() == [221] * 3


def test_a_store_is_normalised_to_the_last_estimate_of_the_cross_section(tmp_path):
    path = write(tmp_path, made(["1", "2", "3"]))
    setup = cm.Setup(cm.ParameterSpace([cm.Parameter("c")]), benchmarks={"sm": {"c": 0}})
    selection = cm.Selection({"n": "len(p_truth)"})
    store = cm.process(
        [cm.Sample(path, benchmark="sm")], setup, selection, tmp_path / "out.zarr", progress=False, partition=(1, 0, 0)
    )
    assert store.xsec().value == pytest.approx([4.0], rel=1e-12)
    np.testing.assert_allclose(np.sort(store.weights[:, 0]), np.array([1, 2, 3]) * 4.0 / 6.0)


def test_names_of_weights(tmp_path):
    def names(path: Path) -> tuple[str, ...]:
        info = cm.open_reader(path).info()
        (batch,) = cm.open_reader(path).batches()
        assert batch.weight_names == info.weight_names
        return info.weight_names

    assert names(write(tmp_path, made(["1 2", "3 4", "5 6"]))) == (NOMINAL, "1")
    assert names(write(tmp_path, made(["", "", ""]))) == (NOMINAL,)
    (batch,) = cm.open_reader(tmp_path / "events.hepmc").batches()
    assert batch.weights.tolist() == [[1.0]] * 3
    header = "W id=sm_MERGING=30.000\\|id=w_MERGING=30.000\n"
    path = write(tmp_path, made(["1 2", "3 4", "5 6"], names=header))
    assert names(path) == (NOMINAL, "sm", "w")
    assert cm.open_reader(path).info().weight_descriptions["w"] == "id=w_MERGING=30.000"
    (batch,) = cm.open_reader(path).batches()
    assert batch.weights.tolist() == [[1, 1, 2], [3, 3, 4], [5, 5, 6]]
    kept, _ = weight_columns(["Weight", "id=w_MERGING=1", "id=w_MERGING=2"], "file")
    assert kept == ("Weight", "id=w_MERGING=1", "id=w_MERGING=2")
    with pytest.raises(FileFormatError, match="file: two weights are called 'a'"):
        weight_columns(["Weight", "a", "a"], "file")


def test_numbers_that_only_python_reads(tmp_path):
    # 2^53 + 1 and a bit: the digits after the 18th decide how it is rounded.
    value = "9007199254740993.0000000000000001"
    (batch,) = cm.open_reader(
        write(tmp_path, made([value, "2", "3"]).replace("0 2.5 2.5", f"{value} 2.5 2.5"))
    ).batches()
    assert batch.weights[0, 0] == float(value) != float(value[:16])
    assert batch.events.particles.py[0].to_list() == [float(value)] * 2


def test_weights_that_are_missing_or_too_many(tmp_path):
    assert (
        "event 1 (counted from 0): it has 1 weights, not 2"
        in first_fault(write(tmp_path, made(["1 2", "1", "1 2"])))[1]
    )
    assert (
        "event 2 (counted from 0): it has 3 weights, not 2"
        in first_fault(write(tmp_path, made(["1 2", "1 2", "1 2 3"])))[1]
    )
    n, message = first_fault(write(tmp_path, made(["1 2", "", "1 2"])))
    assert n == 1
    assert "it has 0 weights, not 2" in message
    with pytest.raises(FileFormatError, match=r"event 0 .*2 weights, not 3"):
        cm.open_reader(write(tmp_path, made(["1 2"] * 3, names="W a\\|b\\|c\n"))).info()
    text = made(["1", "2", "nan"])
    setup = cm.Setup(cm.ParameterSpace([cm.Parameter("c")]), benchmarks={"sm": {"c": 0}})
    with pytest.raises(cm.ColumnMinerError, match=r"weight 'nominal' of event 2 .* is nan"):
        cm.process(
            [cm.Sample(write(tmp_path, text), benchmark="sm")],
            setup,
            cm.Selection({"n": "len(p_truth)"}),
            tmp_path / "out.zarr",
            progress=False,
        )


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("P 2 -1 11 0 0 2.5", "P 2 -1 11 0 x 2.5", "'x' is not a number"),
        ("P 2 -1 11 ", "P 2 -1 e- ", "'e-' is not an integer"),
        ("P 2 -1 11 0 0 2.5 2.5 0.000511 1\n", "", "1 particles fewer than it says"),
        ("P 2 -1 11 0 0 2.5 2.5 0.000511 1\n", "P 2 -1 11 0 0 2.5 2.5 0.000511 1\n" * 2, "1 particles more"),
        ("P 2 -1 11 0 0 2.5 2.5 0.000511 1\n", "P 2 -1 11 0 0 2.5 2.5 0.0 1 1\n", "more than nine numbers"),
        ("P 2 -1 11 0 0 2.5 2.5 0.000511 1\n", "P 2 -1 11 0 0 2.5 1\n", "is not a"),
        ("U GEV MM", "\0\0\0\0", "no line of an event begins like"),
        ("V -1", "<event>", "no line of an event begins like"),
        ("E 8 1 3", "E 8 1", "is not an integer"),
        ("W 2", "W two", "'two' is not a number"),
        ("GenCrossSection 3.0", "GenCrossSection many", "'many' is not a number"),
    ],
)
@pytest.mark.parametrize("name", ["bad.hepmc", "bad.hepmc.gz"])
def test_faults_name_file_and_event(tmp_path, old, new, what, name):
    good = made(["1", "2", "3"])
    before, event, after = (
        good[: good.index("E 8")],
        good[good.index("E 8") : good.index("E 9")],
        good[good.index("E 9") :],
    )
    assert old in event
    path = write(tmp_path, before + event.replace(old, new, 1) + after, name)
    n, message = first_fault(path)
    assert n == 1
    assert f"{path}, event 1 (counted from 0): " in message
    assert what in message


def test_faults_of_hepmc2(small, tmp_path):
    good = as_hepmc2(small, tmp_path / "two.hepmc").read_text()
    lines = good.split("\n")
    second = [i for i, line in enumerate(lines) if line.startswith("E ")][1]
    lost = next(i for i in range(second, len(lines)) if lines[i].startswith("P "))
    n, message = first_fault(write(tmp_path, "\n".join(lines[:lost] + lines[lost + 1 :])))
    assert n == 1
    assert "event 1 (counted from 0): it has 1 particles fewer" in message
    fewer = lines[second].rsplit(" ", 1)[0]
    _, message = first_fault(write(tmp_path, "\n".join([*lines[:second], fewer, *lines[second + 1 :]])))
    assert "event 1 (counted from 0): it has 5 weights, not 6" in message


@pytest.mark.parametrize("name", ["cut.hepmc", "cut.hepmc.gz"])
def test_every_cut_of_a_file_is_found(tmp_path, name):
    text = made(["1", "2", "3"])
    starts = [text.index(f"E {number} ") for number in (7, 8, 9)] + [text.index("HepMC::Asciiv3-END")]
    end = starts[-1] + len("HepMC::Asciiv3-END")
    for cut in range(1, end, 7):
        path = write(tmp_path, text[:cut], name)
        n, message = first_fault(path)
        assert str(path) in message
        if cut > starts[1]:
            assert n == sum(start < cut for start in starts[1:]), cut


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9, 0.999])
def test_cut_gzip(small, tmp_path, fraction):
    raw = small.read_bytes()
    path = tmp_path / "cut.hepmc.gz"
    path.write_bytes(raw[: int(fraction * len(raw))])
    n, message = first_fault(path)
    assert n < 5
    assert "cut" in message
    assert str(path) in message


def test_other_faults(tmp_path):
    good = made(["1", "2", "3"])
    with pytest.raises(FileFormatError, match="second listing of events"):
        list(cm.open_reader(write(tmp_path, good + good)).batches())
    with pytest.raises(FileFormatError, match="ends in its header"):
        cm.open_reader(write(tmp_path, good[: good.index("E 7")])).info()
    with pytest.raises(FileFormatError, match="no event file of a known format"):
        cm.open_reader(write(tmp_path, "HepMC::Version 3\nHepMC::HEPEVT-START_EVENT_LISTING\n"))
    with pytest.raises(FileFormatError, match="no HepMC file"):
        HepMCReader(write(tmp_path, "something else")).info()
    with pytest.raises(InputError, match="positive size"):
        next(HepMCReader(write(tmp_path, good)).batches(size=0))
    with pytest.raises(InputError, match="cannot open"):
        HepMCReader(tmp_path / "absent").info()
    empty = good[: good.index("E 7")] + good[good.index("HepMC::Asciiv3-END") :]
    assert list(cm.open_reader(write(tmp_path, empty)).batches()) == []


def test_windows_line_ends(tmp_path):
    good = made(["1 2", "3 4", "5 6"], names="W a\\|b\n")
    one, other = (next(cm.open_reader(write(tmp_path, text)).batches()) for text in (good, good.replace("\n", "\r\n")))
    assert ak.array_equal(one.events, other.events)
    assert one.weight_names == other.weight_names


def test_windows_of_the_file_may_end_anywhere(small, monkeypatch):
    (whole,) = HepMCReader(small).batches()
    from columnminer.formats import window

    monkeypatch.setattr(window, "_START", 4_000)  # smaller than an event
    monkeypatch.setattr(window, "_PIECE", 777)
    batches = list(HepMCReader(small).batches(size=2))
    assert ak.array_equal(ak.concatenate([b.events for b in batches]), whole.events)


def test_memory_does_not_grow_with_the_file(text, tmp_path):
    start, events = text.index("E 0 "), text.index("HepMC::Asciiv3-END")
    peaks = []
    for n in (4, 40):
        path = write(tmp_path, text[:start] + text[start:events] * n + text[events:], f"{n}.hepmc")
        tracemalloc.start()
        assert sum(len(batch) for batch in cm.open_reader(path).batches(size=10)) == 5 * n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 4 * path.stat().st_size


def test_the_real_file(shared):
    path = shared / "vbf" / "signal_sm_pythia8_200.hepmc.gz"
    reader = cm.open_reader(path)
    batches = list(reader.batches(size=64))
    agree(batches, by_pyhepmc(path))
    np.testing.assert_allclose(
        ak.concatenate([ak.sum(final(batch).e, axis=1) for batch in batches]), 13_000.0, rtol=1e-9
    )
    partons = cm.open_reader(shared / "vbf" / "signal_sm.lhe.gz")
    first = next(partons.batches(size=200))
    weights = np.concatenate([batch.weights for batch in batches])
    np.testing.assert_allclose(weights, np.stack([first.weight(name) for name in NAMES], axis=1), rtol=1e-12)
    assert reader.info().cross_section == pytest.approx(partons.info().cross_section, rel=1e-5)


def test_showered_and_parton_level_stores_agree(shared, tmp_path):
    """Normalised weights at all benchmarks, event by event, up to the 100 times fewer events."""
    benchmarks = {"sm": (0.0, 0.0), **{name: (float(i), 1.0 / i) for i, name in enumerate(NAMES[1:], start=1)}}
    space = cm.ParameterSpace([cm.Parameter("a"), cm.Parameter("b")])
    setup = cm.Setup(space, benchmarks={n: dict(zip("ab", v, strict=True)) for n, v in benchmarks.items()})
    selection = cm.Selection({"n": "len(p_truth)"})
    stores = [
        cm.process(
            [cm.Sample(shared / "vbf" / name, benchmark="sm")],
            setup,
            selection,
            tmp_path / f"{i}.zarr",
            progress=False,
            partition="in_order",
        )
        for i, name in enumerate(("signal_sm_pythia8_200.hepmc.gz", "signal_sm.lhe.gz"))
    ]
    showered, partons = stores
    assert showered.xsec("sm").value == pytest.approx(partons.xsec("sm").value, rel=1e-5)
    np.testing.assert_allclose(showered.weights[:], 100 * partons.weights[:200], rtol=1e-5)


piece = st.sampled_from(
    ["E 8 1 3", "P 2 -1", " 1\n", "\n", "W 1", "V ", "HepMC::", "U MEV MM", "A 0 GenCrossSection ", "nan"]
)
mutation = st.tuples(st.floats(0, 1), st.integers(0, 30), piece | st.text(max_size=5))


@settings(deadline=None, max_examples=300)
@given(st.lists(mutation, min_size=1, max_size=4), st.booleans())
def test_random_damage_is_refused_or_read(two_listings, mutations, second):
    path, texts = two_listings
    damaged = texts[second]
    for where, length, new in mutations:
        start = int(where * len(damaged))
        damaged = damaged[:start] + new + damaged[start + length :]
    path.write_text(damaged)
    with contextlib.suppress(cm.ColumnMinerError):
        for batch in cm.open_reader(path).batches(size=2):
            assert len(batch.events.particles) == len(batch.weights) <= 2


@pytest.fixture(scope="module")
def two_listings(tmp_path_factory, data) -> tuple[Path, tuple[str, str]]:
    folder = tmp_path_factory.mktemp("damaged")
    three = made(["1 2", "3 4", "5 6"], names="W a\\|b\n")
    plain = write(folder, three, "three.hepmc")
    two = as_hepmc2(plain, folder / "two.hepmc").read_text()
    return folder / "damaged.hepmc", (three, two)


def test_no_warnings_of_others_leak(small):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(len(batch) for batch in HepMCReader(small).batches()) == 5
