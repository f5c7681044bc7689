"""Likelihoods whose fits and intervals are known in closed form, or which are a function of the parameters."""

from __future__ import annotations

import numpy as np

from columnminer.errors import MissingError
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
