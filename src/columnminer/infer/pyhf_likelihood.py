"""Any pyhf workspace as a likelihood: control regions, or a whole published analysis, beside our own."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonpatch
import numpy as np
import pyhf
from pyhf import exceptions

from columnminer.errors import ColumnMinerError, FileFormatError, InputError, UnknownNameError, did_you_mean
from columnminer.infer.likelihood import Likelihood, Params
from columnminer.infer.pyhf_auxiliary import AuxiliaryMeasurements
from columnminer.infer.pyhf_modifiers import OURS, pyhf_modifier_set
from columnminer.infer.terms import LogTerms, poisson_log
from columnminer.model.parameters import Parameter
from columnminer.streams import Seed, seed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["PyhfLikelihood"]

_CELLS = 2**22
"""Numbers in an array of pyhf for one batch of points (modifiers x samples x points x bins): 32 MB."""

_STEP = 1e-5
"""Of differences of expected rates: for the third order that they neglect, and for rounding, about 1e-10."""

_REFUSALS = (
    *(exceptions.InvalidSpecification, exceptions.InvalidModel, exceptions.InvalidModifier),
    *(exceptions.InvalidMeasurement, exceptions.InvalidNameReuse, exceptions.Unsupported),
    *(jsonpatch.JsonPatchException, jsonpatch.JsonPointerException),
    *(
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        OverflowError,
    ),  # where pyhf takes things for granted
)
"""What pyhf raises when it makes a model of a document that is not right."""


class PyhfLikelihood(Likelihood):
    r"""The likelihood of a HistFactory model, evaluated by pyhf.

    .. math:: \prod_k \mathrm{Pois}(n_k \mid \nu_k(\eta, \chi)) \prod_\chi c_\chi(a_\chi \mid \chi)

    with the constraint terms c, Gaussian or Poisson, of the auxiliary data a (CERN-OPEN-2012-016). Its parameters are
    those that pyhf would fit, one for each bin where there are many: "gamma[0]". What the measurement fixes is held.

    Data are counts [..., n_bins] in the order of `channels`, with auxiliary data behind them or not, where those of the
    model are taken; or a mapping from channels to counts. `simulate` draws auxiliary data, too.

    Numbers are those of the current backend of pyhf, which is left as it is; `precision` says how good they are.

    Parameters
    ----------
    model
        Its batch size does not matter.
    modifier_set
        With which it was made; HistFactory's and ours by default.
    parameters
        Definitions of parameters, in place of those that follow from the model: those of another likelihood, to be
        multiplied with this, that shares them. They are free, whatever the measurement says. One with a
        `Parameter.constraint` is constrained by the product (`Likelihood.constrained`) and therefore not here: its
        auxiliary measurement is left out.

    Raises
    ------
    UnknownNameError
        If the model has no parameter of the name of one given.
    InputError
        If a constraint given is not that of the model.

    Examples
    --------
    >>> likelihood = cm.PyhfLikelihood.from_workspace("counting.json")
    >>> fit = cm.fit(likelihood)
    >>> round(fit.by_name["mu"], 1)
    1.7
    """

    def __init__(
        self,
        model: pyhf.Model,
        *,
        modifier_set: Mapping[str, Any] | None = None,
        parameters: Sequence[Parameter] = (),
    ) -> None:
        config = model.config
        self._spec = model.spec
        self._options: dict[str, Any] = {
            "modifier_set": pyhf_modifier_set() if modifier_set is None else modifier_set,
            "modifier_settings": config.modifier_settings,
            "clip_sample_data": model.main_model.clip_sample_data,
            "clip_bin_data": model.main_model.clip_bin_data,
            "validate": False,
            "poi_name": None,
        }
        self._batched: dict[int, pyhf.Model] = {}
        cells = max(1, len(config.modifiers)) * len(config.samples) * config.nmaindata
        self._largest = 2 ** int(np.clip(np.log2(_CELLS / cells), 0, 9))
        self._initial = np.array(config.suggested_init(), dtype=np.float64)
        self.channels: dict[str, slice] = dict(config.channel_slices)
        self._auxiliary = AuxiliaryMeasurements(config)
        given = {p.name: p for p in parameters}
        for name in given:
            if name not in config.par_names:
                msg = f"the workspace has no parameter {name!r}.{did_you_mean(name, config.par_names)}"
                raise UnknownNameError(msg)
        fixed = config.suggested_fixed()
        self._free = [i for i, name in enumerate(config.par_names) if name in given or not fixed[i]]
        bounds = config.suggested_bounds()
        super().__init__(
            [
                given.get(name) or Parameter(name, self._initial[i].item(), fit_limits=tuple(map(float, bounds[i])))
                for i, name in ((i, config.par_names[i]) for i in self._free)
            ]
        )
        for i, parameter in zip(self._free, self.parameters, strict=True):
            if parameter.constraint is not None:
                self._auxiliary.leave_out(i, parameter)

    @classmethod
    def from_workspace(
        cls,
        workspace: str | Path | Mapping[str, Any],
        *,
        measurement: str | None = None,
        patches: Sequence[Any] = (),
        modifier_set: Mapping[str, Any] | None = None,
        modifier_settings: Mapping[str, Any] | None = None,
        parameters: Sequence[Parameter] = (),
    ) -> PyhfLikelihood:
        """Return the likelihood of a workspace, with its observations as data.

        Parameters
        ----------
        workspace
            A JSON file, or the document itself.
        measurement
            Name of the measurement, which configures parameters; the first by default.
        patches
            JSON patches to the model, in order: lists of operations, or patches of a `pyhf.PatchSet`.
        modifier_set
            Modifiers that pyhf shall know; those of HistFactory and those of `pyhf_modifier_set` by default.
        modifier_settings
            How normsys and histosys interpolate, for instance ``{"normsys": {"interpcode": "code1"}, "histosys":
            {"interpcode": "code0"}}``; pyhf's defaults unless given.
        parameters
            Definitions of shared parameters, see the class.

        Raises
        ------
        FileFormatError
            If the file is no JSON, does not follow the schema of HistFactory, or makes no model.
        UnknownNameError
            If there is no such measurement, or no parameter of the name of one given.
        """
        if isinstance(workspace, Mapping):
            document, source = workspace, "workspace"
        else:
            document, source = _read(workspace), str(workspace)
        try:
            pyhf.schema.validate(_standard(document), "workspace.json")
            space = pyhf.Workspace(document, validate=False)
        except _REFUSALS as error:
            raise _refusal(source, error) from error
        if measurement is not None and measurement not in space.measurement_names:
            known = did_you_mean(measurement, space.measurement_names)
            msg = f"{source}: no measurement is called {measurement!r}.{known}"
            raise UnknownNameError(msg)
        modifiers = pyhf_modifier_set() if modifier_set is None else modifier_set
        settings = {} if modifier_settings is None else {"modifier_settings": dict(modifier_settings)}
        try:
            model = space.model(
                measurement_name=measurement or space.measurement_names[0],
                patches=list(patches),
                validate=False,
                modifier_set=modifiers,
                **settings,
            )
            pyhf.schema.validate(_standard(model.spec), "model.json")  # patches may have broken it
        except _REFUSALS as error:
            raise _refusal(source, error) from error
        try:
            likelihood = cls(model, modifier_set=modifiers, parameters=parameters)
        except ColumnMinerError:
            raise
        except _REFUSALS as error:
            raise _refusal(source, error) from error
        try:
            return likelihood.with_data(space.observations)
        except (InputError, UnknownNameError, OverflowError) as error:
            msg = f"{source}: observations: {error}"
            raise FileFormatError(msg) from error

    @property
    def n_bins(self) -> int:
        """Number of bins of all channels together."""
        return sum(int(bins.stop - bins.start) for bins in self.channels.values())

    @property
    def precision(self) -> float:
        """That of the current backend of pyhf."""
        single = pyhf.get_backend()[0].precision == "32b"
        return float(np.finfo(np.float32 if single else np.float64).eps)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the parameters with auxiliary data, but for those that are left to the product."""
        columns = self._auxiliary.used_columns
        return tuple(name for i, name in zip(self._free, self.names, strict=True) if i in columns)

    def as_data(self, data: Any) -> NDArray[np.float64]:
        """Return counts and auxiliary data, [..., n_bins + n_auxiliary]."""
        if isinstance(data, Mapping):
            for name in {*data, *self.channels}:
                if name not in self.channels or name not in data:
                    kind = "counts are missing for" if name in self.channels else "counts are given for the unknown"
                    msg = f"{kind} channel {name!r}. Channels: {', '.join(self.channels)}"
                    raise UnknownNameError(msg)
            parts = [np.asarray(data[name], dtype=np.float64) for name in self.channels]
            for part, (name, bins) in zip(parts, self.channels.items(), strict=True):
                if part.shape[-1:] != (bins.stop - bins.start,):
                    msg = f"counts of channel {name!r} have shape {part.shape}, not {bins.stop - bins.start} bins last"
                    raise InputError(msg)
            data = np.concatenate(parts, axis=-1)
        values = np.asarray(data, dtype=np.float64)
        auxiliary = self._auxiliary.nominal
        if values.shape[-1:] == (self.n_bins,) and len(auxiliary):
            values = np.concatenate([values, np.broadcast_to(auxiliary, (*values.shape[:-1], len(auxiliary)))], axis=-1)
        if values.shape[-1:] != (self.n_bins + len(auxiliary),):
            msg = (
                f"data have shape {values.shape}; the last axis must hold the counts in {self.n_bins} bins of "
                f"{', '.join(self.channels)}, and may go on with {len(auxiliary)} auxiliary data"
            )
            raise InputError(msg)
        counts = values[..., : self.n_bins]
        possible = np.isfinite(counts).all() and (counts >= 0.0).all()
        if not possible or not self._auxiliary.allows(values[..., self.n_bins :]):
            msg = "counts, of auxiliary measurements too, must be finite and not negative"
            raise InputError(msg)
        return values

    def terms(self, points: NDArray[np.float64], data: Any) -> LogTerms:
        """Return the log likelihood; that of a model of many regions has no parts, all of it is called kinematic."""
        counts, auxiliary = data[..., : self.n_bins], data[..., self.n_bins :]
        inside = self._inside(points)
        log = poisson_log(counts, self._rates(inside)).sum(axis=-1) + self._auxiliary.log(inside, auxiliary)
        return LogTerms(kinematic=np.asarray(log), rate=np.zeros_like(log))

    def term_gradients(self, points: NDArray[np.float64], data: Any) -> NDArray[np.float64]:
        """Return the gradient, with that of the expected counts from central differences of one batch."""
        counts, auxiliary = data[..., : self.n_bins], data[..., self.n_bins :]
        inside = self._inside(points)
        steps = _STEP * np.maximum(1.0, np.abs(inside[..., self._free]))
        shifts = steps[..., np.newaxis] * np.eye(self._initial.size)[self._free]
        up, down = self._rates(inside[..., np.newaxis, :] + shifts), self._rates(inside[..., np.newaxis, :] - shifts)
        slopes = (up - down) / (2.0 * steps[..., np.newaxis])
        rates = self._rates(inside)
        with np.errstate(divide="ignore", invalid="ignore"):
            pulls = np.where(rates > 0.0, counts / rates, 0.0) - 1.0
        gradient = (slopes * pulls[..., np.newaxis, :]).sum(axis=-1)
        return np.asarray(gradient + self._auxiliary.gradient(inside, auxiliary)[..., self._free])

    def expected(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected counts [..., n_bins]; ``[..., likelihood.channels[name]]`` are those of a channel."""
        return self._rates(self._inside(self.points(params, by_name)))

    def asimov(self, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return the expected counts and auxiliary data."""
        inside = self._inside(self.point(params, by_name))
        return np.concatenate([self._rates(inside), self._auxiliary.expected(inside)])

    def simulate(self, seed: Seed, params: Params = None, **by_name: ArrayLike) -> NDArray[np.float64]:
        """Return Poisson counts, and auxiliary data scattered about their expectation."""
        inside = self._inside(self.point(params, by_name))
        rng = np.random.default_rng(seed_sequence(seed, "pyhf"))
        return np.concatenate([rng.poisson(self._rates(inside)), self._auxiliary.draw(inside, rng)])

    def _inside(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return all parameters of the model, fixed ones too."""
        inside = np.broadcast_to(self._initial, (*points.shape[:-1], len(self._initial))).copy()
        inside[..., self._free] = points
        return inside

    def _rates(self, inside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected counts at points (..., n_pars of pyhf): [..., n_bins]."""
        points = inside.reshape(-1, inside.shape[-1])
        rates = np.empty((len(points), self.n_bins))
        for start in range(0, len(points), self._largest):
            chunk = points[start : start + self._largest]
            # A model of pyhf is made for one number of points: powers of two, filled up, keep the number of models low.
            size = 1 << (len(chunk) - 1).bit_length()
            if size not in self._batched:
                self._batched[size] = pyhf.Model(self._spec, batch_size=size, **self._options)
            filled = np.concatenate([chunk, np.broadcast_to(chunk[-1], (size - len(chunk), chunk.shape[1]))])
            expected = self._batched[size].main_model.expected_data(pyhf.get_backend()[0].astensor(filled))
            rates[start : start + self._largest] = np.asarray(expected)[: len(chunk)]
        return rates.reshape(*inside.shape[:-1], -1)


def _read(path: str | Path) -> Mapping[str, Any]:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"{path}: this is no JSON: {error}"
        raise FileFormatError(msg) from error
    if not isinstance(document, Mapping):
        msg = f"{path}: a workspace is a JSON object, not {type(document).__name__}"
        raise FileFormatError(msg)
    return document


def _standard(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a workspace or model without our modifiers, which the schema does not know and their builders check."""
    standard = copy.deepcopy(dict(document))
    with contextlib.suppress(AttributeError, LookupError, TypeError):  # the schema says what is wrong with it
        for channel in standard["channels"]:
            for sample in channel["samples"]:
                sample["modifiers"] = [m for m in sample["modifiers"] if m["type"] not in OURS]
    return standard


def _refusal(source: str, error: BaseException) -> FileFormatError:
    """Return what to raise where pyhf refuses a document, with its reason in one line."""
    if isinstance(error, exceptions.InvalidSpecification):
        return FileFormatError(
            f"{source}: no HistFactory workspace: at {error.path or 'the top'}: {error.parent.message}"
        )
    return FileFormatError(f"{source}: pyhf makes no model of it: {type(error).__name__}: {error}")
