"""The compiled loop that turns the lines of HepMC events into columns; `hepmc_pass` feeds it and words its complaints.

`read_events` takes whole events from a window of the file: one is whole where the next one, or the closing line of the
listing, begins. It stops at the start of an event, when the window or the columns are used up. Of most particle lines
it reads nothing but the status, which says that the particle is not kept; of vertices, how many particles they have.

HepMC3 (Asciiv3: arXiv:1912.08005) and HepMC2 (IO_GenEvent: Comput. Phys. Commun. 134 (2001) 41 and its manual) share
lines by lines that begin with the same letters; what stands on them differs.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR0917, C901 - compiled code returns faults, and passes by position

from __future__ import annotations

import math
from typing import Any

import numpy as np

from columnminer.formats.decimals import HARD, read_float, read_int
from columnminer.formats.flavour import open_flavour
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
from columnminer.formats.machine import byte, eight, kernel, starts, step, word

__all__ = ["read_events"]

N_STATE = OWN_STATE

# What else `read_events` returns.
WRONG_WEIGHTS = OWN_STATUS  # the event has DETAIL weights
WRONG_PARTICLES = OWN_STATUS + 1  # the event has DETAIL particles more than it says, or -DETAIL fewer
BAD_UNIT = OWN_STATUS + 2  # FROM:TO is no unit
BAD_LINE = OWN_STATUS + 3  # no line of an event begins like FROM:TO
LONG_LINE = OWN_STATUS + 4  # more than the status follows at FROM:TO

# Rows of `scalars`.
SCALE, ALPHA_QED, ALPHA_QCD, PROCESS, CROSS_SECTION, CROSS_SECTION_ERROR, GEV, N_SCALARS = range(8)

# Rows of `floats`, and of `integers`.
PX, PY, PZ, E, N_FLOATS = range(5)
PDGID, STATUS, N_INTEGERS = range(3)

_LF, _CR, _TAB, _SPACE, _ONE, _TWO = (ord(c) for c in "\n\r\t 12")
_A, _C, _E, _F, _H, _N, _P, _T, _U, _V, _W = (ord(c) for c in "ACEFHNPTUVW")
_BYTES, _HIGH_BITS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_EIGHT_LF = np.uint64(_LF * 0x0101010101010101)
_HEPMC, _GEV, _MEV = map(word, ("HepMC::", "GEV", "MEV"))
_CROSS, _SECTION, _EVENT_SCALE, _QED, _QCD, _SIGNAL, _PROCESS_ID = map(
    word, ("GenCross", "Section ", "event_sc", "alphaQED", "alphaQCD", "signal_p", "rocess_i")
)

_open_flavour = step(open_flavour)


@step
def _line_end(buf: Any, p: Any, end: Any) -> Any:
    """Return where the line ends: the position of its line feed, or `end`."""
    while p < end:
        a = eight(buf, p) ^ _EIGHT_LF
        if ((a - _BYTES) & ~a) & _HIGH_BITS != np.uint64(0):  # one of their bytes is zero
            break
        p += 8
    while p < end and byte(buf, p) != _LF:
        p += 1
    return min(p, end)


@step
def _behind_spaces(buf: Any, p: Any, stop: Any) -> Any:
    while p < stop and byte(buf, p) <= 32:
        p += 1
    return p


@step
def _is_blank(buf: Any, p: Any, stop: Any) -> Any:
    """Say whether the line holds nothing but blanks."""
    while p < stop and byte(buf, p) in (_SPACE, _TAB, _CR):
        p += 1
    return p == stop


@step
def _behind_tokens(buf: Any, p: Any, stop: Any, n: Any) -> Any:
    """Pass over `n` words and the blanks before them."""
    for _ in range(n):
        if p == stop:
            break
        p = _behind_spaces(buf, p, stop)
        while p < stop and byte(buf, p) > 32:
            p += 1
    return p


@step
def _integer(buf: Any, p: Any, stop: Any, state: Any) -> Any:
    """Read the next integer of 32 bits of the line; return it, the position behind it and the status."""
    p = _behind_spaces(buf, p, stop)
    value, q = read_int(buf, p)
    if 0 <= q <= stop and p < stop and byte(buf, q) <= 32 and -2147483648 <= value <= 2147483647:
        return value, q, GOOD
    state[FROM], state[TO] = p, _behind_tokens(buf, p, stop, 1)
    return 0, p, BAD_INTEGER


@step
def _float(buf: Any, p: Any, stop: Any, state: Any, hard: Any, slot: Any) -> Any:
    """Read the next number of the line; return it, the position behind it and the status."""
    p = _behind_spaces(buf, p, stop)
    value, q = read_float(buf, p)
    if 0 <= q <= stop and p < stop and byte(buf, q) <= 32:
        return value, q, GOOD
    after = _behind_tokens(buf, p, stop, 1)
    n = state[N_HARD]
    if q != HARD:
        state[FROM], state[TO] = p, after
        return math.nan, p, BAD_NUMBER
    if n == len(hard):
        return math.nan, p, HARD_FULL
    hard[n, 0], hard[n, 1], hard[n, 2] = slot, p, after
    state[N_HARD] = n + 1
    return math.nan, after, GOOD


@step
def _scalar(buf: Any, p: Any, stop: Any, state: Any, hard: Any, scalars: Any, row: Any) -> Any:
    """Read the next number of the line into a row of `scalars`; return the position behind it and the status."""
    event = state[EVENTS]
    value, p, status = _float(buf, p, stop, state, hard, OF_SCALARS + N_KINDS * (row * scalars.shape[1] + event))
    if status == GOOD:
        scalars[row, event] = value
    return p, status


@step
def _weights(buf: Any, p: Any, stop: Any, state: Any, hard: Any, weights: Any, n_weights: Any) -> Any:
    """Read the numbers up to the end of the line as weights; return the status."""
    event = state[EVENTS]
    n = 0
    p = _behind_spaces(buf, p, stop)
    while p < stop:
        slot = OF_WEIGHTS + N_KINDS * (event * weights.shape[1] + max(min(n, n_weights - 1), 0))
        value, p, status = _float(buf, p, stop, state, hard, slot)
        if status != GOOD:
            return status
        if n < n_weights:
            weights[event, n] = value
        n += 1
        p = _behind_spaces(buf, p, stop)
    state[DETAIL] = n
    return GOOD if n == n_weights else WRONG_WEIGHTS


@step
def _event_2(buf: Any, p: Any, stop: Any, state: Any, hard: Any, scalars: Any, weights: Any, n_weights: Any) -> Any:
    """Read the rest of the event line of HepMC2, from behind the event's number; return the status."""
    p = _behind_tokens(buf, p, stop, 1)  # interactions
    p, status = _scalar(buf, p, stop, state, hard, scalars, SCALE)
    if status == GOOD:
        p, status = _scalar(buf, p, stop, state, hard, scalars, ALPHA_QCD)
    if status == GOOD:
        p, status = _scalar(buf, p, stop, state, hard, scalars, ALPHA_QED)
    if status == GOOD:
        p, status = _scalar(buf, p, stop, state, hard, scalars, PROCESS)
    if status != GOOD:
        return status
    p = _behind_tokens(buf, p, stop, 4)  # vertex of the process, number of vertices, beams
    n, p, status = _integer(buf, p, stop, state)  # state of the random number generator
    if status != GOOD:
        return status
    p = _behind_tokens(buf, p, stop, n)
    n, p, status = _integer(buf, p, stop, state)
    if status != GOOD:
        return status
    status = _weights(buf, p, stop, state, hard, weights, n_weights)
    if status == GOOD and n != n_weights:
        state[DETAIL] = n
        return WRONG_WEIGHTS
    return status


