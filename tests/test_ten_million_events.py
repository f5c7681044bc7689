"""Ten million events through process, sample, limits and information, on two workers of 2 GB.

What comes out is compared with the exact generator, and what it costs with what there is. The number of events may be
set, for a try, with the variable COLUMNMINER_SCALE_EVENTS. The table that is printed is that of docs/scale.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scale_chain
from scale_chain import LUMINOSITY, PER_FILE, PROCESS, THETA

from columnminer.learn.estimators import load_estimator
from columnminer.store.eventstore import EventStore
from columnminer.store.samplestore import SampleStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"),
]

N = int(os.environ.get("COLUMNMINER_SCALE_EVENTS", "10_000_000"))
BYTES = 1000
"""On disk for each event, files that are only there for a while included."""

CLIENT, WORKER = 1200.0, 800.0
"""MB that a process may need, of which imports and libraries are 280; all columns at once would be 850 more."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    if shutil.disk_usage(folder).free < N * BYTES:
        pytest.skip(f"needs {N * BYTES / 1e9:.0f} GB on the disk of {folder}")
    yield folder
    shutil.rmtree(folder)  # pytest would keep it for three more runs


@pytest.fixture(scope="module")
def chain(folder):
    """What the chain found, and what it cost."""
    subprocess.run([sys.executable, scale_chain.__file__, str(folder), str(N)], check=True)
    return json.loads((folder / "chain.json").read_text())


@pytest.fixture(scope="module")
def store(folder, chain):
    return EventStore(folder / "events")


def test_cost(chain, capsys):
    with capsys.disabled():
        print("\n" + scale_chain.table(chain["stages"]))  # noqa: T201 - the figures for the documentation
    peaks = np.array([(stage["peak_client"], stage["peak_worker"]) for stage in chain["stages"]])
    assert (peaks < [CLIENT, WORKER]).all()
    assert (peaks > 100.0).all()  # they were measured


def test_no_worker_was_restarted_or_held_up_for_its_memory(chain):
    before, after = chain["pids"]
    assert before == after
    assert len(before) == 2
    assert not [line for line in chain["log"] if "memory" in line]


