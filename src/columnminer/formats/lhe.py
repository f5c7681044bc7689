"""Reading Les Houches event files (LHE 1, 2 and 3; plain or gzip) into batches of columns.

Formats: hep-ph/0109068 (the common blocks), hep-ph/0609017 (the file), arXiv:1405.1067 section 5 (version 3). The bytes
go straight into columns in `lhe_kernel`; here they are fed to it, its columns become `EventBatch`es, and what it finds
wrong gets a name. Weights of an event: XWGTUP, those with an id in <rwgt>, and those without one in <weights>, which
go by the ids that the header declares, in that order, or by "1", "2", ... where it declares fewer.
"""

from __future__ import annotations

import html
from dataclasses import replace
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.formats import lhe_kernel as kernel
from columnminer.formats.decimals import POWERS
from columnminer.formats.lhe_header import LHEInfo, find_init, parse_header
from columnminer.formats.window import Window
from columnminer.schema import NOMINAL, EventBatch, jagged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from numpy.typing import NDArray

__all__ = ["PARTICLE_FIELDS", "LHEReader"]

_INTEGER_FIELDS = ("pdgid", "status", "mother1", "mother2", "color1", "color2")
_FLOAT_FIELDS = ("px", "py", "pz", "e", "generated_mass", "lifetime", "spin")
PARTICLE_FIELDS = (*_INTEGER_FIELDS, *_FLOAT_FIELDS)
"""Fields of a particle, in the order of an LHE particle line."""

_MOST_EVENTS = 1 << 16  # rows that a batch begins with; it grows to any size asked for
