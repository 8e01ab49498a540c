"""English for the literals of generated rules: clauses in one of several wordings for each construct.

Each variable is named in the text and each predicate has a clause of its own, so that an instruction
determines its rule. A default-negated atom "is not", a strongly negated one is "known not to be".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from scripts.data.generator import phrases
from scripts.data.generator.domains import COLUMN, NUMBER, ROW, TIME, Predicate, is_integer
from scripts.data.generator.rules import (
    FLIPPED,
    Abs,
    Aggregate,
    Atom,
    Compare,
    Const,
    Element,
    Every,
    Func,
    Literal,
    Op,
    Pool,
    Term,
    Var,
    nodes,
    variables,
)
from scripts.data.generator.world import World


class Unsayable(Exception):
    """A statement for which there are no words."""


def has_anonymous(atom: Atom) -> bool:
    """Whether an argument of an atom is anonymous."""
    return any(isinstance(node, Var) and node.name == "_" for node in nodes(atom))


class Clauses:
    """Puts the literals of a world into words.

    Attributes:
        seen: The variables that the current sentence has introduced.
        types: The types of its variables.
    """

    def __init__(self, world: World, rng: Random):
        self.world, self.rng = world, rng
        self.seen: set[str] = set()
        self.types: dict[str, str] = {}
        self.predicates: dict[str, Predicate] = {}
        self.in_head = False

    def say(self, kind: str, **words: str) -> str:
        """One of the phrases of a kind, with its words."""
        return self.rng.choice(phrases.PHRASES[kind]).format(**words)

    # --- terms ---

    def noun(self, type_: str) -> str:
        """The noun of a type."""
        if type_ == TIME:
            return self.world.domain.time_noun
        return {COLUMN: "column", ROW: "row"}.get(type_, "number" if is_integer(type_) else type_)

    def plural(self, type_: str) -> str:
        """The plural of the noun of a type."""
        if type_ in self.world.domain.plurals:
            return self.world.domain.plurals[type_]
        return {COLUMN: "columns", ROW: "rows"}.get(type_, "values")

    def term(self, term: Term, type_: str, denied: bool = False) -> str:
        """An argument in words. A variable is introduced with the noun of its type."""
        number = is_integer(type_) and type_ != TIME
        noun = self.noun(type_)
        if isinstance(term, Var) and term.name == "_":
            article = "any" if denied else "some"
            return f"{article} {noun}"
        if isinstance(term, Var):
            known = term.name in self.seen
            self.seen.add(term.name)
            return term.name if number or known and self.rng.random() < 0.75 else f"{noun} {term.name}"
        if isinstance(term, Pool):
            values = [one.code() for one in term.terms]
            return f"{'' if number else noun + ' '}{', '.join(values[:-1])} or {values[-1]}"
        if isinstance(term, Const) and not is_integer(type_):
            return f"{noun} {term.value}"
        self.seen |= set(variables(term))
        text = self.arithmetic(term)
        if isinstance(term, Op) and term.op == "..":
            return f"{'every' if self.in_head else 'some'} {noun} from {text}"
        return text if number else f"{noun} {text}"

    def arithmetic(self, term: Term) -> str:
        """A term of numbers in words or as it stands."""
        if isinstance(term, Op) and term.op == "..":
            return f"{self.arithmetic(term.left)} to {self.arithmetic(term.right)}"
        if isinstance(term, Abs) and isinstance(term.term, Op) and term.term.op == "-":
            return f"the absolute difference between {term.term.left.code()} and {term.term.right.code()}"
        if isinstance(term, Op) and any(isinstance(one, Abs) for one in (term.left, term.right)):
            words = {"+": "plus", "-": "minus", "*": "times"}.get(term.op)
            if words is None:
                raise Unsayable
            return f"{self.arithmetic(term.left)} {words} {self.arithmetic(term.right)}"
        if isinstance(term, Pool):
            raise Unsayable
        return term.code()

    def cell(self, column: Term, row: Term, denied: bool) -> str:
        """A place in a grid."""
        noun = self.world.domain.cell or "place"
        anonymous = [isinstance(one, Var) and one.name == "_" for one in (column, row)]
        article = "any" if denied else "some"
        self.seen |= {name for name in (*variables(column), *variables(row))}
        if all(anonymous):
            return f"{article} {noun}"
        if anonymous[0]:
            return f"{article} {noun} in row {row.code()}"
        if anonymous[1]:
            return f"{article} {noun} in column {column.code()}"
        return f"{noun} ({column.code()},{row.code()})"

    # --- literals ---

    def atom(self, atom: Atom, form: str = "is") -> str:
        """An atom as a clause; its sign decides the form unless that is `bare`."""
        predicate = self.predicates.get(atom.name)
        if predicate is None:
            raise Unsayable
        denied = atom.sign != ""
        if predicate.text.startswith("there [be]") and predicate.args:
            return self._existence(atom, predicate)
        if denied and self._nobody(atom, predicate):
            return self._fill(predicate, atom, predicate.clause("is"), True, "no")
        if atom.sign == "not ":
            if self.rng.random() < 0.2 or self._open_subject(atom, predicate):
                return f"it is not the case that {self._fill(predicate, atom, predicate.clause('is'), True)}"
            return self._fill(predicate, atom, predicate.clause("not"), True)
        if atom.sign == "-":  # something that is not so of some thing: `some lid is not ajar`
            return f"it is known that {self._fill(predicate, atom, predicate.clause('not'), False)}"
        if atom.sign:
            if has_anonymous(atom):
                raise Unsayable  # `not known that any lid is not ajar` has two readings
            return f"it is not known that {self._fill(predicate, atom, predicate.clause('not'), True)}"
        return self._fill(predicate, atom, predicate.clause(form), False)

    def _open_subject(self, atom: Atom, predicate: Predicate) -> bool:
        """Whether something anonymous stands before the verb: `any lid is not ajar` has two readings."""
        before = predicate.text.partition("[")[0]
        places = [int(number) for slot in re.findall(r"{([\d,]+)}", before) for number in slot.split(",")]
        return any(isinstance(atom.args[n], Var) and atom.args[n].name == "_" for n in places)

    def _nobody(self, atom: Atom, predicate: Predicate) -> bool:
        """Whether the subject of a default-negated atom is anonymous."""
        if atom.sign != "not " or not predicate.text.startswith("{") or not atom.args:
            return False
        subject = int(predicate.text[1 : predicate.text.index("}")].split(",")[0])
        term = atom.args[subject]
        whole_cell = predicate.text[: predicate.text.index("}")].count(",") == 0
        return isinstance(term, Var) and term.name == "_" and whole_cell

    def _fill(self, predicate: Predicate, atom: Atom, clause: str, denied: bool, subject: str = "") -> str:
        """A clause with its arguments."""
        text, first = clause, True
        if predicate.attribute and not subject:
            anonymous = any(
                isinstance(arg, Var) and arg.name == "_" and type_.startswith(NUMBER)
                for arg, type_ in zip(atom.args, predicate.args, strict=True)
            )
            strong = anonymous and "-" in atom.sign
            if not strong and (anonymous or self.rng.random() < 0.4):
                text = phrases.attribute_clause(predicate, clause, anonymous)
        result = ""
        while "{" in text:
            before, _, rest = text.partition("{")
            slot, _, text = rest.partition("}")
            places = [int(place) for place in slot.split(",")]
            if len(places) == 2:
                word = self.cell(atom.args[places[0]], atom.args[places[1]], denied)
            else:
                word = self.term(atom.args[places[0]], predicate.args[places[0]], denied)
                if word in ("some number", "any number") and self._has_unit(predicate, places[0]):
                    word = f"{word} of"
            if first and subject:
                word = f"{subject} {word.removeprefix('any ')}"
            result += phrases.fitted(before, word)
            first = False
        return phrases.figures(result + text)

    @staticmethod
    def _has_unit(predicate: Predicate, place: int) -> bool:
        """Whether a noun follows the number at `place`."""
        after = predicate.text.partition(f"{{{place}}} ")[2].split(" ")[0]
        return bool(after) and after[0] not in "[{" and after not in phrases.PREPOSITIONS

    def _existence(self, atom: Atom, predicate: Predicate) -> str:
        """An atom of a type."""
        if len(atom.args) == 2:
            place = self.cell(*atom.args, False)
            if atom.sign not in ("", "not "):
                raise Unsayable
            return (
                f"there is {f'no {place}' if atom.sign else phrases.article(place)}"
                if "some" not in place
                else f"there is {place}"
            )
        term, noun = atom.args[0], self.noun(predicate.args[0])
        if isinstance(term, Var) and term.name == "_":
            if atom.sign:
                return f"there is no {noun} at all"
            return f"there is some {noun}"
        self.seen |= set(variables(term))
        verb = {"": "is", "not ": "is not"}.get(atom.sign)
        if verb is None or isinstance(term, Pool):
            raise Unsayable
        return f"{term.code()} {verb} {phrases.article(noun)}"

    def compare(self, node: Compare) -> str:
        """A comparison."""
        text = (
            self._chain(node)
            if len(node.ops) > 1
            else self._comparison(node.terms[0], node.ops[0], node.terms[1])
        )
        return f"it is not the case that {text}" if node.sign else text

    def _chain(self, node: Compare) -> str:
        if len(node.ops) != 2:
            raise Unsayable
        low, middle, high = node.terms
        first = self.rng.choice(phrases.BOUNDS[FLIPPED[node.ops[0]]]).format(self.value(low))
        second = self.rng.choice(phrases.BOUNDS[node.ops[1]]).format(self.value(high))
        return f"{self.value(middle)} is {first} and {second}"

    def _comparison(self, left: Term, op: str, right: Term) -> str:
        types = {self.types.get(name, NUMBER) for name in (*variables(left), *variables(right))}
        if isinstance(right, Op) and right.op == "..":
            return f"{self.value(left)} is one of the numbers from {self.arithmetic(right)}"
        if isinstance(left, Func) or isinstance(right, Func):
            forms = phrases.TUPLES.get(op)
            if forms is None:
                raise Unsayable
            return self.rng.choice(forms).format(left.code(), right.code())
        if types and not any(map(is_integer, types)):
            if isinstance(right, Pool):
                return f"{self.value(left)} is {' or '.join(one.code() for one in right.terms)}"
            if op not in phrases.ORDER:
                raise Unsayable
            return self.rng.choice(phrases.ORDER[op]).format(self.value(left), self.value(right))
        if isinstance(right, Pool):
            values = [one.code() for one in right.terms]
            return f"{self.value(left)} is {phrases.listed(values, ' or ')}"
        forms = phrases.TIMES[op] if self._is_time(left, right) and self.rng.random() < 0.6 else None
        forms = forms or phrases.COMPARISONS[op]
        return self.rng.choice(forms).format(self.value(left), self.value(right))

    def _is_time(self, *terms: Term) -> bool:
        """Whether terms are points in time: no distance between two of them."""
        names = [name for term in terms for name in variables(term)]
        distances = any(isinstance(node, Abs) for term in terms for node in nodes(term))
        return bool(names) and all(self.types.get(name) == TIME for name in names) and not distances

    def value(self, term: Term) -> str:
        """A term of a comparison; a thing that is new gets its noun."""
        if isinstance(term, Var):
            type_ = self.types.get(term.name, NUMBER)
            if is_integer(type_):
                self.seen.add(term.name)
                return term.name
            return self.term(term, type_)
        if isinstance(term, Const):
            return term.value
        self.seen |= set(variables(term))
        return self.arithmetic(term)

    def literal(self, literal: Literal) -> str:
        """A literal as a clause."""
        if isinstance(literal, Atom):
            return self.atom(literal)
        if isinstance(literal, Compare):
            return self.compare(literal)
        if isinstance(literal, Every):
            return self._every(literal)
        text = self.aggregate(literal)
        return f"it is not the case that {text}" if literal.sign else text

    def _every(self, literal: Every) -> str:
        outside = set(self.seen)
        inner = [name for name in dict.fromkeys(variables(literal)) if name not in outside]
        if not inner:
            conditions = self.clauses(literal.conditions)
            return self.say("implied", conditions=conditions, literal=self.literal(literal.literal))
        whole, rest = self.quantified(literal.conditions, inner)
        conditions = f"{whole} such that {self.clauses(rest)}" if rest else whole
        said = self.literal(literal.literal)
        self.seen = outside
        return self.say("every", things=conditions, literal=said)

    def quantified(self, conditions: Sequence[Literal], inner: Sequence[str]) -> tuple[str, list[Literal]]:
        """`ferry F and berth B` for local variables, and the conditions without the atoms of their types."""
        self.seen |= set(inner)
        things = phrases.listed([f"{self.noun(self.types[name])} {name}" for name in inner] or ["case"])
        if [self.types[name] for name in inner] == [COLUMN, ROW]:
            things = f"{self.world.domain.cell or 'place'} ({','.join(inner)})"
        return things, self._untyped(conditions, set(inner))

    def _untyped(self, conditions: Sequence[Literal], names: set[str]) -> list[Literal]:
        """Literals without the type atoms of variables that are introduced with their noun."""
        return [one for one in conditions if not (self._is_type_atom(one) and set(variables(one)) <= names)]

    def _is_type_atom(self, literal: Literal) -> bool:
        if not isinstance(literal, Atom) or literal.sign:
            return False
        predicate = self.predicates.get(literal.name)
        if predicate is None or not predicate.args or not predicate.text.startswith("there [be]"):
            return False
        return all(
            isinstance(arg, Var) and arg.name != "_" and self.types.get(arg.name) == type_
            for arg, type_ in zip(literal.args, predicate.args, strict=True)
        )

    def clauses(self, literals: Sequence[Literal]) -> str:
        """Several literals, those that are long at the end."""
        ordered = sorted(literals, key=lambda one: isinstance(one, Every | Aggregate))
        said = [self.literal(one) for one in ordered]
        if len(said) == 1:
            return said[0]
        long = isinstance(ordered[-1], Every | Aggregate)
        return f"{', '.join(said[:-1])}{',' if long or len(said) > 2 else ''} and {said[-1]}"

    # --- aggregates ---

    def aggregate(self, node: Aggregate) -> str:
        """An aggregate with its guards."""
        if node.function == "":
            return self._set(node)
        what = self._what(node)
        if node.assigns:
            name = node.left[1].name
            self.seen.add(name)
            return self.say("assigned", value=name, what=what)
        guards = self._guards(node)
        if (
            node.function == "#count"
            and len(node.elements) == 1
            and "!=" not in [op for op, _ in guards]
            and self.rng.random() < 0.45
        ):
            return self._there_are(guards, what.removeprefix("the number of "))
        bound = " and ".join(self.rng.choice(phrases.BOUNDS[op]).format(term) for op, term in guards)
        return f"{what}{',' if ' and ' in what else ''} is {bound}"

    def _there_are(self, guards: Sequence[tuple[str, str]], things: str) -> str:
        """`there are at most 3 berths B such that …`"""
        bound = self.number(guards)
        if bound.endswith(" 1"):
            return f"there is {bound} {self.singular(things)}"
        return f"there are {bound} {things}"

    def number(self, guards: Sequence[tuple[str, str]]) -> str:
        """Bounds before a noun."""
        if any(op not in phrases.NUMBERS for op, _ in guards):
            raise Unsayable
        return " and ".join(self.rng.choice(phrases.NUMBERS[op]).format(term) for op, term in guards)

    def singular(self, things: str) -> str:
        """`berth B …` for `berths B …`."""
        for noun, many in {
            **self.world.domain.plurals,
            "column": "columns",
            "row": "rows",
            "value": "values",
            "case": "cases",
        }.items():
            many_words = [many, f"different {many}"]
            for words in many_words:
                if f"{things} ".startswith(f"{words} "):
                    shown = self.world.domain.time_noun if noun == TIME else noun
                    return f"{shown}{things[len(words) :]}"
        return things.replace("pairs", "pair", 1).replace("combinations", "combination", 1)

    def counted(self, bound: str, things: str) -> str:
        """Things after a bound, in the singular after `1`."""
        return self.singular(things) if bound.endswith(" 1") else things

    def _guards(self, node: Aggregate) -> list[tuple[str, str]]:
        """The guards as operators and terms that follow the aggregate."""
        found = []
        if node.left:
            found.append((FLIPPED[node.left[0]], self.value(node.left[1])))
        if node.right:
            found.append((node.right[0], self.value(node.right[1])))
        if not found:
            raise Unsayable
        return found

    def _what(self, node: Aggregate) -> str:
        """What an aggregate computes, without its guard."""
        outside = set(self.seen)
        parts = []
        for element in node.elements:
            self.seen = set(outside)
            parts.append(self._part(node.function, element, len(node.elements) > 1))
        self.seen = outside
        if len(parts) == 1:
            return parts[0]
        noun = {"#min": "the smallest of", "#max": "the largest of", "#count": "the number of"}.get(
            node.function, "the sum of"
        )
        return f"{noun} {phrases.listed(parts)}"

    def _part(self, function: str, element: Element, several: bool) -> str:
        terms = element.terms
        if (
            element.conditions
            and set(variables(terms)) <= self.seen
            and (function == "#count" or variables(terms))
        ):
            raise Unsayable  # nothing that it ranges over
        if function == "#count":
            inner = self.things(terms)
            rest = self._untyped(element.conditions, self.seen)
            if not rest:
                return f"the number of {inner}"
            return f"{'' if several else 'the number of '}{inner} {self.say('such')} {self.clauses(rest)}"
        if not element.conditions:
            return self.arithmetic(terms[0])
        value = self.arithmetic(terms[0])
        weighed = [term for term in terms[1:] if isinstance(term, Var) and term.name not in self.seen]
        if function in ("#min", "#max"):
            lead = f"every {value}" if several else f"the {self.say(function)} {value}"
            inner = [n for n in dict.fromkeys(variables(terms[0])) if n not in self.seen]
            self.seen |= set(inner)
            return f"{lead} {self.say('such')} {self.clauses(element.conditions)}"
        positive = " (positive values only)" if function == "#sum+" else ""
        if not weighed:
            conditions = self.clauses(element.conditions)
            lead = "" if several else f"the {self.say('sum')} of "
            lead += "" if isinstance(terms[0], Const) else "the different values "
            return f"{lead}{value}{positive} for which {conditions}"
        self.seen |= {term.name for term in weighed}
        things = self.things(weighed)
        conditions = self.clauses(self._untyped(element.conditions, self.seen) or element.conditions)
        if several:
            return f"{value} for each of the {things} such that {conditions}"
        return f"the {self.say('sum')} of {value}{positive} over all {things} {self.say('such')} {conditions}"

    def things(self, terms: Sequence[Term]) -> str:
        """What is counted: `berths B`, or `pairs (B,W) of a berth and a week`."""
        self.seen |= {name for term in terms for name in variables(term)}
        types = [self.types.get(term.name, NUMBER) if isinstance(term, Var) else None for term in terms]
        if types == [COLUMN, ROW]:
            return f"{self.plural(self.world.domain.cell)} ({terms[0].code()},{terms[1].code()})"
        if len(terms) == 1 and types[0]:
            kind = self.plural(types[0])
            return f"{'different ' if kind == 'values' else ''}{kind} {terms[0].code()}"
        name = "pairs" if len(terms) == 2 else "combinations"
        return f"{name} ({','.join(term.code() for term in terms)})"

    def _set(self, node: Aggregate) -> str:
        """A set of atoms with bounds, in a body."""
        if len(node.elements) != 1 or not node.elements[0].atom:
            raise Unsayable
        outside = set(self.seen)
        said = self._cases(node.elements[0])
        self.seen = outside
        bound = self.number(self._guards(node))
        cases = self.counted(bound, "cases")
        return f"there {'is' if bound.endswith(' 1') else 'are'} {bound} {cases} in which {said}"

    def _cases(self, element: Element) -> str:
        said = self.atom(element.atom)
        if not element.conditions:
            return said
        rest = self._untyped(element.conditions, self.seen)
        return f"{said}, where {self.clauses(rest)}" if rest else said
