"""clingo's syntax trees: parse a text, walk through a tree, find its predicates, rename its variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clingo.ast import AST, ASTSequence, ASTType, Transformer, parse_string

from scripts.asp.gate import code_only, refusal
from scripts.asp.worker import tolerate_stray_bytes

DEEPEST = 200  # the most levels of a tree that is accepted; recursion over many more crashes the process
_NESTING = re.compile(r"[-+*/\\^&?~|(]|\.\.")


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

    Raises:
        RuntimeError: clingo or the gate rejects the text, or a statement is nested too deeply. Its text is in
            the form of clingo's messages.
    """
    if reason := refusal(text):
        raise RuntimeError(reason)
    nesting = _check_nesting(text)
    tolerate_stray_bytes()
    trees: list[AST] = []
    messages: list[str] = []
    try:
        parse_string(text, trees.append, logger=lambda _, message: messages.append(message.strip()))
    except RuntimeError as error:
        raise RuntimeError("\n".join(messages) or str(error)) from None
    deep = next((tree for tree in trees if _depth(tree) > DEEPEST), None) if nesting > DEEPEST else None
    if deep:
        begin = deep.location.begin
        raise RuntimeError(
            f"<string>:{begin.line}:{begin.column}: error: nested more than {DEEPEST} levels deep"
        )
    return sorted(
        (tree for tree in trees if not _implicit(tree)),
        key=lambda tree: (tree.location.begin.line, tree.location.begin.column),
    )


def trees_of(code: str) -> list[AST]:
    """Parse `code` and return the trees of its statements, without its comments. Raises as `parse` does."""
    return [tree for tree in parse(code) if tree.ast_type != ASTType.Comment]


def _check_nesting(text: str) -> int:
    """Return the largest number of operators and parentheses in one statement: no tree has more levels.

    RuntimeError if there are so many that clingo's recursion over them would overflow its stack.
    """
    parts = re.split(r"(?<!\.)\.(?!\.)", code_only(text))
    counts = [len(_NESTING.findall(part)) for part in parts]
    most = max(counts)
    if most > 50 * DEEPEST:
        end = sum(len(part) + 1 for part in parts[: counts.index(most)])
        line = text.count("\n", 0, len(text) - len(text[end:].lstrip())) + 1
        raise RuntimeError(f"<string>:{line}:1: error: {most:,} operators and parentheses in one statement")
    return most


def _depth(tree: AST) -> int:
    """The number of levels of a tree."""
    level, depth = [tree], 0
    while level:
        level = [child for node in level for child in _children(node)]
        depth += 1
    return depth


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
