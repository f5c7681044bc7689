r"""Tests of signal hypotheses with asymptotic formulae: CLs upper limits and the significance of a discovery.

G. Cowan, K. Cranmer, E. Gross, O. Vitells, arXiv:1007.1727 (equations below are theirs); CLs: A. L. Read, J. Phys. G 28
(2002) 2693. The parameter of interest :math:`\mu` is the strength of a signal: no signal is a value of it, and more of
it more signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from columnminer.errors import InputError, UnknownNameError, did_you_mean
from columnminer.infer.profiles import ConditionalFits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from columnminer.infer.fit import FitResult
    from columnminer.infer.likelihood import Likelihood

__all__ = ["CLs", "CLsLimit", "Discovery", "cls_limit", "cls_values", "discovery"]

TestStatistic: TypeAlias = Literal["qtilde", "q"]

N_SIGMA = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Of the expected bands: standard deviations of the estimated signal without a signal."""


@dataclass(frozen=True)
class CLs:
    """P values of signal hypotheses.

    Attributes
    ----------
    name : str
        The signal parameter.
    values : numpy.ndarray
        (n,) hypotheses.
    cls : numpy.ndarray
        (n,) ``p_signal / (1 - p_background)``, of which small values exclude.
    p_signal : numpy.ndarray
        (n,) probability of data at least as signal-poor, with signal and background.
    p_background : numpy.ndarray
        (n,) probability of data at least as signal-rich, with background only.
    expected : numpy.ndarray
        (n, 5) cls if data fluctuate by -2, -1, 0, 1, 2 standard deviations without a signal.
    best_fit : FitResult
        To the data.
    """

    name: str
    values: NDArray[np.float64]
    cls: NDArray[np.float64]
    p_signal: NDArray[np.float64]
    p_background: NDArray[np.float64]
    expected: NDArray[np.float64]
    best_fit: FitResult


@dataclass(frozen=True)
class CLsLimit:
    """An upper limit on a signal.

    Attributes
    ----------
    name : str
        The signal parameter.
    observed : float
        Values above are excluded; infinite if none is, up to the fit limit of the parameter.
    expected : numpy.ndarray
        (5,) limits if data fluctuate by -2, -1, 0, 1, 2 standard deviations without a signal.
    level : float
        Confidence level.
    test_statistic : str
        "qtilde" or "q".
    best_fit : FitResult
        To the data.
    """

    name: str
    observed: float
    expected: NDArray[np.float64]
    level: float
    test_statistic: TestStatistic
    best_fit: FitResult


@dataclass(frozen=True)
class Discovery:
    """How much data speak against there being no signal.

    Attributes
    ----------
    q0 : float
        Twice the log likelihood ratio of best fit and no signal; 0 if the best fit has less than none.
    significance : float
        Its square root: standard deviations.
    p_value : float
        One-sided probability.
    best_fit : FitResult
        To the data.
    """

    q0: float
    significance: float
    p_value: float
    best_fit: FitResult


