"""The shapes of rules: their syntax trees without names, variables, constants and numbers.

A model composes what it has seen composed. The share of validation rules whose shape occurs in training says
how much of their structure training shows. A fine shape also keeps which variables of a rule are equal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import clingo
from clingo.ast import AST, Transformer

from scripts.asp.constructs import constructs
from scripts.asp.syntax import Statement
from scripts.data.problems import Problem

OFTEN = 5
"""A shape that training shows so many times is shown often."""


class _Abstraction(Transformer):
    """Replaces names, constants, numbers and variables of a tree. clingo calls the methods by name."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def visit_Variable(self, node: AST) -> AST:
        if node.name == "_":
            return node
        return node.update(name=self.names.setdefault(node.name, f"V{len(self.names)}"))

    def visit_SymbolicTerm(self, node: AST) -> AST:
        stand_ins = {
            clingo.SymbolType.Number: clingo.Number(0),
            clingo.SymbolType.Function: clingo.Function("c"),
            clingo.SymbolType.String: clingo.String("s"),
        }
        return node.update(symbol=stand_ins.get(node.symbol.type, node.symbol))

    def visit_Function(self, node: AST) -> AST:
        return node.update(name="f" if node.name else "", **self.visit_children(node))

    def visit_ShowSignature(self, node: AST) -> AST:
        return node.update(name="p")

    def visit_Definition(self, node: AST) -> AST:
        return node.update(name="c", **self.visit_children(node))


def fine_shape(statement: Statement) -> str:
    """Return the shape of a statement as text, with numbered variables, so that it says which are equal."""
    abstraction = _Abstraction()
    return "\n".join(str(abstraction.visit(tree)) for tree in statement.trees)


def shape(statement: Statement) -> str:
    """Return the shape of a statement as text: the fine shape with one name for all variables."""
    return _coarse(fine_shape(statement))


def _coarse(fine: str) -> str:
    return re.sub(r"\bV\d+\b|\b_\b", "V", fine)


@dataclass(frozen=True)
class Coverage:
    """How much of the rules to be predicted training shows.

    Attributes:
        rules: The number of rules.
        once: The share whose shape training shows at least once.
        often: The share whose shape training shows at least OFTEN times.
        fine: The share whose fine shape training shows at least once.
    """

    rules: int
    once: float
    often: float
    fine: float


def statements_of(problems: Iterable[Problem]) -> list[Statement]:
    """The statements of the steps of problems that have an instruction."""
    return [
        statement
        for problem in problems
        for step in problem.encoding.instructed
        for statement in step.statements
    ]


def coverage(seen: Sequence[Statement], unseen: Sequence[Statement]) -> dict[str, Coverage]:
    """Return how much of the rules `unseen` the rules `seen` show.

    Arguments:
        seen: The statements of training.
        unseen: The statements of validation.

    Returns:
        The figures of `all` rules, then those of each construct, the most frequent one first.
    """
    fine = Counter(map(fine_shape, seen))
    coarse: Counter[str] = Counter()
    for text, number in fine.items():
        coarse[_coarse(text)] += number
    groups: dict[str, list[tuple[int, int]]] = {"all": []}
    for statement in unseen:
        text = fine_shape(statement)
        counts = coarse[_coarse(text)], fine[text]
        groups["all"].append(counts)
        for construct in sorted(constructs(statement)):
            groups.setdefault(construct, []).append(counts)
    ordered = sorted(groups.items(), key=lambda item: (item[0] != "all", -len(item[1]), item[0]))
    return {name: _coverage(counts) for name, counts in ordered}


def _coverage(counts: Sequence[tuple[int, int]]) -> Coverage:
    size = max(len(counts), 1)
    return Coverage(
        len(counts),
        sum(coarse > 0 for coarse, _ in counts) / size,
        sum(coarse >= OFTEN for coarse, _ in counts) / size,
        sum(fine > 0 for _, fine in counts) / size,
    )
