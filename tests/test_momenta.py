"""Columns of four-momenta, held against the vector package and against lists of lists."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import vector
from hypothesis import given
from hypothesis import strategies as st

from columnminer.arithmetic import Number
from columnminer.momenta import CARTESIAN, KINEMATICS, Collection, Momenta, Particle

N = 200
RNG = np.random.default_rng(0)
SPELLING = {"e": "E", "p": "p", "m": "mass"}


def draw(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.normal(size=(3, N)) * 50
    return dict(zip(("px", "py", "pz"), p, strict=True)) | {"e": np.sqrt((p**2).sum(0) + rng.exponential(20, N) ** 2)}


A, B = draw(1), draw(2)
VA, VB = vector.array(A), vector.array(B)
PA, PB = Particle(Momenta(A)), Particle(Momenta(B))


@pytest.mark.parametrize("name", KINEMATICS)
def test_kinematics_are_those_of_vector(name: str) -> None:
    reference = getattr(VA, SPELLING.get(name, name))
    np.testing.assert_allclose(PA.attribute(name).values, reference, rtol=1e-12)
    cylindrical = Momenta({"pt": VA.pt, "eta": VA.eta, "phi": VA.phi, "m": VA.mass})
    np.testing.assert_allclose(cylindrical[name], reference, rtol=1e-9)


def test_pairs_are_those_of_vector() -> None:
    np.testing.assert_allclose((PA + PB).attribute("m").values, (VA + VB).mass, rtol=1e-12)
    np.testing.assert_allclose((PA - PB).attribute("m").values, (VA - VB).mass, rtol=1e-12)
    np.testing.assert_allclose(PA.delta_phi(PB).values, VA.deltaphi(VB), rtol=1e-12)
    np.testing.assert_allclose(PA.delta_eta(PB).values, VA.deltaeta(VB), rtol=1e-12)
    np.testing.assert_allclose(PA.delta_r(PB).values, VA.deltaR(VB), rtol=1e-12)


@pytest.mark.parametrize("name", CARTESIAN)
def test_boosts_are_those_of_vector(name: str) -> None:
    spelled = SPELLING.get(name, name)
    np.testing.assert_allclose(PA.boost(PB).momenta[name], getattr(VA.boost(VB), spelled), rtol=1e-9)
    there = PA.boost(PB, direction=-1.0)
    np.testing.assert_allclose(there.momenta[name], getattr(VA.boostCM_of(VB), spelled), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(there.boost(PB).momenta[name], A[name], rtol=1e-9, atol=1e-9)


def test_a_particle_rests_in_its_own_frame() -> None:
    rest = PB.boost(PB, direction=-1.0).momenta
    np.testing.assert_allclose(rest["p"], 0.0, atol=1e-10)
    np.testing.assert_allclose(rest["e"], VB.mass, rtol=1e-10)


def test_no_boost_to_the_speed_of_light() -> None:
    light = Particle(
        Momenta({"px": np.array([3.0, 0.0]), "py": np.zeros(2), "pz": np.zeros(2), "e": np.array([3.0, 1.0])})
    )
    boosted = light.boost(light)
    assert boosted.defined.tolist() == [False, True]
    assert np.all(np.isfinite(boosted.momenta["e"]))


def test_edges_of_phase_space() -> None:
    p = Momenta(
        {"px": np.zeros(3), "py": np.zeros(3), "pz": np.array([2.0, -2.0, 0.0]), "e": np.array([1.0, 1.0, 1.0])}
    )
    assert p["eta"].tolist() == [np.inf, -np.inf, 0.0]
    np.testing.assert_allclose(p["m"], [-np.sqrt(3), -np.sqrt(3), 1.0])


def test_what_a_sum_is_is_its_charge_and_tags() -> None:
    extra = {"pdgid": np.array([5, 11]), "charge": np.array([-1 / 3, -1.0]), "b_tag": np.array([True, False])}
    columns = {name: np.ones(2) for name in CARTESIAN}
    both = Particle(Momenta({**columns, **extra})) + Particle(
        Momenta({**columns, "charge": np.ones(2), "b_tag": np.zeros(2, bool)})
    )
    np.testing.assert_allclose(both.attribute("charge").values, [2 / 3, 0.0])
    assert both.attribute("b_tag").values.tolist() == [1.0, 0.0]
    for name in ("pdgid", "spin", "tau_tag"):
        assert not both.attribute(name).defined
    moved = Particle(Momenta({**columns, **extra})).boost(PA_REST)
    assert moved.attribute("pdgid").values.tolist() == [5.0, 11.0]


PA_REST = Particle(Momenta({"px": np.zeros(2), "py": np.zeros(2), "pz": np.zeros(2), "e": np.ones(2)}))


def test_columns_are_gathered_from_what_is_known() -> None:
    calls = []

    def fetched() -> np.ndarray:
        calls.append(1)
        return np.arange(4.0)

    momenta = Momenta({"px": fetched, "py": np.zeros(4)})
    some = momenta.take(np.array([3, 1])).take(np.array([1, 0]))
    assert not calls
    assert some["pt"].tolist() == [1.0, 3.0]
    assert some["px"].tolist() == [1.0, 3.0]
    assert len(calls) == 1
    assert not some.has("charge")


JAGGED = st.lists(st.lists(st.integers(0, 100), max_size=5), min_size=1, max_size=8)


def collection(pts: list[list[int]]) -> Collection:
    flat = np.array([pt for event in pts for pt in event], dtype=np.float64)
    columns = {
        "px": flat,
        "py": np.zeros_like(flat),
        "pz": np.zeros_like(flat),
        "e": flat,
        "spin": np.arange(float(len(flat))),
    }
    return Collection(Momenta(columns), np.cumsum([0, *map(len, pts)]))


def lists(made: Collection, name: str = "pt") -> list[list[float]]:
    return ak.unflatten(made.momenta[name], made.counts).to_list()


@given(JAGGED, st.integers(-6, 6))
def test_items_are_those_of_lists(pts: list[list[int]], index: int) -> None:
    particle = collection(pts).item(Number(np.asarray(float(index))))
    got = [pt if known else None for pt, known in zip(particle.momenta["pt"], particle.defined, strict=True)]
    assert got == [event[index] if -len(event) <= index < len(event) else None for event in pts]


@given(JAGGED)
def test_sorting_keeps_the_order_of_equals(pts: list[list[int]]) -> None:
    made = collection(pts).by_pt()
    assert lists(made) == [sorted(event, reverse=True) for event in pts]
    numbered = iter(range(sum(map(len, pts))))
    spins = [[next(numbered) for _ in event] for event in pts]
    want = [
        [s for _, s in sorted(zip(e, ss, strict=True), key=lambda p: -p[0])] for e, ss in zip(pts, spins, strict=True)
    ]
    assert lists(made, "spin") == want


@given(JAGGED)
def test_selecting_merging_and_summing(pts: list[list[int]]) -> None:
    made = collection(pts)
    hard = made.where(made.momenta["pt"] > 30)
    assert lists(hard) == [[pt for pt in event if pt > 30] for event in pts]
    assert lists(hard.merged(made)) == [[pt for pt in event if pt > 30] + event for event in pts]
    np.testing.assert_allclose(made.total().momenta["px"], [sum(event) for event in pts])
    assert made.length().values.tolist() == [len(event) for event in pts]


def test_indices_that_are_no_integers_give_nothing() -> None:
    indices = Number(np.array([0.5, np.nan, np.inf, -np.inf, 1e300, 1.0]))
    particle = collection([[1.0, 2.0]] * 6).item(indices)
    assert particle.defined.tolist() == [False] * 5 + [True]
