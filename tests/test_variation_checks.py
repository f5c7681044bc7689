"""Checks of learned variations: the exact ones pass where they hold, and wrong ones, or other points, do not."""

from __future__ import annotations

import numpy as np
import pytest
from shifted_store import OBSERVABLES, ExactRatio, log_density, shifted_store

from columnminer.errors import CheckWarning, InputError
from columnminer.learn.variation_checks import check_variations
from columnminer.learn.varied import LearnedVariation, VariedRatio
from columnminer.sample.variations import weighted_events

SHIFT = 0.3


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shifted")
    return shifted_store(folder / "events.zarr", 60_000, {"scale": (SHIFT, -SHIFT)})


def varied(store, shift=SHIFT, factor=1.0):
    """Return the exact ratio in theta, with what an energy scale does at theta = 0."""

    class Scale:
        store_hash, partition, feature_names = store.hash, "train", OBSERVABLES

        def log_ratio(self, x, nus, *, pairing="grid", names=None):
            columns = [x[:, list(names or OBSERVABLES).index(name)] for name in OBSERVABLES]
            nominal = log_density(*columns, 0.0)
            return np.stack([factor * (log_density(*columns, 0.0, 1.0 + shift * nu) - nominal) for nu in nus[:, 0]])

    events = weighted_events(store, "zero", partition="validation")
    return VariedRatio(ExactRatio(), [LearnedVariation("scale", Scale(), two_sided=True)], *events, np.zeros(1))


def test_the_exact_variation_passes_where_it_was_learned(store):
    checks = check_variations(varied(store), store)
    assert [one.name for one in checks] == [
        f"{what} of scale = {side} at theta = 0" for side in ("+1", "-1") for what in ("calibration", "slope")
    ]
    assert all(one.passed for one in checks)
    assert max(one.error for one in checks if "slope" in one.name) < 0.1
    assert checks[0].finding.y_label == "fraction of the nominal selection"


@pytest.mark.parametrize(("factor", "slope"), [(2.0, 0.5), (0.5, 2.0)])
def test_too_large_and_too_small_variations_fail(store, factor, slope):
    with pytest.warns(CheckWarning, match="what was learned of variations is not right: .*slope of scale"):
        checks = check_variations(varied(store, factor=factor), store)
    for one in checks:
        if "slope" in one.name:
            assert not one.passed
            assert one.deviation + 1.0 == pytest.approx(slope, abs=max(4.0 * one.error, 0.1 * slope))


def test_that_the_change_is_another_elsewhere_is_measured(store):
    """At theta = -1 the spectrum is softer, and the energy scale changes it more than at 0."""
    with pytest.warns(CheckWarning, match="slope of scale = .* at theta = -1"):
        checks = check_variations(varied(store), store, [[0.0], [-1.0]])
    passed = {one.name: one.passed for one in checks}
    assert len(passed) == 8
    assert all(fine for name, fine in passed.items() if name.endswith("theta = 0"))
    assert not passed["slope of scale = +1 at theta = -1"]


def test_only_other_events_and_learned_variations_are_checked(store):
    with pytest.raises(InputError, match="trained on partition 'train'"):
        check_variations(varied(store), store, partition="train")
    with pytest.raises(InputError, match="ExactRatio has no learned variations"):
        check_variations(ExactRatio(), store)
