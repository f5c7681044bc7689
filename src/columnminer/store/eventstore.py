"""EventStore: observables and weights of selected events, at rest in Zarr, read range by range.

Nothing here holds more than a block of events, except where a result itself has one entry for each event.
"""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import FileFormatError, InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.model.setup import Setup
from columnminer.store.columns import columns_at
from columnminer.store.documents import checked_document
from columnminer.store.mixing import MIXINGS, balance, mixing_scales, require_complete
from columnminer.store.partition import PARTITIONS, partition_code
from columnminer.store.weights import Block, CrossSection, Moments, nuisance_points
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from columnminer.store.mixing import Mixing
    from columnminer.store.samples import SampleInfo
    from columnminer.store.weights import NuisanceColumn
    from columnminer.streams import Seed

__all__ = ["EVENTS_FORMAT", "FORMAT_VERSION", "EventStore"]

EVENTS_FORMAT = "columnminer events"
FORMAT_VERSION = 1

BLOCK = 65_536
"""Events in a block, unless told otherwise: the chunk length of the arrays, so that each chunk is read once."""

_SMALL = 2**23
"""Bytes of an array up to which it is kept in memory once it was read."""

_REMEDY = "process the events again"


class EventStore:
    """Selected events at rest: what `process` writes and everything after it reads.

    Parameters
    ----------
    path
        Folder of the store.
    mixing
        How signal samples generated at different benchmarks are averaged, see `columnminer.store.mixing`: "fractions"
        of the generated events, or "balance", which makes more of the same events where each sample is unweighted.
        None: as `process` was told.

    Raises
    ------
    FileFormatError
        If there is no event store, or one of a newer format.
    InputError
        If there is no such mixing.

    Notes
    -----
    The arrays of the Zarr group are ``observables`` (n_events, n_obs), ``weights`` (n_events, n_benchmarks) [pb],
    normalised so that they sum to the cross section of each sample, ``nuisance_weights`` (n_events, n_columns) [pb],
    ``sample`` (n_events,), ``partition`` (n_events,) and ``event`` (n_events,), the number of the event in its file.
    Names and all else live in the attributes. Stores of the same events in other selections are groups beside the
    arrays. Signal samples estimate the same cross section, each from events at its
    own benchmark; they are mixed here, on reading.

    Examples
    --------
    >>> store = cm.EventStore("events.zarr")
    >>> store.observable_names
    ('m_ll', 'y_ll', 'cos_theta')
    >>> theta = {"c_ll": 0.02, "c_lr": 0.0}
    >>> xsec = store.xsec(theta)
    >>> bool(abs(xsec.value[0] - cm.DrellYan().xsec(theta)[0]) < 3 * xsec.error[0])
    True
    """

    def __init__(self, path: str | os.PathLike[str], *, mixing: Mixing | None = None) -> None:
        self.path = Path(path)
        self.attributes: Mapping[str, Any]
        self.attributes, arrays = columns_at(self.path, f"{self.path} is not an event store", _REMEDY)
        if self.attributes.get("format") != EVENTS_FORMAT:
            msg = f"{self.path} is not an event store: its format is {self.attributes.get('format')!r}"
            raise FileFormatError(msg)
        version = self.attributes.get("format_version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            msg = (
                f"{self.path} has format version {version!r}, but this columnminer reads up to "
                f"{FORMAT_VERSION}: update columnminer"
            )
            raise FileFormatError(msg)
        self._arrays = arrays
        self._document = checked_document(self.attributes, arrays, str(self.path), _REMEDY)
        self._moments: dict[Any, Moments] = {}
        self._held: dict[str, NDArray[Any]] = {}
        self.mixing: Mixing = mixing or self.attributes["configuration"].get("mixing", "fractions")
        if self.mixing not in MIXINGS:
            msg = f"mixing must be one of {', '.join(MIXINGS)}, not {self.mixing!r}"
            raise InputError(msg)

    # What is in it -----------------------------------------------------------------------------------------------

    @cached_property
    def setup(self) -> Setup:
        """Parameters, benchmarks, morphing and systematics of the events."""
        return Setup.from_dict(self.attributes["setup"], f"the set-up of {self.path}")

    @property
    def samples(self) -> tuple[SampleInfo, ...]:
        """What was read; the position here is an event's ``sample``."""
        return self._document.samples

    @property
    def nuisances(self) -> tuple[NuisanceColumn, ...]:
        """Nuisance parameters, in the order of nu."""
        return self._document.nuisances

    @property
    def recorded(self) -> bool:
        """Whether the events were recorded: then they have no weights."""
        return any(s.data for s in self.samples)

    @property
    def nuisance_names(self) -> tuple[str, ...]:
        """Names of the nuisance parameters, in the order of nu."""
        return tuple(c.name for c in self.nuisances)

    @property
    def variations(self) -> tuple[str, ...]:
        """Names of the nuisance parameters that change what is seen of events and not their weights; see `varied`."""
        return tuple(self._document.variations)

    def varied(self, name: str) -> tuple[EventStore, ...]:
        """Return the same events in the selections at nu = +1 and (unless one-sided) -1 of one of the `variations`.

        Events that pass both selections have the same partition and weights in both stores. Samples on which the
        nuisance parameter does not act are there as they are here.

        Raises
        ------
        UnknownNameError
            If there is no such variation.
        """
        if name not in self.variations:
            msg = f"{self.path} has no selections that vary {name!r}.{did_you_mean(name, self.variations)}"
            raise UnknownNameError(msg)
        folders = self._document.variations[name]
        return tuple(EventStore(self.path / folder, mixing=self.mixing) for folder in folders)

    @property
    def observable_names(self) -> tuple[str, ...]:
        """Names of the columns of `observables`."""
        return tuple(self.attributes["observables"])

    @property
    def partition_names(self) -> tuple[str, ...]:
        """Names of the partitions; the position here is an event's ``partition``."""
        return PARTITIONS

    @property
    def observables(self) -> Any:
        """Array (n_events, n_observables); slice it to read."""
        return self._arrays["observables"]

    @property
    def weights(self) -> Any:
        """Array (n_events, n_benchmarks) [pb], normalised per sample and not mixed; slice it to read."""
        return self._arrays["weights"]

    @property
    def sample(self) -> Any:
        """Array (n_events,), which of `samples` an event belongs to; slice it to read."""
        return self._arrays["sample"]

    @property
    def partition(self) -> Any:
        """Array (n_events,), which of `partition_names` an event is in; slice it to read."""
        return self._arrays["partition"]

    def columns(self, rows: slice) -> dict[str, NDArray[Any]]:
        """Return all columns of a range of the store by name, as they are at rest: not mixed."""
        return {name: np.asarray(array[rows]) for name, array in self._arrays.items()}

    @property
    def hash(self) -> str:
        """SHA-256 of the set-up, the samples and all columns: the same wherever and however the store was made."""
        return str(self.attributes["hash"])

    @property
    def cut_flow(self) -> Mapping[str, Any]:
        """How many events passed each step of the selection, by sample."""
        return dict(self.attributes["cut_flow"])

    def __len__(self) -> int:
        return int(self.observables.shape[0])

    def __repr__(self) -> str:
        return (
            f"EventStore({str(self.path)!r}: {len(self)} events, {len(self.observable_names)} observables, "
            f"{len(self.setup.benchmark_names)} benchmarks, samples {', '.join(s.name for s in self.samples)})"
        )

    def observable_index(self, name: str) -> int:
        """Return the column of the observable called `name`.

        Raises
        ------
        UnknownNameError
            If there is no such observable.
        """
        if name not in self.observable_names:
            msg = f"no observable is called {name!r}.{did_you_mean(name, self.observable_names)}"
            raise UnknownNameError(msg)
        return self.observable_names.index(name)

    # Events ------------------------------------------------------------------------------------------------------

    def n_events(self, partition: str | slice = "all") -> int:
        """Return the number of stored events in a partition, or in a range of the store."""
        return int(self._counts(partition).sum())

    def blocks(
        self, partition: str | slice = "all", size: int | None = None, closest_to: Any = None
    ) -> Iterator[Block]:
        """Yield the events of a partition in the order of the store, in blocks.

        Parameters
        ----------
        partition
            "all", "train", "validation", "test", or a slice of the store. Weights are scaled up for the events that are
            left out, so that their sums estimate the same cross sections.
        size
            A block holds the events of that many consecutive ones of the store which are in the partition.
        closest_to
            A parameter point: only signal events generated at the benchmark nearest to it (Euclidean in theta, among
            benchmarks that have events) and all backgrounds.

        Raises
        ------
        UnknownNameError
            If there is no such partition.
        MissingError
            If a partition has no events of the signal or of a background (a slice may).
        """
        if not isinstance(partition, slice):
            self._require_complete(partition, closest_to)
        scale = self._scales(partition, closest_to)
        code = None if isinstance(partition, slice) or partition == "all" else partition_code(partition)
        start, stop = self._range(partition)
        step = BLOCK if size is None else size
        if step < 1:
            msg = f"a block must hold at least 1 event, not {size!r}"
            raise InputError(msg)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            keep = scale[self.sample[first:last]] > 0
            if code is not None:
                keep &= self.partition[first:last] == code
            if keep.any():
                yield self._block(slice(first, last), np.flatnonzero(keep), scale)

    def select(self, n: int, seed: Seed = 0, partition: str = "all") -> Block:
        """Return `n` different events of a partition, drawn with equal probability, in the order of the store.

        Weights are scaled up by the size of the partition over `n`, so that sums estimate cross sections [pb].

        Raises
        ------
        InputError
            If the partition has fewer than `n` events.
        """
        available = self.n_events(partition)
        if not 0 < n <= available:
            msg = f"cannot draw {n} different events from the {available} of partition {partition!r}"
            raise InputError(msg)
        scale = self._scales(partition, None) * (available / n)
        if partition == "all":
            members = np.arange(len(self))
        else:
            members = np.flatnonzero(self.partition[:] == partition_code(partition))
        rng = np.random.default_rng(seed_sequence(seed, "select"))
        return self._block(slice(0, len(self)), np.sort(rng.choice(members, n, replace=False)), scale)

    def _block(self, rows: slice, keep: NDArray[np.int64], scale: NDArray[np.float64]) -> Block:
        """Return the events `keep`, counted from the start of `rows`, with their weights scaled per sample."""
        sample = self._rows("sample", rows, keep)
        background = np.array([s.background for s in self.samples])[sample]
        weights = self._rows("weights", rows, keep)
        factor = scale[sample]
        if self.mixing == "balance" and not self.recorded:
            numerator, density = balance(self.samples, scale, self.setup.benchmark_names)
            signal = ~background
            factor[signal] *= numerator[sample[signal]] / (weights[signal] @ density)
        factor = factor[:, np.newaxis]
        return Block(
            indices=rows.start + keep,
            sample=sample,
            benchmark_weights=weights * factor,
            background=background,
            nuisance_weights=self._rows("nuisance_weights", rows, keep) * factor,
            setup=self.setup,
            nuisances=self.nuisances,
            _read_x=partial(self._rows, "observables", rows, keep),
        )

    def _rows(self, name: str, rows: slice, keep: NDArray[np.int64]) -> NDArray[Any]:
        """Read some rows of an array; small arrays are read once, as opening a chunk costs more than their rows."""
        array = self._arrays[name]
        if array.nbytes > _SMALL:
            return _read(array, rows, keep)
        if name not in self._held:
            self._held[name] = np.array(array[...])
            self._held[name].setflags(write=False)  # blocks look into it
        held = self._held[name][rows]
        return held if len(keep) == len(held) else held[keep]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}}  # other processes read for themselves

    # Weights and cross sections ----------------------------------------------------------------------------------

    def event_weights(self, theta: Any, nu: Any = None, partition: str | slice = "all") -> NDArray[np.float64]:
        """Return the weights [pb] of all events of a partition at each theta, (n_theta, n); see `Block.weights`."""
        n_theta = len(self.setup.thetas(theta))
        weights = [block.weights(theta, nu) for block in self.blocks(partition)]
        return np.concatenate(weights, axis=1) if weights else np.empty((n_theta, 0))

    def xsec(
        self, theta: Any = None, nu: Any = None, partition: str | slice = "all", closest_to: Any = None
    ) -> CrossSection:
        """Return the cross section after the selection at each theta, signal and backgrounds together.

        Parameters
        ----------
        theta
            Parameter points, as `Setup.thetas` takes them; None stands for the benchmarks, for which no morphing is
            needed.
        nu
            Nuisance parameters: None (all 0), one point, or one for each theta.
        partition, closest_to
            Which events; see `blocks`.
        """
        coefficients = np.eye(len(self.setup.benchmark_names)) if theta is None else self.setup.weights(theta)
        value, error = np.empty(len(coefficients)), np.empty(len(coefficients))
        for which, moments in self._by_nu(nu, len(coefficients), partition, closest_to):
            value[which], error[which] = moments.cross_section(coefficients[which])
        return CrossSection(value, error)

    def xsec_gradients(
        self, theta: Any, nu: Any = None, partition: str | slice = "all", closest_to: Any = None
    ) -> NDArray[np.float64]:
        """Return the gradients of the cross section [pb per unit of theta], (n_theta, n_directions).

        The directions are those of theta; if `nu` is given (zeros are fine), those of nu follow.
        """
        coefficients = self.setup.weight_gradients(theta)
        morphing = None if nu is None else self.setup.weights(theta)
        gradients = np.empty((len(coefficients), coefficients.shape[1] + (0 if nu is None else len(self.nuisances))))
        for which, moments in self._by_nu(nu, len(coefficients), partition, closest_to):
            along_theta = coefficients[which] @ moments.first
            if morphing is None:
                gradients[which] = along_theta
            else:
                along_nu = morphing[which] @ moments.varied.T + moments.background_varied
                gradients[which] = np.concatenate([along_theta, along_nu], axis=1)
        return gradients

    def _by_nu(
        self, nu: Any, n_theta: int, partition: str | slice, closest_to: Any
    ) -> Iterator[tuple[NDArray[np.bool_], Moments]]:
        """Which thetas share a nu, with the sums over events at that nu, which are kept for the next call."""
        nus = nuisance_points(nu, self.nuisances, n_theta)
        events = (partition.start, partition.stop, partition.step) if isinstance(partition, slice) else partition
        nearest = None if closest_to is None else self.closest_benchmark(closest_to)
        if self.recorded:
            msg = f"{self.path} holds recorded events, which have no weights and so no cross section"
            raise MissingError(msg)
        self._require_complete(partition, closest_to)
        for point in np.unique(nus, axis=0):
            key = (events, nearest, point.tobytes())
            if key not in self._moments:
                blocks = self.blocks(partition, closest_to=closest_to)
                self._moments[key] = Moments.of(blocks, point, len(self.setup.benchmark_names))
            yield (nus == point).all(axis=1), self._moments[key]

    # Mixing and partitions ---------------------------------------------------------------------------------------

    def closest_benchmark(self, theta: Any) -> str:
        """Return the benchmark nearest to theta (Euclidean) among those at which stored events were generated.

        Raises
        ------
        MissingError
            If there are no signal events.
        """
        names = self.setup.benchmark_names
        sampled = [i for i, name in enumerate(names) if any(s.benchmark == name and s.n_events for s in self.samples)]
        if not sampled:
            msg = f"{self.path} holds no signal events, so that no benchmark is the closest"
            raise MissingError(msg)
        distances = np.linalg.norm(self.setup.benchmark_points[sampled] - self.setup.theta(theta), axis=1)
        return str(names[sampled[int(np.argmin(distances))]])

    def _range(self, partition: str | slice) -> tuple[int, int]:
        if not isinstance(partition, slice):
            return 0, len(self)
        start, stop, step = partition.indices(len(self))
        if step != 1:
            msg = f"a range of the store must have step 1, not {partition}"
            raise InputError(msg)
        return start, max(start, stop)

    def _counts(self, partition: str | slice) -> NDArray[np.int64]:
        """Return the number of events of each sample in the partition, (n_samples,)."""
        if isinstance(partition, slice):
            start, stop = self._range(partition)
            counts = np.zeros(len(self.samples), dtype=np.int64)
            for first in range(start, stop, BLOCK):
                counts += np.bincount(self.sample[first : min(first + BLOCK, stop)], minlength=len(counts))
            return counts
        if partition == "all":
            return np.array([s.n_events for s in self.samples], dtype=np.int64)
        code = partition_code(partition)
        return np.array([s.partition_counts[code] for s in self.samples], dtype=np.int64)

    def _scales(self, partition: str | slice, closest_to: Any) -> NDArray[np.float64]:
        """Return what the stored weights of each sample are multiplied with, (n_samples,); 0 leaves it out."""
        if self.recorded:
            return np.ones(len(self.samples))
        nearest = None if closest_to is None else self.closest_benchmark(closest_to)
        return mixing_scales(self.samples, self._counts(partition), nearest)

    def _require_complete(self, partition: str | slice, closest_to: Any) -> None:
        nearest = None if closest_to is None else self.closest_benchmark(closest_to)
        require_complete(self.samples, self._counts(partition), f"partition {partition!r} of {self.path}", nearest)


def _read(array: Any, rows: slice, keep: NDArray[np.int64]) -> NDArray[Any]:
    """Read the entries `keep`, counted from the start of `rows`: whole ranges at once, scattered entries one by one."""
    if len(keep) == rows.stop - rows.start:
        return np.asarray(array[rows])
    if 4 * len(keep) > rows.stop - rows.start:
        return np.asarray(array[rows])[keep]
    return np.asarray(array.take(rows.start + keep))
