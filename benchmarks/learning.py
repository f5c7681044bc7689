"""Speed of learning and of evaluating what was learned, per device, beside what the arithmetic alone would take.

The limit is the number of multiplications and additions at the speed of a large matrix product in single precision,
measured in the same run; where there are next to none, that of writing the result.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch

import columnminer as cm
from benchmarks.timing import Row, Timing, measure
from columnminer.learn.ensembles import Ensemble

if TYPE_CHECKING:
    from columnminer.sample.samples import Samples

HIDDEN = (60, 60)
FEATURES = ("pt_j1", "delta_phi_jj")
WEIGHTS = 4 * 60 + 60 * 60 + 60  # of a network of two parameters and two features
N_SAMPLES, N_THETA, N_EVENTS, N_MEMBERS = 500_000, 625, 10_000, 10

# A training step of a value and its gradient has six products with every weight: forward, back for the gradient, and
# twice two for the derivatives of both by what goes into a layer and by its weights.
TRAINING_FLOPS = 6 * 2 * WEIGHTS
# Of pairs, the first layer is a sum of what was computed before for points and for events.
PAIR_FLOPS = 60 + 2 * (60 * 60 + 60)


def flops_per_second(device: str) -> float:
    n = 1024 if device == "cpu" else 8192
    a = torch.ones(n, n, device=device)

    def product() -> None:
        torch.mm(a, a)
        if device == "cuda":
            torch.cuda.synchronize()

    return 2.0 * n**3 / measure(product).median


def estimator(device: str) -> cm.RatioEstimator:
    return cm.RatioEstimator(HIDDEN, activation="tanh", features=FEATURES, device=device)


def rows(store: cm.EventStore, device: str) -> list[Row]:
    """Return the rows of one device, "cpu" (one thread) or "cuda"."""
    if device == "cuda" and not torch.cuda.is_available():
        names = ("train ALICES, one epoch", "ensemble of ten, one epoch", "log ratio, all pairs")
        return [Row(f"{name}, GPU", 0, None, "", remark="skipped: no GPU here") for name in names]
    torch.set_num_threads(1)
    where = {"cpu": "", "cuda": ", GPU"}[device]
    prior = cm.gaussian_prior([0, 0], [5, 5])
    samples = cm.sample_ratio(store, theta0=prior, theta1="sm", n=N_SAMPLES, seed=0)
    return [*training(samples, device, where), *evaluation(store, samples, device, where)]


def training(samples: Samples, device: str, where: str) -> list[Row]:
    options = {"method": "alices", "epochs": 1, "batch_size": 1024, "seed": 0}
    flops = N_SAMPLES * TRAINING_FLOPS / flops_per_second(device)
    one = measure(lambda: estimator(device).fit(samples, **options), repeats=3)

    def ten() -> None:
        Ensemble([estimator(device) for _ in range(N_MEMBERS)]).fit(samples, **options)

    torch.set_num_threads(os.cpu_count() or 1)  # members share the threads; a single training has one
    together = measure(ten, repeats=1)
    torch.set_num_threads(1)
    at_most = {"cpu": 6, "cuda": 3}[device]
    return [
        Row(f"train ALICES, one epoch{where}", N_SAMPLES, one, "", Timing(flops, flops)),
        Row(
            f"ensemble of ten, one epoch{where}",
            N_SAMPLES * N_MEMBERS,
            together,
            f"<= {at_most} of one",
            Timing(N_MEMBERS * flops, N_MEMBERS * flops),
            remark=f"{together.median / one.median:.1f} of one",
        ),
    ]


def evaluation(store: cm.EventStore, samples: Samples, device: str, where: str) -> list[Row]:
    line = np.linspace(-20.0, 20.0, 25)
    theta = np.array([[a, b] for a in line for b in line])
    x = cm.sample_test(store, "sm", N_EVENTS, seed=0).x
    n = N_THETA * N_EVENTS
    plain = estimator(device).fit(samples, "carl", epochs=1, seed=0, limit=50_000)
    morphing = cm.MorphingRatioEstimator(HIDDEN, optimise_basis=True, features=FEATURES, device=device)
    morphing.fit(samples, "carl", epochs=1, seed=0, limit=50_000)
    flops = n * PAIR_FLOPS / flops_per_second(device)
    written = measure(lambda: np.full((N_THETA, N_EVENTS), 1.0))

    def evaluate(what: cm.RatioEstimator | cm.MorphingRatioEstimator) -> Timing:
        return measure(lambda: what.log_ratio(x, theta, pairing="grid", names=store.observable_names), repeats=3)

    return [
        Row(f"log ratio, {N_THETA} thetas x {N_EVENTS:,}{where}", n, evaluate(plain), "", Timing(flops, flops)),
        Row(f"log ratio, {N_THETA} thetas x {N_EVENTS:,}, morphing{where}", n, evaluate(morphing), "", written),
    ]
