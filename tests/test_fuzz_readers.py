"""Every reader of files on damaged ones: it reads them, or raises an error of ours; nothing else gets out.

The corpus is committed (tests/data), the examples are the same in every run. LHE, HepMC and Delphes have further tests
of this kind with their own grammar in ``test_lhe_faults``, ``test_hepmc`` and ``test_delphes_faults``.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from analytic_likelihoods import OnOff
from mutations import fuzz, nonsense, survives

import columnminer as cm
from columnminer.documents import read_document, read_mapping
from columnminer.infer.alea import load_alea
from columnminer.infer.template_files import read_histogram
from columnminer.learn.estimators import load_estimator
from columnminer.pipeline.configuration import AnalysisConfig
from columnminer.store.madminer import import_madminer, load_madminer_setup
from columnminer.toys.alea_files import read_datasets
from columnminer.toys.alea_results import read_alea_results
from columnminer.toys.threshold_files import read_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "data"
CORPUS = DATA / "fuzz"


def events(path: Path) -> None:
    reader = cm.open_reader(path)
    reader.info()
    for batch in reader.batches(size=2):
        assert len(batch.weights) == len(batch.events) <= 2
        assert batch.weights.shape[1] == len(batch.weight_names)


def observables(path: Path) -> None:
    """Read NanoAOD through an expression: it is read column by column, when something asks for it."""
    selection = cm.Selection({"pt": "mu[0].pt", "met": "met.pt"}, defaults={"pt": 0.0})
    for batch in cm.open_reader(path).batches(size=2):
        assert len(selection.apply(batch, key=1).passed) == len(batch)


def madminer(path: Path) -> None:
    load_madminer_setup(path)
    out = path.parent / f"{uuid.uuid4().hex}.zarr"
    try:
        import_madminer(path, out)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def alea_model(path: Path) -> None:
    load_alea(path, template_folder=DATA / "alea" / "templates")


def campaign(path: Path) -> None:
    cm.Campaign.from_yaml(path, model=OnOff([1.0], [20.0], [2.0])).points()


def estimator_of(name: str) -> Callable[[Path], None]:
    """Return what reads an estimator of which one file is the damaged one and the other is whole."""

    def read(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for whole in (CORPUS / "estimator").iterdir():
                shutil.copy(path if whole.name == name else whole, Path(folder) / whole.name)
            load_estimator(folder)

    return read


READERS: dict[str, tuple[Path, Callable[[Path], object], int]] = {
    # What is read, how, and how many examples the quick test takes.
    "lhe": (DATA / "lhe" / "weights.lhe", events, 60),
    "hepmc3": (CORPUS / "three.hepmc", events, 60),
    "hepmc2": (CORPUS / "two.hepmc", events, 60),
    "delphes": (CORPUS / "delphes.root", events, 30),
    "nanoaod": (CORPUS / "nanoaod.root", observables, 30),
    "madminer": (CORPUS / "madminer.h5", madminer, 40),
    "alea toys": (DATA / "alea" / "alea_toydata.ii.h5", read_datasets, 60),
    "alea results": (DATA / "alea" / "alea_toymc.ii.h5", read_alea_results, 60),
    "alea templates": (DATA / "alea" / "templates" / "spectrum.ii.h5", read_histogram, 60),
    "alea model": (DATA / "alea" / "configs" / "search.yaml", alea_model, 20),
    "mapping": (DATA / "alea" / "configs" / "energy.yaml", read_mapping, 60),
    "set-up": (CORPUS / "setup.json", cm.Setup.load, 100),
    "analysis": (CORPUS / "analysis.yaml", lambda path: read_document(path, AnalysisConfig), 60),
    "campaign": (CORPUS / "campaign.yaml", campaign, 60),
    "thresholds": (CORPUS / "thresholds.json", read_thresholds, 100),
    "thresholds of alea": (CORPUS / "thresholds_alea.json", read_thresholds, 100),
    "estimator": (CORPUS / "estimator" / "estimator.json", estimator_of("estimator.json"), 60),
    "weights": (CORPUS / "estimator" / "weights.safetensors", estimator_of("weights.safetensors"), 60),
    "pyhf": (DATA / "pyhf" / "shapes.json", cm.PyhfLikelihood.from_workspace, 20),
    "pyhf simple": (DATA / "pyhf" / "counting.json", cm.PyhfLikelihood.from_workspace, 20),
    "luminosity": (CORPUS / "luminosity.json", cm.LuminosityMask, 40),
}
DOCUMENTS = [name for name, (path, *_) in READERS.items() if path.suffix in {".json", ".yaml"}]

pytestmark = pytest.mark.filterwarnings("ignore")  # of numbers that are extreme, for one; a warning is no crash


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(name: str) -> None:
    path, read, _ = READERS[name]
    assert survives(read, path) == ""


@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_are_refused_or_read(name: str, tmp_path: Path) -> None:
    said = fuzz(*READERS[name][:2], tmp_path, READERS[name][2])
    assert any(said), "no damage was seen"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_nonsense_are_refused_or_read(name: str, tmp_path: Path) -> None:
    said = nonsense(*READERS[name][:2], tmp_path, READERS[name][2])
    assert any(said), "no nonsense was seen"


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_much_damage_is_refused_or_read(name: str, tmp_path: Path) -> None:
    path, read, examples = READERS[name]
    assert any(fuzz(path, read, tmp_path, 100 * examples))
    assert name not in DOCUMENTS or any(nonsense(path, read, tmp_path, 50 * examples))


def test_another_error_would_be_seen(tmp_path: Path) -> None:
    """The negative control: a reader that lets a KeyError out fails the tests above."""
    (tmp_path / "x").touch()

    def careless(path: Path) -> None:
        raise KeyError(path)

    with pytest.raises(KeyError):
        survives(careless, tmp_path / "x")
