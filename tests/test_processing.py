from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from columnminer.errors import (
    ColumnMinerError,
    InputError,
    MissingError,
    OutputExistsError,
    TaskError,
    UnknownNameError,
)
from columnminer.formats.lhe import LHEReader
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import NormalisationUncertainty, ScaleUncertainty
from columnminer.observe.detector import Detector
from columnminer.observe.selection import Selection
from columnminer.observe.smearing import Resolution
from columnminer.processing import process
from columnminer.store.eventstore import EventStore
from columnminer.store.samples import Sample

SIGNALS = ("sm", "w", "neg_w", "ww", "neg_ww")
OBSERVABLES = {"pt_j1": "j[0].pt", "delta_eta": "j[0].deltaeta(j[1])", "m_aa": "(a[0] + a[1]).m"}
POINTS = {
    "sm": (0.0, 0.0),
    "w": (15.2, 0.1),
    "neg_w": (-15.4, 0.2),
    "ww": (0.3, 15.1),
    "neg_ww": (0.4, -15.3),
    "morphing_basis_vector_5": (-19.60508862934695, 19.1342318369043),
}


def make_setup(systematics=()):
    space = ParameterSpace([Parameter(name, bounds=(-20, 20), max_power=2) for name in ("CWL2", "CPWL2")])
    points = {name: dict(zip(space.names, values, strict=True)) for name, values in POINTS.items()}
    return Setup(space, points, systematics).with_morphing(max_overall_power=2, morphing_basis=list(POINTS))


@pytest.fixture(scope="module")
def setup():
    return make_setup()


@pytest.fixture(scope="module")
def selection():
    return Selection(OBSERVABLES, cuts=["pt_j1 > 40"])


@pytest.fixture(scope="module")
def vbf(data):
    return data / "vbf"


@pytest.fixture(scope="module")
def samples(vbf):
    signals = [Sample(vbf / f"signal_{name}.lhe.gz", benchmark=name) for name in SIGNALS]
    return [*signals, Sample(vbf / "background_qcd.lhe.gz", background=True, k_factor=1.5, name="qcd")]


@pytest.fixture(scope="module")
def run(samples, setup, selection):
    """`process` with the arguments of this module, less those that a test chooses."""

    def run(out, samples=samples, selection=selection, part_size=25, **options):
        return process(samples, setup, selection, out, part_size=part_size, **options)

    return run


@pytest.fixture(scope="module")
def store(run, tmp_path_factory):
    return run(tmp_path_factory.mktemp("p") / "events.zarr")


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def text_of(path):
    return gzip.decompress(path.read_bytes()).decode()


def test_raw_weights_become_cross_sections(vbf, setup, tmp_path):
    """Cut files still declare the cross section of the full ones: their weights have to sum to it."""
    everything = Selection({"n": "len(j)"})
    declared = {"sm": 1.041e-3, "w": 4.1645e-2, "neg_w": 5.4224e-2, "ww": 4.921e-2, "neg_ww": 5.0645e-2}
    samples = [Sample(vbf / f"signal_{name}.lhe.gz", benchmark=name) for name in SIGNALS]
    store = process(samples, setup, everything, tmp_path / "s.zarr")
    sample, weights = store.sample[:], store.weights[:]
    for i, info in enumerate(store.samples):
        column = setup.benchmark_names.index(info.benchmark)
        assert weights[sample == i, column].sum() == pytest.approx(declared[info.benchmark], rel=1e-12)
        assert info.cross_section == pytest.approx(declared[info.benchmark], rel=1e-12)
        assert info.n_generated == info.n_events == (60 if i == 0 else 30)
    # One event by hand: XWGTUP = 5.205e-8 and w = 3.4452101e-8 in a file whose 60 XWGTUP have to sum to 1.041e-3.
    factor = 1.041e-3 / (60 * 5.205e-8)
    np.testing.assert_allclose(weights[0, :2], [factor * 5.205e-8, factor * 3.4452101e-8], rtol=1e-12)


