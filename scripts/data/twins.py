"""Twins: two problems that are the same up to names and order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clingo.ast import ASTType

from scripts.asp.encoding import Encoding
from scripts.asp.syntax import walk
from scripts.data.problems import Problem

_WORD = re.compile(r'"(?:[^"\\\n]|\\[\\n"])*"|#?[A-Za-z_][\w\']*')


def twins(problems: Sequence[Problem]) -> list[tuple[Problem, Problem]]:
    """Return the pairs of problems with the same canonical encoding, or the same words in a description."""
    first_with: dict[str, Problem] = {}
    pairs = []
    for problem in problems:
        texts = {re.sub(r"\W+", " ", text).lower().strip() for text in problem.descriptions().values()}
        for text in sorted({canonical(problem.encoding), *texts} - {""}):
            first = first_with.setdefault(text, problem)
            if first is not problem and (first, problem) not in pairs:
                pairs.append((first, problem))
    return pairs


def canonical(encoding: Encoding) -> str:
    """Return the program in one layout and order, its names replaced by numbered ones.

    Two programs with the same canonical text are the same up to the names of predicates, constants and
    variables. The reverse does not always hold: the order of statements with equal shapes is not decided.
    """
    shapes: list[tuple[str, set[str]]] = []  # the text of each statement, and its variables
    for step in encoding.steps:
        for statement in step.statements:
            nodes = (node for tree in statement.trees for node in walk(tree))
            variables = {node.name for node in nodes if node.ast_type == ASTType.Variable}
            shapes.append(("\n".join(map(str, statement.trees)), variables))
    shapes.sort(key=lambda shape: _with_numbered_names(*shape, {}))
    names: dict[str, str] = {}
    return "\n".join(_with_numbered_names(*shape, names) for shape in shapes)


def _with_numbered_names(text: str, variables: set[str], names: dict[str, str]) -> str:
    """Return a statement with numbered names, in the order of their first occurrence.

    `names` has the numbered names of predicates and constants so far, and gets the new ones. The variables of
    each statement are numbered from 0.
    """
    variable_names: dict[str, str] = {}

    def rename(match: re.Match) -> str:
        word = match[0]
        if word[0] == "#" or word in ("not", "_"):
            return word
        if word in variables:
            return variable_names.setdefault(word, f"V{len(variable_names)}")
        return names.setdefault(word, f"n{len(names)}")

    return _WORD.sub(rename, text)
