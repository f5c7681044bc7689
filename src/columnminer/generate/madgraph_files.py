"""What lies in the folder of a process that MadGraph makes events of: cards, scripts, models.

::

    Events/run_01/                     events, with the cards that they were made with in ``cards/``
    columnminer/process/               what MadGraph made of the process card; runs work on copies
    columnminer/cards/, scripts/       of each run
    columnminer/models/                UFO models that MadGraph does not have itself
    columnminer/logs/                  what MadGraph said
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from columnminer.errors import InputError, OutputExistsError
from columnminer.generate.cards import read_run_card
from columnminer.generate.madgraph_scripts import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from columnminer.generate.madgraph_scripts import Scripts
    from columnminer.model.parameters import Benchmark

__all__ = ["EVENT_FILES", "PlannedRun", "prepare", "write_cards", "write_script"]

EVENT_FILES = {"LO": "unweighted_events.lhe.gz", "NLO": "events.lhe.gz"}
"""What MadGraph calls the file of events of a run."""


@dataclass(frozen=True)
class PlannedRun:
    """A run with the texts of its cards, by file name."""

    name: str
    benchmark: Benchmark
    cards: Mapping[str, str]

    @property
    def settings(self) -> dict[str, str]:
        """What the run card says."""
        return read_run_card(self.cards.get("run_card.dat", ""))

    @property
    def n_events(self) -> int | None:
        """How many events it asks for, where that is known."""
        value = self.settings.get("nevents", "")
        return int(value) if value.isdecimal() else None


def prepare(commands: str, runs: Sequence[PlannedRun], scripts: Scripts, order: str, model: Path | None) -> None:
    """Write all cards and scripts.

    Parameters
    ----------
    commands
        That define the process and make its folder.
    runs
        Runs with their cards.
    scripts
        How to do the work, and where.
    order
        "LO" or "NLO".
    model
        UFO model to copy to where MadGraph finds it.

    Raises
    ------
    OutputExistsError
        If the folder holds another process, or other events under the name of a run.
    InputError
        If `model` is no UFO model.
    """
    root, ours = scripts.root, scripts.root / OURS
    process = ours / "process"
    if process.exists() and _contents(process).get("generate.mg5") != commands:
        msg = f"{process} is another process; choose another mg_process_directory, or delete that one"
        raise OutputExistsError(msg)
    cards = {"generate.mg5": commands}
    for run in runs:
        done = root / "Events" / run.name
        if done.exists() and _contents(done / "cards") != {**run.cards, **cards}:
            msg = f"{done} has events of other cards; choose another mg_process_directory, or delete that folder"
            raise OutputExistsError(msg)
    if model is not None:
        _copy_model(model, ours / "models")
    write_cards(ours / "cards" / "process", cards)
    write_script(ours / "scripts" / "generate.sh", scripts.process())
    for run in runs:
        write_cards(ours / "cards" / run.name, run.cards)
        names = {card: _name_in_process(card, order) for card in run.cards if card != "mg_commands.dat"}
        script = scripts.events(run.name, names, EVENT_FILES[order])
        write_script(ours / "scripts" / f"{run.name}.sh", script)
    write_script(ours / "scripts" / "run.sh", scripts.everything([run.name for run in runs]))


def _name_in_process(card: str, order: str) -> str:
    if order == "LO" and card == "shower_card.dat":
        return "pythia8_card.dat"
    return "amcatnlo_configuration.txt" if order == "NLO" and card == "me5_configuration.txt" else card


def _contents(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    return {
        path.name: path.read_text(encoding="utf-8", errors="replace") for path in folder.iterdir() if path.is_file()
    }


def write_cards(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a folder, which then has no others."""
    if _contents(folder) == texts:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_script(path: Path, text: str) -> None:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _copy_model(model: Path, folder: Path) -> None:
    if not (model / "__init__.py").is_file():
        msg = f"ufo_model_directory: {model} is no UFO model: there is no __init__.py in it"
        raise InputError(msg)
    target = folder / model.resolve().name
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    stage = folder / f".{target.name}.{uuid.uuid4().hex}.tmp"
    shutil.copytree(model, stage)
    stage.rename(target)
