"""Which parameters of a likelihood a fit may move, how far, and where it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from columnminer.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood
    from columnminer.model.parameters import Parameter

__all__ = ["Limits", "check_names", "first_step", "free_names", "guesses", "index_names", "limits_of", "not_fittable"]

Limits: TypeAlias = "Mapping[str, tuple[float | None, float | None]]"


def free_names(likelihood: Likelihood, held: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the parameters that a fit moves: those that can be fitted and are not held."""
    held = frozenset(held)
    return tuple(p.name for p in likelihood.parameters if p.name not in held and fittable(p))


def not_fittable(likelihood: Likelihood) -> dict[str, float]:
    """Return the parameters that no fit moves, at their nominal values."""
    return {p.name: p.nominal for p in likelihood.parameters if not fittable(p)}


def fittable(parameter: Parameter) -> bool:
    """Return whether fits move it: neither live times, for instance, nor what the templates were made for."""
    return parameter.fittable and parameter.kind != "needs_reinit"


def index_names(likelihood: Likelihood) -> tuple[str, ...]:
    """Return the parameters that take the values of their anchors only."""
    return tuple(p.name for p in likelihood.parameters if p.kind == "index" and p.anchors and fittable(p))


def guesses(likelihood: Likelihood) -> NDArray[np.float64]:
    """Return where fits start: (n_par,) guesses of the parameters, or their nominal values."""
    return np.array([p.nominal if p.fit_guess is None else p.fit_guess for p in likelihood.parameters])


def limits_of(parameter: Parameter, limits: Limits | None = None) -> tuple[float, float]:
    """Return between which values a fit keeps a parameter; infinite where a side is open.

    Raises
    ------
    InputError
        If they are not (low, high).
    """
    ends = (limits or {}).get(parameter.name, parameter.fit_limits) or (None, None)
    low = -np.inf if ends[0] is None else float(ends[0])
    high = np.inf if ends[1] is None else float(ends[1])
    if not low < high:
        msg = f"the limits of {parameter.name!r} must be (low, high), not {ends!r}; hold a parameter with fix"
        raise InputError(msg)
    return low, high


def first_step(parameter: Parameter, value: float) -> float:
    """Return a first step: the width of the constraint, or a twentieth of the range of interest."""
    if parameter.width is not None:
        return parameter.width
    if parameter.bounds is not None:
        return (parameter.bounds[1] - parameter.bounds[0]) / 20.0
    return 0.1 * max(abs(value), 1.0)


def check_names(names: Iterable[str], likelihood: Likelihood) -> None:
    """Raise `UnknownNameError` if one of the names is not a parameter."""
    for name in names:
        if name not in likelihood.names:
            msg = f"the likelihood has no parameter {name!r}.{did_you_mean(name, likelihood.names)}"
            raise UnknownNameError(msg)
