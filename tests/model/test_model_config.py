import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reg2rg.errors import InputError
from reg2rg.model.build import phantom, published, tiny
from reg2rg.model.config import Reg2RGConfig, load_config
from reg2rg.tokens import SpecialTokens


@pytest.mark.parametrize("config", [published(), phantom(300), tiny()], ids=["published", "phantom", "tiny"])
def test_through_json_and_back(config: Reg2RGConfig) -> None:
    written = json.dumps(config.to_dict())
    again = Reg2RGConfig.from_dict(json.loads(written))
    assert again == config
    assert json.dumps(again.to_dict()) == written, "kept crops are found by it"


def test_published_sizes() -> None:
    config = published()
    assert config.tokens == SpecialTokens(num_latents=32, max_regions=10)
    assert config.vision.patches_xyz(config.crop_size_xyz) == (8, 8, 16)
    assert config.mask_encoder.patches_xyz(config.crop_size_xyz) == (8, 8, 4)
    assert (config.window.low, config.window.high, config.outside_hu) == (-1000, 200, -1024)


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(values: dict[str, Any]) -> None:
        *parents, key = path.split(".")
        for parent in parents:
            values = values[parent]
        values[key] = value

    return apply


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (change("colour", "blue"), "colour: unknown key"),
        (change("vision.colour", "blue"), "vision.colour: unknown key"),
        (lambda values: values["vision"].pop("width"), "vision.width: missing key"),
        (change("format", "llama"), "expected a reg2rg model"),
        (change("vision", 3), "vision: expected an object"),
        (change("vision.width", "wide"), "vision.width: expected a whole number, got 'wide'"),
        (change("vision.width", 24.0), "vision.width: expected a whole number, got 24.0"),
        (change("vision.width", True), "vision.width: expected a whole number, got True"),
        (change("vision.width", 25), "vision.width: expected a multiple of 3"),
        (change("vision.depth", 0), "vision.depth: expected whole numbers from 1"),
        (change("vision.dropout", 1.0), "vision.dropout: expected a probability"),
        (change("vision.patch_size_xyz", [8, 8]), "vision.patch_size_xyz: expected 3 values"),
        (change("vision.patch_size_xyz", 8), "vision.patch_size_xyz: expected a list"),
        (change("vision.patch_size_xyz", [8, 8, 3]), "vision.patch_size_xyz: patches of 3 do not fill"),
        (change("vision.position_rows_xyz", [3, 2, 4]), "vision.position_rows_xyz: 3 rows for 2 patches in x"),
        (change("mask_encoder.channels", 3), "mask_encoder.channels: a mask has 1 channel"),
        (change("window", {"low": 200, "high": -1000}), "window.a HU window goes from low to high"),
        (change("grid_spacing_mm", [1, 1, 0]), "grid_spacing_mm: expected positive lengths"),
        (change("language.architecture", {}), "language.architecture: expected the config.json"),
        (change("language.lora", {"rank": 8, "alpha": 32, "dropout": 0.1, "targets": []}), "language.lora.targets: "),
    ],
)
def test_a_mistake_is_named(mistake: Callable[[dict[str, Any]], None], message: str, tmp_path: Path) -> None:
    values = copy.deepcopy(tiny().to_dict())
    mistake(values)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", None])
def test_no_configuration(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"config\.json: expected"):
        load_config(path)


def test_whole_numbers_do_for_spacings() -> None:
    values = tiny().to_dict() | {"grid_spacing_mm": [1, 1, 3]}
    assert Reg2RGConfig.from_dict(values).grid_spacing_mm == (1.0, 1.0, 3.0)


def test_imports_without_torch() -> None:
    code = "import sys, reg2rg.model.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
