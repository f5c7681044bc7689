"""The cards of MadGraph5_aMC@NLO, written from templates: texts in, texts out.

====================  ================================================================================================
`param_card`          a template with the couplings at a benchmark
`reweight_card`       the other benchmarks, each a weight of every event
`run_card`            a template with the scale and PDF variations that systematics need, number of events and seed
`process_commands`    the commands of a process card, if they do nothing but define a process
`launch_commands`     the answers that a run is started with
`require_harmless`    of cards that are passed on as they are
====================  ================================================================================================

Cards come from other people. MadGraph runs what follows a ``!`` in a process card in a shell, and puts values of other
cards into command lines: here only known commands pass, and no value with a character that a shell would interpret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from columnminer.errors import InputError, did_you_mean
from columnminer.model.checks import integer
from columnminer.model.parameters import Coupling
from columnminer.model.systematics import PDFUncertainty, ScaleUncertainty

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from columnminer.model.parameters import Benchmark, Parameter
    from columnminer.model.setup import Setup
    from columnminer.model.systematics import Systematic

__all__ = [
    "LARGEST_SEED",
    "ORDERS",
    "launch_commands",
    "param_card",
    "process_commands",
    "read_run_card",
    "require_harmless",
    "reweight_card",
    "run_card",
]

ORDERS = ("LO", "NLO")

LARGEST_SEED = 31328 * 30081
"""What MadGraph's generator of random numbers takes."""

_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_INTERPRETED = set(";|&$`<>\\")

# Of a process card. `set` also knows names of programs to run, so that its options are listed, too.
_COMMANDS = ("define", "generate", "add process", "import model", "import model_v4", "set")
_OPTIONS = (
    *("auto_convert_model", "complex_mass_scheme", "default_unset_couplings", "gauge", "group_subprocesses"),
    *("ignore_six_quark_processes", "include_lepton_initiated_processes", "loop_color_flows", "loop_optimized_output"),
    *("low_mem_multicore_nlo_generation", "max_npoint_for_channel", "max_t_for_channel", "nlo_mixed_expansion"),
    *("stdout_level", "zerowidth_tchannel", "acknowledged_v3.1_syntax"),
)

_SYSTEMATICS_ENTRIES = {
    "LO": (
        *("use_syst", "systematics_program", "systematics_argument", "systematics_arguments"),
        *("sys_scalefact", "sys_alpsfact", "sys_matchscale", "sys_pdf"),
    ),
    "NLO": ("reweight_scale", "rw_rscale", "rw_fscale", "reweight_pdf", "store_rwgt_info"),
}


# Parameters


def param_card(template: str, setup: Setup, benchmark: Benchmark, source: str = "param card") -> str:
    """Return a param card with all couplings at a benchmark.

    Parameters
    ----------
    template
        Text of a param card of the model; `source` is what to call it in messages.
    setup, benchmark
        The couplings, each with its `lha`, and where they are.

    Raises
    ------
    InputError
        If a parameter has no `lha`, the template no such entry, or a value that is no text for a card.
    """
    require_harmless(template, source)
    lines = template.splitlines()
    entries = {where: number for number, where in _param_entries(lines)}
    for parameter in setup.space:
        block, lha_id = _lha(parameter)
        number = entries.get((block.lower(), lha_id))
        if number is None:
            ids = sorted(i for b, i in entries if b == block.lower())
            found = f"that block has {', '.join(map(str, ids))}" if ids else "it has no such block"
            msg = f"{source}: no entry {lha_id} of block {block} for parameter {parameter.name!r}: {found}"
            raise InputError(msg)
        name = "DECAY " if block.lower() == "decay" else "    "
        lines[number] = f"{name}{lha_id} {_card_value(parameter, benchmark)!r} # {parameter.name}, set by columnminer"
    return "\n".join(lines) + "\n"


def _param_entries(lines: Sequence[str]) -> Iterator[tuple[int, tuple[str, int]]]:
    """Yield line numbers of entries with one index, and their (block, id)."""
    block = ""
    for number, line in enumerate(lines):
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[0].lower() == "block":
            block = words[1].lower()
        elif len(words) == 3 and words[0].lower() == "decay" and words[1].isdecimal():
            block = ""
            yield number, ("decay", int(words[1]))
        elif len(words) == 2 and words[0].isdecimal() and block:
            yield number, (block, int(words[0]))


def _lha(parameter: Parameter) -> tuple[str, int]:
    lha = parameter.lha if isinstance(parameter, Coupling) else None
    if lha is None or not _WORD.fullmatch(lha[0]):
        msg = f"parameter {parameter.name!r} needs lha=(block, id), its place on the param card, to generate events"
        raise InputError(msg)
    return lha


