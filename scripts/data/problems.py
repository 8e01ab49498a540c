"""Base problems: a text, an annotated encoding, small instances. Reading them, and the gate they must pass.

python -m scripts.benchmarks check DIR        every fault with file, line and remedy; exit code 2 if there is one
python -m scripts.benchmarks constructs DIR   how many problems show each construct of the language
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scripts.asp.constructs import construct_table, constructs  # noqa: F401 - read from here as well
from scripts.asp.encoding import Encoding, read_encoding
from utils_ft import BENCHMARKS, UserError, content_hash, evenly_spaced, read_text, show_path

STYLES = ("natural", "instructional", "academic")


@dataclass(frozen=True)
class Problem:
    """One base problem. `source` is the annotated encoding; `instances` and `paraphrases` map a name or style to a text."""

    name: str
    family: str
    folder: Path
    encoding_file: Path
    description_file: Path
    source: str
    description: str
    instances: dict[str, str]
    paraphrases: dict[str, str]

    @cached_property
    def encoding(self) -> Encoding:
        """The annotated encoding; UserError where it does not parse."""
        return read_encoding(self.source, str(self.encoding_file))

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}"

    @property
    def digest(self) -> str:
        """A hash of all its texts: what is kept of a problem holds as long as it stays the same."""
        named = [*self.instances.items(), *self.paraphrases.items()]
        return content_hash(
            self.id, self.source, self.description, *(text for pair in named for text in pair)
        )

    @property
    def example(self) -> tuple[str, str]:
        """Name and facts of the first instance with a solution (its name does not say `unsat`), as a person would give one."""
        return next(
            (item for item in self.instances.items() if "unsat" not in item[0]),
            next(iter(self.instances.items())),
        )

    def descriptions(self) -> dict[str, str]:
        """The description in every style there is, the original first."""
        return {"original": self.description, **self.paraphrases}


# --- reading ----------------------------------------------------------------------------------------------------


def read_problem(folder: Path, family: str) -> Problem:
    """Read one problem: our layout, or the predecessor's (`NL.txt` beside `ASP.txt` or `ASP.lp`)."""
    description = next((folder / name for name in ("problem.md", "NL.txt") if (folder / name).exists()), None)
    encoding = next(
        (folder / name for name in ("encoding.lp", "ASP.lp", "ASP.txt") if (folder / name).exists()), None
    )
    if description is None or encoding is None:
        missing = "problem.md" if description is None else "encoding.lp"
        raise UserError(
            f"the problem has no {missing}", where=folder, remedy=f"write {show_path(folder / missing)}"
        )
    instances = {file.stem: read_text(file) for file in sorted((folder / "instances").glob("*.lp"))}
    return Problem(
        name=folder.name,
        family=family,
        folder=folder,
        encoding_file=encoding,
        description_file=description,
        source=read_text(encoding),
        description=without_front_matter(read_text(description)).strip(),
        instances=instances or {"": ""},  # a program that carries its own facts is one instance
        paraphrases={
            style: without_front_matter(read_text(file)).strip()
            for style in STYLES
            if (file := folder / "paraphrases" / f"{style}.md").exists()
        },
    )


def without_front_matter(text: str) -> str:
    """`text` without the `---` block at its head."""
    return re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)


def read_problems(root: str | Path = BENCHMARKS) -> list[Problem]:
    """All problems below `root`, by name. The family is the folder above a problem. UserError where there is none."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(
            "no such folder",
            where=root,
            remedy="give a folder of problems: DIR/<family>/<problem>/problem.md",
        )
    folders = {file.parent for name in ("problem.md", "NL.txt", "encoding.lp") for file in root.rglob(name)}
    if not folders:
        raise UserError(
            "there is no problem in this folder",
            where=root,
            remedy="put each problem into DIR/<family>/<problem>/ as problem.md and encoding.lp, with instances/*.lp",
        )
    problems = [
        read_problem(folder, folder.parent.name if folder != root else root.name)
        for folder in sorted(folders)
    ]
    by_id: dict[str, Problem] = {}
    for problem in problems:
        if (other := by_id.setdefault(problem.id, problem)) is not problem:
            raise UserError(
                f"the problem has the name {problem.id}, as {show_path(other.folder)} has",
                where=problem.folder,
                remedy="rename one of the two folders, or the family above it",
            )
    return problems


def split_of(problems: Sequence[Problem], root: str | Path = BENCHMARKS) -> dict[str, str]:
    """`train`, `valid` or `test` for each problem's id.

    `split.json` beside the families fixes it: {"test_families": […], "test": [ids], "valid": [ids]}. What it does not
    name is train. Without one a hash of the id decides (one in ten valid, one in ten test).
    """
    file = Path(root) / "split.json"
    if not file.exists():
        draws = {problem.id: int(content_hash(problem.id)[:8], 16) % 10 for problem in problems}
        return {name: {0: "valid", 1: "test"}.get(draw, "train") for name, draw in draws.items()}
    try:
        fixed = json.loads(read_text(file))
        families, test, valid = (
            {str(name) for name in fixed.get(part, ())} for part in ("test_families", "test", "valid")
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"not a split ({error})",
            where=file,
            line=getattr(error, "lineno", None),
            remedy='write {"test_families": [names], "test": [family/problem, …], "valid": […]}',
        ) from None
    known = {problem.id for problem in problems} | {problem.family for problem in problems}
    if unknown := sorted((families | test | valid) - known):
        raise UserError(
            f"{unknown[0]} is not in this folder", where=file, remedy="mend the name or remove it"
        )
    test |= {problem.id for problem in problems if problem.family in families}
    if both := sorted(valid & test):
        raise UserError(f"{both[0]} is both valid and test", where=file, remedy="name it once")
    return {
        problem.id: "test" if problem.id in test else "valid" if problem.id in valid else "train"
        for problem in problems
    }


def held_out_families(problems: Sequence[Problem]) -> set[str]:
    """The families of `problems` that training never sees a problem of, as the split.json beside them says."""
    folders = {problem.folder.parent.parent for problem in problems}
    return {
        str(name)
        for folder in folders
        if (file := folder / "split.json").exists()
        for name in json.loads(read_text(file)).get("test_families", ())
    }


# --- the gate ---------------------------------------------------------------------------------------------------


# --- command ----------------------------------------------------------------------------------------------------


def problems_of_split(
    benchmarks: Path = BENCHMARKS, split: str = "test", limit: int | None = None
) -> list[Problem]:
    """The problems of a split, or `all`; `limit` of them, spread evenly over the families. UserError where there is none."""
    problems = read_problems(benchmarks)
    splits = split_of(problems, benchmarks)
    chosen = [problem for problem in problems if split in ("all", splits[problem.id])]
    if not chosen:
        raise UserError(
            f"no problem of this folder is in the split {split!r}",
            where=benchmarks,
            remedy=f'name some in its split.json, {{"{split}": ["family/problem"]}}, or score everything with --split all',
        )
    return chosen if limit is None else evenly_spaced(chosen, limit)
