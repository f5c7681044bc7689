"""Which weight of a file is which variation: by id and by description, in every file on its own."""

from __future__ import annotations

import numpy as np
import pytest
from lhe_text import document, event, rwgt, save

from columnminer.errors import ColumnMinerWarning, InputError, MissingError
from columnminer.formats.lhe import LHEReader
from columnminer.model.parameters import Parameter, ParameterSpace
from columnminer.model.setup import Setup
from columnminer.model.systematics import PDFUncertainty, ScaleUncertainty, WeightVariation
from columnminer.model.variations import find_weight, settings
from columnminer.observe.selection import Selection
from columnminer.processing import process
from columnminer.store.samples import Sample

MADGRAPH = """<weightgroup name="Central scale variation" combine="envelope">
<weight id="1" MUR="0.5" MUF="0.5" PDF="247000" > MUR=0.5 MUF=0.5  </weight>
<weight id="2" MUR="0.5" MUF="0.5" DYN_SCALE="1" PDF="247000" > MUR=0.5 MUF=0.5 dyn_scale_choice=sum pt </weight>
<weight id="3" MUR="2.0" MUF="2.0" PDF="247000" > MUR=2.0 MUF=2.0  </weight>
</weightgroup>
<weightgroup name="set" combine="replicas">
<weight id="4" MUR="1.0" MUF="1.0" PDF="247001" > PDF=247000 MemberID=1 </weight>
<weight id="5" MUR="1.0" MUF="1.0" PDF="247002" > PDF=247000 MemberID=2 </weight>
</weightgroup>
<weightgroup name='mg_reweighting'>
<weight id='plus'>set param_card dim6 2 251.104 # orig: 0.0</weight>
</weightgroup>"""
POWHEG = """<weightgroup name='scales'>
<weight id='1'>renscfact=2d0 facscfact=2d0</weight>
<weight id='2'>renscfact=0.5d0 facscfact=0.5d0</weight>
</weightgroup>
<weight id='4'>lhapdf=247002</weight>
<weight id='3'>lhapdf1=247001 lhapdf2=247001</weight>
<weight id='plus'>c = 1</weight>"""
MADGRAPH_WEIGHTS = {"1": 0.8, "2": 7.0, "3": 1.3, "4": 1.1, "5": 0.9, "plus": 4.0}
POWHEG_WEIGHTS = {"1": 1.3, "2": 0.8, "3": 1.1, "4": 0.9, "plus": 4.0}


def write(folder, name, declared, weights, *, cdata=False, energy=10.0):
    inside = f"<![CDATA[\n{declared}\n]]>" if cdata else declared
    header = f"<header>\n<initrwgt>\n{inside}\n</initrwgt>\n</header>\n"
    line = f" 3 1 +1.0 {energy} 7.8e-03 1.5e-01"
    return save(folder, document(*[event(rwgt(**weights), line=line)] * 4, header=header), name)


def info_of(folder, declared, weights, **options):
    return LHEReader(write(folder, "events.lhe", declared, weights, **options)).info()


def shifts(systematic, info):
    return systematic.shifts(info.weight_names, info.weight_descriptions, "f.lhe")


@pytest.mark.parametrize(
    ("description", "weight_id", "expected"),
    [
        ("MUR=1.0 MUF=1.0 PDF=247100 | PDF=247000 MemberID=100", "145", {"mur": 1, "muf": 1, "pdf": 247100}),
        ("PDF=247000 MemberID=100 | combine=replicas", "145", {"pdf": 247100}),
        ("PDF set = 292201", "2001", {"pdf": 292201}),
        ("lhapdf1=303401 lhapdf2=303401", "7", {"pdf": 303401}),
        ("lhapdf1=27100 lhapdf2=99208083", "7", {}),
        ("lhapdf1=27100 lhapdf2=99208083", "MUR1.0_MUF1.0_PDF99208083", {"mur": 1, "muf": 1, "pdf": 99208083}),
        ("", "MUR=0.5__MUF=2__LHAPDF=303200", {"mur": 0.5, "muf": 2, "pdf": 303200}),
        ("", "ME_MUR0.5_MUF1_PDF13000", {"mur": 0.5, "muf": 1, "pdf": 13000}),
        ("renscfact=2d0", "MUR1.0", {"mur": 2}),
        ("", "neg_w", {}),
        ("", "murky2", {}),
    ],
)
def test_settings(description, weight_id, expected):
    assert settings(description, weight_id) == expected


