"""Writing LHE files: what is read back is what was written, and other readers accept it."""

from __future__ import annotations

import dataclasses
import gzip

import awkward as ak
import numpy as np
import pylhe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lhe_text import document, event, rwgt, save

from columnminer.errors import InputError, OutputExistsError
from columnminer.formats.lhe import PARTICLE_FIELDS, LHEReader
from columnminer.formats.lhe_header import Beam, DeclaredWeight, Generator, LHEInfo, Process
from columnminer.formats.lhe_write import write_lhe
from columnminer.schema import NOMINAL, EventBatch, jagged

INFO = LHEInfo(
    weight_names=(NOMINAL,),
    weighting=-4,
    beams=(Beam(11, 125.0), Beam(-11, 125.0, 3, -1)),
    processes=(Process(7, 1.5, 0.25, 1.0), Process(-8, 1 / 3, 1e-300, -2.5)),
    generators=(Generator("ours & <theirs>", "0.1", "said 'so'"),),
)

doubles = st.floats(width=64)
int32 = st.integers(-(2**31), 2**31 - 1)
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)


@st.composite
def batches(draw) -> list[EventBatch]:
    names = (NOMINAL, *draw(st.lists(words.filter(lambda w: w != NOMINAL), unique=True, max_size=4)))
    made, first = [], 0
    for _ in range(draw(st.integers(0, 3))):
        counts = np.array(draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)))
        n, total = len(counts), int(counts.sum())
        columns = {name: draw(hnp.arrays(np.int32, total, elements=int32)) for name in PARTICLE_FIELDS[:6]}
        columns |= {name: draw(hnp.arrays(np.float64, total, elements=doubles)) for name in PARTICLE_FIELDS[6:]}
        fields = {"particles": jagged(counts, columns)}
        fields |= {k: draw(hnp.arrays(np.float64, n, elements=doubles)) for k in ("scale", "alpha_qed", "alpha_qcd")}
        fields["process_id"] = draw(hnp.arrays(np.int64, n, elements=int32))
        weights = draw(hnp.arrays(np.float64, (n, len(names)), elements=doubles))
        made.append(EventBatch(ak.zip(fields, depth_limit=1), weights, names, first, "drawn"))
        first += n
    return made


def assert_same(ours: list[EventBatch], theirs: list[EventBatch]) -> None:
    """Compare bit by bit (but for the sign of NaN, which text does not keep)."""
    for a, b in zip(ours, theirs, strict=True):
        assert a.weight_names == b.weight_names
        np.testing.assert_array_equal(a.weights, b.weights)
        np.testing.assert_array_equal(np.signbit(a.weights)[a.weights == 0], np.signbit(b.weights)[b.weights == 0])
        assert ak.num(a.events.particles).tolist() == ak.num(b.events.particles).tolist()
        assert a.events.fields == b.events.fields
        for name in a.events.fields[1:]:
            np.testing.assert_array_equal(ak.to_numpy(a.events[name]), ak.to_numpy(b.events[name]))
        for name in PARTICLE_FIELDS:
            x, y = (ak.to_numpy(ak.flatten(batch.events.particles[name])) for batch in (a, b))
            np.testing.assert_array_equal(x, y)
            assert x.dtype == y.dtype


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("written")


@settings(deadline=None, max_examples=60)
@given(made=batches(), suffix=st.sampled_from(["lhe", "lhe.gz"]))
def test_what_is_read_is_what_was_written(folder, made, suffix):
    path = folder / f"events.{suffix}"
    write_lhe(path, made, INFO, replace=True)
    reader = LHEReader(path)
    assert_same(made, [next(reader.batches(len(batch), skip=batch.first_event)) for batch in made])
    assert sum(map(len, reader.batches())) == sum(map(len, made))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.builds(
            DeclaredWeight,
            words,
            st.dictionaries(st.sampled_from(["MUR", "MUF", "PDF", "x:y"]), words, max_size=3),
            st.lists(words.filter(lambda w: w == "".join(w.split())), max_size=3).map(" ".join),
            st.sampled_from([{}, {"name": "a > b"}, {"type": "'quoted'", "combine": "envelope"}]),
        ),
        unique_by=lambda weight: weight.id,
        max_size=5,
    ),
    st.lists(st.builds(Process, int32, doubles, doubles, doubles), min_size=1, max_size=3),
)
def test_headers_are_kept(folder, declared, processes):
    info = LHEInfo(weight_names=(NOMINAL,), weighting=3, beams=INFO.beams, processes=tuple(processes),
                   generators=INFO.generators, declared=tuple(declared))  # fmt: skip
    path = folder / "header.lhe"
    write_lhe(path, [], info, replace=True)
    assert repr(LHEReader(path).info()) == repr(info)


