"""The gold program of a problem: its steps, its answer sets on all instances, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.asp.comparison import Relation, compare
from scripts.asp.feedback import context_of
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.data.problems import Problem
from utils_ft import UserError


@dataclass(frozen=True)
class Variant:
    """The gold program of a problem under one naming of its variables.

    Attributes:
        naming: `original`, or the name of a variable renaming.
        given: The given code.
        steps: Instruction and rule of each step.
        names: For a variable renaming, the old and new names of the variables of each step.
    """

    naming: str
    given: str
    steps: tuple[tuple[str, str], ...]
    names: tuple[dict[str, str], ...] = ()

    @property
    def program(self) -> str:
        """The whole program; the given code stands first."""
        return context_of("", self.given, [rule for _, rule in self.steps])


def variant_of(problem: Problem) -> Variant:
    """Return the gold program of a problem with its own variables."""
    encoding = problem.encoding
    steps = tuple((step.instruction, step.code) for step in encoding.instructed)
    return Variant("original", encoding.given, steps)


def solve(problem: Problem, program: str, solver: Solver) -> list[Outcome]:
    """Enumerate the answer sets of `program` on each instance of `problem`, in the order of the instances."""
    return list(solver.run(solve_requests(problem, program)))


def solve_requests(problem: Problem, program: str) -> list[Request]:
    """Return the requests to solve `program` on each instance of `problem`, in the order of the instances."""
    return [Request(on_instance(facts, program), solve=True) for facts in problem.instances.values()]


def on_instance(facts: str, program: str) -> str:
    """Return facts and program as one text.

    All line breaks stay, so that a line can be traced to its file.
    """
    return f"{facts}\n{program}"


def gold_outcomes(problem: Problem, solver: Solver) -> list[Outcome]:
    """Solve the gold program on each instance.

    Raises:
        UserError: On some instance the answer sets are not all found. It names the file and the line.
    """
    outcomes = solve(problem, problem.encoding.program, solver)
    failing = {
        name: outcome
        for name, outcome in zip(problem.instances, outcomes, strict=True)
        if outcome.answer_sets is None
    }
    if failing:
        instances = {name: problem.instances[name] for name in failing}
        raise next(instance_faults(replace(problem, instances=instances), list(failing.values())))
    return outcomes


def given_stands_first(problem: Problem, gold: list[Outcome], solver: Solver) -> bool:
    """Whether the program has the same answer sets if its given code stands before all steps, as in a
    context.
    """
    variant = variant_of(problem)
    if not variant.given:
        return True
    return compare(gold, solve(problem, variant.program, solver)).relation is Relation.EQUAL


def instance_faults(problem: Problem, outcomes: Sequence[Outcome]) -> Iterator[UserError]:
    """Yield what is wrong with the outcomes of the gold program, at most one fault for each instance.

    A fault of the encoding is reported once, although it occurs on all instances.
    """
    reported: set[tuple[Path, int | None]] = set()
    for (name, facts), outcome in zip(problem.instances.items(), outcomes, strict=True):
        file = problem.folder / "instances" / f"{name}.lp" if name else problem.encoding_file
        if outcome.verdict is Verdict.UNSATISFIABLE and "unsat" not in name:
            yield UserError(
                "the instance has no answer set",
                where=file,
                line=1,
                remedy="correct it, or put `unsat` into its name",
            )
        elif outcome.answer_sets and "unsat" in name:
            yield UserError(
                "the instance has an answer set, though its name says `unsat`",
                where=file,
                line=1,
                remedy="correct it, or rename it",
            )
        elif outcome.verdict is Verdict.TOO_MANY:
            yield UserError(
                "the instance has too many answer sets to enumerate",
                where=file,
                line=1,
                remedy="make it smaller (2,000 at the most)",
            )
        elif outcome.answer_sets is None:
            place, line = _place(problem, file, facts, outcome)
            if (place, line) not in reported:
                reported.add((place, line))
                yield UserError(
                    f"clingo says {outcome.verdict} on instance {name or 'without facts'}: {outcome.message}",
                    where=place,
                    line=line,
                    remedy="correct the statement at that position" if line else "make the instance smaller",
                )


def _place(problem: Problem, file: Path, facts: str, outcome: Outcome) -> tuple[Path, int | None]:
    """File and line of a message: in the instance's `file`, or in the encoding if it is after the facts."""
    line = outcome.position[0] if outcome.position else None
    height = facts.count("\n") + 1
    if line and line > height:
        return problem.encoding_file, _encoding_line(problem, line - height)
    return file, line


def _encoding_line(problem: Problem, program_line: int) -> int | None:
    """The line of the encoding file for a line of `Encoding.program`, which has no comments."""
    for step in problem.encoding.steps:
        for statement in step.statements:
            height = statement.code.count("\n") + 1
            if program_line <= height:
                return statement.line + program_line - 1
            program_line -= height
    return None
