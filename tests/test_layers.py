"""Imports point downward: a module may import its own folder and what lies below, never upward or across a row."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "dare"

TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text().splitlines()
    if re.match(r"\| [a-z, ]+ \| `\w+(/|\.py)`", line)
]
"""Of the guide for contributors, from the top down: folders in one row do not import each other."""

ROWS = [re.findall(r"`(\w+)(?:/|\.py)`", folders) for _, folders, _, _ in reversed(TABLE)]
LEVEL = {name: level for level, row in enumerate(ROWS) for name in row}
WITHOUT_TORCH = {
    name for row, (_, _, torch, _) in zip(ROWS, reversed(TABLE), strict=True) if torch == "no" for name in row
}
TORCH = {"torch", "torchvision", "timm"}
# Serving exported steps and networks of others must not need those of torch.
FREE_OF_MODELS = {
    f"runners/{path.name}" for path in (PACKAGE / "runners").glob("*.py") if path.stem not in ("eager", "prepacked")
}
# The command catches its errors before torch is loaded.
PLAIN = {"training/monitor.py"}

FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
    return found


def room(path: Path) -> str:
    """The folder or module directly below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_its_own_folder_and_what_lies_below(path: Path) -> None:
    own = room(path)
    if own in ("__init__", "__main__"):
        return
    assert own in LEVEL, f"{own} has no row; give it one in CONTRIBUTING.md"
    for name in imports(path):
        if not name.startswith("dare."):
            continue
        other = name.split(".")[1]
        assert other == own or LEVEL[other] < LEVEL[own], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_torch_stays_above_everything_that_decides_a_number(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    roots = {name.split(".")[0] for name in imports(path)}
    if relative in FREE_OF_MODELS | PLAIN:
        assert not roots & TORCH
        assert not any(name.startswith("dare.models") for name in imports(path))
    elif room(path) in WITHOUT_TORCH:
        assert not roots & TORCH


def test_importing_the_package_and_its_command_loads_neither_torch_nor_numba() -> None:
    import subprocess
    import sys

    code = "import dare, dare.cli, sys; print(sorted({'torch', 'numba', 'lancedb', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import dare

    for name in [name for name in sys.modules if name.startswith("dare.models")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(vars(dare), "DaRe", raising=False)
    with pytest.raises(ImportError, match=r"dare-reid\[torch\]"):
        _ = dare.DaRe


def test_every_public_name_can_be_fetched() -> None:
    import dare

    for name in dir(dare):
        assert getattr(dare, name) is not None


@pytest.mark.parametrize("folder", ["bench", "examples"])
def test_scripts_import_nothing_from_the_tests(folder: str) -> None:
    tests = {path.stem for path in Path(__file__).parent.rglob("*.py")}
    for path in (PACKAGE.parents[1] / folder).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"tests", *tests}
