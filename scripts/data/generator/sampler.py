"""Random rules over a schema: typed, safe and connected, with weights like those of hand-written rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from scripts.data.generator.domains import Domain, Predicate
from scripts.data.generator.rules import (
    Absolute,
    Aggregate,
    Any_,
    Atom,
    Between,
    Binary,
    Choice,
    Compare,
    Const,
    Cost,
    Every,
    Literal,
    Rule,
    Show,
    Statement,
    Term,
    Var,
    variables_of,
)

BODY_LENGTHS = {1: 20, 2: 36, 3: 30, 4: 11, 5: 3}
CONDITION_LENGTHS = {1: 46, 2: 38, 3: 14, 4: 2}
FUNCTIONS = {"#count": 48, "#sum": 22, "#max": 13, "#min": 13, "#sum+": 4}
LITERALS = {
    "atom": 62,
    "negated": 13,
    "compare": 15,
    "aggregate": 14,
    "every": 4,
    "arithmetic": 4,
    "between": 2,
}


@dataclass
class Schema:
    """The predicates of a problem: what the facts give, what a solution decides, what rules have derived."""

    domain: Domain
    facts: list[Predicate]
    decided: list[Predicate] = field(default_factory=list)
    derived: list[Predicate] = field(default_factory=list)
    strong: set[str] = field(default_factory=set)
    constants: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    used: Counter = field(default_factory=Counter)

    def available(self) -> list[Predicate]:
        """All predicates that a body may use."""
        return [*self.facts, *self.decided, *self.derived]


def pick(rng: Random, weights: dict) -> object:
    """A key of `weights`, drawn by its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


class Scope:
    """The variables of one rule: their names, types, and how often each occurs."""

    def __init__(self, rng: Random):
        self.rng = rng
        self.variables: list[Var] = []

    def fresh(self, type_: str) -> Var:
        """A new variable named after its type."""
        first = {"number": "N", "time": "T"}.get(type_, type_[0].upper())
        letters = {"N": "NMKQ", "T": "TU"}.get(first) or [
            first,
            *(chr(c) for c in range(ord(first) + 1, 91)),
            "A",
            "B",
        ]
        taken = {variable.name for variable in self.variables}
        name = next((letter for letter in letters if letter not in taken), None)
        if name is None:
            name = next(f"{first}{number}" for number in range(1, 99) if f"{first}{number}" not in taken)
        variable = Var(name, type_)
        self.variables.append(variable)
        return variable

    def of(self, type_: str) -> list[Var]:
        """The variables of a type."""
        return [variable for variable in self.variables if variable.type == type_]


