"""Small results to draw, the same on every machine, such as an analysis of Drell-Yan or a search would give."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import chi2, norm
from toy_points import gaussian_toys

from columnminer.infer.bins import Axis
from columnminer.infer.geometry import distance_contours, geodesics
from columnminer.infer.grid import Grid
from columnminer.infer.impacts import Impacts
from columnminer.infer.intervals import Interval
from columnminer.infer.metric import Metric
from columnminer.infer.minuit import FitResult
from columnminer.infer.profiles import Profile
from columnminer.infer.scan import Limits
from columnminer.infer.slices import InformationSlices
from columnminer.learn.averages import Draws
from columnminer.learn.calibration import Curve
from columnminer.learn.closure import TwoSamples, area_under_curve
from columnminer.learn.history import History
from columnminer.learn.information import Information
from columnminer.learn.verdicts import Finding, judge_mean, judge_worst_bin

NAMES = ("c_ll", "c_lr")
LABELS = ["$c_{ll}$ [TeV$^{-2}$]", "$c_{lr}$ [TeV$^{-2}$]"]
STRONG = np.array([[9000.0, 3500.0], [3500.0, 4000.0]])
WEAK = np.array([[5000.0, 2200.0], [2200.0, 1800.0]])
RATE = 1000.0 * np.array([[4.0, 2.0], [2.0, 1.0]])


def limits(information, best_fit, *, bend=0.0, reach=0.06, n=41):
    """Limits of a likelihood that is Gaussian up to a bend, about as many parameters as the information."""
    centre = np.asarray(best_fit, dtype=float)
    matrix = np.atleast_2d(information)
    grid = Grid([(-reach, reach, n)] * len(centre), NAMES[: len(centre)])
    away = grid.points - centre + bend * (grid.points - centre) ** 2
    log = -0.5 * np.einsum("ni,ij,nj->n", away, matrix, away)
    best = int(np.argmax(log))
    log = log - log[best]
    return Limits(
        NAMES[: len(centre)],
        grid.points,
        log,
        log,
        0.0 * log,
        chi2.sf(-2.0 * log, len(centre)),
        len(centre),
        best,
        {},
        grid,
        None,
        None,
    )


def best_fit(names, values, covariance):
    values = np.asarray(values, dtype=float)
    at_limit = np.zeros(len(values), dtype=bool)
    return FitResult(tuple(names), values, np.asarray(covariance), -10.0, True, {}, 50, 1e-6, 0, at_limit)


def profile(best, error, *, skew=0.0, name="mu"):
    """t of a parameter with an error that is larger above the best fit than below."""
    values = np.linspace(-1.0, 4.0, 61)
    t = ((values - best) / (error * (1.0 + skew * np.tanh(values - best)))) ** 2
    fit = best_fit([name, "nu"], [best, 0.1], np.diag([error, 1.0]) ** 2)
    return Profile((name,), values[:, None], -10.0 - 0.5 * t, t, {"nu": 0.0 * t}, np.ones(61, bool), fit)


def profile_2d(matrix, best):
    found = limits(matrix, best)
    fit = best_fit(NAMES, best, np.linalg.inv(matrix))
    t = -2.0 * found.log_ratio
    return Profile(NAMES, found.theta, -10.0 + found.log_ratio, t, {}, np.isfinite(t), fit, found.grid)


def interval(best, lower, upper, level=0.9, kind="central"):
    name = "mu"
    fit = best_fit([name], [best], [[1.0]])
    ends = ["open" if np.isinf(end) else "crossing" for end in (lower, upper)]
    return Interval(name, lower, upper, *ends, level, kind, fit, True)


NUISANCES = ("luminosity", "scale", "pdf", "jet_energy", "background", "tag")


def impacts():
    """A parameter of interest with six nuisance parameters, of which one has no constraint."""
    up = np.array([0.21, -0.15, 0.11, -0.08, 0.04, 0.01])
    fit = best_fit(("mu", *NUISANCES), [1.2, 0.4, -0.8, 0.1, 0.0, 1.3, 0.2], correlated(up))
    return Impacts(
        name="mu",
        nuisances=NUISANCES,
        nominal=np.array([0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        width=np.array([1.0, 1.0, 1.0, 1.0, np.nan, 1.0]),
        values=fit.values[1:],
        errors=np.array([0.98, 0.55, 0.9, 0.8, 0.07, 1.0]),
        up=up,
        down=np.array([-0.18, 0.17, -0.11, 0.07, -0.05, 0.02]),
        best_fit=fit,
        valid=True,
    )


def correlated(up):
    """A covariance with these correlations to the first parameter, and one at a limit."""
    matrix = np.eye(len(up) + 1)
    matrix[0, 1:] = matrix[1:, 0] = 3.0 * up
    matrix[2, 3] = matrix[3, 2] = -0.35
    matrix[-1, :] = matrix[:, -1] = np.nan
    return matrix


def information(matrix, error=0.0, names=NAMES):
    """Information whose entries have independent relative errors."""
    matrix = np.asarray(matrix, dtype=float)
    n = len(matrix)
    covariance = np.zeros((n,) * 4)
    for i in range(n):
        for j in range(n):
            covariance[i, j, i, j] = covariance[i, j, j, i] = (error * matrix[i, j]) ** 2
    return Information(matrix, covariance, names)


def slices():
    """Information over a falling mass spectrum, rising with the mass, with an overflow."""
    edges = np.array([500.0, 600.0, 700.0, 850.0, 1000.0, 1200.0, 1500.0, 2000.0])
    cross_section = np.array([0.0, 40.0, 22.0, 17.0, 8.0, 5.0, 3.0, 1.5, 0.5])
    mass = np.array([0.0, 0.55, 0.65, 0.77, 0.92, 1.1, 1.33, 1.7, 2.3])
    size = (cross_section * mass**4)[:, None, None]
    rate = size * np.array([[4.0, 1.6], [1.6, 1.0]])
    full = rate + size / (0.5 + mass[:, None, None]) * np.array([[2.0, -0.5], [-0.5, 4.0]])
    covariance = np.einsum("kij,klm->kijlm", full, full) * (0.05 * mass**2)[:, None, None, None, None] ** 2
    return InformationSlices((Axis("m_ll", edges),), cross_section, rate, full, covariance, covariance, NAMES)


def metric():
    """A metric that grows away from the origin, as where squared terms count."""

    def at(theta):
        grown = 1.0 + 15.0 * np.sum(theta**2, axis=1) / 0.06**2 * 0.06
        return grown[:, None, None] * STRONG

    return Metric.from_function(at, NAMES)


def rays():
    return geodesics(metric(), [0.0, 0.0], n_rays=16, length=3.0)


def distances():
    return distance_contours(metric(), [0.0, 0.0], Grid([(-0.05, 0.05, 21), (-0.05, 0.05, 21)]), n_rays=24)


def history(final, *, epochs=20, best=None, wiggle=0.01, phase=0.0):
    """Losses that fall towards a final value; those of validation rise again after the best epoch."""
    t = np.arange(epochs)
    best = epochs - 1 if best is None else best
    train = final + 0.3 * np.exp(-t / 4.0) + 0.2 * wiggle * np.sin(5.0 * t + phase)
    validation = train + 0.01 + wiggle * np.cos(3.0 * t + phase) + 0.001 * np.maximum(t - best, 0) ** 2
    terms = [{"cross entropy": 0.8 * part, "score": 0.2 * part} for part in (train, validation)]
    return History(train, validation, *terms, 0.001 * 0.9**t, int(np.argmin(validation)), 12.0)


def checks(shift=0.0):
    """A mean and a profile; a shift makes both fail."""
    x = np.linspace(-0.07, 0.07, 8)
    error = 0.02 + 0.2 * np.abs(x)
    found = 1.0 + shift * (1.0 + 10.0 * x) + error * np.sin(9.0 * np.arange(8.0))
    by = Finding(x, np.ones(8), found, error, "c_ll", "mean ratio")
    return (
        judge_mean("mean ratio", shift + 0.004, 0.006, by),
        judge_worst_bin("mean ratio by c_ll", by),
        judge_worst_bin("calibration", reliability(1.0 + shift)),
    )


def reliability(slope=1.0):
    """How often events are of the denominator where s(x) says so, with log odds too steep or not."""
    s = np.linspace(0.05, 0.95, 19)
    found = 1.0 / (1.0 + (1.0 / s - 1.0) ** slope)
    labels = ("s(x) = 1 / (1 + r(x))", "fraction of the denominator")
    return Finding(s, s, found + 0.01 * np.sin(17.0 * s), 0.015 + 0.0 * s, *labels)


def curve():
    """A calibration that flattens an overconfident estimate."""
    x = np.linspace(-2.5, 2.0, 40)
    return Curve(x, 0.7 * x + 0.15 + 0.05 * np.sin(4.0 * x))


def two_samples(tilt=0.0, n=4000):
    """Outputs of a classifier on two samples with a small difference, or none."""
    rng = np.random.default_rng(5)
    is_first = np.arange(n) % 2 == 0
    output = rng.normal(0.0, 0.3, n) + np.where(is_first, tilt, 0.0)
    draws = Draws(rng.uniform(0.5, 1.5, n), np.arange(n))
    return TwoSamples(*area_under_curve(output, is_first, draws), output, is_first, draws)


def pairs(n=20_000):
    """Exact log ratios, and estimates of them that are noisier in the tails."""
    exact = norm.ppf((np.arange(n) + 0.5) / n)
    noise = np.random.default_rng(1).normal(size=n)
    return exact, exact + 0.08 * noise * (1.0 + exact**2)


def toys_of_two(n=2000):
    """Toys with a rate and a background that share the events between them."""
    point = gaussian_toys(3.0, n, 7)
    mu = point.values("mu")
    other = 1.0 - 0.05 * (mu - 3.0) + np.random.default_rng(8).normal(0.0, 0.08, n)
    free = dataclasses.replace(point["free"], values=np.stack([mu, other], axis=1))
    return dataclasses.replace(
        point, parameter_names=("mu", "background"), fits={"free": free}, generate={"mu": 3.0, "background": 1.0}
    )


def toys(values=(0.0, 1.0, 2.0, 3.0), n=400, **options):
    return [gaussian_toys(mu, n, (1, i), **options) for i, mu in enumerate(values)]
