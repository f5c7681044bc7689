"""The report: one HTML file that is well formed, holds its pictures, fetches nothing and lets no text act as markup."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest
from browser import seen
from matplotlib.figure import Figure

from columnminer.show.report import Listing, Paragraph, Picture, Section, Table, write_report

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
    listing = Listing(HOSTILE, HOSTILE)
    sections = [
        Section("Set-up " + HOSTILE, [Paragraph(HOSTILE), Table(["name", "value"], [[HOSTILE, "-1.5"]], HOSTILE)]),
        Section("Pictures", [Picture(ax, HOSTILE), listing]),
    ]
    path = tmp_path / "report.html"
    write_report(path, HOSTILE, sections, footer=HOSTILE)
    return path


def test_no_text_acts_as_markup(report):
    page = Reader(report.read_text(encoding="utf-8"))
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert tags.count("img") == 1
    # title, h1, contents, heading, paragraph, caption, cell, caption of the picture, of the listing, listing, footer
    assert "".join(page.text).count(HOSTILE) == 11


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


@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_it_and_fetches_nothing(report, tmp_path, width):
    page = seen(report, tmp_path, width)
    assert re.search(r"<h2>Pictures</h2>", page.dom)
    assert "<script" not in page.dom
    assert page.fetched == []
    assert len(page.pictures) == 1
    assert all(page.pictures)
    assert page.width <= page.window, "the page itself does not scroll sideways"
    picture = matplotlib.image.imread(page.screenshot)
    assert picture.shape[1] == width
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 10, "something is to be seen"


def test_the_browser_tells_a_broken_picture(report, tmp_path):
    broken = report.with_name("broken.html")
    broken.write_text(re.sub(r"(base64,)[^\"]*", r"\1AAAA", report.read_text(encoding="utf-8")), encoding="utf-8")
    assert seen(broken, tmp_path).pictures == [0]


def test_what_is_wrong_stands_out(tmp_path):
    table = Table(["name", "share", "interval"], [["FAILED twice", "3 (1.5%)", "[1, 2]"], ["a", "none", ""]])
    write_report(tmp_path / "report.html", "x", [Section("y", [table])])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td><strong>FAILED</strong> twice</td>" in text
    assert '<td class="i">[1, 2]</td>' in text
    assert '<td class="n">3 (1.5%)</td>' not in text, "half of the column is words"
