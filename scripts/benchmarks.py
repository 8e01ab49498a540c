"""Base problems: a text, an annotated encoding, small instances. Reading them, and the gate they must pass.

    python -m scripts.benchmarks check DIR        every fault with file, line and remedy; exit code 2 if there is one
    python -m scripts.benchmarks constructs DIR   how many problems show each construct of the language
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer
from clingo.ast import AggregateFunction, ASTType, ComparisonOperator, Sign

from scripts.asp_solver import Outcome, Request, Solver, Verdict
from scripts.encoding import Encoding, Statement, predicates, read_encoding, walk
from utils_ft import BENCHMARKS, UserError, command, digest, read_text, show_path

STYLES = ("natural", "instructional", "academic")


@dataclass(frozen=True)
class Problem:
    """One base problem. `instances` and `paraphrases` map a name or style to a text, in the order of their names."""

    name: str
    family: str
    folder: Path
    encoding_file: Path
    description_file: Path
    description: str
    instances: dict[str, str]
    paraphrases: dict[str, str]

    @cached_property
    def encoding(self) -> Encoding:
        """The annotated encoding; UserError where it does not parse."""
        return read_encoding(read_text(self.encoding_file), str(self.encoding_file))

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}"

    def descriptions(self) -> dict[str, str]:
        """The description in every style there is, the original first."""
        return {"original": self.description, **self.paraphrases}


# --- reading ----------------------------------------------------------------------------------------------------


def read_problem(folder: Path, family: str) -> Problem:
    """Read one problem: our layout, or the predecessor's (`NL.txt` beside `ASP.txt` or `ASP.lp`)."""
    description = next((folder / name for name in ("problem.md", "NL.txt") if (folder / name).exists()), None)
    encoding = next((folder / name for name in ("encoding.lp", "ASP.lp", "ASP.txt") if (folder / name).exists()), None)
    if description is None or encoding is None:
        missing = "problem.md" if description is None else "encoding.lp"
        raise UserError(f"the problem has no {missing}", where=folder, remedy=f"write {show_path(folder / missing)}")
    instances = {file.stem: read_text(file) for file in sorted((folder / "instances").glob("*.lp"))}
    return Problem(
        name=folder.name, family=family, folder=folder, encoding_file=encoding, description_file=description,
        description=without_front_matter(read_text(description)).strip(),
        instances=instances or {"": ""},  # a program that carries its own facts is one instance
        paraphrases={
            style: without_front_matter(read_text(file)).strip()
            for style in STYLES if (file := folder / "paraphrases" / f"{style}.md").exists()
        },
    )


def without_front_matter(text: str) -> str:
    """`text` without the `---` block at its head."""
    return re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)


def read_problems(root: str | Path = BENCHMARKS) -> list[Problem]:
    """All problems below `root`, by name. The family is the folder above a problem. UserError where there is none."""
    root = Path(root)
    if not root.is_dir():
        raise UserError("no such folder", where=root, remedy="give a folder of problems: DIR/<family>/<problem>/problem.md")
    folders = {file.parent for name in ("problem.md", "NL.txt", "encoding.lp") for file in root.rglob(name)}
    if not folders:
        raise UserError(
            "there is no problem in this folder", where=root,
            remedy="put each problem into DIR/<family>/<problem>/ as problem.md and encoding.lp, with instances/*.lp",
        )
    return [read_problem(folder, folder.parent.name if folder != root else root.name) for folder in sorted(folders)]


