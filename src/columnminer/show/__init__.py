"""Pictures and reports of results that were computed elsewhere: ``from columnminer.show import plot_limits, save``.

Each name is imported when it is first used: tables of reports, which are printed, too, do without matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from columnminer.show.bands import plot_cls, plot_sensitivity
    from columnminer.show.calibration import plot_calibration, plot_calibration_curve, plot_closure
    from columnminer.show.checks import plot_check, plot_checks, plot_verdicts
    from columnminer.show.crosssections import plot_cross_section, plot_effective_events
    from columnminer.show.distributions import plot_distribution, plot_distribution_2d, plot_distributions
    from columnminer.show.fisher import plot_information, plot_information_bars
    from columnminer.show.fits import plot_intervals, plot_profile
    from columnminer.show.geometry import plot_distance_contours, plot_geodesics
    from columnminer.show.impacts import plot_correlations, plot_impacts
    from columnminer.show.learning import plot_agreement, plot_learning, plot_loss_terms, plot_members, plot_spread
    from columnminer.show.limits import plot_limit_panels, plot_limits
    from columnminer.show.morphing import (
        plot_morphing_basis,
        plot_morphing_scatter,
        plot_morphing_slices,
        plot_morphing_weights,
    )
    from columnminer.show.neyman import plot_belt, plot_coverage, plot_power, plot_thresholds
    from columnminer.show.slices import plot_information_slices
    from columnminer.show.style import save
    from columnminer.show.templates import plot_events
    from columnminer.show.toys import plot_estimates, plot_pulls, plot_toy_fits, plot_toy_histogram
    from columnminer.show.uncertainties import plot_systematics, plot_uncertainty

_NAMES = {
    "bands": (
        "plot_cls",
        "plot_sensitivity",
    ),
    "calibration": (
        "plot_calibration",
        "plot_calibration_curve",
        "plot_closure",
    ),
    "checks": (
        "plot_check",
        "plot_checks",
        "plot_verdicts",
    ),
    "crosssections": (
        "plot_cross_section",
        "plot_effective_events",
    ),
    "distributions": (
        "plot_distribution",
        "plot_distribution_2d",
        "plot_distributions",
    ),
    "fisher": (
        "plot_information",
        "plot_information_bars",
    ),
    "fits": (
        "plot_intervals",
        "plot_profile",
    ),
    "geometry": (
        "plot_distance_contours",
        "plot_geodesics",
    ),
    "impacts": (
        "plot_correlations",
        "plot_impacts",
    ),
    "learning": (
        "plot_agreement",
        "plot_learning",
        "plot_loss_terms",
        "plot_members",
        "plot_spread",
    ),
    "limits": (
        "plot_limit_panels",
        "plot_limits",
    ),
    "morphing": (
        "plot_morphing_basis",
        "plot_morphing_scatter",
        "plot_morphing_slices",
        "plot_morphing_weights",
    ),
    "neyman": (
        "plot_belt",
        "plot_coverage",
        "plot_power",
        "plot_thresholds",
    ),
    "slices": ("plot_information_slices",),
    "templates": ("plot_events",),
    "toys": (
        "plot_estimates",
        "plot_pulls",
        "plot_toy_fits",
        "plot_toy_histogram",
    ),
    "uncertainties": (
        "plot_systematics",
        "plot_uncertainty",
    ),
    "style": ("save",),
}

_HOMES = {name: f"columnminer.show.{home}" for home, names in _NAMES.items() for name in names}

__all__ = [
    "plot_agreement",
    "plot_belt",
    "plot_calibration",
    "plot_calibration_curve",
    "plot_check",
    "plot_checks",
    "plot_closure",
    "plot_cls",
    "plot_correlations",
    "plot_coverage",
    "plot_cross_section",
    "plot_distance_contours",
    "plot_distribution",
    "plot_distribution_2d",
    "plot_distributions",
    "plot_effective_events",
    "plot_estimates",
    "plot_events",
    "plot_geodesics",
    "plot_impacts",
    "plot_information",
    "plot_information_bars",
    "plot_information_slices",
    "plot_intervals",
    "plot_learning",
    "plot_limit_panels",
    "plot_limits",
    "plot_loss_terms",
    "plot_members",
    "plot_morphing_basis",
    "plot_morphing_scatter",
    "plot_morphing_slices",
    "plot_morphing_weights",
    "plot_power",
    "plot_profile",
    "plot_pulls",
    "plot_sensitivity",
    "plot_spread",
    "plot_systematics",
    "plot_thresholds",
    "plot_toy_fits",
    "plot_toy_histogram",
    "plot_uncertainty",
    "plot_verdicts",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'columnminer.show' has no attribute {name!r}"
        raise AttributeError(msg)
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
