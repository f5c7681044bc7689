"""Gradients at benchmarks from neighbouring benchmarks, for set-ups where no morphing is possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError, did_you_mean
from columnminer.model.checks import number, ordered, unique
from columnminer.model.parameters import Benchmark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.model.parameters import ParameterSpace

__all__ = ["FiniteDifferences"]


@dataclass(frozen=True)
class FiniteDifferences:
    """Benchmarks shifted by one step along each parameter, and the difference quotients they give.

    Parameters
    ----------
    steps
        Step of each parameter, by name.
    benchmarks
        Names of the benchmarks that are given neighbours.
    central
        Whether there is a neighbour on either side: the error of a gradient is then of second order in the step, and
        there are twice as many neighbours.

    Raises
    ------
    InputError
        If a step is not a positive number.
    """

    steps: Mapping[str, float]
    benchmarks: tuple[str, ...]
    central: bool = False

    def __post_init__(self) -> None:
        steps: object = self.steps
        if not isinstance(steps, Mapping):
            msg = f"finite differences: steps must be a dict of parameter name -> step, not {steps!r}"
            raise InputError(msg)
        checked = {name: number(step, f"finite differences: the step of {name!r}") for name, step in steps.items()}
        for name, step in checked.items():
            ordered(0.0, step, f"finite differences: the step of {name!r}")
        object.__setattr__(self, "steps", checked)
        object.__setattr__(self, "benchmarks", unique(self.benchmarks, "finite differences: benchmarks"))

    def neighbours(self, benchmark: Benchmark) -> list[Benchmark]:
        """Return the shifted benchmarks of one benchmark, called NAME_plus_PARAMETER and NAME_minus_PARAMETER."""
        signs = {"plus": 1.0, "minus": -1.0} if self.central else {"plus": 1.0}
        return [
            Benchmark(
                f"{benchmark.name}_{word}_{name}",
                {**benchmark.values, name: benchmark.values[name] + sign * step},
            )
            for name, step in self.steps.items()
            for word, sign in signs.items()
        ]

    def check(self, space: ParameterSpace, benchmarks: Sequence[Benchmark]) -> None:
        """Raise InputError if a step, or a neighbour among the benchmarks, is missing or elsewhere."""
        if tuple(self.steps) != space.names:
            msg = f"finite differences have steps for ({', '.join(self.steps)}), not for ({', '.join(space.names)})"
            raise InputError(msg)
        known = {benchmark.name: benchmark for benchmark in benchmarks}
        for name in self.benchmarks:
            if name not in known:
                msg = f"finite differences: no benchmark is called {name!r}.{did_you_mean(name, known)}"
                raise InputError(msg)
            for neighbour in self.neighbours(known[name]):
                if known.get(neighbour.name) != neighbour:
                    msg = f"finite differences at {name!r} need benchmark {neighbour.name!r} at {neighbour.values}"
                    raise InputError(msg)

    def gradients(self, benchmark: str, space: ParameterSpace, benchmark_names: Sequence[str]) -> NDArray[np.float64]:
        """Return d w_b / d theta_i at a benchmark, (n_par, n_benchmarks): the coefficients of the difference quotients.

        Raises
        ------
        MissingError
            If the benchmark has no neighbours.
        """
        if benchmark not in self.benchmarks:
            msg = (
                f"no gradient at benchmark {benchmark!r}: finite differences were set up at "
                f"{', '.join(self.benchmarks)} only"
            )
            raise MissingError(msg)
        gradients = np.zeros((len(space), len(benchmark_names)))
        for i, name in enumerate(space.names):
            distance = 2.0 * self.steps[name] if self.central else self.steps[name]
            below = f"{benchmark}_minus_{name}" if self.central else benchmark
            gradients[i, benchmark_names.index(f"{benchmark}_plus_{name}")] = 1.0 / distance
            gradients[i, benchmark_names.index(below)] = -1.0 / distance
        return gradients

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON types."""
        return {"steps": dict(self.steps), "benchmarks": list(self.benchmarks), "central": self.central}
