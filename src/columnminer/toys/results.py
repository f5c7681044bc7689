r"""Results of a campaign: for each point where toys were generated, the fits of every hypothesis to every toy.

A store of toys is a Zarr group with a group for each point, in the order of the campaign. Its columns have one row for
each toy; hypotheses are the second axis of all of them, so that fits of one toy stand side by side. Nothing in it says
when, where or by how many workers it was made: the same campaign always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import zarr

from columnminer.errors import FileFormatError, InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.store.arrays import TableWriter
from columnminer.store.columns import attributes_at, columns_at, intact
from columnminer.store.commit import staged

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "TOYS_FORMAT",
    "CampaignResults",
    "FitTable",
    "PointDescription",
    "PointResult",
    "columns_of",
    "publish_results",
]

TOYS_FORMAT = "columnminer-toys"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class FitTable:
    """Fits of one hypothesis to n toys.

    Attributes
    ----------
    held : mapping
        parameter name -> value, of those that the hypothesis fixes.
    values : numpy.ndarray
        (n, n_par) fitted or held parameters.
    log_likelihood : numpy.ndarray
        (n,) there.
    valid : numpy.ndarray
        (n,) bool, whether the fit converged.
    by_minuit : numpy.ndarray
        (n,) bool, whether the batched fit left this toy to Minuit.
    interval : numpy.ndarray or None
        (n, 2) lower and upper end of the confidence interval of the parameter of interest, with `held` held.
    """

    held: Mapping[str, float]
    values: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    valid: NDArray[np.bool_]
    by_minuit: NDArray[np.bool_]
    interval: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.log_likelihood)


@dataclass(frozen=True)
class PointResult:
    """All toys that were generated at one point.

    Attributes
    ----------
    generate : mapping
        parameter name -> true value, of those that the campaign says; others were at their nominal value.
    nominal : mapping
        Values of what is no free parameter but makes another model, such as a mass or an exposure.
    poi : str
        The parameter of interest.
    parameter_names : tuple of str
        In the order of the columns of all fits.
    fits : mapping
        hypothesis -> `FitTable`. "free" has all parameters free; "zero" and "true" hold the parameter of interest;
        others have the number of their place in the list of hypotheses.
    level, kind : float, str
        Of the confidence intervals.
    poi_expectation : float or None
        Expected events of the source whose rate the parameter of interest is, at the true values.
    expected : mapping
        source -> expected events at the true values; empty where the model does not know.
    common_hypothesis : mapping
        What all hypotheses but "free" hold.
    metadata : mapping
        What the campaign gave along.
    """

    generate: Mapping[str, float]
    nominal: Mapping[str, float]
    poi: str
    parameter_names: tuple[str, ...]
    fits: Mapping[str, FitTable]
    level: float = 0.9
    kind: str = "central"
    poi_expectation: float | None = None
    expected: Mapping[str, float] = field(default_factory=dict)
    common_hypothesis: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return max((len(table) for table in self.fits.values()), default=0)

    @property
    def intervals(self) -> NDArray[np.float64] | None:
        """(n, 2) confidence intervals of the parameter of interest, of the first hypothesis that leaves it free."""
        return next((table.interval for table in self.fits.values() if table.interval is not None), None)

    def statistic(self, hypothesis: str, *, free: str = "free") -> NDArray[np.float64]:
        """Return (n,) the test statistic t = 2 (log L of `free` - log L of a hypothesis), at least 0.

        Parameters
        ----------
        hypothesis
            By name.
        free
            The hypothesis that it is compared with, in which more parameters are free.

        Raises
        ------
        MissingError
            If the campaign had no hypothesis "free".
        UnknownNameError
            If it had no such hypothesis.
        """
        if free == "free" and "free" not in self.fits:
            msg = "the test statistic compares with the hypothesis 'free', which this campaign does not have"
            raise MissingError(msg)
        return np.asarray(np.maximum(2.0 * (self[free].log_likelihood - self[hypothesis].log_likelihood), 0.0))

    def __getitem__(self, hypothesis: str) -> FitTable:
        if hypothesis not in self.fits:
            msg = f"the toys were not fitted under the hypothesis {hypothesis!r}.{did_you_mean(hypothesis, self.fits)}"
            raise UnknownNameError(msg)
        return self.fits[hypothesis]

    def values(self, name: str, hypothesis: str = "free") -> NDArray[np.float64]:
        """Return (n,) fitted or held values of one parameter.

        Raises
        ------
        UnknownNameError
            If there is no such parameter or hypothesis.
        """
        if name not in self.parameter_names:
            msg = f"{name!r} is not a parameter of these fits.{did_you_mean(name, self.parameter_names)}"
            raise UnknownNameError(msg)
        return self[hypothesis].values[:, self.parameter_names.index(name)]


@dataclass(frozen=True)
class PointDescription:
    """Everything about a point but its toys, as JSON keeps it; the fields are those of `PointResult`."""

    n_toys: int
    generate: Mapping[str, float]
    nominal: Mapping[str, float]
    poi: str
    parameter_names: Sequence[str]
    hypotheses: Mapping[str, Mapping[str, float]]
    intervals_of: Sequence[str]
    level: float
    kind: str
    poi_expectation: float | None
    expected: Mapping[str, float]
    common_hypothesis: Mapping[str, float]
    metadata: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, in which hypotheses keep their order."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**document, "hypotheses": [[name, dict(held)] for name, held in self.hypotheses.items()]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PointDescription:
        """Return the description that `to_dict` has made."""
        return cls(**{**document, "hypotheses": dict(document["hypotheses"])})


def columns_of(description: PointDescription) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the columns of a point: name -> (shape of one row, dtype)."""
    n_hypotheses, n_par = len(description.hypotheses), len(description.parameter_names)
    columns: dict[str, tuple[tuple[int, ...], str]] = {
        "values": ((n_hypotheses, n_par), "f8"),
        "log_likelihood": ((n_hypotheses,), "f8"),
        "valid": ((n_hypotheses,), "u1"),
        "by_minuit": ((n_hypotheses,), "u1"),
    }
    if description.intervals_of:
        columns["interval"] = ((len(description.intervals_of), 2), "f8")
    return columns if n_hypotheses else {}