class Sampler:
    """Draws statements over a schema."""

    def __init__(self, schema: Schema, rng: Random, level: int):
        self.schema, self.rng, self.level = schema, rng, level

    # --- terms ---

    def _argument(self, scope: Scope, type_: str, join: float, binding: bool = True) -> Term:
        known = scope.of(type_)
        draw = self.rng.random()
        if known and (not binding or draw < join):
            variable = self.rng.choice(known)
            if type_ in ("number", "time") and self.rng.random() < (0.22 if self.level >= 2 else 0.0):
                return Binary(
                    self.rng.choice("+--"), variable, Const(str(self.rng.choice((1, 1, 1, 2))), type_)
                )
            return variable
        if not binding:
            return self._constant(type_) if self.rng.random() < 0.4 else Any_(type_)
        if draw > 0.94:
            return self._constant(type_)
        return scope.fresh(type_)

    def _constant(self, type_: str) -> Term:
        if type_ in ("number", "time"):
            return Const(str(self.rng.randint(1, 3)), type_)
        return Const(self.rng.choice(self.schema.domain.types[type_][1][:3]), type_)

    def _limit(self) -> Const:
        """A number to compare with, now and then the name of a constant."""
        if self.schema.constants and self.rng.random() < 0.45:
            return Const(self.rng.choice(sorted(self.schema.constants)), "number")
        return Const(str(self.rng.choice((0, 1, 1, 2, 2, 3, 4))), "number")

    # --- literals ---

    def _choose(self, predicates: list[Predicate], scope: Scope | None = None) -> Predicate:
        """A predicate, those that are used little and share a type with the scope preferred."""
        types = {variable.type for variable in scope.variables} if scope else set()
        weights = []
        for predicate in predicates:
            weight = 1.0 / (1 + self.schema.used[predicate.name])
            weight *= 2.5 if predicate in self.schema.decided or predicate in self.schema.derived else 1.0
            if types:
                weight *= 1.0 if types & set(predicate.args) else 0.02
            weights.append(weight)
        return self.rng.choices(predicates, weights)[0]

    def atom(self, scope: Scope, join: float = 0.8, among: list[Predicate] | None = None) -> Atom:
        """A positive atom, joined to the variables that are there."""
        predicate = self._choose(among or self.schema.available(), scope)
        args: list[Term] = []
        for type_ in predicate.args:
            term = self._argument(scope, type_, join)
            if term in args:  # the same variable twice says little
                term = scope.fresh(type_)
            args.append(term)
        sign = "-" if predicate.name in self.schema.strong and self.rng.random() < 0.3 else ""
        return Atom(predicate, tuple(args), sign)

    def negated(self, scope: Scope, among: list[Predicate] | None = None) -> Atom | None:
        """A default-negated atom whose variables are bound already."""
        types = {variable.type for variable in scope.variables}
        fitting = [p for p in among or self.schema.available() if types & set(p.args)]
        if not fitting:
            return None
        predicate = self._choose(fitting, scope)
        args = tuple(self._argument(scope, type_, 1.0, binding=False) for type_ in predicate.args)
        if len(set(args)) < len(args) or not any(variables_of(term) for term in args):
            return None
        strong = predicate.name in self.schema.strong and self.rng.random() < 0.4
        return Atom(predicate, args, "not -" if strong else "not ")

    def compare(self, scope: Scope) -> Literal | None:
        """A comparison of bound variables of one type, or of a number with a limit."""
        numbers = scope.of("number") + scope.of("time")
        named = [
            (left, right)
            for index, left in enumerate(scope.variables)
            for right in scope.variables[index + 1 :]
            if left.type == right.type
        ]
        draw = self.rng.random()
        if named and (draw < 0.5 or not numbers):
            left, right = self.rng.choice(named)
            if left.type not in ("number", "time"):
                return Compare(left, self.rng.choice(("!=", "!=", "<", "<")), right)
            if self.level >= 3 and self.rng.random() < 0.25:
                return Compare(
                    Absolute(left, right), self.rng.choice(("<", "<=", ">", ">=", "=", "!=")), self._limit()
                )
            other = right if self.rng.random() < 0.6 else Binary(self.rng.choice("+-*"), right, self._limit())
            return Compare(left, self.rng.choice(("<", "<=", ">", ">=", "!=", "=")), other)
        if not numbers:
            return None
        left = self.rng.choice(numbers)
        if len(numbers) > 1 and self.rng.random() < 0.3:
            other = self.rng.choice([number for number in numbers if number != left])
            return Compare(Binary("+", left, other), self.rng.choice(("<", "<=", ">", ">=")), self._limit())
        if self.level >= 3 and self.rng.random() < 0.12:
            return Compare(
                Binary("\\", left, Const("2", "number")), "=", Const(str(self.rng.randint(0, 1)), "number")
            )
        return Compare(left, self.rng.choice(("<", "<=", ">", ">=", "!=", "=")), self._limit())

    def between(self, scope: Scope) -> Literal | None:
        """A chain of comparisons around a bound number."""
        numbers = scope.of("number")
        if not numbers:
            return None
        ops = self.rng.choice((("<=", "<="), ("<=", "<"), ("<", "<"), ("<=", "<=")))
        if len(numbers) >= 3 and self.rng.random() < 0.6:
            lower, term, upper = self.rng.sample(numbers, 3)
            return Between(lower, term, upper, ops)
        low = self.rng.randint(1, 2)
        return Between(
            Const(str(low), "number"),
            self.rng.choice(numbers),
            Const(str(low + self.rng.randint(1, 3)), "number"),
            ops,
        )

    def arithmetic(self, scope: Scope) -> Literal | None:
        """A new number that is computed from bound numbers, or drawn from an interval."""
        numbers = scope.of("number")
        if not numbers:
            return None
        left = self.rng.choice(numbers)
        fresh = scope.fresh("number")
        draw = self.rng.random()
        if draw < 0.35:
            return Compare(fresh, "=", Binary("..", Const("1", "number"), left))
        others = [number for number in numbers if number not in (left, fresh)]
        right: Term = (
            self.rng.choice(others) if others and draw < 0.8 else Const(str(self.rng.randint(1, 3)), "number")
        )
        if others and self.level >= 3 and draw > 0.93:
            return Compare(fresh, "=", Absolute(left, self.rng.choice(others)))
        return Compare(fresh, "=", Binary(self.rng.choice("++--*"), left, right))

    def conditions(self, scope: Scope, count: int) -> tuple[Literal, ...]:
        """The literals behind a colon, inside an aggregate, a choice or a conditional literal."""
        found: list[Literal] = [self.atom(scope)]
        while len(found) < count:
            kind = pick(self.rng, {"atom": 60, "negated": 15, "compare": 25})
            literal = {"atom": self.atom, "negated": self.negated, "compare": self.compare}[kind](scope)
            if literal is None or literal in found:
                literal = self.atom(scope)
            if literal in found:
                break
            found.append(literal)
        return tuple(found)

    def aggregate(self, scope: Scope) -> Aggregate | None:
        """An aggregate whose conditions share a variable with the rule, as a test or as an assignment."""
        function = pick(self.rng, FUNCTIONS)
        inner = Scope(self.rng)
        inner.variables = list(scope.variables)
        conditions = self.conditions(inner, pick(self.rng, CONDITION_LENGTHS))
        local = [variable for variable in inner.variables if variable not in scope.variables]
        shared = {v for literal in conditions for term in literal.terms() for v in variables_of(term)} & set(
            scope.variables
        )
        if not local or (scope.variables and not shared):
            return None
        numbers = [variable for variable in local if variable.type == "number"]
        things = [variable for variable in local if variable.type != "number"]
        if function == "#count":
            chosen = things or local
            size = min(len(chosen), self.rng.choice((1, 1, 1, 2, 2)))
            elements: tuple[Term, ...] = tuple(self.rng.sample(chosen, size))
        else:
            if not numbers:
                return None
            elements = (numbers[0],)
            if function in ("#sum", "#sum+") and things:
                elements += tuple(self.rng.sample(things, min(len(things), self.rng.choice((1, 1, 2)))))
        op = self.rng.choice(("<", "<=", ">", ">=", "=", "!="))
        if self.rng.random() < 0.4:
            guard = scope.fresh("number")
            return Aggregate(function, elements, conditions, "=", guard, assigns=True)
        bound = scope.of("number")
        guard = self.rng.choice(bound) if bound and self.rng.random() < 0.35 else self._limit()
        if function == "#count" and guard == Const("0", "number"):
            guard, op = Const("1", "number"), self.rng.choice((">", "!="))
        return Aggregate(function, elements, conditions, op, guard)

    def every(self, scope: Scope) -> Every | None:
        """A conditional literal over things that only it names."""
        inner = Scope(self.rng)
        inner.variables = list(scope.variables)
        facts = self.schema.facts
        conditions: tuple[Literal, ...] = (self.atom(inner, among=facts),)
        if self.rng.random() < 0.25 and (extra := self.compare(inner)):
            conditions += (extra,)
        local = [variable for variable in inner.variables if variable not in scope.variables]
        if not local:
            return None
        literal = self.negated(inner) if self.rng.random() < 0.35 else self._bound_atom(inner)
        if literal is None:
            return None
        named = {v for term in literal.args for v in variables_of(term)}
        return Every(literal, conditions) if named & set(local) and literal not in conditions else None

    def _bound_atom(self, scope: Scope) -> Atom | None:
        found = self.negated(scope)
        return Atom(found.predicate, found.args, found.sign.removeprefix("not ")) if found else None

    # --- bodies ---

    def body(self, scope: Scope, length: int, first: list[Predicate] | None = None) -> tuple[Literal, ...]:
        """A body of about `length` literals. Each variable of it that occurs once becomes `_`, or gets a use."""
        found: list[Literal] = [self.atom(scope, among=first)]
        kinds = dict(LITERALS)
        if self.level < 2:
            kinds |= {"aggregate": 0, "every": 0, "between": 0}
        for _ in range(12):
            if len(found) >= length:
                break
            kind = pick(self.rng, kinds)
            literal = getattr(self, kind)(scope)
            if literal is not None and literal not in found:
                if isinstance(literal, (Aggregate, Every)) and any(isinstance(x, Every) for x in found):
                    continue
                found.append(literal)
        return tuple(found)


