"""The training of selection variations: which events teach them, and how; see `columnminer.learn.varied`."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.learn.denominators import ratio_to
from columnminer.learn.gold import pick_features
from columnminer.learn.ratios import RatioEstimator
from columnminer.learn.varied import LearnedVariation, VariedRatio
from columnminer.sample.variations import sample_variation, weighted_events
from columnminer.streams import key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.learn.ensembles import Ensemble
    from columnminer.store.eventstore import EventStore
    from columnminer.streams import Seed

__all__ = ["learn_variations"]

_REFERENCE_EVENTS = 2**17
"""Events that normalise, at most: the estimator is evaluated on them at every theta."""

_STEPS = 32
"""Batches in an epoch, where there are many events."""


def learn_variations(
    store: EventStore,
    estimator: Any,
    *,
    names: Sequence[str] | None = None,
    learner: RatioEstimator | Ensemble | None = None,
    seed: Seed = 0,
    **options: Any,
) -> VariedRatio:
    """Return the estimator with selection variations of the store as further parameters.

    Classifiers learn them (the method "carl") from the events of the partition that the estimator was trained on, at
    its reference point. Those of training and validation normalise, up to 131,072 of them: the fluctuation of N moves
    the nu that n events find by about sqrt(n / N) of its statistical error, so that N should be large compared to n.

    Parameters
    ----------
    store
        With `EventStore.variations`; the one that the estimator was trained on.
    estimator
        Of the likelihood ratio: to one reference point, in theta or in theta and the nuisance parameters that change
        weights; of double ratios and densities those to the reference benchmark are taken.
    names
        Which variations; None: all.
    learner
        `RatioEstimator` with the settings to learn with, or an `Ensemble` of some, not fitted; it is left as it is.
        None: one with the estimator's features.
    seed
        Of the trainings.
    **options
        Of `Estimator.fit`: epochs (50), batch_size (a 32nd of the events), early_stopping (False), learning_rate, ...

    Raises
    ------
    MissingError
        If the store has no variations, or no events for them.
    UnknownNameError
        If it lacks one of the names.
    InputError
        If the estimator was trained on another store, or estimates no ratio.

    Examples
    --------
    >>> plain = cm.DrellYan().setup()
    >>> setup = cm.Setup(plain.space, plain.benchmarks, [cm.SelectionVariation("scale")]).with_morphing(2)
    >>> nominal, up = (cm.Selection({"m_ll": f"{k} * (mu[0] + mu[1]).m"}) for k in (1.0, 1.05))
    >>> sample = cm.Sample("sm.lhe.gz", benchmark="sm", systematics=["scale"])
    >>> store = cm.process([sample], setup, nominal, "scaled.zarr", variations={"scale": up}, progress=False)
    >>> samples = cm.sample_ratio(store, cm.flat_prior([(-0.05, 0.05)] * 2), "sm", 4000)
    >>> estimator = cm.RatioEstimator((10,)).fit(samples, "alices", epochs=1, progress=False)
    >>> varied = cm.learn_variations(store, estimator, epochs=1, progress=False)  # of c_ll, c_lr and scale
    """
    names = store.variations if names is None else tuple(names)
    if not names:
        msg = f"{store.path} has no variations to learn: give process(variations=...) the other selections"
        raise MissingError(msg)
    if getattr(estimator, "estimates", "ratio") == "score":
        msg = "variations are learned for ratios: a score has none"
        raise InputError(msg)
    if getattr(estimator, "store_hash", store.hash) != store.hash:
        msg = f"the estimator was trained on another store than {store.path}: what is varied must be the same events"
        raise InputError(msg)
    theta = store.setup.theta(store.setup.reference)
    if getattr(estimator, "estimates", "ratio") != "ratio":
        estimator = ratio_to(estimator, theta)
    reference = np.asarray(getattr(estimator, "reference", theta), dtype=np.float64)
    theta, nu = reference[: len(theta)], reference[len(theta) :] if len(reference) > len(theta) else None
    partition = getattr(estimator, "partition", "train")
    features = getattr(estimator, "feature_names", None)
    other = "train" if partition == "validation" else "validation"
    seed = key(seed, "variations")  # a Generator gives another number each time it is asked
    learned = []
    for name in names:
        stream = key(seed, name)
        samples = partial(sample_variation, store, name, theta, nu=nu, seed=stream)
        own = RatioEstimator(features=features) if learner is None else copy.deepcopy(learner)
        # Events that are split off to judge would leave their partners in the other class behind.
        judges = {} if options.get("bootstrap") else {"validation": samples(partition=other)}
        lessons = samples(partition=partition)
        own.fit(lessons, "carl", seed=stream, **{**_training(len(lessons)), **judges, **options})
        learned.append(LearnedVariation(name, own, two_sided=len(store.varied(name)) > 1))
    parts = ("all",) if partition == "all" else (partition, other)
    x, weights = _together([weighted_events(store, theta, nu=nu, partition=part) for part in parts])
    some = slice(None, None, -(-len(x) // _REFERENCE_EVENTS))
    needed = dict.fromkeys([*(features or ()), *(f for v in learned for f in v.estimator.feature_names)])
    events = pick_features(x[some], store.observable_names, tuple(needed))
    return VariedRatio(estimator, learned, events, weights[some], reference)


def _together(
    parts: Sequence[tuple[NDArray[np.float32], NDArray[np.float64]]],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the events of several partitions, each of which has the whole cross section, as those of one."""
    weights = np.concatenate([w * (len(w) / w.sum()) for _, w in parts])
    return np.concatenate([x for x, _ in parts]), weights


def _training(n: int) -> dict[str, Any]:
    """Return options of the training from n events.

    An event and its partner in the other class are seldom in one batch: large batches, and no epoch chosen by its luck,
    so that they cancel all the same.
    """
    return {"epochs": 50, "batch_size": max(1024, n // _STEPS), "early_stopping": False}
