r"""Nuisance parameters: which there are, which weights of a file they need, and how weights depend on them.

================================  ====================================================================================
`NormalisationUncertainty`        the rate of a sample is uncertain; needs no weights
`ScaleUncertainty`                renormalisation and factorisation scales varied by factors
`PDFUncertainty`                  error members of a PDF set: eigenvector pairs, symmetric eigenvectors, or replicas
`WeightVariation`                 any one or two weights of a file, by their ids or descriptions
`SelectionVariation`              other observables and cuts for the same events, such as jets at another scale
`PrincipalDirections`             the few directions in which many of these parameters change anything
================================  ====================================================================================

How weights, or bins, depend on the nuisance parameters then is the matter of `columnminer.model.response`.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from scipy.special import ndtri

from columnminer.errors import ColumnMinerWarning, InputError
from columnminer.model.checks import choice, entries, floats, integer, located, number, sequence, text
from columnminer.model.shifts import NuisanceShift, Systematic
from columnminer.model.variations import find_named_weight, find_weight, fitting_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "NormalisationUncertainty",
    "NuisanceShift",
    "PDFUncertainty",
    "PrincipalDirections",
    "ScaleUncertainty",
    "SelectionVariation",
    "Systematic",
    "WeightVariation",
    "systematic_from_dict",
]

_PDF_ERRORS = ("hessian", "symmhessian", "replicas")


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
        If `size` is zero, or not above -1.

    Warns
    -----
    ColumnMinerWarning
        If `size` is above 1: perhaps a factor was given.

    Examples
    --------
    >>> luminosity = cm.NormalisationUncertainty("luminosity", 0.02)
    >>> sample = cm.Sample("sm.lhe.gz", benchmark="sm", systematics=["luminosity"])
    """

    size: float
    type: ClassVar[str] = "normalisation"

    def __post_init__(self) -> None:
        super().__post_init__()
        size = number(self.size, f"systematic {self.name!r}: size")
        if size <= -1 or size == 0:
            msg = f"systematic {self.name!r}: size is relative, 0.1 for 10 %: above -1 and not zero, not {size:g}"
            raise InputError(msg)
        if size > 1:
            msg = (
                f"systematic {self.name!r} multiplies rates by {1 + size:g} at +1 sigma: if a factor of {size:g} is "
                f"meant, its size is {size - 1:g}"
            )
            warnings.warn(msg, ColumnMinerWarning, stacklevel=3)

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return the nominal weight times 1 + size."""
        del weight_names, descriptions, source  # it needs nothing of the file
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
        Of the scale. nu = +1 is the last one, nu = -1 the first; a single one is one-sided. A factor of 1 is the
        nominal weight.

    Raises
    ------
    InputError
        If `scale` is not known, a factor is not positive, or nothing varies.

    Examples
    --------
    >>> cm.ScaleUncertainty("scales", "mu", (0.5, 1.0, 2.0)).factors
    (0.5, 1.0, 2.0)
    """

    scale: str = "mu"
    factors: tuple[float, ...] = (0.5, 1.0, 2.0)
    type: ClassVar[str] = "scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        choice(self.scale, ("mu", "mur", "muf"), f"systematic {self.name!r}: scale")
        given = sequence(self.factors, f"systematic {self.name!r}: factors")
        factors = tuple(number(factor, f"systematic {self.name!r}: a factor") for factor in given)
        if not factors or min(factors) <= 0:
            msg = f"systematic {self.name!r}: factors must be positive numbers, not {self.factors!r}"
            raise InputError(msg)
        if factors[0] == factors[-1] and (len(factors) > 1 or factors == (1.0,)):
            msg = f"systematic {self.name!r}: factors {factors} do not say what nu = +1 is; it is the last one"
            raise InputError(msg)
        object.__setattr__(self, "factors", factors)

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return the weights at the last and the first factor."""
        where = f"{source}: systematic {self.name!r}"
        ids = []
        for factor in (self.factors[-1], self.factors[0])[: len(self.factors)]:
            wanted = {key: factor if self.scale in {"mu", key} else 1.0 for key in ("mur", "muf")}
            central = factor == 1.0
            ids.append(weight_names[0] if central else find_weight(wanted, weight_names, descriptions, where))
        return (NuisanceShift(self.name, ids[0], ids[1] if len(ids) > 1 else None),)


@dataclass(frozen=True)
class PDFUncertainty(Systematic):
    """Error members of a set of parton densities, each nuisance parameter one direction.

    Members are compared with the central member where the file has it, and with the nominal weight otherwise: events
    may have been generated with other densities.

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
        sqrt(n_members - 1): sums of their squared effects are then the covariance of the replicas about the central
        member, as in the Hessian representation of arXiv:1505.06736 before directions of little weight are dropped.
    confidence_level
        To which the eigenvector members belong: 0.9 for older CTEQ sets.

    Raises
    ------
    InputError
        If an option is not known or the number of members does not fit.

    Warns
    -----
    ColumnMinerWarning
        By `shifts`, if the file says that its members are errors of another kind.

    Examples
    --------
    >>> cm.PDFUncertainty("cteq", 10800, 52, confidence_level=0.9).n_members
    52
    """

    lhapdf_id: int
    n_members: int
    errors: str = "hessian"
    confidence_level: float = 0.6826894921370859
    type: ClassVar[str] = "pdf"

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"systematic {self.name!r}"
        choice(self.errors, _PDF_ERRORS, f"{where}: errors")
        integer(self.lhapdf_id, f"{where}: lhapdf_id", at_least=1)
        integer(self.n_members, f"{where}: n_members", at_least=1)
        if (self.errors == "hessian" and self.n_members % 2) or (self.errors == "replicas" and self.n_members < 2):
            msg = f"{where}: {self.n_members} members are no set of {self.errors} errors"
            raise InputError(msg)
        if not 0 < number(self.confidence_level, f"{where}: confidence_level") < 1:
            msg = f"{where}: confidence_level must be between 0 and 1, not {self.confidence_level!r}"
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
        where = f"{source}: systematic {self.name!r}"
        numbers = [float(self.lhapdf_id + i) for i in range(self.n_members + 1)]
        wanted = [{"pdf": number, "mur": 1.0, "muf": 1.0} for number in numbers]
        ids = [find_weight(member, weight_names, descriptions, where) for member in wanted[1:]]
        # Where several weights are the central member (with the scales, and with the set) they say the same.
        central = next(iter(fitting_weights(wanted[0], weight_names, descriptions)), None)
        self._compare_with_group(descriptions.get(ids[0], ""), where)
        if self.errors == "replicas":
            step = math.sqrt(self.n_members - 1)
        else:
            step = float(ndtri(0.5 + 0.5 * self.confidence_level))
        if self.errors == "hessian":
            pairs = zip(self.parameter_names, ids[::2], ids[1::2], strict=True)
            return tuple(NuisanceShift(name, up, down, step=step, central=central) for name, up, down in pairs)
        names = zip(self.parameter_names, ids, strict=True)
        return tuple(NuisanceShift(name, up, step=step, central=central) for name, up in names)

    def _compare_with_group(self, description: str, where: str) -> None:
        """Warn where the group of the weights (``combine="replicas"``) says something else than `errors`."""
        group = re.search(r"\bcombine\s*=\s*(\w+)", description)
        if group is not None and group[1] in _PDF_ERRORS and group[1] != self.errors:
            msg = f"{where} takes members for {self.errors} errors, but the file combines them as {group[1]!r}"
            warnings.warn(msg, ColumnMinerWarning, stacklevel=4)


@dataclass(frozen=True)
class WeightVariation(Systematic):
    """Weights of a file, by their ids or descriptions, at nu = +1 and (unless one-sided) -1.

    Parameters
    ----------
    name
        Also the name of its nuisance parameter.
    up, down
        Ids of the weights or, as ids differ from file to file, what is said of them (all of the attributes, or all of
        the text); `down` None: one-sided.

    Examples
    --------
    >>> shower = cm.WeightVariation("shower", "isr_up", "isr_down")  # ids of weights in the files
    >>> sample = cm.Sample("sm.lhe.gz", benchmark="sm", systematics=["shower"])
    """

    up: str
    down: str | None = None
    type: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        super().__post_init__()
        text(self.up, f"systematic {self.name!r}: up, the id of a weight,")
        if self.down is not None:
            text(self.down, f"systematic {self.name!r}: down, the id of a weight,")

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return the two weights."""
        where = f"{source}: systematic {self.name!r}"
        up = find_named_weight(self.up, weight_names, descriptions, where)
        down = None if self.down is None else find_named_weight(self.down, weight_names, descriptions, where)
        return (NuisanceShift(self.name, up, down),)


