"""The checks that a problem must pass before rows are made from it and answers are compared with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from clingo import SymbolType
from clingo.ast import ASTType

from scripts.asp.comments import Kind
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.asp.splitting import split_step
from scripts.asp.syntax import Statement, predicates, walk
from scripts.asp.worker import TOO_LONG
from scripts.data.gold import incomplete_instances, instance_faults, on_instance, part_faults, solve
from scripts.data.in_view import words
from scripts.data.problems import Problem
from scripts.data.retellings import Retelling, fault, retelling_faults, retold, same_but_retold
from scripts.data.wordings import wording_faults
from utils_ft import UserError

MOST_FACTS = 64
"""The number of facts, or of blocks of facts, that are tested for themselves."""
_MOST_NAMES = 5  # of one message
_NO_INSTRUCTION = "write a comment directly above it that says what it does"
_REMEDIES: dict[str, str] = {
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
        load_bearing: The number of load-bearing statements; None if it is unknown, as the answer sets are not
            all known or no instance has one.
        answer_sets: For each instance the number of answer sets, or why it is unknown, such as `over 2,000`.
        notes: What a person may improve, in the same form as the faults.
    """

    problem: Problem
    faults: tuple[UserError, ...]
    statements: int
    load_bearing: int | None
    answer_sets: tuple[int | str, ...]
    notes: tuple[UserError, ...] = ()


def check_problem(problem: Problem, solver: Solver) -> Checked:
    """Check one problem.

    - clingo parses the encoding, and each statement has an instruction, its own or one that several share.
      There are no `#program` parts.
    - The description names each predicate, and the texts name each constant.
    - Each retelling is complete, names its predicates and constants in the same way, and has the same answer
      sets up to the names.
    - Every instance has answer sets (unless its name contains `unsat`), and all of them are enumerated.
    - Every statement is load-bearing: without it the answer sets or the optimal costs of some instance
      change. Answer sets are compared on the shown atoms, so a definition is tested through the shown atoms
      that depend on it, and a symmetry breaker through the answer sets that it removes. Of many facts, some
      are tested together.
    """
    try:
        encoding = problem.encoding
    except UserError as error:
        return Checked(problem, (error,), 0, None, ())
    statements = [statement for step in encoding.steps for statement in step.statements]
    if not statements:
        fault = UserError(
            "there is no statement in this file",
            where=problem.encoding_file,
            remedy="write statements, each below a comment that says what it does",
        )
        return Checked(problem, (fault,), 0, None, ())
    if parts := tuple(part_faults(problem)):
        return Checked(problem, parts, len(statements), None, ())
    faults = [*_annotation_faults(problem), *_naming_faults(problem), *_folder_faults(problem)]
    faults += wording_faults(
        problem.wordings, [step.instruction for step in encoding.instructed], problem.folder
    )
    if incomplete := list(incomplete_instances(problem)):
        return Checked(problem, (*faults, *incomplete), len(statements), None, ())
    outcomes = solve(problem, encoding.program, solver)
    faults += instance_faults(problem, outcomes)
    for retelling in problem.retellings:
        faults += _retold_faults(problem, retelling, outcomes, solver)
    counts = tuple(_count(outcome, solver.limits.answer_sets) for outcome in outcomes)
    notes = tuple(_splits(problem))
    is_known = all(outcome.answer_sets is not None for outcome in outcomes)
    if not is_known or not any(outcome.answer_sets for outcome in outcomes):
        return Checked(problem, tuple(faults), len(statements), None, counts, notes)
    redundant = redundant_statements(problem, statements, outcomes, solver)
    load_bearing = len(statements) - sum(map(len, redundant))
    if facts := [statement for block in redundant if len(block) > 1 for statement in block]:
        redundant = [*(block for block in redundant if len(block) == 1), tuple(facts)]
    faults += [_redundancy_fault(problem, block) for block in redundant]
    return Checked(problem, tuple(faults), len(statements), load_bearing, counts, notes)


def _count(outcome: Outcome, most: int) -> int | str:
    """The number of answer sets, or why it is unknown."""
    if outcome.answer_sets is not None:
        return len(outcome.answer_sets)
    reasons = {
        Verdict.TOO_MANY: "too long" if TOO_LONG in outcome.notes else f"over {most:,}",
        Verdict.TIMEOUT: "time limit",
        Verdict.MEMORY: "memory limit",
    }
    return reasons.get(outcome.verdict, str(outcome.verdict))


