"""Events from MadGraph5_aMC@NLO: cards in, LHE files (and, with Pythia 8, HepMC files) out.

=====================================  ===========================================================================
`MadGraph.run`                         one set of cards, sampled at one benchmark
`MadGraph.run_multiple`                several run cards and sampling benchmarks, side by side on request
`MadGraph.reweight_existing_sample`    weights at benchmarks for events that are there
=====================================  ===========================================================================

Below the folder of a process lie the events (``Events/run_01/unweighted_events.lhe.gz`` and so on), and in
``columnminer/`` the cards, the scripts that do the work (`madgraph_scripts`), and the process folder, of which each run
takes a copy. Calling again does what is missing.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columnminer.errors import (
    ColumnMinerWarning,
    InputError,
    UnknownNameError,
    did_you_mean,
)
from columnminer.formats.lhe import LHEReader
from columnminer.generate.cards import (
    LARGEST_SEED,
    ORDERS,
    launch_commands,
    param_card,
    process_commands,
    require_harmless,
    reweight_card,
    run_card,
)
from columnminer.generate.madgraph_files import EVENT_FILES, PlannedRun, prepare, write_cards, write_script
from columnminer.generate.madgraph_runs import Execution, GeneratedEvents, add_weights, generate, look, make_process
from columnminer.generate.madgraph_scripts import OURS, Scripts
from columnminer.model.checks import choice
from columnminer.run.tasks import run_tasks
from columnminer.streams import seed_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distributed import Client

    from columnminer.generate.madgraph_runs import GeneratedRun
    from columnminer.model.parameters import Benchmark
    from columnminer.model.setup import Setup
    from columnminer.model.systematics import Systematic
    from columnminer.streams import Seed

__all__ = ["MadGraph"]

FilePath = str | os.PathLike[str]

_PLAIN = re.compile(r"[A-Za-z0-9_./+@%:=,~-]+")
_PROGRAMS = {"LO": "madevent", "NLO": "aMCatNLO"}
_DIFFER_WITHIN_A_SAMPLE = ("nevents", "iseed", "run_tag")


@dataclass(frozen=True)
class MadGraph:
    """MadGraph5_aMC@NLO, where it is and how it is started.

    Parameters
    ----------
    directory
        Its folder, which has ``bin/mg5_aMC`` in it.
    setup
        Parameters (each with its `lha`), benchmarks and systematics.
    python_executable
        Python that runs it, where the one that its programs name would not do. Its folder also goes first on the PATH.
    initial_command
        Shell command that goes before it, to set up an environment. It is written into the scripts as it is.
    log_directory
        Where its output goes, one file for each run; None: ``columnminer/logs`` in the folder of the process.
    temp_directory
        Where it works; None: what the system has for temporary files.
    timeout
        Seconds that making the process, and each run, may take; None: as long as they like.

    Raises
    ------
    InputError
        If a folder that MadGraph works with has characters in its path that its scripts cannot cope with.
    """

    directory: FilePath
    setup: Setup
    python_executable: FilePath | None = None
    initial_command: str | None = None
    log_directory: FilePath | None = None
    temp_directory: FilePath | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        # MadGraph hands these paths to shells itself.
        for what, path in {"MadGraph": self.directory, "temporary files": self._temporary}.items():
            if not _PLAIN.fullmatch(str(Path(path).absolute())):
                msg = (
                    f"the path of the folder of {what}, {path}, may have letters, digits and _ . / + @ % : = , ~ - only"
                )
                raise InputError(msg)

    def run(
        self,
        proc_card_file: FilePath,
        param_card_template_file: FilePath,
        run_card_file: FilePath | None = None,
        *,
        sample_benchmark: str | None = None,
        **options: Any,
    ) -> GeneratedEvents:
        """Generate events at one benchmark (None: the reference) with one run card.

        All else, the other options among it, is as in `run_multiple`.
        """
        names = [self.setup.reference if sample_benchmark is None else sample_benchmark]
        return self.run_multiple(
            proc_card_file, param_card_template_file, [run_card_file], sample_benchmarks=names, **options
        )

    def run_multiple(
        self,
        proc_card_file: FilePath,
        param_card_template_file: FilePath,
        run_card_files: Sequence[FilePath | None],
        *,
        sample_benchmarks: Sequence[str] | None = None,
        mg_process_directory: FilePath = "MG_process",
        pythia8_card_file: FilePath | None = None,
        configuration_file: FilePath | None = None,
        is_background: bool = False,
        only_prepare_script: bool = False,
        ufo_model_directory: FilePath | None = None,
        systematics: Sequence[str] | None = None,
        order: str = "LO",
        n_events: int | None = None,
        seed: Seed | None = None,
        client: Client | None = None,
        workers: int = 1,
        progress: bool = True,
    ) -> GeneratedEvents:
        """Generate events with each of the run cards at each of the sampling benchmarks.

        Runs that are finished, with the same cards, are kept.

        Parameters
        ----------
        proc_card_file
            Process card: the commands that define the process, without ``output`` and ``launch``.
        param_card_template_file
            A param card of the model, where the values of the parameters are filled in.
        run_card_files
            Run cards; None takes MadGraph's own.
        sample_benchmarks
            Names of the benchmarks at which events are sampled. None: all, and for backgrounds the reference.
        mg_process_directory
            Where everything goes.
        pythia8_card_file
            Card of Pythia 8 (at NLO, the shower card), which then showers the events; None: no shower.
        configuration_file
            me5_configuration card; None: that of the process folder.
        is_background
            Whether the process does not depend on the parameters: such events are not reweighted.
        only_prepare_script
            Whether to write cards and scripts only. Neither MadGraph nor its folder is needed then.
        ufo_model_directory
            Model that MadGraph does not have. It is copied to the folder of the process, and nowhere else.
        systematics
            Names of the systematics of the set-up that act on these events; None: all. Run cards ask for the weights
            of scales and parton densities that these need.
        order
            "LO" or "NLO".
        n_events, seed
            Instead of what the run cards say; with `seed` each run gets one of its own.
        client, workers
            Where the runs go on, as in `run_tasks`. Each of them uses as many cores as the configuration says.
        progress
            Whether to show how far the runs are.

        Raises
        ------
        InputError, UnknownNameError
            If a card cannot be read or does not fit, or an option is not known.
        OutputExistsError
            If the folder holds another process, or other events under the name of a run.
        GeneratorError
            If MadGraph fails, dies or takes too long, with the lines of its log that say why; with several runs, a
            TaskError after the others have finished.

        Warns
        -----
        ColumnMinerWarning
            If MadGraph made fewer events than asked for.
        """
        choice(order, ORDERS, "order")
        root = Path(mg_process_directory).absolute()
        commands = "\n".join(process_commands(_text(proc_card_file), str(proc_card_file)))
        names = self._sampling(sample_benchmarks, is_background=is_background)
        used = self._systematics(systematics)
        passed_on = _passed_on(pythia8_card_file, configuration_file)
        scripts = self._scripts(root)
        launch = launch_commands(
            scripts.folder, order=order, shower="shower_card.dat" in passed_on, reweight=not is_background
        )
        runs: list[PlannedRun] = []
        for card_file in run_card_files:
            for benchmark in names:
                name = f"run_{len(runs) + 1:02d}"
                cards = {**passed_on, "mg_commands.dat": launch}
                cards |= self._model_cards(benchmark, param_card_template_file, is_background=is_background)
                if card_file is not None:
                    one_seed = None if seed is None else _seed(seed, name)
                    cards["run_card.dat"] = run_card(
                        _text(card_file), used, order=order, n_events=n_events, seed=one_seed, source=str(card_file)
                    )
                elif n_events is not None or seed is not None:
                    msg = "n_events and seed are written on run cards: give one"
                    raise InputError(msg)
                runs.append(PlannedRun(name, benchmark, cards))
        _require_different(runs)
        model = None if ufo_model_directory is None else Path(ufo_model_directory)
        prepare(f"{commands}\noutput {scripts.folder}\n", runs, scripts, order, model)
        made = GeneratedEvents(root, root / OURS / "scripts" / "run.sh", systematics=tuple(each.name for each in used))
        if only_prepare_script:
            return made
        if not (root / OURS / "process").is_dir():
            make_process(self._execution(root, "generate", progress=progress))
        executions = [
            replace(
                self._execution(root, run.name, progress=progress and len(runs) == 1),
                benchmark=None if is_background else run.benchmark.name,
                kind=repr((None if is_background else run.benchmark.name, _shared_settings(run))),
                event_file=EVENT_FILES[order],
                weights=() if is_background else tuple(other.name for other in self._others(run.benchmark)),
                showered="shower_card.dat" in passed_on,
            )
            for run in runs
        ]
        missing = [e for e in executions if not (root / "Events" / e.name).exists()]
        kept = {e.name: look(e, root / "Events" / e.name) for e in executions if e not in missing}
        if len(runs) == 1:
            results = [generate(execution) for execution in missing]
        else:
            results = run_tasks(
                generate,
                missing,
                client=client,
                workers=workers,
                retries=0,
                title="MadGraph",
                name=lambda execution: execution.name,
                progress=progress,
            )
        found = kept | {result.name: result for result in results}
        _warn_of_few(runs, found)
        return replace(made, runs=tuple(found[run.name] for run in runs))

    def reweight_existing_sample(
        self,
        mg_process_directory: FilePath,
        run_name: str,
        sample_benchmark: str,
        *,
        reweight_benchmarks: Sequence[str] | None = None,
        only_prepare_script: bool = False,
        order: str = "LO",
        progress: bool = True,
    ) -> GeneratedEvents:
        """Add weights at benchmarks to events of MadGraph that are there, in place.

        Benchmarks that the events have weights of already are left out.

        Parameters
        ----------
        mg_process_directory
            A process folder of MadGraph, or the folder of a process made here.
        run_name
            Folder of the events in ``Events/``.
        sample_benchmark
            Where the events were sampled.
        reweight_benchmarks
            Names of benchmarks; None: all but `sample_benchmark`.
        only_prepare_script
            Whether to write card and script only.
        order
            "LO" or "NLO": how the events were made.
        progress
            Whether to show how far it is.

        Raises
        ------
        InputError, UnknownNameError
            If there are no such events, or an option is not known.
        GeneratorError
            If MadGraph fails, dies or takes too long; the events are then what they were.
        """
        choice(order, ORDERS, "order")
        root = Path(mg_process_directory).absolute()
        path = root / "Events" / run_name / EVENT_FILES[order]
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", run_name) or not path.is_file():
            msg = f"there are no events to reweight: {path} does not exist, or {run_name!r} is no name of a run"
            raise InputError(msg)
        sampled = self._benchmark(sample_benchmark)
        others = self._others(sampled)
        wanted = others if reweight_benchmarks is None else [self._benchmark(name) for name in reweight_benchmarks]
        there = LHEReader(path).info().weight_names
        missing = [benchmark for benchmark in wanted if benchmark.name not in (*there, sampled.name)]
        task = f"reweight_{run_name}"
        execution = replace(
            self._execution(root, task, progress=progress),
            name=run_name,
            benchmark=sampled.name,
            event_file=EVENT_FILES[order],
            weights=tuple(b.name for b in others if b.name in there or b in missing),
        )
        made = GeneratedEvents(root, execution.script)
        if missing or only_prepare_script:
            script = self._scripts(root).reweighting(run_name, EVENT_FILES[order], _PROGRAMS[order])
            write_cards(root / OURS / "cards" / task, {"reweight_card.dat": reweight_card(self.setup, missing)})
            write_script(execution.script, script)
        if only_prepare_script:
            return made
        found = add_weights(execution) if missing else look(execution, path.parent)
        return replace(made, runs=(found,))

    # What the options mean

    @property
    def _temporary(self) -> Path:
        return Path(tempfile.gettempdir() if self.temp_directory is None else self.temp_directory)

    def _benchmark(self, name: str) -> Benchmark:
        for benchmark in self.setup.benchmarks:
            if benchmark.name == name:
                return benchmark
        msg = f"no benchmark is called {name!r}.{did_you_mean(name, self.setup.benchmark_names)}"
        raise UnknownNameError(msg)

    def _others(self, benchmark: Benchmark) -> list[Benchmark]:
        return [other for other in self.setup.benchmarks if other.name != benchmark.name]

    def _sampling(self, names: Sequence[str] | None, *, is_background: bool) -> list[Benchmark]:
        if names is None:
            names = [self.setup.reference] if is_background else self.setup.benchmark_names
        return [self._benchmark(name) for name in names]

    def _model_cards(self, benchmark: Benchmark, template: FilePath, *, is_background: bool) -> dict[str, str]:
        cards = {"param_card.dat": param_card(_text(template), self.setup, benchmark, str(template))}
        if not is_background:
            cards["reweight_card.dat"] = reweight_card(self.setup, self._others(benchmark))
        return cards

    def _systematics(self, names: Sequence[str] | None) -> list[Systematic]:
        known = {systematic.name: systematic for systematic in self.setup.systematics}
        for name in names or ():
            if name not in known:
                msg = f"no systematic is called {name!r}.{did_you_mean(name, known)}"
                raise UnknownNameError(msg)
        return [known[name] for name in (known if names is None else names)]

    def _scripts(self, root: Path) -> Scripts:
        return Scripts(
            Path(self.directory).absolute(),
            root,
            self._temporary.absolute(),
            self._logs(root),
            self.initial_command or "",
            "" if self.python_executable is None else str(self.python_executable),
        )

    def _logs(self, root: Path) -> Path:
        return root / OURS / "logs" if self.log_directory is None else Path(self.log_directory).absolute()

    def _execution(self, root: Path, name: str, *, progress: bool) -> Execution:
        return Execution(
            name,
            root / OURS / "scripts" / f"{name}.sh",
            Path(self.directory).absolute(),
            root,
            self._temporary.absolute(),
            self._logs(root) / f"{name}.log",
            self.timeout,
            progress,
        )


def _text(path: FilePath) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the card {path} cannot be read: {error}"
        raise InputError(msg) from error


def _passed_on(shower: FilePath | None, configuration: FilePath | None) -> dict[str, str]:
    """Return the cards that are passed on as they are."""
    cards = {}
    if shower is not None:
        cards["shower_card.dat"] = _text(shower)
        # Comments begin with "!" for Pythia 8 and with "#" at NLO, where decay tables have arrows.
        uncommented = "\n".join(re.split("[!#]", line)[0] for line in cards["shower_card.dat"].splitlines())
        require_harmless(uncommented, str(shower), allowed="<>")
    if configuration is not None:
        cards["me5_configuration.txt"] = _text(configuration)
        require_harmless(cards["me5_configuration.txt"], str(configuration))
    return cards


def _seed(seed: Seed, name: str) -> int:
    return 1 + int(seed_sequence(seed, "madgraph", name).generate_state(1)[0]) % LARGEST_SEED


def _shared_settings(run: PlannedRun) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in run.settings.items() if name not in _DIFFER_WITHIN_A_SAMPLE)


def _require_different(runs: Sequence[PlannedRun]) -> None:
    """Refuse runs that would make the same events twice."""
    seen: dict[str, str] = {}
    for run in runs:
        if run.settings.get("iseed", "0") == "0":  # MadGraph then takes another one in each run
            continue
        first = seen.setdefault(repr((run.benchmark, sorted(run.settings.items()))), run.name)
        if first != run.name:
            msg = f"{first} and {run.name} would make the same events: they have the same cards, and the same iseed"
            raise InputError(msg)


def _warn_of_few(runs: Sequence[PlannedRun], found: Mapping[str, GeneratedRun]) -> None:
    for run in runs:
        made = found[run.name].n_events
        if run.n_events is not None and made < run.n_events:
            msg = f"{found[run.name].path} has {made} events, fewer than the {run.n_events} that were asked for"
            warnings.warn(msg, ColumnMinerWarning, stacklevel=3)