@step
def _particle(
    buf: Any, p: Any, stop: Any, version: Any, keep_all: Any, state: Any, hard: Any, at: Any, integers: Any, floats: Any
) -> Any:
    """Read a particle line, from behind its letter; return how many are kept of it, 0 or 1, and the status."""
    line = p
    if version == 3:  # the status is the last word
        last = stop
        while byte(buf, last - 1) <= 32:
            last -= 1
        word_at = last
        while byte(buf, word_at - 1) > 32:
            word_at -= 1
    else:
        word_at = _behind_spaces(buf, _behind_tokens(buf, p, stop, 7), stop)
        last = _behind_tokens(buf, word_at, stop, 1)
    code = byte(buf, word_at)
    single = last - word_at == 1
    if not keep_all and not (single and code in (_ONE, _TWO)):
        return 0, GOOD
    p = _behind_tokens(buf, p, stop, 2 if version == 3 else 1)
    pdgid, p, status = _integer(buf, p, stop, state)
    if status != GOOD:
        return 0, status
    if not keep_all and code == _TWO and _open_flavour(pdgid) == 0:
        return 0, GOOD
    room = integers.shape[1]
    if at == room:
        return 0, PARTICLES_FULL
    integers[PDGID, at] = pdgid
    for k in range(N_FLOATS):
        value, p, status = _float(buf, p, stop, state, hard, OF_FLOATS + N_KINDS * (k * room + at))
        if status != GOOD:
            return 0, status
        floats[k, at] = value
    p = _behind_tokens(buf, p, stop, 1)  # the mass
    number, p, status = _integer(buf, p, stop, state)
    if status != GOOD:
        return 0, status
    integers[STATUS, at] = number
    if version == 3 and _behind_spaces(buf, p, stop) < stop:
        state[FROM], state[TO] = line, stop
        return 0, LONG_LINE
    return 1, GOOD


