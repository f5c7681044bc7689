r"""How samples add up to cross sections, on reading: mixing fractions and the size of a partition.

Weights at rest are normalised per sample. Signal samples s, each generated at its own benchmark, all estimate the same
cross section; they are averaged with the fractions of generated events g_s that they bring. In a partition with the
fraction k_s of the stored events of sample s, its estimate is the sum of weights / k_s, and counts with the fraction of
the g_s k_s events that stand behind it. So all weights of sample s are multiplied with

.. math:: \frac{g_s k_s}{\sum_t g_t k_t} \cdot \frac{1}{k_s} = \frac{g_s}{\sum_t g_t k_t} ,

which holds also where a partition has no events of some sample. Backgrounds are sums of their own: 1 / k_s.

That is how MadMiner mixes ("fractions"), and it holds for any samples. Where each sample was generated with a density
:math:`p_s = (d\sigma_s/dx) / \sigma_s`, there is a better way ("balance", the balance heuristic of E. Veach and L.
Guibas, SIGGRAPH 1995): weight an event by the density of all samples together, which its own weights W_b tell,

.. math:: W_b \to W_b \Big/ \sum_t \frac{g_t}{\sigma_t} W_t .

An event that one sample hardly ever makes and another often then counts no more than it should: the effective number of
events far from where most were generated is many times larger. The sum over all events is the cross section again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from columnminer.errors import InputError, MissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from columnminer.store.samples import SampleInfo

__all__ = ["MIXINGS", "Mixing", "balance", "mixing_scales", "require_complete"]

Mixing: TypeAlias = Literal["fractions", "balance"]

MIXINGS: tuple[Mixing, ...] = ("fractions", "balance")


def mixing_scales(
    samples: Sequence[SampleInfo], counts: NDArray[np.int64], benchmark: str | None = None
) -> NDArray[np.float64]:
    """Return what the stored weights of each sample are multiplied with, (n_samples,).

    0 leaves a sample out: those of other benchmarks, backgrounds without events, the signal where it has none at all.

    Parameters
    ----------
    samples
        What is stored.
    counts
        (n_samples,) how many stored events of each are in the partition.
    benchmark
        Only signal samples generated at this benchmark; None: all.
    """
    stored = np.array([s.n_events for s in samples])
    generated = np.array([s.n_generated for s in samples], dtype=np.float64)
    background = np.array([s.background for s in samples])
    # A sample of which nothing passed the selection has no fraction of its own: it takes that of the others.
    kept = np.where(stored > 0, counts / np.maximum(stored, 1), counts.sum() / max(stored.sum(), 1))
    signal = ~background & np.array([benchmark in {None, s.benchmark} for s in samples])
    scales = np.zeros(len(samples))
    if counts[signal].any():
        scales[signal] = generated[signal] / (generated[signal] @ kept[signal])
    present = background & (counts > 0)
    scales[present] = 1.0 / kept[present]
    return scales


def balance(
    samples: Sequence[SampleInfo], scales: NDArray[np.float64], benchmarks: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what turns weights mixed by fractions into balanced ones: `numerator[sample] / (weights @ density)`.

    Parameters
    ----------
    samples, scales
        As in `mixing_scales`, and what it returned.
    benchmarks
        Names of the columns of the stored weights.

    Returns
    -------
    tuple of numpy.ndarray
        The numerator, (n_samples,), and the density of generated events in units of each benchmark's weight,
        (n_benchmarks,) [1/pb].

    Raises
    ------
    InputError
        If it is not known of a sample with which density it was generated.
    """
    numerator, density = np.zeros(len(samples)), np.zeros(len(benchmarks))
    mixed = [i for i, s in enumerate(samples) if not s.background and scales[i] > 0]
    for i in mixed:
        sample = samples[i]
        if not sample.cross_section or sample.benchmark not in benchmarks:
            msg = (
                f"mixing='balance' needs the cross section that sample {sample.name!r} was generated with, which this "
                f"store does not know: use mixing='fractions'"
            )
            raise InputError(msg)
        density[benchmarks.index(sample.benchmark)] += sample.n_generated / sample.cross_section
        numerator[i] = sum(samples[j].n_generated for j in mixed) / sample.n_generated
    return numerator, density


def require_complete(
    samples: Sequence[SampleInfo], counts: NDArray[np.int64], where: str, benchmark: str | None = None
) -> None:
    """Refuse to take for a cross section what lacks the signal or a background.

    Raises
    ------
    MissingError
        If the partition has no events of the signal (though the store has), or of a background.
    """
    signal = [i for i, s in enumerate(samples) if not s.background and benchmark in {None, s.benchmark}]
    if signal and not counts[signal].any():
        msg = f"there are no signal events in {where}"
        raise MissingError(msg)
    for sample, count in zip(samples, counts.tolist(), strict=True):
        if sample.background and sample.n_events and not count:
            msg = f"there are no events of background {sample.name!r} in {where}"
            raise MissingError(msg)
