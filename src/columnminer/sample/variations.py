"""The same events in two selections, as two classes: what log p(x | nu = +-1) / p(x | nu = 0) is learned from.

All events are taken, each once and with its weight, instead of being drawn: what passes both selections is in both
classes then, and its fluctuations mostly cancel in their ratio: small shifts can be learned from fewer events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import MissingError
from columnminer.sample.samples import Samples
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore
    from columnminer.streams import Seed

__all__ = ["sample_variation", "weighted_events"]


def sample_variation(
    store: EventStore, name: str, theta: Any = None, *, nu: Any = None, partition: str = "train", seed: Seed = 0
) -> Samples:
    """Return the events of a varied selection and those of the nominal one, weighted, with labels.

    Parameters
    ----------
    store, partition
        Where the events are.
    name
        A nuisance parameter among `EventStore.variations`.
    theta
        Parameter point, or name of a benchmark; None: the reference benchmark.
    nu
        The other nuisance parameters, those that change weights; None: all 0.
    seed
        Of the order of the events.

    Returns
    -------
    Samples
        In random order. Its parameter is the nuisance parameter: theta0 is +1 or -1, theta1 is 0. Events of the varied
        selection have y = 0, events of the nominal one, which are there for each side, y = 1. The weights are those at
        theta, scaled so that both classes have the same sum for either side, and mean 1.

    Raises
    ------
    UnknownNameError
        If the store has no such variation.
    MissingError
        If the weights in one of the selections do not have a positive sum.

    Examples
    --------
    >>> plain = cm.DrellYan().setup()
    >>> setup = cm.Setup(plain.space, plain.benchmarks, [cm.SelectionVariation("scale")]).with_morphing(2)
    >>> nominal, up = (cm.Selection({"m_ll": f"{k} * (mu[0] + mu[1]).m"}) for k in (1.0, 1.05))
    >>> sample = cm.Sample("sm.lhe.gz", benchmark="sm", systematics=["scale"])
    >>> store = cm.process([sample], setup, nominal, "shifted.zarr", variations={"scale": up}, progress=False)
    >>> samples = cm.sample_variation(store, "scale")
    >>> samples.feature_names
    ('m_ll',)
    """
    theta = store.setup.reference if theta is None else theta
    nominal = weighted_events(store, theta, nu=nu, partition=partition)
    parts = []
    for side, varied in zip((1.0, -1.0), store.varied(name), strict=False):
        pair = (weighted_events(varied, theta, nu=nu, partition=partition), nominal)
        for label, (x, weights) in enumerate(pair):
            parts.append((x, np.full(len(x), side), np.full(len(x), float(label)), weights / weights.sum()))
    order = np.random.default_rng(seed_sequence(seed, "order")).permutation(sum(len(part[0]) for part in parts))
    events, theta0, y, weights = (np.concatenate(columns)[order] for columns in zip(*parts, strict=True))
    return Samples(
        x=events,
        theta0=theta0[:, np.newaxis],
        theta1=np.zeros((len(events), 1)),
        y=y,
        weights=weights * (len(events) / len(parts)),
        feature_names=store.observable_names,
        parameter_names=(name,),
        nuisance_names=(name,),
        store_hash=store.hash,
        partition=partition,
    )


def weighted_events(
    store: EventStore, theta: Any, *, nu: Any = None, partition: str = "train"
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return observables (n, n_obs) and weights (n,) [pb] of all events of a partition at one point.

    Raises
    ------
    MissingError
        If the weights do not have a positive sum.
    """
    blocks = [(block.x.astype(np.float32), block.weights(theta, nu)[0]) for block in store.blocks(partition)]
    total = sum(float(weights.sum()) for _, weights in blocks)
    if not total > 0.0:
        msg = f"the events of partition {partition!r} of {store.path} have no cross section there: {total:g} pb"
        raise MissingError(msg)
    return np.concatenate([x for x, _ in blocks]), np.concatenate([weights for _, weights in blocks])
