"""A toy with nuisance parameters and a known score: z ~ N(A phi, 1), x = z + noise, phi = (cg, cu, nu, norm).

The noise differs from feature to feature, so that the information of what is seen, A^T V^-1 A with V = 1 + noise^2, is
not proportional to that of the latent z, A^T A. The last nuisance parameter, a normalisation, moves nothing.
"""

from __future__ import annotations

import numpy as np

from columnminer.sample.samples import Samples

FEATURES, PARAMETERS, NUISANCES = ("a", "b", "c"), ("cg", "cu", "nu", "norm"), ("nu", "norm")
SLOPES = np.array([[1.0, -0.2, 0.6, 0.0], [0.0, 0.8, -0.5, 0.0], [0.3, 0.0, 0.9, 0.0]])
VARIANCE = 1.0 + np.array([0.3, 2.0, 1.0]) ** 2
INFORMATION = SLOPES.T / VARIANCE @ SLOPES
LATENT_INFORMATION = SLOPES.T @ SLOPES


def exact_score(x):
    return x / VARIANCE @ SLOPES


def profiled(information):
    """I_tt - I_tn I_nn^-1 I_nt, with n the one nuisance parameter that does something."""
    mixed, own = information[:2, 2:3], information[2:3, 2:3]
    return information[:2, :2] - mixed @ np.linalg.inv(own) @ mixed.T


def nuisance_samples(n, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    return Samples(
        x=z + rng.normal(size=(n, 3)) * np.sqrt(VARIANCE - 1.0),
        theta0=np.zeros((n, 4)),
        t_xz=z @ SLOPES,
        feature_names=FEATURES,
        parameter_names=PARAMETERS,
        nuisance_names=NUISANCES,
        store_hash="toy",
        partition="train",
    )
