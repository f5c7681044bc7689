"""What sampling gives and training takes: arrays by name, and what they are about."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError
from columnminer.model.crosssection import CrossSectionPolynomial
from columnminer.store.columns import intact
from columnminer.store.samplestore import PER_SET, SampleStore

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ARRAYS", "Samples"]

ARRAYS = ("x", "theta0", "theta1", "y", "r_xz", "t_xz", "t_xz1", "weights")
"""Names of the arrays with one row for each event."""


@dataclass(frozen=True)
class Samples:
    """Unweighted events with their gold; arrays that a method does not need are None.

    Attributes
    ----------
    x : numpy.ndarray
        (n, n_features) observables.
    feature_names, parameter_names : tuple of str
        Names of the columns of x, and of theta.
    theta0 : numpy.ndarray or None
        (n, n_par) numerator point, or the point that the event was drawn from if there is no denominator.
    theta1 : numpy.ndarray or None
        (n, n_par) denominator point.
    y : numpy.ndarray or None
        (n,) 0 where the event was drawn from theta0, 1 where from theta1.
    r_xz : numpy.ndarray or None
        (n,) joint likelihood ratio p(x, z | theta0) / p(x, z | theta1).
    t_xz, t_xz1 : numpy.ndarray or None
        (n, n_par) joint score at theta0, at theta1.
    weights : numpy.ndarray or None
        (n,) +-1 where events of negative weight were kept with their sign; of `sample_variation` those of the events,
        with mean 1; None: all events count alike.
    n_eff : numpy.ndarray or None
        (n_points,) effective number of events behind each point that was drawn from, numerator points first.
    negative : numpy.ndarray or None
        (n_points,) share that events of negative weight have in the total at these points; what became of them stands
        in the options.
    options : dict
        How events were drawn: the fields of `draw.DrawOptions` but dtype.
    store_hash, partition : str
        Which events were drawn: content hash of the store, and name of its partition.
    cross_section : CrossSectionPolynomial or None
        Total cross section of signal and background at any theta; None where nothing is morphed.
    nuisance_names : tuple of str
        Which of the parameters are nuisances.

    Raises
    ------
    InputError
        If the arrays do not fit together, or a nuisance is not among the parameters.
    """

    x: NDArray[np.floating]
    feature_names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    theta0: NDArray[np.floating] | None = None
    theta1: NDArray[np.floating] | None = None
    y: NDArray[np.floating] | None = None
    r_xz: NDArray[np.floating] | None = None
    t_xz: NDArray[np.floating] | None = None
    t_xz1: NDArray[np.floating] | None = None
    weights: NDArray[np.floating] | None = None
    n_eff: NDArray[np.float64] | None = None
    negative: NDArray[np.float64] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    store_hash: str = ""
    partition: str = ""
    cross_section: CrossSectionPolynomial | None = None
    nuisance_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, n_par = len(self.x), len(self.parameter_names)
        shapes = {"x": (n, len(self.feature_names)), "y": (n,), "r_xz": (n,), "weights": (n,)}
        shapes |= dict.fromkeys(("theta0", "theta1", "t_xz", "t_xz1"), (n, n_par))
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                msg = (
                    f"samples: {name} has shape {values.shape}, but {n} events with the features "
                    f"{', '.join(self.feature_names)} and parameters {', '.join(self.parameter_names)} need {shape}"
                )
                raise InputError(msg)

        if not set(self.nuisance_names) <= set(self.parameter_names):
            msg = f"samples: the nuisances {', '.join(self.nuisance_names)} are not all among the parameters "
            msg += ", ".join(self.parameter_names)
            raise InputError(msg)

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"Samples({len(self)} events: {', '.join(self.array_names)})"

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names of the arrays that are there, of those with one row for each event."""
        return tuple(name for name in ARRAYS if getattr(self, name) is not None)

    def take(self, events: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Samples:
        """Return some of the events."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ARRAYS:
            if chosen[name] is not None:
                chosen[name] = chosen[name][events]
        return Samples(**chosen)

    def write(self, path: str | Path, *, replace: bool = False) -> SampleStore:
        """Write the samples as a SampleStore.

        Raises
        ------
        OutputExistsError
            If the output exists, and is not to be replaced.
        """
        arrays = {name: getattr(self, name) for name in (*ARRAYS, *PER_SET)}
        return SampleStore.write(path, arrays, self.attributes, replace=replace)

    @property
    def attributes(self) -> dict[str, Any]:
        """All but the arrays, as a JSON document."""
        known = {} if self.cross_section is None else {"cross_section": self.cross_section.to_dict()}
        return {
            "feature_names": list(self.feature_names),
            "parameter_names": list(self.parameter_names),
            "nuisance_names": list(self.nuisance_names),
            "store_hash": self.store_hash,
            "partition": self.partition,
            "options": self.options,
            **known,
        }

    @classmethod
    def of(cls, samples: Samples | SampleStore, events: slice | NDArray[np.integer] | None = None) -> Samples:
        """Return samples as arrays in memory, reading them if they are stored; some events of them, or all."""
        if isinstance(samples, Samples):
            return samples if events is None else samples.take(events)
        chosen = slice(None) if events is None else events
        with intact(f"{samples.path}: these samples cannot be read"):
            arrays = {name: samples[name].take(chosen) for name in ARRAYS if name in samples}
            xsec = samples.attributes.get("cross_section")
            return cls(
                **{name: np.asarray(values) for name, values in arrays.items()},
                **{name: np.asarray(samples[name][:]) for name in PER_SET if name in samples},
                feature_names=tuple(samples.attributes["feature_names"]),
                parameter_names=tuple(samples.attributes["parameter_names"]),
                store_hash=samples.attributes["store_hash"],
                partition=samples.attributes["partition"],
                options=samples.attributes.get("options", {}),
                cross_section=None if xsec is None else CrossSectionPolynomial.from_dict(xsec),
                nuisance_names=tuple(samples.attributes.get("nuisance_names", ())),
            )
