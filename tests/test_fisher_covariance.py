"""Covariances of informations and cross sections against 500 bootstrap replicas, and MadMiner's in the same test.

In a replica each event counts as often as a Poisson number says, so that every sum over events is one product of
matrices. Derivation and sign error: `columnminer.infer.moments`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from analytic_store import analytic_store, score
from drellyan_store import drellyan_store
from scipy import stats

from columnminer.generate.drellyan import DrellYan
from columnminer.infer.bins import Axis, Bins
from columnminer.infer.fisher import FisherInformation
from columnminer.learn.information import Information
from columnminer.sample.replicas import multiplicities

REPLICAS, LUMINOSITY = 500, 1000.0
THETA = np.array([-0.03, 0.02])
HISTOGRAMS = {
    "rate": {},
    "1D": {"m_ll": [550.0, 620.0, 700.0, 900.0]},
    "2D": {"m_ll": [600.0, 800.0], "cos_theta": [0.0, 0.6]},
    "3D": {"m_ll": [600.0], "y_ll": [0.0], "cos_theta": [0.4]},
}


@dataclass(frozen=True)
class Bootstrap:
    """A store, and what is needed to do everything again for each replica."""

    information: FisherInformation
    x: np.ndarray
    """(n, n_obs)"""
    benchmark_weights: np.ndarray
    """(n, n_benchmarks)"""
    counts: np.ndarray
    """(n_replicas, n)"""

    @property
    def morphing(self):
        """Weights and their gradients at theta: (n_benchmarks,), (n_par, n_benchmarks)."""
        setup = self.information.store.setup
        return setup.weights(THETA)[0], setup.weight_gradients(THETA)[0]

    @property
    def columns(self):
        """Weight and gradients of each event, (n, 3)."""
        w, dw = self.morphing
        return self.benchmark_weights @ np.column_stack([w, dw.T])

    def bins(self, axes):
        """Return the number of bins, and the bin of each event."""
        bins = Bins(tuple(Axis(name, np.array(edges)) for name, edges in axes.items()))
        names = self.information.store.observable_names
        return bins.size, bins.find_bins(self.x[:, [names.index(name) for name in axes]])

    def sums(self, index, n_bins, columns):
        """Return the sums of columns (n, k) in bins of all replicas, (n_replicas, n_bins, k)."""
        return np.stack([self.counts[:, index == i] @ columns[index == i] for i in range(n_bins)], axis=1)

    def histogram(self, axes):
        """Return the information in a histogram of all replicas, (n_replicas, 2, 2)."""
        n_bins, index = self.bins(axes)
        sums = self.sums(index, n_bins, self.columns)
        return LUMINOSITY * np.einsum("rki,rkj,rk->rij", sums[..., 1:], sums[..., 1:], 1.0 / sums[..., 0])

    def madminers(self, axes, sign=1.0):
        """Return MadMiner's covariance for a histogram, with its sign of the third term or another.

        The errors of the sums at the benchmarks are taken to be fully correlated.
        """
        w, dw = self.morphing
        n_bins, index = self.bins(axes)
        total = np.zeros((2, 2, 2, 2))
        for i in range(n_bins):
            inside = self.benchmark_weights[index == i]
            sums, errors = inside.sum(axis=0), np.sqrt((inside**2).sum(axis=0))
            sigma, g, of_g = w @ sums, dw @ sums, dw @ errors
            change = (np.outer(of_g, g) + np.outer(g, of_g)) / sigma + sign * np.outer(g, g) / sigma**2 * (w @ errors)
            total += LUMINOSITY**2 * np.multiply.outer(change, change)
        return total


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory):
    store = drellyan_store(tmp_path_factory.mktemp("store") / "events.zarr", DrellYan(), 4000)
    weights = np.concatenate([block.benchmark_weights for block in store.blocks()])
    counts = np.array([multiplicities(r, np.arange(len(weights))) for r in range(REPLICAS)], dtype=np.float64)
    information = FisherInformation(store, LUMINOSITY, partition="all")
    return Bootstrap(information, np.asarray(store.observables[:], dtype=np.float64), weights, counts)


def disagreement(replicas, covariance):
    r"""Return :math:`\chi^2` per degree of freedom between a covariance and that of replicas, and its p value.

    With S the covariance of R normal replicas, :math:`\sqrt{R - 1}\,(S^{-1/2} C S^{-1/2} - 1)` has entries of variance
    2 on the diagonal and 1 beside it, if C is right.
    """
    values, covariance = np.asarray(replicas), np.asarray(covariance)
    if values.ndim == 3:  # symmetric matrices: look at what does not repeat
        rows, columns = np.triu_indices(values.shape[1])
        values = values[:, rows, columns]
        covariance = covariance[rows, columns][:, rows, columns]
    measured = np.atleast_2d(np.cov(values.T))
    varies = np.diag(measured) > 1e-12 * np.diag(measured).max()
    measured, covariance = (np.atleast_2d(c)[np.ix_(varies, varies)] for c in (measured, covariance))
    whiten = np.linalg.inv(np.linalg.cholesky(measured))
    difference = whiten @ covariance @ whiten.T - np.eye(len(measured))
    dof = len(measured) * (len(measured) + 1) // 2
    statistic = (len(values) - 1) / 2 * np.square(difference).sum()
    return statistic / dof, stats.chi2.sf(statistic, dof)


def assert_right(replicas, covariance):
    statistic, p_value = disagreement(replicas, covariance)
    assert p_value > 1e-3, f"chi2 / dof = {statistic}"


def assert_wrong(replicas, covariance):
    statistic, _ = disagreement(replicas, covariance)
    assert statistic > 20.0


def test_the_test_finds_wrong_covariances():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(3, 3))
    replicas, right = rng.normal(size=(REPLICAS, 3)) @ root.T, root @ root.T
    assert_right(replicas, right)
    for wrong in (1.5 * right, np.diag(np.diag(right)), np.outer(*[np.sqrt(np.diag(right))] * 2)):
        assert disagreement(replicas, wrong)[1] < 1e-6


def test_truth(bootstrap):
    """One event gives I + I - I = I: MadMiner's plus makes it 3 I, and the covariance nine times too large."""
    sigma, g = bootstrap.columns[:, 0], bootstrap.columns[:, 1:]
    terms = LUMINOSITY * np.einsum("ni,nj,n->nij", g, g, 1.0 / sigma)
    replicas = (bootstrap.counts @ terms.reshape(-1, 4)).reshape(-1, 2, 2)
    ours = bootstrap.information.truth(THETA)
    np.testing.assert_allclose(ours.information, terms.sum(axis=0))
    assert_right(replicas, ours.covariance)
    w, dw = bootstrap.morphing
    events = bootstrap.benchmark_weights  # the error of one event is its weight
    first, second = (np.einsum(f"{i}b,n{j},n,nb->nij", dw, g, 1 / sigma, events) for i, j in ("ij", "ji"))
    third = np.einsum("b,ni,nj,n,nb->nij", w, g, g, sigma**-2, events)
    for sign, factor in ((1.0, 9.0), (-1.0, 1.0)):
        change = LUMINOSITY * (first + second + sign * third)
        covariance = np.einsum("nij,nkl->ijkl", change, change)
        np.testing.assert_allclose(covariance, factor * ours.covariance, atol=1e-9 * covariance.max())
    assert_wrong(replicas, 9.0 * ours.covariance)


