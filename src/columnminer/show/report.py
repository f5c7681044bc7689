"""A report: one HTML file that holds everything it shows and fetches nothing.

A report is a title and sections; a section is a heading and items: paragraphs, tables, pictures, listings. All text is
escaped, and a content policy in the file forbids scripts and requests.
"""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from columnminer.files import appearing
from columnminer.show.style import save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["Listing", "Paragraph", "Picture", "Section", "Table", "write_report"]


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes
    ----------
    head : sequence of str
        Column headings.
    rows : sequence of sequences of str
        One text for each column.
    caption : str
        What the table says, in a sentence.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption; the figure that `ax` belongs to is drawn."""

    ax: Axes
    caption: str


@dataclass(frozen=True)
class Listing:
    """A text as it stands in a file, folded away under its caption."""

    text: str
    caption: str


Item: TypeAlias = Paragraph | Table | Picture | Listing


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    items: Sequence[Item]


def write_report(path: Path, title: str, sections: Sequence[Section], *, footer: str = "") -> None:
    """Write a report as one self-contained HTML file.

    Parameters
    ----------
    path
        Where to write; written beside itself first and renamed, so that a reader never sees half of it.
    title, sections, footer
        What it says.

    Examples
    --------
    >>> from pathlib import Path
    >>> from columnminer.show.report import Paragraph, Section
    >>> cm.write_report(Path("report.html"), "Limits", [Section("Set-up", [Paragraph("Two couplings.")])])
    """
    head = html.escape(title)
    contents = "".join(
        f'<li><a href="#s{i}">{html.escape(section.heading)}</a></li>' for i, section in enumerate(sections)
    )
    body = "\n".join(
        f'<section id="s{i}">\n<h2>{html.escape(section.heading)}</h2>\n'
        + "\n".join(_item(item) for item in section.items)
        + "\n</section>"
        for i, section in enumerate(sections)
    )
    text = _PAGE.format(
        title=head, style=_STYLE, contents=contents, body=body, footer=f"<footer>{html.escape(footer)}</footer>"
    )
    with appearing(path) as new:
        new.write_text(text, encoding="utf-8")


def _item(item: Item) -> str:
    if isinstance(item, Paragraph):
        return f"<p>{html.escape(item.text)}</p>"
    if isinstance(item, Listing):
        return f"<details><summary>{html.escape(item.caption)}</summary><pre>{html.escape(item.text)}</pre></details>"
    if isinstance(item, Picture):
        buffer = io.BytesIO()
        save(item.ax, buffer)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        caption = html.escape(item.caption)
        # Pictures as wide as their figures: so is the writing in them all of one size.
        width = _REM_PER_INCH * item.ax.figure.get_figure(root=True).get_size_inches()[0]
        image = f'<img style="width: {width:.1f}rem" alt="{caption}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    caption = f"<caption>{html.escape(item.caption)}</caption>" if item.caption else ""
    marks = [_mark([row[i] for row in item.rows]) for i in range(len(item.head))]
    head = "".join(f'<th scope="col"{m}>{html.escape(cell)}</th>' for m, cell in zip(marks, item.head, strict=True))
    rows = "\n".join(
        "<tr>" + "".join(f"<td{m}>{_cell(cell)}</td>" for m, cell in zip(marks, row, strict=True)) + "</tr>"
        for row in item.rows
    )
    return (
        f'<div class="wide"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _cell(text: str) -> str:
    """Return a cell in which what is wrong stands out."""
    return re.sub(r"\bFAILED\b", "<strong>FAILED</strong>", html.escape(text))


def _mark(column: Sequence[str]) -> str:
    """Let numbers stand to the right, so that their digits can be compared down a column; intervals are not broken."""
    cells = [cell for cell in column if cell]
    if any(cell.startswith("[") for cell in cells):
        return ' class="i"'
    return ' class="n"' if 2 * sum(_NUMBER.fullmatch(cell) is not None for cell in cells) > len(cells) else ""


_REM_PER_INCH = 4.5
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*(e[-+]?\d+)?|inf)%?( \(\d+\.?\d*%\))?")

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.8rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
nav ul { columns: 2; padding-left: 1.2rem; } a { color: #1f4e9c; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; }
caption { text-align: left; color: #444; padding-bottom: 0.4rem; }
th, td { padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n, td.i { white-space: nowrap; } td strong { color: #b00020; }
th { border-bottom: 2px solid #888; }
figure { display: inline-block; margin: 1rem 0.5rem 1rem 0; max-width: 100%; vertical-align: top; }
figure img { max-width: 100%; height: auto; }
figcaption { max-width: 29rem; color: #444; font-size: 0.9rem; }
footer { margin-top: 3rem; color: #555; font-size: 0.85rem; border-top: 1px solid #ccc; padding-top: 0.5rem; }
summary { cursor: pointer; color: #444; }
pre { font-size: 0.8rem; overflow-x: auto; background: #f6f6f6; padding: 0.8rem; }
@media (max-width: 30rem) { nav ul { columns: 1; } td, th { padding-right: 0.6rem; } }
@media print {
  body { max-width: none; margin: 0; font-size: 10pt; } nav { display: none; } .wide { overflow: visible; }
  figure, tr { break-inside: avoid; } h2, caption, thead { break-after: avoid; } pre { white-space: pre-wrap; }
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<nav><ul>{contents}</ul></nav>
{body}
{footer}
</body>
</html>
"""
