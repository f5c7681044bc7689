"""Pictures of results beside those that were looked at: what an analysis found, what its estimators and toys say."""

from __future__ import annotations

import os

import numpy as np
import pytest
from analytic_likelihoods import OnOff
from pictures import same_picture
from pictures_of_results import (
    LABELS,
    RATE,
    STRONG,
    WEAK,
    checks,
    curve,
    distances,
    history,
    impacts,
    information,
    interval,
    limits,
    pairs,
    profile,
    profile_2d,
    rays,
    reliability,
    slices,
    toys,
    toys_of_two,
    two_samples,
)
from wimp_templates import wimps

from columnminer.infer.asymptotics import cls_values
from columnminer.show.bands import plot_cls, plot_sensitivity
from columnminer.show.calibration import plot_calibration, plot_calibration_curve, plot_closure
from columnminer.show.checks import plot_checks, plot_verdicts
from columnminer.show.fisher import plot_information, plot_information_bars
from columnminer.show.fits import plot_intervals, plot_profile
from columnminer.show.geometry import plot_distance_contours, plot_geodesics
from columnminer.show.impacts import plot_correlations, plot_impacts
from columnminer.show.learning import plot_agreement, plot_learning, plot_loss_terms, plot_members, plot_spread
from columnminer.show.limits import plot_limit_panels, plot_limits
from columnminer.show.neyman import plot_belt, plot_coverage, plot_power, plot_thresholds
from columnminer.show.slices import plot_information_slices
from columnminer.show.templates import plot_events
from columnminer.show.toys import plot_estimates, plot_pulls, plot_toy_fits, plot_toy_histogram
from columnminer.toys.belts import belt
from columnminer.toys.coverage import coverage
from columnminer.toys.discovery import discovery_power
from columnminer.toys.distributions import estimate_distribution, pulls, statistic_distribution
from columnminer.toys.neyman import NeymanThresholds
from columnminer.toys.sensitivity import limit_bands


def analyses(bend=0.0):
    return {
        "ALICES": limits(STRONG, [0.012, -0.006], bend=bend),
        "mass histogram": limits(WEAK, [0.005, 0.006]),
        "rate": limits(RATE, [0.0, 0.0]),
    }


def informations(error=0.0):
    named = {"ALICES": STRONG, "mass histogram": WEAK, "rate": RATE}
    return {name: information(matrix, error) for name, matrix in named.items()}


def bands():
    masses = np.array([10.0, 20.0, 50.0, 100.0, 200.0, 500.0])
    rng = np.random.default_rng(4)
    found = [rng.lognormal(np.log(2.0 + m / 50.0 + 100.0 / m), 0.35, 400) for m in masses]
    return limit_bands(found, masses, name="$\\mu$", along="mass")


