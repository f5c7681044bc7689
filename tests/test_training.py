"""The training loop: batches, schedules, early stopping, determinism, checkpoints, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch

from columnminer.errors import ColumnMinerWarning, FileFormatError, InputError
from columnminer.learn.history import History
from columnminer.learn.loaders import TensorData, generator
from columnminer.learn.networks import MLP
from columnminer.learn.options import TrainingOptions
from columnminer.learn.training import evaluate, train

OPTIONS = TrainingOptions(epochs=4, batch_size=64)


def regression(n=1000, seed=0, noise=0.1):
    """Columns of y = sin(x0) + noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return TensorData({"inputs": x, "target": np.sin(x[:, 0]) + noise * rng.normal(size=n)})


class Fit:
    """A network and the squared error as its objective."""

    def __init__(self, seed=0, dropout=0.0):
        self.network = MLP(2, 1, (16,), dropout=dropout, generator=generator(seed, "weights"))

    def __call__(self, batch, noise):
        masks = self.network.dropout_masks(len(batch["inputs"]), noise)
        return {"error": (self.network(batch["inputs"], masks)[:, 0] - batch["target"]).square().mean()}

    def train(self, options=OPTIONS, seed=0, **keywords):
        [history] = train(self.network, self, regression(), regression(300, 1), options, seeds=[seed], **keywords)
        return history

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.network.parameters()]).numpy()


class StopHereError(Exception):
    """Cuts a training off."""


@pytest.mark.parametrize("optimiser", ["adam", "amsgrad", "adamw", "sgd", "nesterov"])
def test_every_optimiser_learns(optimiser):
    rate = 0.1 if optimiser in {"sgd", "nesterov"} else 0.03
    fit = Fit()
    options = dataclasses.replace(OPTIONS, epochs=20, optimiser=optimiser, learning_rate=rate)
    history = fit.train(options)
    assert history.validation_loss[-1] < 0.05 < history.validation_loss[0]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_training_is_repeated_by_its_seed_and_leaves_global_randomness_alone(dropout):
    before = torch.random.get_rng_state()
    first, second, other = Fit(dropout=dropout), Fit(dropout=dropout), Fit(dropout=dropout)
    histories = [first.train(seed=5), second.train(seed=5), other.train(seed=6)]
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first.weights(), second.weights())
    np.testing.assert_array_equal(histories[0].train_loss, histories[1].train_loss)
    assert (first.weights() != other.weights()).any()


def test_bits_do_not_depend_on_the_number_of_threads():
    threads = torch.get_num_threads()
    fits = [Fit(), Fit()]
    try:
        for fit, n in zip(fits, (1, 2), strict=True):
            torch.set_num_threads(n)
            fit.train()
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(fits[0].weights(), fits[1].weights())


@pytest.mark.parametrize("optimiser", ["adam", "nesterov"])
def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not(tmp_path, optimiser):
    options = dataclasses.replace(OPTIONS, optimiser=optimiser)
    whole, cut, resumed = Fit(dropout=0.1), Fit(dropout=0.1), Fit(dropout=0.1)
    expected = whole.train(options)
    file = tmp_path / "run" / "checkpoint.safetensors"

    def die(report):
        if report.epoch == 2:
            raise StopHereError

    with pytest.raises(StopHereError):
        cut.train(options, checkpoint=file, progress=die)
    epochs = []
    history = resumed.train(options, checkpoint=file, progress=lambda report: epochs.append(report.epoch))
    assert epochs == [3, 4]
    np.testing.assert_array_equal(resumed.weights(), whole.weights())
    np.testing.assert_array_equal(history.validation_loss, expected.validation_loss)
    assert not file.exists()


def test_checkpoints_of_other_trainings_and_other_files_are_refused(tmp_path):
    file = tmp_path / "checkpoint"

    def die(report):
        raise StopHereError

    with pytest.raises(StopHereError):
        Fit().train(checkpoint=file, progress=die)
    with pytest.raises(InputError, match="another training"):
        Fit().train(checkpoint=file, seed=1)
    file.write_bytes(b"nonsense")
    with pytest.raises(FileFormatError, match="no checkpoint"):
        Fit().train(checkpoint=file)