@pytest.mark.parametrize("axes", HISTOGRAMS.values(), ids=HISTOGRAMS)
def test_histograms(bootstrap, axes):
    """MadMiner's formula fails, and fails with its sign mended, as it takes all correlations for 1."""
    ours = bootstrap.information
    found = ours.histogram(THETA, list(axes), list(axes.values())) if axes else ours.rate(THETA)
    replicas, kept = bootstrap.histogram(axes), slice(None)
    if not axes:  # g g / sigma has two independent entries, not three: those of its first row
        replicas, kept = replicas[:, 0], 0
    assert_right(replicas, found.covariance[kept, :, kept])
    for sign in (1.0, -1.0):
        assert_wrong(replicas, bootstrap.madminers(axes, sign)[kept, :, kept])


def test_profiles_and_projections(bootstrap):
    axes = HISTOGRAMS["1D"]
    found = bootstrap.information.histogram(THETA, list(axes), list(axes.values()))
    replicas = [Information(r, found.covariance, found.parameter_names) for r in bootstrap.histogram(axes)]
    profiled = found.profile(["c_ll"])
    for ours, how in ((profiled, "profile"), (found.project(["c_ll"]), "project")):
        assert_right([getattr(r, how)(["c_ll"]).information for r in replicas], ours.covariance)
    # The covariance of the entry itself does not do for the profiled one.
    without = disagreement([r.profile(["c_ll"]).information for r in replicas], found.project(["c_ll"]).covariance)
    assert without[1] < 1e-4


