"""Cards for MadGraph: equal in values to those that MadMiner wrote, and nothing in them that a shell would run."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest

import columnminer as cm
from columnminer.errors import InputError
from columnminer.generate.cards import (
    LARGEST_SEED,
    launch_commands,
    param_card,
    process_commands,
    read_run_card,
    require_harmless,
    reweight_card,
    run_card,
)

if TYPE_CHECKING:
    from pathlib import Path

SCALE = cm.ScaleUncertainty("scale", "mu", (0.5, 1.0, 2.0))
RUN_CARD = " 5000 = nevents ! events\n 0 = iseed\n nn23lo1 = pdlabel\n 247000 = lhaid\n True = use_syst\n"


@pytest.fixture(scope="module")
def setup(shared: Path) -> cm.Setup:
    return cm.load_madminer_setup(shared / "vbf" / "madminer_setup.h5")


@pytest.fixture(scope="module")
def cards(shared: Path) -> Path:
    return shared / "vbf" / "cards"


def small_setup(**options: object) -> cm.Setup:
    coupling = cm.Parameter("c", **{"lha": ("dim6", 2), "transform": "16.52*theta", **options})
    return cm.Setup([coupling], benchmarks={"sm": {"c": 0.0}, "w": {"c": 15.2}})


def parameters(text: str) -> dict[tuple[str, ...], float | str]:
    """Return all entries of a param card, read independently."""
    block, found = "", {}
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words and words[0].lower() == "block":
            block = words[1].lower()
        elif words and words[0].lower() == "decay":
            found["decay", words[1]] = float(words[2])
        elif words:
            found[block, *words[:-1]] = float(words[-1])
    return found


def weights(text: str) -> dict[str, list[tuple[str, int, float]]]:
    found: dict[str, list[tuple[str, int, float]]] = {}
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["launch"]:
            entries = found.setdefault(words[1].removeprefix("--rwgt_name="), [])
        elif words[:1] == ["set"]:
            entries.append((words[1], int(words[2]), float(words[3])))
    return found


def others(setup: cm.Setup, sampled: str) -> list[cm.Benchmark]:
    return [benchmark for benchmark in setup.benchmarks if benchmark.name != sampled]


RUNS = [
    *[("written_for_sm/{}_0.dat", "sm", "run_card_signal_large.dat", "process_signal1")],
    *[
        (f"written_for_other_benchmarks/{{}}_{i}.dat", name, "run_card_signal_small.dat", "process_signal2")
        for i, name in enumerate(("w", "ww", "neg_w", "neg_ww"))
    ],
]


@pytest.mark.parametrize(("path", "sampled", "template", "folder"), RUNS)
def test_cards_are_those_of_madminer(shared: Path, path: str, sampled: str, template: str, folder: str) -> None:
    cards = shared / "vbf" / "cards"
    setup = cm.load_madminer_setup(shared / "vbf" / "madminer_setup.h5")

    def theirs(kind: str) -> str:
        return (cards / path.format(kind)).read_text()

    benchmark = next(b for b in setup.benchmarks if b.name == sampled)
    ours = param_card((cards / "param_card_template.dat").read_text(), setup, benchmark)
    assert parameters(ours) == parameters(theirs("param_card"))
    assert len(parameters(ours)) > 50

    ours = reweight_card(setup, others(setup, sampled))
    assert weights(ours) == weights(theirs("reweight_card"))
    assert len(weights(ours)) == 5
    changes = re.compile("^change .*", re.MULTILINE)
    assert changes.findall(ours) == changes.findall(theirs("reweight_card")) != []

    ours = run_card((cards / template).read_text(), order="LO")
    assert read_run_card(ours) == read_run_card(theirs("run_card"))
    assert len(read_run_card(ours)) > 100

    assert launch_commands(folder).split() == theirs("mg_commands").split()


def test_a_card_of_another_benchmark_differs(setup: cm.Setup, cards: Path) -> None:
    """Negative control of the comparison above."""
    template = (cards / "param_card_template.dat").read_text()
    theirs = parameters((cards / "written_for_sm" / "param_card_0.dat").read_text())
    ours = parameters(param_card(template, setup, setup.benchmarks[1]))
    assert {key for key in theirs if ours[key] != theirs[key]} == {("dim6", "2"), ("dim6", "5")}


def test_systematics_settings_are_those_of_the_banner(shared: Path, cards: Path) -> None:
    """MadGraph repeats the run card in its event file: that of the sample with scale weights."""
    with gzip.open(shared / "vbf" / "signal_sm_systematics.lhe.gz", "rt") as file:
        head = file.read(100_000)
    banner = read_run_card(head.partition("<MGRunCard>")[2].partition("</MGRunCard>")[0].replace("<![CDATA[", ""))
    ours = read_run_card(run_card((cards / "run_card_syst.dat").read_text(), [SCALE]))
    for name in ("use_syst", "systematics_program", "systematics_arguments", "nevents", "iseed"):
        assert ours[name] == banner[name], name


def test_process_cards(cards: Path) -> None:
    commands = process_commands((cards / "proc_card_signal.dat").read_text())
    assert commands == [
        "import model EWdim6-full",
        "generate u d > u d h / a z QCD=0 QED=99 NP=2, h > a a QCD=0 QED=99 NP=0",
    ]
    for background in ("proc_card_background.dat", "proc_card_background_qcd.dat"):
        assert len(process_commands((cards / background).read_text())) == 2


# Without the shared data


def test_param_cards_keep_all_else() -> None:
    template = "Block dim6 # couplings\n 2 0.0 # CWL2\n 3 1.5\nBLOCK SMINPUTS\n 2 7.0\nDECAY 25 4e-3 # WH\n 1 2 3.0\n"
    setup = small_setup()
    made = parameters(param_card(template, setup, setup.benchmarks[1]))
    assert made == {**parameters(template), ("dim6", "2"): 16.52 * 15.2}
    width = small_setup(lha=("decay", 25), transform="theta**2")
    made = parameters(param_card(template, width, width.benchmarks[1]))
    assert made == {**parameters(template), ("decay", "25"): 15.2**2}


def test_param_cards_without_the_parameter_are_refused() -> None:
    setup = small_setup()
    with pytest.raises(InputError, match=r"my\.dat: no entry 2 of block dim6 for parameter 'c': that block has 1, 3"):
        param_card("block dim6\n 1 0.0\n 3 0.0\n", setup, setup.benchmarks[0], "my.dat")
    with pytest.raises(InputError, match="it has no such block"):
        param_card("block mass\n 2 0.0\n", setup, setup.benchmarks[0])
    plain = cm.Setup([cm.Parameter("nu")], benchmarks={"sm": {"nu": 0}})
    with pytest.raises(InputError, match="'nu' needs lha="):
        reweight_card(plain, plain.benchmarks)


def test_scales_that_vary_alone_and_parton_densities() -> None:
    mur = cm.ScaleUncertainty("r", "mur", (0.5, 2.0))
    pdf = cm.PDFUncertainty("pdf", 303400, 100, errors="replicas")
    arguments = read_run_card(run_card(RUN_CARD, [mur, pdf]))["systematics_arguments"]
    assert arguments == "['--mur=0.5,1.0,2.0', '--muf=1.0', '--dyn=-1', '--pdf=303400']"
    assert read_run_card(run_card(RUN_CARD, [cm.NormalisationUncertainty("n", 0.1)])) == {
        **read_run_card(RUN_CARD),
        "use_syst": "False",
    }
    old = RUN_CARD + "0.5 1 2 = sys_scalefact\n nothing = sys_pdf\n"
    assert not {"sys_scalefact", "sys_pdf"} & read_run_card(run_card(old, [pdf])).keys()


def test_nlo_run_cards() -> None:
    made = read_run_card(run_card(RUN_CARD, [SCALE], order="NLO"))
    assert made["rw_rscale"] == made["rw_fscale"] == "0.5,1.0,2.0"
    assert (made["reweight_scale"], made["reweight_pdf"], made["store_rwgt_info"]) == ("True", "False", "True")
    with pytest.raises(InputError, match="lhaid = 247000, but the systematics need 303400"):
        run_card(RUN_CARD, [cm.PDFUncertainty("pdf", 303400, 2)], order="NLO")
    assert read_run_card(run_card(RUN_CARD, [cm.PDFUncertainty("p", 247000, 2)], order="NLO"))["reweight_pdf"] == "True"


def test_numbers_of_events_and_seeds() -> None:
    made = read_run_card(run_card(RUN_CARD, n_events=7, seed=LARGEST_SEED))
    assert (made["nevents"], made["iseed"], made["pdlabel"]) == ("7", str(LARGEST_SEED), "nn23lo1")
    with pytest.raises(InputError, match="seeds up to"):
        run_card(RUN_CARD, seed=LARGEST_SEED + 1)
    with pytest.raises(InputError, match="n_events must be an integer"):
        run_card(RUN_CARD, n_events=0)


def test_launch_commands_of_nlo_and_showers() -> None:
    assert "shower=Pythia8" in launch_commands("p", shower=True)
    assert "reweight=OFF" in launch_commands("p", reweight=False)
    nlo = launch_commands("p", order="NLO", shower=True)
    assert "order=NLO" in nlo
    assert "shower=PYTHIA8" in nlo
    assert "detector" not in nlo


@pytest.mark.parametrize(
    "line",
    [
        "!touch hacked",
        "shell touch hacked",
        "define p = g ; !touch hacked",
        "generate p p > t t~ \\\n ; shell touch hacked",
        "import command hacked.mg5",
        "import model ../hacked",
        "import model /tmp/hacked-full",
        "set fortran_compiler hacked",
        "set gauge `touch`",
        "output hacked",
        "launch hacked",
        "generate p p > t t~ `touch hacked`",
        "history hacked",
        "define p = g \\",
    ],
)
def test_process_cards_define_a_process_and_nothing_else(line: str) -> None:
    card = "import model sm\ngenerate p p > t t~ # ! a comment; shell x\n"
    assert process_commands(card) == ["import model sm", "generate p p > t t~"]
    with pytest.raises(InputError, match=r"hostile\.dat: "):
        process_commands(card + line, "hostile.dat")


def test_a_process_card_generates_something() -> None:
    with pytest.raises(InputError, match=r"'generate \.\.\.' is missing"):
        process_commands("import model sm\n")


@pytest.mark.parametrize("value", ["a; b", "$(b)", "`b`", "a | b", "a && b", "a > b", "a\x1bb", "a\\"])
def test_values_of_cards_that_a_shell_would_interpret_are_refused(value: str) -> None:
    require_harmless(f"x = 1 # {value}", "card.dat")
    with pytest.raises(InputError, match=r"card\.dat, line 2: "):
        require_harmless(f"x = 1\ny = {value}", "card.dat")
    with pytest.raises(InputError, match="run card: lhaid: "):
        run_card(RUN_CARD.replace("247000", value))
    setup = small_setup()
    with pytest.raises(InputError, match="param card, line 2: "):
        param_card(f"block dim6\n 1 {value}\n 2 0.0\n", setup, setup.benchmarks[0])


def test_names_of_benchmarks_and_blocks_are_words() -> None:
    setup = cm.Setup([cm.Parameter("c", lha=("dim6", 2))], benchmarks={"sm; !touch hacked": {"c": 0.0}})
    with pytest.raises(InputError, match="cannot stand on a reweight card"):
        reweight_card(setup, setup.benchmarks)
    setup = cm.Setup([cm.Parameter("c", lha=("dim6\n!x", 2))], benchmarks={"sm": {"c": 0.0}})
    with pytest.raises(InputError, match="needs lha="):
        reweight_card(setup, setup.benchmarks)