def test_both_conventions_give_the_same_events_the_same_weights(vbf, setup, tmp_path):
    """Rewrite a file with event_norm = sum as event_norm = average: IDWTUP -4, weights times the number of events."""
    original = text_of(vbf / "signal_sm.lhe.gz")
    head, body = original.split("</init>")
    head = head.replace("-3 1\n", "-4 1\n")
    lines = []
    for line in body.splitlines():
        if line.startswith("<wgt") or (line.startswith(" 7 ") and "+5.2050000e-08" in line):
            words = line.split()
            words[2] = repr(float(words[2]) * 20_000)
            lines.append(" ".join(words))
        else:
            lines.append(line)
    (tmp_path / "average.lhe").write_text(head + "</init>" + "\n".join(lines) + "\n")
    everything = Selection({"n": "len(j)"})
    first = process([Sample(vbf / "signal_sm.lhe.gz", benchmark="sm")], setup, everything, tmp_path / "1.zarr")
    second = process([Sample(tmp_path / "average.lhe", benchmark="sm")], setup, everything, tmp_path / "2.zarr")
    assert (first.samples[0].files[0].weighting, second.samples[0].files[0].weighting) == (-3, -4)
    np.testing.assert_allclose(second.weights[:], first.weights[:], rtol=1e-12)


def test_average_normalisation_of_madgraph(vbf, setup, tmp_path):
    sample = Sample(vbf / "signal_sm_avgnorm.lhe.gz", benchmark="sm", k_factor=2.0)
    store = process([sample], setup, Selection({"n": "len(j)"}), tmp_path / "s.zarr")
    assert store.xsec("sm").value[0] == pytest.approx(2 * 1.0304e-3, rel=1e-12)


def test_the_reference_columns_are_right(store, samples):
    """The same columns by reading the files here, without tasks, parts or stores."""
    rows = []
    for i, sample in enumerate(samples):
        (batch,) = LHEReader(sample.files[0]).batches()
        selected = Selection(OBSERVABLES, cuts=["pt_j1 > 40"]).apply(batch)
        rows.append((np.full(len(selected.observables), i), selected.observables, np.flatnonzero(selected.passed)))
    np.testing.assert_array_equal(store.sample[:], np.concatenate([r[0] for r in rows]))
    np.testing.assert_array_equal(store.observables[:], np.concatenate([r[1] for r in rows]))
    np.testing.assert_array_equal(store._arrays["event"][:], np.concatenate([r[2] for r in rows]))


def test_backgrounds_have_one_weight_and_are_added(store):
    background = store.sample[:] == 5
    weights = store.weights[:][background]
    np.testing.assert_array_equal(weights, np.repeat(weights[:, :1], 6, axis=1))
    info = store.samples[5]
    assert info.cross_section == pytest.approx(1.5 * 1.963454e-2, rel=1e-12)
    at = [store.xsec([theta]).value[0] for theta in ([0.0, 0.0], [10.0, 10.0])]
    signal = [sum(b.weights([t])[0, ~b.background].sum() for b in store.blocks()) for t in ([0.0, 0.0], [10.0, 10.0])]
    np.testing.assert_allclose(np.subtract(at, signal), weights[:, 0].sum(), rtol=1e-10)


def test_the_store_says_where_it_comes_from(store, vbf):
    import hashlib

    info = store.samples[0].files[0]
    content = (vbf / "signal_sm.lhe.gz").read_bytes()
    assert (info.name, info.size) == ("signal_sm.lhe.gz", len(content))
    assert info.sha256 == hashlib.sha256(content).hexdigest()
    assert info.weighting == -3
    text = json.dumps(dict(store.attributes))
    assert str(vbf) not in text
    assert str(store.path.parent) not in text
    assert store.cut_flow["sm"]["events"][0] == 60
    assert store.cut_flow["sm"]["events"][-1] == store.samples[0].n_events < 60
    assert store.cut_flow["sm"]["weights"][0] == pytest.approx(1.041e-3)
    assert store.attributes["provenance"]["columnminer"]


def test_bytes_do_not_depend_on_workers(store, run, tmp_path):
    assert files(run(tmp_path / "events.zarr", workers=2).path) == files(store.path)


