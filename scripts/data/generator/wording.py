"""English for generated rules: a synchronous grammar, one set of phrases for each kind of tree.

Each variable is named in the text, and each predicate has a clause of its own, so that an instruction determines its
rule. `Speaker` draws one of several phrases for each construct.
"""

from __future__ import annotations

from random import Random

from scripts.data.generator.domains import Domain
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
    Define,
    Every,
    Literal,
    Rule,
    Show,
    Statement,
    Term,
    Var,
    variables_of,
)

COMPARISONS = {
    "<": ("{0} is less than {1}", "{0} is smaller than {1}", "{0} is below {1}"),
    "<=": ("{0} is at most {1}", "{0} is not more than {1}", "{0} does not exceed {1}"),
    ">": ("{0} is greater than {1}", "{0} is more than {1}", "{0} exceeds {1}", "{0} is above {1}"),
    ">=": ("{0} is at least {1}", "{0} is not less than {1}", "{0} is {1} or more"),
    "=": ("{0} equals {1}", "{0} is equal to {1}", "{0} is the same as {1}"),
    "!=": ("{0} differs from {1}", "{0} is not the same as {1}", "{0} is different from {1}"),
}
ORDER = {
    "<": ("{0} comes before {1} in the order of names", "the name {0} sorts before {1}"),
    ">": ("{0} comes after {1} in the order of names", "the name {0} sorts after {1}"),
    "<=": ("{0} is {1} or comes before it in the order of names",),
    ">=": ("{0} is {1} or comes after it in the order of names",),
}
BOUNDS = {
    "<": ("fewer than {0}", "less than {0}"),
    "<=": ("at most {0}", "no more than {0}", "{0} or fewer"),
    ">": ("more than {0}", "over {0}"),
    ">=": ("at least {0}", "{0} or more", "no fewer than {0}"),
    "=": ("exactly {0}", "precisely {0}"),
    "!=": ("a number other than {0} of", "not exactly {0}"),
}
DEFINITIONS = (
    "{head} if {body}",
    "{head} whenever {body}",
    "if {body}, then {head}",
    "whenever {body}, {head}",
    "derive that {head} when {body}",
    "{head} provided that {body}",
    "when {body}, conclude that {head}",
    "from the fact that {body} it follows that {head}",
    "we say that {head} if {body}",
    "in every case where {body}, {head}",
    "given that {body}, {head}",
    "it holds that {head} as soon as {body}",
)
CONSTRAINTS = (
    "it must not happen that {body}",
    "it is forbidden that {body}",
    "there must be no case where {body}",
    "rule out that {body}",
    "never may it be that {body}",
    "it cannot be that {body}",
    "exclude every solution where {body}",
    "no solution may have the situation that {body}",
    "it is not allowed that {body}",
    "avoid at all costs that {body}",
    "a plan is invalid if {body}",
    "reject the case that {body}",
)
IMPLICATIONS = (
    "if {rest}, it must not be that {last}",
    "whenever {rest}, it is forbidden that {last}",
    "when {rest}, it cannot be that {last}",
    "where {rest}, rule out that {last}",
)
OBLIGATIONS = (
    "if {rest}, it is required that {last}",
    "whenever {rest}, it must hold that {last}",
    "when {rest}, insist that {last}",
)
FACTS = ("{head}", "it is given that {head}", "state as a fact that {head}", "take it as given that {head}")


