"""Faults: killed workers and runs, full disks, corrupt files, two runs at once. Whatever happens, nothing is lost.

What "nothing is lost" means is the same everywhere: nobody sees half an output, and in the end it is, bit for bit, the
undisturbed one, with nothing left beside it.
"""

from __future__ import annotations

import contextlib
import gzip
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from faulty_work import Work, files, selection, serve

import columnminer as cm
from columnminer import processing
from columnminer.errors import ColumnMinerError, OutputExistsError, StorageError, TaskError
from columnminer.formats.lhe import LHEReader
from columnminer.processing import process
from columnminer.store.parts import open_parts
from columnminer.store.samples import Sample

WORKS = ["process", "sample", "estimator", "toys", pytest.param("run", marks=pytest.mark.slow)]

# There are few events and few epochs. Warnings are not ignored, as stages keep them.
pytestmark = pytest.mark.filterwarnings("default::columnminer.errors.ColumnMinerWarning")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return Work(tmp_path_factory.mktemp("inputs")).prepare()


@pytest.fixture(scope="module")
def undisturbed(work, tmp_path_factory):
    """What some work leaves if nothing happens, by its name."""
    folder, known = tmp_path_factory.mktemp("undisturbed"), {}

    def outcome(name):
        if name not in known:
            getattr(work, name)(folder / name)
            known[name] = comparable(folder / name)
        return known[name]

    return outcome


def comparable(out):
    """Return all bytes of an output but those that tell the time: how long a training took, when files were hashed."""
    found = files(out)
    found.pop(".columnminer/hashes.json", None)
    return {name: re.sub(TIMES.get(Path(name).name, b"^$"), b"", content) for name, content in found.items()}


TIMES = {"estimator.json": rb'"seconds": [^\n]*', "report.html": rb"cos_theta</td><td class=\"n\">[^<]*"}
"""Where files tell the time: in a document, and in the column beside the features of a training."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# A disk that fills ---------------------------------------------------------------------------------------------------


class SmallDisk:
    """A disk of a few MB, most of which is taken."""

    def __init__(self, folder):
        self.folder, self.filler = folder, folder / "filler"

    def leave(self, n_bytes):
        """Leave room for so many, those included that are taken by other files than our own."""
        self.make_room()
        disk = shutil.disk_usage(self.folder)
        self.filler.write_bytes(bytes(disk.free - max(n_bytes - disk.used, 0)))

    def make_room(self):
        self.filler.unlink(missing_ok=True)


class SmallFiles:
    """As if a quota were used up: files may not grow. This needs no rights."""

    def __init__(self, folder):
        self.folder, self.limits = folder, resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave(self, n_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, self.limits[1]))

    def make_room(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


@pytest.fixture(params=["disk", "quota"])
def full(request, tmp_path):
    """Something that leaves a number of bytes for files in its folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    if request.param == "quota":
        quota = SmallFiles(folder)
        yield quota
        quota.make_room()
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "none", folder]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be made here: {mounted.stderr.strip()}")
    yield SmallDisk(folder)
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", WORKS)
def test_a_full_disk_is_named_and_with_room_the_work_goes_on(work, undisturbed, full, name):
    expected, out = undisturbed(name), full.folder / "out"
    sizes = [len(b) for b in files(work.folder.parent / "undisturbed0" / name).values()]
    needed = sum(sizes) if isinstance(full, SmallDisk) else max(sizes)
    for share in (0.0, 0.2, 0.5, 0.9):
        full.leave(int(share * needed))
        with pytest.raises(StorageError, match=r"small/out.* cannot be written: .*\. Make room in .*small"):
            getattr(work, name)(out)
        full.make_room()
        assert name == "run" or not out.exists(), "nobody sees half of it"
    getattr(work, name)(out)
    assert comparable(out) == expected
    assert names(full.folder) == ["out"]


# A corrupt file among a hundred --------------------------------------------------------------------------------------


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def garble(file):
    """Put garbage into the 41st event, as its writer might have done."""
    head, *events = gzip.decompress(file.read_bytes()).decode().split("<event>")
    events[40] = events[40].replace("\n", "\n#%&", 3)
    file.write_bytes(gzip.compress("<event>".join([head, *events]).encode()))


def empty(file):
    file.write_bytes(b"")


def remove(file):
    file.unlink()


CORRUPTIONS = [(cut, "ends too early"), (garble, r"event 40\b"), (empty, "empty"), (remove, "No such file")]


