"""Score estimators: locally optimal observables at one parameter point."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from columnminer.errors import InputError, MissingError
from columnminer.learn.census import pieces
from columnminer.learn.estimator import Estimator
from columnminer.learn.gold import pick_features, required, score_columns
from columnminer.learn.information import profiling
from columnminer.learn.lesson import Lesson
from columnminer.learn.losses import SCORE_METHODS, score_error
from columnminer.learn.modules import ScoreModule
from columnminer.learn.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.learn.census import Census
    from columnminer.learn.fit import Fit
    from columnminer.learn.information import Information
    from columnminer.learn.loaders import Batch, Generators
    from columnminer.learn.networks import MLP
    from columnminer.sample.samples import Samples
    from columnminer.store.samplestore import SampleStore

__all__ = ["ScoreEstimator", "combined_scores"]

_BLOCK = 65_536
"""Events evaluated together."""

_NO_EFFECT = 1e-5
"""Root mean square of the joint score in a nuisance parameter, in units of 1 / its constraint, that counts as zero."""


class ScoreEstimator(Estimator):
    """Learns the score t(x) at one reference point, a vector of locally optimal observables (arXiv:1805.00013).

    The network takes x and gives a score for each parameter. Its training is called "sally", or "sallino" where the
    components are to be projected onto a direction later (`infer.projection`). For the settings see `Estimator`; with
    `scale_parameters` every component of the score counts alike in the loss, whatever its unit.

    From samples with nuisance parameters it learns the scores of these as well. `score` and `without_nuisances` say
    what becomes of them.

    Examples
    --------
    >>> samples = cm.sample_local(cm.EventStore("events.zarr"), "sm", 4000)
    >>> sally = cm.ScoreEstimator((10,)).fit(samples, "sally", epochs=1, progress=False)
    >>> sally.score(samples.x[:5]).shape
    (5, 2)
    """

    estimates = "score"
    default_method = "sally"

    def _lesson(self, census: Census, method: str, alpha: float) -> Lesson:  # noqa: ARG002 - there is one term only
        if method not in SCORE_METHODS:
            msg = f"a ScoreEstimator is trained by {' or '.join(map(repr, SCORE_METHODS))}, not {method!r}"
            raise InputError(msg)
        size = census["t_xz"].rms
        scalings = {
            "x": Scaling.of(census["x"]),
            "score": Scaling(np.zeros(len(size)), np.where(self.scale_parameters & (size > 0), size, 1.0)),
        }

        def objective(network: MLP, batch: Batch, noise: Generators | None) -> dict[str, Tensor]:
            inputs = batch["inputs"]
            t = network(inputs, network.dropout_masks(inputs.shape[-2], noise))
            return {"score": score_error(t, batch["t_xz"], batch.get("weight"))}

        return Lesson(
            method=method,
            features=census.feature_names,
            reference=census["theta0"].single_point("the point of a ScoreEstimator"),
            scalings=scalings,
            columns=partial(score_columns, method=method, features=census.feature_names, scalings=scalings),
            network=lambda seed: self._network(len(census.feature_names), len(size), seed),
            objective=objective,
            settings={},
        )

    def _learn(self, samples: Samples | SampleStore, method: str | None, **how: Any) -> list[Fit]:
        """Learn, and then note the information with which nuisance parameters are profiled."""
        fits = super()._learn(samples, method, **how)
        if not fits[0].nuisance_names:
            return fits
        found = self._informations(fits, samples)
        return [_noted(fit, information=each.tolist()) for fit, each in zip(fits, found, strict=True)]

    def _informations(self, fits: Sequence[Fit], samples: Samples | SampleStore) -> list[NDArray[np.float64]]:
        """Return the mean of t t^T over the training events, (n_par, n_par), for each network.

        A nuisance parameter that does not change the density of anything (a normalisation) has the joint score 0. That
        learned of it is noise, and is taken for nothing; else profiling would amplify it.
        """
        n_par, total = len(fits[0].parameter_names), 0.0
        sums, gold = [np.zeros((n_par, n_par)) for _ in fits], np.zeros(n_par)
        for first, part in pieces(samples, 0, len(samples)):
            x = pick_features(part.x, part.feature_names, fits[0].feature_names, first)
            weights = np.ones(len(part)) if part.weights is None else np.asarray(part.weights, dtype=np.float64)
            for i, fit in enumerate(fits):
                t = self._evaluate(fit, fit.scalings["x"].apply(x))
                sums[i] += (weights[:, np.newaxis] * t).T @ t
            gold += np.square(required(part, "t_xz", "a score"), dtype=np.float64).sum(axis=0)
            total += weights.sum()
        nuisance = np.array([name in fits[0].nuisance_names for name in fits[0].parameter_names])
        acts = ~nuisance | (np.sqrt(gold / len(samples)) > _NO_EFFECT)
        return [np.where(np.outer(acts, acts), information / total, 0.0) for information in sums]

    def _module(self, fit: Fit) -> nn.Module:
        return ScoreModule(fit.network, fit.scalings["x"], fit.scalings["score"])

    def score(
        self,
        x: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        nuisances: Literal["keep", "project", "profile"] = "keep",
    ) -> NDArray[np.float64]:
        r"""Return the score at the reference point.

        Parameters
        ----------
        x, names
            See `RatioEstimator.log_ratio`.
        nuisances
            "keep": the components of all parameters. "project": without those of the nuisance parameters, which are
            thereby held at their values. "profile": the part of the score that is not correlated with that of the
            nuisance parameters, so that, to first order, these do not change its mean (arXiv:1903.01473):

            .. math:: t_\theta - I_{\theta\nu} I_{\nu\nu}^{-1} t_\nu, \qquad I = E[t\, t^T]

            with the Fisher information I of the features at the reference, as the trained network has it on the
            training events.

        Returns
        -------
        numpy.ndarray
            (n, n_par), or (n, n_par - n_nuisances).

        Raises
        ------
        InputError
            If x does not fit, or there is no such way.
        MissingError
            If the estimator knows no nuisance parameters, or not their information.
        """
        scores = self._evaluate(self.fitted, self._scaled_x(x, names))
        return scores if nuisances == "keep" else scores @ self._without_nuisances(nuisances, None).T

    def without_nuisances(
        self, nuisances: Literal["profile", "project"] = "profile", information: Information | None = None
    ) -> ScoreEstimator:
        """Return an estimator of the other parameters alone: for histograms, likelihoods, export, ...

        Its network is this one with another last layer, and its checks are those of this one: check before.

        Parameters
        ----------
        nuisances
            "profile" or "project"; see `score`.
        information
            What to profile with instead of the information of the features in one event: that of all that is known,
            for instance, such as ``FisherInformation.detector`` with ``FisherInformation.constraints`` added, for the
            score that is best where nuisance parameters are constrained.

        Raises
        ------
        InputError
            If there is no such way, or the information is about other parameters.
        MissingError
            If the estimator knows no nuisance parameters, or not their information.
        """
        matrix = self._without_nuisances(nuisances, information)
        estimator = combined_scores(self, matrix, self._of_interest())
        estimator._fit = _noted(estimator.fitted, nuisances=nuisances)  # noqa: SLF001 - one of our own
        return estimator

    def _of_interest(self) -> list[int]:
        return [i for i, name in enumerate(self.parameter_names) if name not in self.nuisance_names]

    def _without_nuisances(self, nuisances: str, information: Information | None) -> NDArray[np.float64]:
        """Return the matrix to multiply scores with, (n_par - n_nuisances, n_par)."""
        ways = ("profile", "project") if information is None else ("profile",)
        if nuisances not in ways:
            msg = f"nuisances are dealt with by {' or '.join(map(repr, ways))}, not {nuisances!r}"
            raise InputError(msg)
        kept = self._of_interest()
        if len(kept) == len(self.parameter_names):
            msg = f"this estimator knows no nuisance parameters among {', '.join(self.parameter_names)}: train it on "
            msg += "samples that have them, see sample_local"
            raise MissingError(msg)
        if nuisances == "project":
            return np.eye(len(self.parameter_names))[kept]
        if information is not None:
            if information.parameter_names != self.parameter_names:
                msg = f"the information is about {', '.join(information.parameter_names)}, but the score about "
                raise InputError(msg + ", ".join(self.parameter_names))
            return profiling(information.information, kept)
        known = self.fitted.training.get("information")
        if known is None:
            msg = "this estimator does not know the information to profile with: use without_nuisances(information=...)"
            raise MissingError(msg)
        return profiling(np.array(known, dtype=np.float64), kept)

    def _evaluate(self, fit: Fit, events: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores of scaled events, (n, n_par)."""
        scores = np.empty((len(events), len(fit.parameter_names)))
        with torch.no_grad():
            for start in range(0, len(events), _BLOCK):
                rows = slice(start, start + _BLOCK)
                scores[rows] = fit.network(self._tensor(events[rows])).cpu().numpy()
        return scores * fit.scalings["score"].scale


