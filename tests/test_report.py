"""The report: one HTML file that is well formed, holds its pictures, fetches nothing and lets no text act as markup."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from columnminer.show.report import Paragraph, Picture, Section, Table, write_report

HOSTILE = "<script>alert('x')</script> & \"quoted\" <img src=http://elsewhere/x.png>"


class Reader(HTMLParser):
    """Collects tags with their attributes, and checks that they close in order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def report(tmp_path):
    ax = Figure().subplots()
    ax.plot([0, 1], [0, 1])
    sections = [
        Section("Set-up " + HOSTILE, [Paragraph(HOSTILE), Table(["name", "value"], [[HOSTILE, "-1.5"]], HOSTILE)]),
        Section("Pictures", [Picture(ax, HOSTILE)]),
    ]
    path = tmp_path / "report.html"
    write_report(path, HOSTILE, sections, footer=HOSTILE)
    return path


def test_no_text_acts_as_markup(report):
    page = Reader(report.read_text(encoding="utf-8"))
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert tags.count("img") == 1
    # title, h1, contents, heading, paragraph, caption, cell, caption of the picture, footer
    assert "".join(page.text).count(HOSTILE) == 9


def test_it_holds_its_pictures_and_fetches_nothing(report):
    page = Reader(report.read_text(encoding="utf-8"))
    (picture,) = [attrs for tag, attrs in page.tags if tag == "img"]
    kind, _, data = picture["src"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert picture["alt"] == HOSTILE
    for tag, attrs in page.tags:
        for key in ("src", "href", "srcset", "action"):
            assert attrs.get(key) is None or attrs[key].startswith(("data:", "#")), (tag, attrs)
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_contents_lead_to_the_sections(report):
    page = Reader(report.read_text(encoding="utf-8"))
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    ids = ["#" + attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert links == ids
    assert len(ids) == 2


def test_numbers_are_aligned(report):
    cells = [attrs for tag, attrs in Reader(report.read_text(encoding="utf-8")).tags if tag == "td"]
    assert [cell.get("class") for cell in cells] == [None, "n"]


def test_writing_again_replaces_and_leaves_nothing_else(report):
    write_report(report, "second", [])
    assert "<h1>second</h1>" in report.read_text(encoding="utf-8")
    assert [p.name for p in report.parent.iterdir()] == ["report.html"]


def test_a_browser_opens_it(report, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        report.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r"<h2>Pictures</h2>", dom)
    assert "<script" not in dom
