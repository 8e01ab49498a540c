"""Which constructs of the language a statement shows, in the terms of clingo's guide, read off its syntax tree."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from clingo.ast import AST, AggregateFunction, ASTType, ComparisonOperator, Sign

from scripts.asp.encoding import Encoding
from scripts.asp.syntax import Statement, predicates, walk

# Breaking a symmetry is an intention: the tree shows a constraint, only the instruction says what it is for.
_SYMMETRY = re.compile(r"\bsymmetry\b|\bmirror(ed)? |\bequivalent plans\b|\binterchangeable\b", re.IGNORECASE)
_AGGREGATES = {
    AggregateFunction.Count: "#count",
    AggregateFunction.Sum: "#sum",
    AggregateFunction.SumPlus: "#sum",
    AggregateFunction.Min: "#min",
    AggregateFunction.Max: "#max",
}


def constructs(statement: Statement) -> set[str]:
    """The constructs of the language that a statement shows, in the terms of clingo's guide."""
    found: set[str] = set()
    for tree in statement.trees:
        kind = tree.ast_type
        if kind == ASTType.Minimize:
            found.add(
                "weak constraint" if statement.code.lstrip().startswith(":~") else "#minimize / #maximize"
            )
            if str(tree.priority) != "0":
                found.add("priority level")
        elif kind in (ASTType.ShowSignature, ASTType.ShowTerm):
            found.add("#show")
        elif kind == ASTType.Definition:
            found.add("#const")
        elif kind == ASTType.Rule:
            found |= _rule_constructs(tree)
        for node in walk(tree):
            found |= _node_constructs(node)
    return found


def _rule_constructs(rule: AST) -> set[str]:
    found: set[str] = set()
    head = rule.head
    if head.ast_type == ASTType.Aggregate:
        found.add("choice rule with bounds" if head.left_guard or head.right_guard else "choice rule")
    elif head.ast_type == ASTType.HeadAggregate:
        found.add("aggregate in the head")
    elif head.ast_type == ASTType.Disjunction:
        found.add("disjunction")
    elif head.ast_type == ASTType.Literal and head.atom.ast_type == ASTType.BooleanConstant:
        found.add("integrity constraint")
    elif head.ast_type == ASTType.Literal and head.atom.ast_type == ASTType.Comparison:
        found.add("comparison in the head")
    elif not rule.body:
        found.add("fact")
    if any(_shifts(head, literal) for literal in rule.body) and any(
        getattr(literal, "sign", 0) for literal in rule.body
    ):
        found.add("frame axiom")
    for literal in rule.body:
        if literal.ast_type == ASTType.ConditionalLiteral:
            found.add("conditional literal")
        elif literal.ast_type == ASTType.Literal and literal.atom.ast_type == ASTType.BodyAggregate:
            guard = literal.atom.left_guard
            if (
                guard
                and guard.comparison == ComparisonOperator.Equal
                and guard.term.ast_type == ASTType.Variable
            ):
                found.add("aggregate assigned to a variable")
    return found


def _shifts(head: AST, literal: AST) -> bool:
    """Whether both are positive atoms of one predicate, and some argument is one more or less in one of them."""
    atoms = [
        part.atom.symbol
        for part in (head, literal)
        if part.ast_type == ASTType.Literal and not part.sign and part.atom.ast_type == ASTType.SymbolicAtom
    ]
    if len(atoms) < 2:
        return False
    first, second = (atom.argument if atom.ast_type == ASTType.UnaryOperation else atom for atom in atoms)
    if not first.ast_type == second.ast_type == ASTType.Function or first.name != second.name:
        return False
    return any(
        longer.ast_type == ASTType.BinaryOperation and longer.left == shorter and str(longer.right) == "1"
        for pair in zip(first.arguments, second.arguments, strict=False)
        for longer, shorter in (pair, pair[::-1])
    )


def _node_constructs(node: AST) -> set[str]:
    kind = node.ast_type
    if kind == ASTType.Literal and node.sign != Sign.NoSign:
        return {"default negation"}
    if kind == ASTType.SymbolicAtom and node.symbol.ast_type == ASTType.UnaryOperation:
        return {"strong negation"}
    if kind == ASTType.Interval:
        return {"interval"}
    if kind == ASTType.Pool:
        return {"pool"}
    if kind in (ASTType.BinaryOperation,) or (
        kind == ASTType.UnaryOperation and node.argument.ast_type != ASTType.Function
    ):
        return {"arithmetic"}
    if kind == ASTType.Comparison:
        return {"comparison chain"} if len(node.guards) > 1 else {"comparison"}
    if kind in (ASTType.BodyAggregate, ASTType.HeadAggregate):
        return {_AGGREGATES[AggregateFunction(node.function)]}
    return set()


def recursive(encoding: Encoding) -> bool:
    """Whether a predicate depends on itself through the rules of the program."""
    edges: dict[tuple, set] = defaultdict(set)
    for step in encoding.steps:
        for statement in step.statements:
            for tree in statement.trees:
                if tree.ast_type == ASTType.Rule:
                    heads = predicates(Statement("", 0, (tree.head,)))
                    for head in heads:
                        for literal in tree.body:
                            edges[head] |= predicates(Statement("", 0, (literal,)))
    reached = {node: set(targets) for node, targets in edges.items()}
    for middle in list(reached):
        for node in reached:
            if middle in reached[node]:
                reached[node] |= reached[middle]
    return any(node in targets for node, targets in reached.items())


def construct_table(encodings: Iterable[Encoding]) -> Counter[str]:
    """In how many programs each construct appears."""
    table: Counter[str] = Counter()
    for encoding in encodings:
        shown = {"recursion"} if recursive(encoding) else set()
        for step in encoding.steps:
            shown |= {"symmetry breaking"} if _SYMMETRY.search(step.instruction) else set()
            shown = shown.union(*map(constructs, step.statements))
        table.update(shown)
    return table
