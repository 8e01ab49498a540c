"""English for generated rules: a sentence for each statement, in one of several wordings for each construct.

Each variable is named in the text and each predicate has a clause of its own, so that an instruction
determines its rule. A default-negated atom "is not", a strongly negated one is "known not to be".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scripts.data.generator import phrases
from scripts.data.generator.clauses import Clauses, Unsayable, has_anonymous
from scripts.data.generator.domains import COLUMN, NUMBER, ROW, Predicate, is_integer
from scripts.data.generator.rules import (
    Aggregate,
    Atom,
    Compare,
    Const,
    Cost,
    CostElement,
    Define,
    Every,
    Func,
    Literal,
    Op,
    Pool,
    Rule,
    Show,
    Statement,
    Var,
    variables,
)

_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "!=", "!=": "="}


class Speaker(Clauses):
    """Puts the statements of a world into words."""

    def instruction(
        self, statement: Statement, types: dict[str, str], new: Iterable[Predicate]
    ) -> str | None:
        """Return the instruction of a statement, or None where there are no words for it.

        Arguments:
            statement: The statement.
            types: The type of each of its variables.
            new: Its predicates that the world does not have yet.
        """
        self.seen, self.types, self.in_head = set(), types, False
        self.predicates = {predicate.name: predicate for predicate in (*self.world.known, *new)}
        try:
            text = self._statement(statement)
        except Unsayable:
            return None
        return text[0].upper() + text[1:] + "."

    def _statement(self, statement: Statement) -> str:
        if isinstance(statement, Cost):
            return self._cost(statement)
        if isinstance(statement, Show):
            return self._show(statement)
        if isinstance(statement, Define):
            return self.say("define", name=statement.name, value=str(statement.value))
        if isinstance(statement.head, Aggregate):
            return self._choice(statement.head, statement.body)
        if not statement.head or isinstance(statement.head[0], Compare):
            return self._constraint(statement)
        return self._definition(statement)

    def prefix(self, body: Sequence[Literal]) -> tuple[str, list[Literal]]:
        """`for every ferry F and every tide T from 1 to last`, and the literals that this does not say."""
        said, rest = [], []
        for literal in body:
            if self._is_type_atom(literal) and not set(variables(literal)) & self.seen:
                names = variables(literal)
                if len(names) == 2:
                    said.append(f"{self.world.domain.cell} ({','.join(names)})")
                else:
                    said.append(f"{self.noun(self.types[names[0]])} {names[0]}")
                self.seen |= set(names)
            elif self._is_interval(literal) and literal.terms[0].name not in self.seen:
                name, span = literal.terms[0].name, literal.terms[1]
                self.seen.add(name)
                said.append(f"{self.noun(self.types[name])} {name} from {self.arithmetic(span)}")
            else:
                rest.append(literal)
        if not said:
            return "", rest
        lead = self.rng.choice(phrases.QUANTIFIERS)
        return f"{lead} {phrases.listed(said, f' and {lead.split()[-1]} ')}, ", rest

    def _is_interval(self, literal: Literal) -> bool:
        return (
            isinstance(literal, Compare)
            and literal.ops == ("=",)
            and not literal.sign
            and isinstance(literal.terms[0], Var)
            and literal.terms[0].name != "_"
            and isinstance(literal.terms[1], Op)
            and literal.terms[1].op == ".."
            and not variables(literal.terms[1])
        )

    def _definition(self, rule: Rule) -> str:
        prefix, rest = self.prefix(rule.body)
        if any(isinstance(part, Every) for part in rule.head):
            raise Unsayable
        if not rest:
            head = self._heads(rule.head)
            return prefix + head if prefix else head
        form = self.rng.choice(phrases.PHRASES["definition"])
        strong = any(part.sign for part in rule.head if isinstance(part, Atom))
        if (prefix or strong) and form.startswith("derive"):
            form = "{head} if {body}"
        if form.index("{head}") < form.index("{body}"):
            head = self._heads(rule.head)
            return prefix + form.format(head=head, body=self.clauses(rest))
        body = self.clauses(rest)
        return prefix + form.format(body=body, head=self._heads(rule.head))

    def _heads(self, head: Sequence[Atom]) -> str:
        self.in_head = True
        said = [self.atom(part) for part in head]
        self.in_head = False
        return said[0] if len(said) == 1 else self.say("disjunction", heads=phrases.listed(said, " or "))

    def _constraint(self, rule: Rule) -> str:
        prefix, rest = self.prefix(rule.body)
        if rule.head:
            if len(rule.head) > 1 or not rest:
                raise Unsayable
            body = self.clauses(rest)
            return prefix + self.say("implication", rest=body, last=self.compare(rule.head[0]))
        if not rest:
            raise Unsayable
        last = rest[-1]
        others = [one for one in rest if one is not last]
        if (prefix or others) and self.rng.random() < 0.6 and (required := self._opposite(last)) is not None:
            if not others:
                return prefix + self.say("required", last=self.literal(required))
            body = self.clauses(others)
            return prefix + self.say("implication", rest=body, last=self.literal(required))
        return prefix + self.say("constraint", body=self.clauses(rest))

    def _opposite(self, literal: Literal) -> Literal | None:
        """What must hold instead of a literal, where that is easily said."""
        if isinstance(literal, Atom):
            if literal.sign == "not " and not has_anonymous(literal):
                return Atom(literal.name, literal.args)
            return Atom(literal.name, literal.args, "not ") if literal.sign == "" else None
        if isinstance(literal, Compare) and len(literal.ops) == 1 and not literal.sign:
            simple = not any(isinstance(term, Pool | Func) for term in literal.terms)
            things = any(not is_integer(self.types.get(name, NUMBER)) for name in variables(literal))
            if simple and (not things or literal.ops[0] in ("=", "!=")):
                return Compare(literal.terms, (_NEGATED[literal.ops[0]],))
        if isinstance(literal, Aggregate) and literal.function and not literal.sign and literal.left:
            op, term = literal.left
            if not literal.right and not literal.assigns:
                return Aggregate(literal.function, literal.elements, (_NEGATED[op], term), None)
        return None

    def _choice(self, head: Aggregate, body: Sequence[Literal]) -> str:
        prefix, rest = self.prefix(body)
        if rest:
            prefix += f"{self.say('case', body=self.clauses(rest))}, "
        if head.function:
            return prefix + self._head_aggregate(head)
        if len(head.elements) > 1:
            return prefix + self._options(head)
        element = head.elements[0]
        outside = set(self.seen)
        inner = [name for name in dict.fromkeys(variables(element)) if name not in outside]
        bound = self._bound(head)
        if not element.conditions:
            return prefix + self.say("free", atom=self.atom(element.atom))
        single = len(inner) == 1 or [self.types[name] for name in inner] == [COLUMN, ROW]
        if not inner:
            if bound:
                raise Unsayable
            return prefix + self.say(
                "free if", body=self.clauses(element.conditions), atom=self.atom(element.atom)
            )
        if single and set(inner) <= set(variables(element.atom)):
            things = self.counted(bound, self.things([Var(name) for name in inner]))
            conditions = self._untyped(element.conditions, set(inner))
            whole = f"{things} {self.say('with')} {self.clauses(conditions)}" if conditions else things
            return prefix + self.say(
                "pick", bound=bound or "any number of", things=whole, atom=self.atom(element.atom)
            )
        conditions = self.clauses(element.conditions)
        return prefix + self.say(
            "cases", bound=bound or "any number", conditions=conditions, atom=self.atom(element.atom)
        )

    def _options(self, head: Aggregate) -> str:
        outside = set(self.seen)
        parts = []
        for element in head.elements:
            self.seen = set(outside)
            if element.conditions and set(variables(element)) <= outside:
                raise Unsayable
            said = self.atom(element.atom)
            if element.conditions:
                said += f", where {self.clauses(element.conditions)}"
            parts.append(said)
        bound = self._bound(head) or "any number"
        return self.say("options", bound=bound, options="; ".join(parts))

    def _bound(self, node: Aggregate) -> str:
        """The bounds of a choice."""
        left, right = node.left, node.right
        if left is None and right is None:
            return ""
        if left and right and left[0] == right[0] == "<=":
            low, high = self.value(left[1]), self.value(right[1])
            return f"exactly {low}" if low == high else self.rng.choice(phrases.BETWEEN).format(low, high)
        guards = self._guards(node)
        if any(op == "!=" for op, _ in guards):
            raise Unsayable
        return self.number(guards)

    def _head_aggregate(self, head: Aggregate) -> str:
        if len(head.elements) != 1:
            raise Unsayable
        element = head.elements[0]
        outside = set(self.seen)
        atom = self.atom(element.atom)
        rest = self._untyped(element.conditions, self.seen)
        conditions = f", where {self.clauses(rest)}" if rest else ""
        new = [term for term in element.terms if not set(variables(term)) <= outside]
        if head.function == "#count":
            what = f"the number of {self.things(new or element.terms)} chosen"
        elif head.function.startswith("#sum"):
            things = [term for term in element.terms[1:] if isinstance(term, Var)]
            over = f" over the chosen {self.things(things)}" if things else ""
            positive = " (positive values only)" if head.function == "#sum+" else ""
            value = element.terms[0].code()
            if not over and not isinstance(element.terms[0], Const):
                value = f"the different values {value} chosen"
            what = f"the {self.say('sum')} of {value}{positive}{over}"
        else:
            raise Unsayable
        bound = " and ".join(
            self.rng.choice(phrases.BOUNDS[op]).format(term) for op, term in self._guards(head)
        )
        return self.say("bounded choice", atom=atom, conditions=conditions, what=what, bound=bound)

    def _cost(self, cost: Cost) -> str:
        if cost.form == ":~":
            return self._weak(cost.elements[0])
        verb = cost.form.removeprefix("#")
        parts = [self._cost_part(element, len(cost.elements) > 1) for element in cost.elements]
        if len(parts) == 1:
            return parts[0].format(verb=verb.replace("ize", "ise") if self.rng.random() < 0.5 else verb)
        return self.say("costs", verb=verb.replace("ize", "ise"), parts="; ".join(parts))

    def _level(self, element: CostElement) -> str:
        return f" {self.say('level', level=element.level.code())}" if element.level else ""

    def _per(self, element: CostElement) -> str:
        """For what a cost is paid."""
        names = [term for term in element.terms if isinstance(term, Var)]
        if not names:
            return ""
        self.seen |= {term.name for term in names}
        if len(names) == 1:
            return f"{self.noun(self.types[names[0].name])} {names[0].name}"
        if [self.types[term.name] for term in names] == [COLUMN, ROW]:
            return f"{self.world.domain.cell} ({names[0].name},{names[1].name})"
        noun = "pair" if len(names) == 2 else "combination"
        return f"{noun} ({','.join(term.name for term in names)})"

    def _weak(self, element: CostElement) -> str:
        if any(not isinstance(term, Var) for term in element.terms):
            raise Unsayable
        level, per = self._level(element), self._per(element)
        assigned = self._assigned(element)
        form = self.rng.choice(phrases.PHRASES["cost"])
        weight = self.arithmetic(element.weight)
        if not per:
            fixed = "fixed cost" if isinstance(element.weight, Const) else "single cost"
            body = self.clauses(element.body)
            return self.say("assigned cost" if assigned else fixed, body=body, weight=weight, level=level)
        rest = self._untyped(element.body, self.seen)
        if not rest:
            return f"each {per} costs {weight}{level}"
        if form.index("{body}") < form.index("{per}"):
            self.seen, rest = set(), element.body
        return form.format(per=per, body=self.clauses(rest), weight=weight, level=level)

    def _assigned(self, element: CostElement) -> bool:
        return any(isinstance(one, Aggregate) and one.assigns for one in element.body)

    def _cost_part(self, element: CostElement, several: bool) -> str:
        if any(not isinstance(term, Var) for term in element.terms):
            raise Unsayable
        level = self._level(element)
        aside = f",{level}," if level else ""
        self.seen = set()
        weight, names = self.arithmetic(element.weight), list(element.terms)
        things = self.things(names) if names else ""
        rest = self._untyped(element.body, self.seen) if names else list(element.body)
        body = f" {self.say('such')} {self.clauses(rest)}" if rest and things else ""
        if several:
            return (
                f"{weight}{level} for each of the {things}{body}"
                if things
                else f"{weight}{level} once if {self.clauses(element.body)}"
            )
        if not things:
            if isinstance(element.weight, Const):
                return f"{{verb}} {weight}{level}, which counts once if {self.clauses(element.body)}"
            values = f"the {self.say('sum')} of the different values {weight}"
            return f"{{verb}}{aside} {values} for which {self.clauses(element.body)}"
        if isinstance(element.weight, Const):
            times = "" if weight == "1" else f"{weight} times "
            return f"{{verb}}{aside} {times}the number of {things}{body}"
        return f"{{verb}}{aside} the {self.say('sum')} of {weight} over all {things}{body}"

    def _show(self, show: Show) -> str:
        if isinstance(show.term, tuple):
            name, arity = show.term
            return self.say("show", name=f"{name}/{arity}")
        return self.say("show term", term=show.term.code(), body=self.clauses(show.body))
