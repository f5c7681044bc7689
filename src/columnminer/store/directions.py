r"""Many nuisance parameters of one uncertainty become the few directions in which they change anything.

Where a parameter changes a weight by :math:`\exp(a_i(x) \nu_i)`, without a second order (replicas, symmetric
eigenvectors of parton densities), unit Gaussian nu may be turned by any orthogonal matrix: :math:`\nu' = V\nu` are unit
Gaussians again, with the coefficients :math:`a' = V a`, and nothing has changed. The rows of V are the eigenvectors of

.. math:: G_{ij} = \sum_e |W_e|\, a_i(x_e)\, a_j(x_e) ,

the Fisher information in everything that could be known of the events (`columnminer.FisherInformation.truth`), in the
order of their eigenvalues: how well data could ever measure each, compared with its constraint. Those that are small
may go. This is the idea of arXiv:1505.06736, taken from the densities themselves to the events at hand.

The directions are a property of the events they were found with. They are written into the set-up of the reduced store,
so that stores with different ones cannot be combined: combine first, or reduce all with the same ones.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.files import writing
from columnminer.model.response import nuisance_coefficients
from columnminer.model.setup import Setup
from columnminer.model.systematics import PrincipalDirections
from columnminer.store.commit import require_free
from columnminer.store.partition import PartitionScheme
from columnminer.store.publish import Description, publish_events
from columnminer.store.weights import NuisanceColumn

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from columnminer.store.eventstore import EventStore

__all__ = ["Directions", "find_directions", "reduce_directions"]

_BLOCK = 65_536
"""Events that are rewritten at a time."""


@dataclass(frozen=True)
class Directions:
    """Orthogonal directions in the space of an uncertainty's nuisance parameters.

    Attributes
    ----------
    systematic : str
        The uncertainty.
    parameter_names : tuple of str
        Its n nuisance parameters.
    matrix : numpy.ndarray
        (n, n) orthonormal rows, those that change events most first. At nu = +1 the cross section is the larger one.
    shares : numpy.ndarray
        (n,) of each in the sum of squared relative changes of weights; they fall, and sum to 1.
    """

    systematic: str
    parameter_names: tuple[str, ...]
    matrix: NDArray[np.float64]
    shares: NDArray[np.float64]


def find_directions(store: EventStore, systematic: str) -> Directions:
    """Return the principal directions of an uncertainty's nuisance parameters, in one pass over the events.

    Parameters
    ----------
    store
        Events with the weights of all of them.
    systematic
        Name of the uncertainty.

    Raises
    ------
    UnknownNameError
        If the set-up has no such uncertainty.
    InputError
        If its variations are two-sided: their second order cannot be turned.
    MissingError
        If it changes no weight.
    """
    own = _own(store, systematic)
    which = [store.nuisances.index(column) for column in own]
    gram, slope = np.zeros((len(own), len(own))), np.zeros(len(own))
    for block in store.blocks():
        a, weights = block.nuisance_coefficients[0][which], block.benchmark_weights[:, 0]
        gram += (a * np.abs(weights)) @ a.T
        slope += a @ weights
    values, vectors = np.linalg.eigh(gram)
    values, rows = np.maximum(values[::-1], 0.0), vectors.T[::-1]
    if not values.sum() > 0.0:
        msg = f"{systematic!r} changes no weight in {store.path}: its samples do not have it"
        raise MissingError(msg)
    rows = rows * np.where(rows @ slope < 0.0, -1.0, 1.0)[:, np.newaxis]
    return Directions(systematic, tuple(column.name for column in own), rows, values / values.sum())


def reduce_directions(
    store: EventStore,
    directions: Directions,
    n_directions: int,
    out: str | os.PathLike[str],
    *,
    replace: bool = False,
) -> EventStore:
    """Write the events of a store with the first of some directions in place of an uncertainty's nuisance parameters.

    Everything else stays as it is, but for the hash of the store.

    Parameters
    ----------
    store
        Events with the weights of all nuisance parameters.
    directions
        From `find_directions`, with this store or one with the same set-up.
    n_directions
        How many to keep: look at `Directions.shares`.
    out
        Folder of the new store.
    replace
        Whether a store that is there gives way.

    Raises
    ------
    InputError
        If there are not so many directions, or they belong to other nuisance parameters.
    UnknownNameError
        If the set-up does not have their uncertainty.
    OutputExistsError
        If something is at `out` that may not be replaced.
    """
    own, name = _own(store, directions.systematic), directions.systematic
    if directions.parameter_names != tuple(column.name for column in own):
        msg = f"the directions of {name!r} belong to other nuisance parameters than {store.path} has"
        raise InputError(msg)
    if not 1 <= n_directions <= len(own):
        msg = f"{name!r} has {len(own)} directions, of which 1 or more may be kept, not {n_directions}"
        raise InputError(msg)
    out = Path(out)
    require_free(out, replace=replace)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = directions.matrix[:n_directions]
    kept = PrincipalDirections(name, rows.tolist(), directions.shares[:n_directions].tolist())
    with writing(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        return _rewritten(store, own, kept, out, Path(folder), replace=replace)


def _own(store: EventStore, systematic: str) -> tuple[NuisanceColumn, ...]:
    """Return the nuisance parameters of an uncertainty, which stand side by side."""
    known = list(dict.fromkeys(column.systematic for column in store.nuisances))
    if systematic not in known:
        msg = f"{store.path} has no weights varied by {systematic!r}.{did_you_mean(systematic, known)}"
        raise UnknownNameError(msg)
    own = tuple(column for column in store.nuisances if column.systematic == systematic)
    if any(column.down is not None for column in own):
        msg = f"the variations of {systematic!r} are two-sided: only those to one side have directions"
        raise InputError(msg)
    return own


def _rewritten(
    store: EventStore,
    own: tuple[NuisanceColumn, ...],
    kept: PrincipalDirections,
    out: Path,
    folder: Path,
    *,
    replace: bool = False,
) -> EventStore:
    """Write a store, and those inside of it, first into `folder`, with directions for some nuisance parameters."""
    inside = {
        name: [_rewritten(side, own, kept, folder / f"{name}-{i}", folder) for i, side in enumerate(store.varied(name))]
        for name in store.variations
    }
    attributes = store.attributes
    description = Description(
        setup=_with(store.setup, kept),
        observables=store.observable_names,
        samples=store.samples,
        partition=PartitionScheme(tuple(attributes["partition"]["fractions"])),
        nuisances=_layout(store.nuisances, own, kept),
        cut_flow=attributes["cut_flow"],
        selection=attributes["selection"],
        configuration={"mixing": store.mixing, "reduced": {"hash": store.hash, "systematic": kept.name}},
        provenance={package: version(package) for package in ("columnminer", "numpy", "zarr")},
    )
    rows, codes = _rows(store, own, np.array(kept.directions)), store.partition[:]
    return publish_events(out, description, rows, codes, replace_existing=replace, variations=inside)


def _with(setup: Setup, kept: PrincipalDirections) -> Setup:
    systematics = [kept if systematic.name == kept.name else systematic for systematic in setup.systematics]
    return Setup(setup.space, setup.benchmarks, systematics, morphing=setup.morphing, differences=setup.differences)


def _layout(
    nuisances: tuple[NuisanceColumn, ...], own: tuple[NuisanceColumn, ...], kept: PrincipalDirections
) -> tuple[NuisanceColumn, ...]:
    """Return the nuisance columns with the directions where the parameters were, and those behind moved up."""
    first, shorter = own[0].up, len(own) - len(kept.parameter_names)
    layout = [c for c in nuisances if c.up < first]
    layout += [NuisanceColumn(name, kept.name, first + i) for i, name in enumerate(kept.parameter_names)]
    layout += [
        replace(c, up=c.up - shorter, down=None if c.down is None else c.down - shorter)
        for c in nuisances
        if c.up > own[-1].up
    ]
    return tuple(layout)


def _rows(
    store: EventStore, own: tuple[NuisanceColumn, ...], directions: NDArray[np.float64]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the rows of the store with the weights at +1 of each direction."""
    first, last = own[0].up, own[-1].up + 1
    for start in range(0, len(store), _BLOCK):
        columns = store.columns(slice(start, min(start + _BLOCK, len(store))))
        del columns["partition"]
        reference, varied = columns["weights"][:, 0], columns["nuisance_weights"]
        a = np.stack([nuisance_coefficients(varied[:, c.up], None, reference, c.step)[0] for c in own])
        along = reference * np.exp(directions @ a)
        columns["nuisance_weights"] = np.concatenate([varied[:, :first], along.T, varied[:, last:]], axis=1)
        yield columns
