"""Smearing follows its formulas, belongs to events and not to batches, and leaves alone what it should."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from toy_events import batch_of, drawn

from columnminer import streams
from columnminer.errors import ExpressionError, InputError, UnknownNameError
from columnminer.momenta import CARTESIAN, Collection, Momenta, Particle
from columnminer.observe.detector import Detector
from columnminer.observe.objects import Objects
from columnminer.observe.smearing import Resolution

KEY = streams.key(1, "smearing")
N = 20_000


def measured(
    detector: Detector,
    pdgid: int = 1,
    momentum: tuple[float, float, float] = (40.0, 0.0, 30.0),
    m: float = 0.0,
    n: int = N,
) -> Momenta:
    value = Objects(batch_of([[(pdgid, 1, *momentum, m)]] * n), detector, key=KEY)["p"]
    assert isinstance(value, Collection)
    return value.momenta


def gaussian(values: np.ndarray, mean: float, sigma: float) -> bool:
    return stats.kstest(values, stats.norm(mean, sigma).cdf).pvalue > 1e-3


def test_widths_are_absolute_plus_relative() -> None:
    resolution = Resolution(energy=(1.0, 0.02), pt=(0.5, 0.01), eta=(0.1, 0.2), phi=(0.05, 0.0))
    p = measured(Detector({"j": resolution}), momentum=(40.0, 0.0, -30.0))
    eta = np.arcsinh(-30 / 40)
    assert gaussian(p["e"], 50.0, 1.0 + 0.02 * 50)
    assert gaussian(p["pt"], 40.0, 0.5 + 0.01 * 40)
    assert gaussian(p["eta"], eta, 0.1 + 0.2 * abs(eta))
    assert gaussian((p["phi"] + np.pi) % (2 * np.pi) - np.pi, 0.0, 0.05)
    assert not gaussian(p["pt"], 40.0, 0.5 + 0.013 * 40)
    assert np.all((p["phi"] >= 0) & (p["phi"] < 2 * np.pi))
    draws = np.corrcoef([p[name] for name in ("e", "pt", "eta")])
    assert np.all(np.abs(draws[~np.eye(3, dtype=bool)]) < 4 / np.sqrt(N))


def test_columns_agree_with_each_other() -> None:
    p = measured(Detector({"j": Resolution((0.0, 0.1), (0.0, 0.1), (0.1, 0.0), (0.1, 0.0))}))
    np.testing.assert_allclose(np.hypot(p["px"], p["py"]), p["pt"])
    np.testing.assert_allclose(np.arcsinh(p["pz"] / p["pt"]), p["eta"], atol=1e-12)
    np.testing.assert_allclose(np.arctan2(p["py"], p["px"]) % (2 * np.pi), p["phi"], atol=1e-12)


def test_energy_or_pt_follow_from_the_mass() -> None:
    from_pt = measured(Detector({5: Resolution(energy=None, pt=(0.0, 0.1), eta=(0.2, 0.0))}), 5, m=4.7)
    np.testing.assert_allclose(from_pt["m"], 4.7, rtol=1e-9)
    assert gaussian(from_pt["pt"], 40.0, 4.0)
    from_energy = measured(Detector({5: Resolution(energy=(5.0, 0.0), pt=None, eta=(0.2, 0.0))}), 5, m=4.7)
    np.testing.assert_allclose(from_energy["m"], 4.7, rtol=1e-9)
    assert gaussian(from_energy["e"], np.sqrt(50**2 + 4.7**2), 5.0)


def test_negative_draws_are_redrawn() -> None:
    pt = measured(Detector({"j": Resolution(energy=None, pt=(40.0, 0.0))}))["pt"]
    assert pt.min() > 0
    assert stats.kstest(pt, stats.truncnorm(-1.0, np.inf, 40.0, 40.0).cdf).pvalue > 1e-3
    energy = measured(Detector({"j": Resolution(energy=(5.0, 0.0), pt=None)}), momentum=(3.0, 0.0, 0.0), m=4.0)["e"]
    assert energy.min() > 4.0
    assert stats.kstest(energy, stats.truncnorm(-0.2, np.inf, 5.0, 5.0).cdf).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 7, 100])
def test_measurements_belong_to_events_not_to_batches(size: int) -> None:
    detector = Detector(
        {"all": Resolution((0.0, 0.1), (0.0, 0.1), (0.1, 0.0), (0.1, 0.0)), "v": Resolution()},
        met_noise=(5.0, 0.1),
        efficiencies={"j": "0.9 - 0.1 * (pt < 30)", "a": 0.5},
    )
    events = drawn(100)
    whole = Objects(batch_of(events, first_event=1000), detector, key=KEY)
    parts = [
        Objects(batch_of(events[i : i + size], first_event=1000 + i), detector, key=KEY) for i in range(0, 100, size)
    ]
    for name in ("p", "j", "met"):
        for column in CARTESIAN:
            pieces = [part[name].momenta[column] for part in parts]
            np.testing.assert_array_equal(np.concatenate(pieces), whole[name].momenta[column])
    other = Objects(batch_of(events, first_event=1001), detector, key=KEY)
    assert not np.array_equal(other["met"].momenta["px"], whole["met"].momenta["px"])


def test_the_last_resolution_that_fits_counts() -> None:
    wide = Resolution(energy=None, pt=(0.0, 0.5))
    events = batch_of(
        [[(11, 1, 40.0, 0, 0, 0), (-11, 1, 40.0, 0, 0, 0), (22, 1, 40.0, 0, 0, 0), (2, 1, 40.0, 0, 0, 0)]]
    )
    for resolutions, smeared in (
        ({"all": wide, "e": Resolution()}, [False, False, True, True]),
        ({"e": Resolution(), "all": wide}, [True, True, True, True]),
        ({-11: wide}, [False, True, False, False]),
        ({"j": wide}, [False, False, False, True]),
        ({}, [False] * 4),
    ):
        p = Objects(events, Detector(resolutions), key=KEY)["p"].momenta
        assert (p["pt"] != 40.0).tolist() == smeared


def test_what_is_not_smeared_is_exact() -> None:
    batch = batch_of(drawn(200))
    ideal, unsmeared = Objects(batch), Objects(batch, Detector({"all": Resolution()}, met_noise=(0.0, 0.0)))
    for name in ("p", "l", "met"):
        for column in (*CARTESIAN, "pt", "eta", "phi"):
            np.testing.assert_array_equal(ideal[name].momenta[column], unsmeared[name].momenta[column])
    smeared = Objects(batch, Detector({"all": Resolution((0.0, 0.2), (0.0, 0.2))}), key=KEY)
    for column in ("pdgid", "spin", "charge"):
        np.testing.assert_array_equal(smeared["p"].momenta[column], ideal["p"].momenta[column])
    np.testing.assert_array_equal(smeared["p_truth"].momenta["pt"], ideal["p_truth"].momenta["pt"])


def test_along_the_beam_nothing_can_be_smeared() -> None:
    p = measured(
        Detector({"all": Resolution((0.0, 0.1), (1.0, 0.1), (0.1, 0.0), (0.1, 0.0))}), momentum=(0.0, 0.0, 7.0), n=5
    )
    np.testing.assert_array_equal(p["pz"], 7.0)
    np.testing.assert_array_equal(p["pt"], 0.0)


def test_missing_momentum_has_noise_of_its_own() -> None:
    events = batch_of([[(1, 1, 30.0, 0.0, 5.0, 0.0), (22, 1, 0.0, -40.0, 0.0, 0.0), (12, 1, 99.0, 0.0, 0.0, 0.0)]] * N)
    met = Objects(events, Detector(met_noise=(2.0, 0.1)), key=KEY)["met"]
    assert isinstance(met, Particle)
    assert gaussian(met.momenta["px"], -30.0, 2.0 + 0.1 * 70)
    assert gaussian(met.momenta["py"], 40.0, 2.0 + 0.1 * 70)
    assert abs(np.corrcoef(met.momenta["px"], met.momenta["py"])[0, 1]) < 4 / np.sqrt(N)


def test_what_is_outside_the_acceptance_is_missing() -> None:
    events = batch_of(
        [
            [
                (1, 1, 30.0, 0.0, 0.0, 0.0),
                (2, 1, 10.0, 0.0, 0.0, 0.0),
                (22, 1, 0.0, 9.0, 100.0, 0.0),
                (12, 1, 1.0, 0.0, 0.0, 0.0),
            ]
        ]
    )
    objects = Objects(events, Detector(pt_min={"j": 20.0}, eta_max={"a": 2.5}))
    assert objects["j"].momenta["pt"].tolist() == [30.0]
    assert objects["a"].momenta["pt"].tolist() == []
    assert objects["v"].momenta["pt"].tolist() == [1.0]
    assert objects["met"].momenta["px"].tolist() == [-30.0]


def test_efficiencies_depend_on_the_particle() -> None:
    detector = Detector(efficiencies={"j": "0.8 if pt > 20 else 0.3", "e": 1.0, "mu": "0"})
    events = batch_of([[(1, 1, 30.0, 0, 0, 0), (1, 1, 10.0, 0, 0, 0), (11, 1, 1, 0, 0, 0), (13, 1, 1, 0, 0, 0)]] * N)
    objects = Objects(events, detector, key=KEY)
    pt = objects["j"].momenta["pt"]
    for cut, probability in ((pt > 20, 0.8), (pt < 20, 0.3)):
        assert abs(cut.sum() - N * probability) < 4 * np.sqrt(N * probability * (1 - probability))
    assert len(objects["e"].momenta["pt"]) == N
    assert len(objects["mu"].momenta["pt"]) == 0
    with pytest.raises(InputError, match="the efficiency of 'j', 'pt', is not between 0 and 1"):
        Objects(events, Detector(efficiencies={"j": "pt"}))["j"]


def test_a_detector_is_json() -> None:
    detector = Detector(
        {"all": Resolution(energy=None, pt=(1.0, 0.1)), -11: Resolution()},
        (1.0, 0.2),
        {"j": 30.0},
        {"e": 2.5},
        {"a": "pt > 3"},
    )
    assert Detector.from_dict(detector.to_dict()) == detector
    assert json.loads(json.dumps(detector.to_dict())) == detector.to_dict()
    assert Detector({"all": {"energy": None, "pt": (1.0, 0.1)}}).resolutions["all"] == detector.resolutions["all"]
    assert Detector.from_dict({"resolutions": {"11": {"pt": [1, 0]}}}).resolutions[11].pt == (1.0, 0.0)
    assert Detector.from_dict({}) == Detector()


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda: Resolution(energy=None, pt=None), InputError, "cannot both follow from the mass"),
        (lambda: Resolution(pt=(-1.0, 0.0)), InputError, "the resolution of pt must be two non-negative numbers"),
        (lambda: Resolution(eta=0.1), InputError, "the resolution of eta must be two"),
        (lambda: Resolution(phi=("a", 1)), InputError, "the resolution of phi must be two"),
        (lambda: Detector(met_noise=(1.0, np.inf)), InputError, "met_noise must be"),
        (lambda: Detector({"jet": Resolution()}), UnknownNameError, "no resolution can be set for 'jet'"),
        (lambda: Detector({99: Resolution()}), UnknownNameError, "no resolution can be set for 99"),
        (lambda: Detector(pt_min={"jj": 3.0}), UnknownNameError, "for 'jj'. Did you mean 'j'?"),
        (lambda: Detector(eta_max={"v": 3.0}), UnknownNameError, "for 'v'"),
        (lambda: Detector(efficiencies={"j": "ptt"}), ExpressionError, "Did you mean 'pt'?"),
        (
            lambda: Detector.from_dict({"met_nois": (1, 1)}),
            UnknownNameError,
            "no option 'met_nois'. Did you mean 'met_noise'?",
        ),
        (lambda: Detector.from_dict({"resolutions": {"j": {"ptt": (1, 1)}}}), UnknownNameError, "Did you mean 'pt'?"),
    ],
)
def test_wrong_options_are_named(make: object, error: type[Exception], reason: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert reason in str(caught.value)