def _card_value(parameter: Parameter, benchmark: Benchmark) -> float:
    theta = benchmark.values[parameter.name]
    return float(parameter.card_value(theta)) if isinstance(parameter, Coupling) else theta


def reweight_card(setup: Setup, benchmarks: Sequence[Benchmark]) -> str:
    """Return a reweight card with one weight for each of the benchmarks, under its name.

    Raises
    ------
    InputError
        If a parameter has no `lha`, or the name of a benchmark cannot stand on a card.
    """
    lines = ["# Written by columnminer", "change output default", "change helicity False"]
    for benchmark in benchmarks:
        if not _WORD.fullmatch(benchmark.name):
            msg = f"benchmark {benchmark.name!r} cannot stand on a reweight card: only letters, digits, _ . + - can"
            raise InputError(msg)
        lines += ["", f"launch --rwgt_name={benchmark.name}"]
        for parameter in setup.space:
            block, lha_id = _lha(parameter)
            lines.append(f"  set {block} {lha_id} {_card_value(parameter, benchmark)!r}")
    return "\n".join(lines) + "\n"


# Runs


def read_run_card(text: str) -> dict[str, str]:
    """Return the values on a run card, by names in lower case."""
    return {name: value for _, name, value in _run_entries(text.splitlines())}


def _run_entries(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Yield line number, name and value of the entries ``value = name ! comment``."""
    for number, line in enumerate(lines):
        content = line.partition("#")[0].partition("!")[0]
        value, equals, name = content.rpartition("=")
        if equals:
            yield number, name.strip().lower(), value.strip()


def run_card(
    template: str,
    systematics: Sequence[Systematic] = (),
    *,
    order: str = "LO",
    n_events: int | None = None,
    seed: int | None = None,
    source: str = "run card",
) -> str:
    """Return a run card that asks for the weights of the scale and PDF variations, and for no others.

    Parameters
    ----------
    template
        Text of a run card; `source` is what to call it in messages.
    systematics
        Those of the set-up that act on this run. Only scales and parton densities have a say here.
    order
        "LO" (the entries of MadEvent) or "NLO" (those of aMC@NLO).
    n_events, seed
        Instead of what the template says.

    Raises
    ------
    InputError
        If systematics contradict each other or the template, or a value is no text for a card.
    """
    entries = read_run_card(template)
    for name, value in entries.items():
        _require_harmless_value(value, f"{source}: {name}")
    settings = _lo_systematics(systematics) if order == "LO" else _nlo_systematics(systematics, entries, source)
    if n_events is not None:
        settings["nevents"] = str(integer(n_events, "n_events", at_least=1))
    if seed is not None:
        settings["iseed"] = str(integer(seed, "seed", at_least=1))
        if seed > LARGEST_SEED:
            msg = f"MadGraph takes seeds up to {LARGEST_SEED}, not {seed}"
            raise InputError(msg)
    lines = template.splitlines()
    for number, name, _ in _run_entries(lines):
        if name in settings or name in _SYSTEMATICS_ENTRIES[order]:
            lines[number] = f"# {lines[number].strip()} # replaced by columnminer"
    lines += ["", "# Set by columnminer", *(f"  {value} = {name}" for name, value in settings.items())]
    return "\n".join(lines) + "\n"


def _lo_systematics(systematics: Sequence[Systematic]) -> dict[str, str]:
    """Return settings of MadEvent's systematics program (cp3.irmp.ucl.ac.be/projects/madgraph/wiki/Systematics)."""
    scales = [s for s in systematics if isinstance(s, ScaleUncertainty)]
    densities = sorted({s.lhapdf_id for s in systematics if isinstance(s, PDFUncertainty)})
    if not scales and not densities:
        return {"use_syst": "False"}
    arguments = [f"--{which}={_factors(which, scales)}" for which in ("mur", "muf")]
    if scales and all(scale.scale == "mu" for scale in scales):
        arguments.append("--together=mur,muf")
    if scales:
        arguments.append("--dyn=-1")
    if densities:
        arguments.append(f"--pdf={','.join(map(str, densities))}")
    return {"use_syst": "True", "systematics_program": "systematics", "systematics_arguments": repr(arguments)}


def _nlo_systematics(systematics: Sequence[Systematic], entries: dict[str, str], source: str) -> dict[str, str]:
    scales = [s for s in systematics if isinstance(s, ScaleUncertainty)]
    densities = sorted({s.lhapdf_id for s in systematics if isinstance(s, PDFUncertainty)})
    # Reweighting to benchmarks needs the information that store_rwgt_info keeps, with or without systematics.
    settings = {"reweight_scale": str(bool(scales)), "reweight_pdf": str(bool(densities)), "store_rwgt_info": "True"}
    if scales:
        settings |= {"rw_rscale": _factors("mur", scales), "rw_fscale": _factors("muf", scales)}
    if densities and entries.get("lhaid", "").split() != [str(number) for number in densities]:
        msg = (
            f"{source}: at NLO weights of parton densities are those of the set that events are generated with, "
            f"lhaid = {entries.get('lhaid', 'nothing')}, but the systematics need {', '.join(map(str, densities))}"
        )
        raise InputError(msg)
    return settings


def _factors(which: str, scales: Sequence[ScaleUncertainty]) -> str:
    """Return the factors of one of the scales, the nominal one among them where the other is varied."""
    factors = {factor for scale in scales if scale.scale in {"mu", which} for factor in scale.factors}
    return ",".join(repr(factor) for factor in sorted(factors | {1.0}))


# Commands


def process_commands(text: str, source: str = "process card") -> list[str]:
    """Return the commands of a process card, without comments and continuation lines.

    Parameters
    ----------
    text
        Of the card; `source` is what to call it in messages.

    Raises
    ------
    InputError
        If a command does something else than defining a process: running a shell, writing or starting something, or
        loading a model from a path.
    """
    joined = re.sub(r"\\[ \t\r]*\n", "", text)
    stripped = (line.partition("#")[0] for line in joined.splitlines())
    commands = [" ".join(piece.split()) for line in stripped for piece in line.split(";") if piece.strip()]
    for command in commands:
        _require_known_command(command, source)
    if not any(command.startswith("generate ") for command in commands):
        msg = f"{source}: no process is generated: a line 'generate ...' is missing"
        raise InputError(msg)
    return commands


def _require_known_command(command: str, source: str) -> None:
    words = command.split()
    verb = " ".join(words[:2]) if words[0] in {"add", "import"} else words[0]
    if words[0] in {"output", "launch"}:
        msg = f"{source}: leave out {command!r}: what is made of a process, and where, are options of the call"
        raise InputError(msg)
    if verb not in _COMMANDS:
        msg = f"{source}: {command!r} is none of the commands that define a process ({', '.join(_COMMANDS)})"
        raise InputError(msg)
    if verb.startswith("import") and not (len(words) > 2 and _WORD.fullmatch(words[2])):
        msg = f"{source}: {command!r}: a model is imported by its name; pass ufo_model_directory= to say where it is"
        raise InputError(msg)
    if verb == "set" and (len(words) < 2 or words[1] not in _OPTIONS):
        msg = f"{source}: {command!r} sets none of the options of processes.{did_you_mean(words[-1], _OPTIONS)}"
        raise InputError(msg)
    if verb == "set":
        _require_harmless_value(command, source)
    if not command.isprintable() or set(command) & {"`", "\\"}:
        msg = f"{source}: {command!r} has characters that no process has"
        raise InputError(msg)


def launch_commands(folder: str, *, order: str = "LO", shower: bool = False, reweight: bool = True) -> str:
    """Return the commands that generate events in a process folder.

    Parameters
    ----------
    folder
        Name of the process folder in the working folder.
    order
        "LO" or "NLO": the programs behind ask for different things.
    shower, reweight
        Whether Pythia 8 showers the events, and whether they get the weights of the reweight card.
    """
    switches = {"shower": ("Pythia8" if order == "LO" else "PYTHIA8") if shower else "OFF"}
    switches |= {"detector": "OFF", "analysis": "OFF"} if order == "LO" else {"order": "NLO", "fixed_order": "OFF"}
    switches |= {"madspin": "OFF", "reweight": "ON" if reweight else "OFF"}
    return "\n".join([f"launch {folder}", *(f"{name}={value}" for name, value in switches.items()), "done", ""])


# Cards that are passed on


def require_harmless(text: str, source: str, *, comment: str = "#", allowed: str = "") -> None:
    """Refuse a card with a value that a shell would interpret; comments, from the mark to the end of a line, may.

    Raises
    ------
    InputError
        Naming the line.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        _require_harmless_value(line.partition(comment)[0], f"{source}, line {number}", allowed)


def _require_harmless_value(value: str, where: str, allowed: str = "") -> None:
    bad = sorted((set(value) & _INTERPRETED) - set(allowed))
    bad += sorted({character for character in value if not character.isprintable() and character != "\t"})
    if bad:
        msg = f"{where}: {value.strip()!r} has {' '.join(map(repr, bad))}, which values of cards have no use for"
        raise InputError(msg)
