"""A page as headless Chromium sees it: with its pictures decoded, at some width of the window."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# The pages' own policy forbids scripts: a copy without it measures itself, and says what it found in its title.
_POLICY = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>")
_MEASURE = """<script>addEventListener("load", () => { document.title = JSON.stringify({
  pictures: [...document.images].map(image => image.naturalWidth),
  fetched: performance.getEntriesByType("resource").map(entry => entry.name),
  width: document.documentElement.scrollWidth, window: innerWidth, height: document.documentElement.scrollHeight})})
</script></head>"""


@dataclass(frozen=True)
class Seen:
    """What a browser made of a page.

    Attributes
    ----------
    dom : str
        The page, serialised.
    pictures : list of int
        Widths of its pictures [px]; 0 for those that could not be decoded.
    fetched : list of str
        What it loaded from elsewhere.
    width, window, height : int
        Of the page, of the window, and of the page from top to bottom [px].
    screenshot : Path
        PNG of the top.
    """

    dom: str
    pictures: list[int]
    fetched: list[str]
    width: int
    window: int
    height: int
    screenshot: Path


def seen(page: Path, folder: Path, width: int = 1280) -> Seen:
    """Open a page; skips where there is no Chromium."""
    dom = _run(folder, width, "--dump-dom", page)
    copy = folder / f"measured_{width}.html"
    text, n = _POLICY.subn("", page.read_text(encoding="utf-8"))
    assert n == 1, "the page has no policy"
    copy.write_text(text.replace("</head>", _MEASURE, 1), encoding="utf-8")
    title = re.search(r"<title>(.*?)</title>", _run(folder, width, "--dump-dom", copy), re.DOTALL)
    assert title is not None
    screenshot = folder / f"page_{width}.png"
    _run(folder, width, f"--screenshot={screenshot}", page)
    return Seen(dom=dom, screenshot=screenshot, **json.loads(html.unescape(title[1])))


def _run(folder: Path, width: int, what: str, page: Path) -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"needs a browser: {', '.join(names)}")
    quiet = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-sync", *quiet]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1600", what, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
