"""Joint ratios and scores along nuisance parameters of every kind, from an event file, against the weights in it.

What is expected is calculated here from the raw weights and the definition of each kind, not from the store.
"""

from __future__ import annotations

import numpy as np
import pytest
from lhe_text import document, event, rwgt, save

from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import (
    NormalisationUncertainty,
    PDFUncertainty,
    ScaleUncertainty,
    WeightVariation,
)
from columnminer.observe.selection import Selection
from columnminer.processing import process
from columnminer.sample.sampling import sample_double_ratio
from columnminer.store.samples import Sample

N = 600
IDS = {
    "plus": "c = 1",
    "minus": "c = -1",
    **{f"s{i}": f"MUR={r} MUF={f}" for i, (r, f) in enumerate([(0.5, 0.5), (2.0, 2.0), (1.0, 2.0), (1.0, 4.0)])},
    **{f"p{i}": f"PDF=1000 MemberID={i}" for i in range(5)},
    **{f"q{i}": f"lhapdf={2000 + i}" for i in range(4)},
    **{f"h{i}": f"lhapdf={3000 + i}" for i in range(3)},
    "trigger_up": "",
    "trigger_down": "",
    "top_mass": "",
}
SYSTEMATICS = [
    NormalisationUncertainty("rate", 0.1),
    ScaleUncertainty("scales", "mu", (0.5, 1.0, 2.0)),
    ScaleUncertainty("muf", "muf", (2.0, 4.0)),
    ScaleUncertainty("one_sided", "muf", (4.0,)),
    PDFUncertainty("cteq", 1000, 4, confidence_level=0.9),
    PDFUncertainty("replicas", 2000, 3, errors="replicas"),
    PDFUncertainty("symmetric", 3000, 2, errors="symmhessian"),
    WeightVariation("trigger", "trigger_up", "trigger_down"),
    WeightVariation("mass", "top_mass"),
]
SIGMA_90 = 1.6448536269514722
DIRECTIONS = {  # name -> (up, down, central, step)
    "scales": ("s1", "s0", None, 1.0),
    "muf": ("s3", "s2", None, 1.0),
    "one_sided": ("s3", None, None, 1.0),
    "cteq_1": ("p1", "p2", "p0", SIGMA_90),
    "cteq_2": ("p3", "p4", "p0", SIGMA_90),
    "replicas_1": ("q1", None, "q0", np.sqrt(2)),
    "replicas_2": ("q2", None, "q0", np.sqrt(2)),
    "replicas_3": ("q3", None, "q0", np.sqrt(2)),
    "symmetric_1": ("h1", None, "h0", 1.0),
    "symmetric_2": ("h2", None, "h0", 1.0),
    "trigger": ("trigger_up", "trigger_down", None, 1.0),
    "mass": ("top_mass", None, None, 1.0),
}


@pytest.fixture(scope="module")
def raw():
    """Raw weights of all events, by id: (1 + c x)^2 at the benchmarks, the rest at random around the nominal one."""
    rng = np.random.default_rng(11)
    nominal, x = rng.uniform(0.5, 1.5, N), rng.normal(size=N)
    weights = {"nominal": nominal, "plus": nominal * (1 + x) ** 2, "minus": nominal * (1 - x) ** 2}
    varied = {name: nominal * np.exp(0.2 * rng.normal(size=N)) for name in IDS if name not in weights}
    return {name: np.array([float(f"{w:.9e}") for w in column]) for name, column in (weights | varied).items()}


