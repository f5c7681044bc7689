r"""From raw weights to picobarn, whatever the convention of the generator.

A file of N generated events has raw nominal weights w_e (XWGTUP) and says how they are meant (IDWTUP, hep-ph/0109068,
section 3.1) and which cross section it stands for (sum of XSECUP). All its weights, the nominal one and those at other
benchmarks or scales, are multiplied with one factor:

=====================  ==================================  ==========================================================
the file says          factor                              why
=====================  ==================================  ==========================================================
IDWTUP = +-1, +-4      :math:`1 / N`                       weights are in pb and their mean is the cross section
                                                           (MadGraph: ``event_norm = average``; POWHEG)
IDWTUP = +-2, +-3,     :math:`\sigma / \sum_e w_e`         only the sum of XSECUP is in pb (w = +-1, or, with
or nothing                                                 MadGraph's ``event_norm = sum``, w = sigma / N)
=====================  ==================================  ==========================================================

The sum runs over all N events, negative weights with their signs, before any selection. In both cases the nominal
weights of the file sum to its cross section, also when the file was cut off after some of the events that its run card
asked for. Where the raw sum agrees with sigma to :math:`10^{-5}` (XSECUP is printed with about six digits) the factor
is exactly 1. A `cross_section` given by the user takes the place of sigma in the second line, whatever the file says.

Files that say what was generated for them (NanoAOD: ``genEventSumw``), and may hold a part of it, count with that.

A sample of several files f is the average of their estimates, each with the fraction of the generated events that it
brings; together with its k-factor K the weights of file f are multiplied with

.. math:: K \, \frac{N_f}{\sum_g N_g} \, \text{factor}_f .

Where all files say what was generated, their weights are in the same units, and have one factor
:math:`K \sigma / \sum_f \sum_e w_e`, as is customary for NanoAOD.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from columnminer.errors import ColumnMinerWarning, FileFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RawTotals", "file_factor", "sample_factors"]

PRINTED = 1e-5
"""Relative precision to which files print cross sections."""

MEAN_IS_CROSS_SECTION = {1, 4}


@dataclass(frozen=True)
class RawTotals:
    """What is needed of one file to normalise its weights.

    Attributes
    ----------
    file : str
        Its name.
    n_generated : int
        Events in it.
    sum_weights, sum_squared_weights : float
        Of their raw nominal weights.
    cross_section : float or None
        What it declares [pb].
    weighting : int or None
        Its IDWTUP.
    common : bool
        Whether its weights are in the units of those of the other files of the sample.
    """

    file: str
    n_generated: int
    sum_weights: float
    sum_squared_weights: float
    cross_section: float | None = None
    weighting: int | None = None
    common: bool = False


def file_factor(totals: RawTotals, cross_section: float | None = None) -> float:
    """Return what the raw weights of a file are multiplied with, so that they sum to its cross section [pb].

    Parameters
    ----------
    totals
        Of the file.
    cross_section
        Cross section [pb] to use instead of what the file says.

    Raises
    ------
    FileFormatError
        If there are no events, or the file does not say enough; the message says what to give.
    """
    if totals.n_generated == 0:
        msg = f"{totals.file}: there are no events, so the sample cannot be normalised"
        raise FileFormatError(msg)
    if cross_section is None and totals.weighting is not None and abs(totals.weighting) in MEAN_IS_CROSS_SECTION:
        _compare_with_declared(totals)
        return 1.0 / totals.n_generated
    target = totals.cross_section if cross_section is None else cross_section
    if target is None or not (math.isfinite(target) and target > 0):
        msg = (
            f"{totals.file}: only the declared cross section fixes the scale of its weights (IDWTUP = "
            f"{totals.weighting}), but it declares {target}. Give Sample(..., cross_section=...) in pb."
        )
        raise FileFormatError(msg)
    if not totals.sum_weights > 0:
        msg = (
            f"{totals.file}: the weights of its {totals.n_generated} events sum to {totals.sum_weights:g}, which no "
            f"factor makes a cross section of {target:g} pb"
        )
        raise FileFormatError(msg)
    factor = target / totals.sum_weights
    return 1.0 if abs(factor - 1.0) < PRINTED else factor


def sample_factors(
    files: Sequence[RawTotals], *, cross_section: float | None = None, k_factor: float = 1.0
) -> list[float]:
    """Return what the raw weights of each file of a sample are multiplied with: normalisation, share, k-factor."""
    n_generated = sum(totals.n_generated for totals in files)
    if files and all(totals.common for totals in files):
        together = RawTotals(
            file=files[0].file if len(files) == 1 else f"{files[0].file} and {len(files) - 1} more",
            n_generated=n_generated,
            sum_weights=math.fsum(totals.sum_weights for totals in files),
            sum_squared_weights=math.fsum(totals.sum_squared_weights for totals in files),
        )
        return [k_factor * file_factor(together, cross_section)] * len(files)
    return [k_factor * (t.n_generated / max(n_generated, 1)) * file_factor(t, cross_section) for t in files]


def _compare_with_declared(totals: RawTotals) -> None:
    """Warn if the mean weight is not the declared cross section, by more than chance explains."""
    if totals.cross_section is None or not totals.cross_section > 0:
        return
    n = totals.n_generated
    mean = totals.sum_weights / n
    error = math.sqrt(max(totals.sum_squared_weights / n - mean**2, 0.0) / n)
    if abs(mean - totals.cross_section) > 5 * error + 0.01 * totals.cross_section:
        msg = (
            f"{totals.file}: its mean weight is {mean:g} +- {error:g} pb, but it declares {totals.cross_section:g} pb; "
            f"the mean is used (IDWTUP = {totals.weighting}). Sample(..., cross_section=...) overrides it."
        )
        warnings.warn(msg, ColumnMinerWarning, stacklevel=2)