def test_bytes_do_not_depend_on_the_cluster(store, run, tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
    with cluster, distributed.Client(cluster) as client:
        other = run(tmp_path / "events.zarr", client=client)
    assert files(other.path) == files(store.path)


def test_smeared_columns_do_not_depend_on_the_size_of_parts(samples, setup, tmp_path):
    smeared = Selection(OBSERVABLES, detector=Detector({"all": Resolution(energy=(0.0, 0.1))}))
    one, other = (process(samples, setup, smeared, tmp_path / f"{n}.zarr", part_size=n, seed=3) for n in (17, 1000))
    np.testing.assert_array_equal(one.observables[:], other.observables[:])
    np.testing.assert_array_equal(one.partition[:], other.partition[:])
    np.testing.assert_allclose(one.weights[:], other.weights[:], rtol=1e-13)


def test_random_numbers_belong_to_a_file_not_to_its_place(samples, setup, tmp_path):
    smeared = Selection(OBSERVABLES, detector=Detector({"all": Resolution(energy=(0.0, 0.1))}))
    both = process(samples[:2], setup, smeared, tmp_path / "both.zarr", seed=3)
    copy = shutil.copy(samples[1].files[0], tmp_path / "elsewhere.lhe.gz")
    alone = process([Sample(copy, benchmark="w")], setup, smeared, tmp_path / "alone.zarr", seed=3)
    np.testing.assert_array_equal(alone.observables[:], both.observables[:][both.sample[:] == 1])
    other_seed = process([Sample(copy, benchmark="w")], setup, smeared, tmp_path / "seed.zarr", seed=4)
    assert (other_seed.observables[:, 2] != alone.observables[:, 2]).all()


def test_files_of_a_sample_are_averaged(vbf, setup, tmp_path):
    """The two halves of a file, as two files of a sample, are the whole file."""
    everything = Selection({"n": "len(j)"})
    head, *events = text_of(vbf / "signal_sm.lhe.gz").replace("</LesHouchesEvents>", "").split("<event>")
    for name, half in (("1", events[:20]), ("2", events[20:])):
        (tmp_path / f"{name}.lhe").write_text("<event>".join([head, *half]) + "</LesHouchesEvents>\n")
    halves = Sample([tmp_path / "1.lhe", tmp_path / "2.lhe"], benchmark="sm")
    split = process([halves], setup, everything, tmp_path / "split.zarr")
    whole = process([Sample(vbf / "signal_sm.lhe.gz", benchmark="sm")], setup, everything, tmp_path / "whole.zarr")
    assert split.samples[0].n_generated == 60
    np.testing.assert_allclose(split.weights[:], whole.weights[:], rtol=1e-12)


def test_nuisance_weights(vbf, tmp_path):
    """A file sampled at w is as good as one sampled at sm: its varied weights are rescaled to sm."""
    setup = make_setup([NormalisationUncertainty("rate", 0.1), ScaleUncertainty("mu")])
    names = ("rate", "mu")
    signal = Sample(vbf / "signal_sm_systematics.lhe.gz", benchmark="sm", systematics=names)
    background = Sample(vbf / "background_qcd.lhe.gz", background=True)
    store = process([signal, background], setup, Selection({"n": "len(j)"}), tmp_path / "s.zarr")
    assert store.nuisance_names == names
    block = next(store.blocks())
    plain = block.weights("sm")[0]
    up = block.weights("sm", [0.0, 1.0])[0]
    (batch,) = LHEReader(vbf / "signal_sm_systematics.lhe.gz").batches()
    raw = {i: batch.weight(i) for i in ("nominal", "1", "8")}
    np.testing.assert_allclose(up[~block.background], (raw["8"] / raw["nominal"] * plain[:30]), rtol=1e-9)
    np.testing.assert_array_equal(up[block.background], plain[block.background])
    np.testing.assert_allclose(
        block.weights("sm", [0.0, -1.0])[0][:30], raw["1"] / raw["nominal"] * plain[:30], rtol=1e-9
    )
    rate = block.weights("sm", [1.0, 0.0])[0] / plain
    np.testing.assert_allclose(rate, np.where(block.background, 1.0, 1.1), rtol=1e-12)

    moved = text_of(vbf / "signal_sm_systematics.lhe.gz").replace("id='w'", "id='sm'")
    (tmp_path / "w.lhe").write_text(moved)
    as_w = Sample(tmp_path / "w.lhe", benchmark="w", systematics=names, cross_section=1.0)
    other = next(process([as_w], setup, Selection({"n": "len(j)"}), tmp_path / "w.zarr").blocks())
    np.testing.assert_allclose(
        other.weights("sm", [0.0, 1.0])[0] / other.weights("sm")[0], raw["8"] / raw["nominal"], rtol=1e-9
    )


def test_recorded_events_have_no_weights(vbf, setup, selection, tmp_path):
    data = Sample(vbf / "signal_sm.lhe.gz", data=True, name="observed")
    store = process([data], setup, selection, tmp_path / "data.zarr")
    assert store.recorded
    assert store.weights.shape == (len(store), 0)
    assert sum(len(b.x) for b in store.blocks()) == len(store) > 0
    for ask in (store.xsec, lambda: store.event_weights("sm")):
        with pytest.raises(MissingError, match="no weights"):
            ask()


def test_nothing_may_pass(vbf, setup, tmp_path):
    strict = Selection(OBSERVABLES, cuts=["pt_j1 > 1e6"])
    store = process([Sample(vbf / "signal_sm.lhe.gz", benchmark="sm")], setup, strict, tmp_path / "s.zarr")
    assert len(store) == 0
    assert store.cut_flow["sm"]["events"][0] == 60
    with pytest.raises(MissingError, match="no signal events"):
        store.xsec()


# Resuming -----------------------------------------------------------------------------------------------------------


def run_and_be_killed(step, *, before, work):
    """Run `work` in a forked process that is killed at its rename number `step`. Return whether that came about."""
    child = os.fork()
    if child == 0:
        count = 0

        def deadly(rename):
            def renamed(self, target):
                nonlocal count
                count += ".tmp" not in str(Path(target).parent)  # others cannot see what happens in there
                if count == step and before:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = rename(self, target)
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return renamed

        Path.rename, Path.replace = deadly(Path.rename), deadly(Path.replace)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_any_step_and_run_again_equals_undisturbed(samples, run, tmp_path, before):
    """Every change that others can see is a rename: kill the process before or after each of them."""

    def short_run(name):
        return run(tmp_path / name, samples[:2], part_size=20, progress=False)

    undisturbed = files(short_run("undisturbed.zarr").path)
    for step in range(1, 100):
        name = f"{step}.zarr"
        killed = run_and_be_killed(step, before=before, work=lambda name=name: short_run(name))
        if (tmp_path / name).exists():
            assert files(tmp_path / name) == undisturbed, "a reader sees the whole store or none"
        assert files(short_run(name).path) == undisturbed
        shutil.rmtree(tmp_path / name)
        assert [p.name for p in tmp_path.iterdir()] == ["undisturbed.zarr"], "nothing is left lying about"
        if not killed:
            break
    # The folder of parts; the full parts and the last one (which may be empty) of each file; the store; tidying up.
    assert step == 1 + (60 // 20 + 1) + (30 // 20 + 1) + 1 + 1 + 1, "and the last was not killed"


def test_what_is_committed_is_not_read_again(samples, run, tmp_path, monkeypatch):
    broken = tmp_path / "broken.lhe"
    broken.write_text("<wgt id='sm'> x".join(text_of(samples[1].files[0]).rsplit("<wgt id='sm'> +", 1)))
    with pytest.raises(TaskError, match="kept in"):
        run(tmp_path / "s.zarr", [samples[0], Sample(broken, benchmark="w")])
    assert not (tmp_path / "s.zarr").exists()
    read = []
    batches = LHEReader.batches
    monkeypatch.setattr(
        LHEReader, "batches", lambda self, *a, **k: read.append(Path(self.path).name) or batches(self, *a, **k)
    )
    store = run(tmp_path / "s.zarr", samples[:2])
    assert read == ["signal_w.lhe.gz"], "the good file is not read again"
    fresh = run(tmp_path / "fresh.zarr", samples[:2])
    assert files(store.path) == files(fresh.path)


def test_a_finished_store_is_returned_as_it_is(store, run, tmp_path, monkeypatch):
    shutil.copytree(store.path, tmp_path / "events.zarr")
    monkeypatch.setattr(LHEReader, "batches", lambda *a, **k: pytest.fail("it was read again"))
    assert run(tmp_path / "events.zarr").hash == store.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"seed: 0 there, 1 asked for"),
        ({"partition": (0.5, 0.3, 0.2)}, r"partition\.fractions\[0\]: 0.6 there, 0.5"),
        ({"selection": Selection(OBSERVABLES, cuts=["pt_j1 > 50"])}, r"pt_j1 > 50"),
        ({"samples": []}, r"samples: "),
        ({"part_size": 30}, "part_size: 25 there, 30"),
    ],
)
def test_a_store_of_another_configuration_is_refused(store, run, samples, change, message):
    change = {**change, "samples": samples[:5]} if "samples" in change else change
    with pytest.raises(OutputExistsError, match=message):
        run(store.path, **change)
    assert EventStore(store.path).hash == store.hash


