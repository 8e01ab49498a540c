"""Problems: reading a folder of them, and which split each belongs to.

A problem is a folder with `problem.md` (the description), `encoding.lp` (the encoding with its comments) and
`instances/*.lp` (facts). `split.json` beside the families says which problems are for validation and test. A
problem that is only scored may have expected answer sets (`instances/*.json`) in place of the encoding.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from scripts.asp.encoding import Encoding, read_encoding
from scripts.data.expected import Expected, read_expected
from scripts.data.left_out import LeftOut, listing, nothing_left
from scripts.data.retellings import Retelling, read_retellings
from scripts.data.settings import STYLES
from scripts.data.twins import side_of_each
from scripts.data.wordings import read_wordings
from utils_ft import BENCHMARKS, UserError, content_hash, evenly_spaced, read_json, read_text, show_path


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
        retellings: The problem in other domains, from `retellings.json`.
        is_held_out: Whether its family is held out. `read_collection` sets it.
        expected: The expected answer sets of instances, by name.
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
    retellings: tuple[Retelling, ...] = ()
    is_held_out: bool = False
    expected: dict[str, Expected] = field(default_factory=dict)

    @cached_property
    def encoding(self) -> Encoding:
        """The encoding as steps. UserError if there is none, or if clingo cannot parse it."""
        if self.expected and not self.source:
            raise _without("encoding.lp", self.folder)
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
        texts += [text for retelling in self.retellings for text in retelling.texts]
        texts += [
            str((name, sorted(found.answer_sets), found.shown)) for name, found in self.expected.items()
        ]
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
        split_file: The split.json that decides, or None if a hash of the content does.
        generated: The ids of the problems that `with_generated` added.
    """

    problems: list[Problem]
    splits: dict[str, str]
    held_out_families: frozenset[str]
    left_out: tuple[LeftOut, ...] = ()
    split_file: Path | None = None
    generated: frozenset[str] = frozenset()

    def with_generated(self, folder: Path) -> Collection:
        """Return the collection with the problems of `folder`, such as `scripts.data_generator` writes.

        They are all for training, and each is told once.

        Raises:
            UserError: There is no such folder, no problem in it can be read, or an id is taken.
        """
        found, unreadable = read_folder(folder)
        if not found:
            raise nothing_left(unreadable)
        by_id = {problem.id: problem for problem in self.problems}
        for problem in found:
            _check_id(problem, by_id)
        return replace(
            self,
            problems=[*self.problems, *found],
            splits=self.splits | {problem.id: "train" for problem in found},
            left_out=(*self.left_out, *unreadable),
            generated=frozenset(problem.id for problem in found),
        )

    def of_split(self, split: str) -> list[Problem]:
        """The problems of `split`, or all for `all`."""
        return [problem for problem in self.problems if split in ("all", self.splits[problem.id])]

    def describe_split(self) -> str:
        """The number of problems in each split, and what decides, in one line."""
        counts = Counter(self.splits.values())
        numbers = ", ".join(f"{counts[split]} {split}" for split in ("train", "valid", "test"))
        held_out = f", held out: {', '.join(sorted(self.held_out_families))}" * bool(self.held_out_families)
        source = (
            show_path(self.split_file)
            if self.split_file
            else "a hash of the content, as there is no split.json"
        )
        return f"split: {numbers}{held_out} (by {source})"

    def describe_split_for_training(self) -> str:
        """The line of `describe_split`, and a note below it if there is no validation problem."""
        if "valid" in self.splits.values():
            return self.describe_split()
        return (
            f"{self.describe_split()}\n"
            "note: there is no validation problem, and a training needs one\n"
            '  remedy: write a split.json, such as {"valid": ["family/problem"], "test": ["family/problem"]}'
        )


@dataclass(frozen=True)
class _SplitFile:
    """What a split.json says. All sets are empty if there is no file."""

    file: Path
    exists: bool
    test_families: frozenset[str] = frozenset()
    test: frozenset[str] = frozenset()
    valid: frozenset[str] = frozenset()


def read_collection(root: str | Path = BENCHMARKS) -> Collection:
    """Read the problems below `root` and the split of each. A problem that cannot be read is left out.

    Raises:
        UserError: There is no such folder, no problem in it can be read, or its split.json is wrong.
    """
    found, unreadable = read_folder(root)
    if not found:
        raise nothing_left(unreadable)
    return with_split(found, root, unreadable)


