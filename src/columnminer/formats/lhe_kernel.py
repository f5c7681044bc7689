"""The compiled loop that turns the bytes of LHE events into columns; `lhe.py` feeds it and words its complaints.

`read_events` takes whole events from a window of the file and stops at the start of one, when the window or the columns
are used up; what it wrote of an unfinished event is overwritten when it is called again. It goes by lines, as the
Fortran readers of the format do, down to the last particle (hep-ph/0609017), and by tags after that.

Two things are left to the caller, who then calls again: numbers that only `float()` can decide (`hard`), and weights
that have no column yet (`NEW_ID`, `NEW_POSITION`), for the columns follow the first event of the file.
"""

from __future__ import annotations

import math
from typing import Any

from columnminer.formats.decimals import HARD, compiled, read_float, read_int
from columnminer.formats.lhe_scan import (
    behind_blanks,
    behind_line,
    behind_remarks,
    behind_spaces,
    behind_tag,
    behind_token,
    find_id,
    is_tag,
    starts,
    word,
)

__all__ = ["read_events"]

# Entries of `state`: where reading stands (STAMP counts the events begun), and what was wrong from where to where.
POSITION, EVENTS, PARTICLES, N_HARD, TO_SKIP, STAMP, FROM, TO, DETAIL, N_STATE = range(10)

# What `read_events` returns.
GOOD = 0  # (only within)
EVENTS_FULL = 1  # no room for one more event
PARTICLES_FULL = 2  # no room for one more particle
HARD_FULL = 3  # no room for one more number that float() must decide
INCOMPLETE = 4  # the window ends
END = 5  # </LesHouchesEvents>
NEW_ID = 6  # the weight id at FROM:TO has no column
NEW_POSITION = 7  # <weights> holds DETAIL numbers, more than there are positional columns
BAD_NUMBER = 8  # FROM:TO is no number
BAD_INTEGER = 9  # FROM:TO is no integer of 32 bits
TOO_FEW_FIELDS = 10  # the line that ends at TO has only DETAIL fields
TOO_MANY_FIELDS = 11  # the line goes on at FROM:TO, after its DETAIL fields
TOO_MANY_LINES = 12  # there is text at FROM:TO, after the DETAIL particles
CUT_SHORT = 13  # at FROM another event or the end of the file begins
DUPLICATE = 14  # the weight at FROM:TO occurs twice
NO_ID = 15  # the weight at FROM has no id

# Kinds in `hard`, whose rows are (kind, index 1, index 2, from, to).
HARD_SCALAR, HARD_PARTICLE, HARD_WEIGHT = range(3)

N_SCALARS, N_INTEGERS, N_FLOATS = 3, 6, 7

_LF, _HASH, _LESS, _GREATER = (ord(c) for c in "\n#<>")
_EVENT, _EVENT_END, _ROOT_END, _WGT, _WEIGHT, _WEIGHTS, _COMMENT = map(
    word, ("<event", "</event", "</LesHouchesEvents", "<wgt", "<weight", "<weights", "<!--")
)


@compiled
def _fault(state: Any, start: Any, stop: Any, detail: Any) -> Any:
    """Note where a fault is."""
    state[FROM], state[TO], state[DETAIL] = start, stop, detail


@compiled
def _float(buf: Any, p: Any, powers: Any, state: Any, hard: Any, kind: Any, i: Any, j: Any) -> Any:
    """Read a float that ends at a blank or a tag; return it, the position behind it and the status."""
    value, q = read_float(buf, p, powers)
    if q < 0 or not (buf[q] <= 32 or buf[q] == _LESS):
        start, stop = p, behind_token(buf, p)
        if q != HARD:
            _fault(state, start, stop, 0)
            return math.nan, p, BAD_NUMBER
        n = state[N_HARD]
        if n == len(hard):
            return math.nan, p, HARD_FULL
        hard[n, 0], hard[n, 1], hard[n, 2], hard[n, 3], hard[n, 4] = kind, i, j, start, stop
        state[N_HARD] = n + 1
        return math.nan, stop, GOOD
    return value, q, GOOD


@compiled
def _integer(buf: Any, p: Any, powers: Any, state: Any) -> Any:
    """Read an integer of 32 bits that ends at a blank or a tag; return it, the position behind it and the status."""
    value, q = read_int(buf, p, powers)
    if q < 0 or not (buf[q] <= 32 or buf[q] == _LESS) or value > 2147483647 or value < -2147483648:
        _fault(state, p, behind_token(buf, p), 0)
        return 0, p, BAD_INTEGER
    return value, q, GOOD


@compiled
def _next_field(buf: Any, p: Any, state: Any, n_before: Any) -> Any:
    """Go to the next field of the line."""
    p = behind_spaces(buf, p)
    if buf[p] == _LF or buf[p] == _LESS or buf[p] == _HASH:
        _fault(state, p, p, n_before)
        return p, TOO_FEW_FIELDS
    return p, GOOD


