r"""Which benchmarks to morph from: the figure of merit of a basis, and the search for a good one.

The figure of merit is the mean over the parameter ranges of the sum of squared morphing weights. Weights are polynomials
of theta, so the mean is exact: with M the morphing matrix and C[c, d] = <theta**(p_c + p_d)> it is tr(M^T C M), and
without M, tr(C (A^T A)^-1) with A[b, c] = theta_b**p_c. In the theory of optimal designs a basis that makes it small is
called I-optimal (or V-optimal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["component_moments"]


def component_moments(components: NDArray[np.int64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of theta**(p_c + p_d) for theta uniform in its bounds, (n_components, n_components)."""
    powers = components[:, np.newaxis] + components
    low, high = bounds[:, 0], bounds[:, 1]
    means = (high ** (powers + 1.0) - low ** (powers + 1.0)) / ((powers + 1.0) * (high - low))
    return np.asarray(means.prod(axis=-1))
