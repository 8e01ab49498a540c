"""clingo's syntax trees: parse a text, walk through a tree, find its predicates, rename its variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from clingo.ast import AST, ASTSequence, ASTType, Transformer, parse_string

from scripts.asp.solver import shared_solver
from scripts.asp.worker import tolerate_stray_bytes
from utils_ft import UserError

_SHORT = 10_000  # characters; which of the shorter texts a worker has parsed is remembered


@dataclass(frozen=True)
class Statement:
    """One statement of a program.

    Attributes:
        code: Its text without comments.
        line: The line on which it starts, from 1.
        trees: Its syntax trees. clingo splits some statements into several (`#minimize` with several
            elements, `#edge`).
    """

    code: str
    line: int
    trees: tuple[AST, ...]


def parse(text: str) -> list[AST]:
    """Parse `text` with clingo.

    Returns:
        The syntax trees of the statements and the comments, in the order of the text.

    A worker parses the text first: clingo cannot crash or block this process.

    Raises:
        RuntimeError: clingo or the gate rejects the text. Its text is in the form of clingo's messages.
    """
    _check(text)
    tolerate_stray_bytes()
    trees: list[AST] = []
    parse_string(text, trees.append)
    return sorted((tree for tree in trees if not _implicit(tree)), key=_place)


def require_complete(text: str, where: str | Path) -> None:
    """UserError unless `text` is a program of its own: an open comment or bracket would change what follows.

    Arguments:
        text: The text of a file.
        where: The file.
    """
    try:
        _check(text)
    except RuntimeError as error:
        raise not_parsed(error, where) from None


def not_parsed(error: RuntimeError, where: str | Path) -> UserError:
    """The error for a file that clingo cannot parse, with the line and clingo's message."""
    position = re.search(r":(\d+):", str(error))
    return UserError(
        f"clingo cannot parse it\n  {error}".replace("\n", "\n  "),
        where=where,
        line=int(position[1]) if position else None,
        remedy="correct the statement at that position",
    )


def _check(text: str) -> None:
    """RuntimeError if the gate or a worker rejects `text`."""
    (_check_short if len(text) < _SHORT else _ask_worker)(text)


def _ask_worker(text: str) -> None:
    outcome = shared_solver().parse(text)
    if not outcome.passes:
        raise RuntimeError(outcome.message)


_check_short = lru_cache(maxsize=4096)(_ask_worker)  # it does not remember what is rejected


def trees_of(code: str) -> list[AST]:
    """Parse `code` and return the trees of its statements, without its comments. Raises as `parse` does."""
    return [tree for tree in parse(code) if tree.ast_type != ASTType.Comment]


def _place(tree: AST) -> tuple[int, int]:
    """Line and column at which a tree begins."""
    begin = tree.location.begin  # clingo makes a new object for each access
    return begin.line, begin.column


def _implicit(tree: AST) -> bool:
    """Whether `tree` is the `#program base.` that the parser adds at the beginning of every text."""
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
    """Yield `node` and all trees below it, from left to right.

    An aggregate's guards come before its elements.
    """
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(_children(node)))


def predicates(statement: Statement) -> set[tuple[str, int]]:
    """Return the predicates of a statement as (name, arity).

    Classical negation is part of the name (`-p`).
    """
    names: set[tuple[str, int]] = set()

    def visit(term: AST, sign: str = "") -> None:
        if term.ast_type == ASTType.UnaryOperation:
            visit(term.argument, "-")
        elif term.ast_type == ASTType.Pool:
            for argument in term.arguments:
                visit(argument, sign)
        elif term.ast_type == ASTType.Function and term.name:
            names.add((sign + term.name, len(term.arguments)))

    for tree in statement.trees:
        for node in walk(tree):
            if node.ast_type == ASTType.SymbolicAtom:
                visit(node.symbol)
            elif node.ast_type in (ASTType.ShowSignature, ASTType.Defined, ASTType.ProjectSignature):
                names.add(("-" * (not node.positive) + node.name, node.arity))
    return names


def transform_variables(tree: AST, rename: Callable[[str], str]) -> AST:
    """Return a copy of `tree` with every variable renamed except `_`."""

    class Renamer(Transformer):
        def visit_Variable(self, node: AST) -> AST:  # clingo calls the method of this name
            return node if node.name == "_" else node.update(name=rename(node.name))

    return Renamer().visit(tree)
