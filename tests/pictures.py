"""Comparing pictures with those that were looked at and committed.

`same_picture(ax, "limits")` draws `ax` and compares with `pictures/limits.png` beside it. After a wanted change, run
the tests with COLUMNMINER_DRAW=1 in the environment, which writes the pictures anew; look at every one that git
calls changed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.testing.compare import compare_images
from PIL import Image

from columnminer.show.style import save

FOLDER = Path(__file__).parent / "pictures"
TOLERANCE = 2.0  # root of the mean squared difference of the pixels, of 255: hinting of letters, not a moved line


def same_picture(ax, name, *, dpi=60):
    """Fail unless `ax` (or its figure's axes) looks as the committed picture does; skip where matplotlib is another."""
    kept = FOLDER / f"{name}.png"
    if os.environ.get("COLUMNMINER_DRAW"):
        FOLDER.mkdir(exist_ok=True)
        save(ax, kept, dpi=dpi)
        return
    assert kept.exists(), f"there is no picture {kept.name} yet: draw it with COLUMNMINER_DRAW=1, and look at it"
    drawn_by = Image.open(kept).text["Software"].split(",")[0].removeprefix("Matplotlib version")
    if drawn_by.split(".")[:2] != mpl.__version__.split(".")[:2]:
        pytest.skip(f"the picture was drawn by matplotlib {drawn_by}, which spaces letters unlike {mpl.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / kept.name
        save(ax, new, dpi=dpi)
        difference = compare_images(str(kept), str(new), TOLERANCE, in_decorator=True)
    assert difference is None, f"{name} differs by {difference['rms']:.1f} from the committed picture"