def with_split(found: Sequence[Problem], root: str | Path, unreadable: Sequence[LeftOut]) -> Collection:
    """The collection of the problems that were `found` below `root`, with the split of each.

    Raises:
        UserError: The split.json is wrong.
    """
    root = Path(root).resolve()
    fixed = _read_split_file(root)
    splits = split_of(found, root, unreadable)
    problems = [replace(problem, is_held_out=problem.family in fixed.test_families) for problem in found]
    split_file = fixed.file if fixed.exists else None
    return Collection(problems, splits, fixed.test_families, tuple(unreadable), split_file)


def read_problems(root: str | Path = BENCHMARKS) -> list[Problem]:
    """Read all problems below `root`, sorted by folder. The family of a problem is the folder above it.

    Raises:
        UserError: There is no such folder, no problem in it, a file or folder in it cannot be read, a link
            leads out of it, or two problems have one id.
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
    root = Path(root).resolve()
    if not root.is_dir():
        raise UserError(
            "no such folder",
            where=root,
            remedy="give a folder of problems: DIR/<family>/<problem>/problem.md",
        )
    folders, unreadable = _problem_folders(root)
    if not folders and not unreadable:
        raise UserError(
            "there is no problem in this folder",
            where=root,
            remedy="put each problem into DIR/<family>/<problem>/ as problem.md and encoding.lp, "
            "with instances/*.lp",
        )
    by_id: dict[str, Problem] = {}
    for folder in folders:
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


def _problem_folders(root: Path) -> tuple[list[Path], list[LeftOut]]:
    """The folders of problems below `root`, sorted, without those that have a fault, and the faults.

    Nothing is left out without a word: a fault is a folder that cannot be read, and a link that leads to no
    file of `root`. Names with a dot at the beginning are files of editors. UserError for a name that is not
    UTF-8, and for a split.json that is not beside the families.
    """
    faults: dict[Path, UserError] = {}
    folders: set[Path] = set()

    def note(error: OSError) -> None:
        what = f"the folder cannot be read ({error.strerror})"
        folder = Path(error.filename)
        faults[folder] = UserError(what, where=folder, remedy="change its rights, or move it elsewhere")

    for place, names, files in os.walk(root, onerror=note):
        folder = Path(place)
        for name in [*names, *files]:
            if not name.isprintable():  # as bytes that are not UTF-8
                raise UserError("the name is not printable UTF-8", where=folder / name, remedy="rename it")
            if not name.startswith(".") and (fault := _link_fault(folder / name, root)):
                faults[folder / name] = fault
        if "split.json" in files and folder != root:
            raise UserError(
                "this file decides nothing: only a split.json directly in the folder of problems does",
                where=folder / "split.json",
                remedy=f"move it to {show_path(root)}, or give the folder {show_path(folder)}",
            )
        if {"problem.md", "NL.txt", "encoding.lp"} & {*files}:
            folders.add(folder)
    spoilt = {
        path: next((each for each in (path, *path.parents) if each in folders), path) for path in faults
    }
    left_out = [LeftOut("/".join(spoilt[path].parts[-2:]), fault) for path, fault in sorted(faults.items())]
    return sorted(folders - set(spoilt.values())), left_out


def _link_fault(path: Path, root: Path) -> UserError | None:
    """What is wrong with a symbolic link that does not lead to a file below `root`. None without a fault."""
    if not path.is_symlink():
        return None
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop
        what = "the link leads nowhere"
    else:
        if target.is_file() and target.is_relative_to(root):
            return None
        what = f"the link leads {'to a folder' if target.is_dir() else 'out of the folder of problems'}"
    return UserError(what, where=path.parent / path.name, remedy="put a copy into its place")


def read_problem(folder: Path, family: str) -> Problem:
    """Read one problem, in our layout or the predecessor's (`NL.txt` beside `ASP.txt` or `ASP.lp`).

    Raises:
        UserError: A file is missing, is empty, or is not UTF-8 text.
    """
    description = _first_file(folder, "problem.md", "NL.txt")
    encoding = _first_file(folder, "encoding.lp", "ASP.lp", "ASP.txt")
    if os.path.lexists(folder / "instances") and not (folder / "instances").is_dir():
        raise UserError("this is no folder", where=folder / "instances", remedy="make a folder of files *.lp")
    found = {file.stem: read_expected(file) for file in sorted((folder / "instances").glob("*.json"))}
    if description is None:
        raise _without("problem.md", folder)
    if encoding is None and not found:
        raise _without("encoding.lp", folder)
    instances = {file.stem: read_text(file) for file in sorted((folder / "instances").glob("*.lp"))}
    instances |= {name: "" for name in found if name not in instances}
    paraphrases = {style: folder / "paraphrases" / f"{style}.md" for style in STYLES}
    return Problem(
        name=folder.name,
        family=family,
        folder=folder,
        encoding_file=encoding or folder / "encoding.lp",
        description_file=description,
        source=_not_empty(read_text(encoding), encoding) if encoding else "",
        description=read_description(description),
        instances=instances or {"": ""},  # a program that contains its facts is one instance
        paraphrases={
            style: read_description(file) for style, file in paraphrases.items() if os.path.lexists(file)
        },
        wordings=read_wordings(folder),
        retellings=read_retellings(folder),
        expected=found,
    )


def _without(missing: str, folder: Path) -> UserError:
    return UserError(
        f"the problem has no {missing}", where=folder, remedy=f"write {show_path(folder / missing)}"
    )


def read_description(file: Path) -> str:
    """Read a description or a paraphrase of one, without its front matter. UserError if it is empty."""
    return _not_empty(without_front_matter(read_text(file)).strip(), file)


def _not_empty(text: str, file: Path) -> str:
    if not text.strip():
        raise UserError("the file is empty", where=file, remedy="write its text, or remove the file")
    return text


def _first_file(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if os.path.lexists(folder / name)), None)


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
        UserError: The file is not a split, has a name that is not in `problems` or is in the wrong list, or
            has an id as valid and as test.
    """
    fixed = _read_split_file(Path(root).resolve())
    if not fixed.exists:
        return side_of_each(problems)
    _check_names(fixed, problems, unreadable)
    held_out = {problem.id for problem in problems if problem.family in fixed.test_families}
    test = fixed.test | held_out
    if both := sorted(fixed.valid & test):
        raise UserError(f"{both[0]} is both valid and test", where=fixed.file, remedy="name it once")
    return {problem.id: _side(problem.id, test, fixed.valid) for problem in problems}