def split_of(problems: Sequence[Problem], root: str | Path = BENCHMARKS) -> dict[str, str]:
    """`train`, `valid` or `test` for each problem's id.

    `split.json` beside the families fixes it: {"test_families": […], "test": [ids], "valid": [ids]}. Without one, and
    for problems that it does not know, a hash of the id decides (one in ten valid, one in ten test).
    """
    file = Path(root) / "split.json"
    fixed = json.loads(read_text(file)) if file.exists() else {}
    families, test, valid = (set(fixed.get(name, ())) for name in ("test_families", "test", "valid"))
    known = {problem.id for problem in problems}
    if unknown := sorted((test | valid) - known):
        raise UserError(f"{unknown[0]} is not a problem of this folder", where=file, remedy="mend the name or remove it")
    result = {}
    for problem in problems:
        if problem.family in families or problem.id in test:
            result[problem.id] = "test"
        elif problem.id in valid:
            result[problem.id] = "valid"
        else:
            draw = 9 if fixed else int(digest(problem.id)[:8], 16) % 10
            result[problem.id] = {0: "valid", 1: "test"}.get(draw, "train")
    return result


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

    It parses, each statement has its own instruction, the text names each predicate, every instance is satisfiable
    (unless its name says `unsat`) and enumerates completely, and every statement is load-bearing: without it the
    projected answer sets, or the optimal costs, of at least one instance change. Definitions are tested through the
    shown atoms that need them, symmetry breakers through the answer sets that come back without them.
    """
    try:
        encoding = problem.encoding
    except UserError as error:
        fault = Fault(problem.encoding_file, None, str(error), "mend the encoding, then check again")
        return Checked(problem, (fault,), 0, 0, ())
    statements = [statement for step in encoding.steps for statement in step.statements]
    faults = [*_annotation_faults(problem), *_naming_faults(problem, statements)]
    if "" in problem.instances and len(problem.instances) == 1:
        faults.append(Fault(problem.folder / "instances", None, "the problem has no instances",
                            "add two to four small files of facts, instances/NAME.lp"))
    outcomes = list(solver.run(Request(f"{facts}\n{encoding.program}", solve=True) for facts in problem.instances.values()))
    faults += _instance_faults(problem, outcomes)
    load_bearing = 0
    if all(outcome.answer_sets is not None for outcome in outcomes):
        for index, statement in enumerate(statements):
            rest = "\n".join(other.code for number, other in enumerate(statements) if number != index)
            changed = any(
                solver.answer_sets(f"{facts}\n{rest}").answer_sets != gold.answer_sets
                for facts, gold in zip(problem.instances.values(), outcomes, strict=True)
            )
            load_bearing += changed
            if not changed:
                faults.append(Fault(problem.encoding_file, statement.line,
                                    f"no instance tests this statement: {statement.code}",
                                    "add an instance whose answer sets change without it, or remove it"))
    counts = tuple(len(outcome.answer_sets or ()) for outcome in outcomes)
    return Checked(problem, tuple(faults), len(statements), load_bearing, counts)


def _annotation_faults(problem: Problem) -> Iterator[Fault]:
    for finding in problem.encoding.findings:
        if "joined to its instruction" in finding.kind or finding.kind == "banner":
            continue
        remedy = {
            "statement without an instruction": "write a comment directly above it that says what it does",
            "comment without a statement": "write the statement below it, or remove the comment",
        }.get(finding.kind, "give each statement a comment of its own, directly above it")
        yield Fault(problem.encoding_file, finding.line, f"{finding.kind}: {finding.text}", remedy)


def _naming_faults(problem: Problem, statements: Sequence[Statement]) -> Iterator[Fault]:
    named: set[str] = set()
    for statement in statements:
        for name, _ in sorted(predicates(statement) - {("", 0)}):
            plain = name.lstrip("-")
            if plain not in named and not re.search(rf"(?<![\w]){re.escape(plain)}(?![\w])", problem.description):
                yield Fault(problem.encoding_file, statement.line, f"the text never names the predicate {plain}",
                            f"name it with its arguments in {problem.description_file.name}")
            named.add(plain)


def _instance_faults(problem: Problem, outcomes: Sequence[Outcome]) -> Iterator[Fault]:
    for (name, _), outcome in zip(problem.instances.items(), outcomes, strict=True):
        file = problem.folder / "instances" / f"{name}.lp" if name else problem.encoding_file
        if outcome.verdict is Verdict.UNSATISFIABLE and "unsat" not in name:
            yield Fault(file, None, "the instance has no answer set", "mend it, or put `unsat` into its name")
        elif outcome.verdict is Verdict.TOO_MANY:
            yield Fault(file, None, "the instance has too many answer sets to enumerate", "make it smaller (2,000 at the most)")
        elif not outcome.passes or outcome.answer_sets is None:
            line = outcome.position[0] - len(problem.instances[name].split("\n")) if outcome.position else None
            in_facts = line is not None and line < 1
            yield Fault(file if in_facts else problem.encoding_file, _encoding_line(problem, line) if not in_facts else outcome.position[0],
                        f"clingo says {outcome.verdict} on instance {name or 'without facts'}: {outcome.message}",
                        "mend the statement at that position")


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


_WORD = re.compile(r'"(?:\\.|[^"\\])*"|#?[A-Za-z_]\w*')


def canonical(encoding: Encoding) -> str:
    """The program with every name replaced by its first occurrence: equal texts are renamed twins."""
    names: dict[str, str] = {}

    def rename(match: re.Match) -> str:
        word = match[0]
        if word[0] == "#" or word in ("not", "_"):
            return word
        return names.setdefault(word, f"n{len(names)}")

    statements = []
    for step in encoding.steps:
        for statement in step.statements:
            for variable in {node.name for tree in statement.trees for node in walk(tree) if node.ast_type == ASTType.Variable}:
                names.pop(variable, None)
            statements.append(re.sub(r"\s+", "", _WORD.sub(rename, statement.code)))
    return "\n".join(statements)


def twins(problems: Sequence[Problem]) -> list[tuple[Problem, Problem]]:
    """Pairs of problems whose encodings or texts are the same, up to the names of predicates, constants and variables."""
    seen: dict[str, Problem] = {}
    pairs = []
    for problem in problems:
        for text in (canonical(problem.encoding), re.sub(r"\W+", " ", problem.description).lower()):
            if text in seen and seen[text] is not problem:
                pairs.append((seen[text], problem))
            seen[text] = problem
    return pairs


# --- constructs -------------------------------------------------------------------------------------------------

_AGGREGATES = {
    AggregateFunction.Count: "#count", AggregateFunction.Sum: "#sum", AggregateFunction.SumPlus: "#sum",
    AggregateFunction.Min: "#min", AggregateFunction.Max: "#max",
}


def constructs(statement: Statement) -> set[str]:
    """The constructs of the language that a statement shows, in the terms of clingo's guide."""
    found: set[str] = set()
    for tree in statement.trees:
        kind = tree.ast_type
        if kind == ASTType.Minimize:
            weak = statement.code.lstrip().startswith(":~")
            found.add("weak constraint" if weak else "#minimize / #maximize")
            if "@" in statement.code:
                found.add("priority level")
        elif kind in (ASTType.ShowSignature, ASTType.ShowTerm):
            found.add("#show")
        elif kind == ASTType.Definition:
            found.add("#const")
        elif kind == ASTType.Rule:
            found |= _rule_constructs(tree)
        for node in walk(tree):
            found |= _node_constructs(node)
    return found