@pytest.fixture(scope="module")
def store(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gold")
    declared = "".join(f"<weight id='{i}'>{said}</weight>\n" for i, said in IDS.items())
    events = [
        event(rwgt(**{k: f"{raw[k][i]:.9e}" for k in IDS}), line=f" 3 1 {raw['nominal'][i]:.9e} {i + 1}. 0.0078 0.15")
        for i in range(N)
    ]
    path = save(folder, document(*events, header=f"<header><initrwgt>{declared}</initrwgt></header>\n"))
    space = ParameterSpace([Parameter("c", bounds=(-3, 3), max_power=2)])
    points = {"sm": {"c": 0.0}, "plus": {"c": 1.0}, "minus": {"c": -1.0}}
    setup = Setup(space, points, SYSTEMATICS).with_morphing(max_overall_power=2)
    sample = Sample(path, benchmark="sm", systematics=[s.name for s in SYSTEMATICS])
    return process(
        [sample], setup, Selection({"i": "scale"}), folder / "s.zarr", partition=(1.0, 0.0, 0.0), progress=False
    )


def log_density(raw, c, nus):
    """log p(event | c, nu) of all events from the definitions."""
    plus, minus, sm = raw["plus"], raw["minus"], raw["nominal"]
    weight = sm + c * (plus - minus) / 2 + c**2 * ((plus + minus) / 2 - sm)
    response = np.zeros(N) + np.log(1.1) * nus["rate"]
    for name, (up, down, central, step) in DIRECTIONS.items():
        t, w0 = nus[name] / step, raw[central or "nominal"]
        if down is None:
            response += np.log(raw[up] / w0) * t
        else:
            response += 0.5 * np.log(raw[up] / raw[down]) * t + 0.5 * np.log(raw[up] * raw[down] / w0**2) * t**2
    weight = weight * np.exp(response)
    return np.log(weight / weight.sum())


def test_the_varied_weights_come_out(store, raw):
    """At nu = +-step, weights change by the ratio of the varied weight to the one that it varies."""
    block = next(store.blocks())
    nominal = block.weights("sm")[0]
    assert store.nuisance_names == ("rate", *DIRECTIONS)
    for name, (up, down, central, step) in DIRECTIONS.items():
        for weight, nu in ((up, step), (down, -step)):
            if weight is not None:
                ratio = block.weights("sm", {name: nu})[0] / nominal
                np.testing.assert_allclose(ratio, raw[weight] / raw[central or "nominal"], rtol=1e-8, err_msg=name)


def test_gold_along_every_kind_of_systematic(store, raw):
    rng = np.random.default_rng(2)
    nu0, nu1 = (dict(zip(store.nuisance_names, 0.7 * rng.normal(size=13), strict=True)) for _ in range(2))
    sample = sample_double_ratio(store, [[0.4]], [[-1.3]], 400, nu0=nu0, nu1=nu1, dtype=np.float64)
    event_of = sample.x[:, 0].astype(int) - 1
    ratio = np.exp(log_density(raw, 0.4, nu0) - log_density(raw, -1.3, nu1))
    np.testing.assert_allclose(sample.r_xz, ratio[event_of], rtol=1e-7)
    h = 1e-5
    for score, c, nu in ((sample.t_xz, 0.4, nu0), (sample.t_xz1, -1.3, nu1)):
        slopes = [(log_density(raw, c + h, nu) - log_density(raw, c - h, nu)) / (2 * h)]
        for name in store.nuisance_names:
            up, down = (log_density(raw, c, nu | {name: nu[name] + shift}) for shift in (h, -h))
            slopes.append((up - down) / (2 * h))
        expected = np.stack(slopes, axis=1)[event_of]
        np.testing.assert_allclose(score, expected, rtol=1e-5, atol=1e-6)
        # negative control: elsewhere in nu the score is another
        other = nu | {name: -value for name, value in nu.items()}
        up, down = (log_density(raw, c, other | {"scales": other["scales"] + shift}) for shift in (h, -h))
        assert np.abs((up - down)[event_of] / (2 * h) - score[:, 2]).max() > 0.01


def test_replicas_have_their_covariance(store, raw):
    """Sums over directions of products of slopes are the covariance of the replicas about the central member."""
    block = next(store.blocks())
    first = [i for i, c in enumerate(store.nuisances) if c.systematic == "replicas"]
    slopes = block.nuisance_coefficients[0][first]
    logs = np.log([raw[f"q{k}"] / raw["q0"] for k in (1, 2, 3)])
    np.testing.assert_allclose(slopes.T @ slopes, logs.T @ logs / 2, rtol=1e-6, atol=1e-9)
