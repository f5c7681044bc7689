"""Estimators that MadMiner (0.9) has saved, as estimators of ours.

An imported estimator says what MadMiner's network has learned. These are the rules by which MadMiner evaluates it, as
they were measured, and what is done with them:

* "sigmoid" is a ReLU there, and kept so. With dropout, the activation acts on the inputs too, and twice on each hidden
  layer: kept so, by layers of unit weights (`hidden` of the imported estimator counts them).
* The double ratio is f(theta0, theta1, x) - f(theta1, theta0, x): kept so, as one network of twice the width.
* Double ratios and densities are trained on scaled parameters, but evaluated there without scaling the given ones. Here
  all parameters are given unscaled, as for every estimator.
* Densities there are per unit of the scaled features; here per unit of the features, as `DensityEstimator` has them.
* Running means of the batch normalisation in a flow are not saved: such a model is lost, and refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from columnminer.errors import FileFormatError, InputError
from columnminer.learn.ensembles import Ensemble
from columnminer.learn.fit import Fit
from columnminer.learn.history import History
from columnminer.learn.madminer_files import SavedModel, read_settings, whole_number
from columnminer.learn.madminer_flows import MadMinerDensityEstimator, masked_layers, masked_shapes
from columnminer.learn.madminer_origin import Origin
from columnminer.learn.networks import MLP
from columnminer.learn.ratios import DoubleRatioEstimator, RatioEstimator
from columnminer.learn.scaling import Scaling
from columnminer.learn.scores import ScoreEstimator, combined_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike
    from torch import Tensor, nn

    from columnminer.learn.estimator import Estimator
    from columnminer.learn.madminer_files import Layers
    from columnminer.model.setup import Setup, Theta
    from columnminer.store.eventstore import EventStore

__all__ = ["import_madminer_estimator"]


def import_madminer_estimator(
    path: str | Path,
    *,
    observable_names: Sequence[str] | None = None,
    parameter_names: Sequence[str] | None = None,
    reference: Theta | None = None,
    setup: Setup | None = None,
    store: EventStore | None = None,
    partition: str | None = None,
    nuisance: Literal["auto", "keep", "project", "profile"] = "auto",
    votes: ArrayLike | None = None,
    device: str = "auto",
) -> Estimator | Ensemble:
    """Return an estimator or ensemble that MadMiner has trained and saved.

    MadMiner's files have no names, no reference point and no word on the events: these come from here.

    Parameters
    ----------
    path
        The file name that was given to MadMiner's ``save`` (a prefix of files), or the folder of an ensemble.
    observable_names
        Names of all columns of the x that MadMiner was given, in order, also where it was to use a few of them. From
        `store` without it.
    parameter_names
        Names of the parameters in the order of theta, nuisance parameters last. Not needed with a `setup` or `store`.
    reference
        The fixed denominator theta1 of a ratio estimator, or the point of a score estimator: values, or what
        `Setup.theta` takes if there is a set-up. May be left out for double ratios and densities whose parameters were
        scaled: it is then the mean of the points of the training.
    setup
        The set-up of the training; that of `store` without it.
    store
        The events of the training, from `import_madminer`. Without it, the estimator belongs to no store, and wherever
        it is applied to one, `other_store=True` must allow that.
    partition
        The part of `store` that MadMiner was trained on: "train" if its events were imported with
        ``partition="in_order"``, else "all".
    nuisance
        Score estimators on which ``set_nuisance`` was called: "keep" all components, "project" to the parameters of
        interest, or "profile" the others; "auto": what MadMiner has by default there.
    votes
        Weight of each member of an ensemble, which MadMiner does not save; None: all alike.
    device
        See `Estimator`.

    Raises
    ------
    FileFormatError
        If there is no such model, it is damaged, nobody could evaluate it (batch normalisation), or it is
        morphing-aware.
    InputError, UnknownNameError
        If what MadMiner does not save is not given, or does not fit.

    Examples
    --------
    >>> estimator = cm.import_madminer_estimator(
    ...     "models/ratio", observable_names=("pt", "phi", "eta"), parameter_names=("cg", "cu"), reference=[0.0, 0.0]
    ... )
    >>> estimator.log_ratio([[1.0, 0.0, 0.5]], [1.0, 0.0], pairing="grid").shape
    (1, 1)
    """
    origin = Origin.of(
        observables=observable_names,
        parameters=parameter_names,
        reference=reference,
        setup=setup,
        store=store,
        partition=partition,
    )
    if not Path(path).is_dir():
        if votes is not None:
            msg = f"{path} is no folder of an ensemble: votes are for the members of one"
            raise InputError(msg)
        return _estimator(SavedModel.read(path), origin, nuisance, device)
    file = f"{path}/ensemble.json"
    settings = read_settings(file)
    members = [SavedModel.read(f"{path}/estimator_{i}") for i in range(whole_number(settings, "n_estimators", file))]
    kinds = {str(settings.get("estimator_type")), *(member.kind for member in members)}
    if len(kinds) > 1:
        msg = f"{file}: an ensemble has members of one kind, not {', '.join(sorted(kinds))}"
        raise FileFormatError(msg)
    return Ensemble([_estimator(member, origin, nuisance, device) for member in members], votes)


def _estimator(saved: SavedModel, origin: Origin, nuisance: str, device: str) -> Estimator:
    """Return the estimator of ours that says what MadMiner's does."""
    columns, names = origin.columns(saved), origin.parameter_names(saved)
    features = tuple(origin.observables[i] for i in columns)
    x = saved.scaling("x", len(origin.observables))
    scalings = {"x": Scaling.none(len(columns)) if x is None else Scaling(x.mean[columns], x.scale[columns])}
    theta = None if saved.kind == "score" else saved.scaling("theta", len(names))
    settings: dict[str, Any] = {
        "activation": saved.activation,
        "features": features,
        "scale_parameters": theta is not None,
        "device": device,
    }
    estimator: Estimator
    network: nn.Module
    nuisances = tuple(name for name in origin.nuisances if name in names)
    if saved.kind == "score":
        project = saved.array("nuisance_project_matrix")
        if project is not None and project.ndim == 2 and project.shape[1] == len(names):
            nuisances = tuple(name for name, kept in zip(names, np.abs(project).sum(axis=0), strict=True) if not kept)
        reference, scalings["score"] = origin.point(saved, None), Scaling.none(len(names))
        layers = saved.layers(saved.n_features, saved.n_parameters)
        estimator, network = ScoreEstimator(_widths(layers), **settings), _perceptron(layers, saved.activation)
    else:
        scalings["theta"] = theta or Scaling.none(len(names))
        free = theta is not None and saved.kind != "parameterized_ratio"
        reference = origin.point(saved, scalings["theta"].mean if free else None)
        estimator, network = _CONDITIONAL[saved.kind](saved, settings)
    nothing = np.empty(0)
    estimator._fit = Fit(  # noqa: SLF001 - one of our own
        feature_names=features,
        parameter_names=names,
        reference=reference,
        store_hash=origin.store_hash,
        partition=origin.partition,
        training={"method": "import from MadMiner", "settings": saved.settings},
        network=network.to(estimator.device),
        scalings=scalings,
        history=History(nothing, nothing, {}, {}, nothing, best_epoch=0, seconds=0.0),
        nuisance_names=nuisances,
    )
    return _kept_scores(saved, estimator, nuisance) if isinstance(estimator, ScoreEstimator) else estimator


