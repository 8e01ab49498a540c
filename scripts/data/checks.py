"""The checks that a problem must pass before rows are made from it and answers are compared with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clingo import SymbolType
from clingo.ast import ASTType

from scripts.asp.comments import Kind
from scripts.asp.solver import Outcome, Request, Solver
from scripts.asp.splitting import split_step
from scripts.asp.syntax import Statement, predicates, walk
from scripts.data.gold import incomplete_instances, instance_faults, on_instance, solve
from scripts.data.problems import Problem
from scripts.data.retellings import Retelling, fault, retelling_faults, retold, same_but_retold
from scripts.data.wordings import wording_faults
from utils_ft import UserError

_REMEDIES: dict[str, str] = {
    Kind.ALONE: "write a comment directly above it that says what it does",
    Kind.UNATTACHED: "write the statement below it, or remove the comment",
    Kind.UNCLEAR: "leave a blank line between the comment and the statement that it does not belong to",
    Kind.PART: "write a comment above the statement that says what all of it does",
    Kind.NO_WORDS: "say in a sentence what the statement does, or remove the comment",
    Kind.CODE: "remove it, or switch it on again",
    Kind.UNPARSED: "remove it: it says nothing",
}
"""The findings of the reader that are faults, and what to do about them. The others are information."""


@dataclass(frozen=True)
class Checked:
    """The result of the checks for one problem.

    Attributes:
        problem: The problem.
        faults: What a person should correct, each with file, line and remedy.
        statements: The number of statements; 0 if the encoding does not parse.
        load_bearing: The number of load-bearing statements; 0 if the answer sets are not all known.
        answer_sets: The number of answer sets of each instance.
        notes: What a person may improve, in the same form as the faults.
    """

    problem: Problem
    faults: tuple[UserError, ...]
    statements: int
    load_bearing: int
    answer_sets: tuple[int, ...]
    notes: tuple[UserError, ...] = ()


def check_problem(problem: Problem, solver: Solver) -> Checked:
    """Check one problem.

    - clingo parses the encoding, and each statement has an instruction, its own or one that several share.
    - The description names each predicate, and the texts name each constant.
    - Each retelling is complete, names its predicates and constants in the same way, and has the same answer
      sets up to the names.
    - Every instance has answer sets (unless its name contains `unsat`), and all of them are enumerated.
    - Every statement is load-bearing: without it the answer sets or the optimal costs of some instance
      change. Answer sets are compared on the shown atoms, so a definition is tested through the shown atoms
      that depend on it, and a symmetry breaker through the answer sets that it removes.
    """
    try:
        encoding = problem.encoding
    except UserError as error:
        return Checked(problem, (error,), 0, 0, ())
    statements = [statement for step in encoding.steps for statement in step.statements]
    if not statements:
        fault = UserError(
            "there is no statement in this file",
            where=problem.encoding_file,
            remedy="write statements, each below a comment that says what it does",
        )
        return Checked(problem, (fault,), 0, 0, ())
    faults = [*_annotation_faults(problem), *_naming_faults(problem), *_folder_faults(problem)]
    faults += wording_faults(
        problem.wordings, [step.instruction for step in encoding.instructed], problem.folder
    )
    if incomplete := list(incomplete_instances(problem)):
        return Checked(problem, (*faults, *incomplete), len(statements), 0, ())
    outcomes = solve(problem, encoding.program, solver)
    faults += instance_faults(problem, outcomes)
    for retelling in problem.retellings:
        faults += _retold_faults(problem, retelling, outcomes, solver)
    counts = tuple(len(outcome.answer_sets or ()) for outcome in outcomes)
    notes = tuple(_splits(problem))
    if any(outcome.answer_sets is None for outcome in outcomes):
        return Checked(problem, tuple(faults), len(statements), 0, counts, notes)
    redundant = redundant_statements(problem, statements, outcomes, solver)
    faults += [
        UserError(
            f"no instance tests this statement: {statement.code}",
            where=problem.encoding_file,
            line=statement.line,
            remedy="add an instance whose answer sets change without it, or remove it",
        )
        for statement in redundant
    ]
    load_bearing = len(statements) - len(redundant)
    return Checked(problem, tuple(faults), len(statements), load_bearing, counts, notes)


def redundant_statements(
    problem: Problem,
    statements: Sequence[Statement],
    gold: Sequence[Outcome],
    solver: Solver,
) -> list[Statement]:
    """Return the statements that are not load-bearing: without each of them no instance's outcome changes.

    A statement is load-bearing as well if clingo reaches a limit without it, for example a bound on a
    recursion.

    Arguments:
        problem: The problem.
        statements: All statements of its encoding.
        gold: The outcomes of the whole program, one for each instance.
        solver: The solver.
    """
    redundant = list(statements)
    for facts, outcome in zip(problem.instances.values(), gold, strict=True):
        rests = ["\n".join(other.code for other in statements if other is not one) for one in redundant]
        without = solver.run(Request(on_instance(facts, rest), solve=True, cpu_seconds=1.0) for rest in rests)
        redundant = [
            statement
            for statement, changed in zip(redundant, without, strict=True)
            if changed.answer_sets == outcome.answer_sets
        ]
    return redundant


def _folder_faults(problem: Problem) -> Iterator[UserError]:
    if not (problem.folder / "instances").is_dir():
        yield UserError(
            "the problem has no instances",
            where=problem.folder / "instances",
            remedy="add two to four small files of facts, instances/NAME.lp",
        )


def _annotation_faults(problem: Problem) -> Iterator[UserError]:
    """Findings of the reader that are faults: statements or comments without a counterpart."""
    for finding in problem.encoding.findings:
        if remedy := _REMEDIES.get(finding.kind):
            yield UserError(
                f"{finding.kind}: {finding.text}",
                where=problem.encoding_file,
                line=finding.line,
                remedy=remedy,
            )


def _splits(problem: Problem) -> Iterator[UserError]:
    """The steps of several statements whose instruction has words for each of them."""
    for step in problem.encoding.instructed:
        if parts := split_step(step):
            places = "; ".join(f"above line {part.line}: {part.instruction}" for part in parts)
            yield UserError(
                f"{len(parts)} statements share one instruction, which has words for each of them",
                where=problem.encoding_file,
                line=step.line,
                remedy=f"to have a step for each, write {places}",
            )


def _naming_faults(problem: Problem) -> Iterator[UserError]:
    """Predicates that the description does not name, and constants that no text before them names."""
    texts, reported = problem.description, set()
    for step in problem.encoding.steps:
        texts += "\n" + step.instruction
        for statement in step.statements:
            named_in = {name.lstrip("-"): problem.description for name, _ in predicates(statement)}
            named_in |= {name: texts for name in _constants(statement) - named_in.keys()}
            for name, text in sorted(named_in.items()):
                if name and name not in reported and not _is_word_of(name, text):
                    reported.add(name)
                    yield _naming_fault(problem, statement, name, text is problem.description)
        texts += "\n" + step.code


def _retold_faults(
    problem: Problem, retelling: Retelling, outcomes: Sequence[Outcome], solver: Solver
) -> Iterator[UserError]:
    """What is wrong with a retelling: it must be complete, name everything and have the same answer sets."""
    if found := list(retelling_faults(problem, retelling)):
        yield from found
        return
    other = retold(problem, retelling)
    for naming_fault in _naming_faults(other):
        yield fault(problem, retelling, naming_fault.what, "name it in the description of the retelling")
    steps = [step.instruction for step in other.encoding.instructed]
    if steps != [retelling.instructions[step.instruction] for step in problem.encoding.instructed]:
        what = "a retold instruction is not read as one comment"
        yield fault(problem, retelling, what, "write it as one line of words")
    if not same_but_retold(outcomes, solve(other, other.encoding.program, solver), retelling):
        remedy = "keep the order of constants that the program compares"
        yield fault(problem, retelling, "the answer sets are not the same up to the names", remedy)


def _is_word_of(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _naming_fault(problem: Problem, statement: Statement, name: str, is_predicate: bool) -> UserError:
    kind, arguments = ("predicate", " with its arguments") if is_predicate else ("constant", "")
    return UserError(
        f"the text never names the {kind} {name}",
        where=problem.encoding_file,
        line=statement.line,
        remedy=f"name it{arguments} in {problem.description_file.name}",
    )


def _constants(statement: Statement) -> set[str]:
    """The symbolic constants and strings of a statement."""
    nodes = (node for tree in statement.trees for node in walk(tree))
    symbols = [node.symbol for node in nodes if node.ast_type == ASTType.SymbolicTerm]
    return {
        symbol.name if symbol.type == SymbolType.Function else symbol.string
        for symbol in symbols
        if symbol.type in (SymbolType.Function, SymbolType.String)
    }
