"""What all estimators share: features by name, scaling, provenance, what they refuse, saving."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch

from columnminer.errors import FileFormatError, InputError, MissingError, UnknownNameError, did_you_mean
from columnminer.learn.denominators import at_nominal
from columnminer.learn.files import read_estimator, write_estimator
from columnminer.learn.fit import Fit, layer_sizes
from columnminer.learn.gold import pick_features
from columnminer.learn.lesson import Lesson, learn
from columnminer.learn.loaders import generator
from columnminer.learn.networks import MLP
from columnminer.learn.onnx_export import onnx_model
from columnminer.learn.reach import warn_if_far

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor, nn

    from columnminer.learn.census import Census
    from columnminer.learn.history import History
    from columnminer.learn.information import Information
    from columnminer.learn.progress import Progress
    from columnminer.learn.verdicts import Check
    from columnminer.sample.samples import Samples
    from columnminer.store.eventstore import EventStore
    from columnminer.store.samplestore import SampleStore
    from columnminer.streams import Seed

__all__ = ["Estimator", "require_other_events"]


class Estimator(ABC):
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

    estimates: ClassVar[Literal["ratio", "double ratio", "score", "density"]]
    """What it is an estimate of: ratios to one reference point or between any two, scores at one point, densities."""

    default_method: ClassVar[str]

    training_defaults: ClassVar[Mapping[str, Any]] = {}
    """Options of the training that this kind has other defaults for than `TrainingOptions`."""

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

    @property
    def architecture(self) -> str:
        """What makes it like another: kind and settings. Estimators with the same are trained together."""
        return f"{type(self).__name__} {json.dumps(self._settings(), sort_keys=True)} {self.device}"

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
    def nuisance_names(self) -> tuple[str, ...]:
        """Which of the parameters are nuisances."""
        return self.fitted.nuisance_names

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
        require_other_events(self, store, partition, other_store=other_store)

    # Learning ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        samples: Samples | SampleStore,
        method: str | None = None,
        *,
        alpha: float = 1.0,
        validation: Samples | SampleStore | None = None,
        limit: int | None = None,
        shuffle_labels: bool = False,
        seed: Seed = 0,
        progress: Progress = False,
        checkpoint: str | Path | None = None,
        **options: Any,
    ) -> Self:
        """Learn from samples; see `losses` for the methods.

        Parameters
        ----------
        samples
            Output of `sample_ratio` for ratio estimators, `sample_double_ratio` for double ratios, `sample_local` for
            scores, `sample_density` for densities, in memory or stored. Stored ones that are larger than memory are
            streamed.
        method
            "carl", "rolr", "alice", "cascal", "rascal" or "alices" (the default) for ratios, "sally" (the default) or
            "sallino" for scores, "nde" or "scandal" (the default) for densities.
        alpha
            Weight of the score term in methods that have one, whose scores are taken in scaled parameters. Where theta
            changes the density little, a larger weight pays.
        validation
            Events that judge the epochs; None: a random `validation_fraction` of the samples.
        limit
            Use only so many events, chosen at random.
        shuffle_labels
            Give every event the labels and gold of another: log r must come out as 0, a density as independent of
            theta. A closure test.
        seed
            Of initial weights, split, order of the events and dropout.
        progress
            True: a bar on a terminal, log lines elsewhere; or a function of an `EpochReport`.
        checkpoint
            File to write after each epoch, and to go on from if it exists.
        **options
            Fields of `TrainingOptions`: epochs, batch_size, learning_rate, schedule, ...

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        InputError, UnknownNameError
            If an option, a label, a feature or the gold is not what it should be.
        MissingError
            If the samples lack what the method needs.
        """
        [self._fit] = self._learn(
            samples,
            method,
            seeds=[seed],
            alpha=alpha,
            validation=validation,
            limit=limit,
            shuffle_labels=shuffle_labels,
            progress=progress,
            checkpoint=checkpoint,
            options=options,
        )
        return self

    def _learn(
        self,
        samples: Samples | SampleStore,
        method: str | None,
        *,
        seeds: Sequence[Seed],
        alpha: float,
        options: Mapping[str, Any],
        **how: Any,
    ) -> list[Fit]:
        """Return what estimators with these settings learn, one for each seed."""
        name = (method or self.default_method).lower()

        def lesson(census: Census) -> Lesson:
            return self._lesson(census, name, alpha)

        chosen = {**self.training_defaults, **options}
        return learn(lesson, self.features, samples, name, device=self.device, seeds=seeds, options=chosen, **how)

    @abstractmethod
    def _lesson(self, census: Census, method: str, alpha: float) -> Lesson:
        """Return what there is to learn."""

    def _network(self, n_in: int, n_out: int, seed: Seed) -> MLP:
        weights = generator(seed, "initial weights")
        network = MLP(n_in, n_out, self.hidden, activation=self.activation, dropout=self.dropout, generator=weights)
        return network.to(self.device)

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

    def without_nuisances(
        self,
        nuisances: Literal["profile", "project"] = "profile",  # noqa: ARG002
        information: Information | None = None,  # noqa: ARG002
    ) -> Estimator:
        """Return an estimator of the score of the other parameters, where this kind of estimator gives one.

        Raises
        ------
        MissingError
            If it does not.
        """
        raise MissingError(self._has_no("score without nuisances"))

    def module(self) -> nn.Module:
        """Return what was learned as a torch module that is differentiable in theta and x; see `modules`."""
        return self._module(self.fitted).eval().to(self.device)

    def _module(self, fit: Fit) -> nn.Module:  # noqa: ARG002
        msg = f"a {type(self).__name__} cannot be had as a torch module"
        raise MissingError(msg)

    def _has_no(self, what: str) -> str:
        return f"a {type(self).__name__} has no {what}: another kind of estimator has"

    # Inputs ------------------------------------------------------------------------------------------------------

    def _scaled_x(self, x: ArrayLike, names: Sequence[str] | None) -> NDArray[np.float32]:
        """Return the scaled features of events, (n, n_features)."""
        return self.fitted.scalings["x"].apply(pick_features(np.asarray(x), names, self.feature_names))

    def _points(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return parameter points, (n_theta, n_par), from one point or several; without nuisances, these are 0."""
        points = at_nominal(np.atleast_2d(np.asarray(theta, dtype=np.float64)), self)
        n_par = len(self.parameter_names)
        if points.ndim != 2 or points.shape[1] != n_par:
            nuisances = ", ".join(self.nuisance_names)
            optional = f"; without {nuisances}, they are at 0" if nuisances else ""
            msg = f"theta needs {n_par} columns ({', '.join(self.parameter_names)}{optional}), but has shape "
            msg += f"{np.shape(theta)}"
            raise InputError(msg)
        if not np.isfinite(points).all():
            msg = f"theta is not finite in point {int((~np.isfinite(points)).any(axis=1).argmax())}"
            raise InputError(msg)
        warn_if_far(points, self.fitted.training, self.parameter_names, stacklevel=5)
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

    def save(self, folder: str | Path, *, replace: bool = False, onnx: bool = False) -> None:
        """Write the estimator as a folder with estimator.json and weights.safetensors.

        With `onnx` there is also model.onnx, see `export_onnx`, which is not read again.

        Raises
        ------
        OutputExistsError
            If the folder is there, and is not to be replaced or holds something else.
        MissingError
            If nothing has been learned yet, or the packages that write ONNX are not installed.
        """
        fit = self.fitted
        beside = {}
        if onnx:
            beside = {"model.onnx": onnx_model(self)}
        document = {"kind": type(self).__name__, "settings": self._settings(), **fit.document()}
        write_estimator(folder, document, fit.tensors(), replace=replace, beside=beside)

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
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            msg = f"{folder}: the estimator is damaged: {error}"
            raise FileFormatError(msg) from error
        return estimator


def require_other_events(trained: Any, store: EventStore, partition: str | slice, *, other_store: bool) -> None:
    """Refuse events that something was trained on, by its `store_hash` and `partition`; see `Estimator.check_store`.

    Raises
    ------
    InputError
        If the events are those of the training, or of another store without `other_store`.
    """
    if store.hash != trained.store_hash:
        if not other_store:
            msg = f"the estimator was trained on another store than {store.path}: allow it with other_store=True"
            raise InputError(msg)
    elif not isinstance(partition, str) or partition == trained.partition or "all" in {partition, trained.partition}:
        msg = (
            f"the estimator was trained on partition {trained.partition!r} of {store.path}: evaluating it on "
            f"{partition!r} would count what it has memorised; use another partition"
        )
        raise InputError(msg)
