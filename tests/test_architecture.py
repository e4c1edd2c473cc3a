"""docs/ARCHITECTURE.md says what the tree and the imports say."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "reg2rg"


def layers() -> dict[str, int]:
    """Each module that the page lists, with its layer."""
    listed: dict[str, int] = {}
    layer = 0
    for line in (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"### (\d+)\.", line):
            layer = int(heading[1])
        elif entry := re.match(r"- `(.+?\.py)`: \S", line):
            assert entry[1] not in listed, f"{entry[1]} is listed twice"
            listed[entry[1]] = layer
    return listed


def modules() -> dict[str, Path]:
    return {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}


def imported_modules(path: Path) -> set[str]:
    """Files of this package that a module imports, wherever in it, types included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "reg2rg":
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "reg2rg"}
    parts = [name.split(".")[1:] for name in names if name != "reg2rg"]
    candidates = {f"{'/'.join(part)}{ending}" for part in parts for ending in (".py", "/__init__.py")}
    return candidates & modules().keys()


def test_every_module_is_listed_once_and_exists() -> None:
    assert sorted(layers()) == sorted(modules())


def test_modules_import_downwards() -> None:
    layer = layers()
    wrong = [
        f"{name} (layer {layer[name]}) imports {other} (layer {layer[other]})"
        for name, path in modules().items()
        for other in imported_modules(path)
        if layer[other] > layer[name]
    ]
    assert wrong == []


def test_tests_mirror_the_package() -> None:
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert {str(folder) for folder in folders} <= {".", *(str(path.relative_to(PACKAGE)) for path in PACKAGE.iterdir())}
