r"""Nuisance parameters: which there are, which weights of a file they need, and how weights depend on them.

================================  ====================================================================================
`NormalisationUncertainty`        the rate of a sample is uncertain; needs no weights
`ScaleUncertainty`                renormalisation and factorisation scales varied by factors
`PDFUncertainty`                  error members of a PDF set: eigenvector pairs, symmetric eigenvectors, or replicas
`WeightVariation`                 any one or two weights of a file, by their ids
================================  ====================================================================================

A nuisance parameter nu_i multiplies the weight of an event by exp(a_i(x) nu_i + b_i(x) nu_i**2), where a and b follow from
the weights at nu = +1 and -1 (arXiv:1907.10621, section 3.3): `nuisance_coefficients`, `nuisance_factor`.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import ndtri

from columnminer.errors import InputError, MissingError, did_you_mean
from columnminer.model.document import entries, located
from columnminer.model.parameters import Parameter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "NormalisationUncertainty",
    "NuisanceShift",
    "PDFUncertainty",
    "ScaleUncertainty",
    "Systematic",
    "WeightVariation",
    "nuisance_coefficients",
    "nuisance_factor",
    "nuisance_log_gradients",
    "systematic_from_dict",
]

LARGEST_EXPONENT = 10.0
"""Coefficients a and b are clipped to this: events with tiny nominal weights would get absurd factors."""


@dataclass(frozen=True)
class NuisanceShift:
    """Where one file has the varied weights of one nuisance parameter.

    Attributes
    ----------
    parameter : str
        Name of the nuisance parameter.
    up, down : str or None
        Ids of the weights at nu = +step and -step; `up` None stands for the nominal weight, `down` None for one-sided.
    factor : float
        What the weight `up` is to be multiplied with.
    step : float
        Value of nu to which the varied weights belong.
    """

    parameter: str
    up: str | None
    down: str | None = None
    factor: float = 1.0
    step: float = 1.0


@dataclass(frozen=True)
class Systematic(ABC):
    """A source of uncertainty with a name and one or more nuisance parameters."""

    name: str
    type: ClassVar[str]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            msg = f"the name of a systematic uncertainty must be a non-empty text, not {self.name!r}"
            raise InputError(msg)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the nuisance parameters that it brings."""
        return (self.name,)

    @property
    def nuisance_parameters(self) -> tuple[Parameter, ...]:
        """The nuisance parameters: unit Gaussians around 0."""
        return tuple(Parameter(n, constraint=1.0, kind="nuisance", description=self.name) for n in self.parameter_names)

    @abstractmethod
    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return where a file has the varied weights, one entry for each nuisance parameter.

        Parameters
        ----------
        weight_names
            Ids of the weights in the file.
        descriptions
            What the file says about each, by id (`SourceInfo.weight_descriptions`).
        source
            What to call the file in messages.

        Raises
        ------
        MissingError
            If the file lacks one.
        """

    def required_weights(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[str, ...]:
        """Return the ids of all weights that `shifts` refers to, each once; parameters and errors as there."""
        shifts = self.shifts(weight_names, descriptions, source)
        return tuple(dict.fromkeys(i for shift in shifts for i in (shift.up, shift.down) if i is not None))

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON types."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"type": self.type} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


@dataclass(frozen=True)
class NormalisationUncertainty(Systematic):
    """The rate of the samples that carry it is known to a relative `size`: factor (1 + size)**nu.

    Parameters
    ----------
    name
        Also the name of its nuisance parameter.
    size
        Relative change of the rate at nu = +1, for instance 0.1 for 10 %.

    Raises
    ------
    InputError
        If `size` is zero, not above -1, or above 1 (perhaps a factor such as 1.1 was meant as 0.1).
    """

    size: float
    type: ClassVar[str] = "normalisation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.size, bool) or not isinstance(self.size, int | float) or not -1 < self.size <= 1 or not self.size:
            msg = f"{self.name}: size is relative, 0.1 for 10 %: between -1 and 1 and not zero, not {self.size!r}"
            raise InputError(msg)

    def shifts(
        self,
        weight_names: Sequence[str],  # noqa: ARG002 - needs none of them
        descriptions: Mapping[str, str],  # noqa: ARG002
        source: str = "source",  # noqa: ARG002
    ) -> tuple[NuisanceShift, ...]:
        """Return the nominal weight times 1 + size."""
        return (NuisanceShift(self.name, up=None, factor=1.0 + self.size),)


@dataclass(frozen=True)
class ScaleUncertainty(Systematic):
    """Renormalisation and factorisation scales varied by factors.

    Parameters
    ----------
    name
        Also the name of its nuisance parameter.
    scale
        "mur" or "muf" for one of the scales, "mu" for both together.
    factors
        Of the scale. nu = +1 is the last one, nu = -1 the first; a single one is one-sided.

    Raises
    ------
    InputError
        If `scale` is not known or a factor is not positive.
    """

    scale: str = "mu"
    factors: tuple[float, ...] = (0.5, 1.0, 2.0)
    type: ClassVar[str] = "scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale not in {"mu", "mur", "muf"}:
            msg = f"{self.name}: no scale is called {self.scale!r}.{did_you_mean(self.scale, ('mu', 'mur', 'muf'))}"
            raise InputError(msg)
        object.__setattr__(self, "factors", tuple(self.factors))
        if not self.factors or not all(isinstance(f, int | float) and f > 0 for f in self.factors):
            msg = f"{self.name}: factors must be positive numbers, not {self.factors!r}"
            raise InputError(msg)

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return the weights at the last and the first factor."""
        del weight_names  # scales are found by what the file says, ids have no meaning of their own
        found = []
        for factor in (self.factors[-1], self.factors[0])[: len(self.factors)]:
            wanted = {key: factor if self.scale in {"mu", key} else 1.0 for key in ("mur", "muf")}
            found.append(_find(wanted, descriptions, f"{source}: systematic {self.name!r}"))
        return (NuisanceShift(self.name, *found),)


