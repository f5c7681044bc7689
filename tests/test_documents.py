"""YAML documents: what does not fit is named with its line, and the key that was probably meant."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from columnminer.documents import Section, check_document, read_document
from columnminer.errors import ColumnMinerError, InputError


class Inner(Section):
    path: str | list[str]
    k_factor: Annotated[float, Field(gt=0)] = 1.0
    method: Literal["alice", "alices"] = "alice"


class Numbers(Section):
    n: int
    x: float
    name: str = ""


class Outer(Section):
    luminosity: float
    samples: tuple[Inner, ...] = ()
    named: dict[str, Inner] = Field(default_factory=dict)
    setup: Inner | str = "setup.json"


GOOD = """\
luminosity: 300e3
samples:
  - path: a.lhe
    k_factor: 1.1
  - path: [b.lhe, c.lhe]
named:
  first: {path: d.lhe, method: alices}
"""


def test_what_fits_is_read():
    document = check_document(GOOD, Outer)
    assert document.luminosity == 300e3
    assert document.samples[1].path == ["b.lhe", "c.lhe"]
    assert document.samples[0].given() == {"path": "a.lhe", "k_factor": 1.1}


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        (
            GOOD.replace("k_factor", "k_facto"),
            "f.yaml:4: samples[0].k_facto",
            "key 'k_facto'. Did you mean 'k_factor'?",
        ),
        (GOOD.replace("luminosity", "luminisity"), "f.yaml:1: luminisity", "Did you mean 'luminosity'?"),
        (GOOD.replace("method", "methode"), "f.yaml:7: named.first.methode", "Did you mean 'method'?"),
        (GOOD.replace("alices", "alicess"), "f.yaml:7: named.first.method", "Did you mean 'alices'?"),
        (GOOD.replace("k_factor: 1.1", "k_factor: -1"), "f.yaml:4: samples[0].k_factor", "greater than 0, not -1"),
        (GOOD.replace("k_factor: 1.1", "k_factor: abc"), "f.yaml:4: samples[0].k_factor", "number"),
        (GOOD.replace("300e3", ".nan"), "f.yaml:1: luminosity", "finite number"),
        (GOOD.replace("luminosity: 300e3\n", ""), "f.yaml:1:", "the key 'luminosity' is missing"),
        (GOOD.replace("path: a.lhe\n    ", ""), "f.yaml:3: samples[0]", "the key 'path' is missing"),
        (GOOD + "setup: {pth: x}\n", "f.yaml:8: setup.pth", "Did you mean 'path'?"),
        (GOOD + "luminosity: 1\n", "f.yaml:8", "key 'luminosity' is given twice"),
        (GOOD + "seed: [1\n", "f.yaml:9", "not valid YAML"),
        ("- 1\n", "f.yaml:1:", "valid dictionary"),
        ("", "f.yaml:1:", "the key 'luminosity' is missing"),
        ("!!python/object/apply:os.system [ls]", "f.yaml:1", "not valid YAML"),
        ("\x07", "f.yaml", "not valid YAML"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(tmp_path, text, place, sentence):
    path = tmp_path / "f.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_document(path, Outer)
    message = str(error.value).replace(f"{tmp_path}/", "")
    assert message.startswith(place)
    assert sentence in message
    assert "\n" not in message


def test_files_that_are_no_documents(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read: No such file"):
        read_document(tmp_path / "absent.yaml", Outer)
    (tmp_path / "binary.yaml").write_bytes(b"\x1f\x8b\x08\xff\xfe")
    with pytest.raises(InputError, match=r"binary\.yaml: cannot be read"):
        read_document(tmp_path / "binary.yaml", Outer)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_document(tmp_path, Outer)


def test_documents_made_to_exhaust_memory_are_refused():
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    with pytest.raises(InputError, match="too large"):
        check_document(laughs, Outer)
    with pytest.raises(InputError):
        check_document("[" * 100_000, Outer)
    with pytest.raises(InputError, match="nested too deeply"):
        check_document("[" * 60 + "]" * 60, Outer)


@given(st.text(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"\n ab1.", max_size=60))
def test_no_text_raises_anything_but_our_error(text):
    said = ""
    try:
        check_document(text, Outer)
    except ColumnMinerError as error:
        said = str(error)
    assert "\n" not in said


def test_numbers_with_an_exponent_need_no_point():
    values = check_document("n: 1e5\nx: -2.5E-3", Numbers)
    assert (values.n, values.x) == (100_000, -0.0025)
    assert check_document("n: 1\nx: 2\nname: 1e5x", Numbers).name == "1e5x"
