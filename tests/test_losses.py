"""Every loss is smallest where its paper says: on distributions over a few x and z, whose expectations are sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from columnminer.errors import InputError
from columnminer.learn import losses

N_X, N_Z = 3, 4


@pytest.fixture
def tables():
    """p(x, z | theta0), p(x, z | theta1), and the joint score at theta0 for two parameters."""
    rng = np.random.default_rng(7)
    p0, p1 = rng.dirichlet(np.ones(N_X * N_Z), size=2).reshape(2, N_X, N_Z)
    t = rng.normal(size=(N_X, N_Z, 2))
    return p0, p1, t - (p0[..., None] * t).sum(axis=(0, 1))


def expectation(p0, p1, t):
    """All (x, z, y) as events with weights of mean 1, as tensors."""
    x = np.tile(np.repeat(np.arange(N_X), N_Z), 2)
    weight = np.concatenate([p0.ravel(), p1.ravel()])
    columns = {
        "y": np.repeat([0.0, 1.0], N_X * N_Z),
        "r_xz": np.tile((p0 / p1).ravel(), 2),
        "t_xz": np.tile(t.reshape(-1, 2), (2, 1)),
        "weight": weight / weight.mean(),
    }
    return torch.tensor(x), {name: torch.tensor(v) for name, v in columns.items()}


def ratio_loss(name, log_r, batch):
    if name == "cross_entropy":
        return losses.cross_entropy(log_r, batch["y"], batch["weight"])
    if name == "joint_cross_entropy":
        return losses.joint_cross_entropy(log_r, 1.0 / (1.0 + batch["r_xz"]), batch["weight"])
    return losses.ratio_error(log_r, torch.log(batch["r_xz"]), batch["y"], batch["weight"])


def minimise(function, start):
    parameters = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([parameters], max_iter=200, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = function(parameters)
        value.backward()
        return value

    optimiser.step(closure)
    return parameters.detach().numpy()


@pytest.mark.parametrize("name", ["cross_entropy", "joint_cross_entropy", "ratio_error"])
def test_ratio_losses_are_smallest_at_the_marginal_ratio(tables, name):
    p0, p1, t = tables
    x, batch = expectation(p0, p1, t)
    exact = np.log(p0.sum(axis=1) / p1.sum(axis=1))
    found = minimise(lambda log_r: ratio_loss(name, log_r[x], batch), torch.zeros(N_X, dtype=torch.float64))
    np.testing.assert_allclose(found, exact, atol=1e-5)

    swapped = batch | {"y": 1.0 - batch["y"], "r_xz": 1.0 / batch["r_xz"]}
    wrong = minimise(lambda log_r: ratio_loss(name, log_r[x], swapped), torch.zeros(N_X, dtype=torch.float64))
    assert np.abs(wrong - exact).max() > 0.1


def test_score_losses_are_smallest_at_the_marginal_score(tables):
    p0, p1, t = tables
    x, batch = expectation(p0, p1, t)
    exact = (p0[..., None] * t).sum(axis=1) / p0.sum(axis=1)[:, None]
    start = torch.zeros((N_X, 2), dtype=torch.float64)
    numerator = minimise(
        lambda s: losses.numerator_score_error(s[x], batch["t_xz"], batch["y"], batch["weight"]), start
    )
    np.testing.assert_allclose(numerator, exact, atol=1e-5)
    # Events of the denominator, taken along, would pull the score away.
    everything = minimise(lambda s: losses.score_error(s[x], batch["t_xz"], batch["weight"]), start)
    assert np.abs(everything - exact).max() > 0.01
    half = N_X * N_Z
    local = minimise(lambda s: losses.score_error(s[x[:half]], batch["t_xz"][:half], batch["weight"][:half]), start)
    np.testing.assert_allclose(local, exact, atol=1e-5)


def test_cross_entropy_is_that_of_its_definition_and_does_not_overflow():
    log_r = torch.tensor([-3.0, 0.2, 5.0], dtype=torch.float64)
    y = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    s = 1.0 / (1.0 + torch.exp(log_r))
    by_hand = -(y * torch.log(s) + (1 - y) * torch.log(1 - s)).mean()
    torch.testing.assert_close(losses.cross_entropy(log_r, y), by_hand)
    assert torch.isfinite(losses.cross_entropy(torch.tensor([1e4, -1e4]), torch.tensor([1.0, 0.0])))


def test_alice_has_the_mean_of_carl_and_a_smaller_variance(tables):
    """Over many small samples of the same events, with labels drawn anew: what ALICE is for (arXiv:1808.00973)."""
    p0, p1, _ = tables
    rng = np.random.default_rng(1)
    cells = rng.choice(N_X * N_Z, size=(1000, 50), p=((p0 + p1) / 2).ravel())
    s_xz = (p1 / (p0 + p1)).ravel()[cells]
    y = (rng.uniform(size=cells.shape) < s_xz).astype(float)
    log_r = torch.tensor(np.repeat([0.5, -0.3, 0.1], N_Z)[cells])
    carl = np.array([float(losses.cross_entropy(a, torch.tensor(b))) for a, b in zip(log_r, y, strict=True)])
    alice = np.array([float(losses.joint_cross_entropy(a, torch.tensor(b))) for a, b in zip(log_r, s_xz, strict=True)])
    assert abs(carl.mean() - alice.mean()) < 5 * carl.std() / np.sqrt(len(carl))
    assert alice.var() < 0.5 * carl.var()


def test_methods_are_found_by_name():
    assert losses.ratio_method("ALICES").uses_score
    assert losses.ratio_method("alices").gold == ("s_xz", "t_xz")
    with pytest.raises(InputError, match="Did you mean 'rascal'"):
        losses.ratio_method("rascall")