def test_cross_sections_and_their_gradients(bootstrap):
    """In bins, together with the gradients, and in total; MadMiner morphs the squared errors at the benchmarks."""
    axes = HISTOGRAMS["1D"]
    rates = bootstrap.information.binned_rates(THETA, list(axes), list(axes.values()))
    n_bins, index = bootstrap.bins(axes)
    replicas = bootstrap.sums(index, n_bins, bootstrap.columns)
    for i in range(n_bins):
        assert_right(replicas[:, i], rates.covariance[..., i])
    np.testing.assert_array_equal(rates.error, np.sqrt(rates.covariance[0, 0]))
    far, store = np.array([0.3, -0.4]), bootstrap.information.store
    w = store.setup.weights(far)[0]
    total = bootstrap.counts @ (bootstrap.benchmark_weights @ w)
    assert_right(total[:, None], [[store.xsec([far]).error[0] ** 2]])
    assert_wrong(total[:, None], [[max(w @ (bootstrap.benchmark_weights**2).sum(axis=0), 0.0)]])


def test_detector_and_slices(bootstrap):
    """The score of the observables in closed form; the edges of slices, as those of histograms, are given."""
    process = DrellYan()

    class Exact:
        parameter_names = ("c_ll", "c_lr")
        reference = THETA

        def score(self, x, *, names=None):
            return process.score(x, THETA, names=names)

    axes = HISTOGRAMS["1D"]
    sigma = bootstrap.columns[:, :1]
    t = process.score(bootstrap.x, THETA)
    products = (sigma * t)[:, :, None] * t[:, None, :]
    n_bins, index = bootstrap.bins(axes)
    columns = np.concatenate([bootstrap.columns, sigma * t, products.reshape(-1, 4)], axis=1)
    sums = bootstrap.sums(index, n_bins, columns)
    whole = sums.sum(axis=1)
    rate = LUMINOSITY * np.einsum("ri,rj,r->rij", whole[:, 1:3], whole[:, 1:3], 1.0 / whole[:, 0])
    shape = LUMINOSITY * whole[:, 5:].reshape(-1, 2, 2)
    information = bootstrap.information
    both, alone = (information.detector(THETA, Exact(), include_rate=include) for include in (True, False))
    assert_right(rate + shape, both.covariance)
    assert_right(shape, alone.covariance)
    assert_wrong(rate + shape, 3.0 * both.covariance)

    slices = information.distribution(THETA, list(axes), list(axes.values()), estimator=Exact())
    c = whole[:, 1:3] / whole[:, :1]
    mixed = np.einsum("rki,rj->rkij", sums[..., 3:5], c)
    full = sums[..., 5:].reshape(REPLICAS, n_bins, 2, 2) + mixed + mixed.swapaxes(2, 3)
    full = LUMINOSITY * (full + np.einsum("rk,ri,rj->rkij", sums[..., 0], c, c))
    truth = information.distribution(THETA, list(axes), list(axes.values()))
    g = bootstrap.columns[:, 1:]
    terms = LUMINOSITY * np.einsum("ni,nj->nij", g, g / sigma)
    true = bootstrap.sums(index, n_bins, terms.reshape(-1, 4)).reshape(-1, n_bins, 2, 2)
    in_bins = LUMINOSITY * np.einsum("rki,rkj,rk->rkij", sums[..., 1:3], sums[..., 1:3], 1.0 / sums[..., 0])
    for i in range(n_bins):
        assert_right(full[:, i], slices.full_covariance[i])
        assert_right(true[:, i], truth.full_covariance[i])
        assert_right(in_bins[:, i, 0], slices.rate_covariance[i, 0, :, 0])
        if (
            i < n_bins - 1
        ):  # as if grad log sigma did not depend on the number of events; far above, it is small beside t
            of_process = t[index == i] + bootstrap.columns[:, 1:].sum(axis=0) / sigma.sum()
            fixed = LUMINOSITY * np.einsum("nk,ni,nj->nij", sigma[index == i], of_process, of_process)
            assert_wrong(full[:, i], np.einsum("nij,nkl->ijkl", fixed, fixed))