def _rule_constructs(rule) -> set[str]:  # noqa: ANN001 - clingo's AST
    found = set()
    head = rule.head
    if head.ast_type == ASTType.Aggregate:
        found.add("choice rule with bounds" if head.left_guard or head.right_guard else "choice rule")
    elif head.ast_type == ASTType.HeadAggregate:
        found.add("aggregate in the head")
    elif head.ast_type == ASTType.Disjunction:
        found.add("disjunction")
    elif head.ast_type == ASTType.Literal and head.atom.ast_type == ASTType.BooleanConstant:
        found.add("integrity constraint")
    elif head.ast_type == ASTType.Literal and head.atom.ast_type == ASTType.Comparison:
        found.add("comparison in the head")
    elif not rule.body:
        found.add("fact")
    for literal in rule.body:
        if literal.ast_type == ASTType.ConditionalLiteral:
            found.add("conditional literal")
        elif getattr(literal, "atom", None) is not None and literal.atom.ast_type == ASTType.BodyAggregate:
            if literal.atom.left_guard and literal.atom.left_guard.comparison == ComparisonOperator.Equal \
                    and literal.atom.left_guard.term.ast_type == ASTType.Variable:
                found.add("aggregate assigned to a variable")
    return found


def _node_constructs(node) -> set[str]:  # noqa: ANN001 - clingo's AST
    kind = node.ast_type
    if kind == ASTType.Literal and node.sign != Sign.NoSign:
        return {"default negation"}
    if kind == ASTType.SymbolicAtom and node.symbol.ast_type == ASTType.UnaryOperation:
        return {"strong negation"}
    if kind == ASTType.Interval:
        return {"interval"}
    if kind == ASTType.Pool:
        return {"pool"}
    if kind in (ASTType.BinaryOperation,) or (kind == ASTType.UnaryOperation and node.argument.ast_type != ASTType.Function):
        return {"arithmetic"}
    if kind == ASTType.Comparison:
        return {"comparison chain"} if len(node.guards) > 1 else {"comparison"}
    if kind in (ASTType.BodyAggregate, ASTType.HeadAggregate):
        return {_AGGREGATES[AggregateFunction(node.function)]}
    return set()


