"""Neyman's construction with real campaigns: alea's WIMP model of two science runs, with signals from zero on.

Toys make thresholds, other toys say how often the intervals made with them hold the truth: at five numbers of signal
events, none of them on the grid of the thresholds but no signal.
"""

from __future__ import annotations

import numpy as np
import pytest

from columnminer.toys.campaign import Campaign
from columnminer.toys.coverage import coverage
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.runner import run_campaign

pytestmark = pytest.mark.slow

GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0)
EVENTS = (0.0, 0.3, 1.2, 3.5, 9.0)
N_THRESHOLD, N_TOYS, LEVEL = 4000, 2000, 0.9
ERROR = np.sqrt(LEVEL * (1.0 - LEVEL) * (1.0 / N_THRESHOLD + 1.0 / N_TOYS))
"""Of the coverage: from toys that it is counted in, and from those of the thresholds."""


def campaign(shared, folder, events, n_toys, **options):
    return Campaign(
        shared / "alea" / "configs" / "unbinned_wimp_statistical_model.yaml",
        "wimp_rate_multiplier",
        folder=folder,
        template_folder=str(shared / "alea" / "templates"),
        to_vary={"poi_expectation": list(events)},
        in_common={"wimp_mass": 50, "hypotheses": ["free", "true"], "n_toys": n_toys, **options},
    )


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory):
    """A folder with the thresholds of a campaign, in our layout and in alea's."""
    folder = tmp_path_factory.mktemp("neyman")
    results = run_campaign(campaign(shared, folder, GRID, N_THRESHOLD), folder / "grid", seed=1, progress=False)
    thresholds = NeymanThresholds.from_results(results, LEVEL)
    thresholds.to_json(folder / "ours.json")
    thresholds.to_json(folder / "alea.json", layout="alea", integers=["wimp_mass"])
    return folder


def test_neyman_intervals_cover_where_asymptotic_ones_do_not(shared, folder):
    options = {"compute_confidence_interval": True, "level": LEVEL}
    # seeds other than that of the thresholds; both kinds of intervals from the same toys
    neyman, asymptotic = (
        run_campaign(
            campaign(shared, folder, EVENTS, N_TOYS, threshold=threshold, **options),
            folder / f"with {threshold}",
            seed=2,
            progress=False,
        )
        for threshold in ("ours.json", None)
    )
    covered, wrongly = coverage(neyman).share.fraction, coverage(asymptotic).share.fraction
    assert np.abs(covered - LEVEL).max() < 3.3 * ERROR
    assert (np.abs(wrongly - LEVEL)[:2] > 6.0 * ERROR).all()
    # without intervals, t itself says the same, but where it crosses the threshold more than once
    threshold = NeymanThresholds.from_json(folder / "ours.json").at(LEVEL)
    assert coverage(neyman, threshold=threshold).share.fraction == pytest.approx(covered, abs=0.01)
    assert coverage(asymptotic, threshold=threshold).share.fraction == pytest.approx(covered, abs=0.01)


def test_thresholds_in_a_file_of_alea_give_the_same_intervals(shared, folder):
    ends = [
        run_campaign(
            campaign(shared, folder, [1.2], 50, threshold=name, compute_confidence_interval=True, level=LEVEL),
            folder / f"some with {name}",
            seed=3,
            progress=False,
        )[0].intervals
        for name in ("ours.json", "alea.json")
    ]
    assert np.array_equal(*ends, equal_nan=True)
    assert np.isfinite(ends[0]).all()
