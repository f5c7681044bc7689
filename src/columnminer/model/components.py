"""Which products of couplings make up a squared matrix element, and their values at theta.

A *component* is a row of powers p, one for each parameter, and stands for the monomial theta**p = prod_i theta_i**p_i.
`find_components` says which there are: by the highest powers (`power_components`), or by which couplings enter
production and decay (`vertex_components`), both in ascending lexicographic order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from columnminer.errors import InputError, MissingError
from columnminer.model.checks import floats
from columnminer.model.parameters import Coupling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from columnminer.model.parameters import ParameterSpace

__all__ = [
    "checked_components",
    "find_components",
    "monomial_gradients",
    "monomials",
    "power_components",
    "vertex_components",
]

_HIGHEST_POWER = 1000
"""Far beyond any theory; powers up to the highest are computed one by one."""


def find_components(
    space: ParameterSpace,
    max_overall_power: int = 4,
    *,
    bsm_max_power: int | None = None,
    standard_model: Iterable[str] = (),
    production: Sequence[str] = (),
    decay: Sequence[str] = (),
    shared: Sequence[str] = (),
    fixed_terms: bool = False,
) -> NDArray[np.int64]:
    """Return the components of a squared matrix element, (n_components, n_par).

    Parameters
    ----------
    space
        The couplings.
    max_overall_power
        Highest sum of the powers of all couplings: 2 n if they affect n vertices.
    bsm_max_power
        Highest sum of the powers of all couplings but those named in `standard_model`: 1 keeps the interference with
        the standard model, 2 adds the squares. None: no limit.
    standard_model
        Names of the couplings that `bsm_max_power` does not count.
    production, decay, shared, fixed_terms
        Which couplings stand at which vertex, see `vertex_components`. Where none is given, the couplings' `max_power`
        decides, see `power_components`.

    Raises
    ------
    UnknownNameError, InputError, MissingError
        If a name is no parameter, the groups do not fit, or a parameter is no coupling.
    """
    if production or decay or shared:
        components = vertex_components(space, production, decay, shared, fixed_terms=fixed_terms)
        components = components[components.sum(axis=1) <= max_overall_power]
    else:
        components = power_components(space, max_overall_power)
    if bsm_max_power is not None:
        counted = np.ones(len(space), dtype=bool)
        counted[[space.index(name) for name in standard_model]] = False
        components = components[components[:, counted].sum(axis=1) <= bsm_max_power]
    if len(components) == 0:
        msg = "no morphing component is left: max_overall_power or bsm_max_power is too small"
        raise InputError(msg)
    return components


def power_components(space: ParameterSpace, max_overall_power: int = 4) -> NDArray[np.int64]:
    """Return all products of powers that the couplings' `max_power` and the overall power allow.

    Parameters
    ----------
    space
        Couplings, each with its `max_power` in the squared matrix element.
    max_overall_power
        Highest sum of powers: 2 n if the couplings affect n vertices.

    Returns
    -------
    numpy.ndarray
        (n_components, n_par) powers in ascending lexicographic order.

    Raises
    ------
    MissingError
        If a parameter is not a `Coupling`: nothing is known of its powers.
    """
    rows: list[tuple[int, ...]] = [()]
    for parameter in space:
        if not isinstance(parameter, Coupling):
            msg = f"morphing needs to know with which powers {parameter.name!r} enters: give it a max_power"
            raise MissingError(msg)
        rows = [
            (*row, power) for row in rows for power in range(min(parameter.max_power, max_overall_power - sum(row)) + 1)
        ]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(space))


def vertex_components(
    space: ParameterSpace,
    production: Sequence[str] = (),
    decay: Sequence[str] = (),
    shared: Sequence[str] = (),
    *,
    fixed_terms: bool = False,
) -> NDArray[np.int64]:
    r"""Return the components of a production vertex times a decay vertex.

    Each vertex is linear in its couplings, so the amplitude is (sum g_production + sum g_shared) (sum g_decay + sum
    g_shared), and the components are the different products of any two of its terms (ATL-PHYS-PUB-2015-047).
    A vertex without couplings is a constant.

    Parameters
    ----------
    space
        The parameters; each must be named in exactly one of the three groups.
    production, decay, shared
        Names of the couplings at the production vertex, the decay vertex, and both.
    fixed_terms
        Whether each vertex also has a term without any of these couplings, such as a standard-model coupling that is
        kept fixed. False: the standard-model couplings are among the parameters.

    Returns
    -------
    numpy.ndarray
        (n_components, n_par) powers in ascending lexicographic order.

    Raises
    ------
    UnknownNameError
        If a name is no parameter.
    InputError
        If a parameter is named twice or not at all.
    """
    named = [space.index(name) for name in (*production, *decay, *shared)]
    for index, name in enumerate(space.names):
        if named.count(index) != 1:
            times = "no" if index not in named else "more than one"
            msg = f"coupling {name!r} stands in {times} group; production, decay or shared must name it, one of them"
            raise InputError(msg)
    unit = np.eye(len(space), dtype=np.int64)
    amplitude = np.zeros((1, len(space)), dtype=np.int64)
    for group in (production, decay):
        terms = unit[[space.index(name) for name in (*group, *shared)]]
        if fixed_terms or len(terms) == 0:
            terms = np.vstack([np.zeros((1, len(space)), dtype=np.int64), terms])
        amplitude = _products(amplitude, terms)
    return _products(amplitude, amplitude)


def _products(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the different products of any two monomials, sorted."""
    return np.unique((first[:, np.newaxis] + second).reshape(-1, first.shape[1]), axis=0)


