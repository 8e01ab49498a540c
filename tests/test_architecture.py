"""The shape of the code: which package may import which, the module map, and ruff."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools import module_map
from utils_ft import ROOT

LEVELS = (
    {"utils_ft"},
    {"asp", "lm"},
    {"data"},
    {"training", "inference"},
    {"evaluation", "export"},
    {"notebook"},
    {"commands"},
    {"tools"},
)
"""The units of the code. A unit may import itself and units of lower levels, but none of its own level."""
FILES = [
    ROOT / "utils_ft.py",
    *sorted((ROOT / "scripts").rglob("*.py")),
    *sorted((ROOT / "tools").rglob("*.py")),
]


def name_of(file: Path) -> str:
    """The dotted name of a module."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def unit_of(module: str) -> str:
    """The unit that a module belongs to."""
    first, *rest = module.split(".")
    if first != "scripts":
        return first
    if not rest:
        return "utils_ft"  # the package `scripts` itself, which every module imports
    return rest[0] if rest[0] in module_map.PACKAGES else "commands"


def imports_of(file: Path) -> set[str]:
    """The modules of the project that a file imports, anywhere in its code."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found & MODULES.keys()


def violations() -> list[str]:
    """The imports that break the rule, as `module → imported module`."""
    level = {unit: number for number, units in enumerate(LEVELS) for unit in units}
    return [
        f"{name} → {other}"
        for name, file in MODULES.items()
        for other in sorted(imports_of(file))
        if unit_of(name) != unit_of(other) and level[unit_of(name)] <= level[unit_of(other)]
    ]


def test_a_package_imports_only_packages_of_lower_levels():
    assert not violations()


def test_every_package_has_a_level_and_a_place_in_the_map():
    folders = {file.parent.name for file in (ROOT / "scripts").glob("*/__init__.py")}
    assert folders == set(module_map.PACKAGES) == set.union(*LEVELS[1:-2])


def test_the_map_of_modules_is_up_to_date():
    page = module_map.PAGE.read_text(encoding="utf-8")
    assert page == module_map.with_map(page, module_map.module_map()), "run: python -m tools.module_map"


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff_finds_nothing(arguments):
    done = subprocess.run([sys.executable, "-m", "ruff", *arguments, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