PICTURES = {
    "limits_2d": lambda: plot_limits(analyses(6.0), truth=[0.0, 0.0], labels=LABELS),
    "limits_1d": lambda: plot_limits(
        {"ALICES": limits([[9000.0]], [0.012]), "rate": limits([[2500.0]], [0.0])}, truth=[0.0], labels=LABELS[:1]
    ),
    "information": lambda: plot_information(informations(0.05), labels=LABELS),
    "information_slices": lambda: plot_information_slices(
        slices(), labels={"c_ll": "$c_{ll}$", "c_lr": "$c_{lr}$"}, label="$m_{\\mu\\mu}$", unit="GeV"
    ),
    "geodesics": lambda: plot_geodesics(rays(), labels=LABELS),
    "distances": lambda: plot_distance_contours(distances(), labels=LABELS),
    "learning": lambda: plot_learning({"ALICES": history(0.4), "CARL": history(0.5, best=8, phase=1.0)}),
    "members": lambda: plot_members([history(0.4 + 0.01 * i, best=10 + i, phase=i) for i in range(5)]),
    "spread": lambda: plot_spread(pairs()[1], 0.05 + 0.03 * pairs()[0] ** 2, quantity="$\\log r$", note="RMS 0.11"),
    "agreement": lambda: plot_agreement(*pairs(), note="RMS 0.14"),
    "checks": lambda: plot_checks([*checks(), *checks(0.3)[:1]]),
    "thresholds": lambda: plot_thresholds(NeymanThresholds.from_results(toys(), (0.68, 0.9)), label="$\\mu$"),
    "belt": lambda: plot_belt(belt(toys(), 0.9), estimate=1.6, label="$\\mu$", estimate_label="best fit of $\\mu$"),
    "coverage": lambda: plot_coverage(
        {
            "asymptotic": coverage(toys(), threshold=2.7055, level=0.9),
            "Neyman": coverage(toys(), threshold=2.4, level=0.9),
        },
        label="$\\mu$",
    ),
    "power": lambda: plot_power(
        {"3 s.d.": discovery_power(toys(), significance=3.0), "2 s.d.": discovery_power(toys(), significance=2.0)},
        label="$\\mu$",
    ),
    "sensitivity": lambda: plot_sensitivity(
        bands(), observed=[9.0, 7.4, 5.5, 4.5, 8.0, 12.0], log=True, label="mass [GeV]"
    ),
    "pulls": lambda: plot_pulls(pulls(toys([8.0], 1000)[0], name="pull of $\\mu$", bins=25)),
    "limits_shaded": lambda: plot_limits(analyses(6.0), levels=(0.95,), labels=LABELS, shade="ALICES"),
    "limit_panels": lambda: plot_limit_panels(analyses(6.0), truth=[0.0, 0.0], labels=LABELS),
    "information_bars": lambda: plot_information_bars(informations(0.1), labels=["$c_{ll}$", "$c_{lr}$"]),
    "information_directions": lambda: plot_information_slices(
        slices().along(dict(zip(["least known", "best known"], slices().total.eigenvectors, strict=True))),
        determinant=True,
        label="$m_{\\mu\\mu}$",
        unit="GeV",
    ),
    "profile": lambda: plot_profile(
        {"profiled": profile(1.2, 0.8, skew=0.2), "nuisances held": profile(1.2, 0.55)},
        intervals=[interval(1.2, 0.0, 2.75), interval(1.2, -np.inf, 2.4, kind="upper")],
        threshold=lambda mu: 2.71 - 1.2 * np.exp(-((mu / 0.7) ** 2)),
        truth=1.0,
        labels=["$\\mu$"],
    ),
    "profile_2d": lambda: plot_profile(
        {"profiled": profile_2d(WEAK, [0.01, -0.005]), "held": profile_2d(STRONG, [0.008, 0.0])},
        truth=[0.0, 0.0],
        labels=LABELS,
    ),
    "intervals": lambda: plot_intervals(
        {
            "ALICES": [interval(1.1, 0.8, 1.5, 0.68), interval(1.1, 0.4, 2.0, 0.95)],
            "mass histogram": [interval(0.9, 0.3, 1.6, 0.68), interval(0.9, -0.3, 2.4, 0.95)],
            "rate": [interval(0.7, -np.inf, 2.6, 0.95, "upper")],
        },
        truth=1.0,
        label="$\\mu$",
    ),
    "impacts": lambda: plot_impacts(impacts(), label="$\\mu$", names={"jet_energy": "jet energy scale"}),
    "correlations": lambda: plot_correlations(impacts().best_fit, names={"mu": "$\\mu$"}),
    "loss_terms": lambda: plot_loss_terms(history(0.4)),
    "calibration": lambda: plot_calibration({"before": reliability(1.5), "after": reliability()}),
    "calibration_curve": lambda: plot_calibration_curve(curve()),
    "closure": lambda: plot_closure(two_samples()),
    "verdicts": lambda: plot_verdicts({"ALICES": checks(), "CARL, 2,000 events": checks(0.1)}),
    "toy_statistics": lambda: plot_toy_histogram(
        {
            "no signal": statistic_distribution(toys([0.0], 2000)[0], "zero", kind="lower", bins=20, highest=25.0),
            "$\\mu$ = 3": statistic_distribution(toys([3.0], 2000)[0], "zero", kind="lower", bins=20, highest=25.0),
        },
        observed=6.3,
    ),
    "toy_fits": lambda: plot_toy_fits(toys_of_two(), ["mu", "background"], labels=["$\\mu$", "background rate"]),
    "estimates": lambda: plot_estimates(estimate_distribution(toys([2.0], 2000)[0]), label="$\\mu$"),
    "cls": lambda: plot_cls(cls(), label="$\\mu$"),
    "events_2d": lambda: plot_events(*searched(), labels={"x": "$S1$ [PE]", "y": "$\\log_{10}\\,S2$"}),
    "events_1d": lambda: plot_events(*searched(), along=["x"], labels={"x": "$S1$ [PE]"}),
}


def cls():
    likelihood = OnOff([5.0, 10.0], [50.0, 52.0], [7.0, 7.0], fit_limits=(0.0, 10.0))
    data = likelihood.with_data([53.0, 60.0, *likelihood.tau])
    return cls_values(data, "mu", np.linspace(0.2, 5.0, 13))


def searched():
    term = wimps().factors[0]
    return term.simulate(3, mu=2.0), term.source_histograms(mu=2.0, expected_events=True)


LARGE = {"checks": 48, "limit_panels": 40, "limits_2d": 50, "limits_shaded": 50, "information": 45, "correlations": 50}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_look_as_they_did(name):
    same_picture(PICTURES[name](), name, dpi=LARGE.get(name, 60))


@pytest.mark.skipif("COLUMNMINER_DRAW" in os.environ, reason="would draw the wrong picture")
def test_another_picture_is_told_from_the_one_that_was_looked_at():
    moved = analyses(6.0) | {"ALICES": limits(STRONG, [0.009, -0.006], bend=6.0)}
    ax = plot_limits(moved, truth=[0.0, 0.0], labels=LABELS)
    with pytest.raises(AssertionError, match="differs by"):
        same_picture(ax, "limits_2d", dpi=LARGE["limits_2d"])