def combined_scores(estimator: ScoreEstimator, matrix: NDArray[np.float64], kept: Sequence[int]) -> ScoreEstimator:
    """Return an estimator of linear combinations of scores, which are taken into the last layer of the network.

    Parameters
    ----------
    estimator
        Fitted.
    matrix
        (n_kept, n_par): what to multiply scores with.
    kept
        The parameter that each of the new scores is about.
    """
    fit, rows = estimator.fitted, list(kept)
    scale = fit.scalings["score"].scale
    change = torch.from_numpy(scale[:, np.newaxis] * matrix.T / scale[rows]).float().to(estimator.device)
    network = deepcopy(fit.network)
    for layers in (network.weights, network.biases):
        layers[-1] = nn.Parameter(layers[-1].detach() @ change)
    names = tuple(fit.parameter_names[i] for i in rows)
    other = ScoreEstimator(**estimator._settings(), device=str(estimator.device))  # noqa: SLF001 - one of our own
    other._fit = replace(  # noqa: SLF001
        fit,
        parameter_names=names,
        nuisance_names=tuple(name for name in fit.nuisance_names if name in names),
        reference=fit.reference[rows],
        network=network,
        scalings={**fit.scalings, "score": Scaling(np.zeros(len(rows)), scale[rows])},
        # What else is known about parameters is not about these.
        training={name: fact for name, fact in fit.training.items() if name not in {"reach", "information"}},
    )
    return other


def _noted(fit: Fit, **facts: Any) -> Fit:
    """Return what was learned with further facts of the training."""
    return replace(fit, training={**fit.training, **facts})
