"""What is kept of each study: written once, read back the same, complete or not at all."""

from pathlib import Path

import numpy as np
import pytest

from reg2rg.data.store import StudyStore, digest_of
from reg2rg.errors import InputError


class Squares(StudyStore):
    """Counts how often it computes; one study cannot be computed."""

    def __init__(self, folder: Path, keys: tuple[str, ...]) -> None:
        super().__init__(folder, keys)
        self.computed: list[int] = []

    def _compute(self, number: int) -> dict[str, np.ndarray]:
        self.computed.append(number)
        if number == 1:
            raise InputError("nothing to encode")
        return {"square": np.array(number**2), "name": np.array([f"study {number}"])}


def test_computed_once_and_read_back(tmp_path: Path) -> None:
    store = Squares(tmp_path, ("a.nii.gz", "b.nii.gz", "c.nii.gz"))
    steps: list[tuple[int, int]] = []
    problems = store.fill(progress=lambda done, total: steps.append((done, total)))
    assert problems == {"b.nii.gz": "nothing to encode"}
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert (len(store), store.keys) == (2, ["a.nii.gz", "c.nii.gz"])
    assert [store.arrays(index)["square"].item() for index in range(2)] == [0, 4]
    assert store.arrays(1)["name"].tolist() == ["study 2"]
    assert store.computed == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.arrays", "c.arrays"]


def test_what_is_there_is_not_computed_again(tmp_path: Path) -> None:
    Squares(tmp_path, ("a", "x")).fill()
    again = Squares(tmp_path, ("a",))
    again.fill()
    assert again.arrays(0)["square"] == 0
    assert again.computed == []


def test_a_study_is_computed_when_it_is_asked_for(tmp_path: Path) -> None:
    store = Squares(tmp_path, ("a", "b"))
    assert store.arrays(0)["square"] == 0
    with pytest.raises(InputError, match="nothing"):
        store.arrays(1)
    assert not (tmp_path / "b.arrays").exists()


def test_arrays_keep_their_type_and_their_order_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(-9, 9, (3, 4, 5)).astype(np.int16)
    arrays = {
        "c": array,
        "f": np.asfortranarray(array),
        "flipped": array[::-1],
        "turned": np.moveaxis(rng.normal(size=(4, 5, 6)).astype(np.float16), 0, 1),
        "empty": np.zeros((0, 3)),
        "no_words": np.array((), dtype=str),
        "words": np.array(["lung", "trachea and bronchie"]),
        "number": np.array(2.5),
    }

    class Kept(StudyStore):
        def _compute(self, number: int) -> dict[str, np.ndarray]:
            return arrays

    stored = Kept(tmp_path, ("a",)).arrays(0)
    for name, expected in arrays.items():
        assert stored[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(stored[name], expected, err_msg=name)
    assert stored["f"].flags.f_contiguous


def test_other_settings_have_another_name() -> None:
    assert digest_of({"a": 1, "b": (2, 3)}) == digest_of({"b": (2, 3), "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert digest_of({"a": 1, "b": (2, 3)}) == digest_of({"a": 1.0, "b": [2.0, 3.0]})
    assert digest_of({"a": 1}) != digest_of({"a": True})