def redundant_statements(
    problem: Problem,
    statements: Sequence[Statement],
    gold: Sequence[Outcome],
    solver: Solver,
) -> list[tuple[Statement, ...]]:
    """Return what is not load-bearing: without each of these blocks no instance's outcome changes.

    A block is one statement. If there are more than `MOST_FACTS` facts, a block of them is some that follow
    each other: the number of programs does not grow with the facts. A statement is load-bearing as well if
    clingo reaches a limit without it, for example a bound on a recursion.

    Arguments:
        problem: The problem.
        statements: All statements of its encoding.
        gold: The outcomes of the whole program, one for each instance.
        solver: The solver.
    """
    redundant = _blocks(statements)
    for facts, outcome in zip(problem.instances.values(), gold, strict=True):
        without = solver.run(
            Request(on_instance(facts, _without(statements, block)), solve=True, cpu_seconds=1.0)
            for block in redundant
        )
        redundant = [
            block
            for block, changed in zip(redundant, without, strict=True)
            if changed.answer_sets == outcome.answer_sets
        ]
    return redundant


def _blocks(statements: Sequence[Statement]) -> list[tuple[Statement, ...]]:
    """The statements one by one, and if there are many facts, those in `MOST_FACTS` blocks."""
    facts = [statement for statement in statements if _is_fact(statement)]
    size = -(-len(facts) // MOST_FACTS)
    if size <= 1:
        return [(statement,) for statement in statements]
    others = [(statement,) for statement in statements if not _is_fact(statement)]
    return [*others, *(tuple(facts[start : start + size]) for start in range(0, len(facts), size))]


def _is_fact(statement: Statement) -> bool:
    """Whether a statement is an atom without a body."""
    return all(
        tree.ast_type == ASTType.Rule and not tree.body and tree.head.ast_type == ASTType.Literal
        for tree in statement.trees
    )


def _without(statements: Sequence[Statement], block: Sequence[Statement]) -> str:
    """The program without the statements of a block."""
    left_out = set(map(id, block))
    return "\n".join(statement.code for statement in statements if id(statement) not in left_out)


def _redundancy_fault(problem: Problem, block: Sequence[Statement]) -> UserError:
    """The fault for a block of statements that is not load-bearing."""
    several = f"{len(block):,} of the facts, from" if len(block) > 1 else "this statement:"
    return UserError(
        f"no instance tests {several} {block[0].code}",
        where=problem.encoding_file,
        line=block[0].line,
        remedy="add an instance whose answer sets change without it, or remove it",
    )


def _folder_faults(problem: Problem) -> Iterator[UserError]:
    if not (problem.folder / "instances").is_dir():
        yield UserError(
            "the problem has no instances",
            where=problem.folder / "instances",
            remedy="add two to four small files of facts, instances/NAME.lp",
        )


def _annotation_faults(problem: Problem) -> Iterator[UserError]:
    """Findings of the reader that are faults: statements or comments without a counterpart.

    Statements without an instruction that follow each other are one fault.
    """
    for finding in problem.encoding.findings:
        if remedy := _REMEDIES.get(finding.kind):
            yield UserError(
                f"{finding.kind}: {finding.text}",
                where=problem.encoding_file,
                line=finding.line,
                remedy=remedy,
            )
    for instructed, steps in groupby(problem.encoding.steps, lambda step: bool(step.instruction)):
        statements = [statement for step in steps for statement in step.statements]
        if not instructed:
            number = f"{len(statements):,} statements without an instruction, from"
            yield UserError(
                f"{number if len(statements) > 1 else f'{Kind.ALONE}:'} {statements[0].code}",
                where=problem.encoding_file,
                line=statements[0].line,
                remedy=_NO_INSTRUCTION,
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
    """Predicates that the description does not name, and constants that no text before them names.

    The constants of one step that are named nowhere are one fault.
    """
    prose, reported = problem.description, set()
    named, shown = words(prose), words(prose)
    for _, steps in groupby(problem.encoding.steps, lambda step: step.instruction or None):
        steps = list(steps)
        prose += f"\n{steps[0].instruction}"
        shown |= words(steps[0].instruction)
        missing: dict[str, Statement] = {}
        for statement in (statement for step in steps for statement in step.statements):
            used = {name.lstrip("-") for name, _ in predicates(statement)} - {""}
            for name in sorted(used - named - reported):
                yield _naming_fault(problem, statement, "predicate", [name])
            reported |= used
            constants = _constants(statement) - used - reported - shown
            unnamed = {name for name in constants if name.isidentifier() or not _is_named(name, prose)}
            missing |= dict.fromkeys(unnamed, statement)
            shown |= constants | words(statement.code)
            reported |= unnamed
        if missing:
            names = sorted(missing)
            yield _naming_fault(problem, missing[names[0]], "constant", names)


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


def _is_named(name: str, prose: str) -> bool:
    """Whether a text has a constant that is no single word."""
    return name in prose and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prose) is not None


def _naming_fault(problem: Problem, statement: Statement, kind: str, names: Sequence[str]) -> UserError:
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    arguments = " with its arguments" if kind == "predicate" else ""
    several = len(names) > 1
    return UserError(
        f"the text never names the {kind}{'s' * several} {', '.join(names[:_MOST_NAMES])}{more}",
        where=problem.encoding_file,
        line=statement.line,
        remedy=f"name {'them' if several else 'it'}{arguments} in {problem.description_file.name}",
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