def occurrences(head_terms: list[Term], body: tuple[Literal, ...]) -> Counter:
    """How often each variable occurs in a rule."""
    count: Counter = Counter()
    for term in head_terms:
        count.update(variables_of(term))
    for literal in body:
        for term in literal.terms():
            count.update(variables_of(term))
        if isinstance(literal, (Aggregate, Every)):
            count.update(literal.inner())
    return count


def hide_single(head_terms: list[Term], body: tuple[Literal, ...]) -> tuple[Literal, ...] | None:
    """`body` with `_` for each variable that occurs once in an atom; None where a number or a comparison stands alone."""
    count = occurrences(head_terms, body)
    result: list[Literal] = []
    for literal in body:
        if isinstance(literal, Atom):
            literal = _hidden(literal, count)
            if literal is None:
                return None
        elif isinstance(literal, (Aggregate, Every)):
            conditions = []
            for condition in literal.conditions:
                if isinstance(condition, Atom):
                    condition = _hidden(condition, count)
                    if condition is None:
                        return None
                conditions.append(condition)
            if isinstance(literal, Aggregate):
                if literal.assigns and count[literal.guard] < 2:
                    return None
                literal = Aggregate(
                    literal.function,
                    literal.elements,
                    tuple(conditions),
                    literal.op,
                    literal.guard,
                    literal.assigns,
                )
            else:
                literal = Every(literal.literal, tuple(conditions))
        elif any(count[v] < 2 for term in literal.terms() for v in variables_of(term)):
            return None
        result.append(literal)
    return tuple(result)


