"""Maps: probabilities that depend on a particle, for efficiencies and tags of a detector.

=====================  ==========================================================================================
``0.9``                the same for all
``"0.9 * (pt > 20)"``  an expression in the particle's true ``pt eta phi e charge ...``
a function             of the true particles' columns: ``lambda p: np.where(p["pt"] > 20, 0.9, 0.5)``
a `CorrectionMap`      a correction in a file of correctionlib (JSON), as collaborations publish them
=====================  ==========================================================================================
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from columnminer.arithmetic import Number
from columnminer.errors import InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.expressions import Evaluator, compile_expression
from columnminer.momenta import ATTRIBUTES
from columnminer.observe.observables import provenance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.momenta import Momenta

__all__ = ["CorrectionMap", "EfficiencyMap", "as_map", "described", "probability"]

_INPUTS = {"abseta": "abs(eta)", "flavor": "abs(pdgid)", "flavour": "abs(pdgid)", "energy": "e", "mass": "m"}
"""Names of inputs that corrections have, and what they are of a particle. An attribute stands for itself."""


@dataclass(frozen=True)
class CorrectionMap:
    """A correction of correctionlib as a map.

    Attributes
    ----------
    file : str
        Its JSON file, plain or gzip.
    correction : str
        Which of the corrections in it, by name.
    inputs : mapping
        Name of an input -> an expression in the particle's attributes, or for a string input the text that it gets;
        those that are not given are found by their names (pt, eta, abseta, phi, e, m, pdgid, flavor).

    Raises
    ------
    UnknownNameError
        If there is no such correction, or it has no such input.
    InputError
        If the file is none of correctionlib, or an input is not known.
    MissingError
        If correctionlib is not installed.

    Examples
    --------
    >>> tag = cm.CorrectionMap("btag.json", "tag")
    >>> detector = cm.Detector(tags={"b": {"b": tag, "c": 0.15, "j": 0.01}})
    """

    file: str
    correction: str
    inputs: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", str(self.file))
        names = {variable.name: variable.type for variable in self._loaded.inputs}
        for name in self.inputs:
            if name not in names:
                msg = f"{self.file}: {self.correction!r} has no input {name!r}.{did_you_mean(name, names)}"
                raise UnknownNameError(msg)
        for name, kind in names.items():
            if kind != "string":
                compile_expression(self._formula(name), ATTRIBUTES)
            elif not isinstance(self.inputs.get(name), str):
                msg = f"{self.file}: {self.correction!r} needs a text for its input {name!r}: inputs={{{name!r}: ...}}"
                raise InputError(msg)

    @property
    def _loaded(self) -> Any:
        corrections = _corrections(self.file)
        if self.correction not in corrections:
            known = did_you_mean(self.correction, corrections)
            msg = f"{self.file}: no correction is called {self.correction!r}.{known}"
            raise UnknownNameError(msg)
        return corrections[self.correction]

    def _formula(self, name: str) -> str:
        if name in self.inputs:
            return str(self.inputs[name])
        formula = _INPUTS.get(name, name)
        if name not in _INPUTS and name not in ATTRIBUTES:
            msg = f"{self.file}: say what the input {name!r} of {self.correction!r} is: inputs={{{name!r}: 'pt'}}"
            raise InputError(msg)
        return formula

    def __call__(self, particles: Momenta) -> NDArray[np.float64]:
        """Return the correction for each particle, (n,)."""
        columns: list[Any] = []
        for variable in self._loaded.inputs:
            if variable.type == "string":
                columns.append(self.inputs[variable.name])
                continue
            values = _evaluated(self._formula(variable.name), particles)
            columns.append(np.rint(values).astype(np.int64) if variable.type == "int" else values)
        try:
            return np.asarray(self._loaded.evaluate(*columns), dtype=np.float64)
        except (RuntimeError, IndexError) as error:
            msg = f"{self.file}: {self.correction!r} has no value for some particle: {error}"
            raise InputError(msg) from error

    def to_dict(self) -> dict[str, Any]:
        """Return what the map is, by the content of its file and not by where it lies."""
        digest = hashlib.sha256(Path(self.file).read_bytes()).hexdigest()
        return {"correction": self.correction, "sha256": digest, "inputs": dict(self.inputs)}


EfficiencyMap: TypeAlias = float | str | Callable[["Momenta"], Any] | CorrectionMap


@functools.lru_cache(maxsize=32)
def _corrections(file: str) -> dict[str, Any]:
    try:
        from correctionlib import highlevel, schemav2  # noqa: PLC0415 - only where a map is in such a file
    except ImportError as error:
        msg = f"{file}: maps in files of correctionlib need it: python -m pip install correctionlib"
        raise MissingError(msg) from error
    if not Path(file).is_file():
        msg = f"there is no file {file!r}"
        raise InputError(msg)
    try:
        # Checked by the schema first: the evaluator, which is C++, trusts what it is given, and may crash otherwise.
        document = schemav2.CorrectionSet.model_validate_json(highlevel.open_auto(file))
        return dict(highlevel.CorrectionSet(document).items())
    except (RuntimeError, ValueError, OSError, LookupError, EOFError, zlib.error, AssertionError) as error:
        msg = f"{file}: no corrections of correctionlib: {' '.join(str(error).split())[:300]}"
        raise InputError(msg) from error


def as_map(given: object, what: str) -> EfficiencyMap:
    """Return a map from what a user or a configuration file says of it.

    Raises
    ------
    InputError, ExpressionError, UnknownNameError
        If it is none; `what` says whose it was to be.
    """
    if isinstance(given, Mapping):
        options = {"file", "correction", "inputs"}
        if not {"file", "correction"} <= set(given) <= options:
            msg = f"{what} as a mapping needs the keys file and correction, and perhaps inputs, not {sorted(given)}"
            raise InputError(msg)
        return CorrectionMap(**given)
    if isinstance(given, CorrectionMap) or callable(given):
        return given
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        msg = f"{what} must be a number, an expression, a function or a CorrectionMap, not {given!r}"
        raise InputError(msg)
    compile_expression(str(given), ATTRIBUTES)
    return given


def described(given: EfficiencyMap) -> Any:
    """Return a map as JSON has it; functions by their provenance."""
    if isinstance(given, CorrectionMap):
        return given.to_dict()
    return provenance(given) if callable(given) else given


def probability(given: EfficiencyMap, particles: Momenta, what: str) -> NDArray[np.float64]:
    """Return the probability for each particle, (n,).

    Raises
    ------
    InputError
        If it is not between 0 and 1 for every particle, or a function fails; `what` says whose it is.
    """
    n = len(particles["pdgid"])
    if callable(given):
        try:
            values = np.broadcast_to(np.asarray(given(particles), dtype=np.float64), (n,))
        except InputError:
            raise
        except Exception as error:
            msg = f"{what}, {provenance(cast('Any', given))}, failed: {type(error).__name__}: {error}"
            raise InputError(msg) from error
    else:
        values = _evaluated(str(given), particles)
    if not np.all((values >= 0) & (values <= 1)):
        name = described(given) if not isinstance(given, CorrectionMap) else given.correction
        msg = f"{what}, {name!r}, is not between 0 and 1 for every particle"
        raise InputError(msg)
    return values


def _evaluated(formula: str, particles: Momenta) -> NDArray[np.float64]:
    """Return the value of an expression for each particle, NaN where it is undefined."""
    program = compile_expression(formula, ATTRIBUTES)
    numbers = {n: Number(np.asarray(particles[n], dtype=np.float64)) for n in program.names}
    values, defined = Evaluator(numbers).number(program)
    return np.array(np.broadcast_to(np.where(defined, values, np.nan), len(particles["pdgid"])), dtype=np.float64)
