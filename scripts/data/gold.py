"""The gold program of a problem: its steps, its answer sets on all instances, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.asp.comparison import Relation, compare
from scripts.asp.feedback import context_of
from scripts.asp.gate import code_only
from scripts.asp.solver import Limits, Outcome, Request, Solver, Verdict
from scripts.asp.syntax import require_complete
from scripts.asp.worker import TOO_LONG
from scripts.data.problems import Problem
from utils_ft import UserError

_PART = re.compile(r"#program\b([^.]*)\.?")
_NO_ANSWER_SET = "has no answer set"
_NOT_UNSATISFIABLE = "has an answer set, though its name says `unsat`"
_TOO_LONG = "has answer sets with too much text to compare"
_UNSOLVED = {
    Verdict.TOO_MANY: f"has over {Limits.answer_sets:,} answer sets, too many to enumerate",
    Verdict.TIMEOUT: "needs more than the solver's time limit",
    Verdict.MEMORY: "needs more than the solver's memory limit",
}
_REMEDIES = {
    _NO_ANSWER_SET: "correct it, or put `unsat` into its name",
    _NOT_UNSATISFIABLE: "correct it, or rename it",
    **dict.fromkeys(_UNSOLVED.values(), "make it smaller"),
    _TOO_LONG: "show fewer atoms with `#show`, or make it smaller",
}
"""What may be wrong with an instance as a whole, and what to do about it."""


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


@dataclass(frozen=True)
class Gold:
    """The gold program of a problem, solved.

    Attributes:
        outcomes: Its outcome on each instance.
        faults: Why the problem cannot be used; empty if it can.
    """

    outcomes: tuple[Outcome, ...]
    faults: tuple[UserError, ...]

    @property
    def has_answer_sets(self) -> bool:
        """Whether some instance has an answer set. Without one, equal answer sets say nothing."""
        return any(outcome.answer_sets for outcome in self.outcomes)


def solve_gold(problem: Problem, solver: Solver) -> Gold:
    """Solve the gold program of a problem on each instance, and list why the problem cannot be used.

    A problem can be used if clingo parses its encoding and each of its instances, it has no `#program` parts,
    a step has an instruction, all answer sets of all instances are found, and the given code can stand before
    all steps, as in a context.
    """
    try:
        encoding = problem.encoding
    except UserError as fault:
        return Gold((), (fault,))
    if broken := [*part_faults(problem), *incomplete_instances(problem)]:
        return Gold((), tuple(broken))
    if not encoding.instructed:
        fault = UserError(
            "no statement has an instruction",
            where=problem.encoding_file,
            line=1,
            remedy="write a comment above each rule that says what it does",
        )
        return Gold((), (fault,))
    outcomes = solve(problem, encoding.program, solver)
    faults = list(instance_faults(problem, outcomes, only_unsolved=True))
    if not faults and not _given_stands_first(problem, outcomes, solver):
        given = next(step for step in encoding.steps if not step.instruction)
        fault = UserError(
            "the code without instructions cannot stand before the rest: the answer sets change",
            where=problem.encoding_file,
            line=given.line,
            remedy="write a comment above it that says what it does",
        )
        faults.append(fault)
    return Gold(tuple(outcomes), tuple(faults))


def gold_outcomes(problem: Problem, solver: Solver) -> list[Outcome]:
    """Solve the gold program on each instance.

    Raises:
        UserError: An instance is no complete program, or on some instance the answer sets are not all found.
            It names the file and the line.
    """
    for fault in incomplete_instances(problem):
        raise fault
    outcomes = solve(problem, problem.encoding.program, solver)
    for fault in instance_faults(problem, outcomes, only_unsolved=True):
        raise fault
    return outcomes


def _given_stands_first(problem: Problem, gold: Sequence[Outcome], solver: Solver) -> bool:
    """Whether the program has the same answer sets if its given code stands before all steps."""
    variant = variant_of(problem)
    if not variant.given:
        return True
    return compare(gold, solve(problem, variant.program, solver)).relation is Relation.EQUAL


def incomplete_instances(problem: Problem) -> Iterator[UserError]:
    """Yield a fault for each instance that clingo cannot parse by itself.

    An open comment, or a fact without its period, would change the encoding that follows it.
    """
    for name, facts in problem.instances.items():
        try:
            require_complete(facts, _instance_file(problem, name))
        except UserError as error:
            yield error


def part_faults(problem: Problem) -> Iterator[UserError]:
    """Yield a fault for each `#program` part of the encoding and the instances, except `base`.

    clingo grounds only `base`. If such a line moved, statements would get into another part.
    """
    texts = {problem.encoding_file: problem.source}
    texts |= {_instance_file(problem, name): facts for name, facts in problem.instances.items() if facts}
    for file, text in texts.items():
        for part in _PART.finditer(code_only(text)):
            name = " ".join(part[1].split())
            if name != "base":
                yield UserError(
                    f"`#program {name}.` starts a part that is not grounded: only `base` is",
                    where=file,
                    line=text.count("\n", 0, part.start()) + 1,
                    remedy="write one program without parts",
                )


def instance_faults(
    problem: Problem, outcomes: Sequence[Outcome], only_unsolved: bool = False
) -> Iterator[UserError]:
    """Yield what is wrong with the outcomes of the gold program, at most one fault for each instance.

    A fault that has its cause in the encoding is reported once, although it occurs on all instances.

    Arguments:
        problem: The problem.
        outcomes: The outcome of its gold program on each instance.
        only_unsolved: Whether to leave out faults of instances whose answer sets are all found.
    """
    whats = [_what(name, outcome) for name, outcome in zip(problem.instances, outcomes, strict=True)]
    if len(whats) > 1 and whats[0] in _REMEDIES and len(set(whats)) == 1:
        if whats[0] != _NO_ANSWER_SET or not only_unsolved:
            yield UserError(
                f"every instance {whats[0]}",
                where=problem.encoding_file,
                remedy="correct the encoding, or the instances",
            )
        return
    reported: set[tuple[Path, int | None]] = set()
    for (name, facts), outcome, what in zip(problem.instances.items(), outcomes, whats, strict=True):
        if not what or (only_unsolved and outcome.answer_sets is not None):
            continue
        file, line = _instance_file(problem, name), 1
        if what in _REMEDIES:
            remedy = f"{_REMEDIES[what]}{_notes(outcome)}" if what == _NO_ANSWER_SET else _REMEDIES[what]
            yield UserError(f"the instance {what}", where=file, line=line, remedy=remedy)
            continue
        file, line = _place(problem, file, facts, outcome)
        if (file, line) not in reported:
            reported.add((file, line))
            remedy = "correct the statement at that position" if line else "make the instance smaller"
            yield UserError(what, where=file, line=line, remedy=remedy)


def _notes(outcome: Outcome) -> str:
    """What clingo notes on a program, such as `interval undefined`, as the end of a remedy."""
    notes = dict.fromkeys(re.sub(r"^\S+ info: ", "", note) for note in outcome.notes)
    return "".join(f"; clingo notes: {' '.join(note.split())}" for note in [*notes][:2])


def _what(name: str, outcome: Outcome) -> str:
    """What is wrong with the instance `name`, or ""."""
    if outcome.verdict is Verdict.UNSATISFIABLE:
        return "" if "unsat" in name else _NO_ANSWER_SET
    if outcome.answer_sets is not None:
        return _NOT_UNSATISFIABLE if outcome.answer_sets and "unsat" in name else ""
    if TOO_LONG in outcome.notes:
        return _TOO_LONG
    if outcome.verdict in _UNSOLVED and "crashed" not in outcome.message:
        return _UNSOLVED[outcome.verdict]
    return f"clingo says {outcome.verdict} on instance {name or 'without facts'}: {outcome.message}"


def _instance_file(problem: Problem, name: str) -> Path:
    """The file of an instance. A program that contains its facts is its own instance."""
    return problem.folder / "instances" / f"{name}.lp" if name else problem.encoding_file


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
