"""The compiled loop that turns the bytes of LHE events into columns; `lhe_pass` feeds it and words its complaints.

`read_events` takes whole events from a window of the file and stops at the start of one, when the window or the columns
are used up; what it wrote of an unfinished event is overwritten when it is called again. It goes by lines, as the
Fortran readers of the format do, down to the last particle (hep-ph/0609017), and by tags after that.

Two things are left to the caller, who then calls again: numbers that only `float()` can decide (`hard`), and weights
that have no column yet (`NEW_ID`, `NEW_POSITION`), for the columns follow the first event of the file.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0917 - compiled code returns faults instead of raising, and passes by position

from __future__ import annotations

import math
from typing import Any

from columnminer.formats.decimals import HARD, read_float, read_int
from columnminer.formats.kernel_codes import (
    BAD_INTEGER,
    BAD_NUMBER,
    DETAIL,
    END,
    EVENTS,
    EVENTS_FULL,
    FROM,
    GOOD,
    HARD_FULL,
    INCOMPLETE,
    N_HARD,
    N_KINDS,
    OF_FLOATS,
    OF_SCALARS,
    OF_WEIGHTS,
    OWN_STATE,
    OWN_STATUS,
    PARTICLES,
    PARTICLES_FULL,
    POSITION,
    TO,
    TO_SKIP,
)
from columnminer.formats.lhe_scan import (
    behind_blanks,
    behind_line,
    behind_remarks,
    behind_spaces,
    behind_tag,
    behind_token,
    find_id,
    is_tag,
    to_mark,
)
from columnminer.formats.machine import byte, kernel, starts, step, word

__all__ = ["read_events"]

# Further entries of `state`: STAMP counts the events begun.
STAMP, LAST_WEIGHT, N_STATE = range(OWN_STATE, OWN_STATE + 3)

# What else `read_events` returns.
NEW_ID = OWN_STATUS  # the weight id at FROM:TO has no column
NEW_POSITION = OWN_STATUS + 1  # <weights> holds DETAIL numbers, more than there are positional columns
TOO_FEW_FIELDS = OWN_STATUS + 2  # the line that ends at TO has only DETAIL fields; -1: there is no particle line
TOO_MANY_FIELDS = OWN_STATUS + 3  # the line goes on at FROM:TO, after its DETAIL fields
TOO_MANY_LINES = OWN_STATUS + 4  # there is text at FROM:TO, after the last particle
CUT_SHORT = OWN_STATUS + 5  # at FROM another event or the end of the file begins
DUPLICATE = OWN_STATUS + 6  # the weight at FROM:TO occurs twice
NO_ID = OWN_STATUS + 7  # the weight at FROM has no id

# Columns of particle lines, and of event lines after NUP, IDPRUP and XWGTUP.
N_INTEGERS, N_FLOATS, N_SCALARS = 6, 7, 3

_LF, _HASH, _LESS, _GREATER, _LETTER_E = (ord(c) for c in "\n#<>e")
_EVENT, _EVENT_END, _ROOT_END, _WGT, _WEIGHT, _WEIGHTS, _COMMENT = map(
    word, ("<event", "</event", "</LesHou", "<wgt", "<weight", "<weights", "<!--")
)

_MARK = len("<!--")


@step
def _float(buf: Any, p: Any, state: Any, hard: Any, slot: Any) -> Any:
    """Read a float that ends at a blank or a tag; return it, the position behind it and the status."""
    value, q = read_float(buf, p)
    if q >= 0 and (byte(buf, q) <= 32 or byte(buf, q) == _LESS):
        return value, q, GOOD
    stop = behind_token(buf, p)
    n = state[N_HARD]
    if q != HARD:
        state[FROM], state[TO] = p, stop
        return math.nan, p, BAD_NUMBER
    if n == len(hard):
        return math.nan, p, HARD_FULL
    hard[n, 0], hard[n, 1], hard[n, 2] = slot, p, stop
    state[N_HARD] = n + 1
    return math.nan, stop, GOOD


@step
def _integer(buf: Any, p: Any, state: Any) -> Any:
    """Read an integer of 32 bits that ends at a blank or a tag; return it, the position behind it and the status."""
    value, q = read_int(buf, p)
    if q >= 0 and (byte(buf, q) <= 32 or byte(buf, q) == _LESS) and -2147483648 <= value <= 2147483647:
        return value, q, GOOD
    state[FROM], state[TO] = p, behind_token(buf, p)
    return 0, p, BAD_INTEGER


@step
def _line_ends(buf: Any, p: Any) -> Any:
    """Say whether at `p` the line, or what is to be read of it, ends."""
    return byte(buf, p) == _LF or byte(buf, p) == _LESS or byte(buf, p) == _HASH


@step
def _few_or_bad(buf: Any, p: Any, state: Any, status: Any, n_before: Any) -> Any:
    """Return the status of a line in which no number stands at `p`, after `n_before` others."""
    if not _line_ends(buf, p):
        return status
    state[FROM], state[TO], state[DETAIL] = p, p, n_before
    return TOO_FEW_FIELDS


@step
def _event_line(
    buf: Any, p: Any, state: Any, hard: Any, counts: Any, process_ids: Any, scalars: Any, weights: Any
) -> Any:
    """Read the event line at `p`; return the position behind it and the status."""
    event = state[EVENTS]
    status, value, number = GOOD, 0.0, 0
    for k in range(6):
        p = behind_spaces(buf, p)
        if k < 2:
            start = p
            number, p, status = _integer(buf, p, state)
            if k == 0 and number < 0:
                state[FROM], state[TO], status = start, p, BAD_INTEGER
        else:
            slot = OF_WEIGHTS + N_KINDS * event * weights.shape[1]
            if k > 2:
                slot = OF_SCALARS + N_KINDS * ((k - 3) * scalars.shape[1] + event)
            value, p, status = _float(buf, p, state, hard, slot)
        if status != GOOD:
            return p, _few_or_bad(buf, p, state, status, k)
        if k == 0:
            counts[event] = number
        elif k == 1:
            process_ids[event] = number
        elif k == 2:
            weights[event, 0] = value
        else:
            scalars[k - 3, event] = value
    p = behind_spaces(buf, p)
    if not _line_ends(buf, p):
        state[FROM], state[TO], state[DETAIL] = p, behind_token(buf, p), 6
        return p, TOO_MANY_FIELDS
    return p, GOOD


@step
def _particle_lines(buf: Any, p: Any, end: Any, state: Any, hard: Any, n: Any, integers: Any, floats: Any) -> Any:
    """Read `n` particle lines at `p`; return the position behind them and the status."""
    first, room = state[PARTICLES], integers.shape[1]
    for i in range(first, first + n):
        if i >= room:
            return p, PARTICLES_FULL
        p = behind_remarks(buf, p, end)
        for k in range(N_INTEGERS + N_FLOATS):
            p = behind_spaces(buf, p)
            if k < N_INTEGERS:
                integers[k, i], p, status = _integer(buf, p, state)
            else:
                j = k - N_INTEGERS
                floats[j, i], p, status = _float(buf, p, state, hard, OF_FLOATS + N_KINDS * (j * room + i))
            if status != GOOD:
                return p, _few_or_bad(buf, p, state, status, k if k > 0 else -1)
        p = behind_spaces(buf, p)
        if not _line_ends(buf, p):
            state[FROM], state[TO], state[DETAIL] = p, behind_token(buf, p), N_INTEGERS + N_FLOATS
            return p, TOO_MANY_FIELDS
    return p, GOOD


@step
def _weight_index(buf: Any, start: Any, stop: Any, ids: Any, id_ends: Any, guess: Any) -> Any:
    """Return which weight has the id at start:stop, looking first where it stood in the event before; -1 for none."""
    n = len(id_ends) - 1
    for k in range(n):
        i = guess + k if guess + k < n else guess + k - n
        first = id_ends[i]
        if id_ends[i + 1] - first == stop - start:
            j = 0
            while j < stop - start and byte(buf, start + j) == ids[first + j]:
                j += 1
            if j == stop - start:
                return i
    return -1


@step
def _weight(buf: Any, p: Any, end: Any, state: Any, hard: Any, tables: Any, weights: Any) -> Any:
    """Read the <wgt> (or <weight> of LHE 2) at `p`; return the position of the tag that follows and the status."""
    ids, id_ends, _, stamps = tables
    old_style = byte(buf, p + 2) == _LETTER_E
    tag = p
    p, start, stop = find_id(buf, p + (7 if old_style else 4), end)
    state[FROM], state[TO] = (start, stop) if start >= 0 else (tag, tag)
    if p >= end:
        return p, INCOMPLETE
    if start < 0:  # a <weight> without a name repeats XWGTUP
        return p, GOOD if old_style else NO_ID
    index = _weight_index(buf, start, stop, ids, id_ends, state[LAST_WEIGHT] + 1)
    if index < 0:
        return p, NEW_ID
    if stamps[index] == state[STAMP]:
        return p, DUPLICATE
    stamps[index] = state[STAMP]
    state[LAST_WEIGHT] = index
    p = behind_blanks(buf, p)
    slot = OF_WEIGHTS + N_KINDS * (state[EVENTS] * weights.shape[1] + index + 1)
    weights[state[EVENTS], index + 1], p, status = _float(buf, p, state, hard, slot)
    if status != GOOD:
        return p, status
    p = behind_blanks(buf, p)
    if byte(buf, p) != _LESS:
        state[FROM], state[TO], state[DETAIL] = p, behind_token(buf, p), 1
        return p, TOO_MANY_FIELDS
    return p, GOOD


@step
def _weights_by_position(buf: Any, p: Any, end: Any, state: Any, hard: Any, tables: Any, weights: Any) -> Any:
    """Read the <weights> at `p`; return the position of the tag that follows and the status."""
    _, _, positions, stamps = tables
    event, n = state[EVENTS], 0
    p = behind_blanks(buf, behind_tag(buf, p, end))
    while p < end and byte(buf, p) != _LESS:
        if n < len(positions):
            index = positions[n]
            slot = OF_WEIGHTS + N_KINDS * (event * weights.shape[1] + index + 1)
            value, p, status = _float(buf, p, state, hard, slot)
            if status != GOOD:
                return p, status
            if stamps[index] != state[STAMP]:  # <rwgt> names its weights, so it has the last word
                weights[event, index + 1] = value
        else:
            p = max(behind_token(buf, p), p + 1)
        n += 1
        p = behind_blanks(buf, p)
    state[FROM], state[TO], state[DETAIL] = p, p, n
    return p, NEW_POSITION if n > len(positions) else GOOD


@step
def _tags(buf: Any, p: Any, end: Any, state: Any, hard: Any, tables: Any, weights: Any, skipping: Any) -> Any:
    """Read from behind the particles to behind </event>; return the position there and the status."""
    only_remarks = not skipping
    state[LAST_WEIGHT] = -1
    while True:
        p = behind_blanks(buf, p)
        status = GOOD
        if p >= end:
            return p, INCOMPLETE
        if byte(buf, p) == _HASH:
            p = behind_line(buf, p, end)
        elif byte(buf, p) != _LESS:
            state[FROM], state[TO] = p, behind_token(buf, p)
            if only_remarks:
                return p, TOO_MANY_LINES
            p = to_mark(buf, p, end)
        elif starts(buf, p, _COMMENT):
            p = behind_tag(buf, p, end)
        elif is_tag(buf, p, _EVENT_END):
            return behind_tag(buf, p, end), GOOD
        elif is_tag(buf, p, _EVENT) or starts(buf, p, _ROOT_END):
            state[FROM], state[TO] = p, p
            return p, CUT_SHORT
        else:
            only_remarks = False
            if skipping:
                p = behind_tag(buf, p, end)
            elif is_tag(buf, p, _WGT) or is_tag(buf, p, _WEIGHT):
                p, status = _weight(buf, p, end, state, hard, tables, weights)
            elif is_tag(buf, p, _WEIGHTS):
                p, status = _weights_by_position(buf, p, end, state, hard, tables, weights)
            else:
                p = behind_tag(buf, p, end)
            if status != GOOD:
                return p, status


@kernel
def read_events(buf: Any, end: Any, state: Any, hard: Any, tables: Any, columns: Any) -> Any:
    """Read events from `state[POSITION]` on into the columns.

    Parameters
    ----------
    buf, end
        Address of a window of the file and its length, without the padding that `machine` asks for.
    state
        (N_STATE,) int64: where reading stands; brought up to the last whole event.
    hard
        (n, 3) int64, numbers that float() must decide; they are NaN in the columns.
    tables
        ids, id_ends: the ids of the weights, one after the other, and where each ends (with a leading 0); weight i is
        column i + 1 of `weights`. positions: which of these weights the numbers in <weights> are. stamps: (number of
        ids,) int64 for the kernel's own use, in which event each id was seen last.
    columns
        counts, process_ids: (n_events,) int64, NUP and IDPRUP. scalars: (N_SCALARS, n_events), SCALUP, AQEDUP, AQCDUP.
        weights: (n_events, n_weights), XWGTUP first, NaN where an event lacks a weight. integers, floats:
        (N_INTEGERS, n_particles) int32 and (N_FLOATS, n_particles) float64, the columns of the particle lines.

    Returns
    -------
    int
        Why it stopped: one of the codes above, or of `kernel_codes`.
    """
    counts, process_ids, scalars, weights, integers, floats = columns
    p = state[POSITION]
    while True:
        if state[EVENTS] == len(counts):
            state[POSITION] = p
            return EVENTS_FULL
        while p < end and byte(buf, p) != _LESS:
            p += 1
        state[POSITION] = p
        if p >= end:
            return INCOMPLETE
        if starts(buf, p, _ROOT_END):
            return END
        if not is_tag(buf, p, _EVENT):
            p = behind_tag(buf, p, end)
            if p >= end:
                return INCOMPLETE
            continue
        skipping = state[TO_SKIP] > 0
        event, n_hard, status = state[EVENTS], state[N_HARD], GOOD
        state[STAMP] += 1
        state[TO] = 0
        p, _, _ = find_id(buf, p + 6, end)
        if not skipping:
            for k in range(1, weights.shape[1]):
                weights[event, k] = math.nan
            p = behind_remarks(buf, p, end)
            p, status = _event_line(buf, p, state, hard, counts, process_ids, scalars, weights)
            if status == GOOD:
                p, status = _particle_lines(buf, p, end, state, hard, counts[event], integers, floats)
        if status == GOOD:
            p, status = _tags(buf, p, end, state, hard, tables, weights, skipping)
        if status != GOOD or (p >= end and byte(buf, p - 1) != _GREATER):
            state[N_HARD] = n_hard
            # What looks like the end of a line may be a comment whose mark the window has cut.
            return INCOMPLETE if p >= end or state[TO] > end - _MARK else status
        if skipping:
            state[TO_SKIP] -= 1
        else:
            state[EVENTS] += 1
            state[PARTICLES] += counts[event]
        state[POSITION] = p
