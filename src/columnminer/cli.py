"""The command line: thin, over `pipeline` and `toys`.

Results go to the standard output, all else to the standard error: bars on a terminal, plain log lines elsewhere. Bad
input ends with status 2 and one line. What a command needs is imported when it runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table as RichTable
from rich.text import Text

from columnminer.errors import ColumnMinerError, ColumnMinerWarning
from columnminer.files import appearing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from columnminer.infer.intervals import Kind
    from columnminer.pipeline.steps import Running
    from columnminer.show.report import Table
    from columnminer.toys.campaign import Campaign
    from columnminer.toys.results import PointResult

__all__ = ["main"]

_log = logging.getLogger("columnminer")

_PATH = click.Path(path_type=Path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with another status than 0 if it fails."""
    # Threads of torch that spin while they wait take the cores from each other wherever other work runs beside:
    # measured, a hundred times slower. The setting counts from when torch loads, which is later than this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _set_up_logging()
    try:
        columnminer.main(args=arguments, prog_name="columnminer", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command goes on from here", 130)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (ColumnMinerError, OSError) as error:
        _fail(str(error), 2)


def _fail(message: str, status: int) -> None:
    click.echo(f"columnminer: {' '.join(message.split())}", err=True)
    sys.exit(status)


def _set_up_logging() -> None:
    console = Console(stderr=True)
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    _log.handlers[:] = [handler]
    _log.setLevel(logging.INFO)
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, ColumnMinerWarning):
            _log.warning("warning: %s", message)
        else:
            shown(message, category, *place, **options)

    warnings.showwarning = show


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="columnminer", message="%(prog)s %(version)s")
def columnminer() -> None:
    """From collision events to statements about theory parameters."""


def _running_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--quiet", is_flag=True, help="Show no progress."),
        click.option("--scheduler", metavar="ADDRESS", help="Run on the dask cluster with this scheduler."),
        click.option(
            "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes on this machine."
        ),
    ):
        command = option(command)
    return command


_device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where networks are trained and evaluated; auto: on the GPU, if there is one.",
)


@columnminer.command()
@click.option("--out", type=_PATH, help="Output folder.  [default: demo, or demo-shower]")
@click.option("--shower", is_flag=True, help="Shower the events with Pythia, and find jets and leptons as a detector.")
@_device_option
@_running_options
def demo(out: Path | None, workers: int, scheduler: str | None, device: str, *, shower: bool, quiet: bool) -> None:
    """Run a whole analysis on generated events.

    Lepton pairs of the built-in generator are written to LHE files, read, selected and stored; a likelihood ratio and a
    score are learned; limits and information follow, beside those of the exact likelihood, and a report with pictures.
    The analysis file is left in the output folder, to change and to run again: only what depends on the change is done.

    With --shower fewer events, but whole ones: Pythia adds shower, hadrons and further scatters, jets are clustered and
    leptons isolated, and a detector smears and misses them. There is no exact likelihood to compare with then.
    """
    from columnminer.pipeline.stages import Workspace  # noqa: PLC0415

    kind = "demo_shower" if shower else "demo"
    if shower:
        from columnminer.generate.pythia import require_pythia  # noqa: PLC0415

        require_pythia()
    out = Path(kind.replace("_", "-")) if out is None else out
    file = Workspace(out).folder / "analysis.yaml"
    if not file.exists():
        text = files("columnminer.pipeline").joinpath(f"{kind}.yaml").read_text(encoding="utf-8")
        with appearing(file) as new:
            new.write_text(text, encoding="utf-8")
    _run(file, out, workers, scheduler, device, quiet=quiet)


@columnminer.command()
@click.argument("analysis", type=_PATH)
@click.option("--out", type=_PATH, help="Output folder.  [default: the name of the file, without its ending]")
@_device_option
@_running_options
def run(analysis: Path, out: Path | None, workers: int, scheduler: str | None, device: str, *, quiet: bool) -> None:
    """Run the analysis that the YAML file ANALYSIS describes.

    Each of its stages leaves a folder in the output folder. What is there and was made from the same options and files
    is kept, so that an interrupted run goes on, and after a change only what depends on it is done again.
    """
    _run(analysis, Path(analysis.stem) if out is None else out, workers, scheduler, device, quiet=quiet)


