"""Reading LHE files: what the columns hold, in all the ways that generators write them."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pylhe
import pytest
from lhe_text import PARTICLES, document, event, rwgt, save

from columnminer.errors import FileFormatError, InputError
from columnminer.formats.lhe import PARTICLE_FIELDS, LHEReader
from columnminer.formats.lhe_header import Beam, Generator, Process
from columnminer.formats.opening import open_reader
from columnminer.formats.reader import Reader

ZOO = (
    "madgraph-2.0.0-wbj.lhe",
    "madgraph-2.2.1-Z-ckkwl.lhe.gz",
    "madgraph-2.2.1-Z-mlm.lhe.gz",
    "madgraph5-3.5.8-pp_to_jj.lhe.gz",
    "powheg-box-v2-W.lhe",
    "powheg-box-v2-Z.lhe",
    "powheg-box-v2-Zj.lhe",
    "powheg-box-v2-directphoton.lhe",
    "powheg-box-v2-hvq.lhe",
    "pr180.lhe",
    "pr29.lhe",
    "pythia-8.3.14-weakbosons.lhe",
    "sherpa-3.0.1-eejjj.lhe",
)
PYLHE_FIELDS = ("id", *PARTICLE_FIELDS[1:10], "m", "lifetime", "spin")


def whole(path: str, size: int = 20_000):
    """Return all events, their weights and the weights' names."""
    batches = list(LHEReader(path).batches(size))
    return ak.concatenate([b.events for b in batches]), np.concatenate([b.weights for b in batches]), batches[0]


@pytest.mark.parametrize("name", [*(f"lhe-zoo/pylhe-testfile-{n}" for n in ZOO), "lhe-zoo/pylhe-testlhef3.lhe",
                                  "vbf/signal_sm_avgnorm_1000.lhe.gz", "vbf/background_qcd.lhe.gz"])  # fmt: skip
def test_agrees_with_pylhe(shared, name):
    """All numbers of all events of POWHEG, Sherpa, Whizard, Pythia and MadGraph files: identical doubles."""
    path = str(shared / name)
    events, weights, first = whole(path, size=997)
    reference = list(pylhe.LHEFile.fromfile(path).events)
    assert len(events) == len(reference)
    np.testing.assert_array_equal(ak.num(events.particles), [len(e.particles) for e in reference])
    flat = ak.flatten(events.particles)
    for ours, theirs in zip(PARTICLE_FIELDS, PYLHE_FIELDS, strict=True):
        expected = [getattr(p, theirs) for e in reference for p in e.particles]
        np.testing.assert_array_equal(ak.to_numpy(flat[ours]), expected, err_msg=ours)
    for ours, theirs in (("process_id", "pid"), ("scale", "scale"), ("alpha_qed", "aqed"), ("alpha_qcd", "aqcd")):
        np.testing.assert_array_equal(ak.to_numpy(events[ours]), [getattr(e.eventinfo, theirs) for e in reference])
    names = list(reference[0].weights)
    assert first.weight_names == ("nominal", *names)
    expected = [[e.eventinfo.weight, *(e.weights.get(n, np.nan) for n in names)] for e in reference]
    np.testing.assert_array_equal(weights, expected)


def test_header_agrees_with_pylhe(shared):
    for path in sorted((shared / "lhe-zoo").iterdir()):
        info, reference = LHEReader(path).info(), pylhe.LHEFile.fromfile(str(path))
        reference.events.close()
        init = reference.init.initInfo
        assert info.weighting == init.weightingStrategy
        assert info.beams[0] == Beam(init.beamA, init.energyA, init.PDFgroupA, init.PDFsetA)
        assert info.beams[1] == Beam(init.beamB, init.energyB, init.PDFgroupB, init.PDFsetB)
        assert [(p.id, p.cross_section, p.cross_section_error, p.max_weight) for p in info.processes] == [
            (p.procId, p.xSection, p.error, p.unitWeight) for p in reference.init.procInfo[: len(info.processes)]
        ]
        assert [g.name for g in info.generators] == [g.name or g.description for g in reference.init.generators]
        if reference.header:
            declared = reference.header.initrwgt.list_weights_ids()
            assert [weight.id for weight in info.declared] == declared


