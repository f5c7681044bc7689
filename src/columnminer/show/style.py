"""How pictures look: mplhep's style made smaller, used locally.

No function here or beside here touches pyplot's figures or leaves matplotlib's settings changed, so that pictures can
be drawn anywhere (a server, a thread of a report, a notebook) without side effects.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, ParamSpec, TypeVar

import matplotlib.style
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.backend_bases import RendererBase
    from matplotlib.layout_engine import LayoutEngine
    from numpy.typing import NDArray

__all__ = ["Look", "axes", "log_scale", "look", "panels", "percent", "save", "styled"]

P = ParamSpec("P")
T = TypeVar("T")

_STYLE: dict[str, Any] = {
    **mplhep.style.ROOT,
    "figure.figsize": (6.4, 4.8),
    "font.size": 13.0,
    "axes.linewidth": 1.0,
    "axes.formatter.use_mathtext": True,
    "axes.titlesize": "medium",
    "lines.linewidth": 1.6,
    "xtick.major.size": 7,
    "xtick.minor.size": 3.5,
    "ytick.major.size": 7,
    "ytick.minor.size": 3.5,
    "legend.fontsize": "small",
    "svg.hashsalt": "columnminer",  # else the ids inside an SVG are random
    # A picture drawn on one machine looks the same on another that lacks the fonts of mplhep.
    "font.sans-serif": ["TeX Gyre Heros", "Helvetica", "Arial", "DejaVu Sans"],
    # mplhep's own set is looked up again when a text is drawn: outside this style that is in matplotlib's default
    # settings, which name a cursive font that few machines have. TeX Gyre Heros has no Greek letters or sums either.
    "mathtext.fontset": "dejavusans",
}


@dataclass(frozen=True)
class Look:
    """What tells one of several things in a picture from the others, also in grey: never its colour alone.

    Attributes
    ----------
    colour, dash, marker
        As matplotlib takes them for ``color``, ``linestyle`` and ``marker``.
    """

    colour: str
    dash: Any
    marker: str


# The colours of Petroff (arXiv 2107.02270) in an order in which neighbours differ in lightness.
_COLOURS = ("#5790fc", "#7a21dd", "#f89c20", "#e42536", "#964a8b", "#9c9ca1")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1.5, 1.5)), (0, (8, 2, 1, 2, 1, 2)), (0, (3, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P")


def look(index: int) -> Look:
    """Return the look of thing number `index` (from 0) of a picture: 36 different ones, of which six share nothing."""
    shifted = (index + index // 6) % 6
    return Look(_COLOURS[index % 6], _DASHES[shifted], _MARKERS[shifted])


def percent(level: float) -> str:
    """Return a probability as text: 0.95 is "95%", 0.6827 "68.27%"."""
    return f"{100.0 * level:.4g}%"


class _PlainFormatter(LogFormatterSciNotation):
    """Labels of a logarithmic axis, without powers of ten where all numbers are of a usual size."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = str(super().__call__(x, pos))
        usual = self.axis is not None and all(1e-3 <= end <= 1e4 for end in self.axis.get_view_interval())
        return f"{x:g}" if text and usual else text


def log_scale(ax: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, labelled 20 and not 2 x 10^1 where all numbers are of a usual size."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis.set_major_formatter(_PlainFormatter())
    axis.set_minor_formatter(_PlainFormatter(labelOnlyBase=False, minor_thresholds=(1.2, 0.5)))


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Let `function` draw in our style, and leave matplotlib's settings as they were."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.style.context(_STYLE):
            return function(*args, **kwargs)

    return wrapper


class _Figure(Figure):
    """A figure in our style whoever draws it: a notebook, or ``figure.savefig``, which know nothing of the style."""

    @styled
    def draw(self, renderer: RendererBase) -> None:
        super().draw(renderer)

    @styled
    def get_tightbbox(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_tightbbox(*args, **kwargs)


class _Axes(Axes):
    """Axes that a notebook shows as the picture that they are in, without pyplot."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        save(self, stream, dpi=100)
        return stream.getvalue()


def axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.8)) -> Axes:
    """Return `ax`, or the axes of a new figure of `size` inches where it is None."""
    return panels(1, 1, size)[0, 0] if ax is None else ax


def panels(rows: int, columns: int, size: tuple[float, float], **options: Any) -> NDArray[Any]:
    """Return the axes of a new figure of `size` inches, (rows, columns); options as `Figure.subplots` takes them."""
    grid: NDArray[Any] = _Figure(figsize=size, layout="constrained").subplots(
        rows, columns, squeeze=False, subplot_kw={"axes_class": _Axes}, **options
    )
    return grid


@styled
def save(ax: Axes, path: Path | str | BinaryIO, dpi: int = 150) -> None:
    """Write the figure of `ax`; the ending of `path` says as what (.png, .pdf, .svg), a stream gets PNG.

    What is written is the same bytes each time, however often the figure was drawn before.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        msg = "these axes were taken out of their figure"
        raise InputError(msg)
    # Without dates, a picture is the same bytes each time that it is drawn.
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(str(path)[-4:].lower())
    engine, before = figure.get_layout_engine(), figure.dpi
    try:
        figure.dpi = dpi  # on which the room that letters take depends
        if engine is not None:
            _settle(figure, engine)
            figure.set_layout_engine("none")
        figure.savefig(path, dpi=dpi, metadata=metadata)
    finally:
        figure.dpi = before
        if engine is not None:
            figure.set_layout_engine(engine)


def _settle(figure: Figure, engine: LayoutEngine) -> None:
    """Lay out until nothing moves by a thousandth of a pixel.

    What a layout makes room for (labels of ticks) follows from the layout before.
    """
    for _ in range(_LAYOUTS):
        before = [ax.get_position().bounds for ax in figure.axes]
        engine.execute(figure)
        if np.allclose(before, [ax.get_position().bounds for ax in figure.axes], rtol=0.0, atol=1e-7):
            break


_LAYOUTS = 10
