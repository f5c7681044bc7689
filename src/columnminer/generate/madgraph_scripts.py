"""Shell scripts that generate events with MadGraph5_aMC@NLO: what a run does, and what a batch system can do instead.

`process` makes the process folder, `events` one run, `reweighting` adds weights to events that are there, `everything`
does the first two for all runs. Each works in a temporary folder, on a copy of the process folder, so that runs can go
side by side, and moves its result to its place when it is complete.

Texts from outside stand in them quoted. The one exception is the initial command, which the caller of this package
gives in the call, and which is meant to be a command.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["OURS", "Scripts"]

OURS = "columnminer"
"""Folder below that of a process that has what is ours."""


@dataclass(frozen=True)
class Scripts:
    """Texts of scripts for one set of folders.

    Attributes
    ----------
    madgraph, root, temporary, logs : Path
        Folders: MadGraph's, the one where everything of this process is kept, for temporary files, and for logs. Each
        script takes other ones as its arguments.
    initial_command : str
        Goes before everything else, as it is.
    python : str
        Program that runs MadGraph; empty: the one that MadGraph's programs name.
    """

    madgraph: Path
    root: Path
    temporary: Path
    logs: Path
    initial_command: str = ""
    python: str = ""

    @property
    def folder(self) -> str:
        """What the process folder is called where MadGraph works on it: a name that any program can live with."""
        return self.root.name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", self.root.name) else "process"

    def process(self) -> str:
        """Return the script that makes the process folder, unless it is there."""
        body = [
            f'if [ -e "$root/{OURS}/process" ]; then exit 0; fi',
            *self._working_folder("process"),
            f'cp "$root/{OURS}/cards/process/generate.mg5" "$work/"',
            'cd "$work"',
            *self._madgraph('"$madgraph/bin/mg5_aMC" generate.mg5'),
            f"test -d {self.folder}/SubProcesses",
            f"cp generate.mg5 {self.folder}/generate.mg5",
            f'stage=$(mktemp -d "$root/{OURS}/.process.XXXXXX")',
            f'mv {self.folder} "$stage/process"',
            f'mv "$stage/process" "$root/{OURS}/process"',
            'rmdir "$stage"',
        ]
        return self._script("makes the process folder", body)

    def events(self, run: str, cards: Mapping[str, str], event_file: str) -> str:
        """Return the script of one run.

        Parameters
        ----------
        run
            Its name; its cards lie under this name.
        cards
            File names of the cards of the run, and what they are called in the process folder.
        event_file
            What MadGraph calls the file of events.
        """
        here = f"{OURS}/cards/{run}"
        made = f"{self.folder}/Events/run_01"
        body = [
            'output="${4:-$root/Events}"',
            f'if [ -e "$output/{run}" ]; then echo "ERROR: $output/{run} exists already"; exit 1; fi',
            *self._working_folder(run),
            *self._copied_process(f'"$root/{OURS}/process"'),
            *(f'cp "$root/{here}/{card}" "$work/{self.folder}/Cards/{name}"' for card, name in cards.items()),
            f'cp "$root/{here}/mg_commands.dat" "$work/"',
            'cd "$work"',
            *self._madgraph('"$madgraph/bin/mg5_aMC" mg_commands.dat'),
            f'test -s {made}/{event_file} || {{ echo "ERROR: no events were written"; exit 1; }}',
            f'cp -R "$root/{here}" {made}/cards',
            f'cp "$root/{OURS}/process/generate.mg5" {made}/cards/',
            'mkdir -p "$output"',
            f'stage=$(mktemp -d "$output/.{run}.XXXXXX")',
            f'mv {made} "$stage/{run}"',
            f'mv "$stage/{run}" "$output/{run}"',
            'rmdir "$stage"',
        ]
        return self._script(f"generates the events of {run}", body)

    def reweighting(self, run: str, event_file: str, program: str) -> str:
        """Return the script that adds the weights of a reweight card to the events of a run.

        Parameters
        ----------
        run, event_file
            Name of the run and of the file with its events, which is replaced in one step.
        program
            Of the process folder: madevent or aMCatNLO.
        """
        body = [
            f"run={shlex.quote(run)}",
            f"events={shlex.quote(event_file)}",
            'output="${4:-$root/Events/$run}"',
            *self._working_folder("reweight"),
            f'source="$root/{OURS}/process"',
            'if [ ! -d "$source" ]; then source="$root"; fi',
            *self._copied_process('"$source"'),
            f'cp -R "$root/Events/$run" "$work/{self.folder}/Events/"',
            f'cp "$root/{OURS}/cards/reweight_$run/reweight_card.dat" "$work/{self.folder}/Cards/"',
            f'cd "$work/{self.folder}"',
            *self._madgraph(f'./bin/{program} reweight "$run" -f'),
            'mkdir -p "$output"',
            'cp "Events/$run/$events" "$output/.$events.$$"',
            'mv "$output/.$events.$$" "$output/$events"',
        ]
        return self._script(f"adds weights to the events of {run}", body)

    def everything(self, runs: Sequence[str]) -> str:
        """Return the script that makes the process folder and starts the runs that are not there yet, one by one."""
        body = [
            'mkdir -p "$logs"',
            f'scripts="$root/{OURS}/scripts"',
            "start() {",
            '  bash "$scripts/$1.sh" "$madgraph" "$root" "$temporary" > "$logs/$1.log" 2>&1 && return 0',
            '  echo "$1 failed: see $logs/$1.log" >&2',
            "  return 1",
            "}",
            "start generate",
            "failed=0",
            f"for run in {' '.join(runs)}; do",
            '  if [ ! -e "$root/Events/$run" ]; then start "$run" || failed=1; fi',
            "done",
            'exit "$failed"',
        ]
        return self._script("makes the process folder, and generates the events of all runs", body, logs=True)

    def _madgraph(self, call: str) -> list[str]:
        """Return lines that call a program of MadGraph, and see from what it says whether it failed.

        Its exit status is 0 whatever happened. That it fails to look for updates when it quits is nothing.
        """
        python = '"$python" ' if self.python else ""
        failed = '(Command ".*" interrupted|Error detected in )'
        return [
            f'{python}{call} < /dev/null 2>&1 | tee "$work/said.log"',
            f'if [ -n "$(grep -E \'{failed}\' "$work/said.log" | grep -v \'Command "quit\')" ]; then',
            # What it points to for more lies in the working folder, which goes.
            '  find "$work" -maxdepth 2 -type f -name "*debug*" -exec tail -n +1 {} +',
            "  exit 1",
            "fi",
        ]

    def _found_python(self) -> list[str]:
        """Return lines that put Python first, also for the programs that MadGraph starts."""
        if not self.python:
            return []
        return [
            f"python={shlex.quote(self.python)}",
            'command -v "$python" > /dev/null || { echo "ERROR: there is no program $python"; exit 1; }',
            'PATH="$(dirname "$(command -v "$python")"):$PATH"',
        ]

    def _script(self, does: str, body: Sequence[str], *, logs: bool = False) -> str:
        last = "LOG_FOLDER" if logs else "OUTPUT_FOLDER"
        return "\n".join(
            [
                "#!/bin/bash",
                f"# Written by columnminer: {does}.",
                f"# All arguments are optional: MADGRAPH_FOLDER PROCESS_FOLDER TEMPORARY_FOLDER {last}",
                *([self.initial_command] if self.initial_command else []),
                "set -eu -o pipefail",
                *self._found_python(),
                *_argument("madgraph", 1, self.madgraph),
                *_argument("root", 2, self.root),
                *_argument("temporary", 3, self.temporary),
                *(_argument("logs", 4, self.logs) if logs else ()),
                *body,
                "",
            ]
        )

    @staticmethod
    def _working_folder(name: str) -> list[str]:
        return [
            'mkdir -p "$temporary"',
            f'work=$(mktemp -d "$temporary/columnminer_{name}.XXXXXX")',
            "trap 'rm -rf \"$work\"' EXIT",
            # Where MadGraph looks for models that are not its own.
            f'export PYTHONPATH="$root/{OURS}/models${{PYTHONPATH:+:$PYTHONPATH}}"',
        ]

    def _copied_process(self, source: str) -> list[str]:
        """Return lines that copy a process folder without its events, which other runs made."""
        return [
            f'mkdir "$work/{self.folder}" "$work/{self.folder}/Events"',  # which MadGraph expects to be there
            f"for entry in {source}/*; do",
            '  case "${entry##*/}" in',
            f"    Events|{OURS}) ;;",
            f'    *) cp -RP "$entry" "$work/{self.folder}/" ;;',
            "  esac",
            "done",
        ]


def _argument(name: str, place: int, default: Path) -> list[str]:
    return [f"{name}={shlex.quote(str(default))}", f"if [ $# -ge {place} ]; then {name}=${place}; fi"]