def monomials(theta: NDArray[Any], components: NDArray[np.int64]) -> NDArray[Any]:
    """Return theta**p for every component, (..., n_par) -> (..., n_components); 0**0 is 1."""
    powers = _powers(theta, components)
    return np.asarray(powers[..., np.arange(theta.shape[-1]), components].prod(axis=-1))


def monomial_gradients(theta: NDArray[Any], components: NDArray[np.int64]) -> NDArray[Any]:
    """Return d theta**p / d theta_i, (..., n_par) -> (..., n_par, n_components)."""
    n_par = theta.shape[-1]
    lowered = np.maximum(components - np.eye(n_par, dtype=np.int64)[:, np.newaxis], 0)
    powers = _powers(theta, components)
    return np.asarray(components.T * powers[..., np.arange(n_par), lowered].prod(axis=-1))


def _powers(theta: NDArray[Any], components: NDArray[np.int64]) -> NDArray[Any]:
    """Return the powers of every parameter up to the highest, (..., n_par) -> (..., n_par, highest + 1)."""
    powers = np.ones((*theta.shape, int(components.max(initial=0)) + 1), dtype=theta.dtype)
    powers[..., 1:] = theta[..., np.newaxis]
    return np.cumprod(powers, axis=-1, out=powers)


def checked_components(components: ArrayLike, space: ParameterSpace) -> NDArray[np.int64]:
    """Return given components as (n_components, n_par) integers, or raise InputError."""
    values = floats(components, "morphing components")
    if values.ndim != 2 or values.shape[1] != len(space) or len(values) == 0:
        msg = f"morphing components of shape {values.shape} do not fit {len(space)} parameters: (n_components, n_par)"
        raise InputError(msg)
    if not ((values >= 0) & (values <= _HIGHEST_POWER) & (values % 1 == 0)).all():
        msg = f"morphing components are powers: non-negative integers, at most {_HIGHEST_POWER}"
        raise InputError(msg)
    powers = values.astype(np.int64)
    different, counts = np.unique(powers, axis=0, return_counts=True)
    if len(different) < len(powers):
        msg = f"morphing component {different[counts.argmax()].tolist()} is given twice"
        raise InputError(msg)
    return powers