def test_real_signal(shared):
    info = LHEReader(shared / "vbf" / "signal_sm_systematics.lhe.gz").info()
    assert info.cross_section == 1.0311e-3
    assert info.weighting == -3
    assert set(info.weight_names) == {"nominal", *"12345678", "w", "neg_w", "ww", "neg_ww", "morphing_basis_vector_5"}
    assert info.weight_descriptions["w"].startswith("set param_card dim6 2 251.104")
    assert "mg_reweighting" in info.weight_descriptions["w"]
    assert info.weight_descriptions["1"].startswith("MUR=0.5 MUF=0.5 PDF=247000 |")


def test_two_processes_without_header(data):
    reader = LHEReader(data / "lhe" / "two_processes.lhe")
    info = reader.info()
    assert info.version == "1.0"
    assert info.weighting == 3
    assert info.processes == (Process(11, 1.7664, 0.0007, 1.0), Process(12, 0.5, 0.01, 1.0))
    assert info.cross_section == pytest.approx(2.2664)
    assert info.cross_section_error == pytest.approx(np.hypot(0.0007, 0.01))
    (batch,) = reader.batches()
    assert batch.weight_names == ("nominal",)
    np.testing.assert_array_equal(batch.weights, [[1.0], [-0.5]])
    np.testing.assert_array_equal(batch.events.process_id, [11, 12])
    assert batch.events.particles.pdgid.tolist() == [[11, -11, 13, -13], [11, -11, 13, -13, 22]]
    np.testing.assert_array_equal(batch.events.particles[:, :2].pz, [[250, -250]] * 2)
    np.testing.assert_allclose(ak.sum(batch.events.particles[batch.events.particles.status == 1].e, axis=1), 500)
    assert batch.events.particles[0, 2].pt == 150.0


def test_weights_and_what_is_said_about_them(data):
    reader = LHEReader(data / "lhe" / "weights.lhe")
    info = reader.info()
    assert info.weight_names == ("nominal", "1", "w", "2")  # the order of the first event
    assert dict(info.weight_descriptions) == {
        "1": "MUR=0.5 MUF=1.0 PDF=247000 | MUR=0.5 | name=Central scale variation combine=envelope",
        "2": "MUR=2.0 MUF=1.0 PDF=247000 | MUR=2.0 & no more | name=Central scale variation combine=envelope",
        "w": "set param_card dim6 2 251.104 # orig: 0.0 set param_card dim6 5 1.652 # orig: 0.0 | name=mg_reweighting",
        "alone": "an ungrouped weight",
    }
    assert [weight.id for weight in info.declared] == ["1", "2", "w", "bare", "alone"]
    assert info.generators == (Generator("MadGraph5_aMC@NLO", "2.6.0", "please cite 1405.0301"),)
    assert info.weighting == -4
    (batch,) = reader.batches()
    np.testing.assert_array_equal(
        batch.weights, [[1.041e-3, 2.1940444e-3, -3.6245639e-6, 0.0], [1.041e-3, np.inf, np.nan, np.nan]]
    )


def test_schema(tmp_path):
    (batch,) = LHEReader(save(tmp_path, document(event()))).batches()
    particles = batch.events.particles
    assert particles.fields == list(PARTICLE_FIELDS)
    for name in PARTICLE_FIELDS:
        assert ak.flatten(particles[name]).layout.dtype == (np.int32 if name in PARTICLE_FIELDS[:6] else np.float64)
    assert batch.events.fields == ["particles", "scale", "alpha_qed", "alpha_qcd", "process_id"]
    np.testing.assert_allclose(particles[0, 2].generated_mass, 431.11)
    np.testing.assert_allclose((particles[:, 0] + particles[:, 1]).mass, 2 * np.sqrt(763.13928448 * 60.882456597))
    assert isinstance(LHEReader(tmp_path / "events.lhe"), Reader)