@pytest.mark.parametrize(("corrupt", "message"), CORRUPTIONS)
def test_a_file_that_gets_corrupt_is_named_and_the_other_99_are_kept(work, tmp_path, monkeypatch, corrupt, message):
    bad, good = work.lhe[57], work.lhe[57].read_bytes()
    read, batches = [], LHEReader.batches

    def seen(self, *arguments, **options):
        if not read:
            corrupt(bad)
        read.append(Path(self.path).name)
        return batches(self, *arguments, **options)

    monkeypatch.setattr(LHEReader, "batches", seen)
    try:
        with pytest.raises(TaskError, match=rf"1 of 100 failed:\n  057.*{message}[\s\S]*mend what failed .*call again"):
            work.process(tmp_path / "s.zarr", n_files=100, part_size=100)
    finally:
        bad.write_bytes(good)
    assert names(tmp_path) == ["s.zarr.parts"]
    read[:] = ["before"]
    work.process(tmp_path / "s.zarr", n_files=100, part_size=100)
    assert read == ["before", bad.name], "the others are not read again"
    shutil.rmtree(tmp_path / "s.zarr", ignore_errors=True)


@pytest.mark.parametrize(("corrupt", "message"), CORRUPTIONS)
def test_a_file_that_is_corrupt_from_the_start_costs_nothing(work, tmp_path, corrupt, message):
    """What can be seen of it at once is said before the others are read."""
    shutil.copytree(work.folder / "lhe", tmp_path / "lhe")
    there = Work(tmp_path)
    corrupt(there.lhe[5])
    with pytest.raises(ColumnMinerError, match=rf"005\.lhe\.gz.*{message}"):
        there.process(tmp_path / "s.zarr")
    shutil.copy(work.lhe[5], there.lhe[5])
    there.process(tmp_path / "s.zarr")
    assert names(tmp_path) == ["lhe", "s.zarr"]


def test_what_was_read_before_a_checksum_failed_is_not_believed(work, tmp_path):
    """A flipped digit in the midst of a large file: only the end of the file tells, and its fingerprint does not."""
    text = gzip.decompress(work.lhe[0].read_bytes()).decode()
    head, *events = text.removesuffix("</LesHouchesEvents>\n").split("<event>")
    text = "<event>".join([head, *(events * 80)]) + "</LesHouchesEvents>\n"
    file, right = tmp_path / "large.lhe.gz", gzip.compress(text.encode(), compresslevel=0)
    point = right.index(b".", right.index(b"<event>", 1_200_000))
    wrong = bytearray(right)
    wrong[point + 1] ^= 1  # another digit
    assert point < len(right) - 100_000
    arguments = {"part_size": 500, "progress": False, "samples": [Sample(file, benchmark="sm")]}

    def store(out):
        return process(setup=cm.DrellYan().setup(), selection=selection(), out=tmp_path / out, **arguments)

    file.write_bytes(wrong)
    with pytest.raises(TaskError, match=r"large\.lhe\.gz"):
        store("s.zarr")
    file.write_bytes(right)
    assert files(store("s.zarr").path) == files(store("fresh.zarr").path)


# Two runs at once ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(work):
    """Two processes that do what they are asked for."""
    spawn = multiprocessing.get_context("spawn")
    ends, started = [], []
    for _ in range(2):
        here, there = spawn.Pipe()
        started.append(spawn.Process(target=serve, args=(work.folder, there), daemon=True))
        started[-1].start()
        ends.append(here)
    for end in ends:
        assert end.recv() == "ready"
    yield ends
    for end, peer in zip(ends, started, strict=True):
        end.send(None)
        peer.join()


def both(pair, name, out, seconds, options):
    """Let both processes do the same, the second this much later, and return what they say: None, or why not."""
    for end, delay in zip(pair, (0.0, seconds), strict=True):
        end.send((name, out, delay, options))
    return [end.recv() for end in pair]


REFUSED = {
    "sample": r"OutputExistsError: .*(exists already|somebody else)",
    "estimator": r"OutputExistsError: .*(exists|somebody else)",
    "run": r"OutputExistsError: .*another run is writing here",
}
"""How the second run is refused; the others share the work, and both have the result."""

AT_ONCE = [
    *[(name, {}) for name in ("process", "toys", "sample", "estimator")],
    *[(name, {"replace": True}) for name in ("process", "toys")],
]