def test_replacing_and_not_resuming(samples, run, tmp_path):
    out = tmp_path / "s.zarr"
    first = run(out, samples[:1])
    with pytest.raises(OutputExistsError, match="replace=True"):
        run(out, samples[:1], resume=False)
    second = run(out, samples[:1], seed=1, replace=True)
    assert second.hash != first.hash
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]
    (tmp_path / "a file").write_text("not a store")
    with pytest.raises(ColumnMinerError):
        run(tmp_path / "a file", samples[:1])
    assert (tmp_path / "a file").read_text() == "not a store"


# Bad input ----------------------------------------------------------------------------------------------------------


def cut_event(path, text):
    path.write_text(text[: text.rindex("<rwgt>")])


def nan_weight(path, text):
    *rest, last = text.split("<wgt id='ww'> +")
    path.write_text("<wgt id='ww'> +".join(rest) + "<wgt id='ww'> nan" + last[last.index(" <") :])


def missing_weight(path, text):
    head, *events = text.split("<event>")
    events[-2] = "\n".join(line for line in events[-2].splitlines() if "id='ww'" not in line)
    path.write_text("<event>".join([head, *events]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_event, r"event 59"),
        (nan_weight, r"weight 'ww' of event 59 \(counted from 0\) is nan"),
        (missing_weight, r"weight 'ww' of event 58 .* missing"),
    ],
)
def test_a_damaged_file_is_named_and_loses_nothing_else(samples, run, tmp_path, damage, message):
    bad = tmp_path / "bad.lhe"
    damage(bad, text_of(samples[0].files[0]))
    with pytest.raises(TaskError, match=r"1 of 2 failed:\n.*bad\.lhe.*" + message):
        run(tmp_path / "s.zarr", [Sample(bad, benchmark="sm"), samples[1]], part_size=20)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.lhe", "s.zarr.parts"]
    committed = sorted(len(list(p.glob("0*"))) for p in (tmp_path / "s.zarr.parts").glob("*/*"))
    assert committed == [2, 2], "the parts before the damage, and all of the good file"