@pytest.mark.parametrize("name", ["events.lhe", "events.lhe.gz"])
def test_batches_do_not_depend_on_their_size(tmp_path, name):
    """Also not on where the windows of the file end: this one is longer than several of them."""
    rng = np.random.default_rng(3)
    texts = [
        event(rwgt(a=repr(k + 0.5), b=-k), line=f" {n} {k} {k}. 1. 2. 3.", particles=PARTICLES[:1] * n)
        for k, n in enumerate(rng.integers(0, 40, 3000))
    ]
    reader = LHEReader(save(tmp_path, document(*texts), name))
    (everything,) = reader.batches(size=10**9)
    np.testing.assert_array_equal(everything.weights[:, 0], np.arange(3000))
    np.testing.assert_array_equal(everything.weights[:, 1], np.arange(3000) + 0.5)
    for size, skip in ((1, 2990), (7, 0), (1000, 500), (3000, 0), (2500, 2999), (5, 3000), (5, 99_999)):
        batches = list(reader.batches(size, skip))
        assert [b.first_event for b in batches] == list(range(skip, 3000, size))
        assert all(len(b) == size for b in batches[:-1])
        if batches:
            assert ak.array_equal(ak.concatenate([b.events for b in batches]), everything.events[skip:])
            np.testing.assert_array_equal(np.concatenate([b.weights for b in batches]), everything.weights[skip:])


def test_windows_line_ends_tabs_and_blanks(tmp_path):
    text = document(event(rwgt(w=2.5)), event(rwgt(w=3.5)), header="<header>\n</header>\n")
    plain, weights, _ = whole(save(tmp_path, text))
    for other in (text.replace("\n", "\r\n"), text.replace(" ", " \t "), text.replace("\n", "\n\n")):
        events, same_weights, _ = whole(save(tmp_path, other, "other.lhe"))
        assert ak.array_equal(events, plain)
        np.testing.assert_array_equal(same_weights, weights)


def test_weights_without_ids_go_by_the_header(tmp_path):
    declared = "<header><initrwgt>{}</initrwgt></header>\n"
    header = declared.format("".join(f"<weight id='{name}'>said</weight>" for name in "abc"))
    numbers = "<weights> 1. 2.\n -3.e0 </weights>"

    def read(*tags, header):
        _, weights, batch = whole(save(tmp_path, document(event(*tags), header=header)))
        return batch.weight_names[1:], weights[0, 1:].tolist()

    assert read(numbers, header=header) == (("a", "b", "c"), [1.0, 2.0, -3.0])
    assert read("<weights>7.</weights>", header=header) == (("a",), [7.0])
    assert read(numbers, header="") == (("1", "2", "3"), [1.0, 2.0, -3.0])
    # Named weights have the last word, wherever they stand, as in pylhe.
    for tags in ((numbers, rwgt(c=9, a=8)), (rwgt(a=8, c=9), numbers)):
        names, values = read(*tags, header=header)
        assert dict(zip(names, values, strict=True)) == {"a": 8.0, "b": 2.0, "c": 9.0}


def test_version_2_weights(tmp_path):
    tags = "<weight name='up' born='1.'> 1.5 </weight>", "<weight> 1.0 </weight>"
    _, weights, batch = whole(save(tmp_path, document(event(*tags), version="2.0")))
    assert batch.weight_names == ("nominal", "up")
    np.testing.assert_array_equal(weights, [[5.205e-8, 1.5]])


def test_names_of_weights(tmp_path):
    tags = "<rwgt>", "<wgt id=\"a&lt;b 'c'\"> 1 </wgt>", "<wgt id='nominal'>2</wgt>", "</rwgt>"
    _, weights, batch = whole(save(tmp_path, document(event(*tags))))
    assert batch.weight_names == ("nominal", "a<b 'c'", "'nominal'")
    np.testing.assert_array_equal(weights, [[5.205e-8, 1, 2]])


def test_numbers_that_only_float_decides(tmp_path):
    """More of them in an event than the kernel keeps at once, and in every kind of column."""
    hard = "1.00000000000000011102230246251565404236316680908203125"
    line = f" 500 1 {hard} {hard} {hard} {hard}"
    particle = f" 1 1 0 0 0 0 {' '.join([hard] * 7)}"
    text = document(event(rwgt(w=hard), line=line, particles=(particle,) * 500), event(rwgt(w=1)))
    events, weights, _ = whole(save(tmp_path, text))
    assert weights[0].tolist() == [float(hard)] * 2
    assert ak.all(events.particles[0].spin == float(hard))
    assert events.alpha_qcd[0] == float(hard)
    assert weights[1].tolist() == [5.205e-8, 1.0]


