"""Asks alea for its numbers: ``python ask_alea.py > numbers_of_alea.json``, where alea is installed.

The models are those beside it. Events are drawn here, uniformly, and rounded so that they fit into the file; what alea
says of them is its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import alea
import numpy as np
from alea.models import BlueiceExtendedModel

HERE = Path(__file__).parent.resolve()
POINTS = {
    "search.yaml": [
        {},
        {"signal_rate_multiplier": 3.5, "background_rate_multiplier": 0.7, "shift": -0.25, "efficiency": 1.2},
        {"signal_rate_multiplier": 0.0, "background_rate_multiplier": 1.1, "shift": 1.5, "efficiency": 0.5},
    ],
    "energy.yaml": [
        {},
        {"beta_rate_multiplier": 350.0, "line_rate_multiplier": 70.0, "smearing_a": 26.5, "efficiency_constant": 0.75},
    ],
}
RANGES = {"charge": (0, 40), "light": (1, 64), "ces": (0, 100)}


def data(model: BlueiceExtendedModel, rng: np.random.Generator) -> dict[str, np.ndarray]:
    made = {}
    for name, generator in zip(model.likelihood_names, model.data_generators, strict=False):
        events = np.zeros(40, dtype=generator.dtype)
        for axis in events.dtype.names[:-1]:
            events[axis] = rng.uniform(*RANGES[axis], 40).round(3)
        made[name] = events
    measured = {p.name: p.nominal_value for p in model.parameters.with_uncertainty}
    made["ancillary"] = np.array([tuple(measured.values())], dtype=[(n, float) for n in measured])
    made["ancillary"]["background_rate_multiplier" if "shift" in measured else "smearing_a"] *= 1.1
    return made


def main() -> None:
    answers = {"alea": alea.__version__, "models": {}}
    rng = np.random.default_rng(12)
    for file, points in POINTS.items():
        model = BlueiceExtendedModel.from_config(str(HERE / "configs" / file), template_path=str(HERE / "templates"))
        events = data(model, rng)
        model.data = events
        answers["models"][file] = {
            "data": {name: {n: d[n].tolist() for n in d.dtype.names if n != "source"} for name, d in events.items()},
            "points": [
                {
                    "parameters": point,
                    "log_likelihood": float(model.ll(**point)),
                    "expectation": model.get_expectation_values(per_likelihood_term=True, **point),
                }
                for point in points
            ],
        }
    json.dump(answers, sys.stdout, default=float)


if __name__ == "__main__":
    main()
