"""The rules of clingo's syntax trees as the small trees of the generator."""

from __future__ import annotations

import clingo
from clingo.ast import (
    AST,
    AggregateFunction,
    ASTType,
    BinaryOperator,
    ComparisonOperator,
    Sign,
    UnaryOperator,
)

from scripts.asp.syntax import Statement as ParsedStatement
from scripts.data.generator.rules import (
    Abs,
    Aggregate,
    Atom,
    Compare,
    Const,
    Cost,
    CostElement,
    Element,
    Every,
    Func,
    Literal,
    Op,
    Pool,
    Rule,
    Show,
    Statement,
    Term,
    Var,
)

_COMPARISONS = {
    ComparisonOperator.Equal: "=",
    ComparisonOperator.NotEqual: "!=",
    ComparisonOperator.LessThan: "<",
    ComparisonOperator.LessEqual: "<=",
    ComparisonOperator.GreaterThan: ">",
    ComparisonOperator.GreaterEqual: ">=",
}
_OPERATORS = {
    BinaryOperator.Plus: "+",
    BinaryOperator.Minus: "-",
    BinaryOperator.Multiplication: "*",
    BinaryOperator.Division: "/",
    BinaryOperator.Modulo: "\\",
    BinaryOperator.Power: "**",
}
_FUNCTIONS = {
    AggregateFunction.Count: "#count",
    AggregateFunction.Sum: "#sum",
    AggregateFunction.SumPlus: "#sum+",
    AggregateFunction.Min: "#min",
    AggregateFunction.Max: "#max",
}


class Unsupported(ValueError):
    """A tree of clingo that the generator does not use."""


def read_statement(statement: ParsedStatement) -> Statement:
    """A statement from clingo's trees. Raises Unsupported for what the generator does not use."""
    first = statement.trees[0]
    if first.ast_type == ASTType.Rule and len(statement.trees) == 1:
        return Rule(_head(first.head), tuple(map(_literal, first.body)))
    if first.ast_type == ASTType.Minimize:
        code = statement.code.lstrip()
        form = next((word for word in (":~", "#maximi", "#minimi") if code.startswith(word)), ":~")
        form += "" if form == ":~" else "ze"
        return Cost(form, tuple(_cost_element(tree, form) for tree in statement.trees))
    if first.ast_type == ASTType.ShowTerm:
        return Show(_term(first.term), tuple(map(_literal, first.body)))
    if first.ast_type == ASTType.ShowSignature and first.positive and first.name:
        return Show((first.name, first.arity))
    raise Unsupported(str(first.ast_type))


def _cost_element(tree: AST, form: str) -> CostElement:
    weight = tree.weight
    if form == "#maximize":  # clingo's tree has the negated weight
        if weight.ast_type != ASTType.UnaryOperation:
            raise Unsupported("weight")
        weight = weight.argument
    weight, level = _term(weight), _term(tree.priority)
    return CostElement(
        weight,
        None if level == Const("0") else level,
        tuple(map(_term, tree.terms)),
        tuple(map(_literal, tree.body)),
    )


def _head(head: AST) -> tuple[Atom | Compare | Every, ...] | Aggregate:
    kind = head.ast_type
    if kind in (ASTType.Aggregate, ASTType.HeadAggregate):
        return _aggregate(head)
    if kind == ASTType.Disjunction:
        parts = [Every(_literal(one.literal), tuple(map(_literal, one.condition))) for one in head.elements]
        return tuple(part if part.conditions else part.literal for part in parts)
    if kind == ASTType.Literal and head.atom.ast_type == ASTType.BooleanConstant and head.atom.value == 0:
        return ()
    return (_literal(head),)


def _literal(node: AST) -> Literal:
    if node.ast_type == ASTType.ConditionalLiteral:
        return Every(_literal(node.literal), tuple(map(_literal, node.condition)))
    if node.ast_type != ASTType.Literal or node.sign == Sign.DoubleNegation:
        raise Unsupported(str(node.ast_type))
    sign = "not " if node.sign == Sign.Negation else ""
    atom = node.atom
    if atom.ast_type == ASTType.SymbolicAtom:
        return _atom(atom.symbol, sign)
    if atom.ast_type == ASTType.Comparison:
        ops = tuple(_COMPARISONS[guard.comparison] for guard in atom.guards)
        return Compare((_term(atom.term), *(_term(guard.term) for guard in atom.guards)), ops, sign)
    if atom.ast_type in (ASTType.Aggregate, ASTType.BodyAggregate):
        return _aggregate(atom, sign)
    raise Unsupported(str(atom.ast_type))


def _atom(symbol: AST, sign: str = "") -> Atom:
    if symbol.ast_type == ASTType.UnaryOperation:
        return _atom(symbol.argument, f"{sign}-")
    if symbol.ast_type != ASTType.Function or not symbol.name:
        raise Unsupported(str(symbol.ast_type))
    return Atom(symbol.name, tuple(map(_term, symbol.arguments)), sign)


def _aggregate(node: AST, sign: str = "") -> Aggregate:
    guards = [
        None if guard is None else (_COMPARISONS[guard.comparison], _term(guard.term))
        for guard in (node.left_guard, node.right_guard)
    ]
    function = "" if node.ast_type == ASTType.Aggregate else _FUNCTIONS[node.function]
    return Aggregate(function, tuple(map(_element, node.elements)), *guards, sign)


def _element(node: AST) -> Element:
    if node.ast_type == ASTType.ConditionalLiteral:
        return Element((), _plain_atom(node.literal), tuple(map(_literal, node.condition)))
    terms = tuple(map(_term, node.terms))
    if node.ast_type == ASTType.HeadAggregateElement:
        inner = node.condition
        return Element(terms, _plain_atom(inner.literal), tuple(map(_literal, inner.condition)))
    return Element(terms, None, tuple(map(_literal, node.condition)))


def _plain_atom(node: AST) -> Atom:
    literal = _literal(node)
    if not isinstance(literal, Atom):
        raise Unsupported("element")
    return literal


def _term(node: AST) -> Term:
    kind = node.ast_type
    if kind == ASTType.Variable:
        return Var(node.name)
    if kind == ASTType.SymbolicTerm:
        if node.symbol.type in (clingo.SymbolType.Infimum, clingo.SymbolType.Supremum):
            raise Unsupported("#inf")
        return Const(str(node.symbol))
    if kind == ASTType.Interval:
        return Op("..", _term(node.left), _term(node.right))
    if kind == ASTType.BinaryOperation and node.operator_type in _OPERATORS:
        return Op(_OPERATORS[node.operator_type], _term(node.left), _term(node.right))
    if kind == ASTType.UnaryOperation:
        if node.operator_type == UnaryOperator.Absolute:
            return Abs(_term(node.argument))
        inner = _term(node.argument)
        if node.operator_type == UnaryOperator.Minus and isinstance(inner, Const) and inner.is_number:
            return Const(f"-{inner.value}")
        raise Unsupported("unary operator")
    if kind == ASTType.Function:
        return Func(node.name, tuple(map(_term, node.arguments)))
    if kind == ASTType.Pool:
        return Pool(tuple(map(_term, node.arguments)))
    raise Unsupported(str(kind))
