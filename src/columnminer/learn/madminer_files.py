"""The files of an estimator that MadMiner (0.9) has saved; nothing in them is believed before it was checked.

``<prefix>_settings.json``, ``<prefix>_state_dict.pt`` and arrays: ``<prefix>_x_means.npy``, ``_x_stds.npy``, the same
for theta where it was scaled, and ``_nuisance_project_matrix.npy``, ``_nuisance_profile_matrix.npy`` of a score. State
dicts are read with torch's ``weights_only``, which builds tensors and runs nothing; nowhere else is torch.load called.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from columnminer.errors import FileFormatError, did_you_mean
from columnminer.formats.npy import read_numbers
from columnminer.learn.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Layers", "SavedModel", "read_settings", "whole_number"]

Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Weight (in, out) and bias (out,) of each layer of a perceptron."""

_KINDS = ("parameterized_ratio", "double_parameterized_ratio", "score", "likelihood")

_ACTIVATIONS = {
    **{name: name for name in ("tanh", "relu", "lrelu", "rrelu", "elu", "selu", "softplus", "log_sigmoid")},
    "sigmoid": "relu",
}
"""MadMiner's name -> ours. Its "prelu" fails when it is evaluated."""


@dataclass(frozen=True)
class SavedModel:
    """One estimator as MadMiner has written it.

    Attributes
    ----------
    path : str
        Prefix of its files.
    kind : str
        MadMiner's name of it: "parameterized_ratio", "double_parameterized_ratio", "score" or "likelihood".
    n_features, n_parameters : int
        Numbers of inputs.
    hidden : tuple of int
        Widths of the hidden layers.
    features : list of int or None
        Columns of x that are the features; None: all.
    activation : str
        Our name of it.
    dropout : bool
        Whether there are layers of dropout.
    settings : dict
        All settings.
    tensors : dict
        State dict of the network.
    """

    path: str
    kind: str
    n_features: int
    n_parameters: int
    hidden: tuple[int, ...]
    features: list[int] | None
    activation: str
    dropout: bool
    settings: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def read(cls, path: str | Path) -> SavedModel:
        """Read settings and state dict.

        Raises
        ------
        FileFormatError
            If there is no model, it is damaged, or of a kind that is not known here.
        """
        file = f"{path}_settings.json"
        settings = read_settings(file)
        kind, function = str(settings.get("estimator_type")), str(settings.get("activation"))
        hidden, features, dropout = settings.get("n_hidden"), settings.get("features"), settings.get("dropout_prob", 0)
        features = None if features == "None" else features
        problem = None
        if kind not in _KINDS:
            problem = f"estimator_type {kind!r} is not known here.{did_you_mean(kind, _KINDS)}"
        elif "morphing_matrix" in settings:
            problem = "morphing-aware estimators are not imported: train a MorphingRatioEstimator"
        elif function not in _ACTIVATIONS:
            problem = f"MadMiner evaluates no activation {function!r}.{did_you_mean(function, _ACTIVATIONS)}"
        elif not _integers(hidden) or not hidden or min(hidden) < 1:
            problem = f"n_hidden is a list of widths of hidden layers, not {hidden!r}"
        elif features is not None and not _integers(features):
            problem = f"features is a list of columns of x, or null, not {features!r}"
        elif not isinstance(dropout, int | float):
            problem = f"dropout_prob is a probability, not {dropout!r}"
        if problem is not None:
            msg = f"{file}: {problem}"
            raise FileFormatError(msg)
        return cls(
            path=str(path),
            kind=kind,
            n_features=whole_number(settings, "n_observables", file),
            n_parameters=whole_number(settings, "n_parameters", file),
            hidden=tuple(hidden or ()),
            features=features,
            activation=_ACTIVATIONS[function],
            dropout=dropout > 1e-9,  # as MadMiner decides
            settings=settings,
            tensors=_state_dict(f"{path}_state_dict.pt"),
        )

    def expect(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Return the tensors in float32.

        Raises
        ------
        FileFormatError
            If there are others, or they have other shapes.
        """
        # MadMiner has the layers of the simple ratio twice, under two names.
        found = {name: tensor for name, tensor in self.tensors.items() if not name.startswith("append.")}
        wrong = sorted(shapes.keys() ^ found.keys()) or [name for name in shapes if found[name].shape != shapes[name]]
        if wrong:
            msg = f"{self.path}_state_dict.pt does not fit the settings beside it: see the tensor {wrong[0]!r}"
            raise FileFormatError(msg)
        return {name: tensor.float() for name, tensor in found.items()}

    def layers(self, n_in: int, n_out: int) -> Layers:
        """Return the layers of a perceptron with so many inputs and outputs.

        Raises
        ------
        FileFormatError
            If the state dict has others.
        """
        sizes = tuple(pairwise((n_in, *self.hidden, n_out)))
        names = [f"layers.{2 * i + 1 if self.dropout else i}" for i in range(len(sizes))]  # dropout is a layer there
        shapes: dict[str, tuple[int, ...]] = {}
        for name, (before, after) in zip(names, sizes, strict=True):
            shapes |= {f"{name}.weight": (after, before), f"{name}.bias": (after,)}
        tensors = self.expect(shapes)
        layers = [(tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]) for name in names]
        if not self.dropout:
            return layers
        # The activation is applied before every layer but the first, and dropout is one.
        return [
            step
            for w, b in layers
            for step in ((torch.eye(len(w), dtype=w.dtype), torch.zeros(len(w), dtype=w.dtype)), (w, b))
        ]

    def array(self, name: str) -> NDArray[np.float64] | None:
        """Return one of the arrays; None if it was not written.

        Raises
        ------
        FileFormatError
            If it is damaged.
        """
        file = Path(f"{self.path}_{name}.npy")
        if not file.exists():
            return None
        values = read_numbers(file).astype(np.float64)
        if not np.isfinite(values).all():
            msg = f"{file} holds numbers that are not finite"
            raise FileFormatError(msg)
        return values

    def scaling(self, name: str, n: int) -> Scaling | None:
        """Return the scaling of the n columns of "x" or "theta"; None if they are not scaled.

        Raises
        ------
        FileFormatError
            If it is damaged, or scales another number of columns.
        """
        mean, scale = self.array(f"{name}_means"), self.array(f"{name}_stds")
        if mean is None or scale is None:
            return None
        if name == "x" and not mean.any() and (scale == 1.0).all():
            return None  # so MadMiner writes that x was not scaled, with as many entries as there were events
        if mean.shape != (n,) or scale.shape != (n,) or (scale <= 0.0).any():
            msg = f"{self.path}_{name}_means.npy and _stds.npy scale {mean.size} columns, but {name} has {n}"
            raise FileFormatError(msg)
        return Scaling(mean, scale)


def read_settings(file: str) -> dict[str, Any]:
    """Return the settings in a JSON file.

    Raises
    ------
    FileFormatError
        If there are none.
    """
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{file}: no settings of MadMiner can be read here: {error}"
        raise FileFormatError(msg) from error
    if not isinstance(document, dict):
        msg = f"{file} holds no settings of MadMiner"
        raise FileFormatError(msg)
    return document


def whole_number(settings: Mapping[str, Any], name: str, file: str) -> int:
    """Return a positive integer among the settings.

    Raises
    ------
    FileFormatError
        If it is none.
    """
    value = settings.get(name)
    if type(value) is not int or value < 1:
        msg = f"{file}: {name} is a positive integer, not {value!r}"
        raise FileFormatError(msg)
    return value


def _state_dict(file: str) -> dict[str, Tensor]:
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        sound = isinstance(tensors, dict) and all(_plain(tensor) for tensor in tensors.values())
    except Exception as error:  # a damaged file fails in any way
        msg = f"{file}: no state dict can be read here: {error}"
        raise FileFormatError(msg) from error
    if not sound:
        msg = f"{file} holds something else than tensors of finite numbers"
        raise FileFormatError(msg)
    return {str(name): tensor for name, tensor in tensors.items()}


def _plain(tensor: object) -> bool:
    """Return whether this is a tensor of finite numbers, each with a place of its own in the file."""
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or not tensor.is_contiguous():
        return False
    return bool(tensor.isfinite().all())


def _integers(value: object) -> bool:
    return isinstance(value, list) and all(type(entry) is int for entry in value)
