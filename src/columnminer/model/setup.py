"""The set-up of an analysis: parameters, benchmarks, morphing and systematics, as one versioned JSON document.

A `Setup` does not change: `with_morphing` and `with_finite_differences` return new ones. It answers the one question
that every later stage has: with which coefficients do the weights of the benchmarks add up to the weight at theta?
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from columnminer.errors import FileFormatError, InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.files import appearing
from columnminer.model.basis import optimise_basis
from columnminer.model.checks import located, unique
from columnminer.model.components import checked_components, find_components
from columnminer.model.differences import FiniteDifferences
from columnminer.model.document import described, parsed
from columnminer.model.morphing import Morphing
from columnminer.model.parameters import Benchmark, Parameter, ParameterSpace

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.parameters import ThetaLike
    from columnminer.model.systematics import Systematic
    from columnminer.streams import Seed

__all__ = ["Setup", "Theta"]

Theta: TypeAlias = "str | Benchmark | ThetaLike"
"""One parameter point: the name of a benchmark, a dict by parameter name, or values in order."""


class Setup:
    """Everything about theta that is fixed before there are events.

    Parameters
    ----------
    space
        The parameters (a sequence of `Parameter` will do).
    benchmarks
        name -> {parameter: value}; or a list of `Benchmark`, or of such dicts, which are then called benchmark_0, ...
        The first one is the reference benchmark.
    systematics
        Definitions from `columnminer.model.systematics`.
    morphing, differences
        How weights away from benchmarks, or gradients at them, are had; usually made by `with_morphing` and
        `with_finite_differences`.

    Raises
    ------
    UnknownNameError, InputError
        If a benchmark lacks a parameter or has an unknown one, or a name is used twice.

    Examples
    --------
    >>> space = cm.ParameterSpace([cm.Parameter("c", max_power=2, bounds=(-1, 1))])
    >>> setup = cm.Setup(space, {"sm": {"c": 0}, "plus": {"c": 1}, "minus": {"c": -1}}).with_morphing(2)
    >>> setup.weights([0.5])  # of the benchmarks
    array([[ 0.75 ,  0.375, -0.125]])
    """

    def __init__(
        self,
        space: ParameterSpace | Iterable[Parameter],
        benchmarks: Mapping[str, Mapping[str, float]] | Iterable[Benchmark | Mapping[str, float]] = (),
        systematics: Iterable[Systematic] = (),
        *,
        morphing: Morphing | None = None,
        differences: FiniteDifferences | None = None,
    ) -> None:
        self.space = space if isinstance(space, ParameterSpace) else ParameterSpace(space)
        self.benchmarks = self.space.benchmarks(benchmarks)
        self.systematics = tuple(systematics)
        self.morphing = morphing
        self.differences = differences
        unique([systematic.name for systematic in self.systematics], "systematics")
        unique((*self.space.names, *(p.name for p in self.nuisance_parameters)), "parameters and nuisance parameters")
        if morphing is not None and (morphing.space != self.space or morphing.benchmarks != self.benchmarks):
            msg = "this morphing belongs to another set of parameters or benchmarks"
            raise InputError(msg)
        if differences is not None:
            differences.check(self.space, self.benchmarks)

    def __repr__(self) -> str:
        return (
            f"Setup(parameters={list(self.parameter_names)}, benchmarks={list(self.benchmark_names)}, "
            f"morphing={'no' if self.morphing is None else len(self.morphing.components)} components, "
            f"systematics={[s.name for s in self.systematics]})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setup) and self.hash == other.hash

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta arrays."""
        return self.space.names

    @property
    def nuisance_parameters(self) -> tuple[Parameter, ...]:
        """Nuisance parameters that the systematics bring, in the order of nu arrays."""
        return tuple(p for systematic in self.systematics for p in systematic.nuisance_parameters)

    @cached_property
    def benchmark_names(self) -> tuple[str, ...]:
        """Names of the benchmarks, in the order of weights."""
        return tuple(benchmark.name for benchmark in self.benchmarks)

    @cached_property
    def benchmark_points(self) -> NDArray[np.float64]:
        """(n_benchmarks, n_par) parameter values of the benchmarks."""
        rows = [self.space.array(benchmark.values) for benchmark in self.benchmarks]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.space))

    @property
    def reference(self) -> str:
        """Name of the reference benchmark: the first one.

        Raises
        ------
        MissingError
            If there are no benchmarks.
        """
        if not self.benchmarks:
            msg = "this set-up has no benchmarks, so no reference benchmark either"
            raise MissingError(msg)
        return self.benchmark_names[0]

    # Parameter points

    def theta(self, point: Theta) -> NDArray[np.float64]:
        """Return one parameter point as an (n_par,) array.

        Raises
        ------
        UnknownNameError
            If there is no benchmark, or no parameter, of that name.
        InputError
            If a parameter is missing or the values do not fit.
        """
        if isinstance(point, Benchmark):
            return self.space.array(point.values)
        if isinstance(point, str):
            return np.array(self.benchmark_points[self._benchmark_index(point)])
        return self.space.array(point)

    def thetas(self, points: Theta | Sequence[Theta]) -> NDArray[np.float64]:
        """Return one or many parameter points as an (n_theta, n_par) array; names, dicts and sequences may be mixed.

        Raises
        ------
        UnknownNameError, InputError
            As `theta`, for the first point that is wrong.
        """
        if isinstance(points, str | Benchmark):
            return self.theta(points)[np.newaxis]
        if isinstance(points, Sequence) and any(isinstance(point, str | Benchmark | Mapping) for point in points):
            return np.array([self.theta(point) for point in points])
        return self.space.points(points)  # type: ignore[arg-type]  # no names are left in it

    def _benchmark_index(self, name: str) -> int:
        if name not in self.benchmark_names:
            msg = f"no benchmark is called {name!r}.{did_you_mean(name, self.benchmark_names)}"
            raise UnknownNameError(msg)
        return self.benchmark_names.index(name)

    def _benchmark_indices(self, points: Theta | Sequence[Theta]) -> list[int]:
        """Return the indices of the benchmarks at points: by name, or where the values are, up to rounding."""
        if isinstance(points, Sequence) and not isinstance(points, str) and any(isinstance(p, str) for p in points):
            return [i for point in points for i in self._benchmark_indices(cast("Theta", point))]
        if isinstance(points, str):
            return [self._benchmark_index(points)]
        return [self._benchmark_at(point) for point in self.thetas(points)]

    def _benchmark_at(self, point: NDArray[np.float64]) -> int:
        if self.benchmarks:
            size = np.maximum(np.abs(self.benchmark_points).max(axis=0), np.abs(point))
            near = (np.abs(self.benchmark_points - point) <= 1e-9 * size).all(axis=1)
            if near.any():
                return int(near.argmax())
        values = ", ".join(f"{name} = {value:g}" for name, value in self.space.as_dict(point).items())
        msg = f"{values} is no benchmark, and there is no morphing to reach it: see Setup.with_morphing"
        raise MissingError(msg)

    # Weights

    def weights(self, theta: Theta | Sequence[Theta]) -> NDArray[np.float64]:
        """Return the coefficients with which benchmark weights add up to the weight at theta, (n_theta, n_benchmarks).

        A benchmark given by its name is taken as it is; any other point through morphing. Without morphing, points have
        to coincide with benchmarks.

        Raises
        ------
        MissingError
            If a point is no benchmark and there is no morphing.
        """
        unit = np.eye(len(self.benchmarks))
        if self.morphing is None:
            return unit[self._benchmark_indices(theta)]
        weights = self.morphing.weights(self.thetas(theta))
        given = [theta] if isinstance(theta, str) else theta if isinstance(theta, Sequence) else ()
        for row, point in enumerate(given):
            if isinstance(point, str):
                weights[row] = unit[self._benchmark_index(point)]
        return weights

    def weight_gradients(self, theta: Theta | Sequence[Theta]) -> NDArray[np.float64]:
        """Return the derivatives of `weights` with respect to the parameters, (n_theta, n_par, n_benchmarks).

        Raises
        ------
        MissingError
            If there is neither morphing, nor a benchmark with finite differences at every point.
        """
        if self.morphing is not None:
            return self.morphing.weight_gradients(self.thetas(theta))
        indices = self._benchmark_indices(theta)
        if self.differences is None:
            msg = "gradients need morphing or finite differences: see Setup.with_morphing, with_finite_differences"
            raise MissingError(msg)
        names = self.benchmark_names
        return np.array([self.differences.gradients(names[i], self.space, names) for i in indices])

    def squared_weights(self, theta: Theta | Sequence[Theta]) -> NDArray[np.float64]:
        """Return the sum over benchmarks of the squared `weights`, (n_theta,); see `Morphing.squared_weights`."""
        return np.asarray((self.weights(theta) ** 2).sum(axis=1))

    # Other set-ups made from this one

    def with_morphing(
        self,
        max_overall_power: int = 4,
        *,
        bsm_max_power: int | None = None,
        standard_model: Iterable[str] = (),
        production: Sequence[str] = (),
        decay: Sequence[str] = (),
        shared: Sequence[str] = (),
        fixed_terms: bool = False,
        components: ArrayLike | None = None,
        morphing_basis: Sequence[str] | None = None,
        include_existing: bool = True,
        n_basis: int | None = None,
        n_trials: int = 8,
        seed: Seed = 0,
    ) -> Setup:
        """Return this set-up with morphing, after adding the benchmarks that the basis lacks.

        Parameters
        ----------
        max_overall_power, bsm_max_power, standard_model, production, decay, shared, fixed_terms
            Which products of couplings the squared matrix element has, see `components.find_components`.
        components
            (n_components, n_par) powers, instead of all these.
        morphing_basis
            Names of the benchmarks to morph from; more than there are components give an overdetermined basis. None:
            benchmarks that the basis lacks are found and added, called ``morphing_basis_vector_`` and their position.
        include_existing
            Whether a basis that is found contains the benchmarks there are (else they stay beside it).
        n_basis
            How many benchmarks a basis that is found has. None: as many as components, or all that there are.
        n_trials, seed
            Starts of the search for a basis, and their randomness; see `basis.optimise_basis`.

        Raises
        ------
        InputError, UnknownNameError, MissingError
            If the basis or the components do not fit, or a parameter has no bounds to search in.

        Warns
        -----
        ColumnMinerWarning
            If the basis is badly conditioned.
        """
        if self.differences is not None:
            msg = "this set-up has finite differences already; add morphing to the one before"
            raise InputError(msg)
        if components is not None:
            powers = checked_components(components, self.space)
        else:
            powers = find_components(
                self.space,
                max_overall_power,
                bsm_max_power=bsm_max_power,
                standard_model=standard_model,
                production=production,
                decay=decay,
                shared=shared,
                fixed_terms=fixed_terms,
            )
        benchmarks = list(self.benchmarks)
        if morphing_basis is None:
            fixed = benchmarks if include_existing else []
            points = optimise_basis(
                self.space,
                powers,
                fixed=self.benchmark_points[: len(fixed)],
                n_basis=n_basis,
                n_trials=n_trials,
                seed=seed,
            )
            names = (f"morphing_basis_vector_{i}" for i in count(len(fixed)))
            free = (name for name in names if name not in self.benchmark_names)
            added = [Benchmark(next(free), self.space.as_dict(point)) for point in points[len(fixed) :]]
            morphing_basis = [benchmark.name for benchmark in (*fixed, *added)]
            benchmarks += added
        checked = self.space.benchmarks(benchmarks)
        morphing = Morphing(self.space, powers, checked, unique(morphing_basis, "morphing_basis"))
        return Setup(self.space, benchmarks, self.systematics, morphing=morphing)

    def with_finite_differences(
        self,
        epsilon: float | Mapping[str, float] = 0.01,
        *,
        benchmarks: Sequence[str] | None = None,
        central: bool = False,
    ) -> Setup:
        """Return this set-up with shifted benchmarks, so that gradients at benchmarks come from differences.

        Parameters
        ----------
        epsilon
            Step, one for all parameters or one each by name.
        benchmarks
            At which benchmarks. None: at all.
        central
            Whether to shift both ways: see `FiniteDifferences`.

        Raises
        ------
        InputError
            If there is morphing, which has exact gradients, or there are differences already; or a step is missing.
        UnknownNameError
            If a benchmark or parameter is not known.
        """
        if self.morphing is not None or self.differences is not None:
            have = "morphing, whose gradients are exact" if self.morphing is not None else "finite differences already"
            msg = f"finite differences cannot be added: this set-up has {have}"
            raise InputError(msg)
        if isinstance(epsilon, Mapping):
            self.space.array(dict.fromkeys(epsilon, 0.0))  # names every parameter, and no other
            steps = dict(epsilon)
        else:
            steps = dict.fromkeys(self.parameter_names, epsilon)
        names = self.benchmark_names if benchmarks is None else tuple(benchmarks)
        differences = FiniteDifferences({name: steps[name] for name in self.parameter_names}, names, central=central)
        chosen = [self.benchmarks[self._benchmark_index(name)] for name in names]
        shifted = [neighbour for benchmark in chosen for neighbour in differences.neighbours(benchmark)]
        return Setup(self.space, [*self.benchmarks, *shifted], self.systematics, differences=differences)

    # As a document

    def to_dict(self) -> dict[str, Any]:
        """Return the set-up as JSON types, for `from_dict`."""
        return described(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], source: str = "set-up") -> Setup:
        """Return the set-up that `to_dict` described.

        Parameters
        ----------
        document
            Parsed JSON.
        source
            What to call it in messages (a file name).

        Raises
        ------
        FileFormatError
            If it is of another format or version, or something in it does not fit; the message names the key.
        """
        arguments = parsed(document, source)
        with located(source):
            return cls(**arguments)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no white space) of `to_dict`."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the set-up as JSON, replacing the file in one step if there is one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(path) as new:
            new.write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Setup:
        """Read a set-up from a JSON file.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FileFormatError
            If it holds no JSON, or no set-up; the message names the file and the key.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            msg = f"{path}: this is no JSON: {error}"
            raise FileFormatError(msg) from error
        return cls.from_dict(document, str(path))
