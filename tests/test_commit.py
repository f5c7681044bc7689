from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnminer.errors import InputError, OutputExistsError, UnknownNameError
from columnminer.store.commit import read_json, staged, write_json
from columnminer.store.partition import STRATUM, PartitionScheme, partition_code
from columnminer.store.parts import PartInfo, committed_parts, open_parts, read_part, write_part


def contents(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    final = tmp_path / "result"
    with staged(final) as folder:
        (folder / "one").write_text("1")
        assert not final.exists()
    assert contents(final) == ["one"]
    assert contents(tmp_path) == ["result"]


def test_an_error_leaves_nothing(tmp_path):
    def work():
        with staged(tmp_path / "result") as folder:
            (folder / "one").write_text("1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert contents(tmp_path) == []


def test_an_existing_output_is_refused_before_any_work(tmp_path):
    (tmp_path / "result").mkdir()
    with pytest.raises(OutputExistsError, match="replace=True"), staged(tmp_path / "result"):
        pytest.fail("the work began")


def test_of_two_writers_the_first_wins(tmp_path):
    final = tmp_path / "result"

    def late_writer():
        with staged(final) as late:
            (late / "late").touch()
            with staged(final) as early:
                (early / "early").touch()

    with pytest.raises(OutputExistsError, match="theirs stands"):
        late_writer()
    assert contents(final) == ["early"]
    assert contents(tmp_path) == ["result"]


def test_replacing_swaps_folders(tmp_path):
    final = tmp_path / "result"
    for name in ("old", "new"):
        with staged(final, replace=True) as folder:
            (folder / name).touch()
    assert contents(final) == ["new"]
    assert contents(tmp_path) == ["result"]


def test_json_is_written_in_one_step(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2]}
    assert contents(tmp_path) == ["a.json"]


def part(first, n, last=False):
    columns = {"observables": np.full((n, 2), float(first)), "event": np.arange(first, first + n)}
    return PartInfo(first, n, n, 1.0, 1.0, last=last), columns


def test_parts_follow_each_other_without_gaps(tmp_path):
    assert committed_parts(tmp_path) == []
    for first, n in ((0, 10), (10, 10), (30, 10)):
        write_part(tmp_path, *part(first, n))
    assert [p.first_event for p in committed_parts(tmp_path)] == [0, 10]
    write_part(tmp_path, *part(20, 10))
    write_part(tmp_path, *part(40, 0, last=True))
    infos = committed_parts(tmp_path)
    assert [p.first_event for p in infos] == [0, 10, 20, 30, 40]
    assert infos[-1].last
    columns = read_part(tmp_path, infos[1])
    np.testing.assert_array_equal(columns["event"], np.arange(10, 20))
    assert list(read_part(tmp_path, infos[1], ["event"])) == ["event"]
    assert read_part(tmp_path, infos[-1])["observables"].shape == (0, 2)


def test_a_part_that_comes_second_is_dropped(tmp_path):
    write_part(tmp_path, *part(0, 10))
    info, columns = part(0, 10)
    write_part(tmp_path, info, {**columns, "event": columns["event"] + 100})
    np.testing.assert_array_equal(read_part(tmp_path, info)["event"], np.arange(10))


def test_parts_of_another_configuration_are_refused_with_what_differs(tmp_path):
    folder = tmp_path / "out.parts"

    def opened(cuts, *, resume=True, replace=False):
        return open_parts(folder, {"seed": 0, "cuts": ["a", cuts]}, resume=resume, replace=replace)

    (opened("b") / "file").mkdir()
    assert (opened("b") / "file").exists()
    with pytest.raises(OutputExistsError, match=r"cuts\[1\]: \"b\" there, \"c\" asked for"):
        opened("c")
    assert (opened("b") / "file").exists()
    (opened("c", replace=True) / "file").mkdir()
    assert not (opened("c", resume=False) / "file").exists()
    assert contents(tmp_path) == ["out.parts"]


def test_a_folder_that_only_looks_like_parts_is_left_alone(tmp_path):
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts" / "thesis.tex").touch()
    with pytest.raises(OutputExistsError, match=r"out\.parts exists"):
        open_parts(tmp_path / "out.parts", {"seed": 0}, resume=True, replace=True)
    assert contents(tmp_path / "out.parts") == ["thesis.tex"]


@given(
    st.integers(0, 3 * STRATUM), st.sampled_from([(0.6, 0.2, 0.2), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (0.1, 0.2, 0.7)])
)
def test_fractions_hold_to_one_event(n, fractions):
    scheme = PartitionScheme.of(fractions)
    counts = np.bincount(scheme.assign(np.random.default_rng(n).random(n)), minlength=3)
    assert counts.sum() == n
    np.testing.assert_allclose(counts, n * np.array(fractions), atol=1)


def test_strata_one_after_another_are_split_as_all_at_once():
    scheme, ranking = PartitionScheme.of((0.6, 0.2, 0.2)), np.random.default_rng(1).random(3 * STRATUM + 77)
    pieces = [scheme.assign(ranking[start : start + STRATUM], start) for start in range(0, len(ranking), STRATUM)]
    np.testing.assert_array_equal(np.concatenate(pieces), scheme.assign(ranking))


def test_every_event_is_as_likely_to_be_tested():
    n_events, trials = 5_000, 200
    scheme = PartitionScheme.of((0.6, 0.2, 0.2))
    rng = np.random.default_rng(1)
    tested = sum((scheme.assign(rng.random(n_events)) == 2) for _ in range(trials))
    # Binomial with p = 0.2: early events no more than late ones.
    assert abs(tested[: n_events // 2].mean() / trials - 0.2) < 0.002
    assert tested.std() == pytest.approx(np.sqrt(trials * 0.2 * 0.8), rel=0.05)


def test_in_order_cuts_as_madminer_does():
    codes = PartitionScheme.of("in_order").assign_in_order(40_000)
    assert [int(np.argmax(codes == k)) for k in range(3)] == [0, 24_000, 32_000]
    assert (np.diff(codes.astype(int)) >= 0).all()


@pytest.mark.parametrize("wrong", ["random", (0.5, 0.5), (0.9, 0.2, -0.1), (0.5, 0.2, 0.2), (float("nan"), 0.5, 0.5)])
def test_senseless_partitions_are_refused(wrong):
    with pytest.raises(InputError, match="partition"):
        PartitionScheme.of(wrong)
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        partition_code("trian")