def test_headers_and_events_longer_than_a_window(tmp_path):
    cards = f"<header>\n<card>{'0123456789' * 300_000}</card>\n</header>\n"
    remark = "# " + "x" * 2_500_000
    text = document(event(rwgt(w=1)), event(remark, rwgt(w=2)), event(rwgt(w=3)), header=cards)
    for name in ("long.lhe", "long.lhe.gz"):
        _, weights, _ = whole(save(tmp_path, text, name), size=1)
        assert weights[:, 1].tolist() == [1, 2, 3]


def test_integers_written_as_floats(tmp_path):
    particle = " 2.0 -1. 0.E0 0 501 0 0 0 100 100 0 0 1"
    events, _, _ = whole(save(tmp_path, document(event(line="1.0 1. 1 1 1 1", particles=(particle,)))))
    assert events.particles[["pdgid", "status", "color1"]].tolist() == [[{"pdgid": 2, "status": -1, "color1": 501}]]


def test_a_file_without_events(tmp_path):
    reader = LHEReader(save(tmp_path, document()))
    assert reader.info().weight_names == ("nominal",)
    assert list(reader.batches()) == []


def test_cross_sections_that_are_not_known(tmp_path):
    init = "<init>\n 2212 2212 4000 4000 -1 -1 -1 -1 -4 1\n -1. -1. 1. 10001\n</init>\n"
    info = LHEReader(save(tmp_path, document(init=init))).info()
    assert info.cross_section is None
    assert info.processes[0].cross_section == -1.0


@pytest.mark.parametrize("name", ["events.lhe", "events.lhe.gz"])
def test_content_is_hashed_on_the_way(tmp_path, name):
    path = save(tmp_path, document(*[event()] * 5) + "\n" * 3_000_000, name)
    data = Path(path).read_bytes()
    reader = open_reader(path, digest=True)
    next(iter(reader.batches(2)))
    assert reader.content is None
    for skip in (0, 4, 99):
        reader = open_reader(path, digest=True)
        assert len(list(reader.batches(2, skip))) == (3, 1, 0)[(0, 4, 99).index(skip)]
        assert reader.content == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_several_gzip_members(tmp_path):
    """As `cat a.gz b.gz` makes them, and block-wise compressors."""
    text = document(*[event()] * 100)
    path = Path(save(tmp_path, text[:20_000], "a.gz"))
    path.write_bytes(path.read_bytes() + Path(save(tmp_path, text[20_000:], "b.gz")).read_bytes())
    assert len(whole(str(path))[0]) == 100


def test_opening_goes_by_content(tmp_path):
    assert isinstance(open_reader(save(tmp_path, document(), "signal.dat")), LHEReader)
    with pytest.raises(FileFormatError, match=r"notes.txt: no event file of a known format"):
        open_reader(save(tmp_path, "nothing of the kind", "notes.txt"))
    with pytest.raises(InputError, match=r"cannot open .*nowhere"):
        open_reader(tmp_path / "nowhere.lhe")


@pytest.mark.parametrize(("size", "skip"), [(0, 0), (-1, 0), (10, -1)])
def test_sizes_that_make_no_sense(tmp_path, size, skip):
    with pytest.raises(InputError, match="positive size"):
        list(LHEReader(save(tmp_path, document())).batches(size, skip))


def test_memory_does_not_grow_with_the_file(tmp_path):
    """200,000 events in 120 MB, of which the process never holds more than a few batches beside its imports."""
    thousand = gzip.compress("".join([event(rwgt(w=1.5))] * 1000).encode())
    start, end = (gzip.compress(part.encode()) for part in document("|").split("|"))
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom columnminer.formats.lhe import LHEReader\n"
        "n = sum(len(batch) for batch in LHEReader(sys.argv[1]).batches())\n"
        "peak = re.search(r'VmHWM: *\\t* *(\\d+)', Path('/proc/self/status').read_text())\n"  # not of the parent
        "print(n, int(peak[1]) // 1024)"
    )
    peaks = []
    for n_thousand in (1, 200):
        path = tmp_path / f"{n_thousand}.lhe.gz"
        path.write_bytes(start + thousand * n_thousand + end)
        n_events, peak = map(int, subprocess.check_output([sys.executable, "-c", code, path]).split())
        assert n_events == 1000 * n_thousand
        peaks.append(peak)
    assert peaks[1] < 600
    assert peaks[1] - peaks[0] < 100
