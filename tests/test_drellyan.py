"""The events of the built-in generator: cross sections, distributions, weights, kinematics, records."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columnminer.errors import InputError, UnknownNameError
from columnminer.generate.amplitudes import (
    ALPHA,
    CONTACT_COUPLINGS,
    GAMMA_Z,
    HELICITIES,
    M_W,
    M_Z,
    PICOBARN,
    SIN2_THETA_W,
    amplitude_coefficients,
    flux_factor,
)
from columnminer.generate.drellyan import DrellYan
from columnminer.generate.exact import panel_nodes
from columnminer.schema import NOMINAL

ELECTRONS = {  # sqrt(s): cross section [pb] and forward-backward asymmetry of the mu-, from the closed form below
    91.19: (2099.357, 0.03606),
    250.0: (1.76651, 0.53176),
    500.0: (0.42827, 0.49125),
}


@pytest.fixture(scope="module")
def protons():
    return DrellYan()


@pytest.fixture(scope="module")
def events(protons):
    return protons.sample(100_000, "sm", seed=1)


def vector_axial(sqrt_s):
    """In vector and axial couplings, as the PDG review "Cross-section formulae for specific processes" has them."""
    s, weak = sqrt_s**2, 1 / (16 * SIN2_THETA_W * (1 - SIN2_THETA_W))
    chi = weak * s / (s - M_Z**2 + 1j * M_Z * GAMMA_Z)
    v, a = -1 + 4 * SIN2_THETA_W, -1.0
    even = 1 + 2 * v**2 * chi.real + (v**2 + a**2) ** 2 * abs(chi) ** 2
    odd = 4 * a**2 * chi.real + 8 * v**2 * a**2 * abs(chi) ** 2
    return PICOBARN * 4 * np.pi * ALPHA**2 / (3 * s) * even, 3 / 8 * odd / even


@pytest.mark.parametrize(("sqrt_s", "expected"), ELECTRONS.items())
def test_cross_section_and_asymmetry_of_muon_pairs_from_electrons(sqrt_s, expected):
    process = DrellYan("ee", sqrt_s=sqrt_s)
    cosine = panel_nodes([-1.0, 0.0, 1.0], 4)
    contributions = cosine.weights * process.differential_xsec(cosine.x[:, np.newaxis], "sm")
    xsec, asymmetry = contributions.sum(), np.sum(contributions * np.sign(cosine.x)) / contributions.sum()
    assert xsec == pytest.approx(process.xsec("sm")[0], rel=1e-12)
    assert (xsec, asymmetry) == pytest.approx(expected, rel=1e-4)
    assert (xsec, asymmetry) == pytest.approx(vector_axial(sqrt_s), rel=1e-12)


@pytest.mark.parametrize(("sqrt_s", "expected"), ELECTRONS.items())
def test_generated_muon_pairs_have_that_cross_section_and_asymmetry(sqrt_s, expected):
    process = DrellYan("ee", sqrt_s=sqrt_s)
    batch = process.generate(200_000, "sm", seed=3)
    muon = batch.events.particles[:, 2]
    assert np.all(ak.to_numpy(muon.pdgid) == 13)
    forward = np.sign(ak.to_numpy(muon.pz))
    error = np.sqrt((1 - expected[1] ** 2) / len(batch))
    assert batch.weight(NOMINAL).mean() == pytest.approx(expected[0], rel=1e-4)
    assert abs(forward.mean() - expected[1]) < 4 * error
    assert abs(forward.mean() + expected[1]) > 4 * error  # the e+ would go the other way


def test_inputs_are_those_of_the_tree_level_relations():
    assert abs(M_W - 80.419002) < 1e-6
    assert abs(SIN2_THETA_W - 0.2222465) < 1e-7


@pytest.mark.parametrize("name", CONTACT_COUPLINGS)
def test_contact_terms_grow_with_s(name):
    masses = np.array([1000.0, 2000.0])
    for fermion in ("up", "down"):
        form = np.einsum("nhi,nhj->nij", *2 * [amplitude_coefficients(masses, fermion, (name,))]).real
        standard, interference, square = form[:, 0, 0], form[:, 0, 1], form[:, 1, 1]
        assert interference[1] / standard[1] == pytest.approx(4 * interference[0] / standard[0], rel=0.02)
        assert square[1] / standard[1] == pytest.approx(16 * square[0] / standard[0], rel=0.02)
        assert square[0] == pytest.approx(1.0)  # (s C)^2 = 1 at 1 TeV for C = 1 / TeV^2


def test_a_contact_term_is_a_heavy_boson_far_below_its_mass():
    # -g^2/M^2 from a boson of coupling g: the same left-left amplitude up to s/M^2.
    mass, coupling, boson = 500.0, 0.7, 50_000.0
    a = amplitude_coefficients([mass], "up", ("c_ll",))[0, HELICITIES.index((-1, -1))]
    heavy = a[0] + coupling**2 * mass**2 / (mass**2 - boson**2)
    assert a @ [1, -(coupling**2) / (boson / 1000) ** 2] == pytest.approx(heavy, rel=1e-5)


def test_left_left_contact_interaction_interferes_destructively_with_up_and_constructively_with_down_quarks():
    up, down, electron = (
        amplitude_coefficients([1000.0], f, ("c_ll",))[0, 0, 0].real for f in ("up", "down", "electron")
    )
    assert up < 0 < down
    assert electron > 0


def test_the_flux_averages_over_colours():
    assert flux_factor([500.0], "electron") == pytest.approx(3 * flux_factor([500.0], "up"))


def chi2_per_bin(process, x, theta, edges):
    """Return chi2 per bin in (m, y, c), expected contents by quadrature in each bin, and the number of bins."""
    nodes = [panel_nodes(e, 4) for e in edges]
    grids = np.meshgrid(*(n.x for n in nodes), indexing="ij")
    volume = np.einsum("i,j,k->ijk", *(n.weights for n in nodes))
    density = process.differential_xsec(np.stack(grids, -1).reshape(-1, 3), theta).reshape(volume.shape) * volume
    shape = [k for e in edges for k in (len(e) - 1, 4)]
    expected = density.reshape(shape).sum(axis=(1, 3, 5)) / process.xsec(theta) * len(x)
    observed = np.histogramdd(x, edges)[0]
    used = expected > 10
    return np.sum((observed - expected)[used] ** 2 / expected[used]) / used.sum(), used.sum()


EDGES = [np.geomspace(500, 2000, 9), np.linspace(-2.4, 2.4, 9), np.linspace(-1, 1, 9)]


def observables(events):
    return np.column_stack([events.mass, events.rapidity, events.cosine * np.sign(events.rapidity)])


@pytest.mark.parametrize("theta", [[0.0, 0.0], [0.05, 0.05], [-0.04, 0.03]])
def test_events_follow_the_exact_density_and_no_other(protons, theta):
    x = observables(protons.sample(100_000, theta, seed=5))
    chi2, bins = chi2_per_bin(protons, x, theta, EDGES)
    assert abs(chi2 - 1) < 4 * np.sqrt(2 / bins)
    wrong, bins = chi2_per_bin(protons, x, np.array(theta) + 0.03, EDGES)
    assert wrong - 1 > 6 * np.sqrt(2 / bins)


def test_the_z_peak_is_where_it_should_be_and_the_asymmetry_changes_sign_there():
    process = DrellYan(mass_range=(60.0, 120.0))
    events = process.sample(50_000, "sm", seed=2)
    counts, edges = np.histogram(events.mass, bins=np.arange(60, 121, 1.0))
    assert edges[counts.argmax()] == 91.0
    chi2, bins = chi2_per_bin(
        process, observables(events), [0, 0], [np.array([60, 80, 89, 90, 91, 92, 93, 100, 120.0]), *EDGES[1:]]
    )
    assert abs(chi2 - 1) < 4 * np.sqrt(2 / bins)
    cosine = observables(events)[:, 2]
    below, above = (np.sign(cosine[inside]).mean() for inside in (events.mass < 85, events.mass > 100))
    assert below < 0 < above


def test_quarks_are_mostly_on_the_side_to_which_the_pair_moves(protons, events):
    direction = protons.hard.directions[events.channel]
    boosted = np.abs(events.rapidity) > 1
    assert 0.75 < (direction == np.sign(events.rapidity))[boosted].mean() < 0.95


def test_the_mean_of_each_weight_is_the_cross_section_of_its_benchmark(protons):
    batch = protons.generate(100_000, "sm", seed=7)
    setup = protons.setup()
    assert batch.weight_names == (NOMINAL, *setup.benchmark_names)
    assert np.all(batch.weight(NOMINAL) == batch.weight("sm"))
    assert batch.weight(NOMINAL) == pytest.approx(protons.xsec("sm")[0])
    means, errors = batch.weights.mean(axis=0), batch.weights.std(axis=0) / np.sqrt(len(batch))
    assert np.all(np.abs(means[2:] - protons.xsec(setup.benchmark_names[1:])) < 4 * errors[2:])
    assert protons.info("sm").weighting == 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=2))
def test_morphing_gives_the_weights_exactly(theta):
    process = DrellYan()
    setup = process.setup()
    events = process.sample(300, "sm", seed=11)
    configuration = events.mass, events.channel, events.helicity
    benchmarks = process.hard.squares(*configuration, setup.benchmark_points)
    direct = process.hard.squares(*configuration, np.array([theta]))[:, 0]
    morphed = benchmarks @ setup.weights([theta])[0]
    assert np.abs(morphed - direct).max() < 1e-12 * benchmarks.max()
    assert process.xsec(theta) == pytest.approx(setup.weights([theta]) @ process.xsec(setup.benchmark_names), rel=1e-12)


def test_setup_has_a_well_conditioned_basis_for_any_number_of_couplings():
    for n in range(1, 5):
        setup = DrellYan(couplings=CONTACT_COUPLINGS[:n]).setup()
        assert len(setup.benchmark_names) == len(setup.morphing.components) == (n + 1) * (n + 2) // 2
        assert setup.reference == "sm"
        assert setup.squared_weights("sm") == pytest.approx(1.0)


def test_four_momenta_are_massless_and_conserved(protons):
    particles = protons.generate(20_000, "sm", seed=9).events.particles
    for component in ("px", "py", "pz", "e"):
        values = ak.to_numpy(particles[component])
        assert np.abs(values[:, :2].sum(axis=1) - values[:, 2:].sum(axis=1)).max() < 1e-9
    p = {c: ak.to_numpy(particles[c]) for c in ("px", "py", "pz", "e")}
    assert np.abs(p["e"] ** 2 - p["px"] ** 2 - p["py"] ** 2 - p["pz"] ** 2).max() < 1e-13 * p["e"].max() ** 2
    assert p["e"].max() < 6500
    assert np.all(p["pz"][:, 0] > 0)
    assert np.all(p["pz"][:, 1] < 0)


def test_records_obey_the_les_houches_accord(protons):
    particles = protons.generate(5_000, "sm", seed=9).events.particles
    field = {name: ak.to_numpy(particles[name]) for name in particles.fields}
    assert np.all(field["status"] == [-1, -1, 1, 1])
    assert np.all(field["pdgid"][:, :2].sum(axis=1) == 0)
    assert set(np.unique(np.abs(field["pdgid"][:, :2]))) == {1, 2, 3}
    assert np.all(field["pdgid"][:, 2:] == [13, -13])
    assert np.all(field["mother1"] == [0, 0, 1, 1])
    assert np.all(field["mother2"] == [0, 0, 2, 2])
    # One colour line from the quark (colour) to the antiquark (anticolour).
    assert np.all(field["color1"][:, :2] == np.where(field["pdgid"][:, :2] > 0, 501, 0))
    assert np.all(field["color2"][:, :2] == np.where(field["pdgid"][:, :2] < 0, 501, 0))
    assert not np.any(field["color1"][:, 2:] + field["color2"][:, 2:])
    # Chirality is conserved: particle and antiparticle of a line have opposite helicities.
    assert np.all(np.abs(field["spin"]) == 1)
    assert not np.any(field["spin"][:, :2].sum(axis=1))
    assert not np.any(field["spin"][:, 2:].sum(axis=1))


def test_helicities_in_the_record_are_those_of_the_weights(protons):
    batch = protons.generate(5_000, "sm", seed=13)
    spin = ak.to_numpy(batch.events.particles.spin)
    quark = np.where(ak.to_numpy(batch.events.particles.pdgid)[:, 0] > 0, spin[:, 0], spin[:, 1])
    changed = {name: batch.weight(name) != batch.weight("sm") for name in protons.setup().benchmark_names}
    assert np.array_equal(changed["c_ll_plus"], (quark == -1) & (spin[:, 2] == -1))
    assert np.array_equal(changed["c_lr_minus"], (quark == -1) & (spin[:, 2] == 1))


@pytest.mark.parametrize("process", [DrellYan(), DrellYan("ee")], ids=["pp", "ee"])
def test_an_event_depends_on_seed_theta_and_its_number_alone(process):
    whole = process.generate(3_000, "sm", seed=4)
    parts = list(process.batches(3_000, "sm", seed=4, size=701))
    assert [part.first_event for part in parts] == [0, 701, 1402, 2103, 2804]
    assert np.array_equal(whole.weights, np.concatenate([part.weights for part in parts]))
    assert ak.array_equal(whole.events, ak.concatenate([part.events for part in parts]))
    fewer = process.generate(1_000, "sm", seed=4)
    assert ak.array_equal(whole.events[:1_000], fewer.events)
    other_seed, other_theta = process.generate(1_000, "sm", seed=5), process.generate(1_000, "c_ll_plus", seed=4)
    assert not np.any(ak.to_numpy(fewer.events.particles.px[:, 2] == other_seed.events.particles.px[:, 2]))
    assert not np.any(ak.to_numpy(fewer.events.particles.px[:, 2] == other_theta.events.particles.px[:, 2]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"process": "ep"}, "'pp' or 'ee'"),
        ({"sqrt_s": -1.0}, "sqrt_s"),
        ({"mass_range": (300.0, 200.0)}, "mass_range"),
        ({"mass_range": (300.0, 20_000.0)}, "mass_range"),
        ({"mass_range": (300.0,)}, "mass_range"),
        ({"bound": 0.0}, "bound"),
        ({"lepton": "tau"}, "lepton"),
        ({"resolution": 0.5}, "resolution"),
        ({"process": "ee", "resolution": 0.02}, "resolution"),
        ({"couplings": ("c_ll", "c_ll")}, "different"),
        ({"couplings": ()}, "different"),
    ],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        DrellYan(**options)


def test_names_that_do_not_exist_are_refused(protons):
    with pytest.raises(UnknownNameError, match="Did you mean 'c_ll'"):
        DrellYan(couplings=("C_ll",))
    with pytest.raises(UnknownNameError, match="c_ll_plus"):
        protons.generate(10, "c_ll_pluss")
    with pytest.raises(InputError, match="number of events"):
        protons.generate(0)
