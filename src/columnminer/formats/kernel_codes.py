"""What the compiled loops of the text formats share with those who call them; each has codes of its own besides."""

from __future__ import annotations

# Entries of `state`: where reading stands, and what was wrong, from where to where.
POSITION, EVENTS, PARTICLES, N_HARD, TO_SKIP, FROM, TO, DETAIL, OWN_STATE = range(9)

# Why a loop stops.
GOOD = 0  # (only within)
EVENTS_FULL = 1  # no room for one more event
PARTICLES_FULL = 2  # no room for one more particle
HARD_FULL = 3  # no room for one more number that float() must decide
INCOMPLETE = 4  # the window ends
END = 5  # the tag or line that closes the listing of events
BAD_NUMBER = 6  # FROM:TO is no number
BAD_INTEGER = 7  # FROM:TO is no integer of 32 bits
OWN_STATUS = 8  # the first that belongs to one format

# A row of `hard` is (slot, from, to), where the slot is N_KINDS times an index into the flat array, plus its kind.
OF_WEIGHTS, OF_SCALARS, OF_FLOATS, N_KINDS = range(4)