def _hidden(atom: Atom, count: Counter) -> Atom | None:
    args: list[Term] = []
    for term in atom.args:
        if isinstance(term, Var) and count[term] < 2:
            if term.type == "number":
                return None
            args.append(Any_(term.type))
        elif isinstance(term, Binary) and any(count[v] < 2 for v in variables_of(term)):
            return None
        else:
            args.append(term)
    if all(isinstance(term, Any_) for term in args):
        return None
    return Atom(atom.predicate, tuple(args), atom.sign)


def bound_variables(body: tuple[Literal, ...]) -> set[Var]:
    """The variables that positive literals, assignments and intervals of a body bind."""
    bound: set[Var] = set()
    for _ in range(3):
        for literal in body:
            if isinstance(literal, Atom) and literal.binds:
                bound |= {
                    v for term in literal.args for v in variables_of(term) if isinstance(term, (Var, Binary))
                }
            elif isinstance(literal, Compare) and literal.op == "=" and isinstance(literal.left, Var):
                if set(variables_of(literal.right)) <= bound:
                    bound.add(literal.left)
            elif isinstance(literal, Aggregate) and literal.assigns:
                bound.add(literal.guard)
    return bound


def statement_predicates(statement: Statement) -> set[str]:
    """The names of the predicates in the body and conditions of a statement."""
    literals: list[Literal] = []
    if isinstance(statement, (Rule, Choice, Cost, Show)):
        literals += statement.body
    if isinstance(statement, Choice):
        literals += statement.conditions
    names: set[str] = set()
    while literals:
        literal = literals.pop()
        if isinstance(literal, Atom):
            names.add(literal.predicate.name)
        elif isinstance(literal, Aggregate):
            literals += literal.conditions
        elif isinstance(literal, Every):
            literals += [literal.literal, *literal.conditions]
    return names
