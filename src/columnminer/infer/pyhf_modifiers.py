r"""Modifiers for pyhf that HistFactory lacks: polynomials of parameters, exponentials of nuisances, and a rate.

``columnminer_polynomial`` replaces the yields of a sample by

.. math:: \nu_k(\theta) = \sum_c C_{ck} \prod_i \theta_i^{p_{ci}}, \qquad
   \text{data} = \{\text{parameters}, \text{components } p, \text{coefficients } C\},

before factors are applied; the nominal yields of the sample are not used. ``columnminer_exponential`` multiplies them
by

.. math:: f_k(\alpha) = \exp(a_k \alpha + b_k \alpha^2), \qquad \text{data} = \{a, b\},

with a unit Gaussian constraint on alpha, as normsys and histosys have, with which it may share its name. Parameters of
a polynomial are unconstrained, begin at 1 and are bounded by 0 and 10, as those of a normfactor, with which they may be
shared; a measurement says otherwise, as ever.

``columnminer_rate`` multiplies the samples of a channel by one factor, so that they sum to a rate that is better known
than they are (from more events):

.. math:: R(\theta, \alpha) = \frac{\sum_t P_t(\theta) \exp(\sum_j a_{tj}\alpha_j + b_{tj}\alpha_j^2)}
   {\sum_t \sum_k P_{tk}(\theta) \exp(\sum_j a_{tjk}\alpha_j + b_{tjk}\alpha_j^2)}

with polynomials P as above: its data have parameters, nuisances, and numerator and denominator, which are lists of
terms t with components, coefficients (n_components, n_bins), a and b (n_nuisances, n_bins).

They follow what `pyhf.Model` asks of an entry of its ``modifier_set``: a builder, which sees every sample of every
channel once, and an applier, which turns parameters into an array over modifiers, samples, parameter points and bins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import pyhf
from pyhf.exceptions import InvalidModifier
from pyhf.modifiers import histfactory_set, histosys, normfactor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["EXPONENTIAL", "OURS", "POLYNOMIAL", "RATE", "pyhf_modifier_set"]

POLYNOMIAL = "columnminer_polynomial"
EXPONENTIAL = "columnminer_exponential"
RATE = "columnminer_rate"
OURS = frozenset({POLYNOMIAL, EXPONENTIAL, RATE})

Entry: TypeAlias = "tuple[int, slice, dict[str, Any]]"
"""What one modifier does to one sample in one channel: the number of the sample, the bins, and its data."""


class _Builder(ABC):
    """Collects the modifiers of one type: for each key, the samples and bins that it acts on, with its data."""

    is_shared = True  # one modifier may act on many samples
    kind: ClassVar[str]
    fields: ClassVar[frozenset[str]]

    def __init__(self, config: Any) -> None:
        self.config = config
        self.found: dict[str, list[Entry]] = {}
        self.required_parsets: dict[str, list[dict[str, Any]]] = {}

    def append(self, key: str, channel: str, sample: str, thismod: Any, defined_samp: Any) -> None:
        """See what `key` does to one sample in one channel; pyhf calls this for all of them."""
        entries = self.found.setdefault(key, [])
        if thismod is None:
            return
        data = thismod["data"]
        if not isinstance(data, dict) or set(data) != self.fields:
            msg = f"{self._where(thismod, channel, sample)}: its data must have {', '.join(sorted(self.fields))}"
            raise InvalidModifier(msg)
        checked = self.checked(data, len(defined_samp["data"]), self._where(thismod, channel, sample))
        checked["nominal"] = np.asarray(defined_samp["data"], dtype=np.float64)
        entries.append((self.config.samples.index(sample), self.config.channel_slices[channel], checked))
        for name, parset in self.parsets(thismod).items():
            self.required_parsets.setdefault(name, [parset])

    def finalize(self) -> dict[str, list[Entry]]:
        """Return what was found, by key."""
        return self.found

    @abstractmethod
    def checked(self, data: Mapping[str, Any], n_bins: int, where: str) -> dict[str, Any]:
        """Return the data of a modifier as arrays, or raise `InvalidModifier`."""

    @abstractmethod
    def parsets(self, thismod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return what pyhf must know of the parameters of a modifier, by name."""

    def _where(self, thismod: Mapping[str, Any], channel: str, sample: str) -> str:
        return f"the {self.kind} modifier {thismod['name']!r} of sample {sample!r} in channel {channel!r}"