def _kept_scores(saved: SavedModel, estimator: ScoreEstimator, nuisance: str) -> ScoreEstimator:
    """Return the estimator of the scores that are asked for, with the matrices that MadMiner has saved."""
    if nuisance not in {"auto", "keep", "project", "profile"}:
        msg = f"nuisance is 'auto', 'keep', 'project' or 'profile', not {nuisance!r}"
        raise InputError(msg)
    mode = str(saved.settings.get("nuisance_mode_default", "keep")) if nuisance == "auto" else nuisance
    n = saved.n_parameters
    if mode not in {"keep", "project", "profile"}:
        msg = f"{saved.path}_settings.json: nuisance_mode_default {mode!r} is not known here"
        raise FileFormatError(msg)
    if mode == "keep":
        return estimator
    project, matrix = saved.array("nuisance_project_matrix"), saved.array(f"nuisance_{mode}_matrix")
    if project is None or matrix is None:
        msg = f"{saved.path}: nuisance={mode!r}, but MadMiner was not told what is of interest (set_nuisance)"
        raise InputError(msg)
    if project.ndim != 2 or project.shape[1] != n or matrix.shape != project.shape:
        msg = f"{saved.path}: the nuisance matrices are not for {n} parameters"
        raise FileFormatError(msg)
    return combined_scores(estimator, matrix, [int(i) for i in project.argmax(axis=1)])


