"""Models by name: the shipped ones, one's own folder, and a remedy for everything else."""

from pathlib import Path

import pytest

from reg2rg.errors import InputError
from reg2rg.models import DEFAULT_MODEL, INDEX_FILE, SHIPPED_MODELS, WEIGHTS_FILE, find_model, notice_of


def test_shipped_models_are_found_by_name_with_their_files() -> None:
    assert DEFAULT_MODEL in [model.name for model in SHIPPED_MODELS]
    for model in SHIPPED_MODELS:
        assert find_model(model.name) == model.folder
        assert (model.folder / "config.json").is_file()
        assert (model.folder / WEIGHTS_FILE).is_file()
        assert model.description and "\n" not in model.description


def test_a_name_wins_over_a_folder_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "phantom").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("phantom") == SHIPPED_MODELS[0].folder


@pytest.mark.parametrize("weights", [WEIGHTS_FILE, INDEX_FILE])
def test_ones_own_folder(tmp_path: Path, weights: str) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / weights).touch()
    assert find_model(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("present", "found"),
    [
        ((), "found none"),
        (("config.json",), "found none"),
        ((WEIGHTS_FILE,), "found none"),
        (("config.json", "b.pth", "a.bin"), "found a.bin, a pickle: turn it into safetensors with reg2rg convert"),
    ],
)
def test_a_folder_without_a_model_is_refused(tmp_path: Path, present: tuple[str, ...], found: str) -> None:
    for name in present:
        (tmp_path / name).touch()
    with pytest.raises(InputError) as refused:
        find_model(str(tmp_path))
    assert str(refused.value) == f"{tmp_path}: expected config.json and model.safetensors, {found}"


@pytest.mark.parametrize("name", ["phantoms", "Phantom", "meta-llama/Llama-2-7b"])
def test_an_unknown_name_is_refused_with_the_known_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        find_model(name)
    assert str(refused.value).startswith(f"unknown model {name!r}: expected one of phantom")


def test_a_model_of_phantoms_says_so_wherever_it_is_used() -> None:
    assert "never seen a patient" in notice_of("phantom")
    assert notice_of("RadGenome-ChestCT") == ""
