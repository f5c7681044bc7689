"""What the passes over LHE and HepMC files share: numbers that float() decides, and sizes that make no sense."""

from __future__ import annotations

import pytest
from lhe_text import document, event, rwgt

from columnminer.errors import InputError
from columnminer.formats.hepmc import HepMCReader
from columnminer.formats.lhe import LHEReader

EXACT = "1.00000000000000011102230246251565404236316680908203125"
"""Half-way between two doubles: 18 digits do not say to which it is rounded."""


@pytest.mark.parametrize(
    ("written", "python"),
    [(EXACT, EXACT), (f"{EXACT}D+02", f"{EXACT}e+02"), (f"{EXACT}-103", f"{EXACT}e-103"), (f"-{EXACT}", f"-{EXACT}")],
)
def test_numbers_with_many_digits_may_be_written_as_by_fortran(tmp_path, data, written, python):
    path = tmp_path / "events.lhe"
    path.write_text(document(event(rwgt(w=written)), event(rwgt(w=1))))
    weights = next(LHEReader(path).batches()).weights
    assert weights[0].tolist()[1] == float(python)
    text = (data / "fuzz" / "three.hepmc").read_text()
    line = next(line for line in text.splitlines() if line.startswith("W 1"))
    other = tmp_path / "events.hepmc"
    other.write_text(text.replace(line, " ".join(["W", written, *line.split()[2:]]), 1))
    assert next(HepMCReader(other).batches()).weights[0, 0] == float(python)


@pytest.mark.parametrize(("size", "skip"), [(0, 0), (10, -1)])
def test_sizes_are_positive(tmp_path, data, size, skip):
    path = tmp_path / "events.lhe"
    path.write_text(document(event(rwgt(w=1))))
    for reader in (LHEReader(path), HepMCReader(data / "fuzz" / "three.hepmc")):
        with pytest.raises(InputError, match=f"not {size} and {skip}"):
            next(reader.batches(size, skip))