@compiled
def _end_of_line(buf: Any, p: Any, end: Any, state: Any, n_before: Any) -> Any:
    """Make sure that the line has no further field; a remark may follow."""
    p = behind_spaces(buf, p)
    if not (buf[p] == _LF or buf[p] == _LESS or buf[p] == _HASH):
        _fault(state, p, behind_token(buf, p), n_before)
        return p, TOO_MANY_FIELDS
    return p, GOOD


@compiled
def _lines(
    buf: Any, p: Any, end: Any, powers: Any, state: Any, hard: Any,
    counts: Any, process_ids: Any, scalars: Any, weights: Any, integers: Any, floats: Any,
) -> Any:  # fmt: skip
    """Read the event line and the particle lines at `p`; return the position behind them and the status."""
    event, particle = state[EVENTS], state[PARTICLES]
    p = behind_remarks(buf, p, end)
    start = p
    n_particles, p, status = _integer(buf, p, powers, state)
    if status == GOOD and n_particles < 0:
        _fault(state, start, p, 0)
        status = BAD_INTEGER
    if status == GOOD:
        p, status = _next_field(buf, p, state, 1)
    if status == GOOD:
        process_ids[event], p, status = _integer(buf, p, powers, state)
    for k in range(4):
        if status == GOOD:
            p, status = _next_field(buf, p, state, 2 + k)
        if status != GOOD:
            return p, status
        if k == 0:
            weights[event, 0], p, status = _float(buf, p, powers, state, hard, HARD_WEIGHT, event, 0)
        else:
            scalars[k - 1, event], p, status = _float(buf, p, powers, state, hard, HARD_SCALAR, k - 1, event)
    if status == GOOD:
        p, status = _end_of_line(buf, p, end, state, 6)
    if status != GOOD:
        return p, status
    for i in range(particle, particle + n_particles):
        if i >= integers.shape[1]:
            return p, PARTICLES_FULL
        p = behind_remarks(buf, p, end)
        for k in range(N_INTEGERS):
            p, status = _next_field(buf, p, state, k)
            if status != GOOD:
                return p, status
            integers[k, i], p, status = _integer(buf, p, powers, state)
            if status != GOOD:
                return p, status
        for k in range(N_FLOATS):
            p, status = _next_field(buf, p, state, N_INTEGERS + k)
            if status != GOOD:
                return p, status
            floats[k, i], p, status = _float(buf, p, powers, state, hard, HARD_PARTICLE, k, i)
            if status != GOOD:
                return p, status
        p, status = _end_of_line(buf, p, end, state, N_INTEGERS + N_FLOATS)
        if status != GOOD:
            return p, status
    counts[event] = n_particles
    return p, GOOD


@compiled
def _weight_index(buf: Any, start: Any, stop: Any, ids: Any, id_ends: Any, guess: Any) -> Any:
    """Return which weight has the id at start:stop, looking first where it stood in the event before; -1 for none."""
    n = len(id_ends) - 1
    for k in range(n):
        i = guess + k if guess + k < n else guess + k - n
        first = id_ends[i]
        if id_ends[i + 1] - first == stop - start:
            j = 0
            while j < stop - start and buf[start + j] == ids[first + j]:
                j += 1
            if j == stop - start:
                return i
    return -1