@dataclass(frozen=True)
class SelectionVariation(Systematic):
    """What is seen of an event is uncertain, its weight is not: the energy scale of jets, a trigger, an efficiency.

    `process` is given the selections at nu = +1 and (unless one-sided) -1, and applies them to the same events as the
    nominal one; bins of histograms are interpolated between the three, and the ratio of densities can be learned
    (`learn_variations`). Joint scores and ratios along nu do not exist: at given x it is not the weight of the event
    that changes, but the event.

    Parameters
    ----------
    name
        Also the name of its nuisance parameter.

    Examples
    --------
    >>> plain = cm.DrellYan().setup()
    >>> setup = cm.Setup(plain.space, plain.benchmarks, [cm.SelectionVariation("scale")]).with_morphing(2)
    >>> nominal, up, down = (cm.Selection({"m_ll": f"{k} * (mu[0] + mu[1]).m"}) for k in (1.0, 1.01, 0.99))
    >>> sample = cm.Sample("sm.lhe.gz", benchmark="sm", systematics=["scale"])
    >>> store = cm.process([sample], setup, nominal, "varied.zarr", variations={"scale": (up, down)}, progress=False)
    >>> len(store.varied("scale"))
    2
    """

    type: ClassVar[str] = "selection"

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Return nothing: it has no weights."""
        del weight_names, descriptions, source
        return ()


@dataclass(frozen=True)
class PrincipalDirections(Systematic):
    """Directions in the space of another uncertainty's nuisance parameters, in which the events of a store change most.

    The set-up of a store has them where `columnminer.reduce_directions` wrote it, in place of that uncertainty.

    Parameters
    ----------
    name
        That of the other uncertainty. Nuisance parameters are called name_direction_1, name_direction_2, ...
    directions
        (n_directions, n_parameters) orthonormal rows.
    shares
        (n_directions,) of the sum of squared relative changes of weights in all directions that there were.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """

    directions: Sequence[Sequence[float]]
    shares: Sequence[float]
    type: ClassVar[str] = "directions"

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"systematic {self.name!r}"
        rows = tuple(tuple(floats(row, f"{where}: a direction").tolist()) for row in self.directions)
        shares = tuple(floats(self.shares, f"{where}: shares").tolist())
        if not rows or len({len(row) for row in rows}) != 1 or len(rows) != len(shares):
            msg = f"{where}: directions are rows of the same length, with one share each"
            raise InputError(msg)
        object.__setattr__(self, "directions", rows)
        object.__setattr__(self, "shares", shares)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the nuisance parameters that it brings."""
        return tuple(f"{self.name}_direction_{i + 1}" for i in range(len(self.directions)))

    def shifts(
        self, weight_names: Sequence[str], descriptions: Mapping[str, str], source: str = "source"
    ) -> tuple[NuisanceShift, ...]:
        """Refuse: no file has their weights."""
        del weight_names, descriptions
        msg = (
            f"{source}: systematic {self.name!r} has directions that were found in the events of a store: process "
            "files with the uncertainty itself, and reduce the store"
        )
        raise InputError(msg)


_TYPES: dict[str, type[Systematic]] = {
    kind.type: kind
    for kind in (
        NormalisationUncertainty,
        ScaleUncertainty,
        PDFUncertainty,
        WeightVariation,
        SelectionVariation,
        PrincipalDirections,
    )
}


def systematic_from_dict(document: object, where: str = "systematic") -> Systematic:
    """Return the systematic that `Systematic.to_dict` described.

    Raises
    ------
    FileFormatError
        If it does not fit; the message begins with `where`.
    """
    given = document.get("type") if isinstance(document, Mapping) else None
    if given is None:
        entries(document, where, required=("type", "name"))
    with located(where):
        kind = _TYPES[choice(given, _TYPES, "the type of a systematic")]
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    values = entries(document, where, required=("type", *needed), optional=[field.name for field in fields(kind)])
    del values["type"]
    with located(where):
        return kind(**values)
