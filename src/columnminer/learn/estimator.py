"""What all estimators share: features by name, scaling, provenance, what they refuse, saving."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from columnminer.errors import FileFormatError, InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.learn.files import read_estimator, write_estimator
from columnminer.learn.fit import Fit, layer_sizes
from columnminer.learn.gold import pick_features
from columnminer.learn.loaders import TensorData
from columnminer.learn.networks import MLP
from columnminer.learn.options import TrainingOptions
from columnminer.learn.training import generator, train
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor, nn

    from columnminer.learn.history import History
    from columnminer.learn.progress import Progress
    from columnminer.learn.scaling import Scaling
    from columnminer.learn.training import Objective
    from columnminer.learn.verdicts import Check
    from columnminer.sample.samples import Samples
    from columnminer.store.eventstore import EventStore
    from columnminer.streams import Seed

__all__ = ["Estimator"]


class Estimator:
    """Base of the estimators: settings, what was learned (once fitted), and where it may be used.

    Parameters
    ----------
    hidden
        Widths of the hidden layers.
    activation, dropout
        See `networks.MLP`.
    features
        Names of the observables to learn from; None: all.
    scale_parameters
        Whether theta is scaled to mean 0 and standard deviation 1 as the features are (scores inversely).
    device
        "cpu", "cuda", or "auto": a GPU if there is one.
    """

    kinds: ClassVar[dict[str, type[Estimator]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Estimator.kinds[cls.__name__] = cls

    def __init__(
        self,
        hidden: Sequence[int] = (60, 60),
        *,
        activation: str = "tanh",
        dropout: float = 0.0,
        features: Sequence[str] | None = None,
        scale_parameters: bool = True,
        device: str = "auto",
    ) -> None:
        self.hidden = tuple(int(n) for n in hidden)
        self.activation = activation
        self.dropout = dropout
        self.features = None if features is None else tuple(features)
        self.scale_parameters = scale_parameters
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self._fit: Fit | None = None
        self._network(1, 1, seed=0)  # refuses bad settings now, not after sampling

    def __repr__(self) -> str:
        what = (
            "not fitted"
            if self._fit is None
            else f"{self.fitted.training['method']} on {', '.join(self.feature_names)}"
        )
        return f"{type(self).__name__}({self.hidden}, {what})"

    # What it is about --------------------------------------------------------------------------------------------

    @property
    def fitted(self) -> Fit:
        """What was learned.

        Raises
        ------
        MissingError
            If the estimator was neither fitted nor loaded.
        """
        if self._fit is None:
            msg = f"this {type(self).__name__} has learned nothing yet: call fit, or load_estimator"
            raise MissingError(msg)
        return self._fit

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the observables it takes, in order."""
        return self.fitted.feature_names

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta."""
        return self.fitted.parameter_names

    @property
    def reference(self) -> NDArray[np.float64]:
        """Denominator of the ratio, or the point of the score, (n_par,)."""
        return self.fitted.reference

    @property
    def store_hash(self) -> str:
        """Content hash of the event store that it was trained on."""
        return self.fitted.store_hash

    @property
    def partition(self) -> str:
        """Partition of that store."""
        return self.fitted.partition

    @property
    def history(self) -> History:
        """Losses by epoch."""
        return self.fitted.history

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the checks of what was learned found; empty if there were none since."""
        return self.fitted.checks

    def remember_checks(self, checks: tuple[Check, ...]) -> None:
        """Keep what `checks.check` found: it is saved with the estimator, and gone with the next training."""
        self._fit = replace(self.fitted, checks=checks)

    def check_store(self, store: EventStore, partition: str | slice, *, other_store: bool = False) -> None:
        """Refuse events on which this estimator has nothing to say, or would say too much.

        Parameters
        ----------
        store, partition
            The events to be evaluated.
        other_store
            Whether another store than the one it was trained on is fine (recorded data, for instance).

        Raises
        ------
        UnknownNameError
            If the store lacks a feature.
        InputError
            If its parameters are others, it is another store, or the events are those of the training.
        """
        for name in self.feature_names:
            if name not in store.observable_names:
                msg = f"the estimator needs the feature {name!r}, which {store.path} lacks."
                raise UnknownNameError(msg + did_you_mean(name, store.observable_names))
        theta = tuple(store.setup.parameter_names)
        further = self.parameter_names[len(theta) :]
        if self.parameter_names[: len(theta)] != theta or (further and further != store.nuisance_names):
            msg = (
                f"the estimator has the parameters {', '.join(self.parameter_names)}, but {store.path} has "
                f"{', '.join(theta)}"
            )
            raise InputError(msg)
        if store.hash != self.store_hash:
            if not other_store:
                msg = f"the estimator was trained on another store than {store.path}: allow it with other_store=True"
                raise InputError(msg)
        elif not isinstance(partition, str) or partition == self.partition or "all" in {partition, self.partition}:
            msg = (
                f"the estimator was trained on partition {self.partition!r} of {store.path}: evaluating it on "
                f"{partition!r} would count what it has memorised; use another partition"
            )
            raise InputError(msg)

    # Learning ----------------------------------------------------------------------------------------------------

    def _choose_features(self, samples: Samples) -> tuple[str, ...]:
        return tuple(samples.feature_names) if self.features is None else self.features

    def _network(self, n_in: int, n_out: int, seed: Seed) -> MLP:
        weights = generator(seed, "initial weights")
        network = MLP(n_in, n_out, self.hidden, activation=self.activation, dropout=self.dropout, generator=weights)
        return network.to(self.device)

    def _learn(
        self,
        samples: Samples,
        columns: Callable[[Samples], dict[str, NDArray[Any]]],
        network: nn.Module,
        objective: Objective,
        *,
        method: str,
        reference: NDArray[np.float64],
        features: tuple[str, ...],
        scalings: dict[str, Scaling],
        validation: Samples | None,
        limit: int | None,
        shuffle_labels: bool,
        seed: Seed,
        progress: Progress,
        checkpoint: str | Path | None,
        options: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        """Train the network on the columns of the samples, and remember what came out."""
        chosen = TrainingOptions.of(options)
        if limit is not None and limit < len(samples):
            few = np.random.default_rng(seed_sequence(seed, "limit")).choice(len(samples), limit, replace=False)
            samples = samples.take(np.sort(few))
        arrays = columns(samples)
        if shuffle_labels:
            order = np.random.default_rng(seed_sequence(seed, "shuffle")).permutation(len(samples))
            arrays |= {name: values[order] for name, values in arrays.items() if name != "inputs"}
        data = TensorData(arrays, self.device)
        if validation is None:
            data, judges = data.split(chosen.validation_fraction, generator(seed, "split"))
        else:
            judges = TensorData(columns(validation), self.device)
        history = train(
            network,
            objective,
            data,
            judges,
            chosen,
            seed=seed,
            progress=progress,
            title=f"{method.upper()} on {len(data)} events",
            checkpoint=checkpoint,
            identity={"method": method, **settings, "features": features, "store": samples.store_hash},
        )
        self._fit = Fit(
            feature_names=features,
            parameter_names=tuple(samples.parameter_names),
            reference=reference,
            store_hash=samples.store_hash,
            partition=samples.partition,
            training={"method": method, **settings, "n_events": len(data), **asdict(chosen)},
            network=network,
            scalings=scalings,
            history=history,
        )

    # What it can say; the kinds of estimators override what they can -----------------------------------------------

    def log_ratio(self, *args: Any, **options: Any) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the log likelihood ratio to the reference, where this kind of estimator has one.

        Raises
        ------
        MissingError
            If it has none.
        """
        raise MissingError(self._has_no("log_ratio"))

    def score(self, *args: Any, **options: Any) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the score, where this kind of estimator has one.

        Raises
        ------
        MissingError
            If it has none.
        """
        raise MissingError(self._has_no("score"))

    def _has_no(self, what: str) -> str:
        return f"a {type(self).__name__} has no {what}: another kind of estimator has"

    # Inputs ------------------------------------------------------------------------------------------------------

    def _scaled_x(self, x: ArrayLike, names: Sequence[str] | None) -> NDArray[np.float32]:
        """Return the scaled features of events, (n, n_features)."""
        return self.fitted.scalings["x"].apply(pick_features(np.asarray(x), names, self.feature_names))

    def _points(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return parameter points, (n_theta, n_par), from one point or several."""
        points = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        n_par = len(self.parameter_names)
        if points.ndim != 2 or points.shape[1] != n_par:
            msg = f"theta needs {n_par} columns ({', '.join(self.parameter_names)}), but has shape {np.shape(theta)}"
            raise InputError(msg)
        if not np.isfinite(points).all():
            msg = f"theta is not finite in point {int((~np.isfinite(points)).any(axis=1).argmax())}"
            raise InputError(msg)
        return points

    def _scaled_theta(self, theta: ArrayLike) -> NDArray[np.float32]:
        """Return scaled parameter points, (n_theta, n_par), from one point or several."""
        return self.fitted.scalings["theta"].apply(self._points(theta))

    def _tensor(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    # At rest -----------------------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        """Return the arguments that make an estimator like this one, but for the device, as JSON types."""
        return {
            "hidden": list(self.hidden),
            "activation": self.activation,
            "dropout": self.dropout,
            "features": None if self.features is None else list(self.features),
            "scale_parameters": self.scale_parameters,
        }

    def _saved_network(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:  # noqa: ARG002
        """Return a network of the shape that was saved."""
        sizes = layer_sizes(tensors)
        return self._network(sizes[0], sizes[-1], seed=0)

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write the estimator as a folder with estimator.json and weights.safetensors.

        Raises
        ------
        OutputExistsError
            If the folder is there, and is not to be replaced or holds something else.
        MissingError
            If nothing has been learned yet.
        """
        fit = self.fitted
        document = {"kind": type(self).__name__, "settings": self._settings(), **fit.document()}
        write_estimator(folder, document, fit.tensors(), replace=replace)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read an estimator from its folder.

        Raises
        ------
        FileFormatError
            If there is no estimator, it is damaged, or of another kind.
        """
        document, tensors = read_estimator(folder)
        kind = Estimator.kinds.get(str(document.get("kind")))
        if kind is None or not issubclass(kind, cls):
            msg = f"{folder} holds a {document.get('kind')!r}, not a {cls.__name__}"
            raise FileFormatError(msg)
        try:
            estimator = kind(**document["settings"], device=device)
            network = estimator._saved_network(document, tensors)  # noqa: SLF001 - one of our own
            estimator._fit = Fit.read(document, tensors, network)  # noqa: SLF001
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            msg = f"{folder}: the estimator is damaged: {error}"
            raise FileFormatError(msg) from error
        return estimator
