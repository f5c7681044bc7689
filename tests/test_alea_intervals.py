"""Confidence intervals of alea's example models: finite ends to 1e-3 of the central interval's length.

alea gives bounds of rate parameters in expected events; here they are divided by the events at a rate of one.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import columnminer as cm

if TYPE_CHECKING:
    from pathlib import Path

    from columnminer.infer.alea import AleaModel

CENTRAL = {
    "binned_ces.yaml": ("xe133_rate_multiplier", "xe136_rate_multiplier"),
    "unbinned_wimp_statistical_model.yaml": ("wimp_rate_multiplier",),
    "unbinned_wimp_statistical_model_index_fitting.yaml": ("wimp_rate_multiplier",),
    "unbinned_wimp_statistical_model_mass_dependent_efficiency.yaml": ("wimp_rate_multiplier",),
    "unbinned_wimp_statistical_model_simple.yaml": ("wimp_rate_multiplier",),
    "unbinned_wimp_statistical_model_template_source_test.yaml": ("wimp_rate_multiplier",),
}
CASES = [
    (model, name, kind) for model, names in CENTRAL.items() for name in names for kind in ("central", "upper", "lower")
]

BETTER = {
    ("binned_ces.yaml", "xe133_rate_multiplier", "central"): "lower",
    ("binned_ces.yaml", "xe133_rate_multiplier", "lower"): "lower",
    ("unbinned_wimp_statistical_model_template_source_test.yaml", "wimp_rate_multiplier", "upper"): "upper",
}
"""Ends at which alea's conditional fit stops below the maximum (at an anchor, where log L has a kink or ends)."""


@pytest.fixture(scope="session")
def folder(shared: Path) -> Path:
    return shared / "alea"


@functools.cache
def oracle(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "oracle_alea.json").read_text())["models"]


@functools.cache
def loaded(folder: Path, name: str) -> AleaModel:
    model = cm.load_alea(folder / "configs" / name)
    with np.load(folder / oracle(folder)[name]["data"]["file"]) as toy:
        return model.with_data({term: toy[term] for term in model.term_names})


def bounds(model: AleaModel, name: str, events: list[float]) -> tuple[float, float]:
    one = float(model.expectation_values({name: 1.0})[name.removesuffix("_rate_multiplier")])
    return events[0] / one, events[1] / one


@pytest.mark.parametrize(("file", "name", "kind"), CASES)
def test_intervals_agree(folder: Path, file: str, name: str, kind: Any) -> None:
    model, known = loaded(folder, file), oracle(folder)[file]["intervals"]
    theirs = known[f"{name}:{kind}"]
    low, high = known[f"{name}:central"]["interval"]
    ours = cm.confidence_interval(
        model, name, level=theirs["level"], kind=kind, bounds=bounds(model, name, theirs["bounds_on_expected_events"])
    )
    for end, found, expected in zip(("lower", "upper"), (ours.lower, ours.upper), theirs["interval"], strict=True):
        if expected is None:
            assert not np.isfinite(found)
        elif BETTER.get((file, name, kind)) == end:
            # Our profile is higher at alea's end, so that it is not yet outside; and ours is where it crosses.
            assert statistic(model, name, expected) < statistic(model, name, found) - 1e-3
            assert statistic(model, name, found) == pytest.approx(THRESHOLD[kind], abs=2e-3)
        else:
            assert found == pytest.approx(expected, abs=1e-3 * (high - low))


THRESHOLD = {"central": 2.705543, "upper": 1.642374, "lower": 1.642374}
"""Quantiles of the chi-square distribution with one degree of freedom: 90 % of it, and 80 % for one-sided limits."""


def statistic(model: AleaModel, name: str, value: float) -> float:
    return 2.0 * (cm.fit(model).log_likelihood - cm.fit(model, **{name: value}).log_likelihood)


def test_where_alea_has_no_interval_we_have_one(folder: Path) -> None:
    # alea reads bounds of a rate parameter as expected events, and then finds its best fit outside of them.
    file = "unbinned_wimp_statistical_model.yaml"
    assert (
        "outside your confidence interval" in oracle(folder)[file]["intervals"]["er_rate_multiplier:central"]["error"]
    )
    model = loaded(folder, file)
    ours = cm.confidence_interval(model, "er_rate_multiplier", level=0.9, kind="central", bounds=(0.0, 5.0))
    for end in (ours.lower, ours.upper):
        assert statistic(model, "er_rate_multiplier", end) == pytest.approx(THRESHOLD["central"], abs=2e-3)
