"""Problems: reading a folder of them, and which split each belongs to.

A problem is a folder with `problem.md` (the description), `encoding.lp` (the encoding with its comments) and
`instances/*.lp` (facts). `split.json` beside the families says which problems are for validation and test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scripts.asp.encoding import Encoding, read_encoding
from scripts.data.left_out import LeftOut, listing, nothing_left
from scripts.data.settings import STYLES
from scripts.data.twins import side_of_each
from scripts.data.wordings import read_wordings
from utils_ft import BENCHMARKS, UserError, content_hash, evenly_spaced, read_text, show_path


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        name: The name of its folder.
        family: The name of its family: the folder above.
        folder: Its folder.
        encoding_file: The file of the encoding.
        description_file: The file of the description.
        source: The text of the encoding, with its comments.
        description: The description.
        instances: The facts of each instance, by name.
        paraphrases: The paraphrases of the description, by style.
        wordings: Other wordings of an instruction, from `wordings.json`.
    """

    name: str
    family: str
    folder: Path
    encoding_file: Path
    description_file: Path
    source: str
    description: str
    instances: dict[str, str]
    paraphrases: dict[str, str]
    wordings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def encoding(self) -> Encoding:
        """The encoding as steps. UserError if clingo cannot parse it."""
        return read_encoding(self.source, str(self.encoding_file))

    @property
    def id(self) -> str:
        """`family/name`."""
        return f"{self.family}/{self.name}"

    @property
    def digest(self) -> str:
        """A hash of all texts of the problem. Results of an earlier run are valid if it is the same."""
        named = [*self.instances.items(), *self.paraphrases.items()]
        texts = [text for pair in named for text in pair]
        texts += [text for instruction, others in self.wordings.items() for text in (instruction, *others)]
        return content_hash(self.id, self.source, self.description, *texts)

    @property
    def example(self) -> tuple[str, str]:
        """Name and facts of the first instance that has an answer set (its name does not contain `unsat`)."""
        satisfiable = (item for item in self.instances.items() if "unsat" not in item[0])
        return next(satisfiable, next(iter(self.instances.items())))

    def descriptions(self) -> dict[str, str]:
        """The description by style, `original` first, then the paraphrases."""
        return {"original": self.description, **self.paraphrases}


@dataclass(frozen=True)
class Collection:
    """A folder of problems.

    Attributes:
        problems: The problems, by id.
        splits: `train`, `valid` or `test` for each id.
        held_out_families: The families that are in the test split as a whole.
        left_out: Problems that cannot be read, and why.
    """

    problems: list[Problem]
    splits: dict[str, str]
    held_out_families: frozenset[str]
    left_out: tuple[LeftOut, ...] = ()

    def of_split(self, split: str) -> list[Problem]:
        """The problems of `split`, or all for `all`."""
        return [problem for problem in self.problems if split in ("all", self.splits[problem.id])]


@dataclass(frozen=True)
class _SplitFile:
    """What a split.json says. All sets are empty if there is no file."""

    file: Path
    exists: bool
    held_out_families: frozenset[str]
    test: frozenset[str]
    valid: frozenset[str]


def read_collection(root: str | Path = BENCHMARKS) -> Collection:
    """Read the problems below `root` and the split of each. A problem that cannot be read is left out.

    Raises:
        UserError: There is no such folder, no problem in it can be read, or its split.json is wrong.
    """
    problems, unreadable = read_folder(root)
    if not problems:
        raise nothing_left(unreadable)
    splits = split_of(problems, root, unreadable)
    families = _read_split_file(Path(root)).held_out_families
    return Collection(problems, splits, families, tuple(unreadable))


def read_problems(root: str | Path = BENCHMARKS) -> list[Problem]:
    """Read all problems below `root`, sorted by folder. The family of a problem is the folder above it.

    Raises:
        UserError: There is no such folder, no problem in it, a file cannot be read, or two problems have one
            id.
    """
    problems, unreadable = read_folder(root)
    if unreadable:
        raise unreadable[0].fault
    return problems


def read_folder(root: str | Path = BENCHMARKS) -> tuple[list[Problem], list[LeftOut]]:
    """Read the problems below `root`, and list those that cannot be read.

    Raises:
        UserError: There is no such folder, or no problem in it.
    """
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
            remedy="put each problem into DIR/<family>/<problem>/ as problem.md and encoding.lp, "
            "with instances/*.lp",
        )
    by_id: dict[str, Problem] = {}
    unreadable: list[LeftOut] = []
    for folder in sorted(folders):
        family = folder.parent.name if folder != root else root.name
        try:
            problem = read_problem(folder, family)
            _check_id(problem, by_id)
            by_id[problem.id] = problem
        except UserError as fault:
            unreadable.append(LeftOut(f"{family}/{folder.name}", fault))
        except OSError as error:
            fault = UserError(
                f"cannot be read ({error.strerror})", where=folder, remedy="check the rights of its files"
            )
            unreadable.append(LeftOut(f"{family}/{folder.name}", fault))
    return list(by_id.values()), unreadable


def _check_id(problem: Problem, by_id: Mapping[str, Problem]) -> None:
    """UserError if another problem has the id of `problem`."""
    if other := by_id.get(problem.id):
        raise UserError(
            f"the problem has the name {problem.id}, as {show_path(other.folder)} has",
            where=problem.folder,
            remedy="rename one of the two folders, or the family above it",
        )


