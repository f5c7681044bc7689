"""Maximum likelihood fits by iminuit, with gradients where the likelihood has them.

`fit` is for one fit, looked at by a person; `maximise` does its work, without a word, for the many fits of profiles and
intervals.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import ColumnMinerWarning, InputError, UnknownNameError, did_you_mean
from columnminer.infer.free import check_names, free_names, guesses, index_names, not_fittable
from columnminer.infer.indices import best_indices, nearest_anchors
from columnminer.infer.minuit import FitResult, MinosError, Options, minimise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from columnminer.infer.free import Limits
    from columnminer.infer.likelihood import Likelihood
    from columnminer.infer.minuit import Method

__all__ = ["FIT_OPTIONS", "FitResult", "MinosError", "check_fit_options", "fit", "maximise"]

FIT_OPTIONS = (
    *("method", "strategy", "refits", "gradient", "tolerance"),
    *("max_index_fitting_iter", "disable_index_fitting"),
)


def fit(
    likelihood: Likelihood,
    *,
    start: Any = None,
    method: Method = "migrad",
    strategy: int = 1,
    refits: int = 4,
    gradient: bool | None = None,
    tolerance: float | None = None,
    hesse: bool = True,
    minos: Sequence[str] = (),
    limits: Limits | None = None,
    max_index_fitting_iter: int = 10,
    disable_index_fitting: bool = False,
    **fixed: float,
) -> FitResult:
    """Return the best fit of a likelihood with data.

    By Minuit (F. James and M. Roos, Comput. Phys. Commun. 10 (1975) 343). A fit that does not converge is tried again:
    from where it stopped, from the guesses, and from points scattered around them (always the same ones), by a simplex
    search followed by Migrad with the most careful strategy, from the second time on without the likelihood's gradient.

    A parameter that ends beside a limit is put onto it, if the likelihood is larger there. Where the likelihood has
    kinks, at which Minuit stops or strays, the "migrad" is the Newton method of `fit_batch`, and Minuit is asked only
    if that does not converge, or for `minos`. Parameters that are not
    fittable stay nominal. Index parameters take the values of their anchors only: they are fitted by trying all of
    these, in turn with fits of the others.

    Parameters
    ----------
    likelihood
        With data. Multiply constraints with `Likelihood.constrained`.
    start
        Where to start, (n_par,) or a mapping by name. By default the guesses of the parameters, or their nominal
        values. Brought inside the limits.
    method
        "migrad" (along gradients), "simplex" (without any), or "simplex_migrad" (one after the other).
    strategy
        Of Minuit: 0 (quick), 1 or 2 (careful).
    refits
        How often to try again at most.
    gradient
        Whether to use the likelihood's gradient; by default, if there is one.
    tolerance
        Of Minuit, which stops at an estimated distance of 0.001 times this from the minimum; by default 0.001, or 1
        where the likelihood has less than double precision.
    hesse
        Whether to calculate second derivatives at the end; otherwise the covariance is what Migrad has gathered.
    minos
        Parameters for which to find asymmetric errors.
    limits
        parameter name -> (low, high), None for an open side, in place of the `fit_limits` of the parameters.
    max_index_fitting_iter
        How often to fit all other parameters and choose the best anchors of index parameters in turn, at most.
    disable_index_fitting
        Hold index parameters at the anchors next to where they start.
    **fixed
        Parameters held at a value; use `Likelihood.fix` for those called like an option of this function.

    Warns
    -----
    ColumnMinerWarning
        If the fit has not converged in the end.

    Raises
    ------
    MissingError
        If there are no data, a gradient that is not there is asked for, or the likelihood is zero where it starts.
    UnknownNameError
        If a name is not a parameter.
    InputError
        If an option or a limit makes no sense, or there are several data sets.

    Examples
    --------
    >>> best = cm.fit(cm.PyhfLikelihood.from_workspace("counting.json"))
    >>> round(best.by_name["mu"], 1)
    1.7
    """
    free = likelihood.fix(**fixed) if fixed else likelihood
    if fixed and isinstance(start, Mapping):
        start = {name: value for name, value in start.items() if name not in fixed}
    result = maximise(
        free,
        start=start,
        method=method,
        strategy=strategy,
        refits=refits,
        gradient=gradient,
        tolerance=tolerance,
        hesse=hesse,
        minos=minos,
        limits=limits,
        max_index_fitting_iter=max_index_fitting_iter,
        disable_index_fitting=disable_index_fitting,
    )
    if not result.valid:
        msg = (
            f"the fit of {', '.join(result.parameter_names)} did not converge ({result.n_refits + 1} attempts); it "
            f"stopped at {result.by_name}, an estimated {result.edm:.2g} from the maximum of log L. Give another "
            "start, or limits, or hold a parameter that the data say nothing about"
        )
        warnings.warn(msg, ColumnMinerWarning, stacklevel=2)
    return replace(result, fixed={**result.fixed, **{name: float(value) for name, value in fixed.items()}})


def maximise(
    likelihood: Likelihood,
    *,
    start: Any = None,
    method: Method = "migrad",
    strategy: int = 1,
    refits: int = 4,
    gradient: bool | None = None,
    tolerance: float | None = None,
    hesse: bool = True,
    minos: Sequence[str] = (),
    limits: Limits | None = None,
    steps: Mapping[str, float] | None = None,
    max_index_fitting_iter: int = 10,
    disable_index_fitting: bool = False,
) -> FitResult:
    """Return the best fit as `fit` does, without a warning where it is not valid; `steps` are first steps by name."""
    options = Options(
        method=method,
        strategy=strategy,
        refits=refits,
        gradient=gradient,
        tolerance=tolerance,
        hesse=hesse,
        minos=[minos] if isinstance(minos, str) else list(minos),
        limits=limits or {},
        steps=steps or {},
    )
    if max_index_fitting_iter < 1:
        msg = f"max_index_fitting_iter must be a positive number, not {max_index_fitting_iter!r}"
        raise InputError(msg)
    check_names([*options.minos, *options.limits], likelihood)

    def smooth(model: Likelihood, start: Any) -> FitResult:
        if not model.parameters:
            return _nothing_free(model)
        wanted = [name for name in options.minos if name in model.names]
        ends = {name: ends for name, ends in options.limits.items() if name in model.names}
        return minimise(model, start, replace(options, minos=wanted, limits=ends))

    held, indices = not_fittable(likelihood), index_names(likelihood)
    if not held and not indices:
        return smooth(likelihood, start)
    point = likelihood.point(guesses(likelihood) if start is None else start)
    at = dict(zip(likelihood.names, nearest_anchors(likelihood, point, indices).tolist(), strict=True)) | held
    if disable_index_fitting or not indices:
        stays = {name: at[name] for name in (*held, *indices)}
        result = smooth(likelihood.fix(**stays), {n: at[n] for n in likelihood.names if n not in stays})
        return replace(result, fixed=stays)
    settled, n_calls = False, 0
    for _ in range(max_index_fitting_iter):
        stays = {name: at[name] for name in (*held, *indices)}
        model = likelihood.fix(**stays)
        result = smooth(model, {name: at[name] for name in model.names})
        at, n_calls = at | result.by_name, n_calls + result.n_calls
        best = best_indices(likelihood, likelihood.point(at), indices, likelihood.data)
        settled = bool((best == likelihood.point(at)).all())
        at = dict(zip(likelihood.names, best.tolist(), strict=True))
        if settled:
            break
    return _with_indices(result, at, free_names(likelihood), held, n_calls, settled=settled)


def _nothing_free(likelihood: Likelihood) -> FitResult:
    """Return the fit of no parameter at all."""
    log, nothing = float(likelihood.log_likelihood()), np.zeros(0)
    return FitResult((), nothing, np.zeros((0, 0)), log, True, {}, 1, 0.0, 0, nothing.astype(bool))


def _with_indices(
    result: FitResult,
    at: Mapping[str, float],
    names: tuple[str, ...],
    held: Mapping[str, float],
    n_calls: int,
    *,
    settled: bool,
) -> FitResult:
    """Return a fit with index parameters, which have no errors, among its parameters."""
    covariance = np.full((len(names), len(names)), np.nan)
    at_limit = np.zeros(len(names), dtype=bool)
    columns = [names.index(name) for name in result.parameter_names]
    covariance[np.ix_(columns, columns)], at_limit[columns] = result.covariance, result.at_limit
    return replace(
        result,
        parameter_names=names,
        values=np.array([at[name] for name in names]),
        covariance=covariance,
        at_limit=at_limit,
        valid=result.valid and settled,
        n_calls=n_calls,
        fixed=dict(held),
    )


def check_fit_options(options: Mapping[str, object]) -> None:
    """Raise `UnknownNameError` unless these are options of `maximise` that profiles and intervals may give to it."""
    for option in options:
        if option not in FIT_OPTIONS:
            msg = f"fits have no option {option!r}.{did_you_mean(option, FIT_OPTIONS)}"
            raise UnknownNameError(msg)
