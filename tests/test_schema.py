from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from columnminer.errors import InputError, UnknownNameError
from columnminer.schema import NOMINAL, EventBatch, jagged


def particles() -> ak.Array:
    columns = {"px": [3.0, 0.0, 1.0], "py": [4.0, 2.0, 0.0], "pz": [0.0, 0.0, 0.0], "e": [5.0, 2.0, 1.0]}
    return jagged([2, 0, 1], {name: np.array(c) for name, c in columns.items()})


def test_jagged_arrays_behave_as_momenta() -> None:
    array = particles()
    assert array.pt.tolist() == [[5.0, 2.0], [], [1.0]]
    assert (array[0, 0] + array[0, 1]).mass == pytest.approx(np.sqrt(7**2 - 3**2 - 6**2))


def test_jagged_does_not_copy() -> None:
    px = np.ones(3)
    array = jagged([3], {"px": px, "py": px, "pz": px, "e": px})
    px[1] = 7.0
    assert array.px.tolist() == [[1.0, 7.0, 1.0]]


def test_batches_hold_weights_by_name() -> None:
    batch = EventBatch(ak.zip({"scale": [1.0, 2.0, 3.0]}), np.arange(6.0).reshape(3, 2), (NOMINAL, "w"), source="f.lhe")
    assert len(batch) == 3
    assert batch.weight("w").tolist() == [1.0, 3.0, 5.0]
    with pytest.raises(UnknownNameError, match=r"f\.lhe: no weight is called 'nomnal'\. Did you mean 'nominal'\?"):
        batch.weight("nomnal")


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"weights have shape \(2, 1\)"):
        EventBatch(particles(), np.zeros((2, 1)), (NOMINAL,))
