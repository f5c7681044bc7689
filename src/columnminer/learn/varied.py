r"""Ratios in (theta, nu), where nu changes what is seen of events and not their weights.

At fixed x such a nuisance parameter has no joint score. What there is are the same events in other selections, at
nu = +1 and -1 (`EventStore.varied`): classifiers learn from them

.. math:: r_\pm(x) = p(x|\theta_\mathrm{ref}, \nu = \pm 1) / p(x|\theta_\mathrm{ref}),

and with the coefficients a and b that weights have, too (`model.response`) :math:`a = \log(r_+ / r_-) / 2` and
:math:`b = \log(r_+ r_-) / 2`, or :math:`a = \log r_+` and b = 0 where there is but one side,

.. math:: \log\frac{p(x|\theta,\nu)}{p(x|\theta_\mathrm{ref})} = \log r(x|\theta) + \sum_i [a_i(x) \nu_i + b_i(x)
   \nu_i^2] - \log\frac{\mathrm{E}_\mathrm{ref}[r(x'|\theta) \exp \sum_i (a_i(x') \nu_i + b_i(x') \nu_i^2)]}
   {\mathrm{E}_\mathrm{ref}[r(x'|\theta)]}.

The relative change at given x is taken for the same at other theta. The last term normalises the density at every
(theta, nu): means over stored events of the reference point, reweighted to theta by the estimate itself, so that the
errors of the estimate do not grow with nu. At nu = 0 everything is as it was. Offsets in :math:`\log r_\pm` drop out:
how nu changes the number of events is known from the cross sections of the selections, and is the matter of the rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import logsumexp

from columnminer.errors import FileFormatError, InputError, MissingError, OutputExistsError
from columnminer.learn.calibration import ESTIMATOR
from columnminer.learn.denominators import FixedDenominator, at_nominal, ratio_to
from columnminer.learn.estimator import require_other_events
from columnminer.learn.files import read_estimator, write_estimator
from columnminer.learn.pairing import on_grid
from columnminer.learn.wrapped import RatioFrom
from columnminer.model.response import nuisance_coefficients
from columnminer.store.commit import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.ensembles import Ensemble
    from columnminer.learn.pairing import Pairing
    from columnminer.learn.ratios import RatioEstimator
    from columnminer.learn.verdicts import Check
    from columnminer.store.eventstore import EventStore

__all__ = ["LearnedVariation", "VariedRatio", "is_varied", "load_varied"]

VARIATIONS = "variations"
"""Folder beside that of the estimator: what was learned of the variations."""

_PAIRS = 2**22
"""Pairs of (nu, reference event) evaluated at a time."""


@dataclass(frozen=True)
class LearnedVariation:
    """What was learned of one nuisance parameter.

    Attributes
    ----------
    name : str
        The nuisance parameter.
    estimator : RatioEstimator or Ensemble
        log p(x | nu) / p(x | 0), of which nu = +1 and -1 mean something.
    two_sided : bool
        Whether nu = -1 does.
    """

    name: str
    estimator: RatioEstimator | Ensemble
    two_sided: bool

    def coefficients(
        self, x: ArrayLike, names: Sequence[str] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a and b of each event, (n,) each."""
        sides = np.array([[1.0], [-1.0]])[: 1 + self.two_sided]
        r = np.exp(self.estimator.log_ratio(x, sides, pairing="grid", names=names))
        return nuisance_coefficients(r[0], r[1] if self.two_sided else None, 1.0)