def _run(file: Path, out: Path, workers: int, scheduler: str | None, device: str, *, quiet: bool) -> None:
    from columnminer.pipeline.analysis import Analysis  # noqa: PLC0415
    from columnminer.pipeline.reporting import result_tables  # noqa: PLC0415

    if quiet:
        _log.setLevel(logging.WARNING)
    with _running(workers, scheduler, device, quiet=quiet) as running:
        analysis = Analysis(file, out, running)
        _print(result_tables(analysis.run()))
    click.echo(f"Report: {analysis.report}")


@contextlib.contextmanager
def _running(workers: int, scheduler: str | None, device: str = "auto", *, quiet: bool) -> Iterator[Running]:
    from columnminer.pipeline.steps import Running  # noqa: PLC0415

    if scheduler is None:
        yield Running(workers=workers, device=device, progress=not quiet)
        return
    from columnminer.run.clusters import connect  # noqa: PLC0415 - takes half a second

    with connect(scheduler) as client:
        _log.info("dashboard of the cluster: %s", client.dashboard_link)
        yield Running(client=client, device=device, progress=not quiet)


@columnminer.command()
@click.argument("campaign", type=_PATH)
@click.option("--computation", help="Which computation of a running configuration of alea.  [default: discovery_power]")
@click.option("--out", type=_PATH, help="Store of the results.  [default: the name of the file, with .zarr]")
@click.option("--seed", type=click.IntRange(min=0), help="In place of the seed of the file.")
@click.option("--n-toys", type=click.IntRange(min=1), help="Toys at each point, in place of the number in the file.")
@click.option("--alea", "alea_folder", type=_PATH, help="Folder for the results as HDF5 files in the layout of alea.")
@click.option("--no-resume", is_flag=True, help="Start afresh, in place of what an earlier run has left.")
@click.option(
    "--submit",
    type=click.Choice(["slurm", "htcondor", "local"]),
    help="Make jobs of the batches; afterwards, the same without this option collects the results.",
)
@click.option("--combine", type=click.IntRange(min=1), help="Batches in one job.  [default: 1, or as alea's file says]")
@click.option("--resources", type=_PATH, help="With --submit: YAML file with cores, memory, walltime, queue, ...")
@click.option("--debug", is_flag=True, help="With --submit: print the first job's script, and submit only that one.")
@click.option("--dry-run", is_flag=True, help="With --submit: write the scripts, and submit nothing.")
@click.option("--batches", metavar="FIRST:LAST", help="Make only these batches: what submitted jobs do.")
@_running_options
def toys(
    campaign: Path,
    *,
    computation: str | None,
    out: Path | None,
    seed: int | None,
    n_toys: int | None,
    alea_folder: Path | None,
    submit: str | None,
    combine: int | None,
    resources: Path | None,
    debug: bool,
    dry_run: bool,
    batches: str | None,
    workers: int,
    scheduler: str | None,
    no_resume: bool,
    quiet: bool,
) -> None:
    """Make the toys of a CAMPAIGN and fit its hypotheses to them.

    CAMPAIGN is a YAML file of ours, or a running configuration of alea. Batches of toys that are done are kept, so that
    an interrupted campaign goes on; results do not depend on the number of workers.
    """
    from columnminer.pipeline.tables import campaign_table  # noqa: PLC0415
    from columnminer.toys.alea_results import write_alea_results  # noqa: PLC0415
    from columnminer.toys.campaign import Campaign  # noqa: PLC0415
    from columnminer.toys.runner import run_campaign  # noqa: PLC0415

    if quiet:
        _log.setLevel(logging.WARNING)
    where = Path(f"{campaign.stem}{'' if computation is None else f'_{computation}'}.zarr") if out is None else out
    if submit is not None:
        flags = {"redo": no_resume, "debug": debug, "dry_run": dry_run, "workers": workers, "combine": combine}
        _submit(campaign, where, submit, resources, computation=computation, seed=seed, n_toys=n_toys, **flags)
        return
    changes: dict[str, Any] = {} if n_toys is None else {"n_toys": n_toys}
    plan = Campaign.from_yaml(campaign, computation=computation, **changes)
    if batches is not None:
        _run_batches(plan, where, batches, seed)
        return
    with _running(workers, scheduler, quiet=quiet) as running:
        results = run_campaign(
            plan,
            where,
            client=running.client,
            workers=running.workers,
            seed=seed,
            resume=not no_resume,
            replace=no_resume,
            progress=running.progress,
        )
    _print([campaign_table(results)])
    if alea_folder is not None:
        write_alea_results(results, alea_folder, plan.output_file, seed=seed)
    click.echo(f"Results: {where}")