@pytest.mark.parametrize("trials", [2, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", [*AT_ONCE, pytest.param(("run", {}), marks=pytest.mark.slow)], ids=str)
def test_of_two_runs_at_once_one_waits_shares_or_is_refused(undisturbed, pair, tmp_path, case, trials):
    (name, options), chance = case, np.random.default_rng(1)
    expected = undisturbed(name)
    began = time.monotonic()
    both(pair, name, tmp_path / "out", 0.0, options)
    duration = time.monotonic() - began
    for trial in range(trials):
        assert comparable(tmp_path / "out") == expected
        assert names(tmp_path) == ["out"], "nothing is left lying about"
        shutil.rmtree(tmp_path / "out")
        offset = chance.uniform(0.0, duration) * bool(trial % 4)  # every fourth time at the same moment
        said = [other for other in both(pair, name, tmp_path / "out", offset, options) if other is not None]
        assert len(said) <= 1, "one has done it"
        assert all(name in REFUSED and re.match(REFUSED[name], other) for other in said), said
    assert comparable(tmp_path / "out") == expected


def test_late_tasks_of_another_configuration_leave_nothing_in_the_store(work, tmp_path, monkeypatch):
    """As those of a run that was interrupted on a cluster, whose cuts were wrong: they may still be at work."""
    open_source, wrong_reads, right_reads = processing.open_source, threading.Event(), threading.Event()

    def opened(*arguments, **options):
        if threading.current_thread() is wrong:
            wrong_reads.set()
            right_reads.wait(20)
        elif not right_reads.is_set():
            right_reads.set()
            wrong.join(20)
        return open_source(*arguments, **options)

    def run_wrong():
        with contextlib.suppress(ColumnMinerError):
            work.process(tmp_path / "s.zarr", n_files=3, selection=selection(cuts=["m_ll > 100"]))

    wrong = threading.Thread(target=run_wrong)
    monkeypatch.setattr(processing, "open_source", opened)
    wrong.start()
    assert wrong_reads.wait(20)
    with pytest.raises(OutputExistsError, match="m_ll > 100"):
        work.process(tmp_path / "s.zarr", n_files=3)
    store = work.process(tmp_path / "s.zarr", n_files=3, replace=True)
    assert not wrong.is_alive()
    assert store.hash == work.process(tmp_path / "fresh.zarr", n_files=3).hash
    assert names(tmp_path) == ["fresh.zarr", "s.zarr"]


def test_who_looks_at_a_finished_store_leaves_the_work_of_those_who_replace_it(work, tmp_path):
    store = work.process(tmp_path / "s.zarr", n_files=1)
    place = open_parts(tmp_path / "s.zarr.parts", {"cuts": "others"}, resume=True, replace=True)
    assert work.process(tmp_path / "s.zarr", n_files=1).hash == store.hash
    assert place.is_dir()


# Workers that are killed ---------------------------------------------------------------------------------------------


def n_parts(out):
    return len([p for p in out.with_name(f"{out.name}.parts").glob("*/*/*") if not p.name.startswith(".")])


@pytest.mark.slow
def test_workers_of_a_cluster_that_are_killed_again_and_again_lose_nothing(work, undisturbed, tmp_path):
    """More often than dask allows a task to lose its worker, which is three times: each file survives many."""
    distributed = pytest.importorskip("distributed")
    out, chance, killed = tmp_path / "s.zarr", np.random.default_rng(1), []
    arguments = {"n_files": 2, "part_size": 3}
    expected = files(work.process(tmp_path / "undisturbed.zarr", **arguments).path)
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
    done = threading.Event()

    def kill():
        seen = 0
        while len(killed) < 12 and not done.wait(chance.uniform(0.0, 0.3)):
            if n_parts(out) > seen:
                seen, nanny = n_parts(out), chance.choice([*cluster.workers.values()])
                with contextlib.suppress(ProcessLookupError, TypeError):  # it is dead already
                    os.kill(nanny.pid, signal.SIGKILL)
                    killed.append(nanny.pid)

    with cluster, distributed.Client(cluster) as client:
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            work.process(out, client=client, **arguments)
        finally:
            done.set()
            killer.join()
    assert files(out) == expected
    assert names(tmp_path) == ["s.zarr", "undisturbed.zarr"]
    assert len(killed) > 5


def test_children_end_with_a_parent_that_is_killed(tmp_path):
    script = (
        "import os, sys, time; from pathlib import Path; from columnminer.run.tasks import run_tasks\n"
        "def work(n):\n    Path(sys.argv[1], str(os.getpid())).touch(); time.sleep(60)\n"
        "run_tasks(work, [1, 2], workers=2)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, tmp_path])
    wait_for(lambda: len(names(tmp_path)) == 2)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(psutil.pid_exists(int(name)) for name in names(tmp_path)))


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


# Runs that are killed ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(1, 50), (2, 10)])
def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(work, undisturbed, tmp_path, workers, kills):
    """Killed and started again until it is done, then from the start, until it was killed this often."""
    expected, chance, out = undisturbed("run"), np.random.default_rng(workers), tmp_path / "out"
    command = [sys.executable, "-m", "columnminer.cli", "run", work.folder / "analysis.yaml", "--out", out]
    command += ["--workers", str(workers)]
    duration, killed, in_a_row = None, 0, 0
    while killed < kills or in_a_row:
        run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        run.stderr.readline()  # it has begun
        began, children = time.monotonic(), []
        if duration is not None and killed < kills and in_a_row < 8:  # then it may finish, however slow it is today
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.communicate(timeout=chance.uniform(0.0, duration))
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(run.pid).children(recursive=True)
            run.kill()
        log = run.communicate()[1]
        if run.returncode == -signal.SIGKILL:
            killed, in_a_row = killed + 1, in_a_row + 1
            wait_for(lambda left=children: not any(child.is_running() for child in left))
            continue
        assert run.returncode == 0, log
        assert comparable(out) == expected
        duration, in_a_row = time.monotonic() - began, 0
        shutil.rmtree(out)
