"""A program that behaves like MadGraph5_aMC@NLO as far as one sees it from outside: for tests that have none.

`install` makes a folder with ``bin/mg5_aMC``, which reads a file of commands, makes process folders with ``output`` and
events with ``launch``. The events are Drell-Yan events written beforehand at each benchmark; the weights that the
reweight card names are kept. What goes wrong is said in a file ``behaviour.json``: {run's coupling values or "output":
what}. Each start is noted in ``started``.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from typing import TYPE_CHECKING

from columnminer.generate.drellyan import DrellYan

if TYPE_CHECKING:
    from pathlib import Path

N_EVENTS = 60

_PROGRAM = """#!{python}
import gzip, json, os, re, shutil, signal, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

def say(line):
    print(line, flush=True)

def misbehave(what, moment, target=""):
    if what == moment + ":error":
        say('Command "launch" interrupted with error:')
        say("MadGraph5Error : A compilation Error occurs when trying to compile")
        say("Please report this bug on https://bugs.launchpad.net/mg5amcnlo")
        with open("MG5_debug", "w") as file:
            file.write("what it did last\\n")
        sys.exit(0)
    if what == moment + ":die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == moment + ":hang":
        child = subprocess.Popen(["sleep", "600"])
        with open(os.path.join(ROOT, "children"), "a") as file:
            file.write("%d\\n" % child.pid)
        say("INFO:  Idle: 3,  Running: 1,  Completed: 0 [ current time: 10h00 ]")
        time.sleep(600)

def output(name):
    misbehave(behaviour.get("output"), "output")
    for folder in ("Cards", "SubProcesses", "bin", "Events"):
        os.makedirs(os.path.join(name, folder))
    shutil.copy(__file__, os.path.join(name, "bin", "madevent"))
    shutil.copy(__file__, os.path.join(name, "bin", "aMCatNLO"))
    with open(os.path.join(name, "bin", "madgraph"), "w") as file:
        file.write(ROOT)
    say("INFO: Output to directory " + name + " done.")

def card(folder, name):
    path = os.path.join(folder, "Cards", name)
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()

def benchmark(folder):
    values = re.findall(r"^\\s+\\d+ (\\S+) #", card(folder, "param_card.dat"), re.M)
    with open(os.path.join(ROOT, "benchmarks.json")) as file:
        return next(n for n, point in json.load(file).items() if point == [float(v) for v in values])

def weighted(text, names):
    kept = []
    for line in text.splitlines(True):
        found = re.match(r'<(?:wgt|weight) id="([^"]*)"', line)
        if found is None or found.group(1) in names:
            kept.append(line)
    return "".join(kept)

def reweight(folder, text, names_before=()):
    names = re.findall(r"^launch --rwgt_name=(\\S+)", card(folder, "reweight_card.dat"), re.M)
    say("INFO: Running Reweighting")
    for name in names:
        say("launch --rwgt_name=" + name)
        say("INFO: Event nb 10 0.1s")
    return weighted(text, list(names) + list(names_before))

def launch(folder, switches):
    name = benchmark(folder)
    what = behaviour.get(name, "")
    say("************************************************************")
    misbehave(what, "start")
    say("\\x1b[1;34mINFO:  Idle: 0,  Running: 1,  Completed: 3 [ 2.1s ]\\x1b[0m")
    nlo = switches.get("order") == "NLO"
    events = os.path.join(folder, "Events", "run_01")
    os.mkdir(events)  # in Events, which has to be there
    asked = re.search(r"^\\s*(\\d+) = nevents", card(folder, "run_card.dat"), re.M)
    n_events = int(asked.group(1)) if asked else 10
    with gzip.open(os.path.join(ROOT, "events", name + ".lhe.gz"), "rt") as file:
        head, *rest = file.read().split("<event>")
    made = head + "".join("<event>" + event.replace("</LesHouchesEvents>\\n", "") for event in rest[:n_events])
    made += "</LesHouchesEvents>\\n"
    say("     Cross-section :   0.0859 +- 0.001 pb")
    say("     Nb of events :  " + str(min(n_events, len(rest))))
    path = os.path.join(events, "events.lhe.gz" if nlo else "unweighted_events.lhe.gz")
    with gzip.open(path, "wt") as file:
        file.write(weighted(made, ()))
    misbehave(what, "reweight")
    if switches["reweight"] == "ON" and what != "no weights":
        text = reweight(folder, made)
        with gzip.open(path, "wt") as file:
            file.write(text if what != "cut" else text[: len(text) // 2])
    if switches["shower"] != "OFF" and card(folder, "shower_card.dat" if nlo else "pythia8_card.dat"):
        with gzip.open(os.path.join(events, "tag_1_pythia8_events.hepmc.gz"), "wt") as file:
            file.write("HepMC")
    say("INFO: Done")
    say("\\x1b[1;31mCommand \\"quit\\" interrupted with error:\\x1b[0m")  # which is nothing: no network

if os.path.basename(__file__) != "mg5_aMC":
    with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "madgraph")) as file:
        ROOT = file.read()
with open(os.path.join(ROOT, "started"), "a") as file:
    file.write(json.dumps([os.path.basename(__file__), sys.version_info[0], os.environ.get("PYTHONPATH", ""),
                           os.environ.get("FROM_THE_INITIAL_COMMAND", "")]) + "\\n")
with open(os.path.join(ROOT, "behaviour.json")) as file:
    behaviour = json.load(file)
if os.path.basename(__file__) == "mg5_aMC":
    with open(sys.argv[1]) as file:
        lines = [line.strip() for line in file]
    for line in lines:
        if line.startswith("!"):
            os.system(line[1:])
        elif line.startswith("output "):
            output(line.split()[1])
    if lines[0].startswith("launch "):
        launch(lines[0].split()[1], dict(line.split("=") for line in lines if "=" in line))
else:
    misbehave(behaviour.get("reweight", ""), "start")
    run = sys.argv[2]
    folder = os.path.join("Events", run)
    name = os.listdir(folder)
    path = os.path.join(folder, next(n for n in name if n.endswith("events.lhe.gz")))
    with gzip.open(path, "rt") as file:
        before = re.findall('<weight id="([^"]*)"', file.read())
    with gzip.open(os.path.join(ROOT, "events", "sm.lhe.gz"), "rt") as file:
        text = file.read()
    with gzip.open(path, "wt") as file:
        file.write(reweight(".", text, before))
"""


def install(folder: Path, behaviour: dict[str, str] | None = None) -> Path:
    """Make the program in a folder, and return that."""
    (folder / "bin").mkdir(parents=True)
    (folder / "events").mkdir()
    program = folder / "bin" / "mg5_aMC"
    program.write_text(_PROGRAM.replace("{python}", sys.executable))
    program.chmod(0o755)
    generator = DrellYan()
    points = {b.name: list(b.values.values()) for b in generator.setup().benchmarks}
    (folder / "benchmarks.json").write_text(json.dumps(points))
    for i, name in enumerate(points):
        generator.write_lhe(folder / "events" / f"{name}.lhe.gz", N_EVENTS, name, seed=i)
    behave(folder, behaviour or {})
    return folder


def behave(folder: Path, behaviour: dict[str, str]) -> None:
    (folder / "behaviour.json").write_text(json.dumps(behaviour))


def started(folder: Path) -> list[list[object]]:
    """Return (program, Python's major version, PYTHONPATH, mark of the initial command) of each start."""
    notes = folder / "started"
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def without_weights(path: Path) -> bytes:
    """Take the weights out of an event file, and return its bytes."""
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(re.sub(r"<(wgt|weight) id=.*\n", "", text).encode()))
    return path.read_bytes()