def test_nuisance_parameters_in_slices(tmp_path):
    """Their gradient of the total is half the logarithm of the ratio of varied sums, which fluctuates too."""

    class Known:  # something like the score: sums do not ask whether it is right
        parameter_names, reference = ("theta", "tilt"), np.array([0.7, 0.0])

        def score(self, x, *, names=None):
            return np.column_stack([score(x[:, 0], 0.7) + 0.2 * x[:, 1], 0.4 * (x[:, 0] - 0.5) + np.sin(5.0 * x[:, 1])])

    store = analytic_store(tmp_path / "events.zarr", 1000, tilt=0.4)
    blocks = list(store.blocks())
    x = np.concatenate([block.x for block in blocks])
    weights = np.concatenate([block.weights([0.7])[0] for block in blocks])
    slopes = np.concatenate([block.weight_gradients([0.7])[0, 0] for block in blocks])
    varied = np.concatenate([block.nuisance_weights for block in blocks])
    t = Known().score(x)
    weighted = weights[:, None] * t
    products = (weighted[:, :, None] * t[:, None, :]).reshape(-1, 4)
    columns = np.column_stack([weights, slopes, varied, weighted, products])
    counts = np.array([multiplicities(r, np.arange(len(x))) for r in range(REPLICAS)], dtype=np.float64)
    edges = np.array([0.3, 0.6])
    index = np.searchsorted(edges, x[:, 0], side="right")
    sums = np.stack([counts[:, index == i] @ columns[index == i] for i in range(3)], axis=1)
    whole = sums.sum(axis=1)
    c = np.column_stack([whole[:, 1] / whole[:, 0], 0.5 * np.log(whole[:, 2] / whole[:, 3])])
    mixed = np.einsum("rki,rj->rkij", sums[..., 4:6], c)
    full = sums[..., 6:].reshape(-1, 3, 2, 2) + mixed + mixed.swapaxes(2, 3)
    full += np.einsum("rk,ri,rj->rkij", sums[..., 0], c, c)
    information = FisherInformation(store, 1.0, partition="all")
    slices = information.distribution([0.7], "x", edges, estimator=Known())
    np.testing.assert_allclose(slices.full, full.mean(axis=0), rtol=0.05, atol=2e-3)
    for i in range(3):
        assert_right(full[:, i], slices.full_covariance[i])
        assert_wrong(full[:, i], 2.0 * slices.full_covariance[i])
    detector = whole[:, 0, None, None] * c[:, :, None] * c[:, None, :] + whole[:, 6:].reshape(-1, 2, 2)
    assert_right(detector, information.detector([0.7], Known()).covariance)
