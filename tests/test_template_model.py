"""Models of several template terms: sums of their parts, weights, data by name, and what must be built anew."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from scipy import stats
from template_models import EFFICIENCY, LIVETIME, MASS, MODE, RATE, SHIFT, SIGNAL, WIDTH, likelihood, random_points

from columnminer.errors import InputError, MissingError, UnknownNameError
from columnminer.infer.batches import pick
from columnminer.infer.constraints import constraints
from columnminer.infer.products import Product
from columnminer.infer.template_model import TemplateModel
from columnminer.model.parameters import Parameter

PARAMETERS = [MASS, LIVETIME, SIGNAL, RATE, EFFICIENCY, SHIFT, WIDTH, MODE]


def model(**options):
    terms = [likelihood(1, (5, 4), name="sr0"), likelihood(2, (6,), name="sr1", binned=True)]
    return TemplateModel(PARAMETERS, terms, **options)


def points_of(m, seed, n):
    term = m.term("sr0")
    points = np.tile(m.point(), (n, 1))
    points[:, [m.names.index(name) for name in term.names]] = random_points(term, np.random.default_rng(seed), n)
    return points


def test_it_is_the_product_of_terms_and_constraints() -> None:
    m = model()
    assert m.names == tuple(p.name for p in PARAMETERS)
    assert m.term_names == ("sr0", "sr1", "ancillary")
    assert m.source_names == ("er", "wimp")
    assert set(m.measured) == {"er_rate", "efficiency", "shift", "width"}
    assert set(m.kinks) == {"shift", "width"}
    plain = Product([m.term("sr0"), m.term("sr1"), *constraints(PARAMETERS)])
    data, points = m.simulate(1), points_of(m, 1, 5)
    columns = [m.names.index(name) for name in plain.names]
    parts = (*data[:2], *[data[2][m.factors[-1].names.index(c.names[0])] for c in plain.factors[2:]])
    np.testing.assert_allclose(m.log_likelihood(points, data), plain.log_likelihood(points[:, columns], parts))
    one, other = m.derivatives(points, m.as_data(data)), plain.derivatives(points[:, columns], plain.as_data(parts))
    np.testing.assert_allclose(one.gradient[:, columns], other.gradient, atol=1e-12)
    np.testing.assert_allclose(one.hessian[:, np.array(columns)[:, None], columns], other.hessian, atol=1e-12)
    np.testing.assert_array_equal(one.gradient[:, m.names.index("mass")], 0.0)


def test_weights_multiply_the_terms() -> None:
    m, weights = model(), {"sr0": 0.5, "sr1": 1.0, "ancillary": 0.25}
    weighted = model(weights=weights)
    assert model(weights=[0.5, 1.0, 0.25]).weights == weighted.weights == weights
    data, points = m.simulate(1), points_of(m, 1, 4)
    parts = [
        f.log_likelihood(points[:, [m.names.index(n) for n in f.names]], d)
        for f, d in zip(m.factors, m.as_data(data), strict=True)
    ]
    wanted = 0.5 * parts[0] + parts[1] + 0.25 * parts[2]
    np.testing.assert_allclose(weighted.log_likelihood(points, data), wanted)
    np.testing.assert_allclose(weighted.with_data(data).log_likelihood(points), wanted)
    found = weighted.derivatives(points, weighted.as_data(data))
    each = [
        f.derivatives(points[:, [m.names.index(n) for n in f.names]], d)
        for f, d in zip(m.factors, m.as_data(data), strict=True)
    ]
    for name in ("er_rate", "shift"):
        i = m.names.index(name)
        slopes = [e.gradient[:, f.names.index(name)] for e, f in zip(each, m.factors, strict=True)]
        curves = [e.hessian[:, f.names.index(name), f.names.index(name)] for e, f in zip(each, m.factors, strict=True)]
        np.testing.assert_allclose(found.gradient[:, i], 0.5 * slopes[0] + slopes[1] + 0.25 * slopes[2], rtol=1e-9)
        np.testing.assert_allclose(found.hessian[:, i, i], 0.5 * curves[0] + curves[1] + 0.25 * curves[2], rtol=1e-9)
    np.testing.assert_allclose(found.gradient, weighted.gradient(points, data))
    np.testing.assert_allclose(weighted.on("cpu").log_likelihood(points, data), wanted)
    assert weighted.measured == m.measured
    assert set(weighted.kinks) == set(m.kinks)
    toys, same = weighted.simulate_many(1, [0, 4]), m.simulate_many(1, [0, 4])
    np.testing.assert_array_equal(toys[0].cells, same[0].cells)
    np.testing.assert_array_equal(weighted.asimov()[0].counts, m.asimov()[0].counts)
    assert weighted.expected()[0] == m.expected()[0]
    assert weighted.precision == m.precision


def test_data_by_name() -> None:
    m = model()
    toy = m.simulate(2)
    named = m.named(toy)
    assert list(named) == ["sr0", "sr1", "ancillary"]
    value = m.log_likelihood(data=toy)
    named["sr0"] = named["sr0"].table()
    for data in (named, {**named, "generate_values": None}, {n: named[n] for n in ("ancillary", "sr1", "sr0")}):
        np.testing.assert_allclose(m.log_likelihood(data=data), value)
        given = m.with_data(data)
        assert isinstance(given, TemplateModel)
        np.testing.assert_allclose(given.log_likelihood(), value)
    real = m.with_data({"sr0": named["sr0"], "sr1": named["sr1"]})
    np.testing.assert_array_equal(real.data[-1], [1.0, 1.0, 0.0, 1.0])
    with pytest.raises(InputError, match="no data of 'sr1'"):
        m.with_data({"sr0": named["sr0"]})
    with pytest.raises(UnknownNameError, match="no likelihood term 'sr2'"):
        m.with_data({**named, "sr2": 1})
    with pytest.raises(InputError, match="one entry for each of sr0, sr1, ancillary"):
        m.with_data(toy[:2])
    assert not m.has_data
    assert given.has_data


def test_expectations_by_term_and_source() -> None:
    m = model()
    apart = m.expectation_values(per_term=True)
    assert list(apart) == ["sr0", "sr1"]
    total = m.expectation_values()
    for name in total:
        np.testing.assert_allclose(total[name], sum(t[name] for t in apart.values()))
        np.testing.assert_allclose(apart["sr0"][name], m.term("sr0").expected_by_source()[name])
    double = m.expectation_values(wimp_rate=2.0, er_rate=2.0)
    np.testing.assert_allclose([double[n] for n in total], [2 * total[n] for n in total])
    for efficiency in (0.0, 0.5, 2.0):
        found = m.expectation_values(efficiency=efficiency)
        np.testing.assert_allclose(found["wimp"], efficiency * total["wimp"])
        assert found["er"] == total["er"]
    assert m.expectation_values(er_rate=np.ones(3))["er"].shape == (3,)
    assert not m.has_data


def test_histograms_of_sources() -> None:
    m = model()
    for name in m.term_names[:-1]:
        events, shares = m.source_histograms(name, expected_events=True, shift=0.2), m.source_histograms(name)
        assert list(events) == list(shares) == ["er", "wimp"]
        for source, histogram in events.items():
            expected = m.expectation_values(per_term=True, shift=0.2)[name][source]
            np.testing.assert_allclose(histogram.values.sum(), expected)
            np.testing.assert_allclose(shares[source].values.sum(), 1.0)
    for name in ("ancillary", "no_such_term"):
        with pytest.raises(UnknownNameError, match=f"no likelihood term '{name}'"):
            m.source_histograms(name)


def test_toys_come_from_every_term_and_can_be_placed() -> None:
    m = model()
    toys = m.simulate_many(4, np.arange(5))
    placed = m.place(toys, 4, np.arange(5))
    again = m.place(m.simulate_many(4, [3]), 4, [3])
    for name, part in m.named(pick(placed, np.array(3))).items():
        if name != "ancillary":
            table = part.table()
            np.testing.assert_array_equal(table, pick(again, np.array(0))[m.term_names.index(name)].table())
            cells = part.cells[part.counts > 0]
            np.testing.assert_array_equal(m.term(name).as_data(table).n_events, len(cells))
            np.testing.assert_array_equal(m.term(name).space.cells(table), cells)
    np.testing.assert_array_equal(toys[-1][3], again[-1][0])
    values = m.log_likelihood(m.point(), toys)
    assert values.shape == (5,)
    np.testing.assert_allclose(values[3], m.log_likelihood(data=pick(toys, np.array(3))), rtol=1e-12)
    sources = m.simulate(1)[0].table()["source"]
    assert set(sources) <= {0, 1}


def test_fits_of_many_toys_scatter_about_the_truth() -> None:
    m = model()
    toys = m.simulate_many(9, np.arange(400))
    i, point = m.names.index("er_rate"), m.point()
    points = np.tile(point, (400, 1))
    for _ in range(20):  # Newton's method in one parameter
        found = m.derivatives(points, m.as_data(toys))
        points[:, i] -= found.gradient[:, i] / found.hessian[:, i, i]
    pulls = (points[:, i] - 1.0) * np.sqrt(-found.hessian[:, i, i])
    assert stats.kstest(pulls, "norm").pvalue > 1e-3
    assert stats.kstest(pulls + 0.5, "norm").pvalue < 1e-6


def test_what_the_model_was_built_for_cannot_be_changed() -> None:
    m = model(rebuild=lambda **nominal: nominal)
    data = m.simulate(1)
    for call in (
        lambda: m.log_likelihood(data=data, mass=100.0),
        lambda: m.expectation_values(mass=100.0),
        lambda: m.simulate(1, mass=100.0),
        lambda: m.derivatives(m.point() + 50.0 * (np.array(m.names) == "mass"), m.as_data(data)),
    ):
        with pytest.raises(InputError, match=r"built for mass = 50 and cannot be evaluated at 100.*\.at\(mass=100\)"):
            call()
    assert m.log_likelihood(data=data, mass=50.0) == m.log_likelihood(data=data)
    assert m.at(mass=100.0) == {"mass": 100.0}
    with pytest.raises(MissingError, match="does not know how to be built"):
        model().at(mass=100.0)


def test_it_can_be_copied_and_sent() -> None:
    m = model(weights=[1.0, 0.5, 1.0])
    m = m.with_data(m.simulate(1))
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):  # noqa: S301 - our own
        assert other.log_likelihood() == m.log_likelihood()
        assert other.names == m.names


def test_what_does_not_fit_is_named() -> None:
    term = likelihood(1, (5, 4))
    with pytest.raises(InputError, match="weights are needed for sr0, ancillary"):
        TemplateModel(PARAMETERS, [term], weights=[1.0])
    with pytest.raises(UnknownNameError, match="no likelihood term 'sr9'"):
        TemplateModel(PARAMETERS, [term], weights={"sr9": 1.0})
    with pytest.raises(InputError, match="used twice"):
        TemplateModel(PARAMETERS, [term, term])
    with pytest.raises(InputError, match="none may be called 'ancillary'"):
        TemplateModel(PARAMETERS, [likelihood(name="ancillary")])
    with pytest.raises(InputError, match="not among those of the model"):
        TemplateModel([p for p in PARAMETERS if p is not SHIFT], [term])
    other = [Parameter("shift", 0.5, anchors=SHIFT.anchors) if p is SHIFT else p for p in PARAMETERS]
    with pytest.raises(InputError, match=r"define the parameter 'shift' differently|not among those"):
        TemplateModel(other, [term])