def publish_results(
    out: Path,
    campaign: Mapping[str, Any],
    points: Sequence[tuple[PointDescription, Iterable[Mapping[str, NDArray[Any]]]]],
    *,
    replace: bool = False,
    within: Path | None = None,
) -> CampaignResults:
    """Write results and let them appear at `out`, complete or not at all.

    Parameters
    ----------
    out
        Folder of the store.
    campaign
        JSON document of all that the results depend on.
    points
        What each point is, and its rows: tables name -> column, one after another in the order of the toys.
    replace
        Whether a store that is there gives way.
    within
        Where it is written before it appears, on the same file system; None: beside `out`.

    Raises
    ------
    OutputExistsError
        If something is at `out` that may not be replaced.
    """
    with staged(out, replace=replace, within=within) as folder:
        group = zarr.create_group(str(folder), zarr_format=3, overwrite=True)
        content = hashlib.sha256()
        for i, (description, tables) in enumerate(points):
            columns = columns_of(description)
            writer = TableWriter(folder / f"{i:06d}", description.n_toys if columns else 0, columns)
            for table in tables:
                writer.append(table)
            writer.finish_rows()
            writer.write_attributes({"point": description.to_dict()})
            content.update(json.dumps(description.to_dict(), sort_keys=True).encode())
            content.update(writer.content.digest())
        group.update_attributes(
            {
                "format": TOYS_FORMAT,
                "format_version": FORMAT_VERSION,
                "hash": content.hexdigest(),
                "n_points": len(points),
                "campaign": dict(campaign),
            }
        )
    return CampaignResults(out)


_MOST_POINTS = 10**6
"""As many as their folders' names of six digits tell apart."""


