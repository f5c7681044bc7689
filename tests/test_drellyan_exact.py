"""The exact likelihood of the built-in generator: against its events, its latent variables and its own integrals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from columnminer.errors import InputError, UnknownNameError
from columnminer.generate import drellyan
from columnminer.generate.amplitudes import CONTACT_COUPLINGS
from columnminer.generate.drellyan import DrellYan
from columnminer.generate.exact import panel_nodes
from columnminer.generate.smearing import log_response_range, mass_response
from columnminer.observe.detector import Detector
from columnminer.observe.selection import Selection

THETA = [0.04, -0.03]
RESOLUTION = 0.03
EVERY_COUPLING = DrellYan(couplings=CONTACT_COUPLINGS, mass_range=(60.0, 3000.0))
PROTONS = DrellYan()


@pytest.fixture(scope="module")
def protons():
    return PROTONS


@pytest.fixture(scope="module")
def smeared():
    return DrellYan(resolution=RESOLUTION)


def observables(events):
    return np.column_stack([events.mass, events.rapidity, events.cosine * np.sign(events.rapidity)])


def some_x(n=500, seed=0, mass_range=(500.0, 2000.0)):
    rng = np.random.default_rng(seed)
    mass = rng.uniform(*mass_range, n)
    return np.column_stack([mass, rng.uniform(-0.95, 0.95, n) * np.log(13_000 / mass), rng.uniform(-1, 1, n)])


def latent(process, x, theta):
    """d sigma of each latent configuration that is compatible with x, (n, n_configurations)."""
    xsec = process.hard.latent_xsec(x[:, 0], x[:, 1], np.asarray(theta, float), x[:, 2] * np.sign(x[:, 1]))
    return xsec.reshape(len(x), -1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_the_density_is_positive_everywhere(theta):
    process = EVERY_COUPLING
    x = np.concatenate([some_x(200, mass_range=(60.0, 200.0)), some_x(200, mass_range=(200.0, 3000.0))])
    assert np.all(process.differential_xsec(x, theta) > 0)
    forms = process.forms(x)
    assert np.all(np.linalg.eigvalsh(forms)[:, 0] > -1e-12 * np.abs(forms).max(axis=(1, 2)))


@settings(max_examples=25, deadline=None)
@given(*2 * [st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=2)])
def test_the_ratio_is_the_mean_of_the_joint_ratio_at_fixed_x(theta0, theta1):
    process, x = PROTONS, some_x(200)
    numerator, denominator = latent(process, x, theta0), latent(process, x, theta1)
    assert numerator.sum(axis=1) == pytest.approx(process.differential_xsec(x, theta0), rel=1e-10)
    probability = denominator / denominator.sum(axis=1, keepdims=True)  # p(z | x, theta1)
    scale = process.xsec(theta1) / process.xsec(theta0)
    # A configuration whose amplitude vanishes at theta1 has a joint ratio that is not finite, and probability 0.
    possible = denominator > 0
    joint = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=possible) * scale
    mean = np.sum(probability * joint, axis=1)
    assert mean == pytest.approx(np.exp(process.log_ratio(x, theta0, theta1)), rel=1e-9)


def test_the_joint_ratio_of_events_varies_at_fixed_x_around_the_exact_ratio(protons):
    events = protons.sample(100_000, "sm", seed=21)
    points = np.array([THETA, [0.0, 0.0]])
    squares = protons.hard.squares(events.mass, events.channel, events.helicity, points)
    joint = squares[:, 0] / squares[:, 1] * protons.xsec("sm") / protons.xsec(THETA)
    x = observables(events)
    exact = np.exp(protons.log_ratio(x, THETA, "sm"))
    # Given x, the variance of the joint ratio is known too.
    weights = latent(protons, x, [0.0, 0.0])
    ratios = latent(protons, x, THETA) / weights * protons.xsec("sm") / protons.xsec(THETA)
    variance = np.sum(weights * ratios**2, axis=1) / weights.sum(axis=1) - exact**2
    assert np.all(variance > 0)
    residual = joint - exact
    for function in (np.ones(len(x)), x[:, 0] / 1000, np.abs(x[:, 1]), x[:, 2], x[:, 2] * np.abs(x[:, 1])):
        moment = residual * function
        assert abs(moment.mean()) < 4 * moment.std() / np.sqrt(len(moment))
    squared = residual**2 - variance
    assert abs(squared.mean()) < 4 * squared.std() / np.sqrt(len(squared))
    assert variance.mean() > 10 * squared.std() / np.sqrt(len(squared))
    # The ratio of another point is not the mean.
    wrong = (joint - np.exp(protons.log_ratio(x, [0.03, -0.01], "sm"))) * x[:, 2]
    assert abs(wrong.mean()) > 6 * wrong.std() / np.sqrt(len(wrong))


def test_the_score_is_the_mean_of_the_joint_score(protons):
    batch = protons.generate(100_000, THETA, seed=22)
    setup = protons.setup()
    weights = batch.weights[:, 1:]
    gradients = np.einsum("ipb,nb->nip", setup.weight_gradients([THETA]), weights)[:, 0]
    joint = gradients / (weights @ setup.weights([THETA])[0])[:, np.newaxis]
    joint -= protons.xsec_gradients(THETA) / protons.xsec(THETA)
    x = observables(protons.sample(100_000, THETA, seed=22))
    residual = joint - protons.score(x, THETA)
    for function in (np.ones(len(x)), x[:, 0] / 1000, x[:, 2]):
        moment = residual * function[:, np.newaxis]
        assert np.all(np.abs(moment.mean(axis=0)) < 4 * moment.std(axis=0) / np.sqrt(len(x)))
    assert np.all(residual.var(axis=0) > 0.05 * joint.var(axis=0))


@pytest.mark.parametrize("which", ["protons", "smeared"])
def test_the_score_is_the_gradient_of_the_ratio(which, request):
    process, x, step = request.getfixturevalue(which), some_x(50), 1e-5
    for i in range(2):
        shift = step * np.eye(2)[i]
        gradient = process.log_ratio(x, THETA + shift, THETA - shift) / (2 * step)
        assert process.score(x, THETA)[:, i] == pytest.approx(gradient, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("process", [DrellYan(), DrellYan(mass_range=(60.0, 120.0)), DrellYan("ee")])
def test_densities_integrate_to_one(process):
    nodes = process.quadrature()
    log_density = process.log_density(nodes.x, ["sm", THETA, [1.0, -2.0]], pairing="grid")
    assert np.exp(log_density) @ nodes.weights == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("mass_range", [(500.0, 2000.0), (60.0, 120.0)])
def test_smeared_densities_integrate_to_one(mass_range, monkeypatch):
    monkeypatch.setattr(drellyan, "_COSINE_NODES", 2)  # enough for the density, if not for functions of it
    process = DrellYan(resolution=0.02, mass_range=mass_range)
    nodes = process.quadrature()
    integral = np.exp(process.log_density(nodes.x, ["sm", THETA], pairing="grid")) @ nodes.weights
    assert integral == pytest.approx(1, rel=1e-7)


def test_total_cross_section_by_adaptive_quadrature(protons):
    def integrand(y, log_m):
        nodes = np.array([np.exp(log_m)]), np.array([y])
        return np.exp(log_m) * protons.hard.latent_xsec(*nodes, np.array(THETA)).sum()

    def limit(log_m):
        return np.log(13_000) - log_m

    edges = np.log([500, 2000])
    total, _ = integrate.dblquad(integrand, *edges, lambda t: -limit(t), limit, epsrel=1e-7)
    assert protons.xsec(THETA)[0] == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("resolution", [0.005, 0.02, 0.1])
def test_the_response_is_a_density_with_the_right_moments(resolution):
    low, high = log_response_range(resolution)
    log_ratio = np.linspace(low, high, 4001)
    density = mass_response(log_ratio, resolution)
    assert np.trapezoid(density, log_ratio) == pytest.approx(1, rel=1e-9)
    # <u^2> = <1 + r g>^2 = 1: the two factors are independent and have mean 1.
    assert np.trapezoid(density * np.exp(2 * log_ratio), log_ratio) == pytest.approx(1, rel=1e-9)
    # <u^4> = <(1 + r g)^2>^2
    expected = (1 + resolution**2) ** 2
    assert np.trapezoid(density * np.exp(4 * log_ratio), log_ratio) == pytest.approx(expected, rel=1e-8)


def test_the_smeared_density_by_direct_integration(protons, smeared):
    x = np.array([[500.0, 0.3, 0.2], [502.0, -1.0, -0.7], [800.0, 0.1, 0.9], [2010.0, 0.5, 0.1]])
    u, w = np.polynomial.hermite_e.hermegauss(60)
    factor = 1 + RESOLUTION * np.sqrt(1 / 2) * np.stack([u[:, None] + u, u[:, None] - u])  # a rotated pair of normals
    ratio, weight = np.sqrt(factor[0] * factor[1]).ravel(), np.outer(w, w).ravel() / (2 * np.pi)
    interior = x[2]
    true = np.column_stack([interior[0] / ratio, *(np.full(len(ratio), value) for value in interior[1:])])
    expected = np.sum(weight / ratio * protons.differential_xsec(true, THETA))
    assert smeared.differential_xsec(x[2:3], THETA)[0] == pytest.approx(expected, rel=1e-9)
    # Near the edges of the mass range the integrand ends abruptly, so: plain integration over the true mass.
    for measured in x:

        def integrand(m, measured=measured):
            density = protons.differential_xsec(np.array([[m, *measured[1:]]]), THETA)[0]
            return density * mass_response(np.log(measured[:1] / m), RESOLUTION)[0] / measured[0]

        low, high = max(500.0, measured[0] * 0.85), min(2000.0, measured[0] * 1.2)
        direct, _ = integrate.quad(integrand, low, high, epsrel=1e-10, points=[min(high, max(low, measured[0]))])
        assert smeared.differential_xsec(measured[np.newaxis], THETA)[0] == pytest.approx(direct, rel=1e-7)


@pytest.mark.parametrize(
    ("mass_range", "edges"),
    [
        ((500.0, 2000.0), [450, 490, 500, 510, 530, 600, 750, 1000, 1500, 2200]),
        ((60.0, 120.0), [55, 60, 65, 80, 85, 88, 90, 91, 92, 94, 97, 105, 115, 121, 130]),
    ],
)
def test_events_in_a_detector_follow_the_smeared_density_and_no_other(mass_range, edges):
    process = DrellYan(mass_range=mass_range, resolution=RESOLUTION)
    detector = Detector.from_dict(
        {"resolutions": {who: {"energy": None, "pt": (0.0, width)} for who, width in process.smearing.items()}}
    )
    batch = process.generate(100_000, THETA, seed=31)
    x = Selection(process.observables, detector=detector).apply(batch, key=5).observables
    true = observables(process.sample(100_000, THETA, seed=31))
    assert np.abs(x[:, 1:] - true[:, 1:]).max() < 1e-8
    bins = [np.array(edges, float), np.array([-4.0, -1.0, 1.0, 4.0]), np.array([-1.0, 0.0, 1.0])]
    observed = np.histogramdd(x, bins)[0].ravel()

    def chi2(density):
        orders = (8, 8, 2)  # the density is of second order in the cosine
        axes = [panel_nodes(e, order) for e, order in zip(bins, orders, strict=True)]
        grid = np.stack(np.meshgrid(*(a.x for a in axes), indexing="ij"), -1)
        volume = np.einsum("i,j,k->ijk", *(a.weights for a in axes))
        values = density.differential_xsec(grid.reshape(-1, 3), THETA).reshape(volume.shape) * volume
        shape = [k for e, order in zip(bins, orders, strict=True) for k in (len(e) - 1, order)]
        expected = values.reshape(shape).sum(axis=(1, 3, 5)).ravel() / density.xsec(THETA) * len(x)
        used = expected > 10
        return np.sum((observed - expected)[used] ** 2 / expected[used]), used.sum()

    value, n = chi2(process)
    assert abs(value - n) < 4 * np.sqrt(2 * n)
    wrong, n = chi2(DrellYan(mass_range=mass_range, resolution=RESOLUTION / 2))
    assert wrong - n > 8 * np.sqrt(2 * n)


def test_information_is_the_covariance_of_the_score_and_the_curvature_of_the_expected_likelihood(protons):
    luminosity = 10e3
    information = protons.fisher_information("sm", luminosity, include_rate=False)
    score = protons.score(observables(protons.sample(100_000, "sm", seed=41)))
    products = np.einsum("ni,nj->nij", score, score)
    expected = products.mean(axis=0) * protons.xsec("sm") * luminosity
    errors = products.std(axis=0) / np.sqrt(len(score)) * protons.xsec("sm") * luminosity
    assert np.all(np.abs(information - expected) < 4 * errors)
    for include_rate in (True, False):
        full = protons.fisher_information("sm", luminosity, include_rate=include_rate)
        for direction in ([1, 0], [0, 1], [1, 1]):
            step = 1e-4 * np.array(direction)
            sides = protons.expected_log_ratio([step, -step], "sm", luminosity, include_rate=include_rate)
            assert -sides.sum() / 1e-8 == pytest.approx(np.dot(direction, full @ direction), rel=1e-4)


def test_smearing_loses_information(protons, smeared):
    lost = protons.fisher_information("sm", 1.0) - smeared.fisher_information("sm", 1.0)
    assert np.linalg.eigvalsh(lost).min() > 0


def test_expected_ratio_is_the_mean_over_events(protons):
    x = observables(protons.sample(100_000, "sm", seed=51))
    ratio = protons.log_ratio(x, THETA, "sm")
    events = protons.xsec("sm")[0] * 10e3
    expected = protons.expected_log_ratio(THETA, "sm", 10e3, include_rate=False)[0]
    assert abs(ratio.mean() * events - expected) < 4 * ratio.std() / np.sqrt(len(x)) * events
    assert expected < 0


def test_pairs_grid_and_named_columns_agree(protons):
    x = some_x(20)
    thetas = np.random.default_rng(1).uniform(-0.05, 0.05, (20, 2))
    grid = protons.log_ratio(x, thetas, pairing="grid")
    assert grid.shape == (20, 20)
    assert protons.log_ratio(x, thetas) == pytest.approx(np.diag(grid))
    assert protons.log_ratio(x, thetas[3], "sm") == pytest.approx(grid[3])
    shuffled = np.column_stack([np.zeros(20), x[:, [2, 0, 1]]])
    names = ("other", "cos_theta", "m_ll", "y_ll")
    assert np.array_equal(protons.log_ratio(shuffled, thetas, names=names), protons.log_ratio(x, thetas))
    difference = protons.log_density(x, thetas) - protons.log_density(x, "sm")
    assert difference == pytest.approx(protons.log_ratio(x, thetas), abs=1e-12)


def test_bad_x_and_theta_are_refused(protons):
    x = some_x(5)
    with pytest.raises(InputError, match="m_ll, y_ll, cos_theta"):
        protons.log_ratio(x[:, :2], "sm")
    with pytest.raises(UnknownNameError, match="Did you mean 'm_l'"):
        protons.log_ratio(x, "sm", names=("m_l", "y_ll", "cos_theta"))
    with pytest.raises(InputError, match="3 parameter points cannot be paired with 5 events"):
        protons.log_ratio(x, np.zeros((3, 2)))
    with pytest.raises(InputError, match="pairing"):
        protons.log_ratio(x, "sm", pairing="cross")
    x[3, 0] = 100.0
    with pytest.raises(InputError, match=r"event 3 .*m_ll = 100"):
        protons.score(x, "sm")
    assert protons.log_density(x, "sm")[3] == -np.inf
