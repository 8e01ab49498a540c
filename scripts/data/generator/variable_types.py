"""The types of variables: what predicates, comparisons, arithmetic and aggregates say about them."""

from __future__ import annotations

from scripts.data.generator.domains import COLUMN, NUMBER, ROW, TIME, is_integer, join
from scripts.data.generator.rules import (
    Abs,
    Aggregate,
    Compare,
    Const,
    Cost,
    Func,
    Op,
    Pool,
    Statement,
    Term,
    Var,
    nodes,
    variables,
)

UNKNOWN = ("const", "integer")
"""What is known of a constant: it has any type, or that of some integers."""


class Misfit(Exception):
    """A template does not fit the world."""


def unify(term: Term, type_: str, types: dict[str, str]) -> bool:
    """Give the variables of an argument the type of its place; False if they have others."""
    if isinstance(term, Var):
        if term.name == "_":
            return True
        known = types.get(term.name)
        both = type_ if known is None else join(known, type_)
        if both is not None:
            types[term.name] = both
        return both is not None
    if isinstance(term, Const):
        return is_integer(type_) if term.is_number else type_ not in (COLUMN, ROW)
    if isinstance(term, Pool):
        return all(unify(one, type_, types) for one in term.terms)
    if isinstance(term, Abs):
        return is_integer(type_)
    if not isinstance(term, Op) or not is_integer(type_):
        return False
    if term.op in ("+", "-", ".."):
        any_number = isinstance(term.right, Var) and type_.startswith(NUMBER)
        return unify(term.left, type_, types) and unify(term.right, NUMBER if any_number else type_, types)
    return all(types.setdefault(name, NUMBER).startswith(NUMBER) for name in variables(term))


def complete(statement: Statement, types: dict[str, str], timed: bool) -> bool:
    """Give variables that an interval or arithmetic binds a type; whether all variables have one.

    Arguments:
        statement: The statement.
        types: The types of its variables.
        timed: Whether the world has points in time.
    """
    for node in nodes(statement):
        if isinstance(node, Compare) and node.ops == ("=",) and isinstance(node.terms[0], Var):
            name, term = node.terms[0].name, node.terms[1]
            if name not in types and isinstance(term, Op | Abs | Pool):
                types[name] = TIME if timed and isinstance(term, Op) and term.op == ".." else NUMBER
    return set(variables(statement)) <= types.keys()


def check(statement: Statement, types: dict[str, str]) -> None:
    """Give variables the types that comparisons and aggregates imply. Raises Misfit where two types clash."""
    for node in nodes(statement):
        if isinstance(node, Compare):
            _check_compare(node, types)
        elif isinstance(node, Aggregate):
            _check_aggregate(node, types)
        elif isinstance(node, Op):
            if node.op in ("*", "/", "\\", "**") and any(
                types.get(name, NUMBER) in (COLUMN, ROW, TIME) for name in variables(node)
            ):
                raise Misfit("a product of times")
            for name in (t.name for t in (node.left, node.right) if isinstance(t, Var)):
                if name in types and not is_integer(types[name]):
                    raise Misfit("arithmetic")
            type_of(node, types)
    if isinstance(statement, Cost):
        for element in statement.elements:
            for name in variables(element.weight):
                if name in types and not types[name].startswith(NUMBER):
                    raise Misfit("weight")


def _check_compare(node: Compare, types: dict[str, str]) -> None:
    if any(isinstance(term, Pool) and variables(term) for term in node.terms):
        raise Misfit("a pool of variables")
    if len(node.ops) > 1 and any(not is_integer(types.get(name, NUMBER)) for name in variables(node)):
        raise Misfit("a chain of things")
    for left, right, op in zip(node.terms, node.terms[1:], node.ops, strict=False):
        pairs = [(left, right)]
        if isinstance(left, Func) or isinstance(right, Func):
            if not (isinstance(left, Func) and isinstance(right, Func) and len(left.args) == len(right.args)):
                raise Misfit("a tuple")
            pairs = list(zip(left.args, right.args, strict=True))
        for one, other in pairs:
            _check_pair(one, op, other, types)


def _check_pair(one: Term, op: str, other: Term, types: dict[str, str]) -> None:
    both = _joined(type_of(one, types), type_of(other, types))
    if both not in (None, *UNKNOWN) and not is_integer(both) and op not in ("=", "!="):
        variables_only = isinstance(one, Var) and isinstance(other, Var)
        if op not in ("<", ">") or not variables_only:
            raise Misfit("an order of things")
    _give(one, both, types)
    _give(other, both, types)


def _give(term: Term, type_: str | None, types: dict[str, str]) -> None:
    if isinstance(term, Var) and type_ not in (None, *UNKNOWN) and term.name != "_":
        types[term.name] = type_


def _joined(first: str | None, second: str | None) -> str | None:
    if first is None or second is None:
        known = first or second
        return None if known in UNKNOWN else known
    if "integer" in (first, second):
        other = second if first == "integer" else first
        if other not in ("integer", "const") and not is_integer(other):
            raise Misfit("a number")
        return None if other in ("integer", "const") else other
    if "const" in (first, second):
        other = second if first == "const" else first
        if other == "const":
            raise Misfit("two constants")
        return other
    both = join(first, second)
    if both is None:
        raise Misfit("two types")
    return both


def type_of(term: Term, types: dict[str, str]) -> str | None:
    """The type of a term, or None; `const` for a constant of any type, `integer` for a number."""
    if isinstance(term, Var):
        return types.get(term.name)
    if isinstance(term, Const):
        return "integer" if term.is_number else "const"
    if isinstance(term, Abs):
        type_of(term.term, types)
        return NUMBER
    if isinstance(term, Op):
        if term.op in ("+", "-", ".."):
            parts = [type_of(one, types) for one in (term.left, term.right)]
            parts = ["integer" if part in (None, "const") else part for part in parts]
            return _joined(*parts) or "integer"
        return NUMBER
    return None


def _check_aggregate(node: Aggregate, types: dict[str, str]) -> None:
    result = NUMBER
    if node.function in ("#min", "#max", "#sum", "#sum+"):
        for element in node.elements:
            first = type_of(element.terms[0], types) if element.terms else None
            if first and first not in UNKNOWN:
                if not is_integer(first) or node.function.startswith("#sum") and not first.startswith(NUMBER):
                    raise Misfit("values")
                result = first
    for guard in (node.left, node.right):
        if guard:
            known = type_of(guard[1], types)
            if known in UNKNOWN:
                continue
            if known and join(known, result) is None:
                raise Misfit("guard")
            _give(guard[1], known or result, types)
