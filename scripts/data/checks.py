"""The checks that a problem must pass before it teaches or measures anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clingo import SymbolType
from clingo.ast import ASTType

from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.asp.syntax import Statement, predicates, walk
from scripts.data.problems import Problem
from utils_ft import UserError, show_path


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
