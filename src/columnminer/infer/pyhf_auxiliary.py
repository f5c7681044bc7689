"""The auxiliary measurements of a HistFactory model, which constrain its nuisance parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.infer.terms import poisson_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.parameters import Parameter

__all__ = ["AuxiliaryMeasurements"]


class AuxiliaryMeasurements:
    r"""Gaussian measurements :math:`a \sim N(\chi, \sigma)`, and Poisson ones :math:`a \sim \mathrm{Pois}(\tau\chi)`.

    Points hold all parameters of the model, (..., n_parameters), and auxiliary data are (..., n_measurements), both in
    the order of pyhf.

    Parameters
    ----------
    config
        Configuration of a `pyhf.Model`.
    """

    def __init__(self, config: Any) -> None:
        self.nominal = np.array(config.auxdata, dtype=np.float64)
        columns: list[int] = []
        poisson: list[bool] = []
        sizes: list[float] = []
        for name in config.auxdata_order:
            parset, where = config.param_set(name), config.par_slice(name)
            n = where.stop - where.start
            columns += range(where.start, where.stop)
            poisson += [parset.pdf_type == "poisson"] * n
            sizes += list(parset.factors if parset.pdf_type == "poisson" else parset.width())
        self._columns = np.array(columns, dtype=np.intp)
        self._poisson = np.array(poisson, dtype=bool)
        self._sizes = np.array(sizes, dtype=np.float64)  # tau, or sigma
        self._used = np.ones(len(columns), dtype=bool)

    @property
    def used_columns(self) -> frozenset[int]:
        """The parameters that are measured, but for those left out."""
        return frozenset(self._columns[self._used].tolist())

    def allows(self, data: NDArray[np.float64]) -> bool:
        """Return whether auxiliary data are possible: finite, and where they are counts not negative."""
        return bool(np.isfinite(data).all() and (data[..., self._poisson] >= 0.0).all())

    def leave_out(self, column: int, parameter: Parameter) -> None:
        """Leave out the measurement of one parameter, which is constrained elsewhere, in the same way.

        Raises
        ------
        InputError
            If it is not the same.
        """
        which = np.flatnonzero(self._columns == column)
        if len(which) == 0:
            return
        i = which[0]
        here = None if self._poisson[i] else (self.nominal[i], self._sizes[i])
        if here is None or not np.allclose(here, (parameter.nominal, parameter.width or 0.0), rtol=1e-9, atol=1e-9):
            law = "a Poisson law" if here is None else f"a Gaussian of width {here[1]:g} around {here[0]:g}"
            msg = (
                f"parameter {parameter.name!r} has a constraint of {parameter.constraint} around "
                f"{parameter.nominal:g}, but the workspace has {law}. Make them agree, or rename one"
            )
            raise InputError(msg)
        self._used[i] = False

    def expected(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected auxiliary data."""
        return np.asarray(points[..., self._columns] * np.where(self._poisson, self._sizes, 1.0))

    def log(self, points: NDArray[np.float64], data: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of the log probabilities, [...]."""
        expected = self.expected(points)
        pulls = (data - expected) / self._sizes
        gaussian = -0.5 * pulls**2 - np.log(np.sqrt(2.0 * np.pi) * self._sizes)
        logs = np.where(self._poisson, poisson_log(np.where(self._poisson, data, 0.0), expected), gaussian)
        return np.asarray(np.where(self._used, logs, 0.0).sum(axis=-1))

    def gradient(self, points: NDArray[np.float64], data: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient of `log` in all parameters of the model, [..., n_parameters]."""
        values = points[..., self._columns]
        at_zero = np.where(values == 0.0, 1.0, values)  # Gaussian parameters alone can be zero
        slopes = np.where(self._poisson, data / at_zero - self._sizes, (data - values) / self._sizes**2)
        total = np.zeros(np.broadcast_shapes(points.shape, (*slopes.shape[:-1], points.shape[-1])))
        total[..., self._columns] = np.where(self._used, slopes, 0.0)  # each parameter is measured at most once
        return total

    def draw(self, point: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return auxiliary data of one pseudo-experiment."""
        expected = self.expected(point)
        counts = rng.poisson(np.where(self._poisson, expected, 0.0))
        return np.where(self._poisson, counts, rng.normal(expected, np.where(self._poisson, 1.0, self._sizes)))