def recursive(encoding: Encoding) -> bool:
    """Whether a predicate depends on itself through the rules of the program."""
    edges: dict[tuple, set] = defaultdict(set)
    for step in encoding.steps:
        for statement in step.statements:
            for tree in statement.trees:
                if tree.ast_type == ASTType.Rule:
                    heads = predicates(Statement("", 0, (tree.head,)))
                    for head in heads:
                        for literal in tree.body:
                            edges[head] |= predicates(Statement("", 0, (literal,)))
    reached = {node: set(targets) for node, targets in edges.items()}
    for middle in list(reached):
        for node in reached:
            if middle in reached[node]:
                reached[node] |= reached[middle]
    return any(node in targets for node, targets in reached.items())


def construct_table(problems: Sequence[Problem]) -> Counter[str]:
    """In how many problems each construct appears."""
    table: Counter[str] = Counter()
    for problem in problems:
        shown = set().union(*(constructs(statement) for step in problem.encoding.steps for statement in step.statements))
        table.update(shown | ({"recursion"} if recursive(problem.encoding) else set()))
    return table


# --- command ----------------------------------------------------------------------------------------------------


class Action(StrEnum):
    CHECK = "check"
    CONSTRUCTS = "constructs"


def main(action: Annotated[Action, typer.Argument()], folder: Annotated[Path, typer.Argument()] = BENCHMARKS) -> None:
    """Check a folder of problems, or count the constructs that it shows."""
    problems = read_problems(folder)
    if action is Action.CONSTRUCTS:
        for name, count in construct_table(problems).most_common():
            print(f"{count:5}  {name}")
        return
    faults: list[Fault] = []
    statements = load_bearing = 0
    with Solver() as solver:
        print(f"{'problem':44} {'rules':>5} {'tested':>6}  answer sets by instance")
        for problem in problems:
            checked = check_problem(problem, solver)
            counts = " ".join(map(str, checked.answer_sets))
            print(f"{problem.id:44} {checked.statements:5} {checked.load_bearing:6}  {counts}{'  FAULT' if checked.faults else ''}", flush=True)
            faults += checked.faults
            statements += checked.statements
            load_bearing += checked.load_bearing
    if not any(fault.what.startswith("clingo") or "parse" in fault.what for fault in faults):
        faults += [
            Fault(second.encoding_file, None, f"the same problem as {first.id}, up to renaming", "remove one of the two")
            for first, second in twins(problems)
        ]
    print(f"\n{len(problems)} problems, {statements} statements, {load_bearing} of them load-bearing "
          f"({load_bearing / max(statements, 1):.1%}), {len(faults)} faults")
    for fault in faults:
        print(f"\n{fault}")
    if faults:
        raise typer.Exit(2)


if __name__ == "__main__":
    command(main)()
