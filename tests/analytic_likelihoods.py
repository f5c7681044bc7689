"""Likelihoods whose fits and intervals are known in closed form, or which are a function of the parameters."""

from __future__ import annotations

import numpy as np

from columnminer.errors import MissingError
from columnminer.infer.derivatives import Derivatives
from columnminer.infer.likelihood import Likelihood
from columnminer.infer.terms import LogTerms, poisson_log
from columnminer.model.parameters import Parameter


class Gaussian(Likelihood):
    """Measurements of all parameters, with a covariance."""

    def __init__(self, parameters, covariance):
        super().__init__(parameters)
        self.covariance = np.asarray(covariance, dtype=float)
        self.inverse = np.linalg.inv(self.covariance)

    def as_data(self, data):
        return np.asarray(data, dtype=float)

    def terms(self, points, data):
        pull = data - points
        log = -0.5 * np.einsum("...i,ij,...j->...", pull, self.inverse, pull)
        return LogTerms(log, np.zeros_like(log))

    def expected(self, params=None, **by_name):
        return self.points(params, by_name)

    def asimov(self, params=None, **by_name):
        return self.point(params, by_name)

    def simulate(self, seed, params=None, **by_name):
        return np.random.default_rng(seed).multivariate_normal(self.point(params, by_name), self.covariance)


class OnOff(Likelihood):
    """Counts of mean mu s_k + gamma_k b_k, and of mean gamma_k tau_k beside them: a background known to db_k."""

    def __init__(self, s, b, db, *, fit_limits=(None, None)):
        self.s, self.b = np.asarray(s, dtype=float), np.asarray(b, dtype=float)
        self.tau = (self.b / np.asarray(db)) ** 2
        gammas = [Parameter(f"gamma{k}", 1.0, fit_limits=(1e-10, 10.0), kind="nuisance") for k in range(len(self.s))]
        super().__init__([Parameter("mu", 1.0, fit_limits=fit_limits), *gammas])

    def as_data(self, data):
        return np.asarray(data, dtype=float)

    def terms(self, points, data):
        log = poisson_log(data, self.expected(points)).sum(axis=-1)
        return LogTerms(np.zeros_like(log), log)

    def term_gradients(self, points, data):
        slack = data / self.expected(points) - 1.0
        on, off = slack[..., : len(self.s)], slack[..., len(self.s) :]
        return np.concatenate([(on @ self.s)[..., None], on * self.b + off * self.tau], axis=-1)

    def expected(self, params=None, **by_name):
        points = self.points(params, by_name)
        return np.concatenate([points[..., :1] * self.s + points[..., 1:] * self.b, points[..., 1:] * self.tau], -1)

    def asimov(self, params=None, **by_name):
        return self.expected(self.point(params, by_name))

    def simulate(self, seed, params=None, **by_name):
        return np.random.default_rng(seed).poisson(self.asimov(params, **by_name)).astype(float)


class Curve(Likelihood):
    """A log likelihood that is some function of points (..., n_par), of no data in particular."""

    def __init__(self, parameters, log, *, gradient=None):
        super().__init__(parameters)
        self.log, self.slope = log, gradient
        self._data = 0.0

    def as_data(self, data):
        return data

    def terms(self, points, data):
        log = np.asarray(self.log(points))
        return LogTerms(log, np.zeros_like(log))

    def term_gradients(self, points, data):
        if self.slope is None:
            msg = "no gradient"
            raise MissingError(msg)
        return np.asarray(self.slope(points))

    def expected(self, params=None, **by_name):
        return np.zeros(self.points(params, by_name).shape[:-1])

    def asimov(self, params=None, **by_name):
        return 0.0

    def simulate(self, seed, params=None, **by_name):
        return 0.0


class Anchored(Likelihood):
    """Counts in bins of a signal on a background whose shape is interpolated between anchors, so that log L has kinks.

    Expectations are ``rate * signal + interpolated(shape)``; with analytic derivatives unless told otherwise.
    """

    def __init__(self, signal, backgrounds, anchors, *, fit_limits=None, analytic=True, constraint=1.0):
        self.signal, self.backgrounds = np.asarray(signal, dtype=float), np.asarray(backgrounds, dtype=float)
        self.anchors, self.analytic = np.asarray(anchors, dtype=float), analytic
        ends = fit_limits or (self.anchors[0], self.anchors[-1])
        shape = Parameter("shape", 0.0, fit_limits=ends, constraint=constraint)
        super().__init__([Parameter("rate", 1.0, fit_limits=(0.0, None)), shape])

    @property
    def kinks(self):
        return {"shape": self.anchors}

    def as_data(self, data):
        return np.asarray(data, dtype=float)

    def pieces(self, points):
        """Background and its derivative in the cell above each shape; the last anchor belongs to the cell below."""
        shape = points[..., 1]
        cell = np.clip(np.searchsorted(self.anchors, shape, side="right") - 1, 0, len(self.anchors) - 2)
        width = self.anchors[cell + 1] - self.anchors[cell]
        slope = (self.backgrounds[cell + 1] - self.backgrounds[cell]) / width[..., None]
        return self.backgrounds[cell] + slope * (shape - self.anchors[cell])[..., None], slope

    def expected(self, params=None, **by_name):
        points = self.points(params, by_name)
        return points[..., :1] * self.signal + self.pieces(points)[0]

    def terms(self, points, data):
        log = poisson_log(data, self.expected(points)).sum(axis=-1)
        inside = (points[..., 1] >= self.anchors[0]) & (points[..., 1] <= self.anchors[-1])
        log = np.where(inside, log, -np.inf)
        return LogTerms(np.zeros_like(log), log)

    def term_gradients(self, points, data):
        if not self.analytic:
            raise MissingError
        slack = data / self.expected(points) - 1.0
        return np.stack([(slack * self.signal).sum(-1), (slack * self.pieces(points)[1]).sum(-1)], axis=-1)

    def derivatives(self, points, data):
        if not self.analytic:
            return super().derivatives(points, data)
        slope = np.stack(np.broadcast_arrays(self.signal, self.pieces(points)[1]), axis=-2)
        hessian = -np.einsum("...b,...ib,...jb->...ij", data / self.expected(points) ** 2, slope, slope)
        return Derivatives(self.terms(points, data).total, self.term_gradients(points, data), hessian)

    def asimov(self, params=None, **by_name):
        return self.expected(self.point(params, by_name))

    def simulate(self, seed, params=None, **by_name):
        return np.random.default_rng(seed).poisson(self.asimov(params, **by_name)).astype(float)


def kinked(**options):
    """A peak on a falling background whose slope bends differently from anchor to anchor; the shape is constrained."""
    x = np.linspace(0.0, 1.0, 12)
    backgrounds = [40 * np.exp(-x * t) * f for t, f in ((0.2, 1.1), (0.5, 0.9), (1.0, 1.0), (1.4, 1.1), (2.2, 0.95))]
    signal = 30.0 * np.exp(-0.5 * ((x - 0.5) / 0.1) ** 2)
    return Anchored(signal, backgrounds, [-2.0, -1.0, 0.0, 1.0, 2.0], **options).constrained()
