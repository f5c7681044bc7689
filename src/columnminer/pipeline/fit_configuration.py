"""What an analysis file says of fits: likelihoods of the events, and what is asked of them; see `configuration`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from columnminer.documents import Section, misplaced
from columnminer.pipeline.event_configuration import (  # noqa: TC001 - pydantic looks at them
    Count,
    Name,
    OpenRange,
    Point,
    Positive,
    Text,
)
from columnminer.toys.saved import LikelihoodConfig

__all__ = [
    "CLsConfig",
    "DiscoveryConfig",
    "FitConfig",
    "FitOptionsConfig",
    "IntervalConfig",
    "WorkspaceConfig",
]

Level = Annotated[float, Field(gt=0, lt=1)]


class FitOptionsConfig(Section):
    """How fits are made; see `columnminer.fit`."""

    method: Literal["migrad", "simplex", "simplex_migrad"] = "migrad"
    strategy: Literal[0, 1, 2] = 1
    refits: Annotated[int, Field(ge=0)] = 4
    gradient: bool | None = None
    tolerance: Positive | None = None


class IntervalConfig(Section):
    """A confidence interval of one parameter, the others profiled; see `columnminer.confidence_interval`.

    `threshold` is a number, or a file of thresholds from toys.
    """

    parameter: Text
    level: Level = 0.9
    kind: Literal["central", "upper", "lower"] = "central"
    dof: Count = 1
    threshold: Positive | Text | None = None
    roots: Literal["nearest", "extremal"] = "nearest"
    bounds: OpenRange | None = None
    bound_best_fit: bool = False
    interval_args: dict[Text, float] = Field(default_factory=dict)
    best_fit_args: dict[Text, float] | None = None
    n_scan: Annotated[int, Field(ge=2)] = 50


class CLsConfig(Section):
    """An upper limit on a signal by CLs, from asymptotic formulae; see `columnminer.cls_limit`."""

    parameter: Text
    level: Level = 0.95
    test_statistic: Literal["qtilde", "q"] = "qtilde"
    no_signal: float = 0.0


class DiscoveryConfig(Section):
    """The significance of a signal, from asymptotic formulae; see `columnminer.discovery`."""

    parameter: Text
    no_signal: float = 0.0


class WorkspaceConfig(Section):
    """The likelihood of a histogram as a workspace of HistFactory; see `columnminer.to_workspace`."""

    theta: Point | None = None
    dependence: Literal["fixed", "linear", "polynomial"] = "fixed"
    channel: Text = "histogram"
    measurement: Text = "measurement"


class FitConfig(LikelihoodConfig):
    """A likelihood that is fitted, as `columnminer.fit` does, and what else is asked of it.

    `estimator` and `score` name estimators of the analysis. Data are Asimov data at `theta_true`, and recorded events,
    if there are some.
    """

    theta_true: Point
    estimator: Name | None = None
    score: Name | None = None
    start: dict[Text, float] | None = None
    fixed: dict[Text, float] = Field(default_factory=dict)
    options: FitOptionsConfig = FitOptionsConfig()
    intervals: tuple[IntervalConfig, ...] = ()
    cls: tuple[CLsConfig, ...] = ()
    discovery: tuple[DiscoveryConfig, ...] = ()
    workspace: WorkspaceConfig | None = None

    @model_validator(mode="after")
    def _workspace_of_a_histogram(self) -> FitConfig:
        if self.workspace is not None and not self.binned:
            msg = "a workspace is for histograms of observables, or of a score, which are missing"
            raise misplaced(msg, "workspace")
        return self
