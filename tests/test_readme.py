"""What the README says of the code is true."""

import ast
import re
import subprocess
import sys

import pytest

from utils_ft import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def floors():
    """Module → floor, from the README's map."""
    block = README.split("<!-- map:begin -->")[1].split("<!-- map:end -->")[0]
    found = {}
    for line in block.splitlines():
        if row := re.match(r"\| (\d+) \| (.+?) \|", line):
            for name in re.findall(r"`([\w.]+)`", row[2]):
                found[name.removesuffix(".py")] = int(row[1])
    return found


def imports():
    """Module → the modules of the project that it imports."""
    found = {}
    for file in sorted((ROOT / "scripts").glob("*.py")):
        if file.stem == "__init__":
            continue
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "scripts":
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scripts."):
                names.add(node.module.split(".")[1])
        found[file.stem] = names
    return found


def test_the_map_names_every_module_and_no_other():
    assert set(floors()) - {"utils_ft"} == set(imports())


def test_a_module_imports_only_from_floors_below_its_own():
    floor = floors()
    wrong = [f"{name} (floor {floor[name]}) imports {other} (floor {floor[other]})"
             for name, others in imports().items() for other in others if floor[other] >= floor[name]]
    assert not wrong


COMMANDS = sorted(set(re.findall(r"python -m (scripts\.\w+)", README)))


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_of_the_readme_explains_itself(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Usage" in done.stdout
    options = set(re.findall(r"--[a-z][\w-]+", done.stdout))
    for line in re.findall(rf"python -m {module}((?:[^\n`]*\\\n)*[^\n`#]*)", README):
        assert set(re.findall(r"(?<!\S)--[a-z][\w-]+", line)) <= options
