"""Where a training stands after an epoch, in one file, so that it goes on after the process has died.

The file is a safetensors file: weights, best weights, the optimiser's state and the losses; its metadata say which
training it belongs to. It is replaced by a rename, so that a reader never sees half of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from columnminer.errors import FileFormatError, InputError
from columnminer.files import appearing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["Checkpoint"]


class Checkpoint:
    """The file in which a training keeps its state.

    Parameters
    ----------
    path
        File name.
    identity
        What the training is (options, seed, data): a file of another training is refused.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._identity = json.dumps(identity, sort_keys=True)

    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return self.path.exists()

    def save(
        self, network: nn.Module, optimiser: Optimizer, best: Mapping[str, Tensor], progress: dict[str, Any]
    ) -> None:
        """Write the state: weights, optimiser, best weights, and `progress` as JSON."""
        tensors = {f"network.{name}": t for name, t in network.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in best.items()}
        for number, entries in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": t for name, t in entries.items() if t is not None}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"identity": self._identity, "progress": json.dumps(progress)}
        with appearing(self.path) as new:
            save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, new, metadata)

    def load(self, network: nn.Module, optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Bring network and optimiser to the saved state; return the best weights and the `progress`.

        Raises
        ------
        FileFormatError
            If the file is no checkpoint.
        InputError
            If it belongs to another training.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, OSError) as error:
            msg = f"{self.path}: this is no checkpoint of a training: {error}"
            raise FileFormatError(msg) from error
        if metadata.get("identity") != self._identity:
            msg = f"{self.path}: this checkpoint belongs to another training; remove it, or name another file"
            raise InputError(msg)
        try:
            parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimiser": {}}
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            network.load_state_dict(parts["network"])
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in parts["optimiser"].items():
                number, _, entry = name.partition(".")
                state.setdefault(int(number), {})[entry] = tensor
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
            return parts["best"], json.loads(metadata["progress"])
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:  # all that torch raises
            msg = f"{self.path}: this checkpoint is damaged: {error}; remove it"
            raise FileFormatError(msg) from error

    def remove(self) -> None:
        """Remove the file: the training is finished."""
        self.path.unlink(missing_ok=True)
