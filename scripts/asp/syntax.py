"""clingo's syntax trees: parsing within limits, walking, predicates, transformed variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clingo.ast import AST, ASTSequence, ASTType, Transformer, parse_string

from scripts.asp.gate import code_only, refusal
from scripts.asp.worker import tolerate_stray_bytes

DEEPEST = 200  # levels of a tree; nobody writes them, and recursion over more ends in a crash


_NESTING = re.compile(r"[-+*/\\^&?~|(]|\.\.")


def parse(text: str) -> list[AST]:
    """The syntax trees and comments of `text`, in the order of the text; RuntimeError with clingo's words on a fault."""
    if reason := refusal(text):
        raise RuntimeError(reason)
    parts = re.split(r"(?<!\.)\.(?!\.)", code_only(text))
    marks = [len(_NESTING.findall(part)) for part in parts]
    if (most := max(marks)) > 50 * DEEPEST:  # clingo's own recursion over them is near the end of its stack
        end = sum(len(part) + 1 for part in parts[: marks.index(most)])
        line = text.count("\n", 0, len(text) - len(text[end:].lstrip())) + 1
        raise RuntimeError(f"<string>:{line}:1: error: {most:,} operators and parentheses in one statement")
    tolerate_stray_bytes()
    trees: list[AST] = []
    messages: list[str] = []
    try:
        parse_string(text, trees.append, logger=lambda _, message: messages.append(message.strip()))
    except RuntimeError as error:
        raise RuntimeError("\n".join(messages) or str(error)) from None
    if most > DEEPEST and (tree := next((tree for tree in trees if _depth(tree) > DEEPEST), None)):
        begin = tree.location.begin
        raise RuntimeError(
            f"<string>:{begin.line}:{begin.column}: error: nested more than {DEEPEST} levels deep"
        )
    return sorted(
        (tree for tree in trees if not _implicit(tree)),
        key=lambda tree: (tree.location.begin.line, tree.location.begin.column),
    )


def _depth(tree: AST) -> int:
    """The levels of a tree."""
    level, depth = [tree], 0
    while level:
        level = [child for node in level for child in _children(node)]
        depth += 1
    return depth


def _implicit(tree: AST) -> bool:
    """Whether this is the `#program base.` that the parser puts before every text."""
    return tree.ast_type == ASTType.Program and tree.location.begin == tree.location.end


def _children(node: AST) -> list[AST]:
    """The trees directly below `node`."""
    below: list[AST] = []
    for name in node.child_keys:
        child = getattr(node, name)
        below += [
            item for item in (child if isinstance(child, ASTSequence) else [child]) if isinstance(item, AST)
        ]
    return below


def walk(node: AST) -> Iterator[AST]:
    """`node` and all trees below it, from left to right (both guards of an aggregate before its elements)."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(_children(node)))


def predicates(statement: Statement) -> set[tuple[str, int]]:
    """The predicates of a statement as (name, arity); classical negation belongs to the name (`-p`)."""
    found: set[tuple[str, int]] = set()

    def visit(term: AST, sign: str = "") -> None:
        if term.ast_type == ASTType.UnaryOperation:
            visit(term.argument, "-")
        elif term.ast_type == ASTType.Pool:
            for argument in term.arguments:
                visit(argument, sign)
        elif term.ast_type == ASTType.Function and term.name:
            found.add((sign + term.name, len(term.arguments)))

    for tree in statement.trees:
        for node in walk(tree):
            if node.ast_type == ASTType.SymbolicAtom:
                visit(node.symbol)
            elif node.ast_type in (ASTType.ShowSignature, ASTType.Defined, ASTType.ProjectSignature):
                found.add(("-" * (not node.positive) + node.name, node.arity))
    return found


def transform_variables(tree: AST, rename: Callable[[str], str]) -> AST:
    """A copy of `tree` with every variable but `_` renamed."""

    class Renamer(Transformer):
        def visit_Variable(self, node: AST) -> AST:  # noqa: N802 - the name clingo dispatches on
            return node if node.name == "_" else node.update(name=rename(node.name))

    return Renamer().visit(tree)


@dataclass(frozen=True)
class Statement:
    """One statement of a program: its text without comments, where it starts (line, from 1), its syntax trees.

    There is more than one tree only where clingo splits a statement (`#minimize` with several elements, `#edge`).
    """

    code: str
    line: int
    trees: tuple[AST, ...]