@compiled
def _tags(
    buf: Any, p: Any, end: Any, powers: Any, state: Any, hard: Any,
    ids: Any, id_ends: Any, positions: Any, stamps: Any, weights: Any, skipping: Any,
) -> Any:  # fmt: skip
    """Read from behind the particles to behind </event>; return the position there and the status."""
    event, stamp = state[EVENTS], state[STAMP]
    only_remarks = not skipping
    guess, n_positional = 0, 0
    while True:
        p = behind_blanks(buf, p)
        if p >= end:
            return p, INCOMPLETE
        if buf[p] == _HASH:
            p = behind_line(buf, p, end)
        elif buf[p] != _LESS:
            if only_remarks:
                _fault(state, p, behind_token(buf, p), state[DETAIL])
                return p, TOO_MANY_LINES
            while p < end and buf[p] != _LESS and buf[p] != _LF:
                p += 1
        elif starts(buf, p, _COMMENT):
            p = behind_tag(buf, p, end)
        elif is_tag(buf, p, _EVENT_END):
            return behind_tag(buf, p, end), GOOD
        elif is_tag(buf, p, _EVENT) or is_tag(buf, p, _ROOT_END):
            _fault(state, p, p, 0)
            return p, CUT_SHORT
        elif skipping:
            p = behind_tag(buf, p, end)
        elif is_tag(buf, p, _WGT) or is_tag(buf, p, _WEIGHT):
            only_remarks = False
            tag, old_style = p, buf[p + 2] == 101
            p, start, stop = find_id(buf, p + (7 if old_style else 4), end)
            if p >= end:
                return p, INCOMPLETE
            if start < 0:
                if old_style:  # the tag <weight> of LHE 2 without a name repeats XWGTUP
                    continue
                _fault(state, tag, p, 0)
                return p, NO_ID
            index = _weight_index(buf, start, stop, ids, id_ends, guess)
            if index < 0:
                _fault(state, start, stop, 0)
                return p, NEW_ID
            if stamps[index] == stamp:
                _fault(state, start, stop, 0)
                return p, DUPLICATE
            stamps[index] = stamp
            guess = index + 1
            p = behind_blanks(buf, p)
            weights[event, index + 1], p, status = _float(
                buf, p, powers, state, hard, HARD_WEIGHT, event, index + 1
            )
            if status != GOOD:
                return p, status
            p = behind_blanks(buf, p)
            if buf[p] != _LESS:
                _fault(state, p, behind_token(buf, p), 1)
                return p, TOO_MANY_FIELDS
        elif is_tag(buf, p, _WEIGHTS):
            only_remarks = False
            p = behind_blanks(buf, behind_tag(buf, p, end))
            while p < end and buf[p] != _LESS:
                if n_positional < len(positions):
                    index = positions[n_positional]
                    value, p, status = _float(buf, p, powers, state, hard, HARD_WEIGHT, event, index + 1)
                    if status != GOOD:
                        return p, status
                    if stamps[index] != stamp:  # <rwgt> names its weights, so it has the last word
                        weights[event, index + 1] = value
                else:
                    p = max(behind_token(buf, p), p + 1)
                n_positional += 1
                p = behind_blanks(buf, p)
            if n_positional > len(positions):
                _fault(state, p, p, n_positional)
                return p, NEW_POSITION
        else:
            only_remarks = False
            p = behind_tag(buf, p, end)


@compiled
def read_events(
    buf: Any, end: Any, powers: Any, ids: Any, id_ends: Any, positions: Any, stamps: Any, state: Any, hard: Any,
    counts: Any, process_ids: Any, scalars: Any, weights: Any, integers: Any, floats: Any,
) -> Any:  # fmt: skip
    """Read events from `buf[state[POSITION]:end]` into the columns.

    Parameters
    ----------
    buf, end
        uint8 window of the file; `buf[end]` is 0.
    powers
        `decimals.POWERS`.
    ids, id_ends
        The ids of the weights, one after the other, and where each ends ((n_weights,) with a leading 0): weight i is
        column i + 1 of `weights`.
    positions
        Which of these weights the numbers in <weights> are.
    stamps
        (n_weights - 1,) int64 for the kernel's own use: in which event each id was seen last.
    state
        (N_STATE,) int64: where reading stands; brought up to the last whole event.
    hard
        (n, 5) int64, numbers that float() must decide.
    counts, process_ids
        (n_events,) int64: NUP and IDPRUP.
    scalars
        (N_SCALARS, n_events): SCALUP, AQEDUP, AQCDUP.
    weights
        (n_events, n_weights): XWGTUP first.
    integers, floats
        (N_INTEGERS, n_particles) int32 and (N_FLOATS, n_particles) float64, the columns of the particle lines.

    Returns
    -------
    int
        Why it stopped: one of the codes above.
    """
    p = state[POSITION]
    while True:
        while p < end and buf[p] != _LESS:
            p += 1
        state[POSITION] = p
        if p >= end:
            return INCOMPLETE
        if is_tag(buf, p, _ROOT_END):
            return END
        if not is_tag(buf, p, _EVENT):
            p = behind_tag(buf, p, end)
            if p >= end:
                return INCOMPLETE
            continue
        skipping = state[TO_SKIP] > 0
        if not skipping and state[EVENTS] == len(counts):
            return EVENTS_FULL
        event, n_hard, status = state[EVENTS], state[N_HARD], GOOD
        state[STAMP] += 1
        state[TO] = 0
        p, _, _ = find_id(buf, p + 6, end)
        if not skipping:
            for k in range(1, weights.shape[1]):
                weights[event, k] = math.nan
            p, status = _lines(
                buf, p, end, powers, state, hard, counts, process_ids, scalars, weights, integers, floats
            )
            state[DETAIL] = counts[event] if status == GOOD else state[DETAIL]
        if status == GOOD:
            p, status = _tags(
                buf, p, end, powers, state, hard, ids, id_ends, positions, stamps, weights, skipping
            )
        if status != GOOD or buf[p - 1] != _GREATER:
            state[N_HARD] = n_hard
            return INCOMPLETE if p >= end or state[TO] >= end else status
        if skipping:
            state[TO_SKIP] -= 1
        else:
            state[EVENTS] += 1
            state[PARTICLES] += counts[event]
