"""Spectra in the combined energy scale: smearing, bias and efficiency against closed forms, and what is in range."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from columnminer.errors import InputError
from columnminer.infer.ces import SpectralSource, biased, resolution, smeared, smeared_line
from columnminer.infer.template_files import Histogram

SPACE = np.arange(0.0, 501.0)
SMEARING = {"smearing_a": 24.8, "smearing_b": 1.429}
BIAS = {"A": 0.01977, "k": 0.01707, "B": 0.002}


def spectrum(density: np.ndarray, edges: np.ndarray) -> Histogram:
    return Histogram(("ces",), (edges,), density)


def mean(h: Histogram) -> float:
    return float(np.average(h.centres(), weights=h.contents * np.diff(h.edges[0])))


def test_resolution_is_the_known_function() -> None:
    assert resolution(100.0, 30.0, 2.0) == pytest.approx((10 * 30 + 100 * 2) / 100)


def test_a_line_becomes_a_gaussian() -> None:
    edges = np.linspace(200, 400, 2001)
    p = smeared_line(edges, 300.0, **SMEARING)
    sigma = resolution(300.0, **SMEARING)
    middles = 0.5 * (edges[1:] + edges[:-1])
    np.testing.assert_allclose(p, stats.norm(300, sigma).cdf(edges[1:]) - stats.norm(300, sigma).cdf(edges[:-1]))
    assert p.sum() == pytest.approx(1)
    assert np.average(middles, weights=p) == pytest.approx(300, abs=1e-6)
    with pytest.raises(InputError, match="must be positive"):
        smeared_line(edges, 300.0, 0.0, 0.0)


def test_smearing_is_the_sum_over_all_bins() -> None:
    edges = np.linspace(-1.0, 120.0, 122)
    density = np.random.default_rng(3).uniform(0, 1, 121)
    out = smeared(spectrum(density, edges), **SMEARING).contents
    centres = 0.5 * (edges[1:] + edges[:-1])
    expected = np.zeros(121)
    for centre, height in zip(centres, density, strict=True):
        if centre > 0:  # nothing is smeared from below
            expected += height * np.diff(stats.norm(centre, resolution(centre, **SMEARING)).cdf(edges))
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-15)


def test_bias_moves_energies_and_keeps_events() -> None:
    edges = np.linspace(100, 500, 8001)
    line = spectrum(stats.norm(300, 5).pdf(0.5 * (edges[1:] + edges[:-1])), edges)
    moved = biased(line, **BIAS)
    assert np.sum(moved.contents * np.diff(edges)) == pytest.approx(1, abs=1e-4)
    energy = np.linspace(200, 400, 20001)
    seen = energy * (1 + BIAS["A"] * np.arctan(BIAS["k"] * energy) + BIAS["B"])
    expected = integrate.trapezoid(seen * stats.norm(300, 5).pdf(energy), energy)
    assert mean(moved) == pytest.approx(expected, rel=1e-6)
    assert abs(mean(line) - expected) > 5  # the control: without a bias it is elsewhere
    np.testing.assert_allclose(biased(line, A=0.0, k=1.0, B=0.0).contents, line.contents)


@pytest.mark.parametrize("kind", ["template", "monoenergetic", "flat"])
def test_shapes_are_normalised_and_count_per_year_and_tonne(kind: str) -> None:
    edges = np.linspace(0, 1000, 1001)
    template = spectrum(np.exp(-0.5 * (edges[:-1] - 250) ** 2 / 900), edges)
    source = SpectralSource(
        kind,  # type: ignore[arg-type]
        SPACE,
        template=template,
        energy=300.0,
        smearing=SMEARING,
        bias=BIAS,
        efficiency={"efficiency_constant": 0.8},
        mass=4.0,
    )
    shape = source.shape()
    assert np.sum(shape.density * np.diff(shape.edges[0])) == pytest.approx(1, abs=1e-12)
    # The template and the line lie in the range; a flat spectrum has two minimal bins more, one of them beyond 0 keV.
    assert shape.events * 365 == pytest.approx(4 * 0.8, rel=3e-4 if kind == "flat" else 1e-6)
    binned = source.binned(shape)
    assert binned.density.shape == (500,)
    assert np.sum(binned.density * np.diff(SPACE)) == pytest.approx(1, abs=1e-9)
    twice = SpectralSource(
        kind,  # type: ignore[arg-type]
        SPACE,
        template=template,
        energy=300.0,
        smearing=SMEARING,
        bias=BIAS,
        efficiency={"efficiency_constant": 0.4},
        mass=4.0,
    )
    np.testing.assert_allclose(twice.shape().density, shape.density)
    assert twice.shape().events == pytest.approx(shape.events / 2)
    np.testing.assert_array_equal(source.shape(source.smeared_truth()).density, shape.density)


def test_a_flat_spectrum_is_neither_smeared_nor_biased() -> None:
    plain, full = SpectralSource("flat", SPACE), SpectralSource("flat", SPACE, smearing=SMEARING, bias=BIAS)
    np.testing.assert_array_equal(plain.shape().density, full.shape().density)
    inside = plain.shape().density[5:-5]
    np.testing.assert_allclose(inside, 1 / 500, rtol=3e-4)


def test_only_what_is_in_range_counts() -> None:
    edges = np.linspace(0, 400, 401)
    template = spectrum(np.ones(400), edges)
    half = SpectralSource("template", np.linspace(100.0, 300.0, 201), template=template)
    assert half.shape().events * 365 == pytest.approx(0.5)
    straddling = SpectralSource("template", np.array([100.25, 200.0, 300.5]), template=template)
    assert straddling.shape().events * 365 == pytest.approx(200.25 / 400)
    density = straddling.shape()
    middles = 0.5 * (density.edges[0][1:] + density.edges[0][:-1])
    assert not density.density[(middles < 100) | (middles > 301)].any()


def test_a_template_may_be_continued_with_zeros() -> None:
    edges = np.linspace(100, 200, 101)
    source = SpectralSource("template", SPACE, template=spectrum(np.ones(100), edges), fill_with_zeros=True)
    shape = source.shape()
    assert shape.edges[0][0] == 0
    assert shape.edges[0][-1] == 500
    assert shape.events * 365 == pytest.approx(1)
    low = shape.edges[0][1:] < 99
    assert not shape.density[low].any()


def test_impossible_sources_are_refused() -> None:
    edges = np.linspace(600, 700, 101)
    for source, message in [
        (SpectralSource("template", SPACE), "needs a template"),
        (SpectralSource("template", SPACE, template=spectrum(np.ones(100), edges)), "leave the source out"),
        (SpectralSource("template", SPACE, template=spectrum(-np.ones(100), edges)), "negative"),
        (SpectralSource("monoenergetic", SPACE), "peak_energy"),
        (SpectralSource("monoenergetic", SPACE, energy=900.0), "no events between"),
        (SpectralSource("flat", SPACE, efficiency={"efficiency_constant": 1.2}), "between 0 and 1"),
        (SpectralSource("monoenergetic", SPACE, energy=9.0, minimal_resolution=1e4), "narrower"),
    ]:
        with pytest.raises(InputError, match=message):
            source.shape()