def _numbers(values: Any, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{where} must be numbers: {error}"
        raise InvalidModifier(msg) from error
    if array.shape != shape or not np.isfinite(array).all():
        msg = f"{where} must be finite numbers of shape {shape}, not {array.shape}"
        raise InvalidModifier(msg)
    return array


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        msg = f"{where} must be a list, not {value!r}"
        raise InvalidModifier(msg)
    return value


def _names(value: Any, where: str) -> list[str]:
    if not all(isinstance(name, str) for name in _list(value, where)):
        msg = f"{where} must be names, not {value!r}"
        raise InvalidModifier(msg)
    return list(value)


def _powers(components: Any, n_parameters: int, where: str) -> NDArray[np.int64]:
    shape = (len(_list(components, f"{where}: components")), n_parameters)
    powers = _numbers(components, shape, f"{where}: components")
    if (powers < 0).any() or (powers != np.round(powers)).any():
        msg = f"{where}: components must be powers: integers, not negative"
        raise InvalidModifier(msg)
    return powers.astype(np.int64)


class _PolynomialBuilder(_Builder):
    kind = POLYNOMIAL
    fields = frozenset({"parameters", "components", "coefficients"})

    def checked(self, data: Mapping[str, Any], n_bins: int, where: str) -> dict[str, Any]:
        names = _names(data["parameters"], f"{where}: parameters")
        powers = _powers(data["components"], len(names), where)
        coefficients = _numbers(data["coefficients"], (len(powers), n_bins), f"{where}: coefficients")
        return {"parameters": names, "components": powers, "coefficients": coefficients}

    def parsets(self, thismod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {name: normfactor.required_parset(None, None) for name in thismod["data"]["parameters"]}


class _ExponentialBuilder(_Builder):
    kind = EXPONENTIAL
    fields = frozenset({"a", "b"})

    def checked(self, data: Mapping[str, Any], n_bins: int, where: str) -> dict[str, Any]:
        return {field: _numbers(data[field], (n_bins,), f"{where}: {field}") for field in ("a", "b")}

    def parsets(self, thismod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {thismod["name"]: histosys.required_parset(None, None)}


def _checked_term(term: Mapping[str, Any], names: Mapping[str, list[str]], where: str) -> dict[str, NDArray[Any]]:
    if not isinstance(term, dict) or set(term) != {"components", "coefficients", "a", "b"}:
        msg = f"{where} must be a list of terms with components, coefficients, a and b"
        raise InvalidModifier(msg)
    powers = _powers(term["components"], len(names["parameters"]), where)
    n_bins = max(len(_list(row, f"{where}: coefficients")) for row in _list(term["coefficients"], where))
    n_nu = len(names["nuisances"])
    arrays = {"coefficients": _numbers(term["coefficients"], (len(powers), n_bins), f"{where}: coefficients")}
    for field in ("a", "b"):
        arrays[field] = _numbers(term[field], (n_nu, n_bins), f"{where}: {field}") if n_nu else np.zeros((0, n_bins))
    return {"components": powers, **arrays}


class _RateBuilder(_Builder):
    kind = RATE
    fields = frozenset({"parameters", "nuisances", "numerator", "denominator"})

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.seen: dict[str, Any] = {}

    def append(self, key: str, channel: str, sample: str, thismod: Any, defined_samp: Any) -> None:
        """Take one sample, and refuse data that differ from those of another."""
        if thismod is not None and thismod["data"] != self.seen.setdefault(key, thismod["data"]):
            msg = f"{self._where(thismod, channel, sample)}: its data differ from those of another sample"
            raise InvalidModifier(msg)
        super().append(key, channel, sample, thismod, defined_samp)

    def checked(self, data: Mapping[str, Any], n_bins: int, where: str) -> dict[str, Any]:
        del n_bins  # its terms have bins of their own
        names = {side: _names(data[side], f"{where}: {side}") for side in ("parameters", "nuisances")}
        return names | {
            side: [_checked_term(term, names, f"{where}: {side}") for term in _list(data[side], f"{where}: {side}")]
            for side in ("numerator", "denominator")
        }

    def parsets(self, thismod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        theory = {name: normfactor.required_parset(None, None) for name in thismod["data"]["parameters"]}
        return theory | {name: histosys.required_parset(None, None) for name in thismod["data"]["nuisances"]}


def _monomials(points: Any, powers: Sequence[Sequence[tuple[int, int]]]) -> Any:
    """Return products of powers of the columns of points (n_points, n_par): (n_monomials, n_points)."""
    values = []
    for factors in powers:
        value = 0.0 * points[:, 0] + 1.0
        for column, power in factors:
            value = value * points[:, column] ** power
        values.append(value)
    return pyhf.get_backend()[0].stack(values)


class _Applier(ABC):
    """Turns parameters (n_par,) or (batch, n_par) into an array over modifiers, samples, points and bins.

    It holds numpy arrays alone and makes tensors of the current backend of them when called: there is no state to be
    brought up to date when the backend is changed.
    """

    def __init__(
        self,
        modifiers: Sequence[tuple[str, str]],
        pdfconfig: Any,
        builder_data: Mapping[str, list[Entry]],
        batch_size: int | None = None,
    ) -> None:
        self.batch_size = batch_size  # pyhf asks for it; parameters tell their number themselves
        self.columns = {name: where["slice"].start for name, where in pdfconfig.par_map.items()}
        self.names = [name for name, _ in modifiers]
        self.entries = [builder_data[f"{kind}/{name}"] for name, kind in modifiers]
        self.shape = (len(self.names), len(pdfconfig.samples), pdfconfig.nmaindata)
        if self.names:
            self.precompute()

    @abstractmethod
    def precompute(self) -> None:
        """Make arrays over all modifiers, samples and bins."""


class _PolynomialApplier(_Applier):
    name = POLYNOMIAL
    op_code = "addition"

    def precompute(self) -> None:
        # Every monomial of any modifier, by the powers of the parameters that it has, is calculated once.
        monomials: dict[tuple[tuple[int, int], ...], int] = {}
        sums: list[tuple[int, int, slice, int, NDArray[np.float64]]] = []
        nominal, taken = np.zeros(self.shape), np.zeros(self.shape[1:], dtype=bool)
        for m, entries in enumerate(self.entries):
            for sample, bins, data in entries:
                if taken[sample, bins].any():
                    msg = f"two {POLYNOMIAL} modifiers, one of them {self.names[m]!r}, act on the same sample"
                    raise InvalidModifier(msg)
                taken[sample, bins] = True
                nominal[m, sample, bins] = data["nominal"]
                columns = [self.columns[name] for name in data["parameters"]]
                for powers, coefficients in zip(data["components"].tolist(), data["coefficients"], strict=True):
                    key = tuple(sorted((c, p) for c, p in zip(columns, powers, strict=True) if p))
                    sums.append((m, sample, bins, monomials.setdefault(key, len(monomials)), coefficients))
        self.monomials = list(monomials)
        self.coefficients = np.zeros((*self.shape[:2], len(monomials), self.shape[2]))
        for m, sample, bins, c, coefficients in sums:
            self.coefficients[m, sample, c, bins] += coefficients
        self.nominal = nominal[:, :, np.newaxis, :]

    def apply(self, pars: Any) -> Any:
        """Return what is added to the nominal yields."""
        if not self.names:
            return None
        tensorlib, _ = pyhf.get_backend()
        points = tensorlib.reshape(pars, (-1, tensorlib.shape(pars)[-1]))
        coefficients, monomials = tensorlib.astensor(self.coefficients), _monomials(points, self.monomials)
        return tensorlib.einsum("msck,cp->mspk", coefficients, monomials) - tensorlib.astensor(self.nominal)


class _ExponentialApplier(_Applier):
    name = EXPONENTIAL
    op_code = "multiplication"

    def precompute(self) -> None:
        self.a, self.b = np.zeros(self.shape), np.zeros(self.shape)
        for m, entries in enumerate(self.entries):
            for sample, bins, data in entries:
                self.a[m, sample, bins], self.b[m, sample, bins] = data["a"], data["b"]

    def apply(self, pars: Any) -> Any:
        """Return the factors; 1 where a modifier does not act."""
        if not self.names:
            return None
        tensorlib, _ = pyhf.get_backend()
        points = tensorlib.reshape(pars, (-1, tensorlib.shape(pars)[-1]))
        alpha = tensorlib.stack([points[:, self.columns[name]] for name in self.names])
        linear = tensorlib.einsum("msk,mp->mspk", tensorlib.astensor(self.a), alpha)
        return tensorlib.exp(linear + tensorlib.einsum("msk,mp->mspk", tensorlib.astensor(self.b), alpha * alpha))


class _RateApplier(_Applier):
    name = RATE
    op_code = "multiplication"

    def precompute(self) -> None:
        self.acts = np.zeros(self.shape)
        for m, entries in enumerate(self.entries):
            for sample, bins, _ in entries:
                self.acts[m, sample, bins] = 1.0
        self.data = [entries[0][2] for entries in self.entries]  # they are all the same

    def apply(self, pars: Any) -> Any:
        """Return the factors; 1 where a modifier does not act."""
        if not self.names:
            return None
        tensorlib, _ = pyhf.get_backend()
        points = tensorlib.reshape(pars, (-1, tensorlib.shape(pars)[-1]))
        above = tensorlib.stack(
            [self._sum(d, d["numerator"], points) / self._sum(d, d["denominator"], points) - 1.0 for d in self.data]
        )
        return tensorlib.einsum("msk,mp->mspk", tensorlib.astensor(self.acts), above) + 1.0

    def _sum(self, data: Mapping[str, Any], terms: Sequence[Mapping[str, NDArray[np.float64]]], points: Any) -> Any:
        tensorlib, _ = pyhf.get_backend()
        columns = [self.columns[name] for name in data["parameters"]]
        total = 0.0 * points[:, 0]
        for term in terms:
            rows = term["components"].tolist()
            monomials = _monomials(points, [list(zip(columns, row, strict=True)) for row in rows])
            sums = tensorlib.einsum("ck,cp->pk", tensorlib.astensor(term["coefficients"]), monomials)
            for name, a, b in zip(data["nuisances"], term["a"], term["b"], strict=True):
                alpha = tensorlib.reshape(points[:, self.columns[name]], (-1, 1))
                sums = sums * tensorlib.exp(alpha * tensorlib.astensor(a) + alpha * alpha * tensorlib.astensor(b))
            total = total + tensorlib.sum(sums, axis=1)
        return total


def pyhf_modifier_set() -> dict[str, tuple[type, type]]:
    """Return the modifiers of HistFactory and ours, as `pyhf.Model` takes them.

    HistFactory's schema knows only its own, so that workspaces with ours are read without it::

        workspace = pyhf.Workspace(document, validate=False)
        model = workspace.model(validate=False, modifier_set=columnminer.pyhf_modifier_set())

    Examples
    --------
    >>> sorted(name for name in cm.pyhf_modifier_set() if name.startswith("columnminer"))
    ['columnminer_exponential', 'columnminer_polynomial', 'columnminer_rate']
    """
    return {
        **histfactory_set,
        POLYNOMIAL: (_PolynomialBuilder, _PolynomialApplier),
        EXPONENTIAL: (_ExponentialBuilder, _ExponentialApplier),
        RATE: (_RateBuilder, _RateApplier),
    }