@dataclass(frozen=True)
class PDFUncertainty(Systematic):
    """Error members of a set of parton densities, each nuisance parameter one direction.

    Parameters
    ----------
    name
        Nuisance parameters are called name_1, name_2, ...
    lhapdf_id
        LHAPDF number of the central member.
    n_members
        Number of error members; they have the numbers that follow.
    errors
        As LHAPDF's ErrorType: "hessian", members are pairs of eigenvector directions (up, down); "symmhessian", one
        member for each eigenvector; "replicas", equally probable members, of which each is a direction with step
        sqrt(n_members - 1), so that together they have the covariance of the replicas (arXiv:1505.06736, section 2.1).
    confidence_level
        To which the eigenvector members belong: 0.9 for older CTEQ sets.

    Raises
    ------
    InputError
        If an option is not known or the number of members does not fit.
    """

    lhapdf_id: int
    n_members: int
    errors: str = "hessian"
    confidence_level: float = 0.6826894921370859
    type: ClassVar[str] = "pdf"

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = ("hessian", "symmhessian", "replicas")
        if self.errors not in kinds:
            msg = f"{self.name}: no errors of PDF sets are called {self.errors!r}.{did_you_mean(self.errors, kinds)}"
            raise InputError(msg)
        if not all(isinstance(n, int) and n > 0 for n in (self.lhapdf_id, self.n_members)):
            msg = f"{self.name}: lhapdf_id and n_members must be positive integers"
            raise InputError(msg)
        if (self.errors == "hessian" and self.n_members % 2) or (self.errors == "replicas" and self.n_members < 2):
            msg = f"{self.name}: {self.n_members} members are no set of {self.errors}"
            raise InputError(msg)
        if not 0 < self.confidence_level < 1:
            msg = f"{self.name}: confidence_level must be between 0 and 1, not {self.confidence_level!r}"
            raise InputError(msg)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the nuisance parameters that it brings."""
        n_directions = self.n_members // 2 if self.errors == "hessian" else self.n_members
        return tuple(f"{self.name}_{i + 1}" for i in range(n_directions))

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return the weights of the error members."""
        del weight_names  # as for the scales
        where = f"{source}: systematic {self.name!r}"
        ids = [
            _find({"pdf": float(self.lhapdf_id + i + 1), "mur": 1.0, "muf": 1.0}, descriptions, where)
            for i in range(self.n_members)
        ]
        if self.errors == "replicas":
            step = math.sqrt(self.n_members - 1)
        else:
            step = float(ndtri(0.5 + 0.5 * self.confidence_level))
        if self.errors == "hessian":
            pairs = zip(self.parameter_names, ids[::2], ids[1::2], strict=True)
            return tuple(NuisanceShift(name, up, down, step=step) for name, up, down in pairs)
        return tuple(NuisanceShift(name, up, step=step) for name, up in zip(self.parameter_names, ids, strict=True))