def test_no_event_is_lost_or_there_twice(store):
    assert len(store) == store.samples[0].n_generated == N
    first = 0
    for file in store.samples[0].files:
        rows = slice(first, first + file.n_generated)
        np.testing.assert_array_equal(store.columns(rows)["event"], np.arange(file.n_generated))
        first = rows.stop
    assert first == N
    assert len(store.samples[0].files) == -(-N // PER_FILE)
    fractions = np.bincount(store.partition[:]) / N
    np.testing.assert_allclose(fractions, [0.6, 0.2, 0.2], atol=1.5 / N)
    assert len(np.unique(store.observables[:, 0])) > N * (1.0 - 1e-5)  # no file repeats another


def test_cross_sections_are_those_of_the_generator(store):
    thetas = store.setup.benchmark_points
    found, exact = store.xsec(thetas), PROCESS.xsec(thetas)
    assert (np.abs(found.value - exact) < 4.0 * found.error).all()
    assert (found.error < 2.0 * exact / np.sqrt(N)).all()
    elsewhere = PROCESS.xsec(1.5 * thetas[1:])
    assert (np.abs(found.value[1:] - elsewhere) > 4.0 * found.error[1:]).all()


def truth_information():
    """Return the information in events whose flavours and helicities are known: those of all, one by one."""
    nodes, step = PROCESS.hard.beams.nodes(), 0.05

    def xsec(*theta):
        return PROCESS.hard.latent_xsec(*nodes.x.T, np.array(theta)).reshape(len(nodes.x), -1)

    # Differences of a quadratic function over any step are its derivatives.
    slopes = np.stack([xsec(step, 0.0) - xsec(-step, 0.0), xsec(0.0, step) - xsec(0.0, -step)]) / (2.0 * step)
    per_event = np.einsum("inz,jnz,nz->nij", slopes, slopes, 1.0 / xsec(0.0, 0.0))
    return LUMINOSITY * np.einsum("n,nij->ij", nodes.weights, per_event)


def information(chain, name):
    """Return the information and the errors of its entries."""
    found = {key: np.array(values) for key, values in chain[f"information: {name}"].items()}
    return found["information"], np.sqrt(np.einsum("ijij->ij", found["covariance"]))


def test_information_is_that_of_the_generator(chain):
    gradient = PROCESS.xsec_gradients("sm")[0]
    exact = {
        "rate": LUMINOSITY * np.outer(gradient, gradient) / PROCESS.xsec("sm"),
        "truth": truth_information(),
        "detector": PROCESS.fisher_information("sm", LUMINOSITY),
    }
    for name, expected in exact.items():
        found, error = information(chain, name)
        assert (np.abs(found - expected) < 4.0 * error + 1e-12 * np.trace(expected)).all(), name
        assert (error < 20.0 * np.abs(expected).max() / np.sqrt(N)).all(), name
        assert (np.abs(found - 1.2 * expected) > 4.0 * error).any(), name
    less = [information(chain, name)[0] for name in ("rate", "histogram", "detector", "truth")]
    for poor, rich in pairwise(less):
        assert np.linalg.eigvalsh(rich - poor).min() > -1e-3 * np.trace(rich)
        assert np.trace(rich) > 1.01 * np.trace(poor)


def relative_to_best(log_ratio):
    return log_ratio - log_ratio.max()


def test_limits_are_those_of_the_generator(chain):
    found = {name: np.array(chain[f"limits: {name}"]["log_ratio"]) for name in ("rate", "histogram", "exact")}
    points = np.array(chain["limits: exact"]["theta"])
    exact = relative_to_best(PROCESS.expected_log_ratio(points, THETA, LUMINOSITY))
    xsec, true = PROCESS.xsec(points), PROCESS.xsec(THETA)
    rate = relative_to_best(LUMINOSITY * (true * np.log(xsec / true) - (xsec - true)))
    # Test events, a fifth of all, stand for the expected ones: sums of log ratios fluctuate by the root of the share.
    error = np.sqrt(2.0 * (1.0 - exact) * LUMINOSITY * true / (0.2 * N))
    assert (np.abs(found["exact"] - exact) < 4.0 * error).all()
    np.testing.assert_allclose(found["rate"], rate, rtol=50.0 / np.sqrt(N), atol=300.0 / np.sqrt(N))
    moved = relative_to_best(PROCESS.expected_log_ratio(points, [0.012, 0.006], LUMINOSITY))
    assert (np.abs(found["exact"] - moved) > 4.0 * error).any()
    # The more is seen, the smaller the region.
    allowed = [(found[name] > -3.0).sum() for name in ("rate", "histogram", "exact")]
    assert allowed[0] > allowed[1] >= allowed[2] > 0


def test_limits_of_an_estimator_are_sums_over_all_test_events(folder, store, chain):
    found, points = (np.array(chain["limits: estimator"][name]) for name in ("log_ratio", "theta"))
    estimator, some = load_estimator(folder / "ratio"), [int(found.argmax()), 0, len(points) - 1]
    kinematic, number = np.zeros(len(some)), 0.0
    for block in store.blocks("test"):
        weights = block.weights(THETA)[0]
        kinematic += estimator.log_ratio(block.x, points[some], pairing="grid", names=store.observable_names) @ weights
        number += weights.sum()
    n, expected = (LUMINOSITY * store.xsec(theta).value for theta in (THETA, points[some]))
    rate = n * np.log(expected) - expected
    log_ratio = n * kinematic / number + rate
    np.testing.assert_allclose(found[some], log_ratio - log_ratio[0], rtol=1e-3, atol=0.1)
    others = np.array(some) != some[0]  # the best fit may lie in a corner
    assert (np.abs(found[some] - (rate - rate[0]))[others] > 1.0).all()
    # A short training; normalising its ratios is another task.
    exact = relative_to_best(PROCESS.expected_log_ratio(points, THETA, LUMINOSITY))
    assert (np.abs(found - exact) < 0.01 * n).all()


def test_samples_are_the_same_wherever_drawn(chain):
    assert chain["same samples"]


def test_a_large_sample_has_the_gold_it_should(folder, store, chain):
    samples = SampleStore(folder / "samples")
    assert len(samples) == N
    n, mean, square = np.zeros(3)
    for start in range(0, N, 2**20):
        rows = slice(start, start + 2**20)
        ratios = samples["r_xz"][rows][samples["y"][rows] == 1].astype(np.float64)
        n, mean, square = n + len(ratios), mean + ratios.sum(), square + (ratios**2).sum()
    mean, error = mean / n, np.sqrt(square / n - (mean / n) ** 2) / np.sqrt(n)
    assert n == N // 2
    assert error < 3.0 / np.sqrt(N)
    assert abs(mean - 1.0) < 4.0 * error
