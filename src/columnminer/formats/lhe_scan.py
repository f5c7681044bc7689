"""Compiled steps over the text of an LHE event: past blanks, remarks and tags, and to the id in a tag.

Every step takes the uint8 window `buf`, a position `p` and returns a later position. `end` is where the window ends;
`buf[end]` is 0, which is no blank, no letter and no bracket, so that steps which only pass over some kinds of
characters need not look at `end`. A step that meets the end of the window stops there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from columnminer.formats.decimals import compiled

__all__ = ["behind_blanks", "behind_line", "behind_remarks", "behind_spaces", "behind_tag", "behind_token", "find_id"]
__all__ += ["is_tag", "starts", "word"]

_SPACE, _TAB, _LF, _CR, _HASH, _LESS, _GREATER, _EQUALS, _DOUBLE, _SINGLE = (ord(c) for c in " \t\n\r#<>=\"'")


def word(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return the characters of an ASCII word as the steps below want them."""
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8)


_END_EVENT, _COMMENT, _COMMENT_END, _CDATA, _CDATA_END = map(word, ("</event", "<!--", "-->", "<![CDATA[", "]]>"))


@compiled
def starts(buf: Any, p: Any, word: Any) -> Any:
    """Say whether `word` stands at `p`."""
    for k in range(len(word)):
        if buf[p + k] != word[k]:
            return False
    return True


@compiled
def is_tag(buf: Any, p: Any, tag: Any) -> Any:
    """Say whether the tag that begins like `tag` stands at `p`, and not one with a longer name."""
    if not starts(buf, p, tag):
        return False
    c = buf[p + len(tag)]
    return c == _GREATER or c == _SPACE or c == _LF or c == _TAB or c == _CR


@compiled
def behind_blanks(buf: Any, p: Any) -> Any:
    """Pass over blanks and line ends."""
    c = buf[p]
    while c == _SPACE or c == _LF or c == _CR or c == _TAB:
        p += 1
        c = buf[p]
    return p


@compiled
def behind_spaces(buf: Any, p: Any) -> Any:
    """Pass over blanks within the line; the carriage return of a Windows line end counts as one."""
    c = buf[p]
    while c == _SPACE or c == _CR or c == _TAB:
        p += 1
        c = buf[p]
    return p


@compiled
def behind_token(buf: Any, p: Any) -> Any:
    """Pass over characters that belong together, up to a blank, a tag or the end."""
    while buf[p] > _SPACE and buf[p] != _LESS:
        p += 1
    return p


@compiled
def behind_line(buf: Any, p: Any, end: Any) -> Any:
    """Pass over the rest of the line, but not over an </event>: XML knows no comments that begin with #."""
    while p < end and buf[p] != _LF:
        if buf[p] == _LESS and starts(buf, p, _END_EVENT):
            break
        p += 1
    return p


@compiled
def _behind_word(buf: Any, p: Any, end: Any, word: Any) -> Any:
    while p < end and not (buf[p] == word[0] and starts(buf, p, word)):
        p += 1
    return min(p + len(word), end)


@compiled
def behind_tag(buf: Any, p: Any, end: Any) -> Any:
    """Pass over the tag, comment or CDATA section at `p`; a bracket that closes nowhere ends before the next one."""
    if starts(buf, p, _COMMENT):
        return _behind_word(buf, p + 4, end, _COMMENT_END)
    if starts(buf, p, _CDATA):
        return _behind_word(buf, p + 9, end, _CDATA_END)
    p += 1
    while p < end and buf[p] != _LESS:
        p += 1
        if buf[p - 1] == _GREATER:
            break
    return p


@compiled
def behind_remarks(buf: Any, p: Any, end: Any) -> Any:
    """Pass over blanks, line ends, lines that begin with # and comments."""
    while True:
        p = behind_blanks(buf, p)
        if buf[p] == _HASH:
            p = behind_line(buf, p, end)
        elif buf[p] == _LESS and starts(buf, p, _COMMENT):
            p = behind_tag(buf, p, end)
        else:
            return p


@compiled
def find_id(buf: Any, p: Any, end: Any) -> Any:
    """Go through the attributes of a tag, from behind its name.

    Returns
    -------
    p, start, stop
        Position behind the tag's '>' (`end` if there is none), and where the value of `id` is, or else that of `name`,
        or else -1, -1.
    """
    start, stop, found_id = -1, -1, False
    while p < end and buf[p] != _GREATER:
        first = p
        while buf[p] > _SPACE and buf[p] != _EQUALS and buf[p] != _GREATER:
            p += 1
        length = p - first
        p = behind_blanks(buf, p)
        if buf[p] != _EQUALS:
            p += length == 0 and p == first and p < end  # a control character, which belongs to nothing
            continue
        p = behind_blanks(buf, p + 1)
        quote = buf[p]
        if quote != _DOUBLE and quote != _SINGLE:
            continue
        value = p + 1
        p = value
        while p < end and buf[p] != quote:
            p += 1
        is_id = length == 2 and buf[first] == 105 and buf[first + 1] == 100
        if is_id or (not found_id and length == 4 and buf[first] == 110 and buf[first + 1] == 97):
            start, stop, found_id = value, p, is_id
        p += p < end
    return min(p + 1, end), start, stop
