"""The perceptron's closed-form score and its training gradient, against torch's own automatic differentiation."""

from __future__ import annotations

import pytest
import torch

from columnminer.errors import InputError, UnknownNameError
from columnminer.learn.activations import ACTIVATIONS
from columnminer.learn.networks import MLP


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(activation: str = "tanh", hidden: tuple[int, ...] = (7, 5), dropout: float = 0.0) -> MLP:
    return MLP(4, 1, hidden, activation=activation, dropout=dropout, generator=generator()).double()


def inputs(n: int = 11) -> torch.Tensor:
    return torch.randn((n, 4), generator=generator(1), dtype=torch.float64)


def loss(value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Depends on value and gradient in a way that no term can cancel."""
    return (torch.sin(value) + 0.3 * value**2).sum() + (gradient**3 - gradient[:, :1]).sum()


def by_double_backward(net: MLP, z: torch.Tensor, n_gradient: int, masks=None) -> tuple[torch.Tensor, torch.Tensor]:
    z = z.detach().clone().requires_grad_()
    value = net(z, masks)[:, 0]
    (gradient,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    return value, gradient[:, :n_gradient]


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "prelu"])
@pytest.mark.parametrize("hidden", [(6,), (7, 5), (5, 4, 3)])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_value_gradient_and_training_gradient_equal_double_backward(activation, hidden, dropout):
    net = network(activation, hidden, dropout)
    masks = net.dropout_masks(11, generator(2))
    expected = by_double_backward(net, inputs(), 2, masks)
    found = net.value_and_gradient(inputs(), 2, masks)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-12)

    loss(*expected).backward()
    reference = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    loss(*found).backward()
    for p, r in zip(net.parameters(), reference, strict=True):
        torch.testing.assert_close(p.grad, r, rtol=1e-10, atol=1e-10)


def test_gradient_with_respect_to_the_inputs():
    net, z = network(), inputs().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: net.value_and_gradient(z, 3), (z,))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slope_and_bend_are_the_derivatives(activation):
    act = ACTIVATIONS[activation]
    a = torch.linspace(-3.05, 3.05, 41, dtype=torch.float64, requires_grad=True)
    h = act.value(a)
    (slope,) = torch.autograd.grad(h.sum(), a, create_graph=True)
    torch.testing.assert_close(act.slope(h), slope)
    if act.bend is not None:
        (curvature,) = torch.autograd.grad(slope.sum(), a)
        torch.testing.assert_close(act.bend(h) * slope, curvature)


def test_initial_weights_come_from_the_generator_alone():
    before = torch.random.get_rng_state()
    first, second, other = (MLP(4, 1, (9,), generator=generator(s)) for s in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.weights[0], second.weights[0])
    assert not torch.equal(first.weights[0], other.weights[0])
    assert float(first.weights[0].detach().abs().max()) <= 4**-0.5


def test_dropout_leaves_out_the_asked_fraction_and_keeps_the_mean():
    net = network(dropout=0.3)
    masks = net.dropout_masks(20_000, generator())
    assert masks is not None
    assert abs(float((masks[0] == 0).double().mean()) - 0.3) < 0.01
    assert abs(float(masks[0].mean()) - 1.0) < 0.02
    assert network().dropout_masks(10, generator()) is None


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="hidden layers"):
        MLP(2, 1, ())
    with pytest.raises(InputError, match="hidden layers"):
        MLP(2, 1, (10, 0))
    with pytest.raises(InputError, match="dropout"):
        MLP(2, 1, (10,), dropout=1.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'tanh'"):
        MLP(2, 1, (10,), activation="tahn")


@pytest.mark.parametrize("activation", ["tanh", "relu", "prelu"])
def test_stacked_networks_are_the_networks_side_by_side(activation):
    singles = [MLP(4, 1, (7, 5), activation=activation, dropout=0.3, generator=generator(i)).double() for i in range(3)]
    stacked = MLP.stacked(singles)
    z = torch.stack([inputs() + i for i in range(3)])
    masks = stacked.dropout_masks(11, [generator(10 + i) for i in range(3)])
    value, gradient = stacked.value_and_gradient(z, 2, masks)
    sum(loss(v, g) for v, g in zip(value, gradient, strict=True)).backward()
    for i, single in enumerate(singles):
        expected = single.value_and_gradient(z[i], 2, single.dropout_masks(11, generator(10 + i)))
        torch.testing.assert_close(value[i], expected[0])
        torch.testing.assert_close(gradient[i], expected[1])
        torch.testing.assert_close(stacked(z)[i], single(z[i]))
        loss(*expected).backward()
        for p, q in zip(stacked.parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(p.grad[i], q.grad)
    for again, single in zip(stacked.unstacked(), singles, strict=True):
        for p, q in zip(again.parameters(), single.parameters(), strict=True):
            assert torch.equal(p, q)
    assert stacked.members == 3
    assert singles[0].members is None


def test_the_leak_of_prelu_is_learned_for_each_layer():
    net = network("prelu")
    loss(*net.value_and_gradient(inputs(), 2)).backward()
    assert [float(leak.detach()) for leak in net.leaks] == [0.25, 0.25]
    assert all(float(leak.grad.abs()) > 0.0 for leak in net.leaks)


def test_the_default_precision_of_torch_does_not_matter():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        net = MLP(4, 1, (5,), activation="prelu", dropout=0.2, generator=generator())
        tensors = [*net.parameters(), *net.dropout_masks(3, generator())]
    finally:
        torch.set_default_dtype(before)
    assert {t.dtype for t in tensors} == {torch.float32}
