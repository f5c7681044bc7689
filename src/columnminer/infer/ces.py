"""Sources in the combined energy scale (CES): a true spectrum, seen through resolution, bias and efficiency.

Three kinds of true spectrum: a template, a line (``monoenergetic``), and ``flat``. What is seen of them:

- **smearing**: a Gaussian of width sigma(E) = (a sqrt(E) + b E) / 100, integrated over each bin;
- **bias**: (E' - E) / E = A arctan(k E) + B, with the Jacobian dE'/dE; energies are then E';
- **efficiency**: a constant.

The numbers follow alea's CES sources step by step (alea 0.3.5), among them: bins that straddle an end of the analysis
range count in part; the seen spectrum is interpolated to bins of the minimal energy resolution; a rate multiplier is
in events per year and tonne, a year having 365 days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import ndtr

from columnminer.errors import InputError
from columnminer.infer.template_files import Histogram
from columnminer.infer.template_shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["SpectralSource", "biased", "resolution", "smeared", "smeared_line"]

DAYS_PER_YEAR = 365
"""Of a rate in events per year, as alea counts them."""

_FAR = 12.0
"""Beyond so many standard deviations a Gaussian is zero."""


def resolution(energy: Any, smearing_a: float, smearing_b: float) -> Any:
    """Return sigma(E) = (a sqrt(E) + b E) / 100 in keV, of energies in keV."""
    return (np.sqrt(energy) * smearing_a + energy * smearing_b) / 100.0


def smeared_line(
    edges: NDArray[np.float64], energy: float, smearing_a: float, smearing_b: float
) -> NDArray[np.float64]:
    """Return the probability of each bin for a line at `energy`, smeared."""
    width = resolution(energy, smearing_a, smearing_b)
    if not width > 0:
        msg = f"the energy resolution at {energy:g} keV is {width:g} keV; it must be positive"
        raise InputError(msg)
    return np.diff(ndtr((edges - energy) / width))


def smeared(histogram: Histogram, smearing_a: float, smearing_b: float) -> Histogram:
    """Return a spectrum (contents are densities) convolved with the resolution, in the same bins.

    Each bin at a positive energy is smeared as a line in its middle, of weight density x width.
    """
    edges, centres = histogram.edges[0], histogram.centres()
    weights = histogram.contents * np.diff(edges)
    out = np.zeros(len(centres))
    for i in np.flatnonzero((centres > 0) & (weights != 0)):
        width = resolution(centres[i], smearing_a, smearing_b)
        if not width > 0:
            msg = f"the energy resolution at {centres[i]:g} keV is {width:g} keV; it must be positive"
            raise InputError(msg)
        first, last = np.searchsorted(edges, (centres[i] - _FAR * width, centres[i] + _FAR * width))
        first, last = max(first - 1, 0), min(last + 1, len(edges))
        out[first : last - 1] += weights[i] * np.diff(ndtr((edges[first:last] - centres[i]) / width))
    return histogram.filled(out)


def biased(histogram: Histogram, A: float, k: float, B: float) -> Histogram:
    """Return a spectrum of E as one of E' = E (1 + A arctan(k E) + B), in the same bins.

    f(E) / (dE'/dE) at the middles of bins, interpolated linearly in E' to those middles; zero outside.
    """
    energy = histogram.centres()
    bias = A * np.arctan(k * energy) + B
    slope = 1.0 + bias + energy * (A * k / (1.0 + (k * energy) ** 2))
    seen = energy * (1.0 + bias)
    order = np.argsort(seen, kind="stable")
    there = (histogram.contents / slope)[order]
    return histogram.filled(np.interp(energy, seen[order], there, left=0.0, right=0.0))


@dataclass(frozen=True)
class SpectralSource:
    """A source in the combined energy scale.

    Parameters
    ----------
    kind
        Of the true spectrum.
    space
        Edges of the analysis range in keV; their width does not matter, but for a binned likelihood.
    template
        Of a "template" source.
    energy
        Of the line of a "monoenergetic" one, in keV.
    smearing, bias, efficiency
        Parameters of what is applied, by name: ``smearing_a, smearing_b``; ``A, k, B``; ``efficiency_constant``. None:
        not applied. A flat spectrum is neither smeared nor biased.
    minimal_resolution
        Width of the bins in which the spectrum is looked up, in keV.
    fill_with_zeros
        Continue the template with zeros to the ends of the range, in bins of the width of the first analysis bin.
    mass
        Fiducial mass in tonnes.

    Raises
    ------
    InputError
        If the template is negative, does not overlap with the range, or a parameter is impossible.
    """

    kind: Literal["template", "monoenergetic", "flat"]
    space: NDArray[np.float64]
    template: Histogram | None = None
    energy: float | None = None
    smearing: Mapping[str, float] | None = None
    bias: Mapping[str, float] | None = None
    efficiency: Mapping[str, float] | None = None
    minimal_resolution: float = 0.05
    fill_with_zeros: bool = False
    mass: float = 1.0

    @property
    def low(self) -> float:
        """Lower end of the range."""
        return float(self.space[0])

    @property
    def high(self) -> float:
        """Upper end of the range."""
        return float(self.space[-1])

    def shape(self, seen: Histogram | None = None) -> Shape:
        """Return the events per day and the density, in fine bins that may reach beyond the range by less than one.

        Parameters
        ----------
        seen
            What `smeared_truth` returned for a source with the same smearing: not computed again.
        """
        histogram = self.smeared_truth() if seen is None else seen
        if self.bias is not None and self.kind != "flat":
            histogram = biased(histogram, **self.bias)
        part = self._in_range(histogram)
        inside = _integral(histogram, part)
        if not inside > 0:
            msg = f"the source has no events between {self.low:g} and {self.high:g} keV: leave it out"
            raise InputError(msg)
        fraction = inside / _integral(histogram)
        efficiency = 1.0
        if self.efficiency is not None:
            efficiency = self.efficiency["efficiency_constant"]
            if not 0.0 <= efficiency <= 1.0:
                msg = f"an efficiency must lie between 0 and 1, not at {efficiency:g}"
                raise InputError(msg)
        histogram = histogram.filled(histogram.contents / _integral(histogram))
        if self.kind != "monoenergetic":
            histogram = self._rebinned(histogram)
            histogram = histogram.filled(histogram.contents * self._in_range(histogram))
            histogram = histogram.filled(histogram.contents / _integral(histogram))
        return Shape(self.mass / DAYS_PER_YEAR * fraction * efficiency, histogram.edges, histogram.contents)

    def binned(self, shape: Shape) -> Shape:
        """Return the shape in the bins of the analysis space: the density interpolated linearly to their middles."""
        fine = Histogram(("ces",), shape.edges, shape.density)
        per_bin = fine.contents / fine.volumes
        middles = 0.5 * (self.space[1:] + self.space[:-1])
        width = np.diff(self.space)
        density = np.interp(middles, fine.centres(), per_bin) * width
        density = density * (_integral(fine) / np.sum(density * width))
        return Shape(shape.events, (self.space,), density)

    def smeared_truth(self) -> Histogram:
        """Return the true spectrum after smearing: what of the work does not depend on bias and efficiency."""
        truth = self._truth()
        if self.smearing is None or self.kind == "flat":
            return truth
        if self.kind == "monoenergetic" and self.energy is not None:
            return truth.filled(smeared_line(truth.edges[0], self.energy, **self.smearing))
        return smeared(truth, **self.smearing)

    def _truth(self) -> Histogram:
        if self.kind == "flat":
            # Filled a little beyond the range, so that interpolation to other bins does not see its ends.
            pad = self.minimal_resolution
            bins = int((self.high - self.low + 2 * pad) / pad)
            truth = _blank(np.linspace(self.low - pad, self.high + pad, bins + 1))
            truth = truth.filled(np.ones(bins))
        elif self.kind == "monoenergetic":
            if self.energy is None:
                msg = "a monoenergetic source needs its peak_energy"
                raise InputError(msg)
            bins = int((self.high - self.low) / self.minimal_resolution)
            truth = _blank(np.linspace(self.low, self.high, bins + 1))
            truth = truth.filled(np.histogram([self.energy], truth.edges[0])[0])
            if not truth.total:
                return truth
        else:
            truth = self._checked_template()
        return truth.filled(truth.contents / _integral(truth))

    def _checked_template(self) -> Histogram:
        template = self.template
        if template is None or len(template.edges) != 1:
            msg = "a CES source of this kind needs a template with one axis"
            raise InputError(msg)
        if (template.contents < 0).any():
            msg = "the template of a CES source has bins with negative entries"
            raise InputError(msg)
        if self.low > template.edges[0][-1] or self.high < template.edges[0][0] or not template.total > 0:
            msg = f"the template has no events between {self.low:g} and {self.high:g} keV: leave the source out"
            raise InputError(msg)
        template = Histogram(template.names, template.edges, template.contents.astype(np.float64))
        if self.fill_with_zeros:
            width = self.space[1] - self.space[0]
            wider = _blank(np.arange(0, self.high + width, width))
            seen = np.interp(wider.centres(), template.centres(), template.contents, left=0.0, right=0.0)
            template = wider.filled(seen)
        return template

    def _in_range(self, histogram: Histogram) -> NDArray[np.float64]:
        """Return the share of each bin that counts as inside the range."""
        left, right = histogram.edges[0][:-1], histogram.edges[0][1:]
        share = np.ones(len(left))
        above, below = np.flatnonzero(right > self.high), np.flatnonzero(left < self.low)
        if len(above):
            i = above[0]
            share[i] *= 1.0 - (right[i] - self.high) / (right[i] - left[i])
            share[above[1:]] = 0.0
        if len(below):
            i = below[-1]
            if self.low != 0:  # a bin across 0 keV counts in full
                share[i] *= 1.0 - (self.low - left[i]) / (right[i] - left[i])
            share[below[:-1]] = 0.0
        return share

    def _rebinned(self, histogram: Histogram) -> Histogram:
        ends = histogram.edges[0][0], histogram.edges[0][-1]
        fine = _blank(np.linspace(*ends, int((ends[1] - ends[0]) / self.minimal_resolution)))
        x, y, at = histogram.centres(), histogram.contents, fine.centres()
        if len(x) < 2:
            msg = "the template of a CES source needs at least two bins"
            raise InputError(msg)
        left = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)  # beyond the outer middles the last line goes on
        slope = (y[left + 1] - y[left]) / (x[left + 1] - x[left])
        return fine.filled(np.maximum(slope * (at - x[left]) + y[left], 0.0))


def _blank(edges: NDArray[np.float64]) -> Histogram:
    if len(edges) < 2:
        msg = "the energy range is narrower than the minimal energy resolution"
        raise InputError(msg)
    return Histogram(("ces",), (edges,), np.zeros(len(edges) - 1))


def _integral(histogram: Histogram, share: NDArray[np.float64] | float = 1.0) -> float:
    return float(np.sum(histogram.contents * share * np.diff(histogram.edges[0])))
