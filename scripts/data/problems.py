"""Base problems: a text, an annotated encoding, small instances. Reading them, and the gate they must pass.

python -m scripts.benchmarks check DIR        every fault with file, line and remedy; exit code 2 if there is one
python -m scripts.benchmarks constructs DIR   how many problems show each construct of the language
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from clingo import SymbolType
from clingo.ast import ASTType

from scripts.asp.constructs import construct_table, constructs  # noqa: F401 - read from here as well
from scripts.asp.encoding import Encoding, Statement, predicates, read_encoding, walk
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from utils_ft import BENCHMARKS, UserError, content_hash, read_text, show_path

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


@dataclass(frozen=True)
class Fault:
    """One reason why a problem does not pass the gate."""

    file: Path
    line: int | None
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{show_path(self.file)}{f':{self.line}' if self.line else ''}: {self.what}\n  remedy: {self.remedy}"


@dataclass(frozen=True)
class Checked:
    """A problem's way through the gate: its faults, and how many of its statements the solver found load-bearing."""

    problem: Problem
    faults: tuple[Fault, ...]
    statements: int
    load_bearing: int
    answer_sets: tuple[int, ...]


def check_problem(problem: Problem, solver: Solver) -> Checked:
    """Everything the gate asks of one problem.

    It parses, each statement has its own instruction, the text names each predicate and constant, every instance is
    satisfiable (unless its name says `unsat`) and enumerates completely, and every statement is load-bearing: without
    it the projected answer sets, or the optimal costs, of at least one instance change. Definitions are tested through
    the shown atoms that need them, symmetry breakers through the answer sets that come back without them.
    """
    try:
        encoding = problem.encoding
    except UserError as error:
        what, _, remedy = str(error).partition("\n  remedy: ")
        position = re.search(r":(\d+): (.*)", what, re.DOTALL)
        fault = Fault(
            problem.encoding_file,
            int(position[1]) if position else None,
            position[2] if position else what,
            remedy,
        )
        return Checked(problem, (fault,), 0, 0, ())
    statements = [statement for step in encoding.steps for statement in step.statements]
    faults = [*_annotation_faults(problem), *_naming_faults(problem)]
    if not (problem.folder / "instances").is_dir():
        faults.append(
            Fault(
                problem.folder / "instances",
                None,
                "the problem has no instances",
                "add two to four small files of facts, instances/NAME.lp",
            )
        )
    outcomes = list(
        solver.run(
            Request(f"{facts}\n{encoding.program}", solve=True) for facts in problem.instances.values()
        )
    )
    faults += instance_faults(problem, outcomes)
    if any(outcome.answer_sets is None for outcome in outcomes):
        return Checked(
            problem,
            tuple(faults),
            len(statements),
            0,
            tuple(len(outcome.answer_sets or ()) for outcome in outcomes),
        )
    idle = untested(problem, statements, outcomes, solver)
    faults += [
        Fault(
            problem.encoding_file,
            statement.line,
            f"no instance tests this statement: {statement.code}",
            "add an instance whose answer sets change without it, or remove it",
        )
        for statement in idle
    ]
    counts = tuple(len(outcome.answer_sets) for outcome in outcomes)
    return Checked(problem, tuple(faults), len(statements), len(statements) - len(idle), counts)


def untested(
    problem: Problem,
    statements: Sequence[Statement],
    outcomes: Sequence[Outcome],
    solver: Solver,
) -> list[Statement]:
    """The statements without which no instance's answer sets or costs change.

    A program that no longer ends without a statement, a constant that bounds a recursion, say, is changed as well.
    """
    idle = list(range(len(statements)))
    for facts, gold in zip(problem.instances.values(), outcomes, strict=True):
        rests = (
            "\n".join(other.code for other in statements if other is not statements[index]) for index in idle
        )
        without = solver.run(Request(f"{facts}\n{rest}", solve=True, cpu_seconds=1.0) for rest in rests)
        same = [outcome.answer_sets == gold.answer_sets for outcome in without]
        idle = [index for index, is_same in zip(idle, same, strict=True) if is_same]
    return [statements[index] for index in idle]


def _annotation_faults(problem: Problem) -> Iterator[Fault]:
    for finding in problem.encoding.findings:
        if "joined to its instruction" in finding.kind or finding.kind == "banner":
            continue
        remedy = {
            "statement without an instruction": "write a comment directly above it that says what it does",
            "comment without a statement": "write the statement below it, or remove the comment",
        }.get(finding.kind, "give each statement a comment of its own, directly above it")
        yield Fault(problem.encoding_file, finding.line, f"{finding.kind}: {finding.text}", remedy)


