r"""What nuisance parameters do to a fit: how far data pull each, and how far each moves the parameter of interest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.infer.fit import maximise
from columnminer.infer.intervals import check_parameter
from columnminer.infer.profiles import ConditionalFits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.infer.fit import FitResult
    from columnminer.infer.likelihood import Likelihood

__all__ = ["Impacts", "impacts"]


@dataclass(frozen=True)
class Impacts:
    """What n nuisance parameters do to a fit, those with the largest impacts first.

    Attributes
    ----------
    name : str
        The parameter of interest.
    nuisances : tuple of str
        All other free parameters.
    nominal, width : numpy.ndarray
        (n,) value before the fit, and standard deviation of the constraint; NaN where there is none.
    values, errors : numpy.ndarray
        (n,) fitted value, and its standard error.
    up, down : numpy.ndarray
        (n,) by how much the best fit of the parameter of interest moves when the nuisance parameter is held one
        standard error above, or below, its best fit (at its fit limit, if that is nearer) and all others are fitted.
    best_fit : FitResult
        With all parameters free.
    valid : bool
        Whether every fit on the way converged.
    """

    name: str
    nuisances: tuple[str, ...]
    nominal: NDArray[np.float64]
    width: NDArray[np.float64]
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    up: NDArray[np.float64]
    down: NDArray[np.float64]
    best_fit: FitResult
    valid: bool

    @property
    def pulls(self) -> NDArray[np.float64]:
        """(n,) fitted minus nominal value, in widths of the constraint."""
        return (self.values - self.nominal) / self.width

    @property
    def constrained(self) -> NDArray[np.float64]:
        """(n,) standard errors after the fit, in widths of the constraint: below 1 where data say something, too."""
        return self.errors / self.width

    @property
    def largest(self) -> NDArray[np.float64]:
        """(n,) the larger of the two impacts, without its sign."""
        return np.maximum(np.abs(self.up), np.abs(self.down))


def impacts(
    likelihood: Likelihood,
    name: str,
    *,
    start: Any = None,
    best_fit: FitResult | None = None,
    fit_options: Mapping[str, Any] | None = None,
) -> Impacts:
    r"""Return how far data pull each nuisance parameter, and how far each moves the parameter of interest.

    Where the likelihood is Gaussian the impact of a nuisance parameter :math:`\nu` on :math:`\mu` is
    :math:`\mathrm{cov}(\mu, \nu) / \sigma_\nu`.

    Parameters
    ----------
    likelihood
        With data, and constraints where there are nuisance parameters (`Likelihood.constrained`).
    name
        The parameter of interest.
    start
        Where the first fit starts; see `fit`.
    best_fit
        With all parameters free, if it is known already. If a better point is met on the way, it takes its place.
    fit_options
        Of every fit: method, strategy, refits, gradient, tolerance; see `fit`.

    Raises
    ------
    UnknownNameError
        If the parameter or an option does not exist.
    InputError
        If the parameter is not fittable.
    MissingError
        If there are no data, or the best fit does not converge.

    Examples
    --------
    >>> found = cm.impacts(cm.PyhfLikelihood.from_workspace("counting.json"), "mu")
    >>> found.nuisances  # the largest impact first
    ('top_rate', 'efficiency', 'diboson_rate')
    """
    check_parameter(likelihood, name, {})
    best = maximise(likelihood, start=start, **(fit_options or {})) if best_fit is None else best_fit
    by_name = {p.name: p for p in likelihood.parameters}
    rows, valid = [], True
    for nuisance in best.parameter_names:
        if nuisance == name:
            continue
        fits = ConditionalFits(likelihood, [nuisance], best_fit=best, fit_options=fit_options)
        value, error = float(fits.centre[0]), fits.width()
        moved = [fits(by_name[nuisance].clip(value + side * error)).others[name] for side in (1.0, -1.0)]
        if fits.adopt_better():
            return impacts(likelihood, name, best_fit=fits.best, fit_options=fit_options)
        width = by_name[nuisance].width
        up, down = (poi - best.by_name[name] for poi in moved)
        rows.append((by_name[nuisance].nominal, np.nan if width is None else width, value, error, up, down))
        valid = valid and fits.valid
    names = [n for n in best.parameter_names if n != name]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 6)
    order = np.argsort(-np.abs(columns[:, 4:]).max(axis=1, initial=0.0), kind="stable")
    nominal, widths, values, errors, ups, downs = columns[order].T
    return Impacts(
        name=name,
        nuisances=tuple(names[i] for i in order),
        nominal=nominal,
        width=widths,
        values=values,
        errors=errors,
        up=ups,
        down=downs,
        best_fit=best,
        valid=valid,
    )
