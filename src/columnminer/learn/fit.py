"""What was learned, and from what: the part of an estimator that a training makes and that is saved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from columnminer.learn.history import History
from columnminer.learn.reach import Reach
from columnminer.learn.scaling import Scaling
from columnminer.learn.verdicts import Check
from columnminer.model.crosssection import CrossSectionPolynomial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from columnminer.learn.networks import MLP

__all__ = ["Fit", "layer_sizes"]


@dataclass(frozen=True)
class Fit:
    """What a training gave, and from what.

    Attributes
    ----------
    feature_names, parameter_names : tuple of str
        Inputs of the estimator.
    reference : numpy.ndarray
        (n_par,) denominator of the ratio, or the point of the score.
    store_hash, partition : str
        Events that it was trained on.
    training : dict
        Method, options, seed and number of events, as plain values.
    network : MLP or another module
        The trained network, on the estimator's device; which one, the kind of estimator knows.
    scalings : dict
        "x", "theta" or "score" -> Scaling.
    history : History
        Losses by epoch.
    checks : tuple of Check
        What `columnminer.learn.checks` found; empty if it was never asked.
    nuisance_names : tuple of str
        Which of the parameters are nuisances.
    """

    feature_names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    reference: NDArray[np.float64]
    store_hash: str
    partition: str
    training: dict[str, Any]
    network: MLP | Any
    scalings: dict[str, Scaling]
    history: History
    checks: tuple[Check, ...] = ()
    nuisance_names: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return all but the tensors as JSON types."""
        return {
            "feature_names": list(self.feature_names),
            "parameter_names": list(self.parameter_names),
            "nuisance_names": list(self.nuisance_names),
            "reference": self.reference.tolist(),
            "store_hash": self.store_hash,
            "partition": self.partition,
            "training": self.training,
            "history": self.history.to_dict(),
            "checks": [check.to_dict() for check in self.checks],
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return network and scalings as named tensors."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, scaling in self.scalings.items():
            tensors |= {f"scaling.{name}.{part}": torch.from_numpy(v) for part, v in asdict(scaling).items()}
        return tensors

    @classmethod
    def read(cls, document: Mapping[str, Any], tensors: Mapping[str, Tensor], network: nn.Module) -> Fit:
        """Return what `document` and `tensors` describe; the weights are written into the network.

        Raises
        ------
        KeyError, TypeError, ValueError, RuntimeError
            If something is missing, does not fit, or is not finite.
        """
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                msg = f"{name} holds numbers that are not finite"
                raise ValueError(msg)
        network.load_state_dict(_group(tensors, "network."))
        names = {name.split(".")[1] for name in tensors if name.startswith("scaling.")}
        scalings = {
            name: Scaling(**{part: v.numpy() for part, v in _group(tensors, f"scaling.{name}.").items()})
            for name in names
        }
        features, parameters = _names(document, "feature_names"), _names(document, "parameter_names")
        reference = np.array(document["reference"], dtype=np.float64)
        if reference.shape != (len(parameters),) or scalings["x"].mean.shape != (len(features),):
            msg = f"reference and scaling do not fit {len(parameters)} parameters and {len(features)} features"
            raise ValueError(msg)
        return cls(
            feature_names=features,
            parameter_names=parameters,
            reference=reference,
            store_hash=str(document["store_hash"]),
            partition=str(document["partition"]),
            training=_facts(document["training"], len(parameters)),
            network=network,
            scalings=scalings,
            history=History.from_dict(document["history"]),
            checks=tuple(Check.from_dict(check) for check in document.get("checks", ())),
            nuisance_names=_names({"nuisance_names": [], **document}, "nuisance_names"),
        )


def _names(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = document[key]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        msg = f"{key} are different names, not {names!r:.200}"
        raise ValueError(msg)
    return tuple(names)


def _facts(training: Any, n_parameters: int) -> dict[str, Any]:
    """Return the facts of a training, if those that are used again make sense."""
    facts: dict[str, Any] = {"method": str(training["method"]), **training}
    if facts.get("reach") is not None:
        reach = Reach.from_dict(facts["reach"])
        if {reach.low.shape, reach.high.shape} != {(n_parameters,)}:
            msg = f"the reach of the training is not one of {n_parameters} parameters"
            raise ValueError(msg)
    if facts.get("cross_section") is not None:
        CrossSectionPolynomial.from_dict(facts["cross_section"])
    return facts


def layer_sizes(tensors: Mapping[str, Tensor]) -> list[int]:
    """Return the numbers of inputs, hidden units and outputs of the network among the tensors."""
    weights = _group(tensors, "network.weights.")
    return [len(weights["0"]), *(weights[str(i)].shape[1] for i in range(len(weights)))]


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
