"""Limits (of histograms and networks) and information read a store block by block: their memory stays flat.

Each store is worked on in a process of its own, which first does the same on a small store (imports, caches) and then
says by how much its peak memory exceeds what it held. A store of 40,000 events is less than one block: up to ten
million the peak may grow by what a whole block and the few hundred thousand events that decide on the bins take, 40 MB
at most. The weights alone of 400,000 events are 32 MB, of ten million 800 MB; all 400,000 in one block take 60 MB more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drellyan_store import drellyan_store

from columnminer.generate.drellyan import DrellYan
from columnminer.learn.estimators import RatioEstimator
from columnminer.model.priors import flat_prior
from columnminer.sample.sampling import sample_ratio

PROCESS = DrellYan("ee", couplings=("c_ll", "c_lr", "c_rl"), bound=1.0)
WORKS = ("limits", "neural", "truth")
MORE, IN_ONE_BLOCK = 40.0, 60.0  # MB

CHILD = """
import json
import sys
from pathlib import Path
from columnminer.infer.fisher import FisherInformation
from columnminer.infer.grid import Grid
from columnminer.infer.limits import expected_limits
from columnminer.learn.estimators import load_estimator
from columnminer.store import eventstore
from columnminer.store.eventstore import EventStore
def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
def limits(store):
    expected_limits(store, "cos_theta", [0.0] * 3, Grid([(-1, 1, 9)] * 3), luminosity=300.0)
class Ratio:
    # An estimator that does not say where it was trained: on another store.
    parameter_names = ("c_ll", "c_lr", "c_rl")
    log_ratio = staticmethod(load_estimator(sys.argv[4]).log_ratio)
def neural(store):
    expected_limits(store, Ratio(), [0.0] * 3, Grid([(-1, 1, 3)] * 3), luminosity=300.0)
def truth(store):
    FisherInformation(store, 300.0).truth("sm")
def grown(work, path):
    store = EventStore(path)
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again here
    work(store)
    return megabytes("VmHWM") - before
small, large, how = sys.argv[1:4]
works = [limits, neural, truth]
for work in works:
    work(EventStore(small))
if how == "in one block":
    eventstore.BLOCK = len(EventStore(large))
print(json.dumps({work.__name__: grown(work, large) for work in works}))
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)


def grown(warm, store, how="in blocks"):
    """Return for each work the MB by which the peak of a process exceeds what it held before."""
    # Freed memory goes back to the system at once, so that the peak is what was in use.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    command = [sys.executable, "-c", CHILD, str(warm.path), str(store.path), how, str(warm.path.parent / "ratio")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return np.array([json.loads(answer.stdout)[work] for work in WORKS])


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A small store, beside a ratio estimator that was trained on it."""
    store = drellyan_store(tmp_path_factory.mktemp("warm") / "events", PROCESS, 2000)
    prior = flat_prior([(-1.0, 1.0)] * 3)
    sample = sample_ratio(store, prior, "sm", 1000, n_theta=50)
    RatioEstimator(hidden=(8,)).fit(sample, epochs=1).save(store.path.parent / "ratio")
    return store


@pytest.fixture(scope="module")
def of_few(warm, tmp_path_factory):
    """MB for 40,000 events."""
    return grown(warm, drellyan_store(tmp_path_factory.mktemp("few") / "events", PROCESS, 40_000))


def test_memory_is_flat_from_40_000_to_400_000_events_but_not_in_one_block(warm, of_few, tmp_path):
    store = drellyan_store(tmp_path / "events", PROCESS, 400_000)
    assert (grown(warm, store) - of_few < MORE).all()
    assert (grown(warm, store, "in one block") - of_few > IN_ONE_BLOCK).all()


@pytest.mark.slow
def test_memory_is_flat_from_40_000_to_ten_million_events(warm, of_few, tmp_path):
    store = drellyan_store(tmp_path / "events", PROCESS, 10_000_000)
    assert (grown(warm, store) - of_few < MORE).all()