@pytest.mark.parametrize("cdata", [False, True])
def test_the_same_weights_are_found_in_cdata_or_not(tmp_path, cdata):
    info = info_of(tmp_path, MADGRAPH, MADGRAPH_WEIGHTS, cdata=cdata)
    (scale,) = shifts(ScaleUncertainty("scales"), info)
    assert scale.weights == ("3", "1")
    members = shifts(PDFUncertainty("pdf", 247000, 2, errors="replicas"), info)
    assert [shift.up for shift in members] == ["4", "5"]


def test_ids_may_differ_from_file_to_file(tmp_path):
    """One sample of two files, benchmark and variations in both: the store has the same weights for both."""
    files = [
        write(tmp_path, "a.lhe", MADGRAPH, MADGRAPH_WEIGHTS, cdata=True),
        write(tmp_path, "b.lhe", POWHEG, POWHEG_WEIGHTS, energy=11.0),
    ]
    systematics = [
        ScaleUncertainty("scales"),
        PDFUncertainty("pdf", 247000, 2, errors="replicas"),
        ScaleUncertainty("down", "mu", (0.5,)),
    ]
    setup = Setup(ParameterSpace([Parameter("c")]), {"sm": {"c": 0.0}, "plus": {"c": 1.0}}, systematics)
    sample = Sample(files, benchmark="sm", systematics=[s.name for s in systematics])
    store = process([sample], setup, Selection({"n": "len(e)"}), tmp_path / "s.zarr", progress=False)
    block = next(store.blocks())
    assert len(block) == 8
    nominal = block.benchmark_weights[:, :1]
    np.testing.assert_allclose(block.nuisance_weights / nominal, [[1.3, 0.8, 1.1, 0.9, 0.8]] * 8, rtol=1e-12)
    np.testing.assert_allclose(block.benchmark_weights[:, 1] / nominal[:, 0], 4.0)
    # negative control: by ids alone, up and down of the second file would be each other's
    assert POWHEG_WEIGHTS["1"] / POWHEG_WEIGHTS["2"] != MADGRAPH_WEIGHTS["1"] / MADGRAPH_WEIGHTS["3"]


def test_members_are_compared_with_their_own_central_member(tmp_path):
    """Events generated with other densities, for which every member of the set is 20 % higher."""
    declared = "".join(f"<weight id='{i}'>lhapdf={303400 + i}</weight>\n" for i in range(4))
    weights = {"0": 1.2, "1": 1.2 * 1.1, "2": 1.2 * 0.9, "3": 1.2}
    path = write(tmp_path, "a.lhe", declared, weights)
    pdf = PDFUncertainty("pdf", 303400, 2)
    setup = Setup(ParameterSpace([Parameter("c")]), {"sm": {"c": 0.0}}, [pdf])
    sample = Sample(path, benchmark="sm", systematics="pdf")
    store = process([sample], setup, Selection({"n": "len(e)"}), tmp_path / "s.zarr", progress=False)
    nominal = store.xsec("sm").value
    np.testing.assert_allclose(store.xsec(["sm"] * 2, [[1.0], [-1.0]]).value / nominal, [1.1, 0.9], rtol=1e-12)
    (alone,) = pdf.shifts(("nominal", "1", "2"), {"1": "lhapdf=303401", "2": "lhapdf=303402"})
    assert alone.central is None


def test_several_weights_that_fit_are_named(tmp_path):
    twice = MADGRAPH + "<weight id='9' MUR='2.0' MUF='2.0' PDF='13000'> MUR=2.0 MUF=2.0 </weight>"
    info = info_of(tmp_path, twice, MADGRAPH_WEIGHTS | {"9": 1.0})
    with pytest.raises(InputError, match=r"f\.lhe: systematic 'scales' .* 2 weights fit: '3' \(.*\); '9' \(.*13000"):
        shifts(ScaleUncertainty("scales"), info)
    with pytest.raises(InputError, match=r"needs weight 'MUR=2.0 MUF=2.0', but 2 weights fit: '3' .* '9'"):
        shifts(WeightVariation("any", "MUR=2.0 MUF=2.0"), info)
    (shift,) = shifts(WeightVariation("any", "9"), info)
    assert shift.up == "9"


def test_a_weight_that_is_not_there_is_told_from_one_that_is_only_declared(tmp_path):
    info = info_of(tmp_path, MADGRAPH, {k: v for k, v in MADGRAPH_WEIGHTS.items() if k != "3"})
    with pytest.raises(MissingError, match="the header declares '3' as such, but events do not have it"):
        shifts(ScaleUncertainty("scales"), info)
    with pytest.raises(MissingError, match=r"needs weight '3'.*declares it, but events"):
        shifts(WeightVariation("any", "3"), info)
    with pytest.raises(MissingError, match=r"mur = 2, muf = 1, but there is none.*'1' \(mur = 0.5, muf = 0.5, pdf = 2"):
        shifts(ScaleUncertainty("scales", "mur"), info)
    with pytest.raises(MissingError, match=r"describes none with scales or PDFs \(weights in the file: plus\)"):
        find_weight({"mur": 2.0}, ("nominal", "plus"), {}, "f.lhe")