class CampaignResults(Sequence[PointResult]):
    """Results of a campaign at rest: a sequence of `PointResult`, each read when it is asked for.

    Parameters
    ----------
    path
        Folder of the store.

    Raises
    ------
    FileFormatError
        If it is no store of toys.

    Examples
    --------
    >>> results = cm.CampaignResults("toys.zarr")
    >>> point = results.at(mu=1.0)[0]
    >>> point.values("mu").shape, bool((point.statistic("true") >= 0).all())
    ((3000,), True)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.attributes: dict[str, Any] = attributes_at(self.path, f"{self.path}: is no store of toys")
        if self.attributes.get("format") != TOYS_FORMAT:
            msg = f"{self.path}: is no store of toys: its 'format' is not {TOYS_FORMAT!r}"
            raise FileFormatError(msg)
        if self.attributes.get("format_version") != FORMAT_VERSION:
            version = self.attributes.get("format_version")
            msg = f"{self.path}: format_version {version!r} is not {FORMAT_VERSION}, which is read here"
            raise FileFormatError(msg)
        n_points = self.attributes.get("n_points")
        if not isinstance(n_points, int) or not 0 <= n_points <= _MOST_POINTS:
            msg = f"{self.path}: this store of toys is damaged: it has {n_points!r:.60} points"
            raise FileFormatError(msg)
        for name, kind in (("hash", str), ("campaign", dict)):
            if not isinstance(self.attributes.get(name), kind):
                msg = f"{self.path}: this store of toys is damaged: its {name!r} is missing, or of another kind"
                raise FileFormatError(msg)

    def __len__(self) -> int:
        return int(self.attributes["n_points"])

    @property
    def hash(self) -> str:
        """SHA-256 of what is in it."""
        return str(self.attributes["hash"])

    @property
    def campaign(self) -> Mapping[str, Any]:
        """The JSON document of all that the results depend on."""
        return dict(self.attributes["campaign"])

    @overload
    def __getitem__(self, index: int) -> PointResult: ...
    @overload
    def __getitem__(self, index: slice) -> list[PointResult]: ...
    def __getitem__(self, index: int | slice) -> PointResult | list[PointResult]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        what, folder = f"{self.path}: point {number} cannot be read", self.path / f"{number:06d}"
        attributes, columns = columns_at(folder, what, "run the campaign again")
        with intact(what):
            description = PointDescription.from_dict(attributes["point"])
            return _result(description, {name: columns[name][...] for name in columns_of(description)})

    def at(self, **values: float) -> list[PointResult]:
        """Return the points with these true or nominal values (or ``poi_expectation``).

        Raises
        ------
        UnknownNameError
            If no point says anything of a name.
        InputError
            If there is no such point.
        """
        known: dict[str, None] = {}
        found = []
        for point in self:
            said = {**point.nominal, **point.generate, "poi_expectation": point.poi_expectation}
            known |= dict.fromkeys(name for name, value in said.items() if value is not None)
            if all(name in said and _close(said[name], value) for name, value in values.items()):
                found.append(point)
        for name in values:
            if name not in known:
                msg = f"no point of the campaign says at which {name!r} it is.{did_you_mean(name, known)}"
                raise UnknownNameError(msg)
        if not found:
            msg = f"{self.path}: has no point at {values}"
            raise InputError(msg)
        return found

    def __iter__(self) -> Iterator[PointResult]:
        return (self[i] for i in range(len(self)))


def _close(a: float | None, b: float) -> bool:
    return a is not None and bool(np.isclose(a, b, rtol=1e-9, atol=1e-12))


def _result(description: PointDescription, columns: Mapping[str, NDArray[Any]]) -> PointResult:
    fits = {}
    for i, (name, held) in enumerate(description.hypotheses.items()):
        place = list(description.intervals_of).index(name) if name in description.intervals_of else None
        fits[name] = FitTable(
            held=dict(held),
            values=columns["values"][:, i],
            log_likelihood=columns["log_likelihood"][:, i],
            valid=columns["valid"][:, i].astype(bool),
            by_minuit=columns["by_minuit"][:, i].astype(bool),
            interval=None if place is None else columns["interval"][:, place],
        )
    return PointResult(
        generate=dict(description.generate),
        nominal=dict(description.nominal),
        poi=description.poi,
        parameter_names=tuple(description.parameter_names),
        fits=fits,
        level=description.level,
        kind=description.kind,
        poi_expectation=description.poi_expectation,
        expected=dict(description.expected),
        common_hypothesis=dict(description.common_hypothesis),
        metadata=dict(description.metadata),
    )