def cls_limit(
    likelihood: Likelihood,
    name: str,
    *,
    level: float = 0.95,
    test_statistic: TestStatistic = "qtilde",
    no_signal: float = 0.0,
    start: Any = None,
    fit_options: Mapping[str, Any] | None = None,
) -> CLsLimit:
    r"""Return the observed and expected CLs upper limit on a signal.

    The distributions of the test statistic come from the Asimov data of no signal, with nuisance parameters as the data
    like them best there. Expected limits are where :math:`\sqrt{q_{\mu,A}} = \Phi^{-1}(1 - \alpha\Phi(N)) + N` (their
    equation 89 with exact :math:`q_{\mu,A}`), which leaves the observed data in through those nuisance parameters.

    Parameters
    ----------
    likelihood
        With data, and constraints where there are nuisance parameters (`Likelihood.constrained`).
    name
        The signal parameter.
    level
        Confidence level, 1 - alpha.
    test_statistic
        "qtilde" (best fit not below no signal, equation 16) or "q" (best fit as low as the fit limits let it,
        equation 14).
    no_signal
        Value of the parameter without a signal.
    start
        Where the first fit starts; see `fit`.
    fit_options
        Of every fit: method, strategy, refits, gradient, tolerance; see `fit`.

    Raises
    ------
    UnknownNameError
        If the parameter or an option does not exist.
    InputError
        If level or test statistic make no sense, or no signal lies beyond the fit limits.
    MissingError
        If there are no data, or they cannot be fitted.

    Examples
    --------
    >>> limit = cm.cls_limit(cm.PyhfLikelihood.from_workspace("counting.json"), "mu")
    >>> round(limit.observed, 2)
    3.16
    """
    if not 0.0 < level < 1.0:
        msg = f"the confidence level must lie between 0 and 1, not at {level}"
        raise InputError(msg)
    alpha = 1.0 - level
    options: dict[str, Any] = {"test_statistic": test_statistic, "no_signal": no_signal, "fit_options": fit_options}
    test = _AsymptoticTest(likelihood, name, start=start, **options)
    expected = [
        test.solve(lambda mu, n=n: test.root_q_asimov(mu) - (norm.ppf(1.0 - alpha * norm.cdf(n)) + n))  # type: ignore[misc]
        for n in N_SIGMA
    ]
    observed = test.solve(lambda mu: alpha - test.cls(mu)[0])
    if test.adopt_better():
        return cls_limit(likelihood, name, level=level, start=test.best_fit.by_name, **options)
    return CLsLimit(name, observed, np.array(expected), level, test_statistic, test.best_fit)


def cls_values(
    likelihood: Likelihood,
    name: str,
    values: ArrayLike,
    *,
    test_statistic: TestStatistic = "qtilde",
    no_signal: float = 0.0,
    start: Any = None,
    fit_options: Mapping[str, Any] | None = None,
) -> CLs:
    """Return observed and expected CLs of signal hypotheses.

    Parameters
    ----------
    likelihood, name, test_statistic, no_signal, start, fit_options
        See `cls_limit`.
    values
        (n,) hypotheses, above no signal.

    Raises
    ------
    UnknownNameError, InputError, MissingError
        As `cls_limit`.

    Examples
    --------
    >>> found = cm.cls_values(cm.PyhfLikelihood.from_workspace("counting.json"), "mu", [0.5, 1.0, 2.0])
    >>> bool(found.cls[0] > found.cls[2])  # the larger the signal, the less likely are the data
    True
    """
    test = _AsymptoticTest(
        likelihood, name, test_statistic=test_statistic, no_signal=no_signal, start=start, fit_options=fit_options
    )
    held = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if not (held > no_signal).all():
        msg = f"signal hypotheses must lie above no signal, {name} = {no_signal}"
        raise InputError(msg)
    observed = np.array([test.cls(value) for value in held]).reshape(-1, 3)
    root, n = np.array([test.root_q_asimov(value) for value in held])[:, None], np.array(N_SIGMA)
    expected = np.exp(norm.logsf(root - n) - norm.logsf(-n))
    return CLs(name, held, observed[:, 0], observed[:, 1], observed[:, 2], expected, test.best_fit)


def discovery(
    likelihood: Likelihood,
    name: str,
    *,
    no_signal: float = 0.0,
    start: Any = None,
    fit_options: Mapping[str, Any] | None = None,
) -> Discovery:
    """Return the significance of a signal, from q0 (equations 12 and 53).

    What is expected is that of Asimov data with a signal: ``discovery(model.with_data(model.asimov(mu=1)), "mu")``.

    Parameters
    ----------
    likelihood, name, no_signal, start, fit_options
        See `cls_limit`.

    Raises
    ------
    UnknownNameError, InputError, MissingError
        As `cls_limit`.

    Examples
    --------
    >>> found = cm.discovery(cm.PyhfLikelihood.from_workspace("counting.json"), "mu")
    >>> round(found.significance, 2)
    2.01
    """
    fits = _bounded_fits(likelihood, name, no_signal, start, fit_options)
    q0 = fits.statistic(no_signal)
    if fits.adopt_better():
        q0 = fits.statistic(no_signal)
    q0 = max(q0, 0.0)
    return Discovery(q0, float(np.sqrt(q0)), float(norm.sf(np.sqrt(q0))), fits.best)


