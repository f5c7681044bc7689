"""Which stages an analysis has, and what each depends on.

    generate, setup -> events -> sampling/* -> estimators/* -> agreement/*, limits/*, information/*, fits/* -> report
                    observed ---------------------------------> observed_limits/*, observed_fits/*

Each is a folder of that name in the workspace. The options of a stage are those of its own part of the file, with seeds
filled in, so that a change elsewhere leaves its key as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from columnminer.pipeline import steps
from columnminer.pipeline.build import POINTS
from columnminer.pipeline.fits import fit_events
from columnminer.pipeline.learning import TUNING_EVENTS, Draws, compare, train
from columnminer.pipeline.stages import Stage
from columnminer.store.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from columnminer.pipeline.build import Ingredients
    from columnminer.pipeline.configuration import AnalysisConfig, InformationConfig, LimitsConfig
    from columnminer.pipeline.learning_configuration import SamplingKind
    from columnminer.pipeline.steps import Running

__all__ = ["Plan"]

_SHOWN_OBSERVABLES = 6
_SHOWN_POINTS = 4
_LEARNED_FROM = {
    "ratio": "ratios to one point",
    "double_ratio": "ratios between any two points",
    "local": "scores at one point",
    "density": "densities",
}


@dataclass(frozen=True)
class _Result:
    """One of the results that limits or information are made of.

    Attributes
    ----------
    name : str
        What the file calls it.
    what : object
        What it is made with: folder of an estimator, `steps.Binned`, `steps.Projected`, the exact likelihood, a word.
    options : mapping
        Its own part of the file.
    needs : tuple of Stage
        Estimators that it uses.
    """

    name: str
    what: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Stage, ...] = ()


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
        In an order in which each comes after what it needs; the report is not among them.
    """

    def __init__(self, config: AnalysisConfig, parts: Ingredients, folder: Path, running: Running) -> None:
        self.config = config
        self.parts = parts
        self.folder = folder
        self.running = running
        self.stages: list[Stage] = []
        self._draws: dict[str, Draws] = {}
        make = partial(steps.write_setup, setup=parts.setup)
        setup = self._add("setup", "write the set-up", make, {"setup": parts.setup.hash})
        events = self._plan_events(setup)
        seen = bool(parts.data) and not config.report.blind
        observed = self._plan_store("observed", "read the data", parts.data, [setup]) if seen else None
        estimators = self._plan_estimators(events, self._plan_sampling(events))
        self._plan_limits(events, observed, estimators)
        self._plan_information(events, estimators)
        self._plan_fits(events, observed, estimators)
        self._plan_overview(events)

    def _add(
        self,
        name: str,
        title: str,
        make: Callable[[Path], None],
        options: Mapping[str, Any],
        *,
        needs: Sequence[Stage] = (),
        files: Sequence[Path] = (),
    ) -> Stage:
        stage = Stage(name, title, make, options, tuple(needs), tuple(files))
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
        generate, generator = self.config.generate, self.parts.generator
        if generate is not None and generator is not None:
            seed, counts = self._seed(generate.drellyan.seed), generate.drellyan.events
            make = partial(steps.generate_events, generator=generator, counts=counts, seed=seed, running=self.running)
            options = {"drellyan": generate.drellyan.model_dump(mode="json"), "seed": seed}
            needs.append(self._add("generate", "generate events", make, options))
            folder = self.folder / needs[-1].name
            samples += [
                Sample(folder / steps.event_file(name), benchmark=name, shower=self.parts.shower) for name in counts
            ]
        return self._plan_store("events", "read events into a store", samples, needs)

    def _plan_store(self, name: str, title: str, samples: Sequence[Sample], needs: Sequence[Stage]) -> Stage:
        config, selection = self.config.process, self.parts.selection
        options = {**config.given(without=("variations",)), "seed": self._seed(config.seed)}
        varied = {} if samples and samples[0].data else self.parts.variations  # recorded events are what they are
        make = partial(
            steps.process_events,
            samples=samples,
            setup=self.parts.setup,
            selection=selection,
            options={**options, "variations": varied} if varied else options,
            running=self.running,
        )
        described = []
        for sample in samples:
            described.append(sample.described())
            described[-1]["files"] = [file.name for file in sample.files]
            if sample.weights_from:
                described[-1]["weights_from"] = [file.name for file in sample.weight_files if file]
        made_here = {self.folder / need.name for need in needs}
        files = [file for sample in samples for file in sample.files if file.parent not in made_here]
        files += [file for sample in samples for file in sample.weight_files if file]
        key = {**options, "selection": selection.to_dict(), "samples": described}
        if varied:
            key["variations"] = {name: [side.to_dict() for side in sides] for name, sides in varied.items()}
        return self._add(name, title, make, key, needs=needs, files=files)

    def _plan_sampling(self, events: Stage) -> dict[str, Stage]:
        stages: dict[str, Stage] = {}
        for name, points in self.parts.points.items():
            kind = cast("SamplingKind", name)
            config = getattr(self.config.sampling, kind)
            seed = {"seed": self._seed(config.seed)}
            options = {**config.given(without=POINTS), **seed}
            self._draws[kind] = draws = Draws(kind, self._store(events), points, options, self.running)
            key = {**config.given(), **seed}
            if kind == "ratio":
                key["theta1"] = points["theta1"]
            title = f"draw events for {_LEARNED_FROM[kind]}"
            stages[kind] = self._add(f"sampling/{kind}", title, draws.write, key, needs=[events])
        return stages

    def _plan_estimators(self, events: Stage, sampling: Mapping[str, Stage]) -> dict[str, Stage]:
        stages, exact = {}, self.parts.exact
        for name, config in self.config.estimators.items():
            stage, draws, seed = sampling[config.sampling], self._draws[config.sampling], self._seed(config.seed)
            make = partial(
                train,
                samples=self.folder / stage.name / steps.SAMPLES,
                config=config,
                seed=seed,
                draws=draws,
                running=self.running,
            )
            title = f"train {name} by {config.training_method.upper()}"
            title += "" if config.ensemble is None else f", {config.ensemble.n_members} times"
            key = {**config.given(), "seed": seed, "held_out": [TUNING_EVENTS, config.checks.n]}
            stages[name] = self._add(f"estimators/{name}", title, make, key, needs=[events, stage])
            if exact is not None:
                make = partial(
                    compare,
                    store=self._store(events),
                    estimator=self._estimator(stages[name]),
                    exact=exact,
                    prior=draws.prior,
                    seed=self.config.seed,
                    running=self.running,
                )
                title = f"compare {name} with the exact likelihood"
                key = {"seed": self.config.seed}
                self._add(f"agreement/{name}", title, make, key, needs=[events, stages[name]])
        return stages

    def _plan_limits(self, events: Stage, observed: Stage | None, estimators: Mapping[str, Stage]) -> None:
        config = self.config.limits
        if config is None:
            return
        seed = self._seed(config.seed)
        shared = {**config.given(without=("estimators", "histograms", "projections", "rate", "exact")), "seed": seed}
        find = partial(steps.find_limits, store=self._store(events), config=config, seed=seed, running=self.running)
        for result in self._results(config, estimators, ["rate"] if config.rate else []):
            make = partial(find, what=result.what)
            name, key, needs = result.name, {**shared, **result.options}, [events, *result.needs]
            self._add(f"limits/{name}", f"expected limits from {name}", make, key, needs=needs)
            if observed is not None:
                make = partial(make, observed=self._store(observed))
                needs = [*needs, observed]
                self._add(f"observed_limits/{name}", f"observed limits from {name}", make, key, needs=needs)

    def _plan_information(self, events: Stage, estimators: Mapping[str, Stage]) -> None:
        config = self.config.information
        if config is None:
            return
        shared = config.given(without=("estimators", "histograms", "truth", "rate", "exact"))
        find = partial(steps.find_information, store=self._store(events), config=config, running=self.running)
        simple = [name for name in ("truth", "rate") if getattr(config, name)]
        for result in self._results(config, estimators, simple):
            make = partial(find, what=result.what)
            key, needs = {**shared, **result.options}, [events, *result.needs]
            self._add(f"information/{result.name}", f"information from {result.name}", make, key, needs=needs)

    def _plan_fits(self, events: Stage, observed: Stage | None, estimators: Mapping[str, Stage]) -> None:
        for name, config in self.config.fits.items():
            learned = config.estimator or config.score
            needs = [events] if learned is None else [events, estimators[learned]]
            seed = self._seed(config.seed)
            make = partial(
                fit_events,
                store=self._store(events),
                estimator=None if learned is None else self._estimator(estimators[learned]),
                config=config,
                base=self.parts.base,
                seed=seed,
                device=self.running.device,
            )
            files = [self.parts.base / i.threshold for i in config.intervals if isinstance(i.threshold, str)]
            key = {**config.given(), "seed": seed}
            self._add(f"fits/{name}", f"fit {name} to Asimov data", make, key, needs=needs, files=files)
            if observed is not None:
                make, needs = partial(make, observed=self._store(observed)), [*needs, observed]
                self._add(f"observed_fits/{name}", f"fit {name} to the data", make, key, needs=needs, files=files)

    def _results(
        self, config: LimitsConfig | InformationConfig, estimators: Mapping[str, Stage], simple: Sequence[str]
    ) -> Iterator[_Result]:
        for name in config.estimators:
            yield _Result(name, self._estimator(estimators[name]), needs=(estimators[name],))
        for name, histogram in config.histograms.items():
            needs = () if histogram.score is None else (estimators[histogram.score],)
            what = self._estimator(needs[0]) if needs else histogram.observables
            further = histogram.given(without=("observables", "score", "bins"))
            yield _Result(name, steps.Binned(what, histogram.bins, further), histogram.given(), needs)
        for name, projection in getattr(config, "projections", {}).items():
            stage = estimators[projection.score]
            projected = steps.Projected(self._estimator(stage), projection.given(without=("score",)))
            yield _Result(name, projected, projection.given(), (stage,))
        for name in simple:
            yield _Result(name, name)
        if config.exact:
            yield _Result("exact", self.parts.exact)

    def _plan_overview(self, events: Stage) -> None:
        config, setup = self.config.report, self.parts.setup
        observables = list(config.observables or self.parts.selection.observable_names[:_SHOWN_OBSERVABLES])
        points = config.thetas or {name: name for name in setup.benchmark_names[:_SHOWN_POINTS]}
        thetas = {name: setup.theta(point).tolist() for name, point in points.items()}
        make = partial(steps.overview, store=self._store(events), thetas=thetas, observables=observables)
        key = {"thetas": thetas, "observables": observables}
        self._add("overview", "look through the events", make, key, needs=[events])