def test_a_cut_gzip_file_keeps_what_was_read(samples, run, tmp_path):
    """Long enough that the reader has seen whole batches before it meets the end."""
    head, *events = text_of(samples[0].files[0]).replace("</LesHouchesEvents>", "").split("<event>")
    text = "<event>".join([head, *(events * 60)]) + "</LesHouchesEvents>\n"
    bad = tmp_path / "bad.lhe.gz"
    bad.write_bytes(gzip.compress(text.encode())[:-100])
    with pytest.raises(TaskError, match=r"bad\.lhe\.gz: the compressed file ends too early"):
        run(tmp_path / "s.zarr", [Sample(bad, benchmark="sm")], part_size=500)
    # Parts are called by their first event; the folder around them by a hash, which may begin with a zero, too.
    parts = sorted(p.name for p in (tmp_path / "s.zarr.parts").rglob("0*") if len(p.name) == 12 and p.name.isdigit())
    assert 0 < len(parts) <= 3600 // 500
    # The whole file under the same name takes its place; nothing of the cut one is used.
    bad.write_bytes(gzip.compress(text.encode()))
    assert run(tmp_path / "s.zarr", [Sample(bad, benchmark="sm")], part_size=500).samples[0].n_generated == 3600


def without(benchmark):
    def rewrite(path, text):
        path.write_text("\n".join(line for line in text.splitlines() if f"id='{benchmark}'> +" not in line))

    return rewrite


def test_a_missing_benchmark_is_found_before_reading(vbf, setup, selection, tmp_path):
    bad = tmp_path / "bad.lhe"
    without("neg_w")(bad, text_of(vbf / "signal_sm.lhe.gz"))
    with pytest.raises(MissingError, match=r"bad\.lhe: events have no weight for benchmark 'neg_w'.*w, ww, neg_ww"):
        process([Sample(bad, benchmark="sm")], setup, selection, tmp_path / "s.zarr")
    with pytest.raises(MissingError, match="for benchmark 'sm'"):
        process([Sample(vbf / "signal_sm.lhe.gz", benchmark="w")], setup, selection, tmp_path / "s.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.lhe"]


