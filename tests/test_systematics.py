"""Systematic uncertainties: which weights of a file they need, and what they do to weights."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnminer.errors import ColumnMinerWarning, FileFormatError, InputError, MissingError
from columnminer.model.response import nuisance_coefficients, nuisance_factor, nuisance_log_gradients
from columnminer.model.systematics import (
    NormalisationUncertainty,
    NuisanceShift,
    PDFUncertainty,
    ScaleUncertainty,
    SelectionVariation,
    Systematic,
    WeightVariation,
    systematic_from_dict,
)
from columnminer.model.variations import settings

if TYPE_CHECKING:
    from pathlib import Path

# What MadGraph 2.6 says about the weights of signal_sm_systematics.lhe.gz
MADGRAPH = {
    "1": 'MUR="0.5" MUF="0.5" PDF="247000"  MUR=0.5 MUF=0.5 ',
    "2": 'MUR="0.5" MUF="1.0" PDF="247000"  MUR=0.5 ',
    "3": 'MUR="0.5" MUF="2.0" PDF="247000"  MUR=0.5 MUF=2.0 ',
    "4": 'MUR="1.0" MUF="0.5" PDF="247000"  MUF=0.5 ',
    "5": "MUF=2.0",
    "6": "MUR=2.0 MUF=0.5",
    "7": "MUR=2.0",
    "8": "MUR=2.0 MUF=2.0",
    "w": "set param_card dim6 2 251.104 # orig: 0.0",
}
POWHEG = {
    "1001": "lhapdf=303400 renscfact=1d0 facscfact=1d0",
    "1002": "lhapdf=303400 renscfact=2d0 facscfact=2d0",
    "1003": "lhapdf=303400 renscfact=0.5d0 facscfact=0.5d0",
    **{str(2000 + i): f"lhapdf={303400 + i} renscfact=1d0 facscfact=1d0" for i in range(1, 5)},
}
AMCATNLO = {
    "1001": "dyn=  -1 muR=0.10000E+01 muF=0.10000E+01",
    "1002": "dyn=   2 muR=0.20000E+01 muF=0.20000E+01",
    "1003": "dyn=  -1 muR=0.20000E+01 muF=0.20000E+01",
    "1004": "dyn=  -1 muR=0.50000E+00 muF=0.50000E+00",
}

EXAMPLES = [
    NormalisationUncertainty("norm", 0.1),
    ScaleUncertainty("scales"),
    ScaleUncertainty("ren", "mur", (2.0,)),
    PDFUncertainty("pdf", 303400, 4),
    PDFUncertainty("cteq", 10800, 52, confidence_level=0.9),
    PDFUncertainty("replicas", 303400, 4, errors="replicas"),
    WeightVariation("any", "1", "8"),
    WeightVariation("one", "w"),
    SelectionVariation("jes"),
]


@pytest.mark.parametrize("systematic", EXAMPLES, ids=lambda s: s.name)
def test_json_and_nuisance_parameters(systematic: Systematic) -> None:
    assert systematic_from_dict(json.loads(json.dumps(systematic.to_dict()))) == systematic
    assert tuple(p.name for p in systematic.nuisance_parameters) == systematic.parameter_names
    for parameter in systematic.nuisance_parameters:
        assert (parameter.nominal, parameter.constraint, parameter.kind) == (0.0, 1.0, "nuisance")


@pytest.mark.parametrize(
    ("descriptions", "scale", "factors", "up", "down"),
    [
        (MADGRAPH, "mu", (0.5, 1.0, 2.0), "8", "1"),
        (MADGRAPH, "mur", (0.5, 1.0, 2.0), "7", "2"),
        (MADGRAPH, "muf", (2.0, 0.5), "4", "5"),
        (MADGRAPH, "mu", (2.0,), "8", None),
        (POWHEG, "mu", (0.5, 1.0, 2.0), "1002", "1003"),
        (AMCATNLO, "mu", (0.5, 1.0, 2.0), "1003", "1004"),
    ],
)
def test_scale_weights_are_found_by_what_the_file_says(
    descriptions: dict, scale: str, factors: tuple, up: str, down: str | None
) -> None:
    systematic = ScaleUncertainty("scales", scale, factors)
    names = ("nominal", *descriptions)
    assert systematic.shifts(names, descriptions) == (NuisanceShift("scales", up, down),)
    wanted = (up,) if down is None else (up, down)
    assert systematic.required_weights(names, descriptions) == wanted


def test_scale_weights_of_the_real_file(shared: Path) -> None:
    from columnminer.formats.lhe import LHEReader

    info = LHEReader(shared / "vbf" / "signal_sm_systematics.lhe.gz").info()
    found = ScaleUncertainty("scales").shifts(info.weight_names, info.weight_descriptions)
    assert found == (NuisanceShift("scales", "8", "1"),)
    plain = LHEReader(shared / "vbf" / "signal_sm.lhe.gz").info()
    with pytest.raises(MissingError, match=r"signal_sm: systematic 'scales' needs a weight with mur = 2, muf = 2"):
        ScaleUncertainty("scales").shifts(plain.weight_names, plain.weight_descriptions, "signal_sm")


def test_pdf_members() -> None:
    hessian = PDFUncertainty("pdf", 303400, 4).shifts(("nominal", *POWHEG), POWHEG)
    assert [(s.parameter, s.up, s.down) for s in hessian] == [("pdf_1", "2001", "2002"), ("pdf_2", "2003", "2004")]
    assert math.isclose(hessian[0].step, 1.0)
    wide = PDFUncertainty("pdf", 303400, 4, confidence_level=0.9).shifts(("nominal", *POWHEG), POWHEG)
    assert math.isclose(wide[0].step, 1.6448536269514722)
    replicas = PDFUncertainty("pdf", 303400, 4, errors="replicas").shifts(("nominal", *POWHEG), POWHEG)
    assert [(s.up, s.down, s.step) for s in replicas] == [(str(2000 + i), None, math.sqrt(3)) for i in range(1, 5)]
    with pytest.raises(MissingError, match="pdf = 303405"):
        PDFUncertainty("pdf", 303400, 6).shifts(("nominal", *POWHEG), POWHEG, "file.lhe")


def test_replicas_carry_their_covariance() -> None:
    """With independent unit Gaussians nu the spread of a rate is that of the replicas, to first order."""
    rng = np.random.default_rng(1)
    n_members = 40
    weights = 1.0 + 0.01 * rng.normal(size=n_members)
    weights -= weights.mean() - 1.0
    a, _ = nuisance_coefficients(weights[:, np.newaxis], None, 1.0, step=math.sqrt(n_members - 1))
    np.testing.assert_allclose(np.linalg.norm(a), weights.std(ddof=1), rtol=0.02)


def test_normalisation_is_a_power_of_the_factor() -> None:
    (shift,) = NormalisationUncertainty("norm", -0.2).shifts((), {})
    assert shift == NuisanceShift("norm", None, factor=0.8)
    a, b = nuisance_coefficients([[shift.factor * 3.0]], None, [[3.0]])
    np.testing.assert_allclose(nuisance_factor(a, b, [[1.0], [-1.0], [0.5]])[:, 0], [0.8, 1 / 0.8, 0.8**0.5])


@pytest.mark.parametrize("text", ["", "nothing = known", "MURMUR=2", "set param_card dim6 2 251.104"])
def test_other_descriptions_say_nothing(text: str) -> None:
    assert settings(text) == {}


def test_weights_by_id() -> None:
    assert WeightVariation("x", "1", "8").shifts(("nominal", "1", "8"), {}) == (NuisanceShift("x", "1", "8"),)
    with pytest.raises(
        MissingError, match=r"f\.lhe: systematic 'x' needs weight 'scale_up', which .* Did you mean 'scale_upp'"
    ):
        WeightVariation("x", "scale_up").shifts(("nominal", "scale_upp"), {}, "f.lhe")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: NormalisationUncertainty("", 0.1), "name of a systematic"),
        (lambda: NormalisationUncertainty("n", 0), "'n': size is relative"),
        (lambda: NormalisationUncertainty("n", -1), "'n': size is relative"),
        (lambda: NormalisationUncertainty("n", "10%"), "'n': size must be a number"),
        (lambda: ScaleUncertainty("s", "mux"), "'s': scale cannot be 'mux'. Did you mean"),
        (lambda: ScaleUncertainty("s", "mu", ()), "'s': factors must be positive"),
        (lambda: ScaleUncertainty("s", "mu", (0.5, 0.0)), "'s': factors must be positive"),
        (lambda: ScaleUncertainty("s", "mu", (1.0,)), "do not say what nu = .1 is"),
        (lambda: ScaleUncertainty("s", "mu", (2.0, 0.5, 2.0)), "do not say what nu = .1 is"),
        (lambda: PDFUncertainty("p", 303400, 3), "3 members are no set of hessian"),
        (lambda: PDFUncertainty("p", 303400, 1, errors="replicas"), "1 members are no set of replicas"),
        (lambda: PDFUncertainty("p", 303400, 2, errors="replica"), "Did you mean 'replicas'"),
        (lambda: PDFUncertainty("p", 0, 2), "lhapdf_id must be an integer"),
        (lambda: PDFUncertainty("p", 1, 2, confidence_level=95), "between 0 and 1"),
        (lambda: WeightVariation("w", 3), "'w': up, the id of a weight"),
    ],
)
def test_bad_systematics_are_refused(make: object, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()


def test_a_factor_given_as_size_is_warned_about() -> None:
    with pytest.warns(ColumnMinerWarning, match="multiplies rates by 2.1 .* its size is 0.1"):
        NormalisationUncertainty("n", 1.1)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "there: expected an object"),
        ({"name": "x"}, "there: the key 'type' is missing"),
        (
            {"type": "norm", "name": "x"},
            "there: the type of a systematic cannot be 'norm'. Known: normalisation, scale",
        ),
        ({"type": "normalisation", "name": "x"}, "there: the key 'size' is missing"),
        ({"type": "scale", "name": "x", "factor": [1]}, "there: unknown key 'factor'. Did you mean 'factors'"),
        ({"type": "normalisation", "name": "x", "size": "a"}, "there: systematic 'x': size must be a number"),
        ({"type": "scale", "name": "x", "factors": 2}, "there: systematic 'x': factors"),
    ],
)
def test_bad_documents_name_the_key(document: object, complaint: str) -> None:
    with pytest.raises(FileFormatError, match=complaint):
        systematic_from_dict(document, "there")


# The response of weights

weights = st.floats(1e-9, 1e3)
nus = st.floats(-3, 3)


@given(weights, weights, weights)
def test_factor_goes_through_the_varied_weights(up: float, down: float, nominal: float) -> None:
    """At nu = +1 and -1 the factor gives the varied weights, unless these are absurdly far from the nominal one."""
    a, b = nuisance_coefficients([[up]], [[down]], [[nominal]])
    factor = nuisance_factor(a, b, [[1.0], [-1.0], [0.0]])[:, 0]
    if max(abs(a[0, 0]), abs(b[0, 0])) < 10:
        np.testing.assert_allclose(factor * nominal, [up, down, nominal], rtol=1e-9)
    assert factor[2] == 1.0


@given(weights, weights, nus)
def test_one_sided_factor_is_a_power(up: float, nominal: float, nu: float) -> None:
    a, b = nuisance_coefficients([[up]], None, [[nominal]])
    assert b == 0.0
    expected = np.exp(np.clip(np.log(up / nominal), -10, 10) * nu)
    np.testing.assert_allclose(nuisance_factor(a, b, [nu]), [[expected]], rtol=1e-9)


def test_what_is_not_finite_is_nothing_and_the_rest_is_bounded() -> None:
    with np.errstate(all="raise"):  # nothing is announced either
        a, b = nuisance_coefficients(
            [0.0, 1.0, -1.0, 1e30, 2.0], [1.0, 0.0, 1.0, 1e-30, 3.0], [1.0, 1.0, 1.0, 1.0, 0.0]
        )
    np.testing.assert_allclose(a, [0, 0, 0, 10, 0.5 * math.log(2 / 3)])
    np.testing.assert_allclose(b, [0, 0, 0, 0, 0])


def test_events_of_negative_weight_vary_like_others() -> None:
    two_sided = nuisance_coefficients([-2.0], [-0.5], [-1.0])
    np.testing.assert_allclose(two_sided, nuisance_coefficients([2.0], [0.5], [1.0]))


def test_step_rescales_nu() -> None:
    a, b = nuisance_coefficients([[1.3]], [[0.9]], [[1.0]])
    a2, b2 = nuisance_coefficients([[1.3]], [[0.9]], [[1.0]], step=2.0)
    np.testing.assert_allclose(nuisance_factor(a2, b2, [2.0]), nuisance_factor(a, b, [1.0]))


def test_gradients_and_shapes() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 7))
    nu = rng.normal(size=(5, 3))
    factor = nuisance_factor(a, b, nu)
    gradients = nuisance_log_gradients(a, b, nu)
    assert factor.shape == (5, 7)
    assert gradients.shape == (5, 3, 7)
    for i in range(3):
        shift = 1e-6 * np.eye(3)[i]
        slope = np.log(nuisance_factor(a, b, nu + shift) / nuisance_factor(a, b, nu - shift)) / 2e-6
        np.testing.assert_allclose(gradients[:, i], slope, atol=1e-7)
    np.testing.assert_allclose(nuisance_factor(a, b, nu[0]), factor[:1])


def test_madminer_nuisance_factors(shared: Path) -> None:
    """What the oracle calls nuisance_morphing_a is the factor at nu = (0.5, -1) of (norm, scales)."""
    oracle = json.loads((shared / "vbf" / "oracle_systematics.json").read_text())
    columns = dict(zip(oracle["benchmarks"], np.array(oracle["first5_weights"]).T, strict=True))
    coefficients = [
        nuisance_coefficients(columns[up], columns.get(down), columns["sm"])
        for _, up, down in oracle["nuisance_parameters"].values()
    ]
    a, b = np.stack(coefficients, axis=1)
    factor = nuisance_factor(a, b, [0.5, -1.0])[0]
    np.testing.assert_allclose(factor, oracle["nuisance_morphing_a"], rtol=1e-12)
    # negative control: the other sign of the scale variation
    assert np.abs(nuisance_factor(a, b, [0.5, 1.0])[0] / oracle["nuisance_morphing_a"] - 1).max() > 0.01
