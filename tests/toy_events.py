"""Small batches of parton-level events, written down by hand or drawn at random."""

from __future__ import annotations

import awkward as ak
import numpy as np

from columnminer.schema import NOMINAL, EventBatch, jagged

Row = tuple[int, int, float, float, float, float]  # PDG id, status, px, py, pz, m


def batch_of(events: list[list[Row]], first_event: int = 0, weights: np.ndarray | None = None) -> EventBatch:
    """Return a batch of these events; spins are 1, the event numbers in the header count up."""
    rows = np.array([row for event in events for row in event], dtype=np.float64).reshape(-1, 6)
    pdgid, status = rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int32)
    p, m = rows[:, 2:5], rows[:, 5]
    columns = {"px": p[:, 0], "py": p[:, 1], "pz": p[:, 2], "e": np.sqrt((p**2).sum(axis=1) + m**2)}
    columns |= {"pdgid": pdgid, "status": status, "spin": np.ones(len(rows))}
    n = len(events)
    header = {"scale": np.arange(n) + 90.0, "alpha_qed": np.full(n, 1 / 128), "alpha_qcd": np.full(n, 0.118)}
    record = ak.zip({"particles": jagged([len(event) for event in events], columns), **header}, depth_limit=1)
    weights = np.ones((n, 1)) if weights is None else weights
    names = (NOMINAL, *(f"w{i}" for i in range(1, weights.shape[1])))
    return EventBatch(record, weights, names, first_event=first_event, source="toy.lhe")


def drawn(n: int, seed: int = 0) -> list[list[Row]]:
    """Return `n` events with up to eight particles of all kinds, some of them not in the final state."""
    rng = np.random.default_rng(seed)
    ids = [1, -2, 4, 5, -5, 21, 11, -11, 13, -13, 15, 22, 22, 12, -14, 23, 1000022]
    masses = {11: 0.000511, 13: 0.105, 15: 1.777, 23: 91.188, 1000022: 100.0, 5: 4.7}

    def particle() -> Row:
        pdgid = int(rng.choice(ids))
        status = int(rng.choice([1, 1, 1, 1, 2, -1]))
        px, py, pz = rng.normal(size=3) * 40
        return pdgid, status, px, py, pz, masses.get(abs(pdgid), 0.0)

    return [[particle() for _ in range(rng.integers(0, 9))] for _ in range(n)]