@dataclass(frozen=True)
class WeightVariation(Systematic):
    """Weights of a file, by their ids, at nu = +1 and (unless one-sided) -1.

    Parameters
    ----------
    name
        Also the name of its nuisance parameter.
    up, down
        Ids of the weights; `down` None: one-sided.
    """

    up: str
    down: str | None = None
    type: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.up, str) or not isinstance(self.down, str | None):
            msg = f"{self.name}: up and down are ids of weights (texts), not {self.up!r} and {self.down!r}"
            raise InputError(msg)

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return the two weights."""
        del descriptions  # the ids are given
        for wanted in (self.up, self.down):
            if wanted is not None and wanted not in weight_names:
                msg = f"{source}: systematic {self.name!r} needs weight {wanted!r}.{did_you_mean(wanted, weight_names)}"
                raise MissingError(msg)
        return (NuisanceShift(self.name, self.up, self.down),)


_TYPES: dict[str, type[Systematic]] = {
    kind.type: kind for kind in (NormalisationUncertainty, ScaleUncertainty, PDFUncertainty, WeightVariation)
}


def systematic_from_dict(document: object, where: str = "systematic") -> Systematic:
    """Return the systematic that `Systematic.to_dict` described.

    Raises
    ------
    FileFormatError
        If it does not fit; the message begins with `where`.
    """
    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind is not None and kind not in _TYPES:
        with located(where):
            msg = f"no systematic is of type {kind!r}.{did_you_mean(str(kind), _TYPES)}"
            raise InputError(msg)
    known = [field.name for field in fields(_TYPES[kind])] if kind else []
    values = entries(document, where, required=("type", "name"), optional=known)
    del values["type"]
    with located(where):
        try:
            return _TYPES[kind](**values)
        except TypeError as error:
            msg = f"a field of systematic {values['name']!r} is missing: {error}"
            raise InputError(msg) from error


# What generators write: MUR="0.5" or muR=0.50000E+00 (MadGraph), renscfact=0.5d0 and lhapdf=... (POWHEG)
_SETTING = re.compile(
    r"(?P<key>mur|muf|renscfact|facscfact|lhapdf|pdf|dyn_?scale|dyn)\s*=\s*[\"']?\s*"
    r"(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[ed][-+]?\d+)?)",
    re.IGNORECASE,
)
_SPELLING = {"renscfact": "mur", "facscfact": "muf", "lhapdf": "pdf", "dynscale": "dyn", "dyn_scale": "dyn"}


def _settings(description: str) -> dict[str, float]:
    """Return the scales, PDF member and dynamical-scale choice that the description of a weight names."""
    settings = {}
    for match in _SETTING.finditer(description):
        key = match["key"].lower()
        settings[_SPELLING.get(key, key)] = float(match["value"].lower().replace("d", "e"))
    return settings


def _find(wanted: Mapping[str, float], descriptions: Mapping[str, str], where: str) -> str:
    """Return the id of the first weight with these settings; a scale that is not named is the central one."""
    for weight_id, description in descriptions.items():
        settings = _settings(description)
        if not settings or settings.get("dyn", -1.0) != -1.0:  # another functional form of the scale
            continue
        central = {"mur": 1.0, "muf": 1.0} | settings
        if all(math.isclose(central.get(key, math.nan), value, rel_tol=1e-4) for key, value in wanted.items()):
            return weight_id
    text = ", ".join(f"{key} = {value:g}" for key, value in wanted.items())
    varied = [weight_id for weight_id, description in descriptions.items() if _settings(description)]
    have = f"scales or PDFs are varied in weights {', '.join(varied)}" if varied else "none varies scales or PDFs"
    msg = f"{where} needs a weight with {text}, but the file describes none ({have})"
    raise MissingError(msg)


def nuisance_coefficients(
    w_up: ArrayLike, w_down: ArrayLike | None, w_nominal: ArrayLike, step: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return a and b of exp(a nu + b nu**2), the factor by which a nuisance parameter changes a weight.

    Two-sided: a = log(w+ / w-) / 2, b = log(w+ w- / w0**2) / 2; one-sided: a = log(w+ / w0), b = 0. What is not finite
    (a weight is zero, signs differ) is 0; the rest is clipped to [-10, 10].

    Parameters
    ----------
    w_up, w_down, w_nominal
        Weights at nu = +step, -step and 0 of arrays that broadcast together; `w_down` None: one-sided.
    step
        Value of nu to which the varied weights belong.

    Returns
    -------
    a, b
        Of the shape of the weights.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        up, nominal = np.asarray(w_up, dtype=np.float64), np.asarray(w_nominal, dtype=np.float64)
        if w_down is None:
            a = np.log(up / nominal)
            b = np.zeros_like(a)
        else:
            down = np.asarray(w_down, dtype=np.float64)
            a = 0.5 * np.log(up / down)
            b = 0.5 * np.log((up / nominal) * (down / nominal))
    return _bounded(a) / step, _bounded(b) / step**2


def _bounded(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.where(np.isfinite(exponents), exponents, 0.0), -LARGEST_EXPONENT, LARGEST_EXPONENT)


def nuisance_factor(a: ArrayLike, b: ArrayLike, nu: ArrayLike) -> NDArray[np.float64]:
    """Return prod_i exp(a_i nu_i + b_i nu_i**2).

    Parameters
    ----------
    a, b
        (n_nu, n_events) from `nuisance_coefficients`.
    nu
        (n_points, n_nu), or (n_nu,) for one point.

    Returns
    -------
    numpy.ndarray
        (n_points, n_events).
    """
    points = np.atleast_2d(np.asarray(nu, dtype=np.float64))
    return np.asarray(np.exp(points @ np.asarray(a) + points**2 @ np.asarray(b)))


def nuisance_log_gradients(a: ArrayLike, b: ArrayLike, nu: ArrayLike) -> NDArray[np.float64]:
    """Return d log(nuisance_factor) / d nu_i = a_i + 2 b_i nu_i, (n_points, n_nu, n_events); parameters as there."""
    points = np.atleast_2d(np.asarray(nu, dtype=np.float64))[..., np.newaxis]
    return np.asarray(a, dtype=np.float64) + 2.0 * np.asarray(b, dtype=np.float64) * points
