"""Toys of models whose test statistic is known exactly, made in numpy alone: a bounded Gaussian, and a count.

A measurement x of standard deviation 1 of mu >= 0 has t = (x - mu)^2, or mu^2 - 2 mu x where x is negative. Its law is
that of arXiv:1007.1727, section 3.4. A count over a known background has what arXiv:physics/9711021 calls -2 log R.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import xlogy
from scipy.stats import norm

from columnminer.toys.results import FitTable, PointResult


def toys(mu, best, log, *, valid=None, interval=None, generate=(), parameter="mu", **options):
    """A point of toys with these best fits (n,), and the log likelihood as a function of mu (n,)."""
    best = np.asarray(best, dtype=float)
    n = len(best)
    valid = np.ones(n, bool) if valid is None else valid

    def table(held, interval=None):
        values = best if held is None else np.full(n, float(held))
        held = {} if held is None else {parameter: held}
        return FitTable(held, values[:, np.newaxis], log(values), valid, np.zeros(n, bool), interval)

    return PointResult(
        generate={parameter: float(mu), **dict(generate)},
        nominal=options.pop("nominal", {}),
        poi=parameter,
        parameter_names=(parameter,),
        fits={"free": table(None, interval), "true": table(mu), "zero": table(0.0)},
        **options,
    )


def gaussian_toys(mu, n, seed, *, sigma=1.0, lowest=0.0, **options):
    """Measurements of mu, which is not below `lowest`."""
    x = np.random.default_rng(seed).normal(mu, sigma, n)
    return toys(mu, np.maximum(x, lowest), lambda m: -0.5 * ((x - m) / sigma) ** 2, **options)


def counting_toys(mu, background, n, seed, **options):
    """Counts over a known background."""
    counts = np.random.default_rng(seed).poisson(mu + background, n)
    best = np.maximum(counts - background, 0.0)
    return toys(mu, best, lambda m: xlogy(counts, m + background) - (m + background), **options)


def exact_threshold(mu, level, *, sigma=1.0):
    """The quantile of t of a bounded Gaussian: equation 43 of arXiv:1007.1727."""
    m = mu / sigma

    def excess(t):
        root = np.sqrt(t)
        below = 2.0 * norm.cdf(root) - 1.0
        beyond = norm.cdf(root) + norm.cdf((t + m**2) / (2.0 * m)) - 1.0 if m > 0.0 else norm.cdf(root)
        return (below if t <= m**2 else beyond) - level

    return brentq(excess, 0.0, 100.0)


def gaussian_intervals(x, threshold, grid):
    """Intervals (n, 2) of measurements x (n,): where t is not above the threshold, on a grid."""
    x = np.asarray(x)[:, np.newaxis]
    t = (x - grid) ** 2 - np.minimum(x, 0.0) ** 2
    allowed = t <= threshold(grid) + 1e-12
    first, last = allowed.argmax(axis=1), len(grid) - 1 - allowed[:, ::-1].argmax(axis=1)
    ends = np.stack([grid[first], grid[last]], axis=1)
    return np.where(allowed.any(axis=1)[:, np.newaxis], ends, np.nan)
