"""Check that the instructions of generated problems determine their rules.

    python -m tools.wording_check --rules 10000

Each rule is changed in all small ways: another operator, sign, number or function, two arguments exchanged, a
literal or a term less. Rule and changed rule are put into words several times. If they share a sentence, the
solver must find the same answer sets for both, in the same context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from scripts.asp.solver import Solver
from scripts.data.generator.problem import LEVELS, NothingFits, Program, grow
from scripts.data.generator.rules import (
    Aggregate,
    Atom,
    Compare,
    Const,
    Cost,
    CostElement,
    Element,
    Rule,
    Show,
    Statement,
    nodes,
    rewrite,
)
from scripts.data.generator.variants import simpler
from scripts.data.generator.wording import Speaker
from utils_ft import command

VOICES = 6  # how often each statement is put into words
_OTHER_OP = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "!=", "!=": "="}
_OTHER_SIGN = {"": "not ", "not ": "-", "-": "not -", "not -": ""}
_OTHER_FUNCTION = {"#count": "#sum", "#sum": "#sum+", "#sum+": "#sum", "#min": "#max", "#max": "#min"}


@dataclass(frozen=True)
class Ambiguous:
    """A sentence that two rules of different meaning share.

    Attributes:
        sentence: The sentence.
        rule: The rule of a problem.
        other: The changed rule.
    """

    sentence: str
    rule: str
    other: str


def changed(statement: Statement) -> list[Statement]:
    """The statement with one small change, in all ways that keep its variables."""
    found = list(simpler(statement))
    for number, node in enumerate(nodes(statement)):
        found += [_replaced(statement, number, other) for other in _others(node)]
    return [other for other in found if other.code() != statement.code()]


def _replaced(statement: Statement, number: int, other: Any) -> Statement:
    """`statement` with its tree number `number`, in the order of `nodes`, replaced."""
    target = list(nodes(statement))[number]
    done = False

    def change(node: Any) -> Any:
        nonlocal done
        if not done and node == target:
            done = True
            return other
        return node

    return rewrite(statement, change)


def _others(node: Any) -> Iterator[Any]:
    if isinstance(node, Atom):
        yield replace(node, sign=_OTHER_SIGN[node.sign])
        if len(node.args) > 1:
            yield replace(node, args=(node.args[1], node.args[0], *node.args[2:]))
    elif isinstance(node, Compare):
        yield replace(node, ops=(_OTHER_OP[node.ops[0]], *node.ops[1:]))
        yield replace(node, ops=(*node.ops[:-1], _OTHER_OP[node.ops[-1]]))
        yield replace(node, terms=tuple(reversed(node.terms)))
    elif isinstance(node, Const) and node.is_number:
        yield Const(str(int(node.value) + 1))
    elif isinstance(node, Aggregate):
        for side in ("left", "right"):
            if guard := getattr(node, side):
                yield replace(node, **{side: (_OTHER_OP[guard[0]], guard[1])})
        if node.function:
            yield replace(node, function=_OTHER_FUNCTION[node.function])
    elif isinstance(node, Element) and len(node.terms) > 1:
        yield replace(node, terms=node.terms[:-1])
    elif isinstance(node, CostElement):
        yield replace(node, level=Const("3") if node.level != Const("3") else None)
        if node.terms:
            yield replace(node, terms=node.terms[:-1])
    elif isinstance(node, Cost) and node.form in ("#minimize", "#maximize"):
        yield replace(node, form={"#minimize": "#maximize", "#maximize": "#minimize"}[node.form])


def sentences(program: Program, number: int, statement: Statement) -> set[str]:
    """Wordings of `statement` in place of statement `number` of a program."""
    found = set()
    for voice in range(VOICES):
        said = Speaker(program.world, Random(voice)).instruction(statement, program.types[number], ())
        found |= {said} if said else set()
    return found


def ambiguous(program: Program, solver: Solver) -> list[Ambiguous]:
    """The sentences that a rule of the program shares with a changed rule of another meaning."""
    found = []
    for number, statement in enumerate(program.statements):
        if not isinstance(statement, Rule | Cost) and not (isinstance(statement, Show) and statement.body):
            continue
        own = sentences(program, number, statement)
        for other in changed(statement):
            shared = own & sentences(program, number, other)
            if shared and not _same_meaning(program, number, other, solver):
                found.append(Ambiguous(min(shared), statement.code(), other.code()))
    return found


def _same_meaning(program: Program, number: int, other: Statement, solver: Solver) -> bool:
    """Whether clingo rejects the program with `other`, or it has the same answer sets on all instances."""
    statements: Sequence[Statement] = [
        other if place == number else statement for place, statement in enumerate(program.statements)
    ]
    code = "\n".join(statement.code() for statement in statements)
    for instance, outcome in enumerate(program.outcomes):
        new = solver.answer_sets(f"{program.world.code(instance)}\n{code}\n")
        if new.answer_sets != outcome.answer_sets:
            return not new.passes
    return True


def main(rules: int = 10_000, seed: int = 0) -> None:
    """Check that the instructions of generated problems determine their rules.

    Arguments:
        rules: How many rules are checked.
        seed: The seed of the problems.
    """
    from tqdm.auto import tqdm

    checked, index, faults = 0, 0, []
    with Solver() as solver, tqdm(total=rules, unit="rule", disable=None) as bar:
        while checked < rules:
            try:
                program = grow(seed, index, index % len(LEVELS) + 1, solver)
            except NothingFits:
                program = None
            index += 1
            if program:
                faults += ambiguous(program, solver)
                checked += len(program.statements)
                bar.update(len(program.statements))
    for fault in faults:
        print(f"{fault.sentence}\n  {fault.rule}\n  {fault.other}\n")
    print(f"{checked} rules, {len(faults)} sentences of two meanings")


if __name__ == "__main__":
    command(main)()
