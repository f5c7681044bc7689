"""LHE files that are broken: the event is named, what came before it stands, and nothing worse happens."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lhe_text import INIT, PARTICLES, document, event, rwgt, save

from columnminer.errors import FileFormatError
from columnminer.formats.lhe import LHEReader

if TYPE_CHECKING:
    from pathlib import Path

GOOD = event(rwgt(w=1.5, v=-2.5))


def first_fault(path: str, size: int = 2) -> tuple[int, str]:
    """Return how many events come before the fault, and what is said about it."""
    n = 0
    with pytest.raises(FileFormatError) as caught:  # noqa: PT012
        for batch in LHEReader(path).batches(size):
            n += len(batch)
    return n, str(caught.value)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (GOOD.replace("7.6313928448e+02 7", "7.63x13928448e+02 7"), "'+7.63x13928448e+02' is not a number"),
        (GOOD.replace("+7.6313928448e+02 7", "******** 7"), "'********' is not a number"),
        (GOOD.replace("  501 -", "  5.5 -"), "'5.5' is not an integer"),
        (GOOD.replace("  501    0 +", "  99999999999    0 +"), "'99999999999' is not an integer of 32 bits"),
        (GOOD.replace(" 3 1 +5", " -3 1 +5"), "'-3' is not an integer of 32 bits"),
        (GOOD.replace(" 0. 0. -1.", " 0. 0."), "a line has only 12 fields"),
        (GOOD.replace(" 0. 0. -1.", " 0. 0. -1. 7."), "'7.' follows after the last of 13 numbers"),
        (GOOD.replace(" 3 1 +5", " 3 +5"), "not an integer"),
        (GOOD.replace(" 7.8e-03 1.5e-01", " 7.8e-03"), "a line has only 5 fields"),
        (GOOD.replace(" 1.5e-01\n", " 1.5e-01 17\n"), "'17' follows after the last of 6 numbers"),
        (GOOD.replace(" 3 1 +5", " 4 1 +5"), "fewer particle lines than the event says (NUP)"),
        (GOOD.replace(" 3 1 +5", " 2 1 +5"), "'23' follows after the last of the particles"),
        (GOOD.replace(" 3 1 +5", " 999999999999 1 +5"), "not an integer of 32 bits"),
        (GOOD.replace("</event>\n", ""), "the event is cut"),
        (GOOD.replace("'w'", "'x'"), "weight 'x' is not among those of the first event"),
        (GOOD.replace("'w'", "'v'"), "weight 'v' occurs twice"),
        (GOOD.replace(" id='w'", ""), "a <wgt> has no id"),
        (GOOD.replace("> 1.5 <", "> one <"), "'one' is not a number"),
        (GOOD.replace("> 1.5 <", "><"), "'' is not a number"),
        (GOOD.replace("> 1.5 <", "> 1.5 2.5 <"), "'2.5' follows after the last of 1 numbers"),
        (GOOD.replace("<rwgt>", "<weights> 1. </weights><rwgt>"), "<weights> holds 1 numbers, more than in the first"),
        ("<event>\n</event>\n", "a line has only 0 fields"),
        ("<event/>\n", "a line has only 0 fields"),
    ],
)
@pytest.mark.parametrize("name", ["bad.lhe", "bad.lhe.gz"])
def test_faults_name_the_event(tmp_path, bad, what, name):
    assert bad != GOOD
    n, said = first_fault(save(tmp_path, document(GOOD, GOOD, GOOD, bad, GOOD), name))
    assert n == 3
    assert f"{name}, event 3 (counted from 0): " in said
    assert what in said


def test_a_fault_in_the_first_event(tmp_path):
    path = save(tmp_path, document(GOOD.replace(" 0. 0. -1.", " 0."), GOOD))
    for use in (lambda: LHEReader(path).info(), lambda: list(LHEReader(path).batches())):
        with pytest.raises(FileFormatError, match=r"event 0 \(counted from 0\): a line has only 11 fields"):
            use()


def test_faults_behind_skipped_events(tmp_path):
    """Events that are passed over are not read, but counted: the number stays right, and a cut is still found."""
    path = save(tmp_path, document(GOOD, GOOD.replace("1.5", "x"), GOOD, GOOD.replace("-2.5", "x"), GOOD))
    with pytest.raises(FileFormatError, match=r"event 3 \(counted from 0\): 'x' is not a number"):
        list(LHEReader(path).batches(skip=2))
    path = save(tmp_path, document(GOOD, GOOD, GOOD.replace("</event>\n", ""), GOOD))
    with pytest.raises(FileFormatError, match=r"event 2 \(counted from 0\): the event is cut"):
        list(LHEReader(path).batches(skip=4))


@pytest.mark.parametrize("fraction", [0.1, 0.35, 0.5, 0.75, 0.999])
def test_truncated_gzip(tmp_path, fraction):
    """What had been decompressed before the cut is still read; no event is made up, none passes unseen."""
    rng = np.random.default_rng(1)
    texts = [event(rwgt(w=x, v=1)) for x in rng.random(20_000)]
    data = gzip.compress(document(*texts).encode())
    path = save(tmp_path, data[: int(fraction * len(data))], "cut")
    n, said = first_fault(path, size=500)
    assert "compressed file ends too early" in said
    assert f"(after {n} whole events)" in said
    assert fraction * 20_000 - 500 < n < 20_000  # numbers are compressed evenly; the last 64 KB may be lost


def test_small_truncated_gzip(tmp_path):
    """Header and columns are known although the file is cut within the first bytes that are read."""
    rng = np.random.default_rng(1)
    data = gzip.compress(document(*[event(rwgt(w=x, v=1)) for x in rng.random(600)]).encode())
    reader = LHEReader(save(tmp_path, data[: len(data) // 2], "cut"))
    assert reader.info().weight_names == ("nominal", "w", "v")
    assert first_fault(reader.path, size=10)[0] > 100


def test_damaged_gzip(tmp_path):
    data = bytearray(gzip.compress(document(*[GOOD] * 1000).encode()))
    data[-5] ^= 1  # in the checksum at the end
    assert "cannot be read on" in first_fault(save(tmp_path, bytes(data), "damaged"))[1]
    data = bytearray(gzip.compress(document(*[GOOD] * 1000).encode()))
    data[40:60] = bytes(20)
    assert "damaged" in first_fault(save(tmp_path, bytes(data), "damaged"))[1]


@pytest.mark.parametrize("name", ["cut.lhe", "cut.lhe.gz"])
def test_every_cut_of_a_file_is_found(tmp_path, name):
    """Wherever plain text ends too early, be it between two events, that is an error, never a shorter sample."""
    text = document(GOOD, GOOD, GOOD)
    ends = [text.index(GOOD) + len(GOOD) * k for k in range(4)]
    closed = text.index("</LesHouchesEvents")
    for length in range(0, closed, 1 if name == "cut.lhe" else 17):
        path = save(tmp_path, text[:length], name)
        try:
            n, _ = first_fault(path)
        except pytest.fail.Exception:
            pytest.fail(f"a file of {length} bytes passed")
        assert n == max(sum(length >= end - 1 for end in ends[1:]), 0)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "does not begin with <LesHouchesEvents>"),
        ("pt, eta, phi\n1, 2, 3\n" * 100_000, "does not begin with <LesHouchesEvents>"),
        (document(init=""), "no <init> block before the events"),
        (document(GOOD, init=""), "no <init> block before the events"),
        (document(GOOD, init=INIT.replace("</init>", "")), "the file ends before </init>"),
        (document(GOOD, init=INIT.replace("-3 2", "-3")), "the <init> block does not hold"),
        (document(GOOD, init=INIT.replace("1.5E+00", "1.5X+00")), "could not convert string to float: '1.5x+00'"),
        (document(GOOD, init="<init>\n</init>\n"), "the <init> block does not hold"),
        (document(GOOD) * 2, "events follow after </LesHouchesEvents>"),
    ],
)
def test_headers_and_ends(tmp_path, text, what):
    assert what in first_fault(save(tmp_path, text))[1]


def test_something_endless(tmp_path):
    """A remark that never closes must not fill the memory."""
    path = save(tmp_path, document(GOOD).replace("</LesHouchesEvents>", "<!--" + "x" * 2_000_000))
    assert "without </LesHouchesEvents>" in first_fault(path)[1]


SAMPLE = document(
    "<!-- <event> -->\n",
    event(rwgt(w=1.5, v="+2.5e-10"), "<weights> 1 2 </weights>", "# <remark>"),
    event("<mgrwt><x> 1 </x></mgrwt>", rwgt(w="NaN"), particles=(*PARTICLES[:1], "# between", *PARTICLES[1:])),
    event(line="0 1 1 1 1 1", particles=()),
    header="<header><initrwgt><weightgroup name='g'><weight id='w'>text</weight></weightgroup></initrwgt></header>\n",
).encode()  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile") / "events.lhe"


def survive(path: Path, data: bytes) -> None:
    """Read the file; whatever is in it, it makes consistent batches or is refused."""
    path.write_bytes(data)
    reader = LHEReader(path)
    events = 0
    try:
        for batch in reader.batches(2):
            assert batch.first_event == events
            assert batch.weight_names == reader.info().weight_names
            assert ak.is_valid(batch.events)
            assert batch.weights.shape == (len(batch.events), len(batch.weight_names))
            events += len(batch)
    except FileFormatError as error:
        assert str(path) in str(error)  # noqa: PT017


mutation = st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 12), st.binary(max_size=12))


@settings(deadline=None, max_examples=400)
@given(st.lists(mutation, min_size=1, max_size=4))
@example([(1241, 1, b"")])
def test_random_damage_is_refused_or_read(path, mutations):
    data = bytearray(SAMPLE)
    for at, length, new in mutations:
        data[at : at + length] = new
    survive(path, bytes(data))


def test_a_tag_that_is_not_closed_ends_before_the_next_one(path):
    path.write_bytes(SAMPLE)
    whole = [batch.weights for batch in LHEReader(path).batches(100)]
    path.write_bytes(SAMPLE.replace(b"</event>\n", b"</event\n"))
    assert SAMPLE.count(b"</event>\n") > 1
    open_ended = [batch.weights for batch in LHEReader(path).batches(100)]
    np.testing.assert_array_equal(np.concatenate(open_ended), np.concatenate(whole))


MARKUP = (
    b"<event>|</event>|<event |<rwgt>|<wgt id='w'>|<wgt id=|</wgt>|<weights>|<!--|-->|<![CDATA[|]]>|<init>|</init>|"
    b"</LesHouchesEvents>|#|\n| |'|=|>|<|/|\0|\xff|\"|1|-1|1e999|nan|3 1 1. 1. 1. 1.\n"
)
pieces = st.sampled_from([*MARKUP.split(b"|"), PARTICLES[0].encode()])


@settings(deadline=None, max_examples=400)
@given(st.lists(pieces, max_size=40))
def test_random_markup_is_refused_or_read(path, parts):
    survive(path, b"<LesHouchesEvents>" + INIT.encode() + GOOD.encode() + b"".join(parts) + b"</LesHouchesEvents>\n")


@settings(deadline=None, max_examples=200)
@given(st.lists(pieces, max_size=15), st.integers(0, 40))
@example(parts=[b"</event>", b"<rwgt>", b"<event>", b"<!--"], before=22)
def test_windows_may_end_anywhere(path, parts, before):
    """The first window ends within the pieces: the file reads as it does when everything is in one window."""
    body = GOOD.encode() + b"".join(parts) + GOOD.encode() + b"</LesHouchesEvents>\n"
    start = b"<LesHouchesEvents>" + INIT.encode()

    def outcome(fill: int) -> object:
        path.write_bytes(start + b" " * fill + body)
        try:
            return [batch.weights.tolist() for batch in LHEReader(path).batches(1)]
        except FileFormatError as error:
            return str(error)

    window = 1 << 20
    assert repr(outcome(window - len(start) - len(GOOD) - before)) == repr(outcome(0))


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_window_may_cut_the_mark_of_a_comment(path, cut):
    """Comments may stand before the event line, and are no fault of a line wherever the window ends."""
    event = GOOD.encode().replace(b"<event>", b"<event><!-- a remark -->", 1)
    start = b"<LesHouchesEvents>" + INIT.encode()
    fill = (1 << 20) - len(start) - event.index(b"<!--") - cut
    path.write_bytes(start + b" " * fill + event + b"</LesHouchesEvents>\n")
    assert len(next(LHEReader(path).batches(1))) == 1