def _naming_faults(problem: Problem) -> Iterator[Fault]:
    """Predicates that the text never names, and constants that neither it nor what came before does: nobody can guess them."""
    said, reported = problem.description, set()
    for step in problem.encoding.steps:
        said += "\n" + step.instruction
        for statement in step.statements:
            names = {name.lstrip("-"): problem.description for name, _ in predicates(statement)}
            names |= {name: said for name in _constants(statement) - names.keys()}
            for name, text in sorted(names.items()):
                if name and name not in reported and not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
                    reported.add(name)
                    kind = "predicate" if text is problem.description else "constant"
                    yield Fault(
                        problem.encoding_file,
                        statement.line,
                        f"the text never names the {kind} {name}",
                        f"name it{' with its arguments' * (kind == 'predicate')} in {problem.description_file.name}",
                    )
        said += "\n" + step.code


def _constants(statement: Statement) -> set[str]:
    """The symbolic constants and strings of a statement."""
    symbols = [
        node.symbol
        for tree in statement.trees
        for node in walk(tree)
        if node.ast_type == ASTType.SymbolicTerm
    ]
    return {
        symbol.name if symbol.type == SymbolType.Function else symbol.string
        for symbol in symbols
        if symbol.type in (SymbolType.Function, SymbolType.String)
    }


def instance_faults(problem: Problem, outcomes: Sequence[Outcome]) -> Iterator[Fault]:
    """One fault an instance, and a fault of the encoding once only."""
    reported: set[tuple[Path, int | None]] = set()
    for (name, facts), outcome in zip(problem.instances.items(), outcomes, strict=True):
        file = problem.folder / "instances" / f"{name}.lp" if name else problem.encoding_file
        if outcome.verdict is Verdict.UNSATISFIABLE and "unsat" not in name:
            yield Fault(file, 1, "the instance has no answer set", "mend it, or put `unsat` into its name")
        elif outcome.answer_sets and "unsat" in name:
            yield Fault(
                file,
                1,
                "the instance has an answer set, though its name says `unsat`",
                "mend it, or rename it",
            )
        elif outcome.verdict is Verdict.TOO_MANY:
            yield Fault(
                file,
                1,
                "the instance has too many answer sets to enumerate",
                "make it smaller (2,000 at the most)",
            )
        elif outcome.answer_sets is None:
            place, line = file, outcome.position[0] if outcome.position else None
            if line and line > (height := facts.count("\n") + 1):
                place, line = problem.encoding_file, _encoding_line(problem, line - height)
            if (place, line) not in reported:
                reported.add((place, line))
                what = (
                    f"clingo says {outcome.verdict} on instance {name or 'without facts'}: {outcome.message}"
                )
                yield Fault(
                    place,
                    line,
                    what,
                    "mend the statement at that position" if line else "make the instance smaller",
                )


def _encoding_line(problem: Problem, program_line: int | None) -> int | None:
    """The line of the encoding file for a line of `Encoding.program`."""
    if program_line is None:
        return None
    for step in problem.encoding.steps:
        for statement in step.statements:
            height = statement.code.count("\n") + 1
            if program_line <= height:
                return statement.line + program_line - 1
            program_line -= height
    return None


_WORD = re.compile(r'"(?:[^"\\\n]|\\[\\n"])*"|#?[A-Za-z_][\w\']*')


def canonical(encoding: Encoding) -> str:
    """The program in one layout and order, each name replaced by its first occurrence: equal texts are renamed twins."""
    shapes = []
    for step in encoding.steps:
        for statement in step.statements:
            nodes = (node for tree in statement.trees for node in walk(tree))
            variables = {node.name for node in nodes if node.ast_type == ASTType.Variable}
            shapes.append(("\n".join(map(str, statement.trees)), variables))
    shapes.sort(key=lambda shape: _with_numbered_names(*shape, {}))
    names: dict[str, str] = {}
    return "\n".join(_with_numbered_names(*shape, names) for shape in shapes)


def _with_numbered_names(text: str, variables: set[str], names: dict[str, str]) -> str:
    """A statement with its names numbered in the order of their first occurrence; `names` goes on from one to the next."""
    local: dict[str, str] = {}

    def rename(match: re.Match) -> str:
        word = match[0]
        if word[0] == "#" or word in ("not", "_"):
            return word
        return (
            local.setdefault(word, f"V{len(local)}")
            if word in variables
            else names.setdefault(word, f"n{len(names)}")
        )

    return _WORD.sub(rename, text)


def twins(problems: Sequence[Problem]) -> list[tuple[Problem, Problem]]:
    """Pairs of problems whose encodings or texts are the same, up to the names of predicates, constants and variables."""
    seen: dict[str, Problem] = {}
    pairs = []
    for problem in problems:
        texts = {re.sub(r"\W+", " ", text).lower().strip() for text in problem.descriptions().values()}
        for text in sorted({canonical(problem.encoding), *texts} - {""}):
            if text in seen and (seen[text], problem) not in pairs:
                pairs.append((seen[text], problem))
            seen.setdefault(text, problem)
    return pairs


# --- command ----------------------------------------------------------------------------------------------------


class Action(StrEnum):
    CHECK = "check"
    CONSTRUCTS = "constructs"
