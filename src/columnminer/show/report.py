"""A report: one HTML file that holds everything it shows and fetches nothing.

A report is a title and sections; a section is a heading and items: paragraphs, tables, pictures. All text is escaped,
and a content policy in the file forbids scripts and requests.
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

__all__ = ["Paragraph", "Picture", "Section", "Table", "write_report"]


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


Item: TypeAlias = Paragraph | Table | Picture


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
        "<tr>" + "".join(f"<td{m}>{html.escape(cell)}</td>" for m, cell in zip(marks, row, strict=True)) + "</tr>"
        for row in item.rows
    )
    return (
        f'<div class="wide"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _mark(column: Sequence[str]) -> str:
    """Let numbers stand to the right, so that their digits can be compared down a column."""
    cells = [cell for cell in column if cell]
    return ' class="n"' if cells and all(_NUMBER.fullmatch(cell) for cell in cells) else ""


_REM_PER_INCH = 4.5
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*(e[-+]?\d+)?|inf)%?")

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.8rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
nav ul { columns: 2; padding-left: 1.2rem; } a { color: #1f4e9c; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; }
caption { text-align: left; color: #444; padding-bottom: 0.4rem; }
th, td { padding: 0.25rem 0.8rem 0.25rem 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { border-bottom: 2px solid #888; }
figure { display: inline-block; margin: 1rem 0.5rem 1rem 0; max-width: 100%; vertical-align: top; }
figure img { max-width: 100%; height: auto; }
figcaption { max-width: 29rem; color: #444; font-size: 0.9rem; }
footer { margin-top: 3rem; color: #555; font-size: 0.85rem; border-top: 1px solid #ccc; padding-top: 0.5rem; }
@media print { body { max-width: none; } section { break-inside: avoid-page; } }
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