class Speaker:
    """Puts rules into words. `seen` are the variables that the current sentence has introduced."""

    def __init__(self, domain: Domain, rng: Random):
        self.domain, self.rng = domain, rng
        self.seen: set[str] = set()

    def instruction(self, statement: Statement) -> str:
        """One sentence, or two, for a statement."""
        self.seen = set()
        text = self._statement(statement)
        return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")

    # --- terms ---

    def term(self, term: Term, denied: bool = False) -> str:
        """A term in words. A variable is introduced with the noun of its type."""
        if isinstance(term, Any_):
            return f"{'any' if denied else 'some'} {self._noun(term.type)}"
        if isinstance(term, Var):
            if term.name in self.seen or term.type == "number":
                self.seen.add(term.name)
                return term.name
            self.seen.add(term.name)
            return f"{self._noun(term.type)} {term.name}"
        if isinstance(term, Const):
            return f"{self._noun(term.type)} {term.value}" if term.type == "time" else term.value
        if isinstance(term, Absolute):
            return f"the distance between {self.term(term.left)} and {self.term(term.right)}"
        for variable in variables_of(term):
            self.seen.add(variable.name)
        text = term.code() if term.op != ".." else f"{term.left.code()} to {term.right.code()}"
        return f"{self._noun('time')} {text}" if term.type == "time" else text

    def _noun(self, type_: str) -> str:
        return {"number": "value", "time": self.domain.time[0]}.get(type_, type_)

    def _plural(self, type_: str) -> str:
        if type_ in ("number", "time"):
            return {"number": "values", "time": self.domain.time[1]}[type_]
        return self.domain.types[type_][0]

    # --- literals ---

    def literal(self, literal: Literal) -> str:
        """A literal as a clause."""
        if isinstance(literal, Atom):
            return self._atom(literal)
        if isinstance(literal, Compare):
            return self._compare(literal)
        if isinstance(literal, Between):
            low = "from" if literal.ops[0] == "<=" else "above"
            high = "to" if literal.ops[1] == "<=" else "and below"
            parts = (self.term(literal.term), self.term(literal.lower), self.term(literal.upper))
            return f"{parts[0]} is {low} {parts[1]} {high} {parts[2]}"
        if isinstance(literal, Every):
            conditions = self.clauses(literal.conditions)
            every = self.rng.choice(("in every case where {0}, {1}", "{1} in every case where {0}"))
            if every.startswith("{1}"):
                self.seen = {name for name in self.seen}
                return f"in all cases where {conditions}, also {self._atom(literal.literal)}"
            return every.format(conditions, self._atom(literal.literal))
        return self._aggregate(literal)

    def clauses(self, literals: tuple[Literal, ...]) -> str:
        """Several literals, joined by commas and `and`."""
        said = [self.literal(literal) for literal in literals]
        if len(said) == 1:
            return said[0]
        return f"{', '.join(said[:-1])}{',' if len(said) > 2 else ''} and {said[-1]}"

    def _atom(self, atom: Atom) -> str:
        denied = atom.sign != ""
        words = [self.term(term, denied) for term in atom.args]
        says, denies = (form.format(*words) for form in (atom.predicate.says, atom.predicate.denies))
        if atom.sign == "not ":
            return self.rng.choice((denies, denies, f"it is not the case that {says}"))
        if atom.sign == "-":
            return self.rng.choice((f"it is known that {denies}", f"it is certain that {denies}"))
        if atom.sign == "not -":
            return self.rng.choice((f"it is not known that {denies}", f"it is not certain that {denies}"))
        return says

    def _compare(self, literal: Compare) -> str:
        left, right = self.term(literal.left), self.term(literal.right)
        if isinstance(literal.right, Binary) and literal.right.op == "..":
            return f"{left} is one of the numbers from {literal.right.left.code()} to {literal.right.right.code()}"
        named = literal.left.type not in ("number", "time")
        forms = ORDER.get(literal.op) if named else None
        return self.rng.choice(forms or COMPARISONS[literal.op]).format(left, right)

    def _aggregate(self, literal: Aggregate) -> str:
        outside = set(self.seen)
        conditions_first = literal.function != "#count"
        things, value = "", ""
        if literal.function == "#count":
            things = self._tuple(literal.elements)
        else:
            value = literal.elements[0].code()
        conditions = self.clauses(literal.conditions)
        self.seen = outside | {variable.name for variable in variables_of(literal.guard)}
        guard = literal.guard.code()
        if literal.function == "#count":
            return self._count(literal, things, conditions, guard)
        del conditions_first
        return self._fold(literal, value, conditions, guard)

    def _tuple(self, terms: tuple[Term, ...]) -> str:
        """The things that are counted: `berths B`, or `pairs of a berth B and a week W`."""
        for term in terms:
            self.seen |= {variable.name for variable in variables_of(term)}
        if len(terms) == 1:
            return f"{self._plural(terms[0].type)} {terms[0].code()}"
        return f"different combinations ({', '.join(term.code() for term in terms)})"

    def _count(self, literal: Aggregate, things: str, conditions: str, guard: str) -> str:
        such = self.rng.choice(("such that", "for which", "where"))
        if literal.assigns:
            form = self.rng.choice(("{0} is the number of {1} {2} {3}", "{0} counts the {1} {2} {3}"))
            return form.format(guard, things, such, conditions)
        bound = self.rng.choice(BOUNDS[literal.op][:2] if literal.op != "!=" else ("other than {0}",)).format(
            guard
        )
        if literal.op == "!=" or self.rng.random() < 0.5:
            return f"the number of {things} {such} {conditions} is {bound}"
        return f"there are {bound} {things} {such} {conditions}"

    def _fold(self, literal: Aggregate, value: str, conditions: str, guard: str) -> str:
        if literal.function in ("#sum", "#sum+"):
            positive = " (positive values only)" if literal.function == "#sum+" else ""
            each = ", ".join(term.code() for term in literal.elements[1:])
            per = (
                f", counted once for each ({each})"
                if "," in each
                else f", counted once for each {each}"
                if each
                else ""
            )
            noun = self.rng.choice(("sum", "total"))
            what = f"the {noun} of {value}{positive} over all cases where {conditions}{per or ', equal values counted once'}"
        else:
            noun = {"#max": ("largest", "greatest", "highest"), "#min": ("smallest", "least", "lowest")}
            what = f"the {self.rng.choice(noun[literal.function])} {value} for which {conditions}"
        if literal.assigns:
            return f"{guard} is {what}"
        bound = self.rng.choice(BOUNDS[literal.op][:1] if literal.op != "!=" else ("other than {0}",)).format(
            guard
        )
        return f"{what}, is {bound}" if "," in what else f"{what} is {bound}"

    # --- statements ---

    def _statement(self, statement: Statement) -> str:
        if isinstance(statement, Rule):
            return self._rule(statement)
        if isinstance(statement, Choice):
            return self._choice(statement)
        if isinstance(statement, Cost):
            return self._cost(statement)
        if isinstance(statement, Show):
            return self._show(statement)
        return self._define(statement)

    def _rule(self, rule: Rule) -> str:
        if not rule.head:
            return self._constraint(rule)
        if not rule.body:
            return self.rng.choice(FACTS).format(head=self._heads(rule.head))
        form = self.rng.choice(DEFINITIONS)
        if form.index("{head}") < form.index("{body}"):
            head = self._heads(rule.head)
            return form.format(head=head, body=self.clauses(rule.body))
        body = self.clauses(rule.body)
        return form.format(head=self._heads(rule.head), body=body)

    def _heads(self, atoms: tuple[Atom, ...]) -> str:
        said = [self._atom(atom) for atom in atoms]
        return said[0] if len(said) == 1 else f"at least one of these holds: {' or '.join(said)}"

    def _constraint(self, rule: Rule) -> str:
        last = rule.body[-1]
        if len(rule.body) > 1 and isinstance(last, Atom) and self.rng.random() < 0.5:
            rest = self.clauses(rule.body[:-1])
            if last.sign == "not ":
                positive = Atom(last.predicate, last.args)
                return self.rng.choice(OBLIGATIONS).format(rest=rest, last=self._atom(positive))
            return self.rng.choice(IMPLICATIONS).format(rest=rest, last=self._atom(last))
        return self.rng.choice(CONSTRAINTS).format(body=self.clauses(rule.body))

    def _choice(self, choice: Choice) -> str:
        lead = ""
        if choice.body:
            each = self.rng.choice(("whenever {0}", "in each case where {0}", "for every case in which {0}"))
            lead = f"{each.format(self.clauses(choice.body))}, "
        bound = self._choice_bound(choice)
        inner = Atom(choice.atom.predicate, choice.atom.args)
        if not choice.conditions:
            said = self._atom(inner)
            form = self.rng.choice(
                ("decide freely whether {0}", "it is open whether {0}", "choose whether or not {0}")
            )
            return lead + form.format(said)
        conditions = self.clauses(choice.conditions)
        said = self._atom(inner)
        verb = self.rng.choice(("choose", "pick", "select"))
        if bound:
            return f"{lead}{verb} {bound} of the possibilities that {said}, where {conditions}"
        return f"{lead}{verb} any number of the possibilities that {said}, where {conditions}"

    def _choice_bound(self, choice: Choice) -> str:
        lower, upper = (bound and bound.code() for bound in (choice.lower, choice.upper))
        if lower is None and upper is None:
            return ""
        if lower == upper:
            return self.rng.choice(BOUNDS["="]).format(lower)
        if upper is None:
            return self.rng.choice(BOUNDS[">="]).format(lower)
        if lower is None:
            return self.rng.choice(BOUNDS["<="]).format(upper)
        return self.rng.choice(("between {0} and {1}", "at least {0} and at most {1}")).format(lower, upper)

    def _cost(self, cost: Cost) -> str:
        body = self.clauses(cost.body)
        level = ""
        if cost.level is not None:
            level = self.rng.choice((" at level {0}", " with priority {0}", " on priority level {0}")).format(
                cost.level
            )
        each = ", ".join(term.code() for term in cost.elements)
        per = f" for each ({each})" if "," in each else f" for each {each}" if each else ""
        per = per or ", once however often it happens"
        weight = cost.weight.code()
        if cost.form == ":~":
            form = self.rng.choice(
                (
                    "it costs {w}{level}{per} if {body}",
                    "pay {w}{level}{per} when {body}",
                    "there is a penalty of {w}{level}{per} if {body}",
                )
            )
        else:
            verb = "minimise" if cost.form == "#minimize" else "maximise"
            noun = self.rng.choice(("sum", "total"))
            form = f"{verb}{{level}} the {noun} of {{w}}{{per}} over the cases where {{body}}"
        return form.format(w=weight, level=level, per=per, body=body)

    def _show(self, show: Show) -> str:
        if show.term is None:
            name, arity = show.predicate.name, show.predicate.arity
            form = self.rng.choice(
                (
                    "show the atoms of {0} with {1}",
                    "display {0} with {1}",
                    "print the predicate {0} with {1}",
                    "the output has the atoms of {0} with {1}",
                )
            )
            return form.format(name, f"{arity} argument{'s' * (arity != 1)}")
        body = self.clauses(show.body)
        verb = self.rng.choice(("show", "display", "print"))
        return f"{verb} the term {show.term.code()} in every case where {body}"

    def _define(self, define: Define) -> str:
        form = self.rng.choice(
            (
                "let the constant {0} be {1} by default; it is {2}",
                "the constant {0}, {2}, has the default value {1}",
                "set {0}, {2}, to {1} unless the call says otherwise",
            )
        )
        return form.format(define.name, define.value, define.meaning)
