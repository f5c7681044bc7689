"""Limits from estimators that were really trained, with and without nuisance parameters: that the pieces fit together.

How well they learn is tested elsewhere; here a broad agreement with the exact likelihood is enough.
"""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import ExactNuisanceRatio, ExactRatio, analytic_store

from columnminer.infer.limits import Grid, expected_limits
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.estimators import DensityEstimator, DoubleRatioEstimator, RatioEstimator
from columnminer.model.priors import flat_prior, gaussian_prior
from columnminer.sample.sampling import sample_density, sample_double_ratio, sample_ratio

pytestmark = pytest.mark.filterwarnings("ignore:.*never checked:columnminer.errors.CheckWarning")

PRIOR, NU = flat_prior([(-1.5, 1.5)]), gaussian_prior([0.0], [1.0])
FAST = {"epochs": 8, "batch_size": 256, "learning_rate": 0.01, "seed": 1}
GRID, LUMINOSITY = Grid([(-1.0, 1.0, 9)]), 2000.0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return analytic_store(tmp_path_factory.mktemp("store") / "events.zarr", 20_000, tilt=0.4)


def trained(kind, store):
    """One of each kind; of densities and double ratios no gold is needed to see that they are taken."""
    net = {"hidden": (16,), "features": ["x"]}
    if kind == "double":
        return DoubleRatioEstimator(**net).fit(sample_double_ratio(store, PRIOR, PRIOR, 20_000, seed=1), **FAST)
    if kind == "density":
        options = {"flow": "maf", "base": "mixture", "n_transforms": 2}
        return DensityEstimator(**net, **options).fit(sample_density(store, PRIOR, 20_000, seed=1), **FAST)
    samples = sample_ratio(store, PRIOR, "zero", 20_000, seed=1)
    if kind == "ensemble":
        return Ensemble([RatioEstimator(**net).fit(samples, **FAST | {"seed": i}) for i in range(2)])
    return RatioEstimator(**net).fit(samples, **FAST)


@pytest.mark.parametrize("kind", ["ratio", "ensemble", "double", "density"])
def test_every_kind_of_ratio_gives_limits(store, kind):
    limits, exact = (
        expected_limits(store, what, [0.6], GRID, LUMINOSITY) for what in (trained(kind, store), ExactRatio())
    )
    np.testing.assert_allclose(limits.log_ratio, exact.log_ratio, rtol=0.3, atol=5.0)


def test_what_was_learned_of_nuisances_is_profiled(store):
    samples = sample_ratio(store, PRIOR, "zero", 40_000, nu0=NU, nu1=[0.0], seed=1)
    assert samples.parameter_names == ("theta", "tilt")
    estimator = RatioEstimator((16,), features=["x"]).fit(samples, **FAST)
    limits, near = {}, Grid([(-0.4, 0.4, 5)])  # farther away the profiled tilt is beyond those of the training
    for nuisances in (False, True):
        for name, what in (("learned", estimator), ("exact", ExactNuisanceRatio(0.4))):
            limits[name, nuisances] = expected_limits(store, what, [0.0], near, 300.0, nuisances=nuisances)
        ours, exact = limits["learned", nuisances].log_ratio, limits["exact", nuisances].log_ratio
        np.testing.assert_allclose(ours, exact, rtol=0.3, atol=1.5)
    pulls = limits["learned", True].nuisances["tilt"]
    np.testing.assert_allclose(pulls, limits["exact", True].nuisances["tilt"], atol=0.7)
    assert limits["learned", False].log_ratio[0] < -6.0 < 2.0 * limits["learned", True].log_ratio[0]
