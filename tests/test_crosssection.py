"""The cross section as a polynomial of theta, against the sums over the events of a store."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_store import analytic_store, sigma

from columnminer.errors import InputError
from columnminer.model.crosssection import CrossSectionPolynomial
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.priors import flat_prior
from columnminer.model.setup import Setup
from columnminer.sample.samples import Samples
from columnminer.sample.sampling import sample_plain, sample_ratio

THETAS = np.linspace(-2.0, 2.0, 7)[:, np.newaxis]


@pytest.mark.parametrize("background", [0.0, 0.5])
def test_samples_know_the_cross_section_of_their_store(tmp_path, background):
    store = analytic_store(tmp_path / "events", 4000, background=background)
    samples = sample_ratio(store, flat_prior([(-1, 1)]), [0.0], 1000, n_theta=10)
    xsec = samples.cross_section
    np.testing.assert_allclose(xsec.values(THETAS), store.xsec(THETAS, partition="train").value, rtol=1e-12)
    np.testing.assert_allclose(xsec.values(THETAS), sigma(THETAS[:, 0]) + background, rtol=0.1)
    exact = store.xsec_gradients(THETAS, partition="train") / xsec.values(THETAS)[:, np.newaxis]
    np.testing.assert_allclose(xsec.log_gradients(THETAS), exact, rtol=1e-9, atol=1e-12)
    again = Samples.of(samples.write(tmp_path / "again"))
    assert again.cross_section == xsec
    assert hash(again.cross_section) == hash(xsec)
    assert samples.take(slice(10)).cross_section is xsec
    assert sample_plain(store, [0.0], 10).cross_section is None


def test_a_background_is_a_constant_component_even_where_the_signal_has_none():
    space = ParameterSpace([Parameter("g", bounds=(0.0, 2.0), max_power=2)])
    points = {name: {"g": g} for name, g in (("a", 1.0), ("b", 2.0))}
    morphing = Setup(space, points).with_morphing(components=[[1], [2]]).morphing
    benchmarks = np.array([3.0, 10.0])  # g + 2 g^2
    signal = CrossSectionPolynomial.of(morphing, benchmarks)
    both = CrossSectionPolynomial.of(morphing, benchmarks, background=5.0)
    assert both != signal
    g = np.array([[0.5], [3.0]])
    assert signal.values(g) == pytest.approx([1.0, 21.0])
    assert both.values(g) == pytest.approx([6.0, 26.0])
    assert both.values(np.zeros((1, 1))) == pytest.approx([5.0])
    with pytest.raises(InputError, match=r"morphed cross section is 0 pb at theta = \[0\.\]"):
        signal.values(np.array([[1.0], [0.0]]))
