r"""Binned likelihoods as HistFactory workspaces (CERN-OPEN-2012-016), for pyhf and whatever else reads them.

HistFactory knows yields that are linear in unconstrained parameters. A `HistogramLikelihood` depends on theta as a
polynomial; `to_workspace` writes one of three dependences:

===============  =====================================================================================================
``fixed``        the yields at one theta, the signal times a strength "mu"
``linear``       the tangent there: for each parameter a sample of the slopes, times a normfactor of its name
``polynomial``   all of it, by the modifiers of `columnminer.infer.pyhf_modifiers`: exact, for pyhf with these
===============  =====================================================================================================

The first two follow the schema of HistFactory. Nuisance parameters become normsys, where they change all bins of a
sample by one factor, and histosys where not. They agree with ours at -1, 0 and 1, between and beyond HistFactory
interpolates in its own ways; in the third the factors exp(a nu + b nu^2) are exact.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.infer.histogram import HistogramLikelihood
from columnminer.infer.pyhf_modifiers import EXPONENTIAL, POLYNOMIAL, RATE
from columnminer.model.checks import choice
from columnminer.store.commit import require_free, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from columnminer.infer.likelihood import Likelihood
    from columnminer.infer.morphed import MorphedHistogram
    from columnminer.infer.variations import Variations
    from columnminer.model.parameters import Parameter

__all__ = ["Dependence", "to_workspace", "write_workspace"]

Dependence: TypeAlias = Literal["fixed", "linear", "polynomial"]
"""How yields depend on theta."""

_FAR = 10.0
"""Bounds of a parameter without any lie this far from its value."""

_SAME = 1e-9
"""Relative difference below which two factors are the same."""


@dataclass(frozen=True)
class _Sample:
    """One sample of the channel: yields (n_bins,), what multiplies them, and how nuisance parameters change them."""

    name: str
    yields: NDArray[np.float64]
    variations: Variations | None
    modifiers: tuple[dict[str, Any], ...] = ()


def to_workspace(
    likelihood: Likelihood,
    theta: Any = None,
    *,
    dependence: Dependence = "fixed",
    channel: str = "histogram",
    measurement: str = "measurement",
) -> dict[str, Any]:
    """Return a histogram likelihood as a HistFactory workspace with one channel.

    Bins are flat, under- and overflow among them. Observations are the data of the likelihood, or else the expected
    counts at `theta`.

    Parameters
    ----------
    likelihood
        A `HistogramLikelihood` with its rate. Its nuisance parameters come out constrained, as HistFactory has them;
        if the statistics of its templates count, their errors at `theta` become one staterror.
    theta
        Where yields are taken: the theory parameters as a mapping or a sequence, or the name of a benchmark; the
        nominal point by default.
    dependence
        On theta, see above. The parameter of interest is "mu", or the first theory parameter.
    channel, measurement
        What to call them.

    Raises
    ------
    InputError
        If the likelihood is no `HistogramLikelihood`, or has no rate; if data are no single histogram; if a parameter
        is called "mu" at fixed theta; if an uncertainty of templates has no yields to be relative to.
    MissingError
        If there is no morphing, for a polynomial.

    Examples
    --------
    >>> histogram = cm.HistogramLikelihood.from_store(cm.EventStore("events.zarr"), "m_ll", 3000.0, bins=8)
    >>> workspace = cm.to_workspace(histogram, {"c_ll": 0.0, "c_lr": 0.0})
    >>> sorted(workspace)
    ['channels', 'measurements', 'observations', 'version']
    """
    choice(dependence, ("fixed", "linear", "polynomial"), "dependence")
    if not isinstance(likelihood, HistogramLikelihood):
        msg = f"a HistogramLikelihood becomes a workspace, not a {type(likelihood).__name__}; constraints come with it"
        raise InputError(msg)
    if not likelihood.include_rate:
        msg = "HistFactory has no likelihood of shapes alone: make the histogram with include_rate=True"
        raise InputError(msg)
    setup = likelihood.templates.setup
    point = setup.space.nominal if theta is None else setup.theta(theta)
    at = np.concatenate([point, np.zeros(len(likelihood.names) - len(point))])
    expected = likelihood.expected(at).reshape(-1)
    observed = np.asarray(likelihood.data if likelihood.has_data else expected, dtype=np.float64)
    if observed.shape not in (likelihood.bins.shape, expected.shape):
        msg = f"one histogram of data fits a workspace, not an array of shape {observed.shape}"
        raise InputError(msg)
    if dependence == "fixed":
        samples, parameters = _fixed(likelihood, at)
    elif dependence == "linear":
        samples, parameters = _linear(likelihood, at, expected)
    else:
        samples, parameters = _polynomial(likelihood, at)
    uncertainties = _uncertainties(likelihood.templates, at, samples) if likelihood.template_statistics else None
    written = [
        {
            "name": sample.name,
            "data": sample.yields.tolist(),
            "modifiers": [
                *copy.deepcopy(sample.modifiers),  # what is changed in one sample later is not changed in another
                *_nuisances(sample, exact=dependence == "polynomial"),
                *_staterror(channel, uncertainties, first=sample is samples[0]),
            ],
        }
        for sample in samples
    ]
    return {
        "channels": [{"name": channel, "samples": written}],
        "observations": [{"name": channel, "data": observed.reshape(-1).tolist()}],
        "measurements": [{"name": measurement, "config": {"poi": parameters[0]["name"], "parameters": parameters}}],
        "version": "1.0.0",
    }


def write_workspace(path: str | Path, workspace: Mapping[str, Any], *, replace: bool = False) -> None:
    """Write a workspace as JSON, in one step.

    Raises
    ------
    OutputExistsError
        If the file is there and may not be replaced.

    Examples
    --------
    >>> histogram = cm.HistogramLikelihood.from_store(cm.EventStore("events.zarr"), "m_ll", 3000.0, bins=8)
    >>> cm.write_workspace("workspace.json", cm.to_workspace(histogram, [0.0, 0.0]))
    """
    require_free(Path(path), replace=replace)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_json(Path(path), workspace)


def _fixed(likelihood: HistogramLikelihood, at: NDArray[np.float64]) -> tuple[list[_Sample], list[dict[str, Any]]]:
    if "mu" in likelihood.names:
        msg = "a parameter is called 'mu', as the signal strength at fixed theta would be: rename it in the set-up"
        raise InputError(msg)
    signal, background = _yields(likelihood, at)
    samples = [_Sample("signal", signal, likelihood.templates.signal_variations, (_normfactor("mu"),))]
    return samples + _background(likelihood, background), [_configured("mu", 1.0, (0.0, 10.0))]


def _linear(
    likelihood: HistogramLikelihood, at: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[list[_Sample], list[dict[str, Any]]]:
    templates, rate = likelihood.templates, likelihood.rate
    space = templates.setup.space
    theta = at[: len(space)]
    sigma, slopes = templates.at(at), templates.gradient(at)[: len(space)]
    # What is expected is rate * share: its logarithm has the slopes of the three together.
    scale = np.divide(expected, sigma, out=np.zeros_like(sigma), where=sigma != 0.0)
    of_rate = rate.total.gradient(at)[: len(space), 0] / rate.total.at(at)[0]
    of_total = slopes.sum(axis=1) / sigma.sum()
    slopes = slopes * scale + (of_rate - of_total)[:, np.newaxis] * expected
    signal, background = _yields(likelihood, at)
    samples = [_Sample("signal", signal - theta @ slopes, templates.signal_variations)]
    samples += _background(likelihood, background)
    samples += [
        _Sample(f"signal_{name}", slope, templates.signal_variations, (_normfactor(name),))
        for name, slope in zip(space.names, slopes, strict=True)
    ]
    return samples, [_configured(p.name, v, _range(p, v)) for p, v in zip(space, theta.tolist(), strict=True)]


def _polynomial(likelihood: HistogramLikelihood, at: NDArray[np.float64]) -> tuple[list[_Sample], list[dict[str, Any]]]:
    templates = likelihood.templates
    space = templates.setup.space
    components, coefficients = _polynomials(likelihood, templates)
    polynomial = {
        "name": "theta",
        "type": POLYNOMIAL,
        "data": {
            "parameters": list(space.names),
            "components": components.tolist(),
            "coefficients": coefficients.tolist(),
        },
    }
    rate = _rate_modifiers(likelihood)
    background = likelihood.rate.luminosity * templates.background  # before the rate acts on it
    signal = likelihood.rate.luminosity * templates.at(at) - background
    samples = [_Sample("signal", signal, templates.signal_variations, (polynomial, *rate))]
    samples += _background(likelihood, background, rate)
    return samples, [_configured(p.name, v, _range(p, v)) for p, v in zip(space, at.tolist(), strict=False)]


def _rate_modifiers(likelihood: HistogramLikelihood) -> tuple[dict[str, Any], ...]:
    """Return the modifier that brings the sum of all bins to the rate; none, where it is the rate at any theta."""
    templates, total = likelihood.templates, likelihood.rate.total
    setup = templates.setup
    if templates.signal_variations is None:
        of_bins = np.append(templates.signal.sum(axis=1), templates.background.sum())
        of_rate = np.append(total.signal.sum(axis=1), total.background.sum())
        if np.allclose(of_bins, of_rate, rtol=_SAME, atol=_SAME * np.abs(of_rate).max()):
            return ()
    data = {
        "parameters": list(setup.parameter_names),
        "nuisances": [p.name for p in templates.parameters[len(setup.space) :]],
        "numerator": _terms(likelihood, total),
        "denominator": _terms(likelihood, templates),
    }
    return ({"name": "rate", "type": RATE, "data": data},)


def _terms(likelihood: HistogramLikelihood, histogram: MorphedHistogram) -> list[dict[str, Any]]:
    """Return signal and background as polynomials of theta times exponentials of nuisance parameters."""
    components, coefficients = _polynomials(likelihood, histogram)
    constant = [[0] * components.shape[1]]
    signal = (components.tolist(), coefficients, histogram.signal_variations)
    background = (
        constant,
        likelihood.rate.luminosity * histogram.background[np.newaxis],
        histogram.background_variations,
    )
    return [
        {
            "components": powers,
            "coefficients": values.tolist(),
            "a": [] if variations is None else variations.a.tolist(),
            "b": [] if variations is None else variations.b.tolist(),
        }
        for powers, values, variations in (signal, background)
    ]


def _polynomials(
    likelihood: HistogramLikelihood, histogram: MorphedHistogram
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return components (n_components, n_par) and the coefficients of signal events (n_components, n_bins)."""
    setup = histogram.setup
    if setup.morphing is None:
        msg = "the set-up has no morphing, so that yields are no polynomial of theta: use Setup.with_morphing"
        raise MissingError(msg)
    columns = [setup.benchmark_names.index(name) for name in setup.morphing.basis]
    coefficients = likelihood.rate.luminosity * setup.morphing.matrix @ histogram.signal[columns]
    return setup.morphing.components, np.asarray(coefficients)