class VariedRatio(RatioFrom):
    """A ratio estimator that knows selection variations as well, as further parameters behind its own.

    Parameters
    ----------
    estimator
        Of the ratio to one reference point, in theta or in theta and nuisance parameters that change weights: a
        `RatioEstimator` of any kind, an ensemble, a calibrated one, or anything with its `log_ratio` and `score`.
    variations
        What was learned of each nuisance parameter.
    events
        (n, n_features) events of the reference point, with the columns `feature_names`.
    weights
        (n,) of these.
    reference
        (n_par,) the reference point of the estimator.
    """

    def __init__(
        self,
        estimator: Any,
        variations: Sequence[LearnedVariation],
        events: NDArray[np.floating],
        weights: NDArray[np.float64],
        reference: NDArray[np.float64],
    ) -> None:
        super().__init__(estimator)
        self.variations = tuple(variations)
        self.events = np.asarray(events, dtype=np.float32)
        self.weights = np.asarray(weights, dtype=np.float64)
        self.reference = np.append(reference, np.zeros(len(self.variations)))
        self._at_events = self._coefficients(self.events, None)
        self._norms: dict[bytes, Any] = {}
        self._norm_gradients: dict[bytes, Any] = {}

    def __repr__(self) -> str:
        return f"VariedRatio({self.estimator!r} with {', '.join(self.variation_names)})"

    @property
    def variation_names(self) -> tuple[str, ...]:
        """Names of the nuisance parameters that were added."""
        return tuple(v.name for v in self.variations)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters: those of the estimator, then those that were added."""
        return (*super().parameter_names, *self.variation_names)

    @property
    def nuisance_names(self) -> tuple[str, ...]:
        """Which of the parameters are nuisances."""
        return (*super().nuisance_names, *self.variation_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the observables that the estimator or a variation takes."""
        every = [self.estimator, *(v.estimator for v in self.variations)]
        return tuple(dict.fromkeys(name for one in every for name in getattr(one, "feature_names", ())))

    @property
    def store_hash(self) -> str:
        """Content hash of the event store that all was learned from."""
        return self.variations[0].estimator.store_hash

    @property
    def partition(self) -> str:
        """Partition of that store."""
        return self.variations[0].estimator.partition

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the checks of the estimator found, at nu = 0; an exact ratio has none."""
        found: tuple[Check, ...] = self.estimator.checks
        return found

    def check_store(self, store: EventStore, partition: str | slice, *, other_store: bool = False) -> None:
        """Refuse events on which it has nothing to say; see `Estimator.check_store`."""
        if hasattr(self.estimator, "check_store"):
            super().check_store(store, partition, other_store=other_store)
        require_other_events(self, store, partition, other_store=other_store)

    # What it says ------------------------------------------------------------------------------------------------

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return log p(x | theta, nu) / p(x | reference); see `RatioEstimator.log_ratio`.

        Points are those of all parameters, or of theta alone: then all nuisance parameters are 0.
        """
        own, nus = self._split(theta)
        log_r = np.asarray(self.estimator.log_ratio(x, own, pairing=pairing, names=names), dtype=np.float64)
        if not nus.any():
            return log_r
        a, b = self._coefficients(x, names)
        norms = self._log_norms(own, nus)
        if on_grid(pairing):
            return np.asarray(log_r + nus @ a + nus**2 @ b - norms[:, np.newaxis])
        return np.asarray(log_r + (nus.T * a + nus.T**2 * b).sum(axis=0) - norms)

    def score(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Pairing = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the gradient of the log ratio by theta and nu; see `RatioEstimator.score`.

        Raises
        ------
        MissingError
            If the estimator has no score.
        """
        own, nus = self._split(theta)
        t = np.asarray(self._score(x, own, pairing=pairing, names=names), dtype=np.float64)
        a, b = self._coefficients(x, names)
        means = self._norm_slopes(own, nus)
        if on_grid(pairing):
            nus, means = nus[:, np.newaxis], means[:, np.newaxis]
        along = np.broadcast_to(a.T + 2.0 * b.T * nus, (*t.shape[:-1], len(a)))
        return np.concatenate([t, along], axis=-1) - means

    def response(
        self, x: ArrayLike, nu: Mapping[str, float], *, names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return exp(a nu + b nu^2), by which the variations change the density of events at given x, (n,).

        It is not normalised. Parameters that are not named are 0.

        Raises
        ------
        MissingError
            If a parameter is not one of the variations.
        """
        unknown = [name for name in nu if name not in self.variation_names]
        if unknown:
            msg = f"what {unknown[0]!r} does to events was not learned, but only {', '.join(self.variation_names)}"
            raise MissingError(msg)
        values = np.array([nu.get(name, 0.0) for name in self.variation_names])
        a, b = self._coefficients(x, names)
        return np.asarray(np.exp(values @ a + values**2 @ b))

    def _score(self, x: ArrayLike, points: NDArray[np.float64], **options: Any) -> NDArray[np.float64]:
        if not hasattr(self.estimator, "score"):
            msg = f"a {type(self.estimator).__name__} has no score, so that it has none with variations"
            raise MissingError(msg)
        return np.asarray(self.estimator.score(x, points, **options), dtype=np.float64)

    def _split(self, theta: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the points (n, n_par) of the estimator, and nu (n, n_nu)."""
        points = at_nominal(np.atleast_2d(np.asarray(theta, dtype=np.float64)), self)
        n = len(self.variations)
        if points.shape[1] != len(self.parameter_names):
            msg = f"points need values for {', '.join(self.parameter_names)}, or for all but the nuisance parameters "
            raise InputError(msg + f"among these, not the shape {np.shape(theta)}")
        points = points + 0.0  # points are known by their bytes, and -0 has others than 0
        return points[:, :-n], points[:, -n:]

    def _coefficients(
        self, x: ArrayLike, names: Sequence[str] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a and b of events, (n_nu, n) each."""
        pairs = [v.coefficients(x, self.feature_names if names is None else names) for v in self.variations]
        return np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])

    # Its normalisation -------------------------------------------------------------------------------------------

    def _log_norms(self, own: NDArray[np.float64], nus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log E[r f] / E[r] at points, (n,)."""
        a, b = self._at_events

        def find(point: NDArray[np.float64], some: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(logsumexp(some @ a + some**2 @ b, b=self._shares(point), axis=1))

        return _remembered(self._norms, own, nus, find, len(self.events))

    def _norm_slopes(self, own: NDArray[np.float64], nus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradients of the same by theta and nu, (n, n_par)."""
        a, b = self._at_events

        def find(point: NDArray[np.float64], some: NDArray[np.float64]) -> NDArray[np.float64]:
            at_theta = self._shares(point)
            at_nu = at_theta * np.exp(some @ a + some**2 @ b)
            at_nu /= at_nu.sum(axis=1, keepdims=True)
            along_nu = at_nu @ a.T + 2.0 * some * (at_nu @ b.T)
            t = self._score(self.events, point, names=self.feature_names)
            return np.concatenate([(at_nu - at_theta) @ t, along_nu], axis=1)

        return _remembered(self._norm_gradients, own, nus, find, len(self.events))

    def _shares(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shares of the reference events in the total, reweighted to a point of the estimator, (n,)."""
        log_r = self.estimator.log_ratio(self.events, point[np.newaxis], pairing="grid", names=self.feature_names)[0]
        weights = self.weights * np.exp(log_r - np.max(log_r))
        return np.asarray(weights / weights.sum())

    # At rest -----------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write a folder with the estimator's own folder and those of the variations; `load_estimator` reads it.

        Raises
        ------
        OutputExistsError
            If the folder is there, and is not to be replaced or holds something else.
        MissingError
            If the estimator cannot be saved.
        """
        folder = Path(folder)
        inner = self.estimator.estimator if isinstance(self.estimator, FixedDenominator) else self.estimator
        if not hasattr(inner, "save"):
            msg = f"a {type(inner).__name__} cannot be saved, nor can what was added to it"
            raise MissingError(msg)
        if replace and folder.exists() and not is_varied(folder):
            msg = f"{folder} exists: it holds no estimator with variations, and is left alone"
            raise OutputExistsError(msg)
        document = {
            "kind": type(self).__name__,
            "variations": [{"name": v.name, "two_sided": v.two_sided} for v in self.variations],
        }
        reference = self.reference[: -len(self.variations)]
        arrays = {"events": self.events, "weights": self.weights, "reference": reference}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        with staged(folder, replace=replace) as fresh:
            inner.save(fresh / ESTIMATOR)
            write_estimator(fresh / VARIATIONS, document, tensors)
            for i, variation in enumerate(self.variations):
                variation.estimator.save(fresh / f"variation_{i}")


def is_varied(folder: str | Path) -> bool:
    """Return whether this is the folder of an estimator with variations."""
    return (Path(folder) / VARIATIONS).is_dir()


def load_varied(folder: str | Path, load: Callable[[Path], Any]) -> VariedRatio:
    """Return the estimator of a folder, given what loads those within it.

    Raises
    ------
    FileFormatError
        If there is none, or it is damaged.
    """
    folder = Path(folder)
    document, tensors = read_estimator(folder / VARIATIONS)
    try:
        events, weights, reference = (tensors[name].numpy() for name in ("events", "weights", "reference"))
        estimator = load(folder / ESTIMATOR)
        if estimator.estimates != "ratio":
            estimator = ratio_to(estimator, reference)
        learned = [
            LearnedVariation(str(v["name"]), load(folder / f"variation_{i}"), bool(v["two_sided"]))
            for i, v in enumerate(document["variations"])
        ]
        return VariedRatio(estimator, learned, events, weights, reference)
    except FileFormatError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        msg = f"{folder}: what was learned of variations is damaged: {error}"
        raise FileFormatError(msg) from error


def _remembered(
    known: dict[bytes, Any],
    own: NDArray[np.float64],
    nus: NDArray[np.float64],
    find: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    n_events: int,
) -> NDArray[np.float64]:
    """Return what is known at points (theta, nu), after finding what is not: for each theta at several nu at a time."""
    n_own = own.shape[1]
    points = np.concatenate([np.broadcast_to(own, (len(nus), n_own)), nus], axis=1)
    missing = np.array([point for point in points if point.tobytes() not in known]).reshape(-1, points.shape[1])
    for theta in np.unique(missing[:, :n_own], axis=0):
        some = np.unique(missing[(missing[:, :n_own] == theta).all(axis=1), n_own:], axis=0)
        for few in np.array_split(some, -(-len(some) * n_events // _PAIRS)):
            values = find(theta, few)
            known |= {np.append(theta, nu).tobytes(): value for nu, value in zip(few, values, strict=True)}
    return np.array([known[point.tobytes()] for point in points])
