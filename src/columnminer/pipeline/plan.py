"""Which stages an analysis has, and what each depends on.

    generate, setup -> events -> sampling/* -> estimators/* -> agreement/*, limits/*, information/* -> report
                    observed ---------------------------------> observed_limits/*

Each is a folder of that name in the workspace. The options of a stage are those of its own part of the file, with seeds
filled in, so that a change elsewhere leaves its key as it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from columnminer.pipeline import steps
from columnminer.pipeline.stages import Stage
from columnminer.store.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from columnminer.pipeline.build import Ingredients
    from columnminer.pipeline.configuration import AnalysisConfig, InformationConfig, LimitsConfig
    from columnminer.pipeline.steps import Running

__all__ = ["Plan"]

_SHOWN_OBSERVABLES = 6
_SHOWN_POINTS = 4


class Plan:
    """The stages of an analysis.

    Parameters
    ----------
    config
        What the file says.
    parts
        The objects that it describes.
    folder
        Of the workspace.
    running
        Where work runs.

    Attributes
    ----------
    stages : list of Stage
        In an order in which each comes after what it needs. The last one reviews the events (`overview`).
    """

    def __init__(self, config: AnalysisConfig, parts: Ingredients, folder: Path, running: Running) -> None:
        self.config = config
        self.parts = parts
        self.folder = folder
        self.running = running
        self.stages: list[Stage] = []
        setup = self._add("setup", "write the set-up", steps.write_setup, {"setup": parts.setup.hash}, value=parts.setup)
        events = self._plan_events(setup)
        observed = self._plan_store("observed", "read the data", parts.data, [setup]) if parts.data else None
        estimators = self._plan_estimators(events, self._plan_sampling(events))
        self._plan_limits(events, observed, estimators)
        self._plan_information(events, estimators)
        self._plan_overview(events)

    def _add(
        self,
        name: str,
        title: str,
        step: Callable[..., None],
        options: Mapping[str, Any],
        needs: Sequence[Stage] = (),
        files: Sequence[Path] = (),
        **arguments: Any,
    ) -> Stage:
        """Add a stage that calls ``step(folder, **arguments)``."""
        stage = Stage(name, title, partial(step, **arguments), options, tuple(needs), tuple(files))
        self.stages.append(stage)
        return stage

    def _seed(self, own: int | None) -> int:
        return self.config.seed if own is None else own

    def _store(self, stage: Stage) -> Path:
        return self.folder / stage.name / steps.STORE

    def _estimator(self, stage: Stage) -> Path:
        return self.folder / stage.name / steps.ESTIMATOR

    def _plan_events(self, setup: Stage) -> Stage:
        samples, needs = list(self.parts.samples), [setup]
        generate = self.config.generate
        if generate is not None:
            seed, counts = self._seed(generate.drellyan.seed), generate.drellyan.events
            generation = self._add(
                "generate",
                "generate events",
                steps.generate_events,
                {"drellyan": generate.drellyan.model_dump(mode="json"), "seed": seed},
                generator=self.parts.generator,
                counts=counts,
                seed=seed,
                running=self.running,
            )
            needs.append(generation)
            samples += [
                Sample(self.folder / generation.name / steps.event_file(name), benchmark=name) for name in counts
            ]
        return self._plan_store("events", "read events into a store", samples, needs)

    def _plan_store(self, name: str, title: str, samples: Sequence[Sample], needs: Sequence[Stage]) -> Stage:
        options = {**self.config.process.given(), "seed": self._seed(self.config.process.seed)}
        described = [
            {**{k: v for k, v in vars(sample).items() if k != "paths"}, "files": [p.name for p in sample.paths]}
            for sample in samples
        ]
        made = {self.folder / need.name for need in needs}
        return self._add(
            name,
            title,
            steps.process_events,
            {**options, "selection": self.parts.selection.to_dict(), "samples": described},
            needs,
            [path for sample in samples for path in sample.paths if path.parent not in made],
            samples=samples,
            setup=self.parts.setup,
            selection=self.parts.selection,
            options=options,
            running=self.running,
        )

    def _plan_sampling(self, events: Stage) -> dict[str, Stage]:
        stages, store = {}, self._store(events)
        if (ratio := self.config.sampling.ratio) is not None:
            options = {
                "theta1": self.parts.setup.reference,
                **ratio.given(without=("theta0",)),
                "seed": self._seed(ratio.seed),
            }
            stages["ratio"] = self._add(
                "sampling/ratio",
                "draw events with joint likelihood ratios",
                steps.draw_ratio,
                {**options, "theta0": ratio.theta0.given()},
                [events],
                store=store,
                theta0=self.parts.theta0,
                options=options,
            )
        if (local := self.config.sampling.local) is not None:
            options = {**local.given(), "seed": self._seed(local.seed)}
            stages["local"] = self._add(
                "sampling/local",
                "draw events with joint scores",
                steps.draw_local,
                options,
                [events],
                store=store,
                options=options,
            )
        return stages

    def _plan_estimators(self, events: Stage, sampling: Mapping[str, Stage]) -> dict[str, Stage]:
        stages = {}
        for name, config in self.config.estimators.items():
            draws = sampling[config.sampling]
            options = {**config.given(), "seed": self._seed(config.seed)}
            stages[name] = self._add(
                f"estimators/{name}",
                f"train {name} by {config.method.upper()}",
                steps.train,
                options,
                [draws],
                samples=self.folder / draws.name / steps.SAMPLES,
                options=options,
                running=self.running,
            )
        if self.parts.exact is not None:
            for name, trained in stages.items():
                self._add(
                    f"agreement/{name}",
                    f"compare {name} with the exact likelihood",
                    steps.compare,
                    {"seed": self.config.seed},
                    [events, trained],
                    store=self._store(events),
                    estimator=self._estimator(trained),
                    exact=self.parts.exact,
                    theta0=self.parts.theta0,
                    seed=self.config.seed,
                )
        return stages

    def _plan_limits(self, events: Stage, observed: Stage | None, estimators: Mapping[str, Stage]) -> None:
        config = self.config.limits
        if config is None:
            return
        shared = config.given(without=("estimators", "histograms", "rate", "exact"))
        for name, what, options, needs in self._analyses(config, estimators, [*(["rate"] if config.rate else [])]):
            arguments = {"store": self._store(events), "what": what, "config": config}
            self._add(
                f"limits/{name}",
                f"expected limits from {name}",
                steps.find_limits,
                {**shared, **options},
                [events, *needs],
                **arguments,
            )
            if observed is not None:
                self._add(
                    f"observed_limits/{name}",
                    f"observed limits from {name}",
                    steps.find_limits,
                    {**shared, **options},
                    [events, observed, *needs],
                    observed=self._store(observed),
                    **arguments,
                )

    def _plan_information(self, events: Stage, estimators: Mapping[str, Stage]) -> None:
        config = self.config.information
        if config is None:
            return
        simple = [name for name in ("truth", "rate") if getattr(config, name)]
        shared = config.given(without=("estimators", "histograms", "truth", "rate", "exact"))
        for name, what, options, needs in self._analyses(config, estimators, simple):
            self._add(
                f"information/{name}",
                f"information from {name}",
                steps.find_information,
                {**shared, **options},
                [events, *needs],
                store=self._store(events),
                what=what,
                config=config,
            )

    def _analyses(
        self, config: LimitsConfig | InformationConfig, estimators: Mapping[str, Stage], simple: Sequence[str]
    ) -> Iterator[tuple[str, Any, dict[str, Any], list[Stage]]]:
        """Yield, for each result that is asked for: its name, what it is made with, its own options, stages it needs."""
        for name in config.estimators:
            yield name, self._estimator(estimators[name]), {}, [estimators[name]]
        for name, histogram in config.histograms.items():
            needs = [] if histogram.score is None else [estimators[histogram.score]]
            what = histogram.observables if histogram.score is None else self._estimator(needs[0])
            yield name, steps.Binned(what, histogram.bins), histogram.given(), needs
        for name in simple:
            yield name, name, {}, []
        if config.exact:
            yield "exact", self.parts.exact, {}, []

    def _plan_overview(self, events: Stage) -> None:
        config, setup = self.config.report, self.parts.setup
        observables = config.observables or self.parts.selection.observable_names[:_SHOWN_OBSERVABLES]
        points = config.thetas or {name: name for name in setup.benchmark_names[:_SHOWN_POINTS]}
        thetas = {name: setup.theta(point).tolist() for name, point in points.items()}
        options = {"thetas": thetas, "observables": list(observables)}
        self._add(
            "overview",
            "look through the events",
            steps.overview,
            options,
            [events],
            store=self._store(events),
            thetas=thetas,
            observables=observables,
        )