@step
def _attribute(buf: Any, p: Any, stop: Any, state: Any, hard: Any, scalars: Any) -> Any:
    """Read the attributes of HepMC3 events that are columns here; return the status."""
    p = _behind_spaces(buf, p, stop)
    if byte(buf, p) != 48 or byte(buf, p + 1) != 32:  # of a particle or a vertex, not of the event
        return GOOD
    p += 2
    row = -1
    if starts(buf, p, _CROSS) and starts(buf, p + 8, _SECTION):
        p, status = _scalar(buf, p + 15, stop, state, hard, scalars, CROSS_SECTION)
        if status != GOOD:
            return status
        p, status = _scalar(buf, p, stop, state, hard, scalars, CROSS_SECTION_ERROR)
        return status
    if starts(buf, p, _EVENT_SCALE):
        row = SCALE
    elif starts(buf, p, _QED):
        row = ALPHA_QED
    elif starts(buf, p, _QCD):
        row = ALPHA_QCD
    elif starts(buf, p, _SIGNAL) and starts(buf, p + 8, _PROCESS_ID):
        row = PROCESS
    if row < 0:
        return GOOD
    p, status = _scalar(buf, _behind_tokens(buf, p, stop, 1), stop, state, hard, scalars, row)
    return status


@kernel
def read_events(
    buf: Any, end: Any, version: Any, keep_all: Any, n_weights: Any, state: Any, hard: Any, columns: Any
) -> Any:
    """Read events from `state[POSITION]` on into the columns.

    Parameters
    ----------
    buf, end
        Address of a window of the file and its length, without the padding that `machine` asks for.
    version
        2 or 3.
    keep_all
        Whether to keep all particles, or those of status 1 and, of status 2, heavy hadrons and taus.
    n_weights
        How many weights each event has; the columns of weights are as many, but at least one.
    state
        (N_STATE,) int64: where reading stands; brought up to the last whole event.
    hard
        (n, 3) int64, numbers that float() must decide; they are NaN in the columns.
    columns
        counts: (n_events,) int64, particles kept. numbers: (n_events,) int64, of the events as the file has them.
        scalars: (N_SCALARS, n_events), NaN where the event does not say. weights: (n_events, max(n_weights, 1)).
        integers, floats: (N_INTEGERS, n_particles) int32 and (N_FLOATS, n_particles) float64.

    Returns
    -------
    int
        Why it stopped: one of the codes above, or of `kernel_codes`.
    """
    counts, numbers, scalars, weights, integers, floats = columns
    p = state[POSITION]
    while True:
        # At the start of a line: of an event, or outside of events.
        state[POSITION] = p
        if state[EVENTS] == len(counts):
            return EVENTS_FULL
        state[TO] = 0
        stop = _line_end(buf, p, end)
        if stop >= end:
            return INCOMPLETE
        if starts(buf, p, _HEPMC):
            return END
        if byte(buf, p) != _E or byte(buf, p + 1) > 32:
            if not _is_blank(buf, p, stop):
                state[FROM], state[TO] = p, _behind_tokens(buf, p, stop, 1)
                return BAD_LINE
            p = stop + 1
            continue
        event, skipping, n_hard = state[EVENTS], state[TO_SKIP] > 0, state[N_HARD]
        n_kept, n_lines, n_said, n_values, status = 0, 0, 0, 0, GOOD
        if not skipping:
            for row in range(N_SCALARS):
                scalars[row, event] = math.nan
            scalars[GEV, event] = 1.0
            number, q, status = _integer(buf, p + 1, stop, state)
            numbers[event] = number
            if status == GOOD and version == 3:
                _, q, status = _integer(buf, q, stop, state)
                if status == GOOD:
                    n_said, q, status = _integer(buf, q, stop, state)
            elif status == GOOD:
                status = _event_2(buf, q, stop, state, hard, scalars, weights, n_weights)
                n_values = n_weights
        while status == GOOD:
            p = stop + 1
            first = byte(buf, p)
            if p < end and ((first == _E and byte(buf, p + 1) <= 32) or (first == _H and byte(buf, p + 1) > 32)):
                break  # the next event, or the line that closes the listing
            stop = _line_end(buf, p, end)
            if stop >= end:
                state[N_HARD] = n_hard
                return INCOMPLETE
            if skipping:
                continue
            if first <= _SPACE and _is_blank(buf, p, stop):
                continue
            if first < _SPACE or byte(buf, p + 1) > _SPACE:
                state[FROM], state[TO], status = p, _behind_tokens(buf, p, stop, 1), BAD_LINE
            elif first == _P:
                kept, status = _particle(
                    buf, p + 1, stop, version, keep_all, state, hard, state[PARTICLES] + n_kept, integers, floats
                )
                n_kept += kept
                n_lines += 1
            elif first == _V:
                if version == 2:
                    orphans, q, status = _integer(buf, _behind_tokens(buf, p + 1, stop, 6), stop, state)
                    if status == GOOD:
                        outgoing, q, status = _integer(buf, q, stop, state)
                        n_said += orphans + outgoing
            elif first == _W:
                status = _weights(buf, p + 1, stop, state, hard, weights, n_weights)
                n_values = n_weights
            elif first == _A:
                status = _attribute(buf, p + 1, stop, state, hard, scalars)
            elif first == _C:
                q, status = _scalar(buf, p + 1, stop, state, hard, scalars, CROSS_SECTION)
                if status == GOOD:
                    q, status = _scalar(buf, q, stop, state, hard, scalars, CROSS_SECTION_ERROR)
            elif first == _U:
                q = _behind_spaces(buf, p + 1, stop)
                if starts(buf, q, _MEV):
                    scalars[GEV, event] = 1e-3
                elif not starts(buf, q, _GEV):
                    state[FROM], state[TO], status = q, _behind_tokens(buf, q, stop, 1), BAD_UNIT
            elif first not in (_N, _H, _F, _T):
                state[FROM], state[TO], status = p, _behind_tokens(buf, p, stop, 1), BAD_LINE
        if status == GOOD and not skipping:
            state[DETAIL] = 0
            if n_values != n_weights:
                status = WRONG_WEIGHTS
            elif n_lines != n_said:
                state[DETAIL], status = n_lines - n_said, WRONG_PARTICLES
            elif n_weights == 0:
                weights[event, 0] = 1.0
        if status != GOOD:
            state[N_HARD] = n_hard
            return status
        if skipping:
            state[TO_SKIP] -= 1
        else:
            counts[event] = n_kept
            state[EVENTS] += 1
            state[PARTICLES] += n_kept
