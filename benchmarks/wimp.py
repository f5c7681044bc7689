"""alea's two-term WIMP model: toys thrown, fitted and given intervals by the thousand, where alea takes one by one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

import columnminer as cm

if TYPE_CHECKING:
    from pathlib import Path

TOYS = 2_000
THEIR_TOYS = 20
SIGNAL = "wimp_rate_multiplier"


class Toys:
    """The same work here and in alea.

    Parameters
    ----------
    python
        Python of an environment with alea.
    shared
        Folder with data/alea and peers/alea_peer.py.
    """

    def __init__(self, python: str, shared: Path) -> None:
        self.python, self.shared = python, shared

    @cached_property
    def model(self) -> Any:
        configs = self.shared / "data" / "alea" / "configs"
        return cm.load_alea(configs / "unbinned_wimp_statistical_model.yaml")

    @cached_property
    def toys(self) -> Any:
        return self.model.simulate_many(1, np.arange(TOYS), {SIGNAL: 1.0})

    def fit(self) -> float:
        """Throw the toys and fit each with the signal free and held; return the share that needed Minuit."""
        toys = self.model.simulate_many(1, np.arange(TOYS), {SIGNAL: 1.0})
        free = cm.fit_batch(self.model, toys)
        held = cm.fit_batch(self.model, toys, **{SIGNAL: 1.0})
        return max(free.fallback_share, held.fallback_share)

    def intervals(self) -> Any:
        """Return the central 90 % intervals of the toys, fits included."""
        return cm.interval_batch(self.model, SIGNAL, self.toys, level=0.9, kind="central")

    def theirs(self, *what: str) -> float:
        """Return alea's seconds for as many toys, from the mean over fewer."""
        script = self.shared / "peers" / "alea_peer.py"
        command = [self.python, str(script.resolve()), str(THEIR_TOYS)]
        with tempfile.TemporaryDirectory() as folder:  # alea leaves a cache where it runs
            answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if answer.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{answer.stderr}")
        said = json.loads(answer.stdout.strip().splitlines()[-1])
        return TOYS * sum(float(said[name]) for name in what)
