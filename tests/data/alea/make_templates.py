"""Writes the templates beside it: ``python make_templates.py``. Made up; no experiment looks like this."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from columnminer.infer.template_files import Histogram, write_histograms

HERE = Path(__file__).parent / "templates"
CHARGE, LIGHT = np.linspace(0.0, 40.0, 9), np.geomspace(1.0, 64.0, 7)


def middles(edges: np.ndarray) -> np.ndarray:
    return 0.5 * (edges[1:] + edges[:-1])


def blob(charge: float, log_light: float, events: float) -> Histogram:
    x, y = np.meshgrid(middles(CHARGE), np.log2(middles(LIGHT)), indexing="ij")
    contents = np.exp(-0.5 * ((x - charge) / 12) ** 2 - 0.5 * ((y - log_light) / 1.5) ** 2) + 0.01
    contents *= events / contents.sum()
    return Histogram(("charge", "light"), (CHARGE, LIGHT), contents.astype(np.float32))


def main() -> None:
    HERE.mkdir(exist_ok=True)
    shifts = {-1: 3.0, 0: 3.5, 2: 4.5}
    write_histograms(HERE / "background.ii.h5", {f"b_{s}": blob(25, y, 100 + 5 * s) for s, y in shifts.items()})
    for mass, charge in {10: 4, 30: 10}.items():
        write_histograms(HERE / f"signal_{mass}.ii.h5", {"signal": blob(charge, 2.0, mass / 5)})
    energy = np.linspace(0.0, 120.0, 61)
    write_histograms(HERE / "spectrum.ii.h5", {"beta": Histogram(("energy",), (energy,), 120.0 - middles(energy))})


if __name__ == "__main__":
    main()