@columnminer.command()
@click.argument("results", type=_PATH, nargs=-1, required=True)
@click.argument("out", type=_PATH)
@click.option("--level", "levels", type=float, multiple=True, help="Confidence level; may be given several times.")
@click.option("--hypothesis", default="true", show_default=True, help="The one that is true of the toys.")
@click.option("--free", default="free", show_default=True, help="The one that it is compared with.")
@click.option("--kind", type=click.Choice(["central", "upper", "lower"]), default="central", show_default=True)
@click.option("--dof", type=click.IntRange(min=1), default=1, show_default=True, help="Of the asymptotic threshold.")
@click.option("--condition", "conditions", multiple=True, help="What they depend on.  [default: all that varies]")
@click.option("--alea", is_flag=True, help="Write what alea calls limit_threshold.")
@click.option("--integer", "integers", multiple=True, help="With --alea: condition whose values are whole numbers.")
def thresholds(
    results: tuple[Path, ...],
    out: Path,
    *,
    levels: tuple[float, ...],
    hypothesis: str,
    free: str,
    kind: Kind,
    dof: int,
    conditions: tuple[str, ...],
    alea: bool,
    integers: tuple[str, ...],
) -> None:
    """Write the thresholds of confidence intervals, by Neyman's construction, to the JSON file OUT.

    RESULTS are stores of campaigns of toys, or quoted patterns of result files of alea, each of one point. Campaigns
    read thresholds as `threshold`, those in alea's layout as `limit_threshold`.
    """
    from columnminer.pipeline.tables import threshold_table  # noqa: PLC0415
    from columnminer.toys.alea_results import read_alea_results  # noqa: PLC0415
    from columnminer.toys.neyman import LEVELS, NeymanThresholds  # noqa: PLC0415
    from columnminer.toys.results import CampaignResults  # noqa: PLC0415

    points: list[PointResult] = []
    for path in results:
        points += [read_alea_results(str(path))] if path.suffix == ".h5" else CampaignResults(path)
    found = NeymanThresholds.from_results(
        points,
        levels or LEVELS,
        hypothesis=hypothesis,
        free=free,
        kind=kind,
        dof=dof,
        conditions=conditions or None,
    )
    found.to_json(out, layout="alea" if alea else "columnminer", integers=integers)
    _print([threshold_table(found)])
    click.echo(f"Thresholds: {out}")


def _submit(campaign: Path, out: Path, system: str, resources: Path | None, **options: Any) -> None:
    from columnminer.toys.jobs import read_resources, submit_campaign  # noqa: PLC0415

    asked = None if resources is None else read_resources(resources)
    done = submit_campaign(campaign, out, system, resources=asked, **options)
    click.echo(f"{len(done.jobs)} jobs; {len(done.finished)} more finished before, {len(done.queued)} in the queue")


def _run_batches(plan: Campaign, out: Path, batches: str, seed: int | None) -> None:
    from columnminer.toys.runner import run_batches  # noqa: PLC0415

    first, _, last = batches.partition(":")
    if not (first.isdecimal() and last.isdecimal()):
        msg = f"--batches must be two numbers FIRST:LAST, not {batches!r}"
        raise click.BadParameter(msg)
    run_batches(plan, out, int(first), int(last), seed=seed)


