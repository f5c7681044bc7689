"""Pictures of what goes into an inference: distributions, systematics, morphing bases, cross sections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from inputs_of_pictures import observed, plane, spectrum
from pictures import same_picture

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.generate.drellyan import DrellYan
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.sample.cross_sections import CrossSections
from columnminer.show.crosssections import plot_cross_section, plot_effective_events
from columnminer.show.distributions import plot_distribution, plot_distribution_2d, plot_distributions
from columnminer.show.morphing import (
    plot_morphing_basis,
    plot_morphing_scatter,
    plot_morphing_slices,
    plot_morphing_weights,
)
from columnminer.show.uncertainties import plot_systematics, plot_uncertainty

MASS = {"label": r"$m_{\ell\ell}$", "unit": "GeV"}


def couplings(n):
    """A set-up of two (those of Drell-Yan) or three couplings, each up to the second power."""
    if n == 2:
        return DrellYan(bound=0.08).setup()
    names = ("cW", "cHW_tilde", "cB")
    space = ParameterSpace([Parameter(name, bounds=(-4.0, 4.0), max_power=2) for name in names])
    points = [(0, 0, 0), *np.eye(3) * 3, *np.eye(3) * -3, (2, 2, 0), (2, 0, 2), (0, -2, 2)]
    benchmarks = {f"b{i}": dict(zip(names, map(float, point), strict=True)) for i, point in enumerate(points)}
    return Setup(space, benchmarks).with_morphing(max_overall_power=2)


def cross_sections(theta, scale=1.0):
    """A polynomial of two couplings, with errors that grow away from the origin."""
    squares = np.sum(theta**2, axis=1)
    value = scale * (0.01 + theta @ [0.1, 0.05] + 3.0 * squares + 2.0 * np.prod(theta, axis=1))
    error = 0.02 * value * (1.0 + 500.0 * squares) / scale
    return CrossSections(value, error, theta, np.zeros((len(theta), 0)), ("c_ll", "c_lr"), ())


def line(scale):
    c = np.linspace(-0.08, 0.08, 33)
    return cross_sections(np.stack([c, np.zeros(33)], axis=1), scale)


def area():
    c = np.linspace(-0.08, 0.08, 17)
    return cross_sections(np.stack([m.ravel() for m in np.meshgrid(c, c, indexing="ij")], axis=1))


PICTURES = {
    "distribution": lambda: plot_distribution(spectrum(), **MASS),
    "distribution_observed": lambda: plot_distribution(observed(), **MASS, log=True, flow=True),
    "distribution_normalised": lambda: plot_distribution(observed(), unit="GeV", normalised=True, n_toys=3),
    "distributions": lambda: plot_distributions(
        [spectrum(), observed()], labels=["m_ll", MASS["label"]], units=["GeV", "GeV"]
    ),
    "distribution_2d": lambda: plot_distribution_2d(
        plane(), labels=[r"$m_{\ell\ell}$ [GeV]", "y_ll"], data=[[560.0, 0.3], [720.0, -0.8], [1180.0, 0.1]], log=True
    ),
    "uncertainty": lambda: plot_uncertainty(observed(), point="c = 0.5", **MASS),
    "systematics": lambda: plot_systematics(observed(), **MASS, log=True),
    "morphing_basis": lambda: plot_morphing_basis(couplings(2), labels=["$c_{ll}$", "c_lr"], resolution=41),
    "morphing_basis_line": lambda: plot_morphing_basis(couplings(2), parameters=["c_lr"], ranges={"c_lr": (-0.3, 0.3)}),
    "morphing_weights": lambda: plot_morphing_weights(couplings(2), at={"c_lr": 0.02}, label="$c_{ll}$ [TeV$^{-2}$]"),
    "morphing_slices": lambda: plot_morphing_slices(couplings(3), resolution=15),
    "morphing_scatter": lambda: plot_morphing_scatter(couplings(3), n_points=200),
    "cross_section_line": lambda: plot_cross_section(
        {"all events": line(1.0), "after cuts": line(0.6)}, labels=["$c_{ll}$ [TeV$^{-2}$]"]
    ),
    "cross_section_map": lambda: plot_cross_section(area()),
    "effective_line": lambda: plot_effective_events({"all events": line(1.0), "after cuts": line(0.6)}),
    "effective_map": lambda: plot_effective_events(area()),
}


LARGE = {"morphing_slices", "morphing_scatter", "effective_map"}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_looks_as_when_it_was_looked_at(name):
    same_picture(PICTURES[name](), name, dpi=40 if name in LARGE else 60)


def test_a_moved_line_is_seen(monkeypatch):
    monkeypatch.delenv("COLUMNMINER_DRAW", raising=False)
    moved = spectrum()
    moved = replace(moved, value=moved.value * np.array([1.0, 1.06, 1.0])[:, None])
    with pytest.raises(AssertionError, match="differs by"):
        same_picture(plot_distribution(moved, **MASS), "distribution")


def test_what_is_drawn_is_what_was_given():
    ax = plot_distribution(observed(), normalised=True)
    drawn = next(patch for patch in ax.patches if patch.get_label() == "c = 0.5")
    shape = observed().normalised().value[1, 1:-1]
    assert np.allclose(drawn.get_data().values, shape / 50.0)
    assert sum(shape) == pytest.approx(1.0)
    assert ax.get_ylabel() == r"(1/$\sigma$) d$\sigma$ / d m_ll", "names with underscores are as they are"
    weights = plot_morphing_weights(couplings(2))
    assert np.allclose(sum(line.get_ydata() for line in weights.lines[:6]), 1.0), (
        "weights of one morphing add up to one"
    )
    assert len(plot_distributions([observed()] * 3, columns=2).figure.axes) == 4


def test_pictures_say_what_they_cannot_draw():
    with pytest.raises(InputError, match="in one observable"):
        plot_distribution(plane())
    with pytest.raises(InputError, match="in two observables"):
        plot_distribution_2d(spectrum())
    with pytest.raises(InputError, match="a label and a unit"):
        plot_distributions([spectrum()], labels=["a", "b"])
    with pytest.raises(MissingError, match="no toys"):
        plot_systematics(replace(spectrum(), toys={}))
    with pytest.raises(UnknownNameError, match="Did you mean 'SM'"):
        plot_uncertainty(spectrum(), point="SMS")
    with pytest.raises(InputError, match="two parameters or more"):
        plot_morphing_slices(couplings(2), parameters=["c_ll"])
    with pytest.raises(InputError, match="what changes here is c_ll; c_ll, c_lr"):
        plot_cross_section({"line": line(1.0), "area": area()})
    some = area()
    with pytest.raises(InputError, match="on a grid"):
        plot_cross_section(cross_sections(some.theta[:-1]))