def one_batch(tmp_path, *texts: str) -> tuple[EventBatch, LHEInfo]:
    reader = LHEReader(save(tmp_path, document(*(texts or (event(rwgt(w=1.5, v=-2)),)))))
    return next(reader.batches()), reader.info()


def test_pylhe_reads_the_same(tmp_path):
    batch, info = one_batch(tmp_path, *[event(rwgt(w=k / 7, v=-k)) for k in range(20)])
    write_lhe(tmp_path / "out.lhe.gz", batch, info)
    events = list(pylhe.LHEFile.fromfile(tmp_path / "out.lhe.gz").events)
    assert [e.weights for e in events] == [{"w": k / 7, "v": -k} for k in range(20)]
    assert [p.pz for e in events for p in e.particles] == ak.flatten(batch.events.particles.pz).tolist()
    assert {e.eventinfo.scale for e in events} == {39.0}


def test_real_events_survive(shared, tmp_path):
    reader = LHEReader(shared / "lhe-zoo" / "pylhe-testfile-madgraph5-3.5.8-pp_to_jj.lhe.gz")
    made = list(reader.batches(400))
    write_lhe(tmp_path / "again.lhe", made, reader.info())
    again = LHEReader(tmp_path / "again.lhe")
    assert_same(made, list(again.batches(400)))
    assert again.info() == reader.info()


def test_undeclared_weights_are_declared(tmp_path):
    batch, _ = one_batch(tmp_path)
    declared = (DeclaredWeight("v", text="v!"),)
    info = dataclasses.replace(INFO, weight_descriptions={"w": "what w means"}, declared=declared)
    write_lhe(tmp_path / "out.lhe", batch, info)
    assert dict(LHEReader(tmp_path / "out.lhe").info().weight_descriptions) == {"v": "v!", "w": "what w means"}


def test_bytes_depend_on_the_events_only(tmp_path):
    batch, info = one_batch(tmp_path)
    for name in ("a.lhe.gz", "b.lhe.gz"):
        write_lhe(tmp_path / name, batch, info)
    assert (tmp_path / "a.lhe.gz").read_bytes() == (tmp_path / "b.lhe.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.lhe.gz").read_bytes()).endswith(b"</event>\n</LesHouchesEvents>\n")


def test_unknown_spin_and_lifetime_have_conventions(tmp_path):
    batch, info = one_batch(tmp_path)
    kept = [name for name in PARTICLE_FIELDS if name not in ("spin", "lifetime")]
    bare = dataclasses.replace(batch, events=ak.with_field(batch.events, batch.events.particles[kept], "particles"))
    write_lhe(tmp_path / "out.lhe", bare, info)
    particles = next(LHEReader(tmp_path / "out.lhe").batches()).events.particles
    assert ak.all(particles.spin == 9)
    assert ak.all(particles.lifetime == 0)


def test_what_the_format_needs(tmp_path):
    batch, info = one_batch(tmp_path)
    kept = [name for name in PARTICLE_FIELDS if name not in ("color1", "mother2")]
    bare = dataclasses.replace(batch, events=ak.with_field(batch.events, batch.events.particles[kept], "particles"))
    with pytest.raises(InputError, match=r"needs the fields mother2, color1 too"):
        write_lhe(tmp_path / "out.lhe", bare, info)
    for lack in ({"weighting": None}, {"beams": ()}, {"processes": ()}):
        with pytest.raises(InputError, match="needs two beams, at least one process and the weighting"):
            write_lhe(tmp_path / "out.lhe", batch, dataclasses.replace(info, **lack))
    other = dataclasses.replace(batch, weight_names=(NOMINAL, "w", "x"))
    with pytest.raises(InputError, match="same weights"):
        write_lhe(tmp_path / "out.lhe", [batch, other], info)
    assert [path.name for path in tmp_path.iterdir()] == ["events.lhe"]


def test_nothing_is_overwritten_or_half_written(tmp_path):
    batch, info = one_batch(tmp_path)
    path = tmp_path / "out.lhe"
    write_lhe(path, batch, info)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match=r"out\.lhe exists already"):
        write_lhe(path, batch, info)

    def broken():
        yield batch
        msg = "the generator stops"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="the generator stops"):
        write_lhe(path, broken(), info, replace=True)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.lhe", "out.lhe"]
    write_lhe(path, [batch, batch], info, replace=True)
    assert len(path.read_bytes()) > len(before)
