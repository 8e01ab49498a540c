"""Which constructs of the language a program shows, in the terms of clingo's guide, from its syntax trees."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from clingo.ast import AST, AggregateFunction, ASTType, ComparisonOperator, Sign

from scripts.asp.encoding import Encoding
from scripts.asp.syntax import Statement, predicates, walk

# A symmetry breaker is a constraint like others; only the instruction says what it is for.
_SYMMETRY = re.compile(r"\bsymmetry\b|\bmirror(ed)? |\bequivalent plans\b|\binterchangeable\b", re.IGNORECASE)
_AGGREGATES = {
    AggregateFunction.Count: "#count",
    AggregateFunction.Sum: "#sum",
    AggregateFunction.SumPlus: "#sum",
    AggregateFunction.Min: "#min",
    AggregateFunction.Max: "#max",
}
_DIRECTIVES = {
    ASTType.ShowSignature: "#show",
    ASTType.ShowTerm: "#show",
    ASTType.Definition: "#const",
    ASTType.External: "#external",
    ASTType.Defined: "#defined",
    ASTType.ProjectAtom: "#project",
    ASTType.ProjectSignature: "#project",
    ASTType.Heuristic: "#heuristic",
    ASTType.Edge: "#edge",
    ASTType.Program: "#program",
}
CONSTRUCTS = (
    "fact",
    "integrity constraint",
    "choice rule",
    "choice rule with bounds",
    "disjunction",
    "aggregate in the head",
    "comparison in the head",
    "recursion",
    "default negation",
    "strong negation",
    "conditional literal",
    "comparison",
    "comparison chain",
    "arithmetic",
    "interval",
    "pool",
    "#count",
    "#sum",
    "#min",
    "#max",
    "aggregate assigned to a variable",
    "#minimize / #maximize",
    "weak constraint",
    "priority level",
    "frame axiom",
    "symmetry breaking",
    *dict.fromkeys(_DIRECTIVES.values()),
)
"""All constructs that are counted. Theory atoms, scripts and external functions are not."""


def constructs(statement: Statement) -> set[str]:
    """Return the constructs that a statement shows, for example `{"choice rule", "interval"}`."""
    shown: set[str] = set()
    for tree in statement.trees:
        kind = tree.ast_type
        if kind == ASTType.Minimize:
            shown.add(
                "weak constraint" if statement.code.lstrip().startswith(":~") else "#minimize / #maximize"
            )
            if str(tree.priority) != "0":
                shown.add("priority level")
        elif kind in _DIRECTIVES:
            shown.add(_DIRECTIVES[kind])
        elif kind == ASTType.Rule:
            shown |= _rule_constructs(tree)
        for node in walk(tree):
            shown |= _node_constructs(node)
    return shown


def _rule_constructs(rule: AST) -> set[str]:
    """The constructs that the form of a rule shows."""
    shown = {_head_construct(rule)} - {""}
    if any(_shifts(rule.head, literal) for literal in rule.body) and any(
        getattr(literal, "sign", 0) for literal in rule.body
    ):
        shown.add("frame axiom")
    for literal in rule.body:
        if literal.ast_type == ASTType.ConditionalLiteral:
            shown.add("conditional literal")
        elif _is_assignment(literal):
            shown.add("aggregate assigned to a variable")
    return shown


def _head_construct(rule: AST) -> str:
    """The construct that the head of a rule shows, or ""."""
    head = rule.head
    if head.ast_type == ASTType.Aggregate:
        return "choice rule with bounds" if head.left_guard or head.right_guard else "choice rule"
    if head.ast_type == ASTType.HeadAggregate:
        return "aggregate in the head"
    if head.ast_type == ASTType.Disjunction:
        return "disjunction"
    if head.ast_type == ASTType.Literal and head.atom.ast_type == ASTType.BooleanConstant:
        return "integrity constraint"
    if head.ast_type == ASTType.Literal and head.atom.ast_type == ASTType.Comparison:
        return "comparison in the head"
    return "" if rule.body else "fact"


def _is_assignment(literal: AST) -> bool:
    """Whether a literal assigns an aggregate to a variable, as `N = #count { … }`."""
    if literal.ast_type != ASTType.Literal or literal.atom.ast_type != ASTType.BodyAggregate:
        return False
    guard = literal.atom.left_guard
    return bool(guard) and (
        guard.comparison == ComparisonOperator.Equal and guard.term.ast_type == ASTType.Variable
    )


def _shifts(head: AST, literal: AST) -> bool:
    """Whether both are positive atoms of one predicate, and an argument differs by 1 (`T` and `T+1`)."""
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
    """The constructs that one node of a tree shows."""
    kind = node.ast_type
    if kind == ASTType.Literal and node.sign != Sign.NoSign:
        return {"default negation"}
    if kind == ASTType.SymbolicAtom and node.symbol.ast_type == ASTType.UnaryOperation:
        return {"strong negation"}
    if kind == ASTType.Interval:
        return {"interval"}
    if kind == ASTType.Pool:
        return {"pool"}
    if kind == ASTType.BinaryOperation or (
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
    statements = [statement for step in encoding.steps for statement in step.statements]
    rules = [tree for statement in statements for tree in statement.trees if tree.ast_type == ASTType.Rule]
    depends_on: dict[tuple, set] = defaultdict(set)
    for rule in rules:
        body = set().union(*(predicates(Statement("", 0, (literal,))) for literal in rule.body))
        for head in predicates(Statement("", 0, (rule.head,))):
            depends_on[head] |= body
    reached = {node: set(targets) for node, targets in depends_on.items()}
    for middle in list(reached):  # the transitive closure (Warshall, 1962)
        for node in reached:
            if middle in reached[node]:
                reached[node] |= reached[middle]
    return any(node in targets for node, targets in reached.items())


def construct_table(encodings: Iterable[Encoding]) -> Counter[str]:
    """Count the programs that show each construct."""
    table: Counter[str] = Counter()
    for encoding in encodings:
        shown = {"recursion"} if recursive(encoding) else set()
        for step in encoding.steps:
            shown |= {"symmetry breaking"} if _SYMMETRY.search(step.instruction) else set()
            shown = shown.union(*map(constructs, step.statements))
        table.update(shown)
    return table


def lacking(table: Counter[str]) -> list[str]:
    """Return the constructs that no program of a table shows."""
    return [name for name in CONSTRUCTS if not table[name]]
