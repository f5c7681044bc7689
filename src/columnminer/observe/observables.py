"""What a selection is made of: observables, cuts and efficiencies, and the default set of observables."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from columnminer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import awkward as ak

__all__ = ["Cut", "DefaultObservables", "Efficiency", "Formula", "Observable", "provenance"]

Formula: TypeAlias = "str | Callable[[ak.Array], Any]"


@dataclass(frozen=True)
class Observable:
    """A number per event.

    Attributes
    ----------
    formula : str or callable
        An expression; or a function of the awkward events, which have our objects (`objects.OBJECTS`) as further
        fields, that returns (n_events,) numbers. None, masked and NaN say that it is undefined.
    required : bool
        Whether events where it is undefined are left out.
    default : float, optional
        What an undefined value is set to; without it, NaN.

    Examples
    --------
    >>> selection = cm.Selection(
    ...     {"pt_j2": cm.Observable("j[1].pt", default=0.0), "m_aa": cm.Observable("(a[0] + a[1]).m", required=True)}
    ... )
    """

    formula: Formula
    required: bool = False
    default: float | None = None


@dataclass(frozen=True)
class Cut:
    """A condition that events must fulfil.

    Attributes
    ----------
    formula : str or callable
        As in `Observable`; it may name observables. Events pass where it is not 0.
    required : bool
        MadMiner's word for: events where it is undefined pass, too.

    Examples
    --------
    >>> selection = cm.Selection({"pt_j1": "j[0].pt"}, cuts=["pt_j1 > 20", cm.Cut("j[1].pt > 20", required=True)])
    """

    formula: Formula
    required: bool = False


@dataclass(frozen=True)
class Efficiency:
    """A factor on all weights of an event.

    Attributes
    ----------
    formula : str or callable
        As in `Observable`; it may name observables. Events where it is not above 0 are left out.
    default : float
        The factor where it is undefined.

    Examples
    --------
    >>> selection = cm.Selection({"pt_l1": "mu[0].pt"}, efficiencies=["0.9", cm.Efficiency("0.97 - 20 / pt_l1**2")])
    """

    formula: Formula
    default: float = 1.0


@dataclass(frozen=True)
class DefaultObservables:
    """MadMiner's default observables, under its names: E, pT, eta and phi of the hardest objects, and sums.

    Attributes
    ----------
    n_leptons, n_photons, n_jets : int
        How many of the hardest of each: `e_l1 pt_l1 eta_l1 phi_l1 ... e_a1 ... e_j1 ...`, 0 where there are fewer.
    met : bool
        Missing transverse momentum: `et_miss phi_miss`.
    visible : bool
        The sum of all visible particles: `e_visible eta_visible`.
    numbers : bool
        How many leptons, photons and jets: `n_ls n_as n_js`.
    charge : bool
        Charges of the leptons: `charge_l1 ...`.

    Examples
    --------
    >>> default = cm.DefaultObservables(n_leptons=0, n_photons=0, n_jets=1, met=True, visible=False, numbers=False)
    >>> cm.Selection(default_observables=default).observable_names
    ('et_miss', 'phi_miss', 'e_j1', 'pt_j1', 'eta_j1', 'phi_j1')
    """

    n_leptons: int = 2
    n_photons: int = 2
    n_jets: int = 2
    met: bool = True
    visible: bool = True
    numbers: bool = True
    charge: bool = True

    def observables(self) -> dict[str, Observable]:
        """Return the observables by name."""
        made: dict[str, Observable] = {}
        if self.met:
            made |= {"et_miss": Observable("met.pt", required=True), "phi_miss": Observable("met.phi", required=True)}
        if self.visible:
            made["e_visible"] = Observable("visible.e", required=True)
            made["eta_visible"] = Observable("visible.eta", required=True)
        for symbol, n in (("l", self.n_leptons), ("a", self.n_photons), ("j", self.n_jets)):
            attributes = ("e", "pt", "eta", "phi", *(("charge",) if self.charge and symbol == "l" else ()))
            if self.numbers:
                made[f"n_{symbol}s"] = Observable(f"len({symbol})", required=True)
            for i in range(n):
                for attribute in attributes:
                    made[f"{attribute}_{symbol}{i + 1}"] = Observable(f"{symbol}[{i}].{attribute}", default=0.0)
        return made


def provenance(formula: Formula) -> str:
    """Return what identifies a formula: the text, `name@version` of a function with a `version`, else name and hash.

    The hash covers its source, and, where they are numbers, texts or arrays, its defaults and the variables it closes
    over.

    Raises
    ------
    InputError
        If a callable object has neither a `version` nor a source.
    """
    if isinstance(formula, str):
        return formula
    name = getattr(formula, "__qualname__", type(formula).__qualname__)
    version = getattr(formula, "version", None)
    if version is not None:
        return f"{name}@{version}"
    code = getattr(formula, "__code__", None)
    if code is None:
        msg = f"{name} is not a plain function: give it an attribute 'version', which says when its results change"
        raise InputError(msg)
    try:
        source = inspect.getsource(code)
    except OSError:  # typed at a prompt
        source = f"{code.co_code.hex()} {code.co_names} {[_stable(constant) for constant in code.co_consts]}"
    closed_over = [cell.cell_contents for cell in getattr(formula, "__closure__", None) or ()]
    values = [_stable(value) for value in (*(getattr(formula, "__defaults__", None) or ()), *closed_over)]
    return f"{name}#{hashlib.sha256(f'{source} {values}'.encode()).hexdigest()[:16]}"


def _stable(value: object) -> str:
    """Return a text for a value that is the same in every process, which the repr of most objects is not."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, np.ndarray):
        return hashlib.sha256(value.tobytes()).hexdigest()
    return str(getattr(value, "__qualname__", type(value).__qualname__))
