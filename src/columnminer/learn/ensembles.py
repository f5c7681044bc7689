"""Several estimators of the same thing: their mean is steadier than each, and their spread says how sure they are.

Members may differ in settings. They are trained one task each, with a seed of their own, on the same events or (with
`bootstrap`) on replicas of them, so that the spread contains the fluctuation of the training events too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np

from columnminer.errors import FileFormatError, InputError
from columnminer.learn.estimators import RatioEstimator, ScoreEstimator
from columnminer.learn.verdicts import Check
from columnminer.run.tasks import run_tasks
from columnminer.sample.samples import Samples
from columnminer.store.commit import staged
from columnminer.streams import key, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client
    from numpy.typing import ArrayLike, NDArray

    from columnminer.store.eventstore import EventStore
    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["RatioEnsemble", "ScoreEnsemble"]

_DOCUMENT = "ensemble.json"
_FORMAT = "columnminer ensemble"
_FORMAT_VERSION = 1

Member = TypeVar("Member", RatioEstimator, ScoreEstimator)


class _Ensemble(Generic[Member]):
    """Members of one kind, with votes.

    Parameters
    ----------
    members
        Estimators, fitted or not.
    votes
        Weight of each member in means, (n_members,); None: all alike.

    Raises
    ------
    InputError
        If there are no members, or votes do not fit.
    """

    kind: ClassVar[type[RatioEstimator | ScoreEstimator]]

    def __init__(self, members: Sequence[Member], votes: ArrayLike | None = None) -> None:
        self.members: list[Member] = list(members)
        if not self.members or not all(isinstance(member, self.kind) for member in self.members):
            msg = f"a {type(self).__name__} needs members, each a {self.kind.__name__}"
            raise InputError(msg)
        given = np.ones(len(self.members)) if votes is None else np.asarray(votes, dtype=np.float64)
        if given.shape != (len(self.members),) or not (given >= 0).all() or not given.sum() > 0:
            msg = f"votes need one weight for each of {len(self.members)} members, not negative and not all zero"
            raise InputError(msg)
        self.votes = given / given.sum()
        self.checks: tuple[Check, ...] = ()

    def __len__(self) -> int:
        return len(self.members)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """All features that a member takes."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.feature_names))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta."""
        return tuple(self.members[0].parameter_names)

    @property
    def reference(self) -> NDArray[np.float64]:
        """Denominator of the ratio, or the point of the score, (n_par,)."""
        return np.asarray(self.members[0].reference)

    def remember_checks(self, checks: tuple[Check, ...]) -> None:
        """Keep what `checks.check` found of the ensemble; see `Estimator.remember_checks`."""
        self.checks = checks

    def check_store(self, store: EventStore, partition: str | slice, *, other_store: bool = False) -> None:
        """Refuse events that a member refuses; see `Estimator.check_store`."""
        for member in self.members:
            member.check_store(store, partition, other_store=other_store)

    def fit(
        self,
        samples: Samples | SampleStore,
        *,
        bootstrap: bool = False,
        seed: Seed = 0,
        client: Client | None = None,
        workers: int = 1,
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Train all members.

        Parameters
        ----------
        samples
            What the members' `fit` takes.
        bootstrap
            Whether each member learns from a replica: every event Poisson(1) times.
        seed
            Of everything; each member has a stream of its own.
        client, workers
            Where members are trained; see `run_tasks`.
        progress
            Whether to show how many members are done.
        **options
            Further arguments of the members' `fit`: method, alpha, epochs, ...
        """
        data = Samples.of(samples)

        def train(job: tuple[Member, int]) -> Member:
            member, stream = job
            return member.fit(_replica(data, stream) if bootstrap else data, seed=stream, **options)

        jobs = [(member, key(seed, "member", i)) for i, member in enumerate(self.members)]
        self.members = run_tasks(
            train,
            jobs,
            client=client,
            workers=workers,
            progress=progress,
            title="ensemble",
            name=lambda job: repr(job[0]),
        )
        self.checks = ()
        return self

    def _mean(self, estimates: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.tensordot(self.votes, estimates, axes=1))

    def _names(self, names: Sequence[str] | None) -> Sequence[str]:
        return self.feature_names if names is None else names

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write a folder with ensemble.json and an estimator's folder for each member.

        Raises
        ------
        OutputExistsError
            If the folder is there, and is not to be replaced.
        """
        with staged(Path(folder), replace=replace) as fresh:
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
            votes = document["votes"]
            checks = tuple(Check.from_dict(check) for check in document.get("checks", ()))
            members = [cls.kind.load(folder / f"member_{i}", device=device) for i in range(len(votes))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = f"{folder}: no ensemble can be read here: {error}"
            raise FileFormatError(msg) from error
        if found != (_FORMAT, _FORMAT_VERSION):
            msg = f"{folder}: format {found[0]!r}, version {found[1]!r} is not known here"
            raise FileFormatError(msg)
        ensemble = cls(members, votes)  # type: ignore[arg-type]  # kind says which they are
        ensemble.checks = checks
        return ensemble


class RatioEnsemble(_Ensemble[RatioEstimator]):
    """Ratio estimators with the same reference point: means and spread of log ratios and scores."""

    kind = RatioEstimator

    def log_ratio(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Literal["pairs", "grid"] = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the mean of the members' log ratios; see `RatioEstimator.log_ratio`."""
        return self._mean(self.log_ratios(x, theta, pairing=pairing, names=names))

    def log_ratios(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Literal["pairs", "grid"] = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return each member's log ratios, (n_members, n) or, on the grid, (n_members, n_theta, n)."""
        known = self._names(names)
        return np.stack([member.log_ratio(x, theta, pairing=pairing, names=known) for member in self.members])

    def score(
        self,
        x: ArrayLike,
        theta: ArrayLike,
        *,
        pairing: Literal["pairs", "grid"] = "pairs",
        names: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the mean of the members' scores; see `RatioEstimator.score`."""
        known = self._names(names)
        return self._mean(np.stack([m.score(x, theta, pairing=pairing, names=known) for m in self.members]))


class ScoreEnsemble(_Ensemble[ScoreEstimator]):
    """Score estimators at the same point: mean and covariance of scores."""

    kind = ScoreEstimator

    def score(self, x: ArrayLike, *, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return the mean of the members' scores, (n, n_par); see `ScoreEstimator.score`."""
        return self._mean(self.scores(x, names=names))

    def scores(self, x: ArrayLike, *, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return each member's scores, (n_members, n, n_par)."""
        return np.stack([member.score(x, names=self._names(names)) for member in self.members])

    def score_covariance(self, x: ArrayLike, *, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return the covariance of the members' scores at each event, (n, n_par, n_par), with the votes as weights."""
        scores = self.scores(x, names=names)
        residuals = scores - self._mean(scores)
        return np.asarray(np.einsum("m,mni,mnj->nij", self.votes, residuals, residuals))


def _replica(samples: Samples, seed: Seed) -> Samples:
    """Return the samples with every event Poisson(1) times."""
    times = np.random.default_rng(seed_sequence(seed, "bootstrap")).poisson(1.0, len(samples))
    return samples.take(np.repeat(np.arange(len(samples)), times))
