"""Running MadGraph: events come out whole or not at all, runs can be repeated, and nothing from a file is a command."""

from __future__ import annotations

import gzip
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fake_madgraph
import numpy as np
import pytest
from fake_madgraph import N_EVENTS, behave, started
from scipy.stats import ks_2samp

import columnminer as cm
from columnminer.errors import GeneratorError, InputError, MissingError, OutputExistsError, TaskError, UnknownNameError
from columnminer.formats.lhe import LHEReader

if TYPE_CHECKING:
    from collections.abc import Iterable

DRELL_YAN = cm.DrellYan()
SETUP = DRELL_YAN.setup()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_madgraph.install(tmp_path_factory.mktemp("installation") / "mg5")


@pytest.fixture
def mg5(installation: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(installation, tmp_path / "mg5"))


@pytest.fixture
def madgraph(mg5: Path, tmp_path: Path) -> cm.MadGraph:
    return cm.MadGraph(tmp_path / "mg5", SETUP, temp_directory=tmp_path / "temporary", timeout=60)


@pytest.fixture
def cards(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "cards"
    folder.mkdir()
    texts = {
        "proc_card_file": "import model contact\ngenerate p p > mu+ mu-\n",
        "param_card_template_file": "Block contact\n 1 0.0 # c_ll\n 2 0.0 # c_lr\n",
        "run_card_file": " 50 = nevents\n 0 = iseed\n 20.0 = ptl ! cut\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in texts}


def several(cards: dict[str, Path]) -> dict[str, object]:
    return {
        "proc_card_file": cards["proc_card_file"],
        "param_card_template_file": cards["param_card_template_file"],
        "run_card_files": [cards["run_card_file"]],
    }


def nothing_is_left(tmp_path: Path, run: str = "run_01") -> bool:
    events, temporary = tmp_path / "process" / "Events", tmp_path / "temporary"
    made = [p.name for p in events.iterdir()] if events.exists() else []
    return not [name for name in made if run in name] and list(temporary.iterdir()) == []


# What comes out


def test_events_of_one_run_become_a_store(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    made = madgraph.run(**cards, mg_process_directory=tmp_path / "process")
    (run,) = made.runs
    assert run.path == tmp_path / "process" / "Events" / "run_01" / "unweighted_events.lhe.gz"
    assert (run.name, run.benchmark, run.n_events, run.showered) == ("run_01", "sm", 50, None)
    assert run.cross_section == pytest.approx(float(DRELL_YAN.xsec("sm")[0]))
    assert LHEReader(run.path).info().weight_names[1:] == SETUP.benchmark_names[1:]
    (sample,) = made.samples
    assert (sample.benchmark, sample.name, sample.files) == ("sm", "sm", made.paths)
    selection = cm.Selection(observables=DRELL_YAN.observables)
    store = cm.process([sample], SETUP, selection, tmp_path / "events.zarr", progress=False)
    assert len(store) == 50
    assert store.xsec("sm").value == pytest.approx(run.cross_section)
    assert list((tmp_path / "temporary").iterdir()) == []
    with pytest.raises(MissingError, match="no such events"):
        _ = made.showered_samples


def test_runs_side_by_side_and_again(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other_run_card.dat"
    other.write_text(cards["run_card_file"].read_text().replace("50 =", "20 ="))
    options = {
        **several(cards),
        "run_card_files": [cards["run_card_file"], other],
        "sample_benchmarks": ["sm", "c_ll_plus"],
        "mg_process_directory": tmp_path / "process",
        "seed": 3,
        "progress": False,
    }
    made = madgraph.run_multiple(**options, workers=2)
    assert [(run.name, run.benchmark, run.n_events) for run in made.runs] == [
        ("run_01", "sm", 50),
        ("run_02", "c_ll_plus", 50),
        ("run_03", "sm", 20),
        ("run_04", "c_ll_plus", 20),
    ]
    seeds = {(run.path.parent / "cards" / "run_card.dat").read_text().partition("  ")[2] for run in made.runs}
    assert len(seeds) == 4
    assert [(sample.name, len(sample.files)) for sample in made.samples] == [("sm", 2), ("c_ll_plus", 2)]
    for run in made.runs:
        names = LHEReader(run.path).info().weight_names[1:]
        assert names == tuple(name for name in SETUP.benchmark_names if name != run.benchmark)

    before = started(tmp_path / "mg5")
    assert len(before) == 5  # the process, and four runs
    assert madgraph.run_multiple(**options) == made
    assert started(tmp_path / "mg5") == before

    shutil.rmtree(made.runs[1].path.parent)
    assert madgraph.run_multiple(**options) == made
    assert len(started(tmp_path / "mg5")) == 6


def test_other_cuts_make_another_sample(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other_run_card.dat"
    other.write_text(cards["run_card_file"].read_text().replace("20.0 = ptl", "30.0 = ptl"))
    options = {**several(cards), "run_card_files": [cards["run_card_file"], other], "sample_benchmarks": ["sm"]}
    made = madgraph.run_multiple(**options, mg_process_directory=tmp_path / "process", progress=False)
    assert [sample.name for sample in made.samples] == ["sm_run_01", "sm_run_02"]


def test_backgrounds_are_not_reweighted(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    made = madgraph.run_multiple(
        **several(cards), mg_process_directory=tmp_path / "process", is_background=True, progress=False
    )
    (run,) = made.runs
    assert run.benchmark is None
    assert LHEReader(run.path).info().weight_names[1:] == ()
    assert "reweight=OFF" in (run.path.parent / "cards" / "mg_commands.dat").read_text()
    assert not (run.path.parent / "cards" / "reweight_card.dat").exists()
    (sample,) = made.samples
    assert (sample.background, sample.benchmark, sample.name) == (True, None, "process")


@pytest.mark.parametrize(("order", "name"), [("LO", "unweighted_events.lhe.gz"), ("NLO", "events.lhe.gz")])
def test_showers_and_orders(
    order: str, name: str, madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path
) -> None:
    shower = tmp_path / "shower.dat"
    shower.write_text("partonlevel:mpi = off ! or on; as you like\n")
    made = madgraph.run(
        **cards, mg_process_directory=tmp_path / "process", pythia8_card_file=shower, order=order, progress=False
    )
    (run,) = made.runs
    assert run.path.name == name
    assert run.showered is not None
    assert made.showered_samples[0].files == (run.showered,)
    assert run.showered.name == "tag_1_pythia8_events.hepmc.gz"


def test_systematics_go_to_cards_and_samples(mg5: Path, cards: dict[str, Path], tmp_path: Path) -> None:
    systematics = [cm.ScaleUncertainty("scale"), cm.NormalisationUncertainty("rate", 0.1)]
    setup = cm.Setup(SETUP.space, SETUP.benchmarks, systematics)
    madgraph = cm.MadGraph(mg5, setup, temp_directory=tmp_path / "temporary")
    options = {**cards, "progress": False}
    both = madgraph.run(**options, mg_process_directory=tmp_path / "both")
    assert both.samples[0].systematics == ("scale", "rate")
    assert "True = use_syst" in (both.paths[0].parent / "cards" / "run_card.dat").read_text()
    one = madgraph.run(**options, mg_process_directory=tmp_path / "one", systematics=["rate"])
    assert one.samples[0].systematics == ("rate",)
    assert "False = use_syst" in (one.paths[0].parent / "cards" / "run_card.dat").read_text()
    with pytest.raises(UnknownNameError, match=r"no systematic is called 'scales'\. Did you mean 'scale'"):
        madgraph.run(**options, mg_process_directory=tmp_path / "none", systematics=["scales"])


def test_progress_is_told_while_it_runs(
    madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="columnminer"):
        madgraph.run(**cards, mg_process_directory=tmp_path / "process")
    assert "MadGraph, run_01: 3 of 4 jobs completed" in caplog.messages


# What goes wrong


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("start:error", r"(?s)status 1; its log says:.*Command \"launch\" interrupted.*A compilation Error occurs"),
        ("reweight:error", r"(?s)status 1; its log says:.*interrupted with error"),
        ("start:die", r"(?s)failed with status 137; its log says:.*Killed"),
        ("reweight:die", r"(?s)failed with status 137"),
        ("start:hang", r"(?s)run_01 was ended after 2 s"),
        ("cut", r"(?s)unweighted_events.lhe.gz.*The whole log is .*run_01\.log"),
        ("no weights", r"event 0 has no weight for benchmark 'c_ll_plus'"),
    ],
)
def test_a_run_that_fails_leaves_nothing_and_can_be_repeated(
    behaviour: str, message: str, madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path
) -> None:
    behave(tmp_path / "mg5", {"sm": behaviour})
    options = {**cards, "mg_process_directory": tmp_path / "process", "progress": False}
    if "hang" in behaviour:
        madgraph = cm.MadGraph(tmp_path / "mg5", SETUP, temp_directory=tmp_path / "temporary", timeout=2)
    begin = time.monotonic()
    with pytest.raises(GeneratorError, match=message):
        madgraph.run(**options)
    assert time.monotonic() - begin < 15
    assert nothing_is_left(tmp_path)
    behave(tmp_path / "mg5", {})
    assert madgraph.run(**options).runs[0].n_events == 50


def test_a_program_that_never_ends_takes_its_children_with_it(
    madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path
) -> None:
    behave(tmp_path / "mg5", {"sm": "start:hang"})
    hasty = cm.MadGraph(tmp_path / "mg5", SETUP, temp_directory=tmp_path / "temporary", timeout=2)
    with pytest.raises(GeneratorError, match="the time it was given"):
        hasty.run(**cards, mg_process_directory=tmp_path / "process", progress=False)
    (child,) = (tmp_path / "mg5" / "children").read_text().split()
    for _ in range(50):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail(f"process {child} still runs")


def test_a_process_that_cannot_be_made_says_why(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    behave(tmp_path / "mg5", {"output": "output:error"})
    options = {**cards, "mg_process_directory": tmp_path / "process", "progress": False}
    with pytest.raises(GeneratorError, match=r"(?s)MadGraph, generate: .*interrupted with error"):
        madgraph.run(**options)
    assert not (tmp_path / "process" / "columnminer" / "process").exists()
    # What its debug file says, which goes with the temporary folder, is in the log.
    assert "what it did last" in (tmp_path / "process" / "columnminer" / "logs" / "generate.log").read_text()
    behave(tmp_path / "mg5", {})
    assert len(madgraph.run(**options).runs) == 1


def test_one_run_that_fails_does_not_lose_the_others(
    madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path
) -> None:
    behave(tmp_path / "mg5", {"c_ll_plus": "start:error"})
    options = {
        **several(cards),
        "sample_benchmarks": ["sm", "c_ll_plus", "c_lr_plus"],
        "mg_process_directory": tmp_path / "process",
        "progress": False,
    }
    with pytest.raises(TaskError, match=r"(?s)1 of 3 failed:.*run_02: .*A compilation Error occurs"):
        madgraph.run_multiple(**options)
    assert sorted(p.name for p in (tmp_path / "process" / "Events").iterdir()) == ["run_01", "run_03"]
    behave(tmp_path / "mg5", {})
    assert len(madgraph.run_multiple(**options).runs) == 3
    assert len(started(tmp_path / "mg5")) == 5


def test_fewer_events_than_asked_for_are_told(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    with pytest.warns(cm.ColumnMinerWarning, match=f"has {N_EVENTS} events, fewer than the 1000"):
        madgraph.run(**cards, mg_process_directory=tmp_path / "process", n_events=1000, progress=False)


def test_other_cards_do_not_overwrite_events(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    options = {**cards, "mg_process_directory": tmp_path / "process", "progress": False}
    madgraph.run(**options)
    with pytest.raises(OutputExistsError, match="run_01 has events of other cards"):
        madgraph.run(**options, n_events=20)
    cards["proc_card_file"].write_text("generate e+ e- > mu+ mu-\n")
    with pytest.raises(OutputExistsError, match="is another process"):
        madgraph.run(**options)


def test_options_that_do_not_fit(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    process = {"mg_process_directory": tmp_path / "process", "progress": False}
    with pytest.raises(UnknownNameError, match="no benchmark is called 'sn'"):
        madgraph.run(**cards, **process, sample_benchmark="sn")
    with pytest.raises(InputError, match="order cannot be 'NNLO'"):
        madgraph.run(**cards, **process, order="NNLO")
    with pytest.raises(InputError, match="written on run cards"):
        madgraph.run(cards["proc_card_file"], cards["param_card_template_file"], **process, seed=1)
    with pytest.raises(InputError, match=r"nowhere\.dat cannot be read"):
        madgraph.run(tmp_path / "nowhere.dat", cards["param_card_template_file"], **process)
    with pytest.raises(InputError, match="is no UFO model"):
        madgraph.run(**cards, **process, ufo_model_directory=tmp_path / "cards")
    cards["run_card_file"].write_text(" 50 = nevents\n 7 = iseed\n")
    twice = {**several(cards), "run_card_files": [cards["run_card_file"]] * 2}
    with pytest.raises(InputError, match="run_01 and run_02 would make the same events"):
        madgraph.run_multiple(**twice, **process, sample_benchmarks=["sm"])
    assert not started(tmp_path / "mg5")
    with pytest.raises(GeneratorError, match=r"no bin/mg5_aMC in it"):
        cm.MadGraph(tmp_path / "nowhere", SETUP).run(**cards, **process)


# Scripts, and what may be in them


def test_scripts_do_it_elsewhere(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    elsewhere = cm.MadGraph("/nowhere/mg5", SETUP, temp_directory=tmp_path / "temporary")
    options = {**several(cards), "sample_benchmarks": ["sm", "c_ll_plus"]}
    options |= {"mg_process_directory": tmp_path / "process", "progress": False}
    prepared = elsewhere.run_multiple(**options, only_prepare_script=True)
    assert prepared.runs == ()
    with pytest.raises(MissingError, match=r"run .*run\.sh"):
        _ = prepared.samples
    (tmp_path / "process").rename(tmp_path / "carried away")
    places = [tmp_path / "mg5", tmp_path / "carried away", tmp_path / "temporary", tmp_path / "logs"]
    script = tmp_path / "carried away" / "columnminer" / "scripts" / "run.sh"
    behave(tmp_path / "mg5", {"c_ll_plus": "start:error"})
    answer = subprocess.run(["bash", script, *places], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "run_02 failed: see " in answer.stderr
    behave(tmp_path / "mg5", {})
    subprocess.run(["bash", script, *places], check=True)
    assert len(started(tmp_path / "mg5")) == 4  # the process and the first run were there
    (tmp_path / "carried away").rename(tmp_path / "process")
    assert [run.n_events for run in madgraph.run_multiple(**options).runs] == [50, 50]
    assert len(started(tmp_path / "mg5")) == 4


def test_no_text_becomes_a_command(mg5: Path, cards: dict[str, Path], tmp_path: Path) -> None:
    """Names that are commands to a shell that sees them unquoted, and cards with commands in their comments."""
    hostile = tmp_path / "a 'b\"; touch hacked; $(touch hacked) `touch hacked`"
    cards = {name: path.rename(path.with_name(f"$(touch hacked); {name}")) for name, path in cards.items()}
    with cards["run_card_file"].open("a") as file:
        file.write("# $(touch hacked)\n")
    madgraph = cm.MadGraph(
        mg5, SETUP, temp_directory=tmp_path / "temporary", log_directory=hostile.with_name("$(touch hacked)")
    )
    made = madgraph.run(**cards, mg_process_directory=hostile, progress=False)
    assert made.runs[0].n_events == 50
    assert made.paths[0].is_relative_to(hostile)
    reweighted = madgraph.reweight_existing_sample(hostile, "run_01", "sm", progress=False)
    assert reweighted.paths == made.paths
    assert not list(tmp_path.rglob("hacked"))
    assert not Path("hacked").exists()


def test_commands_in_cards_are_refused_before_anything_is_written(
    madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path
) -> None:
    card = tmp_path / "configuration.txt"
    card.write_text("nb_core = 2\nweb_browser = sh -c 'touch hacked' ; true\n")
    with pytest.raises(InputError, match=r"configuration\.txt, line 2"):
        madgraph.run(**cards, mg_process_directory=tmp_path / "process", configuration_file=card)
    card.write_text("HEPMCoutput:file = `touch hacked`\n")
    with pytest.raises(InputError, match=r"configuration\.txt, line 1"):
        madgraph.run(**cards, mg_process_directory=tmp_path / "process", pythia8_card_file=card)
    cards["proc_card_file"].write_text("generate p p > mu+ mu-\n!touch hacked\n")
    with pytest.raises(InputError, match="'!touch hacked' is none of the commands"):
        madgraph.run(**cards, mg_process_directory=tmp_path / "process")
    assert not (tmp_path / "process").exists()


@pytest.mark.parametrize("path", ["a b", "a;touch hacked", "$(touch hacked)"])
def test_folders_that_madgraph_would_hand_to_a_shell_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder of MadGraph"):
        cm.MadGraph(tmp_path / path, SETUP)
    with pytest.raises(InputError, match="the folder of temporary files"):
        cm.MadGraph(tmp_path, SETUP, temp_directory=tmp_path / path)


def test_the_initial_command_is_a_command(mg5: Path, cards: dict[str, Path], tmp_path: Path) -> None:
    madgraph = cm.MadGraph(
        tmp_path / "mg5",
        SETUP,
        temp_directory=tmp_path / "temporary",
        initial_command="export FROM_THE_INITIAL_COMMAND=$((6 * 7))",
        python_executable=sys.executable,
    )
    madgraph.run(**cards, mg_process_directory=tmp_path / "process", progress=False)
    assert [mark for *_, mark in started(tmp_path / "mg5")] == ["42", "42"]


def test_a_python_that_is_not_there(mg5: Path, cards: dict[str, Path], tmp_path: Path) -> None:
    madgraph = cm.MadGraph(mg5, SETUP, temp_directory=tmp_path / "temporary", python_executable="python_of_nobody")
    with pytest.raises(GeneratorError, match="there is no program python_of_nobody"):
        madgraph.run(**cards, mg_process_directory=tmp_path / "process", progress=False)


def test_models_are_found_and_madgraph_keeps_its_own(
    madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path
) -> None:
    model = tmp_path / "contact"
    model.mkdir()
    (model / "__init__.py").write_text("")
    options = {**cards, "mg_process_directory": tmp_path / "process", "progress": False}
    madgraph.run(**options, ufo_model_directory=model)
    assert (tmp_path / "process" / "columnminer" / "models" / "contact" / "__init__.py").exists()
    for _, _, path, _ in started(tmp_path / "mg5"):
        assert str(tmp_path / "process" / "columnminer" / "models") in str(path).split(os.pathsep)


# Events that are there


def test_weights_are_added_to_events(madgraph: cm.MadGraph, cards: dict[str, Path], tmp_path: Path) -> None:
    few = cm.MadGraph(
        madgraph.directory, cm.Setup(SETUP.space, SETUP.benchmarks[:3]), temp_directory=tmp_path / "temporary"
    )
    process = tmp_path / "process"
    made = few.run(**cards, mg_process_directory=process, n_events=N_EVENTS, progress=False)
    assert len(LHEReader(made.paths[0]).info().weight_names) == 3
    before = made.paths[0].read_bytes()

    behave(tmp_path / "mg5", {"reweight": "start:error"})
    with pytest.raises(GeneratorError, match=r"(?s)MadGraph, run_01.*interrupted with error"):
        madgraph.reweight_existing_sample(process, "run_01", "sm", progress=False)
    assert made.paths[0].read_bytes() == before

    behave(tmp_path / "mg5", {})
    again = madgraph.reweight_existing_sample(process, "run_01", "sm", progress=False)
    card = (process / "columnminer" / "cards" / "reweight_run_01" / "reweight_card.dat").read_text()
    assert "rwgt_name=c_lr_plus" in card
    assert "rwgt_name=c_ll_plus" not in card  # which was there
    assert again.paths == made.paths
    expected = DRELL_YAN.generate(N_EVENTS, "sm", seed=0)
    (batch,) = LHEReader(again.paths[0]).batches()
    columns = [expected.weight_names.index(name) for name in batch.weight_names[1:]]
    np.testing.assert_allclose(batch.weights[:, 1:], expected.weights[:, columns], rtol=1e-12)

    calls = len(started(tmp_path / "mg5"))
    assert madgraph.reweight_existing_sample(process, "run_01", "sm", progress=False).runs == again.runs
    assert len(started(tmp_path / "mg5")) == calls


def test_reweighting_in_a_process_folder_of_madgraph_itself(madgraph: cm.MadGraph, tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text("output made\n")
    subprocess.run([tmp_path / "mg5" / "bin" / "mg5_aMC", commands], cwd=tmp_path, check=True, capture_output=True)
    path = tmp_path / "made" / "Events" / "run_07" / "unweighted_events.lhe.gz"
    path.parent.mkdir()
    DRELL_YAN.write_lhe(path, 5)
    bare = fake_madgraph.without_weights(path)
    assert LHEReader(path).info().weight_names[1:] == ()
    prepared = madgraph.reweight_existing_sample(tmp_path / "made", "run_07", "sm", only_prepare_script=True)
    assert path.read_bytes() == bare
    subprocess.run(["bash", prepared.script], check=True, capture_output=True)
    assert set(LHEReader(path).info().weight_names[1:]) == set(SETUP.benchmark_names[1:])
    with pytest.raises(InputError, match="there are no events to reweight"):
        madgraph.reweight_existing_sample(tmp_path / "made", "run_08", "sm")
    with pytest.raises(InputError, match="no name of a run"):
        madgraph.reweight_existing_sample(tmp_path / "made", "run_07/../run_07", "sm")


# With MadGraph itself


@pytest.mark.peer
def test_a_real_madgraph(shared: Path, tmp_path: Path) -> None:
    """500 events of the VBF process with their weights, carried to a store; and weights that are known, once more.

    MG5_DIR names the folder of MadGraph; MG5_PYTHON its Python, MG5_UFO the folder of the model EWdim6 where MadGraph
    does not have it, and MG5_INITIAL a command that goes before.
    """
    if "MG5_DIR" not in os.environ:
        pytest.skip("needs a MadGraph: the variable MG5_DIR names its folder")
    setup = cm.load_madminer_setup(shared / "vbf" / "madminer_setup.h5")
    madgraph = cm.MadGraph(
        os.environ["MG5_DIR"],
        setup,
        python_executable=os.environ.get("MG5_PYTHON"),
        initial_command=os.environ.get("MG5_INITIAL"),
        timeout=3000,
    )
    cards = shared / "vbf" / "cards"
    made = madgraph.run(
        cards / "proc_card_signal.dat",
        cards / "param_card_template.dat",
        cards / "run_card_signal_small.dat",
        mg_process_directory=tmp_path / "signal",
        ufo_model_directory=os.environ.get("MG5_UFO"),
        n_events=500,
        seed=1,
    )
    assert made.runs[0].n_events == 500
    assert made.runs[0].cross_section == pytest.approx(1.041e-3, rel=0.05)
    selection = cm.Selection(observables={"pt_j1": "j[0].pt"})
    store = cm.process(made.samples, setup, selection, tmp_path / "events.zarr", progress=False)
    assert len(store) == 500
    # Sums over 500 events hang on a few of them at these couplings; the distributions of weights do not.
    ours, theirs = (_ratios(path, setup.benchmark_names) for path in (made.paths[0], shared / "vbf/signal_sm.lhe.gz"))
    for name in setup.benchmark_names[1:]:
        assert ks_2samp(ours[name], theirs[name]).pvalue > 1e-4
    assert ks_2samp(ours["w"], theirs["ww"]).pvalue < 1e-10

    known = shared / "vbf" / "signal_sm_avgnorm_1000.lhe.gz"
    bare = re.sub("(?s)<(init)?rwgt>.*?</(init)?rwgt>\n", "", gzip.decompress(known.read_bytes()).decode())
    path = tmp_path / "signal" / "Events" / "known" / "unweighted_events.lhe.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(bare.encode()))
    assert LHEReader(path).info().weight_names[1:] == ()
    (run,) = madgraph.reweight_existing_sample(tmp_path / "signal", "known", "sm").runs
    assert run.n_events == 1000
    ours, theirs = (_ratios(each, setup.benchmark_names) for each in (run.path, known))
    for name in setup.benchmark_names[1:]:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)


def _ratios(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the weights of each event at benchmarks, where it was not sampled, over that where it was."""
    batches = list(LHEReader(path).batches())
    columns = batches[0].weight_names
    weights = np.concatenate([batch.weights for batch in batches])
    return {name: weights[:, columns.index(name)] / weights[:, 0] for name in names if name in columns}