def _bounded_fits(
    likelihood: Likelihood, name: str, no_signal: float, start: Any, fit_options: Mapping[str, Any] | None
) -> ConditionalFits:
    """Return fits with a best fit that has at least no signal."""
    high = _limits(likelihood, name)[1]
    if high is not None and not no_signal < high:
        msg = f"no signal, {name} = {no_signal}, must lie below the fit limit {high}"
        raise InputError(msg)
    return ConditionalFits(likelihood, [name], start=start, limits={name: (no_signal, high)}, fit_options=fit_options)


def _limits(likelihood: Likelihood, name: str) -> tuple[float | None, float | None]:
    if name not in likelihood.names:
        msg = f"the likelihood has no parameter {name!r}.{did_you_mean(name, likelihood.names)}"
        raise UnknownNameError(msg)
    return likelihood.parameters[likelihood.names.index(name)].fit_limits or (None, None)


class _AsymptoticTest:
    """Test statistics of data and of Asimov data without a signal."""

    def __init__(
        self,
        likelihood: Likelihood,
        name: str,
        *,
        test_statistic: TestStatistic,
        no_signal: float,
        start: Any,
        fit_options: Mapping[str, Any] | None,
    ) -> None:
        if test_statistic not in {"qtilde", "q"}:
            nearest = did_you_mean(test_statistic, ("qtilde", "q"))
            msg = f"the test statistic is 'qtilde' or 'q', not {test_statistic!r}.{nearest}"
            raise InputError(msg)
        low, high = _limits(likelihood, name)
        self._bounded, self._no_signal = test_statistic == "qtilde", no_signal
        self._high = np.inf if high is None else high
        if self._bounded:
            self._data = _bounded_fits(likelihood, name, no_signal, start, fit_options)
        else:
            if low is not None and low >= no_signal:
                msg = (
                    f"q needs best fits below no signal, {name} = {no_signal}, which the fit limits forbid: use qtilde"
                )
                raise InputError(msg)
            self._data = ConditionalFits(likelihood, [name], start=start, fit_options=fit_options)
        point = {name: no_signal} | dict(self._data(no_signal).others)
        asimov = likelihood.with_data(likelihood.asimov(point))
        if self._bounded:
            self._asimov = _bounded_fits(asimov, name, no_signal, point, fit_options)
        else:
            self._asimov = ConditionalFits(asimov, [name], start=point, fit_options=fit_options)

    @property
    def best_fit(self) -> FitResult:
        return self._data.best

    def adopt_better(self) -> bool:
        """Whether a hypothesis fits the data better than the best fit did; it is then the best fit."""
        return self._data.adopt_better()

    def root_q(self, fits: ConditionalFits, mu: float) -> float:
        """Return the root of the test statistic: zero for hypotheses with less signal than the best fit."""
        return float(np.sqrt(max(fits.statistic(mu), 0.0))) if mu > fits.centre[0] else 0.0

    def root_q_asimov(self, mu: float) -> float:
        return self.root_q(self._asimov, mu)

    def cls(self, mu: float) -> tuple[float, float, float]:
        """Return CLs, p_signal and p_background (equations 59 and 66, with sigma from the Asimov data)."""
        root, asimov = self.root_q(self._data, mu), self.root_q_asimov(mu)
        signal, background = root, root - asimov
        if self._bounded and root > asimov > 0.0:
            signal, background = (root**2 + asimov**2) / (2.0 * asimov), (root**2 - asimov**2) / (2.0 * asimov)
        ratio = np.exp(norm.logsf(signal) - norm.logsf(background))
        return float(ratio), float(norm.sf(signal)), float(norm.cdf(background))

    def solve(self, excess: Callable[[float], float]) -> float:
        """Return the value of the parameter at which the excess becomes positive, infinite if it does not."""
        inside, step = self._no_signal, self._asimov.width()
        for _ in range(60):
            outside = min(inside + step, self._high)
            if excess(outside) > 0.0:
                return float(brentq(excess, inside, outside, xtol=1e-6 * step, rtol=1e-7))
            if outside >= self._high:
                return float(np.inf)
            inside, step = outside, 1.5 * step
        return float(np.inf)