@columnminer.command()
@click.argument("folder", type=_PATH)
def jobs(folder: Path) -> None:
    """Tell how the jobs in FOLDER stand: finished, in the queue, or failed, with the ends of their logs."""
    from columnminer.run.jobs import describe_failures, job_states  # noqa: PLC0415

    if not folder.is_dir():
        msg = f"{folder} is no folder of jobs"
        raise click.ClickException(msg)
    states = job_states(folder)
    for state in states:
        done = len(state.job.tasks) - len(state.job.unfinished())
        number = "" if state.job.number is None else f" ({state.job.system} {state.job.number})"
        click.echo(f"{state.job.name}{number}: {state.state}, {done} of {len(state.job.tasks)} tasks finished")
    if failures := describe_failures(states):
        click.echo(failures)


@columnminer.command()
@click.argument("path", type=_PATH)
def inspect(path: Path) -> None:
    """Describe whatever is at PATH.

    Known are stores of events, samples and toys; estimators; outputs of run and their stages; folders of jobs; event
    files (LHE, HepMC, Delphes, NanoAOD); set-ups, thresholds, workspaces and corrections (JSON); analyses, campaigns
    and files of alea (YAML); files of MadMiner and of alea (HDF5).
    """
    from columnminer.pipeline.describe import describe  # noqa: PLC0415

    _print(describe(path))


@columnminer.command()
@click.argument("section", required=False)
def schema(section: str | None) -> None:
    """Print the keys that an analysis file may have, as JSON schema; with SECTION those of one section.

    Sections are named as in the file ("sampling.ratio", "limits"); of those with names of your own, leave these out
    ("estimators"). SECTION may also be another kind of file, and a section of it: "campaign", a campaign of toys
    ("campaign.model"), "model", a statistical model as alea has it, or "resources", what jobs ask for.
    """
    from columnminer.pipeline.schema import key_schema  # noqa: PLC0415

    click.echo(json.dumps(key_schema(section), indent=2))


@columnminer.command("import-madminer")
@click.argument("file", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--in-order", is_flag=True, help="Cut the file at 60 and 80 %, as MadMiner does, instead of at random.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random partition.")
def import_madminer(file: Path, out: Path, seed: int, *, in_order: bool) -> None:
    """Write the events of the MadMiner FILE (.h5) as the event store OUT."""
    from columnminer.pipeline.describe import describe  # noqa: PLC0415
    from columnminer.store import madminer  # noqa: PLC0415

    madminer.import_madminer(file, out, partition="in_order" if in_order else (0.6, 0.2, 0.2), seed=seed)
    _print(describe(out))


@columnminer.command("export-madminer")
@click.argument("store", type=_PATH)
@click.argument("file", type=_PATH)
@click.option("--replace", is_flag=True, help="Overwrite FILE where it exists.")
def export_madminer(store: Path, file: Path, *, replace: bool) -> None:
    """Write the events of the event STORE as the MadMiner file FILE (.h5)."""
    from columnminer.store.eventstore import EventStore  # noqa: PLC0415
    from columnminer.store.madminer_write import export_madminer as export  # noqa: PLC0415

    export(EventStore(store), file, replace=replace)


def _print(tables: Iterable[Table]) -> None:
    """Print tables: with lines on a terminal, in plain columns elsewhere."""
    console = Console()
    for table in tables:
        if console.is_terminal:
            # As Text, brackets in a cell are brackets, and no markup.
            lines = RichTable(title=Text(table.caption), title_justify="left", header_style="bold")
            for heading in table.head:
                lines.add_column(Text(heading), overflow="fold")
            for row in table.rows:
                lines.add_row(*map(Text, row))
            console.print(lines)
            continue
        rows = [table.head, *table.rows] if any(table.head) else table.rows
        widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))]
        click.echo(table.caption)
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo(f"  {'  '.join(cells)}".rstrip())
        click.echo()


if __name__ == "__main__":
    main()
