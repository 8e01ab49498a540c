"""The constants of a filled template: names of things, numbers, and the names of `#const`."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from scripts.data.generator.domains import COLUMN, NUMBER, ROW, TIME, Predicate, is_integer
from scripts.data.generator.rules import (
    Aggregate,
    Atom,
    Compare,
    Const,
    Cost,
    Element,
    Pool,
    Rule,
    Statement,
    Term,
    Var,
    rewrite,
)
from scripts.data.generator.variable_types import UNKNOWN, Misfit, type_of
from scripts.data.generator.world import TIMES, World

_LIMITS = ("limit", "budget", "bound", "quota", "allowance", "ceiling")
_TIMES = ("last", "horizon", "final")


class Constants:
    """Gives the constants and numbers of a statement their values.

    Attributes:
        world: The world.
        rng: The source of random choices.
        chosen: The predicate of each placeholder.
        types: The types of the variables of the statement.
        new: The values of new `#const`; `fill` adds to them.
        named: What constants of the template have become.
    """

    def __init__(
        self,
        world: World,
        rng: Random,
        chosen: dict[tuple[str, int], Predicate],
        types: dict[str, str],
        new: dict[str, int],
    ):
        self.world, self.rng, self.chosen, self.types, self.new = world, rng, chosen, types, new
        self.named: dict[tuple[str, str], Const] = {}

    def fill(self, statement: Statement) -> Statement:
        """The statement with its constants."""
        return rewrite(statement, self._node)

    def _node(self, node):
        if isinstance(node, Atom):
            types = self.chosen[node.key].args
            args = tuple(self._argument(term, type_) for term, type_ in zip(node.args, types, strict=True))
            return replace(node, args=args)
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node, Aggregate):
            guards = [guard and (guard[0], self._guard(guard[1], node)) for guard in (node.left, node.right)]
            return replace(node, left=guards[0], right=guards[1])
        if isinstance(node, Rule | Element):
            return node
        if isinstance(node, Cost):
            elements = tuple(
                replace(
                    one,
                    weight=self._inner(one.weight, NUMBER),
                    level=one.level and self._level(one.level),
                    terms=tuple(self._inner(term, NUMBER) for term in one.terms),
                )
                for one in node.elements
            )
            return replace(node, elements=elements)
        return node

    @staticmethod
    def _level(level: Term) -> Term:
        if not isinstance(level, Const) or not level.is_number:
            raise Misfit("level")
        return level

    def _argument(self, term: Term, type_: str) -> Term:
        if isinstance(term, Const):
            if not is_integer(type_):
                return self._symbol(term, type_)
            if not term.is_number:
                return self._limit(term, type_)
            return Const(self._value(term.value, type_))
        if isinstance(term, Pool):
            values = [self._argument(one, type_) for one in term.terms]
            if len({value.code() for value in values}) < len(values):
                values = [Const(value) for value in self.world.values(type_, 0)[: len(values)]]
            return Pool(tuple(values))
        return self._inner(term, type_)

    def _inner(self, term: Term, type_: str) -> Term:
        """A term of arithmetic: the names in it become constants of the program."""

        def change(node):
            return self._limit(node, type_) if isinstance(node, Const) and not node.is_number else node

        return rewrite(term, change)

    def _symbol(self, term: Const, type_: str) -> Const:
        key = (term.value, type_)
        if key not in self.named:
            taken = {value for (_, kind), value in self.named.items() if kind == type_}
            values = [Const(value) for value in self.world.values(type_, 0)]
            free = [value for value in values if value not in taken]
            if not free:
                raise Misfit("no constant is left")
            self.named[key] = self.rng.choice(free)
        return self.named[key]

    def _limit(self, term: Const, type_: str) -> Const:
        """The name of a `#const`, an old one or a new one."""
        key = (term.value, "time" if type_ == TIME else "number")
        if key in self.named:
            return self.named[key]
        pool = _TIMES if type_ == TIME else _LIMITS
        known = [name for name in (*self.world.constants, *self.new) if name in pool]
        known = [name for name in known if Const(name) not in self.named.values()]
        if known and (type_ == TIME or self.rng.random() < 0.6):
            name = self.rng.choice(known)
        else:
            free = [n for n in pool if n not in known and not self.world.named(n)]
            if not free or len(self.world.constants) + len(self.new) >= 3:
                raise Misfit("too many constants")
            name = self.rng.choice(free)
            self.new[name] = TIMES if type_ == TIME else self.rng.randint(2, 4)
        self.named[key] = Const(name)
        return self.named[key]

    def _value(self, value: str, type_: str) -> str:
        """A number in place of that of the template."""
        if type_ == TIME:
            return value if value in ("0", "1") else str(self.rng.randint(1, TIMES))
        if type_ in (COLUMN, ROW):
            return str(self.rng.randint(1, 2))
        if value == "0" or self.rng.random() < 0.3:
            return value
        return str(self.rng.randint(1, 4))

    def _compare(self, node: Compare) -> Compare:
        found = [type_of(term, self.types) for term in node.terms]
        type_ = next((one for one in found if one and one not in UNKNOWN), NUMBER)
        simple = any(isinstance(term, Var) for term in node.terms)
        terms = []
        for term in node.terms:
            if isinstance(term, Const) and term.is_number and simple and len(node.terms) == 2:
                values = self._known_values(type_)
                terms.append(Const(self.rng.choice(values)))
            elif isinstance(term, Const) and not term.is_number and not is_integer(type_):
                terms.append(self._symbol(term, type_))
            elif isinstance(term, Pool):
                values = tuple(self._argument(one, type_) for one in term.terms)
                if len({value.code() for value in values}) < len(values):
                    raise Misfit("equal values")
                terms.append(Pool(values))
            else:
                terms.append(self._inner(term, type_))
        return replace(node, terms=tuple(terms))

    def _known_values(self, type_: str) -> list[str]:
        """Numbers of a type that occur in the first instance, or small ones."""
        if type_ in (TIME, COLUMN, ROW):
            return ["1", "2"]
        values = [
            row[position]
            for predicate in self.world.facts
            for position, one in enumerate(predicate.args)
            if one == type_ and type_ != NUMBER
            for row in self.world.instances[0][predicate.name]
        ]
        return sorted(set(values)) or ["1", "2", "3"]

    def _guard(self, term: Term, node: Aggregate) -> Term:
        if isinstance(term, Const) and term.is_number and node.function.startswith("#sum"):
            return Const(str(self.rng.randint(2, 8)))
        if isinstance(term, Const) and term.is_number and int(term.value) > 3:
            return Const(str(self.rng.randint(1, 3)))
        return self._inner(term, NUMBER)
