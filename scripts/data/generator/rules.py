"""The rules of generated problems as small trees, with the code of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

# --- terms ---


@dataclass(frozen=True)
class Var:
    """A variable. The name `_` is the anonymous one."""

    name: str

    def code(self) -> str:
        return self.name


@dataclass(frozen=True)
class Const:
    """A number, a constant, a string in its quotes, or the name of a `#const`."""

    value: str

    def code(self) -> str:
        return self.value

    @property
    def is_number(self) -> bool:
        return self.value.lstrip("-").isdigit()


@dataclass(frozen=True)
class Op:
    """Two terms and `+`, `-`, `*`, `/`, `\\`, `**` or `..` between them."""

    op: str
    left: Term
    right: Term

    def code(self) -> str:
        return f"{self._part(self.left, False)}{self.op}{self._part(self.right, True)}"

    def _part(self, term: Term, right: bool) -> str:
        ranks = {"..": 0, "+": 1, "-": 1, "*": 2, "/": 2, "\\": 2, "**": 3}
        if isinstance(term, Op) and ranks[term.op] < ranks[self.op] + right * (self.op not in ("+", "*")):
            return f"({term.code()})"
        return term.code()


@dataclass(frozen=True)
class Abs:
    """The absolute value of a term."""

    term: Term

    def code(self) -> str:
        return f"|{self.term.code()}|"


@dataclass(frozen=True)
class Func:
    """A compound term; with the name "" a tuple."""

    name: str
    args: tuple[Term, ...]

    def code(self) -> str:
        return f"{self.name}({','.join(arg.code() for arg in self.args)})"


@dataclass(frozen=True)
class Pool:
    """Several terms, each in turn: `(a;b)`."""

    terms: tuple[Term, ...]

    def code(self) -> str:
        return f"({';'.join(term.code() for term in self.terms)})"


Term = Var | Const | Op | Abs | Func | Pool

# --- literals ---


@dataclass(frozen=True)
class Atom:
    """A predicate with arguments; `sign` is "", "not ", "-" or "not -"."""

    name: str
    args: tuple[Term, ...]
    sign: str = ""

    def code(self) -> str:
        args = ",".join(term.code() for term in self.args)
        return f"{self.sign}{self.name}" + (f"({args})" if args else "")

    @property
    def key(self) -> tuple[str, int]:
        """Name and arity."""
        return self.name, len(self.args)


@dataclass(frozen=True)
class Compare:
    """A chain of comparisons: `terms` has one entry more than `ops`; `sign` is "" or "not "."""

    terms: tuple[Term, ...]
    ops: tuple[str, ...]
    sign: str = ""

    def code(self) -> str:
        parts = [self.terms[0].code()]
        for op, term in zip(self.ops, self.terms[1:], strict=True):
            parts += [op, term.code()]
        return self.sign + " ".join(parts)


@dataclass(frozen=True)
class Element:
    """An element of an aggregate: a tuple, an atom (both in the head, one elsewhere), and conditions."""

    terms: tuple[Term, ...]
    atom: Atom | None
    conditions: tuple[Literal, ...]

    def code(self) -> str:
        parts = [",".join(term.code() for term in self.terms)] if self.terms else []
        parts += [self.atom.code()] if self.atom else []
        parts += [body_code(self.conditions)] if self.conditions else []
        return " : ".join(parts)


@dataclass(frozen=True)
class Aggregate:
    """`left function{ elements } right`; the function "" is a set of atoms, as in a choice.

    A guard is an operator and a term. `left` reads "term operator aggregate".
    """

    function: str
    elements: tuple[Element, ...]
    left: tuple[str, Term] | None
    right: tuple[str, Term] | None
    sign: str = ""

    def code(self) -> str:
        inside = "; ".join(element.code() for element in self.elements)
        text = f"{self.function}{{ {inside} }}"
        left, right = self.left, self.right
        if left and not right and not self.assigns:
            left, right = None, (FLIPPED[left[0]], left[1])
        bare = self.function == ""
        if left:
            op = "" if bare and left[0] == "<=" else f" {left[0]}"
            text = f"{left[1].code()}{op} {text}"
        if right:
            op = "" if bare and right[0] == "<=" else f"{right[0]} "
            text = f"{text} {op}{right[1].code()}"
        return self.sign + text

    @property
    def assigns(self) -> bool:
        """Whether it has the form `Variable = aggregate`."""
        return (
            self.left is not None and self.left[0] == "=" and isinstance(self.left[1], Var) and not self.sign
        )


@dataclass(frozen=True)
class Every:
    """A conditional literal: it holds for all things that the conditions describe."""

    literal: Atom | Compare
    conditions: tuple[Literal, ...]

    def code(self) -> str:
        return f"{self.literal.code()} : {body_code(self.conditions)}"


Literal = Atom | Compare | Aggregate | Every
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}


def body_code(body: tuple[Literal, ...]) -> str:
    """The code of a body. A conditional literal ends with a semicolon unless it is the last."""
    text = ""
    for index, literal in enumerate(body):
        text += literal.code()
        if index < len(body) - 1:
            text += "; " if isinstance(literal, Every) else ", "
    return text


# --- statements ---


@dataclass(frozen=True)
class Rule:
    """`head :- body.`: without a head a constraint, with several parts a disjunction, or an aggregate."""

    head: tuple[Atom | Compare | Every, ...] | Aggregate
    body: tuple[Literal, ...]

    def code(self) -> str:
        if isinstance(self.head, Aggregate):
            head = self.head.code()
        else:
            head = " ; ".join(part.code() for part in self.head)
        if not self.body:
            return f"{head}."
        return f"{head} :- {body_code(self.body)}." if head else f":- {body_code(self.body)}."


@dataclass(frozen=True)
class CostElement:
    """An element of a cost: weight, level and tuple for each case of the body."""

    weight: Term
    level: Term | None
    terms: tuple[Term, ...]
    body: tuple[Literal, ...]

    def key(self) -> str:
        level = f"@{self.level.code()}" if self.level else ""
        return f"{self.weight.code()}{level}{''.join(f',{term.code()}' for term in self.terms)}"


@dataclass(frozen=True)
class Cost:
    """A weak constraint (`form` is ":~"), `#minimize` or `#maximize`."""

    form: str
    elements: tuple[CostElement, ...]

    def code(self) -> str:
        if self.form == ":~":
            return f":~ {body_code(self.elements[0].body)}. [{self.elements[0].key()}]"
        inside = "; ".join(f"{one.key()} : {body_code(one.body)}" for one in self.elements)
        return f"{self.form}{{ {inside} }}."


@dataclass(frozen=True)
class Show:
    """`#show term : body.`, or with a term of the form name/arity `#show name/arity.`"""

    term: Term | Atom | tuple[str, int]
    body: tuple[Literal, ...] = ()

    def code(self) -> str:
        if isinstance(self.term, tuple):
            return f"#show {self.term[0]}/{self.term[1]}."
        return f"#show {self.term.code()} : {body_code(self.body)}."


@dataclass(frozen=True)
class Define:
    """`#const name = value.`"""

    name: str
    value: int

    def code(self) -> str:
        return f"#const {self.name} = {self.value}."


Statement = Rule | Cost | Show | Define

# --- traversal ---


def nodes(tree: Any) -> Iterator[Any]:
    """Yield a tree and all trees below it, from left to right."""
    if isinstance(tree, tuple):
        for item in tree:
            yield from nodes(item)
    elif is_dataclass(tree):
        yield tree
        for field in fields(tree):
            yield from nodes(getattr(tree, field.name))


def rewrite(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a tree, with `change` applied to each tree in it after those below."""
    if isinstance(tree, tuple):
        return tuple(rewrite(item, change) for item in tree)
    if is_dataclass(tree):
        values = {field.name: rewrite(getattr(tree, field.name), change) for field in fields(tree)}
        return change(type(tree)(**values))
    return tree


def variables(tree: Any) -> list[str]:
    """The names of the variables of a tree, from left to right, with repetitions and without `_`."""
    return [node.name for node in nodes(tree) if isinstance(node, Var) and node.name != "_"]


def atoms(tree: Any) -> list[Atom]:
    """The atoms of a tree, from left to right."""
    return [node for node in nodes(tree) if isinstance(node, Atom)]
