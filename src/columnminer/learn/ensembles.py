"""Several estimators of the same thing: their mean is steadier than each, and their spread says how sure they are.

Members may differ in settings. Those with the same settings are trained together as one batched network, each with a
seed of its own, on the same events or (with `bootstrap`) on replicas of them, so that the spread contains the
fluctuation of the training events too. Members with other settings are tasks of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.learn.denominators import FixedDenominator, ratio_to
from columnminer.learn.estimator import Estimator
from columnminer.learn.verdicts import Check
from columnminer.run.tasks import run_tasks
from columnminer.sample.samples import Samples
from columnminer.store.commit import staged
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client
    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.fit import Fit
    from columnminer.learn.information import Information
    from columnminer.learn.progress import Progress
    from columnminer.store.eventstore import EventStore
    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["Ensemble", "holds_ensemble"]

_DOCUMENT = "ensemble.json"
_FORMAT = "columnminer ensemble"
_FORMAT_VERSION = 1


class Ensemble:
    """Estimators of one kind, with votes: what a member can give, the ensemble gives as the mean of its members.

    Parameters
    ----------
    members
        Estimators, fitted or not: all about ratios, all about scores, or all about densities.
    votes
        Weight of each member in means, (n_members,); None: all alike. See `vote` too.

    Raises
    ------
    InputError
        If there are no members, they are of different kinds, or votes do not fit.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> samples = cm.sample_ratio(store, cm.flat_prior([(-0.05, 0.05)] * 2), "sm", 4000)
    >>> ensemble = cm.Ensemble([cm.RatioEstimator((10,)) for _ in range(3)])
    >>> ensemble = ensemble.fit(samples, "alices", bootstrap=True, epochs=1, progress=False)
    >>> ensemble.log_ratio_variance(samples.x[:5], [0.03, 0.0], pairing="grid").shape
    (1, 5)
    """

    def __init__(self, members: Sequence[Estimator], votes: ArrayLike | None = None) -> None:
        self.members = list(members)
        if len({member.estimates for member in self.members}) != 1:
            msg = "an Ensemble needs members, estimators of one kind: all of ratios, of scores, or of densities"
            raise InputError(msg)
        self._set_votes(np.ones(len(self.members)) if votes is None else np.asarray(votes, dtype=np.float64))

    def _set_votes(self, given: NDArray[np.float64]) -> None:
        if given.shape != (len(self.members),) or not (given >= 0).all() or not 0 < given.sum() < np.inf:
            msg = f"votes need one weight for each of {len(self.members)} members, not negative and not all zero"
            raise InputError(msg)
        self.votes: NDArray[np.float64] = given / given.sum()
        self.checks: tuple[Check, ...] = ()

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"Ensemble({len(self)} members like {self.members[0]!r})"

    @property
    def estimates(self) -> str:
        """What the members are estimates of; see `Estimator`."""
        return self.members[0].estimates

    # What it is about --------------------------------------------------------------------------------------------

    @property
    def feature_names(self) -> tuple[str, ...]:
        """All features that a member takes."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.feature_names))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta."""
        return self.members[0].parameter_names

    @property
    def nuisance_names(self) -> tuple[str, ...]:
        """Which of the parameters are nuisances."""
        return self.members[0].nuisance_names

    @property
    def reference(self) -> NDArray[np.float64]:
        """Denominator of the ratio, or the point of the score, (n_par,)."""
        return self.members[0].reference

    @property
    def store_hash(self) -> str:
        """Content hash of the event store that it was trained on."""
        return self.members[0].store_hash

    @property
    def partition(self) -> str:
        """Partition of that store."""
        return self.members[0].partition

    def remember_checks(self, checks: tuple[Check, ...]) -> None:
        """Keep what `checks.check` found of the ensemble; see `Estimator.remember_checks`."""
        self.checks = checks

    def check_store(self, store: EventStore, partition: str | slice, *, other_store: bool = False) -> None:
        """Refuse events that a member refuses; see `Estimator.check_store`."""
        for member in self.members:
            member.check_store(store, partition, other_store=other_store)

    # Learning ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        samples: Samples | SampleStore,
        method: str | None = None,
        *,
        alpha: float = 1.0,
        bootstrap: bool = False,
        validation: Samples | SampleStore | None = None,
        limit: int | None = None,
        shuffle_labels: bool = False,
        seed: Seed = 0,
        client: Client | None = None,
        workers: int = 1,
        progress: Progress = False,
        checkpoint: str | Path | None = None,
        **options: Any,
    ) -> Self:
        """Train all members.

        Parameters
        ----------
        samples, method, alpha, validation, limit, shuffle_labels, progress, checkpoint, **options
            See `Estimator.fit`. The members share what `limit` and `shuffle_labels` draw. Progress is that of the first
            members. Each architecture has checkpoints of its own, named after the given one.
        bootstrap
            Whether each member learns from a replica: as many events, drawn from the training events with replacement.
        seed
            Of everything; each member has a stream of its own.
        client, workers
            Where architectures are trained, one task each; see `run_tasks`. Members of one architecture share the
            threads of one process.

        Returns
        -------
        Self
            The ensemble.
        """
        groups: dict[str, list[int]] = {}
        for i, member in enumerate(self.members):
            groups.setdefault(member.architecture, []).append(i)
        here = client is None and workers == 1

        def train(job: tuple[int, list[int]]) -> list[Fit]:
            number, group = job
            return self.members[group[0]]._learn(  # noqa: SLF001 - what they have in common
                samples,
                method,
                seeds=[key(seed, "member", i) for i in group],
                alpha=alpha,
                bootstrap=bootstrap,
                validation=validation,
                limit=limit,
                shuffle_labels=shuffle_labels,
                progress=progress if here and number == 0 else False,
                checkpoint=None if checkpoint is None else f"{checkpoint}.{number}",
                options=options,
            )

        jobs = list(enumerate(groups.values()))
        fits = (
            [train(job) for job in jobs]  # what is wrong is raised as it is
            if here
            else run_tasks(
                train,
                jobs,
                client=client,
                workers=workers,
                progress=bool(progress),
                title="ensemble",
                name=lambda job: repr(self.members[job[1][0]]),
            )
        )
        for group, learned in zip(groups.values(), fits, strict=True):
            for i, fit in zip(group, learned, strict=True):
                self.members[i]._fit = fit  # noqa: SLF001 - one of our own
        self.checks = ()
        return self

    def vote(self, samples: Samples | SampleStore, strength: float) -> NDArray[np.float64]:
        """Give more weight to members whose expectation values come out right, and return the new votes.

        The vote of a member is proportional to exp(-strength abs(E - E_true)): for ratios E is that of r under theta1
        (1), for scores the mean over parameters of abs(E[t]) under theta (0).

        Parameters
        ----------
        samples
            Events that were not trained on: from `sample_ratio` for ratios, from `sample_local` for scores.
        strength
            0: all alike.

        Raises
        ------
        InputError
            If these estimators have no such expectation value.
        """
        part = Samples.of(samples)
        self._set_votes(np.exp([-strength * _deviation(member, part) for member in self.members]))
        return self.votes

    # What it says ------------------------------------------------------------------------------------------------

    def log_ratio(self, x: ArrayLike, *points: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return the mean of the members' log ratios; for the arguments see the members' `log_ratio`."""
        return self._mean("log_ratio", x, points, options)

    def log_ratios(self, x: ArrayLike, *points: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return each member's log ratios, (n_members, n) or, on the grid, (n_members, n_theta, n)."""
        return self._each("log_ratio", x, points, options)

    def log_density(self, x: ArrayLike, *points: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return the mean of the members' log densities; for the arguments see `DensityEstimator.log_density`."""
        return self._mean("log_density", x, points, options)

    def ratio_to(self, theta1: ArrayLike) -> FixedDenominator:
        """Return the mean log ratio to one reference point, of double ratios or densities; see `ratio_to` of these."""
        return ratio_to(self, theta1)

    def score(self, x: ArrayLike, *points: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return the mean of the members' scores; for the arguments see the members' `score`.

        With ``nuisances="profile"`` each member profiles with its own information before the mean is taken: so the
        spread of `scores` contains how well that is known.
        """
        return self._mean("score", x, points, options)

    def scores(self, x: ArrayLike, *points: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return each member's scores, (n_members, n, n_par) or, on the grid, (n_members, n_theta, n, n_par)."""
        return self._each("score", x, points, options)

    def without_nuisances(
        self, nuisances: Literal["profile", "project"] = "profile", information: Information | None = None
    ) -> Ensemble:
        """Return an ensemble of the scores of the other parameters; see `ScoreEstimator.without_nuisances`."""
        ensemble = Ensemble([m.without_nuisances(nuisances, information) for m in self.members], self.votes)
        ensemble.checks = self.checks
        return ensemble

    def log_ratio_variance(self, x: ArrayLike, *points: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return the variance of the members' log ratios, with the votes as weights; shapes as those of `log_ratio`."""
        values = self.log_ratios(x, *points, **options)
        return np.asarray(np.tensordot(self.votes, np.square(values - self._average(values)), axes=1))

    def score_covariance(self, x: ArrayLike, *points: ArrayLike, **options: Any) -> NDArray[np.float64]:
        """Return the covariance of the members' scores, (..., n_par, n_par), with the votes as weights."""
        scores = self.scores(x, *points, **options)
        residuals = scores - self._average(scores)
        return np.asarray(np.einsum("m,m...i,m...j->...ij", self.votes, residuals, residuals))

    def _each(self, what: str, x: ArrayLike, points: tuple[ArrayLike, ...], options: Any) -> NDArray[np.float64]:
        names = options.pop("names", None) or self.feature_names
        return np.stack([getattr(member, what)(x, *points, names=names, **options) for member in self.members])

    def _mean(self, what: str, x: ArrayLike, points: tuple[ArrayLike, ...], options: Any) -> NDArray[np.float64]:
        return self._average(self._each(what, x, points, options))

    def _average(self, estimates: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.tensordot(self.votes, estimates, axes=1))

    # At rest -----------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write a folder with ensemble.json and an estimator's folder for each member.

        Raises
        ------
        OutputExistsError
            If the folder is there, and is not to be replaced.
        """
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staged(folder, replace=replace) as fresh:
            for i, member in enumerate(self.members):
                member.save(fresh / f"member_{i}")
            document = {"format": _FORMAT, "format_version": _FORMAT_VERSION, "votes": self.votes.tolist()}
            document["checks"] = [check.to_dict() for check in self.checks]
            (fresh / _DOCUMENT).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read an ensemble from its folder.

        Raises
        ------
        FileFormatError
            If there is none, or it is damaged.
        """
        folder = Path(folder)
        try:
            document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
            found = (document["format"], document["format_version"])
            votes = [float(vote) for vote in document["votes"]]
            checks = tuple(Check.from_dict(check) for check in document.get("checks", ()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            msg = f"{folder}: no ensemble can be read here: {error}"
            raise FileFormatError(msg) from error
        if found != (_FORMAT, _FORMAT_VERSION):
            msg = f"{folder}: format {found[0]!r}, version {found[1]!r} is not known here"
            raise FileFormatError(msg)
        ensemble = cls([Estimator.load(folder / f"member_{i}", device=device) for i in range(len(votes))], votes)
        ensemble.checks = checks
        return ensemble


def holds_ensemble(folder: str | Path) -> bool:
    """Return whether an ensemble was saved in the folder."""
    return (Path(folder) / _DOCUMENT).is_file()


def _deviation(member: Estimator, samples: Samples) -> float:
    """Return by how much the expectation value of a member is wrong."""
    names = samples.feature_names
    if member.estimates == "score":
        return float(np.abs(member.score(samples.x, names=names).mean(axis=0)).mean())
    if samples.y is None or samples.theta0 is None or samples.theta1 is None:
        msg = "members vote by E[r] = 1 on events of a ratio: give the output of sample_ratio from another partition"
        raise InputError(msg)
    denominator = samples.take(samples.y == 1)
    points = [denominator.theta0]
    if member.estimates in {"double ratio", "density"}:
        points.append(denominator.theta1)
    return float(abs(np.exp(member.log_ratio(denominator.x, *points, names=names)).mean() - 1.0))
