"""Compiled steps over the text of an LHE event: past blanks, remarks and tags, and to the id in a tag.

Every step takes the address `buf` of a window of the file, a position `p` in it, and returns a later position. `end` is
where the window ends; the padding behind it stops every step that only passes over some kinds of characters, so that
these need not look at `end`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from columnminer.formats.machine import byte, eight, starts, step, word

__all__ = [
    "behind_blanks",
    "behind_line",
    "behind_remarks",
    "behind_spaces",
    "behind_tag",
    "behind_token",
    "find_id",
    "is_tag",
    "to_mark",
]

_SPACE, _TAB, _LF, _CR, _HASH, _LESS, _GREATER, _EQUALS, _DOUBLE, _SINGLE, _SLASH = (ord(c) for c in " \t\n\r#<>=\"'/")
_ONES, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_EIGHT_LESS, _EIGHT_HASH = np.uint64(_LESS * 0x0101010101010101), np.uint64(_HASH * 0x0101010101010101)
_ID, _NAME = word("id"), word("name")
_END_EVENT, _COMMENT, _COMMENT_END, _CDATA, _CDATA_END = map(word, ("</event>", "<!--", "-->", "<![CDATA[", "]]>"))


@step
def is_tag(buf: Any, p: Any, tag: Any) -> Any:
    """Say whether the tag that begins like `tag` stands at `p`, and not one with a longer name."""
    if not starts(buf, p, tag):
        return False
    c = byte(buf, p + np.int64(tag[2]))
    return c in (_GREATER, _SPACE, _LF, _TAB, _CR, _SLASH)


@step
def behind_blanks(buf: Any, p: Any) -> Any:
    """Pass over blanks and line ends."""
    c = byte(buf, p)
    while c in (_SPACE, _LF, _CR, _TAB):
        p += 1
        c = byte(buf, p)
    return p


@step
def behind_spaces(buf: Any, p: Any) -> Any:
    """Pass over blanks within the line; the carriage return of a Windows line end counts as one."""
    c = byte(buf, p)
    while c in (_SPACE, _CR, _TAB):
        p += 1
        c = byte(buf, p)
    return p


@step
def behind_token(buf: Any, p: Any) -> Any:
    """Pass over characters that belong together, up to a blank, a tag or the end."""
    while byte(buf, p) > _SPACE and byte(buf, p) != _LESS:
        p += 1
    return p


@step
def behind_line(buf: Any, p: Any, end: Any) -> Any:
    """Pass over the rest of the line, but not over an </event>: XML knows no comments that begin with #."""
    while p < end and byte(buf, p) != _LF and not starts(buf, p, _END_EVENT):
        p += 1
    return p


@step
def to_mark(buf: Any, p: Any, end: Any) -> Any:
    """Pass over text up to the next '<' or '#', eight characters at a time."""
    while p < end:
        a, b = eight(buf, p) ^ _EIGHT_LESS, eight(buf, p) ^ _EIGHT_HASH
        if (((a - _ONES) & ~a) | ((b - _ONES) & ~b)) & _HIGH_BITS != np.uint64(0):  # one of their bytes is zero
            break
        p += 8
    while p < end and byte(buf, p) != _LESS and byte(buf, p) != _HASH:
        p += 1
    return min(p, end)


@step
def _behind_word(buf: Any, p: Any, end: Any, word: Any) -> Any:
    while p < end and not starts(buf, p, word):
        p += 1
    return min(p + 3, end)


@step
def behind_tag(buf: Any, p: Any, end: Any) -> Any:
    """Pass over the tag, comment or CDATA section at `p`; a bracket that closes nowhere ends before the next one."""
    if starts(buf, p, _COMMENT):
        return _behind_word(buf, p + 4, end, _COMMENT_END)
    if starts(buf, p, _CDATA):
        return _behind_word(buf, p + 9, end, _CDATA_END)
    p += 1
    while p < end and byte(buf, p) != _LESS:
        p += 1
        if byte(buf, p - 1) == _GREATER:
            break
    return p


@step
def behind_remarks(buf: Any, p: Any, end: Any) -> Any:
    """Pass over blanks, line ends, lines that begin with # and comments."""
    p = behind_blanks(buf, p)
    while byte(buf, p) == _HASH or starts(buf, p, _COMMENT):
        p = behind_line(buf, p, end) if byte(buf, p) == _HASH else behind_tag(buf, p, end)
        p = behind_blanks(buf, p)
    return p


@step
def find_id(buf: Any, p: Any, end: Any) -> Any:
    """Go through the attributes of a tag, from behind its name.

    Returns
    -------
    p, start, stop
        Position behind the tag's '>' (`end` if there is none), and where the value of `id` is, or else that of `name`,
        or else -1, -1.
    """
    start, stop, found_id = -1, -1, False
    while p < end and byte(buf, p) != _GREATER:
        first = p
        while byte(buf, p) > _SPACE and byte(buf, p) != _EQUALS and byte(buf, p) != _GREATER:
            p += 1
        length = p - first
        p = behind_blanks(buf, p)
        if byte(buf, p) != _EQUALS:
            p += p == first  # a control character, which belongs to nothing
            continue
        p = behind_blanks(buf, p + 1)
        quote = byte(buf, p)
        if quote not in (_DOUBLE, _SINGLE):
            continue
        value = p + 1
        p = value
        while p < end and byte(buf, p) != quote:
            p += 1
        is_id = length == 2 and starts(buf, first, _ID)
        if is_id or (not found_id and length == 4 and starts(buf, first, _NAME)):
            start, stop, found_id = value, p, is_id
        p += p < end
    return min(p + 1, end), start, stop