def _check_names(fixed: _SplitFile, problems: Sequence[Problem], unreadable: Sequence[LeftOut]) -> None:
    """UserError for a name that would have no effect in its list of split.json."""
    ids = {problem.id for problem in problems} | {entry.problem for entry in unreadable}
    families = {name.split("/")[0] for name in ids}
    known = {"test_families": families, "test": ids, "valid": ids}
    for part, names in known.items():
        if not (unknown := sorted(getattr(fixed, part) - names)):
            continue
        what, remedy = f"{unknown[0]} is not in this folder", "correct the name or remove it"
        if meant := [name for name in sorted(names) if name.endswith(f"/{unknown[0]}")]:
            remedy = f"write {' or '.join(meant)}"
        if unknown[0] in families:
            what = f"{unknown[0]} is a family, and `{part}` has ids of problems (family/problem)"
            remedy = "write it into `test_families`, or name its problems"
        elif unknown[0] in ids:
            what = f"{unknown[0]} is a problem, and `{part}` has families"
            remedy = "write it into `test`"
        raise UserError(what, where=fixed.file, remedy=remedy)


def _side(name: str, test: frozenset[str], valid: frozenset[str]) -> str:
    if name in test:
        return "test"
    return "valid" if name in valid else "train"


def held_out_families(problems: Sequence[Problem]) -> set[str]:
    """Return the families of `problems` that their collection holds out."""
    return {problem.family for problem in problems if problem.is_held_out}


def _read_split_file(root: Path) -> _SplitFile:
    """Read `<root>/split.json`. UserError if it is not a split."""
    file = root / "split.json"
    if not os.path.lexists(file):
        return _SplitFile(file, False)
    parts = ("test_families", "test", "valid")
    remedy = 'write {"test_families": [families], "test": [family/problem, …], "valid": […]}'
    content = read_json(file, remedy)
    if unknown := sorted(set(content) - {"rule", *parts}):  # `rule` is a remark
        raise UserError(f"unknown key {unknown[0]!r}", where=file, remedy=remedy)
    for part in parts:
        names = content.get(part, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"`{part}` is not a list of names", where=file, remedy=remedy)
    return _SplitFile(file, True, *(frozenset(content.get(part, ())) for part in parts))


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
