"""Everything a contributor runs, each in an environment of its own: `python -m nox -l` lists the sessions.

`tests` is the default and what continuous integration calls. `peers` compares with MadMiner, alea and pylhe in their
own environments; its scripts and data are looked for in the folder that COLUMNMINER_SHARED names (default ../shared).
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
CONSTRAINTS = ("-c", "constraints.txt")
SHARED = Path(os.environ.get("COLUMNMINER_SHARED", Path(__file__).resolve().parent.parent / "shared"))


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project as it is tested: pinned versions, and the named dependency groups."""
    requirements = [r for group in groups for r in nox.project.dependency_groups(PROJECT, group)]
    session.install(*CONSTRAINTS, f".{extras}", *requirements)
    session.env.setdefault("OMP_NUM_THREADS", "1")
    session.env["MPLBACKEND"] = "Agg"


@nox.session
def tests(session: nox.Session) -> None:
    """Lint, types and the fast tests."""
    install(session, "test", "lint")
    check(session)
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and mypy alone."""
    install(session, "test", "lint")
    check(session)


def check(session: nox.Session) -> None:
    """Ruff (rules and format) and mypy strict."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def slow(session: nox.Session) -> None:
    """Tests that take minutes: statistics with many toys, large stores, faults."""
    install(session, "test")
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run `columnminer demo` as a newcomer would, into the folder given behind `--` (default: a temporary one)."""
    install(session)
    session.run("columnminer", "demo", *(session.posargs or ["--out", session.create_tmp() + "/demo"]))


@nox.session
def bench(session: nox.Session) -> None:
    """Print our own speed, medians of five, one core, beside the physical limit where there is one."""
    install(session, "test")  # for pyhepmc
    session.run("python", "-m", "benchmarks.speed", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Compare with MadMiner, alea and pylhe on the same work in one run; each lives in an environment of its own."""
    install(session, "test")
    pythons = {name: peer(session, name) for name in ("madminer", "alea")}
    options = [text for name, python in pythons.items() for text in (f"--{name}", python)]
    session.run("python", "-m", "benchmarks.peers", *options, "--shared", str(SHARED), *session.posargs)
    session.run("pytest", "-m", "peer", env={f"{name.upper()}_PYTHON": python for name, python in pythons.items()})


def peer(session: nox.Session, name: str) -> str:
    """Return the Python of an environment with an ancestor, which is made if it is not there."""
    folder = Path(session.create_tmp()) / name
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        session.run("python", "-m", "venv", str(folder))
        requirements = SHARED / "peers" / f"requirements-{name}.txt"
        session.run(python, "-m", "pip", "install", "-r", str(requirements), external=True)
    return python


@nox.session
def minimums(session: nox.Session) -> None:
    """Run the tests with the oldest versions that pyproject.toml allows (torch stays the tested one)."""
    lowest = [
        requirement.replace(">=", "==")
        for requirement in PROJECT["project"]["dependencies"]
        if not requirement.startswith("torch")
    ]
    session.install("torch==2.13.0", *lowest)
    session.install(".", *nox.project.dependency_groups(PROJECT, "test"))
    # Old releases of others warn about new ones of others still.
    session.run("pytest", "-W", "ignore::DeprecationWarning", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build, notebooks executed; quick without: `-- -D nb_execution_mode=off`."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build", *session.posargs)


@nox.session
def notebooks(session: nox.Session) -> None:
    """Execute every notebook, or those given behind `--`, from top to bottom; the files stay as they are."""
    install(session, "notebooks")
    for notebook in session.posargs or sorted(map(str, Path("notebooks").glob("*.ipynb"))):
        session.run("jupyter", "execute", notebook, "--timeout=180")
