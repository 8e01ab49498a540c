"""What a rule is about: the predicates that it defines, or what it constrains, optimises or shows.

A repair must be about the same as the gold rule. Otherwise `#true.`, which no solver rejects, would repair
every error.
"""

from __future__ import annotations

from collections.abc import Iterator

from clingo.ast import AST, ASTType

from scripts.asp.syntax import Statement, predicates, trees_of

_Subject = tuple[str, str, int]
"""What a statement does, a name, and an arity; "" and 0 where the statement names nothing."""


def keeps_subject(gold: str, code: str) -> bool:
    """Whether `code` is about all that `gold` is about.

    - It defines each predicate that `gold` has in a head, with the same arity.
    - It has a constraint, or an optimisation, if `gold` has one.
    - It shows, declares or defines each name that a directive of `gold` names.
    - It has at least one predicate of `gold`, if `gold` has predicates.

    Arguments:
        gold: Code that clingo's parser accepts.
        code: Any code.
    """
    try:
        answer = trees_of(code)
    except RuntimeError:
        return False
    wanted = trees_of(gold)
    names, found = (predicates(Statement("", 1, tuple(trees))) for trees in (wanted, answer))
    return _subjects(wanted) <= _subjects(answer) and (not names or bool(names & found))


def _subjects(trees: list[AST]) -> set[_Subject]:
    return {subject for tree in trees for subject in _subjects_of(tree)}


def _subjects_of(tree: AST) -> Iterator[_Subject]:
    """Yield the subjects of one statement."""
    kind = tree.ast_type
    if kind == ASTType.Rule:
        yield from _head_subjects(tree.head)
    elif kind in (ASTType.ShowSignature, ASTType.ProjectSignature, ASTType.Defined):
        yield kind.name, ("-" * (not tree.positive)) + tree.name, tree.arity
    elif kind == ASTType.Definition:
        yield kind.name, tree.name, 0
    elif kind != ASTType.Program:
        yield kind.name, "", 0


def _head_subjects(head: AST) -> Iterator[_Subject]:
    """Yield the predicates of a head, without those of its conditions; or that the rule is a constraint."""
    atoms = [head]
    if head.ast_type in (ASTType.Aggregate, ASTType.Disjunction):
        atoms = [element.literal for element in head.elements]
    elif head.ast_type == ASTType.HeadAggregate:
        atoms = [element.condition.literal for element in head.elements]
    for atom in atoms:
        if atom.ast_type != ASTType.Literal:
            yield "head", atom.ast_type.name, 0
        elif atom.atom.ast_type == ASTType.BooleanConstant:
            if bool(atom.atom.value) == bool(atom.sign % 2):
                yield "constraint", "", 0
        else:
            for name, arity in predicates(Statement("", 1, (atom,))):
                yield "head", name, arity
