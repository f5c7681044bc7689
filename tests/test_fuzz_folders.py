"""Folders of estimators, models of MadMiner, cards and small files, damaged: as in ``test_fuzz_readers``."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from mutations import fuzz, nonsense, survives
from safetensors import safe_open
from safetensors.torch import save_file

import columnminer as cm
from columnminer.formats.pythia_card import setting_lines
from columnminer.generate.cards import param_card, read_run_card, run_card
from columnminer.learn.checkpoints import Checkpoint
from columnminer.learn.estimators import load_estimator
from columnminer.learn.madminer import import_madminer_estimator
from columnminer.momenta import Momenta
from columnminer.observe.maps import CorrectionMap
from columnminer.run.jobs import Job
from columnminer.sample.npy import read_npy

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "data"
MODELS = ("ratio", "double", "dropout", "score", "mixture", "flow")
CORPUS, MADMINER = DATA / "fuzz", DATA / "madminer_models"
SETUP = cm.Setup([cm.Parameter("c", lha=("dim6", 2))], benchmarks={"sm": {"c": 0.0}, "w": {"c": 15.2}})


def within(whole: Path, inside: str, load: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what loads a folder of which one file is the damaged one and the others are whole."""

    def read(path: Path) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "folder"
            shutil.copytree(whole, folder)
            shutil.copy(path, folder / inside)
            load(folder)

    return read


def estimator(folder: Path) -> None:
    loaded = load_estimator(folder, device="cpu")
    loaded.log_ratio(np.zeros((2, len(loaded.feature_names))), np.zeros((2, len(loaded.parameter_names))))


def madminer(name: str, folder: Path) -> None:
    parameters = ("cg", "nu", "cu") if name == "score" else ("cg", "cu")
    about = {"observable_names": ("pt", "phi", "eta"), "parameter_names": parameters}
    made = import_madminer_estimator(folder / name, reference=[0.0] * len(parameters), **about)
    assert made.parameter_names == parameters


def checkpoint(path: Path) -> None:
    network = torch.nn.Linear(2, 1)
    Checkpoint(path, {"seed": 1}).load(network, torch.optim.Adam(network.parameters()))


def corrections(path: Path) -> None:
    particles = {"pt": np.array([20.0, 80.0, np.nan]), "pdgid": np.full(3, 13)}
    # A name of its own each time, since files of corrections are read once.
    with tempfile.NamedTemporaryFile(suffix=path.suffix) as fresh:
        fresh.write(path.read_bytes())
        fresh.flush()
        CorrectionMap(fresh.name, "tag")(Momenta(particles))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def cards(path: Path) -> None:
    read_run_card(text(path))
    run_card(text(path), n_events=100, seed=1)


FOLDERS: dict[str, tuple[Path, Callable[[Path], object]]] = {
    "ensemble": (CORPUS / "ensemble", estimator),
    "calibrated": (CORPUS / "calibrated", estimator),
    "varied": (CORPUS / "varied", estimator),
    "npy": (CORPUS / "npy", lambda folder: read_npy(folder, "ratio", ["noise", "x"], ["mean"])),
    **{
        name: (MADMINER, partial(madminer, name)) for name in ("ratio", "double", "dropout", "score", "mixture", "flow")
    },
    "ensemble of MadMiner": (MADMINER / "ensemble", partial(madminer, "")),
}


def files_of(name: str) -> list[str]:
    folder = FOLDERS[name][0]
    files = [str(file.relative_to(folder)) for file in sorted(folder.rglob("*")) if file.is_file()]
    return [file for file in files if folder != MADMINER or file.startswith(f"{name}_")]


READERS: dict[str, tuple[Path, Callable[[Path], object]]] = {
    "checkpoint": (CORPUS / "checkpoint.safetensors", checkpoint),
    "corrections": (CORPUS / "corrections.json", corrections),
    "job": (CORPUS / "job.json", Job.load),
    "param card": (CORPUS / "param_card.dat", lambda path: param_card(text(path), SETUP, SETUP.benchmarks[1])),
    "run card": (CORPUS / "run_card.dat", cards),
    "card of Pythia": (CORPUS / "pythia.cmnd", lambda path: setting_lines(text(path))),
    **{
        f"{name}: {file}": (FOLDERS[name][0] / file, within(FOLDERS[name][0], file, FOLDERS[name][1]))
        for name in FOLDERS
        for file in files_of(name)
    },
}
DOCUMENTS = [name for name, (path, _) in READERS.items() if path.suffix == ".json"]

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(name: str) -> None:
    path, read = READERS[name]
    assert survives(read, path) == ""


@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_are_refused_or_read(name: str, tmp_path: Path) -> None:
    fuzz(*READERS[name], tmp_path, 8)


SOUND_WHEN_CUT = {
    "run card": "has no end that could be missing",
    "score: score_nuisance_profile_matrix.npy": "is not read as the scores are asked for here",
}


@pytest.mark.parametrize("name", READERS)
def test_half_a_file_is_refused(name: str, tmp_path: Path) -> None:
    path, read = READERS[name]
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert bool(survives(read, cut)) == (name not in SOUND_WHEN_CUT)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_nonsense_are_refused_or_read(name: str, tmp_path: Path) -> None:
    assert any(nonsense(*READERS[name], tmp_path, 20))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_much_damage_is_refused_or_read(name: str, tmp_path: Path) -> None:
    fuzz(*READERS[name], tmp_path, 2000)
    if name in DOCUMENTS:
        nonsense(*READERS[name], tmp_path, 2000)


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"other.x": torch.zeros(1)}, {}),
        ({"network.weight": torch.zeros(3, 3)}, {}),
        ({"optimiser.x.step": torch.zeros(1)}, {}),
        ({}, {"progress": "{"}),
    ],
)
def test_checkpoints_of_the_right_training_may_be_wrong(
    tensors: dict[str, torch.Tensor], metadata: dict[str, str], tmp_path: Path
) -> None:
    with safe_open(CORPUS / "checkpoint.safetensors", framework="pt") as file:
        whole = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        save_file(whole | tensors, tmp_path / "file", file.metadata() | metadata)
    assert "this checkpoint is damaged" in survives(checkpoint, tmp_path / "file")