def _ratio(saved: SavedModel, settings: dict[str, Any]) -> tuple[Estimator, nn.Module]:
    layers = saved.layers(saved.n_parameters + saved.n_features, 1)
    return RatioEstimator(_widths(layers), **settings), _perceptron(layers, saved.activation)


def _double_ratio(saved: SavedModel, settings: dict[str, Any]) -> tuple[Estimator, nn.Module]:
    """Put f(theta0, theta1, x) and f(theta1, theta0, x) side by side; the last layer takes the difference."""
    n = saved.n_parameters
    (weight, bias), *middle, (last, _) = saved.layers(2 * n + saved.n_features, 1)
    exchanged = torch.cat((weight[n : 2 * n], weight[:n], weight[2 * n :]))
    layers = [
        (torch.cat((weight, exchanged), dim=1), torch.cat((bias, bias))),
        *((_twice(w), torch.cat((b, b))) for w, b in middle),
        (torch.cat((last, -last)), torch.zeros(1, dtype=last.dtype)),
    ]
    return DoubleRatioEstimator(_widths(layers), **settings), _perceptron(layers, saved.activation)


def _twice(weight: Tensor) -> Tensor:
    """Return the weights of two layers side by side that share no units."""
    nothing = torch.zeros_like(weight)
    return torch.cat((torch.cat((weight, nothing), dim=1), torch.cat((nothing, weight), dim=1)))


def _density(saved: SavedModel, settings: dict[str, Any]) -> tuple[Estimator, nn.Module]:
    file = f"{saved.path}_settings.json"
    n_mades, n_components = (whole_number(saved.settings, name, file) for name in ("n_mades", "n_components"))
    problem = None
    if saved.settings.get("batch_norm") not in (None, "None"):
        problem = (
            "MadMiner does not save the means and variances of its batch normalisation, so that nobody can evaluate "
            "this model: train it without"
        )
    elif n_components > 1 and saved.n_features == 1:
        problem = "with a single feature MadMiner's mixture pairs every event with all others: it is no density"
    elif n_mades > len(saved.tensors):
        problem = f"n_mades is {n_mades}, but the state dict has {len(saved.tensors)} tensors"
    if problem is not None:
        msg = f"{file}: {problem}"
        raise FileFormatError(msg)
    tensors = saved.expect(masked_shapes(saved.n_features, saved.n_parameters, saved.hidden, n_mades, n_components))
    estimator = MadMinerDensityEstimator(
        saved.hidden,
        base="mixture" if n_components > 1 else "gaussian",
        n_transforms=n_mades,
        n_components=n_components,
        **settings,
    )
    flow = estimator.masked_flow(saved.n_features, saved.n_parameters)
    mades = masked_layers(tensors, saved.n_features, saved.hidden, n_mades, n_components)
    for made, layers in zip(flow.mades, mades, strict=True):
        made.load_state_dict(_parameters(layers))
    return estimator, flow


_CONDITIONAL: dict[str, Callable[[SavedModel, dict[str, Any]], tuple[Estimator, nn.Module]]] = {
    "parameterized_ratio": _ratio,
    "double_parameterized_ratio": _double_ratio,
    "likelihood": _density,
}
"""MadMiner's name of a kind that takes theta -> what makes estimator and network."""


def _widths(layers: Layers) -> list[int]:
    return [len(bias) for _, bias in layers[:-1]]


def _parameters(layers: Layers) -> dict[str, Tensor]:
    """Return layers by the names that they have in an `MLP`."""
    weights = {f"weights.{i}": weight for i, (weight, _) in enumerate(layers)}
    return weights | {f"biases.{i}": bias for i, (_, bias) in enumerate(layers)}


def _perceptron(layers: Layers, activation: str) -> MLP:
    n_in, n_out = len(layers[0][0]), len(layers[-1][1])
    network = MLP(n_in, n_out, _widths(layers), activation=activation, generator=torch.Generator())
    network.load_state_dict(_parameters(layers))
    return network
