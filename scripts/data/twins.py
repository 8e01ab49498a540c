"""Twins: problems that are the same up to names and order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clingo.ast import ASTType

from scripts.asp.encoding import Encoding
from scripts.asp.syntax import walk
from scripts.data.problems import Problem

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