def test_early_stopping_keeps_the_best_weights_and_patience_ends():
    fit = Fit()
    overshoot = dataclasses.replace(OPTIONS, epochs=30, learning_rate=0.5, schedule="constant", patience=3)
    history = fit.train(overshoot)
    best = history.best_epoch
    assert history.validation_loss[best] == history.validation_loss.min()
    assert len(history.validation_loss) == best + 4 < 30
    loss = sum(evaluate(fit, regression(300, 1))[0].values())
    assert loss == pytest.approx(history.validation_loss[best], rel=1e-6)
    last = Fit().train(dataclasses.replace(overshoot, early_stopping=False, epochs=5))
    assert last.best_epoch == 4


def test_a_loss_that_is_not_finite_ends_the_training():
    data = regression(100)
    fit = Fit()
    calls = []

    def diverging(batch, noise):
        calls.append(0)
        return {"error": fit(batch, noise)["error"] * (1.0 if len(calls) < 5 else float("nan"))}

    options = dataclasses.replace(OPTIONS, batch_size=50)
    with pytest.warns(ColumnMinerWarning, match="not finite in epoch 2"):
        [history] = train(fit.network, diverging, data, data, options)
    assert len(history.train_loss) == 1
    assert np.isfinite(fit.weights()).all()
    with pytest.raises(InputError, match="not finite in epoch 1; lower learning_rate"):
        train(fit.network, diverging, data, data, options)


def test_clipping_bounds_the_step():
    options = dataclasses.replace(
        OPTIONS, optimiser="sgd", epochs=1, batch_size=1000, learning_rate=1.0, schedule="constant", clip_gradient=1e-3
    )
    fit = Fit()
    before = fit.weights()
    fit.train(options)
    assert np.linalg.norm(fit.weights() - before) == pytest.approx(1e-3, rel=1e-4)


def test_schedules():
    exponential = TrainingOptions(epochs=5, learning_rate=1e-3, schedule="exponential")
    np.testing.assert_allclose([exponential.rate(e, 0.0) for e in (0, 2, 4)], [1e-3, 1e-3 * 10**-0.5, 1e-4])
    cycle = TrainingOptions(epochs=5, learning_rate=0.01)
    rates = np.array([cycle.rate(0, f) for f in np.linspace(0.0, 1.0, 1001)])
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[300] == rates.max() == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(1e-6)
    assert (np.diff(rates[:301]) > 0).all()
    assert (np.diff(rates[301:]) < 0).all()
    assert TrainingOptions(schedule="constant", learning_rate=0.2).rate(3, 0.7) == 0.2


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("epochs", 0, "epochs must be positive"),
        ("learning_rate", float("nan"), "learning_rate must be positive"),
        ("validation_fraction", 1.0, "between 0 and 1"),
        ("optimiser", "adan", "Did you mean 'adam'"),
        ("schedule", "onecycle", "Did you mean 'one_cycle'"),
    ],
)
def test_bad_options_are_refused(option, value, message):
    with pytest.raises(InputError, match=message):
        TrainingOptions(**{option: value})


def test_progress_is_logged_where_there_is_no_terminal(caplog):
    with caplog.at_level(logging.INFO, logger="columnminer"):
        Fit().train(progress=True, title="toy")
    lines = [r.message for r in caplog.records if r.message.startswith("toy: epoch")]
    assert len(lines) == 4
    assert "validation loss" in lines[0]


def test_history_goes_through_json():
    history = Fit().train()
    again = History.from_dict(json.loads(json.dumps(history.to_dict())))
    np.testing.assert_array_equal(again.train_loss, history.train_loss)
    np.testing.assert_array_equal(again.validation_terms["error"], history.validation_loss)
    assert again.best_epoch == history.best_epoch
