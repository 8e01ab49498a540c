"""The committed notebooks: short cells, no logic, no private paths, no keys."""

import ast
import importlib
import json
import re
from types import ModuleType

import nbformat
import pytest

from scripts.notebook.runner import NOTEBOOKS
from utils_ft import ROOT


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_of(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_notebook_has_one_commented_parameters_cell_near_the_top(name):
    cells = read(name).cells
    tagged = [index for index, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0] <= 2
    for line in cells[tagged[0]].source.splitlines():
        assert re.match(r"[A-Z_]+ = .+ {2}# ", line), f"a parameter without a comment: {line}"
        ast.literal_eval(line.split(" = ", 1)[1])  # papermill can replace a value, not an expression


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_contain_no_logic(name):
    code = [cell.source for cell in code_of(name)]
    logic = re.compile(r"^\s*(def|class|while|for|import matplotlib)\b", re.MULTILINE)
    assert not any(logic.search(source) for source in code)
    assert all(len(source.splitlines()) <= 30 for source in code)
    assert max(len(line) for source in code for line in source.splitlines()) <= 100, "wider than the page"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_cell_of_imports_has_at_most_ten_imports(name):
    source = code_of(name)[1].source
    assert 3 <= len(re.findall(r"(?m)^(?:from|import) ", source)) <= 10
    assert "setup." in source


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_code_cell_follows_a_text_cell(name):
    cells = read(name).cells
    kinds = [cell.cell_type for cell in cells]
    assert 10 <= kinds.count("code") <= 20
    assert kinds[:3] == ["markdown", "code", "code"] and kinds[-1] == "markdown"
    for place, (before, kind) in enumerate(zip(kinds[2:], kinds[3:], strict=False), 3):
        assert "markdown" in (before, kind), f"code without text before it: {cells[place].source[:60]}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_everything_that_a_notebook_imports_and_calls_exists(name):
    modules = {}
    for cell in code_of(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    imported = imported_from(node.module, alias.name)
                    if isinstance(imported, ModuleType):
                        modules[alias.asname or alias.name] = imported
    for cell in code_of(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = modules.get(node.value.id)
                assert module is None or hasattr(module, node.attr), f"{node.value.id}.{node.attr}"
    assert {"plots", "html", "setup"} <= set(modules)


def imported_from(module, name):
    """What `from module import name` binds."""
    parent = importlib.import_module(module)
    return getattr(parent, name, None) or importlib.import_module(f"{module}.{name}")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_contain_no_path_key_widget_or_error(name):
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|work|tmp)/|[A-Z]:\\\\Users", text)
    assert not re.search(r"hf_[A-Za-z0-9]{20,}|AIza[\w-]{30,}", text)
    book = json.loads(text)
    assert "widgets" not in book["metadata"]
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert "<progress" not in text, "a finished progress bar has no information"
