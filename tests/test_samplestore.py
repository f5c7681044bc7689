from __future__ import annotations

import numpy as np
import pytest
import zarr

from columnminer.errors import FileFormatError, InputError, OutputExistsError, UnknownNameError
from columnminer.store.samplestore import SampleStore


def arrays(n=10, dtype=np.float32):
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(n, 3)).astype(dtype),
        "theta0": rng.normal(size=(n, 2)).astype(dtype),
        "y": np.repeat([0.0, 1.0], n // 2).astype(dtype),
        "r_xz": None,
        "n_eff": np.array([5.0]),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_come_back_as_they_were(tmp_path, dtype):
    attributes = {"feature_names": ["a", "b", "c"], "partition": "train"}
    store = SampleStore.write(tmp_path / "deep" / "train.zarr", arrays(dtype=dtype), attributes)
    for opened in (store, SampleStore(store.path)):
        assert len(opened) == 10
        assert opened.attributes == attributes
        assert sorted(opened) == ["n_eff", "theta0", "x", "y"]
        for name, values in arrays(dtype=dtype).items():
            if values is None:
                assert name not in opened
            else:
                np.testing.assert_array_equal(opened[name][:], values)
                assert opened[name].dtype == values.dtype
        np.testing.assert_array_equal(opened.x[2:5], arrays(dtype=dtype)["x"][2:5])


def test_a_missing_array_is_named(tmp_path):
    store = SampleStore.write(tmp_path / "s", arrays(), {})
    with pytest.raises(UnknownNameError, match="no array 'r_xz'"):
        store.r_xz[:]
    with pytest.raises(UnknownNameError, match="Did you mean 'theta0'"):
        store["theta"]


def test_outputs_are_not_overwritten_by_accident(tmp_path):
    SampleStore.write(tmp_path / "s", arrays(), {})
    with pytest.raises(OutputExistsError):
        SampleStore.write(tmp_path / "s", arrays(4), {})
    assert len(SampleStore.write(tmp_path / "s", arrays(4), {}, replace=True)) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_arrays_have_to_fit_together(tmp_path):
    with pytest.raises(InputError, match="same number of rows"):
        SampleStore.write(tmp_path / "s", {"x": np.zeros((3, 1)), "y": np.zeros(4)}, {})
    assert list(tmp_path.iterdir()) == []


def test_other_things_are_not_opened(tmp_path):
    with pytest.raises(FileFormatError, match="no Zarr group"):
        SampleStore(tmp_path / "nothing")
    zarr.create_group(str(tmp_path / "g"))
    with pytest.raises(FileFormatError, match="not a sample store"):
        SampleStore(tmp_path / "g")