def test_weights_by_description(tmp_path):
    """What stands in the header is given as it stands there, but for spaces; an id goes before a description."""
    info = info_of(tmp_path, MADGRAPH, MADGRAPH_WEIGHTS)
    (shift,) = shifts(WeightVariation("any", "mur=2.0  muf=2.0", "MUR=0.5 MUF=0.5"), info)
    assert shift.weights == ("3", "1")
    (shift,) = shifts(WeightVariation("any", "set param_card dim6 2 251.104 # orig: 0.0"), info)
    assert (shift.up, shift.down) == ("plus", None)
    with pytest.raises(MissingError, match=r"neither the id nor the description of one\. Did you mean 'MUR=2.0"):
        shifts(WeightVariation("any", "MUR=2.0 MUF=2.1"), info)
    (shift,) = WeightVariation("any", "b").shifts(("nominal", "a", "b"), {"a": "b"})
    assert shift.up == "b"


def test_a_factor_of_one_is_the_nominal_weight(tmp_path):
    (shift,) = shifts(ScaleUncertainty("up", "mu", (1.0, 2.0)), info_of(tmp_path, MADGRAPH, MADGRAPH_WEIGHTS))
    assert (shift.up, shift.down) == ("3", "nominal")


def test_members_that_the_file_combines_otherwise_are_warned_about(tmp_path):
    info = info_of(tmp_path, MADGRAPH, MADGRAPH_WEIGHTS)
    with pytest.warns(ColumnMinerWarning, match="takes members for hessian errors, .* combines them as 'replicas'"):
        shifts(PDFUncertainty("pdf", 247000, 2), info)


def test_all_replicas_and_scales_of_a_madgraph_file(shared):
    """145 weights: scales with five forms of the dynamical scale, and 100 replicas."""
    info = LHEReader(shared / "lhe-zoo" / "pylhe-testfile-madgraph5-3.5.8-pp_to_jj.lhe.gz").info()
    members = shifts(PDFUncertainty("pdf", 247000, 100, errors="replicas"), info)
    assert [shift.up for shift in members] == [str(46 + i) for i in range(100)]
    (scale,) = shifts(ScaleUncertainty("scales"), info)
    for weight_id, factor in zip(scale.weights, (2.0, 0.5), strict=True):
        assert f"MUR={factor} MUF={factor} PDF=247000 |" in info.weight_descriptions[weight_id]


def test_replicas_of_a_real_file_carry_its_uncertainty(shared, tmp_path):
    """1,000 events with 100 replicas: the cross section is as uncertain along all directions as over the replicas."""
    pdf = PDFUncertainty("pdf", 247000, 100, errors="replicas")
    setup = Setup(ParameterSpace([Parameter("c")]), {"sm": {"c": 0.0}}, [pdf])
    path = shared / "lhe-zoo" / "pylhe-testfile-madgraph5-3.5.8-pp_to_jj.lhe.gz"
    sample = Sample(path, benchmark="sm", systematics="pdf")
    store = process([sample], setup, Selection({"pt": "j[0].pt"}), tmp_path / "s.zarr", progress=False)
    (block,) = store.blocks()
    nominal = block.weights("sm")[0]
    replicas = block.nuisance_weights.sum(axis=0) / nominal.sum()
    slopes = block.nuisance_coefficients[0] @ nominal / nominal.sum()
    assert replicas.std(ddof=1) == pytest.approx(0.02271, rel=1e-3)
    assert np.linalg.norm(slopes) == pytest.approx(replicas.std(ddof=1), rel=0.01)
    # negative control: as if each replica were one standard deviation
    assert np.linalg.norm(slopes * np.sqrt(99)) > 5 * replicas.std(ddof=1)


def test_members_of_a_powheg_file_with_densities_in_one_beam(shared):
    info = LHEReader(shared / "lhe-zoo" / "pylhe-testfile-powheg-box-v2-hvq.lhe").info()
    members = shifts(PDFUncertainty("pdf", 99208082, 38), info)
    assert members[0].weights == tuple(f"MUR1.0_MUF1.0_PDF{99208082 + i}" for i in (1, 2, 0))
    (scale,) = shifts(ScaleUncertainty("muf", "muf"), info)
    assert scale.weights == ("MUR1.0_MUF2.0_PDF99208082", "MUR1.0_MUF0.5_PDF99208082")
