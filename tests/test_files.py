"""Files appear whole or not at all."""

from __future__ import annotations

import pytest

from columnminer.files import appearing


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with appearing(path) as new:
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail():
        with appearing(path) as new:
            new.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
