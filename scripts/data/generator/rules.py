"""The rules of generated problems as small trees, and the code of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.data.generator.domains import Predicate

# --- terms ---


@dataclass(frozen=True)
class Var:
    """A variable: its name and the type of the things that it stands for."""

    name: str
    type: str

    def code(self) -> str:
        return self.name


@dataclass(frozen=True)
class Const:
    """A number, a constant of a type, or the name of a `#const`."""

    value: str
    type: str

    def code(self) -> str:
        return self.value


@dataclass(frozen=True)
class Any_:
    """The anonymous variable in place of a thing of `type`."""

    type: str

    def code(self) -> str:
        return "_"


@dataclass(frozen=True)
class Binary:
    """Arithmetic: two terms and `+`, `-`, `*`, `/`, `\\` or `..` between them."""

    op: str
    left: Term
    right: Term

    @property
    def type(self) -> str:
        return self.left.type

    def code(self) -> str:
        left, right = (
            f"({term.code()})" if isinstance(term, Binary) and self.op != ".." else term.code()
            for term in (self.left, self.right)
        )
        return f"{left}{self.op}{right}"


@dataclass(frozen=True)
class Absolute:
    """The distance of two numbers."""

    left: Term
    right: Term
    type: str = "number"

    def code(self) -> str:
        return f"|{self.left.code()}-{self.right.code()}|"


Term = Var | Const | Any_ | Binary | Absolute


def variables_of(term: Term) -> Iterator[Var]:
    """The variables of a term, from left to right."""
    if isinstance(term, Var):
        yield term
    elif isinstance(term, (Binary, Absolute)):
        yield from variables_of(term.left)
        yield from variables_of(term.right)


# --- literals ---


@dataclass(frozen=True)
class Atom:
    """A predicate with arguments; `sign` is "", "not ", "-" or "not -"."""

    predicate: Predicate
    args: tuple[Term, ...]
    sign: str = ""

    def code(self) -> str:
        args = ",".join(term.code() for term in self.args)
        return f"{self.sign}{self.predicate.name}" + (f"({args})" if args else "")

    def terms(self) -> tuple[Term, ...]:
        return self.args

    @property
    def binds(self) -> bool:
        return not self.sign.startswith("not")


@dataclass(frozen=True)
class Compare:
    """A comparison of two terms."""

    left: Term
    op: str
    right: Term

    def code(self) -> str:
        return f"{self.left.code()} {self.op} {self.right.code()}"

    def terms(self) -> tuple[Term, ...]:
        return self.left, self.right


@dataclass(frozen=True)
class Between:
    """A chain of two comparisons: lower, term, upper."""

    lower: Term
    term: Term
    upper: Term
    ops: tuple[str, str] = ("<=", "<=")

    def code(self) -> str:
        return f"{self.lower.code()} {self.ops[0]} {self.term.code()} {self.ops[1]} {self.upper.code()}"

    def terms(self) -> tuple[Term, ...]:
        return self.lower, self.term, self.upper


@dataclass(frozen=True)
class Aggregate:
    """An aggregate over the tuples `elements` for which the `conditions` hold, compared with `guard`."""

    function: str
    elements: tuple[Term, ...]
    conditions: tuple[Literal, ...]
    op: str
    guard: Term
    assigns: bool = False

    def code(self) -> str:
        elements = ",".join(term.code() for term in self.elements)
        conditions = ", ".join(literal.code() for literal in self.conditions)
        body = f"{self.function}{{ {elements} : {conditions} }}"
        if self.assigns:
            return f"{self.guard.code()} = {body}"
        return f"{body} {self.op} {self.guard.code()}"

    def terms(self) -> tuple[Term, ...]:
        return (self.guard,)

    def inner(self) -> Iterator[Var]:
        """The variables between the braces."""
        for term in self.elements:
            yield from variables_of(term)
        for literal in self.conditions:
            for term in literal.terms():
                yield from variables_of(term)


@dataclass(frozen=True)
class Every:
    """A conditional literal: the literal holds for all things that the conditions describe."""

    literal: Atom
    conditions: tuple[Literal, ...]

    def code(self) -> str:
        return f"{self.literal.code()} : {', '.join(literal.code() for literal in self.conditions)}"

    def terms(self) -> tuple[Term, ...]:
        return ()

    def inner(self) -> Iterator[Var]:
        """The variables of the literal and of its conditions."""
        for literal in (self.literal, *self.conditions):
            for term in literal.terms():
                yield from variables_of(term)


Literal = Atom | Compare | Between | Aggregate | Every


def body_code(body: tuple[Literal, ...]) -> str:
    """The body of a rule. A conditional literal ends with a semicolon unless it is the last."""
    text = ""
    for index, literal in enumerate(body):
        text += literal.code()
        if index < len(body) - 1:
            text += "; " if isinstance(literal, Every) else ", "
    return text


# --- statements ---


@dataclass(frozen=True)
class Rule:
    """`head :- body.`; without a head an integrity constraint; with several head atoms a disjunction."""

    head: tuple[Atom, ...]
    body: tuple[Literal, ...]

    def code(self) -> str:
        head = " ; ".join(atom.code() for atom in self.head)
        if not self.body:
            return f"{head}."
        return f"{head} :- {body_code(self.body)}." if head else f":- {body_code(self.body)}."


@dataclass(frozen=True)
class Choice:
    """A choice rule with its bounds: `lower { atom : conditions } upper :- body.`"""

    atom: Atom
    conditions: tuple[Literal, ...]
    lower: Term | None
    upper: Term | None
    body: tuple[Literal, ...]

    def code(self) -> str:
        inner = self.atom.code()
        if self.conditions:
            inner += f" : {', '.join(literal.code() for literal in self.conditions)}"
        text = f"{{ {inner} }}"
        if self.lower is not None and self.lower == self.upper:
            text = f"{text} = {self.lower.code()}"
        else:
            text = (f"{self.lower.code()} " if self.lower is not None else "") + text
            text += f" {self.upper.code()}" if self.upper is not None else ""
        return f"{text} :- {body_code(self.body)}." if self.body else f"{text}."


@dataclass(frozen=True)
class Cost:
    """A weak constraint (`form` is ":~"), `#minimize` or `#maximize`: weight, level and tuple of each body."""

    form: str
    weight: Term
    level: int | None
    elements: tuple[Term, ...]
    body: tuple[Literal, ...]

    def code(self) -> str:
        level = "" if self.level is None else f"@{self.level}"
        elements = "".join(f",{term.code()}" for term in self.elements)
        if self.form == ":~":
            return f":~ {body_code(self.body)}. [{self.weight.code()}{level}{elements}]"
        return f"{self.form} {{ {self.weight.code()}{level}{elements} : {body_code(self.body)} }}."


@dataclass(frozen=True)
class Show:
    """`#show name/arity.` without terms, else `#show term : body.`"""

    predicate: Predicate | None
    term: Term | Atom | None = None
    body: tuple[Literal, ...] = ()

    def code(self) -> str:
        if self.term is None:
            return f"#show {self.predicate.name}/{self.predicate.arity}."
        return f"#show {self.term.code()} : {body_code(self.body)}."


@dataclass(frozen=True)
class Define:
    """`#const name = value.`"""

    name: str
    value: int
    meaning: str

    def code(self) -> str:
        return f"#const {self.name} = {self.value}."


Statement = Rule | Choice | Cost | Show | Define