def read_problem(folder: Path, family: str) -> Problem:
    """Read one problem, in our layout or the predecessor's (`NL.txt` beside `ASP.txt` or `ASP.lp`).

    Raises:
        UserError: A file is missing or is not UTF-8 text.
    """
    description = _first_file(folder, "problem.md", "NL.txt")
    encoding = _first_file(folder, "encoding.lp", "ASP.lp", "ASP.txt")
    if description is None or encoding is None:
        missing = "problem.md" if description is None else "encoding.lp"
        raise UserError(
            f"the problem has no {missing}", where=folder, remedy=f"write {show_path(folder / missing)}"
        )
    instances = {file.stem: read_text(file) for file in sorted((folder / "instances").glob("*.lp"))}
    paraphrases = {style: folder / "paraphrases" / f"{style}.md" for style in STYLES}
    return Problem(
        name=folder.name,
        family=family,
        folder=folder,
        encoding_file=encoding,
        description_file=description,
        source=read_text(encoding),
        description=without_front_matter(read_text(description)).strip(),
        instances=instances or {"": ""},  # a program that contains its facts is one instance
        paraphrases={
            style: without_front_matter(read_text(file)).strip()
            for style, file in paraphrases.items()
            if file.exists()
        },
        wordings=read_wordings(folder),
    )


def _first_file(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)


def without_front_matter(text: str) -> str:
    """Return `text` without the `---` block at its beginning."""
    return re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)


def split_of(
    problems: Sequence[Problem], root: str | Path = BENCHMARKS, unreadable: Sequence[LeftOut] = ()
) -> dict[str, str]:
    """Return `train`, `valid` or `test` for the id of each problem.

    `<root>/split.json` decides: {"test_families": [families], "test": [ids], "valid": [ids]}. All other
    problems are in the training split. If there is no such file, a hash of the content decides: one group of
    twins in ten is valid, one in ten test.

    Arguments:
        problems: The problems.
        root: The folder of the split.json.
        unreadable: Problems of the folder that are left out. The split.json may name them.

    Raises:
        UserError: The file is not a split, has a name that is not in `problems`, or has an id as valid and as
            test.
    """
    fixed = _read_split_file(Path(root))
    if not fixed.exists:
        return side_of_each(problems)
    ids = {problem.id for problem in problems} | {entry.problem for entry in unreadable}
    known = ids | {name.split("/")[0] for name in ids}
    if unknown := sorted((fixed.held_out_families | fixed.test | fixed.valid) - known):
        raise UserError(
            f"{unknown[0]} is not in this folder", where=fixed.file, remedy="correct the name or remove it"
        )
    held_out = {problem.id for problem in problems if problem.family in fixed.held_out_families}
    test = fixed.test | held_out
    if both := sorted(fixed.valid & test):
        raise UserError(f"{both[0]} is both valid and test", where=fixed.file, remedy="name it once")
    return {problem.id: _side(problem.id, test, fixed.valid) for problem in problems}


def _side(name: str, test: frozenset[str], valid: frozenset[str]) -> str:
    if name in test:
        return "test"
    return "valid" if name in valid else "train"


def held_out_families(problems: Sequence[Problem]) -> set[str]:
    """Return the families that the split.json beside the families of `problems` holds out.

    UserError as `split_of`.
    """
    roots = {problem.folder.parent.parent for problem in problems}
    return {family for root in roots for family in _read_split_file(root).held_out_families}


def _read_split_file(root: Path) -> _SplitFile:
    """Read `<root>/split.json`. UserError if it is not a split."""
    file = root / "split.json"
    if not file.exists():
        return _SplitFile(file, False, frozenset(), frozenset(), frozenset())
    try:
        content = json.loads(read_text(file))
        families, test, valid = (
            frozenset(str(name) for name in content.get(part, ()))
            for part in ("test_families", "test", "valid")
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"not a split ({error})",
            where=file,
            line=getattr(error, "lineno", None),
            remedy='write {"test_families": [names], "test": [family/problem, …], "valid": […]}',
        ) from None
    return _SplitFile(file, True, families, test, valid)


def problems_of_split(
    benchmarks: Path = BENCHMARKS, split: str = "test", limit: int | None = None
) -> list[Problem]:
    """Read the problems of a split (or of `all`), at most `limit`, spread evenly over the families.

    Problems that cannot be read are listed and left out.

    Raises:
        UserError: No problem is in that split, or the folder cannot be read.
    """
    collection = read_collection(benchmarks)
    if text := listing(collection.left_out):
        print(text, flush=True)
    return some_of_split(collection, benchmarks, split, limit)


def some_of_split(collection: Collection, benchmarks: Path, split: str, limit: int | None) -> list[Problem]:
    """Return the problems of a split of `collection`, as `problems_of_split` does for its folder."""
    chosen = collection.of_split(split)
    if not chosen:
        raise UserError(
            f"no problem of this folder is in the split {split!r}",
            where=benchmarks,
            remedy=f'name some in its split.json, {{"{split}": ["family/problem"]}}, '
            "or score everything with --split all",
        )
    return chosen if limit is None else evenly_spaced(chosen, limit)
