"""The statements that a generated program may get next: definitions, choices, constraints, costs and output."""

from __future__ import annotations

from dataclasses import replace

from scripts.data.generator.domains import Predicate
from scripts.data.generator.rules import (
    Aggregate,
    Atom,
    Binary,
    Choice,
    Compare,
    Const,
    Cost,
    Literal,
    Rule,
    Show,
    Statement,
    Term,
    Var,
    variables_of,
)
from scripts.data.generator.sampler import BODY_LENGTHS, Sampler, Scope, bound_variables, hide_single, pick

KINDS = {
    1: {"definition": 55, "constraint": 30, "choice": 15},
    2: {"definition": 44, "constraint": 34, "choice": 12, "total": 10},
    3: {"definition": 32, "constraint": 32, "choice": 9, "total": 11, "cost": 13, "extension": 3},
    4: {
        "definition": 26,
        "constraint": 30,
        "choice": 8,
        "total": 10,
        "cost": 12,
        "extension": 6,
        "disjunction": 4,
        "strong": 4,
    },
    5: {
        "definition": 24,
        "constraint": 30,
        "choice": 8,
        "total": 12,
        "cost": 12,
        "extension": 6,
        "disjunction": 4,
        "strong": 4,
    },
}


class Statements:
    """Draws the next statement of a program; None where the draw fits nothing."""

    def __init__(self, sampler: Sampler):
        self.sampler, self.schema, self.rng = sampler, sampler.schema, sampler.rng

    def draw(self, decided: bool) -> Statement | None:
        """A statement; before anything is `decided` mostly a choice."""
        kinds = dict(KINDS[self.sampler.level])
        if not decided and self.rng.random() < 0.75:
            kinds = {"choice": 1}
        return getattr(self, pick(self.rng, kinds))()

    def _body(
        self, scope: Scope, extra: int = 0, first: list[Predicate] | None = None
    ) -> tuple[Literal, ...]:
        return self.sampler.body(scope, pick(self.rng, BODY_LENGTHS) + extra, first)

    def _safe(self, head: list[Term], body: tuple[Literal, ...]) -> tuple[Literal, ...] | None:
        """`body` with single variables hidden, where every variable of the head is bound by it."""
        hidden = hide_single(head, body)
        if hidden is None:
            return None
        needed = {v for term in head for v in variables_of(term)}
        for literal in hidden:
            if isinstance(literal, Atom) and not literal.binds:
                needed |= {v for term in literal.args for v in variables_of(term)}
            elif not isinstance(literal, Atom):
                needed |= {v for term in literal.terms() for v in variables_of(term)}
        return hidden if needed <= bound_variables(hidden) else None

    # --- rules with a head ---

    def _new_predicate(self) -> Predicate | None:
        known = {predicate.name for predicate in self.schema.available()}
        domain = self.schema.domain
        labels = [p for p in (*domain.labels, *domain.links) if p.name not in known]
        if not labels:
            return None
        predicate = self.rng.choice(labels)
        if self.sampler.level >= 2 and self.rng.random() < 0.2:
            predicate = (
                with_number(predicate) if self.rng.random() < 0.7 else with_time(predicate, domain.time[0])
            )
        return predicate

    def _head(self, predicate: Predicate, scope: Scope, sign: str = "") -> Atom | None:
        """An atom of `predicate` with variables of the scope, some in arithmetic."""
        args: list[Term] = []
        for type_ in predicate.args:
            known = [variable for variable in scope.of(type_) if variable not in args]
            if not known:
                return None
            term: Term = self.rng.choice(known)
            if type_ in ("number", "time") and self.sampler.level >= 2 and self.rng.random() < 0.3:
                numbers = [variable for variable in scope.of(type_) if variable != term]
                right = self.rng.choice(numbers) if numbers and self.rng.random() < 0.4 else Const("1", type_)
                term = Binary(self.rng.choice("+-"), term, right)
            args.append(term)
        return Atom(predicate, tuple(args), sign)

    def definition(self) -> Statement | None:
        """A rule for a predicate that the program does not have yet."""
        predicate = self._new_predicate()
        if predicate is None:
            return self.constraint()
        return self._rule(predicate)

    def _rule(
        self, predicate: Predicate, sign: str = "", among: list[Predicate] | None = None
    ) -> Rule | None:
        scope = Scope(self.rng)
        fitting = [p for p in among or self.schema.available() if predicate.args[0] in p.args]
        if not fitting:
            return None
        body = self._body(scope, first=fitting)
        head = self._head(predicate, scope, sign)
        if head is None:
            return None
        hidden = self._safe(list(head.args), body)
        return Rule((head,), hidden) if hidden else None

    def extension(self) -> Statement | None:
        """One more rule for a derived predicate, often a recursive one."""
        links = [p for p in self.schema.derived if "number" not in p.args and "time" not in p.args]
        if not links:
            return self.definition()
        predicate = self.rng.choice(links)
        scope = Scope(self.rng)
        first = self.sampler.atom(scope, among=[predicate])
        if any(not isinstance(term, Var) for term in first.args) or first.sign:
            return None
        second = self.sampler.atom(scope, join=0.6, among=[*self.schema.facts, *self.schema.decided])
        head = self._head(predicate, scope)
        if head is None or head.args == first.args:
            return None
        hidden = self._safe(list(head.args), (first, second))
        return Rule((head,), hidden) if hidden else None

    def strong(self) -> Statement | None:
        """A rule whose head is strongly negated, or derives a complement."""
        labels = [p for p in self.schema.derived if p.arity == 1 or "number" not in p.args]
        if not labels:
            return self.definition()
        predicate = self.rng.choice(labels)
        others = [p for p in self.schema.available() if p.name != predicate.name]
        rule = self._rule(predicate, "-", others)
        if rule and len(rule.head[0].args) == predicate.arity and self.rng.random() < 0.4:
            closed = Atom(predicate, rule.head[0].args, "not ")
            if closed not in rule.body:
                rule = replace(rule, body=(*rule.body, closed))
        return rule

    def disjunction(self) -> Statement | None:
        """A rule with two or three heads over one thing."""
        domain = self.schema.domain
        known = {predicate.name for predicate in self.schema.available()}
        by_type: dict[str, list[Predicate]] = {}
        for predicate in domain.labels:
            if predicate.name not in known:
                by_type.setdefault(predicate.args[0], []).append(predicate)
        groups = [group for group in by_type.values() if len(group) >= 2]
        scope = Scope(self.rng)
        if groups:
            group = self.rng.choice(groups)
            chosen = self.rng.sample(group, min(len(group), self.rng.choice((2, 2, 3))))
            body = self._body(
                scope, first=[p for p in self.schema.available() if chosen[0].args[0] in p.args]
            )
            things = scope.of(chosen[0].args[0])
            if not things:
                return None
            thing = self.rng.choice(things)
            heads = tuple(Atom(predicate, (thing,)) for predicate in chosen)
        else:
            links = [p for p in self.schema.decided if len(set(p.args)) > 1]
            if not links:
                return None
            predicate = self.rng.choice(links)
            body = self._body(scope, 1)
            first, second = predicate.args[0], predicate.args[1]
            if not scope.of(first) or len(scope.of(second)) < 2:
                return None
            thing = self.rng.choice(scope.of(first))
            heads = tuple(
                Atom(predicate, (thing, other, *self._rest(predicate))) for other in scope.of(second)[:2]
            )
        hidden = self._safe([term for atom in heads for term in atom.args], body)
        return Rule(heads, hidden) if hidden else None

    @staticmethod
    def _rest(predicate: Predicate) -> tuple[Term, ...]:
        return tuple(Const("1", type_) for type_ in predicate.args[2:])

    def total(self) -> Statement | None:
        """A rule whose head has a number that an aggregate or arithmetic computes."""
        known = {predicate.name for predicate in self.schema.available()}
        fresh = [predicate for predicate in self.schema.domain.totals if predicate.name not in known]
        if not fresh:
            return self.cost() if self.sampler.level >= 3 else self.constraint()
        predicate = self.rng.choice(fresh)
        scope = Scope(self.rng)
        thing = scope.fresh(predicate.args[0])
        kinds = [p for p in self.schema.facts if p.args == (predicate.args[0],)]
        body: tuple[Literal, ...] = (Atom(self.rng.choice(kinds), (thing,)),) if kinds else ()
        if self.rng.random() < 0.25:
            body += (self.sampler.atom(scope),)
        for _ in range(6):
            literal = (
                self.sampler.aggregate(scope) if self.rng.random() < 0.8 else self.sampler.arithmetic(scope)
            )
            if isinstance(literal, Aggregate) and literal.assigns or isinstance(literal, Compare):
                body += (literal,)
                break
        numbers = scope.of("number")
        if not numbers:
            return None
        value: Term = numbers[-1]
        if len(numbers) > 1 and self.rng.random() < 0.25:
            value = Binary(self.rng.choice("+-"), value, numbers[0])
        elif self.rng.random() < 0.12:
            value = Binary(self.rng.choice("+*"), value, Const("2", "number"))
        if self.rng.random() < 0.2 and (test := self.sampler.compare(scope)):
            body += (test,)
        hidden = self._safe([thing, value], body)
        return Rule((Atom(predicate, (thing, value)),), hidden) if hidden else None

    # --- choices, constraints, costs ---

    def choice(self) -> Statement | None:
        """A choice over a decision that the program does not have yet."""
        known = {predicate.name for predicate in self.schema.decided}
        fresh = [predicate for predicate in self.schema.domain.decisions if predicate.name not in known]
        if not fresh:
            return self.constraint()
        predicate = self.rng.choice(fresh)
        if self.sampler.level >= 2 and (draw := self.rng.random()) < 0.3:
            predicate = (
                with_time(predicate, self.schema.domain.time[0]) if draw < 0.2 else with_number(predicate)
            )
        scope = Scope(self.rng)
        args = []
        for type_ in predicate.args:
            args.append(scope.fresh(type_))
        inside = self.rng.choice(args[1:]) if self.rng.random() < 0.8 else args[0]
        body, conditions = [], []
        for variable in args:
            atom = self._domain_atom(variable)
            if atom is None:
                return None
            (conditions if variable is inside else body).append(atom)
        if self.rng.random() < 0.3:
            extra = self.sampler.negated(scope) or self.sampler.compare(scope)
            if self.rng.random() < 0.5:
                extra = self.sampler.atom(scope, join=1.0, among=self.schema.facts)
            if extra:
                conditions.append(extra)
        if self.rng.random() < 0.12:
            body, conditions = [*body, *conditions], []
        elif self.rng.random() < 0.12:
            body, conditions = [], [*body, *conditions]
        lower, upper = self._bounds() if conditions else (None, None)
        head = Atom(predicate, tuple(args))
        if hide_single(list(args), (*body, *conditions)) != (*body, *conditions):
            return None
        bound = bound_variables(tuple(body))
        return (
            Choice(head, tuple(conditions), lower, upper, tuple(body)) if self._closed(body, bound) else None
        )

    def _closed(self, body: list[Literal], bound: set[Var]) -> bool:
        return all({v for term in literal.terms() for v in variables_of(term)} <= bound for literal in body)

    def _domain_atom(self, variable: Var) -> Atom | None:
        """An atom that gives a variable of a choice its values."""
        if variable.type == "number":
            return None
        kinds = [p for p in self.schema.facts if p.args == (variable.type,)]
        return (
            Atom(self.rng.choice(kinds[:1] if self.rng.random() < 0.75 else kinds), (variable,))
            if kinds
            else None
        )

    def _bounds(self) -> tuple[Term | None, Term | None]:
        def number(value: int) -> Term:
            constants = sorted(self.schema.constants)
            if constants and self.rng.random() < 0.2:
                return Const(self.rng.choice(constants), "number")
            return Const(str(value), "number")

        draw = self.rng.random()
        if draw < 0.4:
            one = number(1 if self.rng.random() < 0.8 else 2)
            return one, one
        if draw < 0.62:
            return None, number(self.rng.choice((1, 1, 2)))
        if draw < 0.76:
            return number(1), None
        if draw < 0.9:
            return number(1), number(2)
        return None, None

    def constraint(self) -> Statement | None:
        """An integrity constraint on what is decided or derived."""
        scope = Scope(self.rng)
        first = [*self.schema.decided, *self.schema.derived] or None
        body = self._body(scope, self.rng.choice((0, 0, 1)), first)
        hidden = self._safe([], body)
        return Rule((), hidden) if hidden else None

    def cost(self) -> Statement | None:
        """A weak constraint or an optimisation statement."""
        scope = Scope(self.rng)
        first = [*self.schema.decided, *self.schema.derived] or None
        body = self._body(scope, self.rng.choice((0, 0, 1)), first)
        numbers = [variable for variable in scope.of("number")]
        things = [variable for variable in scope.variables if variable.type != "number"]
        weight: Term = (
            self.rng.choice(numbers)
            if numbers and self.rng.random() < 0.75
            else Const(str(self.rng.randint(1, 3)), "number")
        )
        form = self.rng.choice((":~", ":~", "#minimize", "#minimize", "#maximize"))
        if form == ":~" and isinstance(weight, Var) and self.rng.random() < 0.15:
            weight = Binary("*", weight, Const("2", "number"))
        elements = tuple(self.rng.sample(things, min(len(things), self.rng.choice((1, 1, 2)))))
        hidden = self._safe([weight, *elements], body)
        if hidden is None:
            return None
        level = self.rng.choice((None, None, 1, 1, 2))
        return Cost(form, weight, level, elements, hidden)

    def show_term(self) -> Statement | None:
        """`#show` of a term, for the cases of a body."""
        scope = Scope(self.rng)
        body = self._body(scope, first=[*self.schema.decided, *self.schema.derived])
        things = scope.variables[:2]
        hidden = self._safe(list(things), body)
        if not hidden or not things:
            return None
        name = self.rng.choice(("result", "chosen", "selected", "answer"))
        words = Predicate(name, tuple(v.type for v in things), "", "")
        return Show(None, Atom(words, tuple(things)), hidden)


def with_time(predicate: Predicate, noun: str) -> Predicate:
    """The predicate with a point in time as its last argument."""
    del noun
    place = f"{{{predicate.arity}}}"
    return replace(
        predicate,
        args=(*predicate.args, "time"),
        says=f"{predicate.says} in {place}",
        denies=f"{predicate.denies} in {place}",
    )


def with_number(predicate: Predicate) -> Predicate:
    """The predicate with a number as its last argument."""
    place = f"{{{predicate.arity}}}"
    return replace(
        predicate,
        args=(*predicate.args, "number"),
        says=f"{predicate.says} with strength {place}",
        denies=f"{predicate.denies} with strength {place}",
    )