def test_samples_have_to_fit_the_set_up(vbf, setup, selection, tmp_path):
    file, out = vbf / "signal_sm.lhe.gz", tmp_path / "s.zarr"
    cases = [
        ([Sample(file, benchmark="neg")], UnknownNameError, "Did you mean 'neg_w'"),
        ([Sample(file, benchmark="sm", systematics=["mu"])], UnknownNameError, "no systematic is called 'mu'"),
        ([Sample(file, benchmark="sm"), Sample(file, background=True)], InputError, "count twice"),
        ([Sample(file, benchmark="sm"), Sample(vbf / "x", benchmark="sm")], InputError, "two samples are called 'sm'"),
        ([Sample(file, benchmark="sm"), Sample(vbf / "signal_w.lhe.gz", data=True)], InputError, "cannot share"),
        ([Sample(vbf / "nothing.lhe", benchmark="sm")], InputError, "nothing.lhe cannot be read"),
        ([], InputError, "no samples"),
    ]
    for samples, error, message in cases:
        with pytest.raises(error, match=message):
            process(samples, setup, selection, out)
    with pytest.raises(InputError, match="partition"):
        process([Sample(file, benchmark="sm")], setup, selection, out, partition=(1.0,))
    with pytest.raises(InputError, match="part_size"):
        process([Sample(file, benchmark="sm")], setup, selection, out, part_size=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of"),
        ({"benchmark": "sm", "background": True}, "exactly one of"),
        ({"benchmark": "sm", "k_factor": 0.0}, "k_factor"),
        ({"benchmark": "sm", "k_factor": float("nan")}, "k_factor"),
        ({"benchmark": "sm", "cross_section": -1.0}, "cross_section"),
        ({"data": True, "k_factor": 2.0}, "recorded events"),
    ],
)
def test_samples_that_contradict_themselves(options, message):
    with pytest.raises(InputError, match=message):
        Sample("a.lhe", **options)
    with pytest.raises(InputError, match="at least one file"):
        Sample([], benchmark="sm")


def test_names_of_samples():
    assert Sample("a.lhe.gz", background=True).name == "a"
    assert Sample("a.lhe.gz", benchmark="sm").name == "sm"
    assert Sample(["a.lhe", "b.lhe"], benchmark="sm", name="c").files == (Path("a.lhe"), Path("b.lhe"))


def test_the_full_files_give_the_weights_of_madminer(shared, tmp_path):
    from columnminer.store.madminer import import_madminer

    theirs = import_madminer(shared / "vbf" / "madminer_lhe_nosmear.h5", tmp_path / "theirs.zarr")
    selection = Selection({"pt_j1": "j[0].pt"}, cuts=["(a[0] + a[1]).m > 122.0", "(a[0] + a[1]).m < 128.0"])
    samples = [Sample(shared / "vbf" / f"signal_{name}.lhe.gz", benchmark=name) for name in SIGNALS]
    ours = process(samples, theirs.setup, selection, tmp_path / "ours.zarr")
    np.testing.assert_array_equal(ours.weights[:], theirs.weights[:])
    np.testing.assert_array_equal(ours.sample[:], theirs.sample[:])
    np.testing.assert_allclose(ours.observables[:, 0], theirs.observables[:, 0], rtol=1e-12)
    np.testing.assert_allclose(ours.xsec().value, theirs.xsec().value, rtol=1e-13)


def test_the_systematics_file_gives_the_numbers_of_madminer(shared, tmp_path):
    """Read, cut, scaled and varied here; theirs from a repaired MadMiner (`note` in the file)."""
    from columnminer.store.madminer import import_madminer

    theirs = import_madminer(shared / "vbf" / "madminer_lhe_systematics.h5", tmp_path / "theirs.zarr")
    sample = Sample(
        shared / "vbf" / "signal_sm_systematics.lhe.gz",
        benchmark="sm",
        k_factor=1.1,
        systematics=["signal_norm", "scales"],
    )
    ours = process([sample], theirs.setup, Selection({"pt_j1": "j[0].pt"}, cuts=["pt_j1 > 30"]), tmp_path / "ours.zarr")
    oracle = json.loads((shared / "vbf" / "oracle_systematics.json").read_text())
    assert len(ours) == oracle["n"]
    np.testing.assert_allclose(ours.weights[:], theirs.weights[:], rtol=1e-12)
    entry = oracle["xsecs_theta0_at_nus"]
    np.testing.assert_allclose(ours.xsec([[0, 0]] * 4, entry["nus"]).value, entry["values"], rtol=1e-8)
    gradients = ours.xsec_gradients([[0, 0]] * 4, entry["nus"])
    expected = np.array(oracle["xsec_gradients_theta_nu"])
    np.testing.assert_allclose(gradients, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