def _yields(
    likelihood: HistogramLikelihood, at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the expected events of signal and background at nu = 0; their sum is that of the likelihood."""
    sigma, background = likelihood.templates.at(at), likelihood.templates.background
    scale = likelihood.rate.mean(at) / sigma.sum()
    return (sigma - background) * scale, background * scale


def _background(
    likelihood: HistogramLikelihood, yields: NDArray[np.float64], modifiers: tuple[dict[str, Any], ...] = ()
) -> list[_Sample]:
    if not yields.any():
        return []
    return [_Sample("background", yields, likelihood.templates.background_variations, modifiers)]


def _normfactor(name: str) -> dict[str, Any]:
    return {"name": name, "type": "normfactor", "data": None}


def _configured(name: str, value: float, bounds: tuple[float, float]) -> dict[str, Any]:
    return {"name": name, "inits": [value], "bounds": [list(bounds)]}


def _range(parameter: Parameter, value: float) -> tuple[float, float]:
    """Return where a fit may go: the fit limits, or else the range of interest; pyhf needs some."""
    sides = zip(parameter.fit_limits or (None, None), parameter.bounds or (None, None), (-_FAR, _FAR), strict=True)
    low, high = (next((x for x in (limit, bound) if x is not None), value + far) for limit, bound, far in sides)
    return min(low, value), max(high, value)


def _nuisances(sample: _Sample, *, exact: bool) -> list[dict[str, Any]]:
    """Return the modifiers of a sample that stand for nuisance parameters."""
    if sample.variations is None:
        return []
    modifiers: list[dict[str, Any]] = []
    filled = sample.yields != 0.0
    for parameter, a, b in zip(sample.variations.parameters, sample.variations.a, sample.variations.b, strict=True):
        if exact:
            data: dict[str, Any] = {"a": a.tolist(), "b": b.tolist()}
            modifiers.append({"name": parameter.name, "type": EXPONENTIAL, "data": data})
            continue
        up, down = np.exp(a + b), np.exp(b - a)
        if not filled.any() or (np.ptp(up[filled]) < _SAME and np.ptp(down[filled]) < _SAME):
            hi, lo = (up[filled][0], down[filled][0]) if filled.any() else (1.0, 1.0)
            modifiers.append({"name": parameter.name, "type": "normsys", "data": {"hi": float(hi), "lo": float(lo)}})
        else:
            data = {"hi_data": (up * sample.yields).tolist(), "lo_data": (down * sample.yields).tolist()}
            modifiers.append({"name": parameter.name, "type": "histosys", "data": data})
    return modifiers


def _uncertainties(templates: MorphedHistogram, at: NDArray[np.float64], samples: list[_Sample]) -> NDArray[np.float64]:
    """Return the statistical errors of the bins, relative to the sum of nominal yields as pyhf takes them."""
    sigma, error = templates.at(at), np.sqrt(templates.variance(at))
    relative = np.divide(error, sigma, out=np.zeros_like(sigma), where=sigma > 0.0)
    nominal = np.sum([sample.yields for sample in samples], axis=0)  # slopes are among them
    lost = np.flatnonzero((relative > 0.0) & (nominal <= 0.0))
    if len(lost):
        msg = (
            f"bins {lost.tolist()}: yields and slopes add up to nothing that an error could be relative to. Leave the "
            "template statistics out, or choose another theta"
        )
        raise InputError(msg)
    return np.asarray(relative * nominal)


def _staterror(channel: str, uncertainties: NDArray[np.float64] | None, *, first: bool) -> list[dict[str, Any]]:
    """Return the template statistics of the channel; pyhf adds errors in quadrature, so one sample has them all."""
    if uncertainties is None:
        return []
    data = uncertainties if first else np.zeros_like(uncertainties)
    return [{"name": f"staterror_{channel}", "type": "staterror", "data": data.tolist()}]
