"""Write the map of all modules in docs/architecture.md from the modules' docstrings.

    python -m tools.module_map

The map has one line for each module: its name and the first sentence of its docstring. A test compares the
committed map with the modules.
"""

from __future__ import annotations

import ast
from pathlib import Path

from utils_ft import ROOT, UserError, command, read_text, show_path, write_text

PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- map:begin, written by tools.module_map -->", "<!-- map:end -->"
PACKAGES = ("asp", "lm", "data", "training", "inference", "evaluation", "export", "notebook")
"""The packages of `scripts/`, from the lowest level to the highest."""


def sentence(file: Path) -> str:
    """The first sentence of a module's docstring, without its period. Raises UserError if there is none."""
    text = ast.get_docstring(ast.parse(read_text(file)))
    if not text:
        raise UserError("the module has no docstring", where=file, line=1, remedy="write what it is for")
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].removesuffix(".")


def module_map(root: Path = ROOT) -> str:
    """The map in Markdown: commands, packages from the highest level to the lowest, tools."""
    scripts = root / "scripts"
    parts = [_table("`python -m scripts.NAME`", scripts, recursive=False)]
    for package in reversed(PACKAGES):
        folder = scripts / package
        parts.append(_table(f"`scripts/{package}`", folder))
    parts.append(_table("`python -m tools.NAME`", root / "tools"))
    return "\n\n".join(parts)


def _table(heading: str, folder: Path, recursive: bool = True) -> str:
    """A heading, the sentence of the package, and a table with one row for each module of a folder."""
    files = sorted(folder.rglob("*.py") if recursive else folder.glob("*.py"))
    rows = [
        f"| `{file.relative_to(folder).with_suffix('').as_posix()}` | {sentence(file)} |"
        for file in files
        if file.name != "__init__.py"
    ]
    about = sentence(folder / "__init__.py")
    return "\n".join([f"**{heading}** {about}.", "", "| module | what it does |", "|---|---|", *rows])


def with_map(page: str, text: str) -> str:
    """`page` with `text` between the marks. Raises UserError if a mark is missing."""
    if BEGIN not in page or END not in page:
        raise UserError("the marks of the map are missing", where=PAGE, remedy=f"add {BEGIN} and {END}")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write the map of all modules in docs/architecture.md from the modules' docstrings."""
    write_text(PAGE, with_map(read_text(PAGE), module_map()))
    print(show_path(PAGE))


if __name__ == "__main__":
    command(main)()
