"""Fitted estimators as ONNX graphs, for programs in other languages: scaling inside, names and facts with them.

The graph is that of `modules`, for pairs: features x (events, n_features) and parameter points (events, n_par), float32
and in their own units, give one output of as many rows. Numbers of events are free.

==============================================  ==========================  ==========================================
kind                                            inputs                      output
==============================================  ==========================  ==========================================
`RatioEstimator` and its polynomial kinds       ``x``, ``theta``            ``log_ratio`` (events)
`DoubleRatioEstimator`                          ``x``, ``theta0``,          ``log_ratio`` (events)
                                                ``theta1``
`ScoreEstimator`                                ``x``                       ``score`` (events, n_par)
`DensityEstimator`                              ``x``, ``theta``            ``log_density`` (events)
==============================================  ==========================  ==========================================

The metadata of the model says what these are: ``kind``, ``feature_names``, ``parameter_names`` and ``reference`` (both
JSON lists in the order of the columns), ``method``, ``store_hash`` and ``columnminer_version``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from columnminer._version import __version__
from columnminer.errors import MissingError
from columnminer.files import appearing
from columnminer.learn.modules import DensityModule, ScoreModule
from columnminer.store.commit import require_free

if TYPE_CHECKING:
    from collections.abc import Iterator

    from columnminer.learn.estimator import Estimator

__all__ = ["export_onnx", "onnx_model"]


def export_onnx(estimator: Estimator, path: str | Path, *, replace: bool = False) -> None:
    """Write what an estimator has learned as an ONNX file; see above for its inputs, output and metadata.

    Parameters
    ----------
    estimator
        Fitted, of any kind.
    path
        File to write.
    replace
        Whether a file that is there is overwritten.

    Raises
    ------
    MissingError
        If nothing has been learned yet, or the packages that write ONNX are not installed.
    OutputExistsError
        If the file is there, and is not to be replaced.

    Examples
    --------
    >>> cm.export_onnx(cm.load_estimator("alices"), "alices.onnx")
    """
    path = Path(path)
    require_free(path, replace=replace)
    model = onnx_model(estimator)
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as new:
        new.write_bytes(model)


def onnx_model(estimator: Estimator) -> bytes:
    """Return the ONNX model that `export_onnx` writes.

    Raises
    ------
    MissingError
        See `export_onnx`.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            msg = f"to write ONNX the package {package} is needed: pip install columnminer[onnx]"
            raise MissingError(msg)
    fit = estimator.fitted
    module = estimator.module().cpu()
    inputs = list(inspect.signature(module.forward).parameters)
    output = {ScoreModule: "score", DensityModule: "log_density"}.get(type(module), "log_ratio")
    events = torch.export.Dim("events")
    # Values do not matter to the export, but a number of events of 0 or 1 would be taken for a constant.
    example = {name: fit.scalings["x"].mean if name == "x" else fit.reference for name in inputs}
    with _quiet():
        program: Any = torch.onnx.export(
            module,
            tuple(torch.from_numpy(values).float().repeat(3, 1) for values in example.values()),
            input_names=inputs,
            output_names=[output],
            dynamic_shapes=tuple({0: events} for _ in inputs),
            dynamo=True,
            verbose=False,
        )
    program.model.metadata_props.update(
        kind=type(estimator).__name__,
        feature_names=json.dumps(fit.feature_names),
        parameter_names=json.dumps(fit.parameter_names),
        reference=json.dumps(fit.reference.tolist()),
        method=str(fit.training["method"]),
        store_hash=fit.store_hash,
        columnminer_version=__version__,
    )
    model: bytes = program.model_proto.SerializeToString()
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of its own insides, and of packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            # All inputs have the same number of events, as is meant.
            warnings.filterwarnings("ignore", "# The axis name: events will not be used", UserWarning)
            yield
    finally:
        logger.setLevel(level)
