"""The description of a generated problem."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.data.generator import phrases
from scripts.data.generator.domains import COLUMN, ROW, TIME, Predicate, is_integer
from scripts.data.generator.rules import Const, Define, Func, Show, Statement, atoms, nodes
from scripts.data.generator.world import World


def describe(world: World, statements: Sequence[Statement]) -> str:
    """Return the description: the world, and every predicate, constant and name that the program uses."""
    used = {atom.name for statement in statements for atom in atoms(statement)}
    used |= {s.term[0] for s in statements if isinstance(s, Show) and isinstance(s.term, tuple)}
    title = world.domain.name.replace("_", " ").capitalize()
    lines = [f"# {title}", "", world.domain.setting]
    facts = [p for p in world.facts if any(instance[p.name] for instance in world.instances)]
    decided = [p for p in world.decided if p.name in used]
    derived = [p for p in world.derived if p.name in used]
    for heading, predicates in (("Input", facts), ("Output", decided), ("Auxiliary", derived)):
        if predicates:
            lines += ["", f"## {heading}", *(entry(predicate, world) for predicate in predicates)]
    notes = list(_notes(world, statements, used))
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _notes(world: World, statements: Sequence[Statement], used: set[str]):
    strong = sorted({atom.name for s in statements for atom in atoms(s) if "-" in atom.sign} & used)
    if strong:
        names = ", ".join(f"`-{name}`" for name in strong)
        yield f"{names}: strong negation; the instructions say that something is known not to be so."
    constants = [s.name for s in statements if isinstance(s, Define)]
    if constants:
        yield f"Constants of the program: {', '.join(f'`{name}`' for name in constants)}."
    terms = sorted(
        {s.term.name for s in statements if isinstance(s, Show) and isinstance(s.term, Func) and s.term.name}
    )
    if terms:
        yield f"Terms that are shown: {', '.join(f'`{name}`' for name in terms)}."
    named = {
        node.value for s in statements for node in nodes(s) if isinstance(node, Const) and not node.is_number
    }
    for type_, values in world.domain.things.items():
        found = [value for value in values if value in named]
        if found:
            noun = type_ if len(found) == 1 else world.domain.plurals[type_]
            yield f"The rules mention the {noun} {', '.join(f'`{value}`' for value in found)}."


def entry(predicate: Predicate, world: World) -> str:
    """A line of the description: the atom with a variable for each argument, and what it says."""
    letters: list[str] = []
    for type_ in predicate.args:
        options = {TIME: "TUVW", COLUMN: "XACE", ROW: "YBDF"}.get(
            type_, "NMKQRS" if is_integer(type_) else None
        )
        if options is None:
            first = type_[0].upper()
            options = first + "".join(chr(n) for n in range(ord(first) + 1, 91)) + "ABCDEFG"
        letters.append(
            next((letter for letter in options if letter not in letters), f"{options[0]}{len(letters)}")
        )
    text = predicate.clause()
    if predicate.text.startswith("there [be]"):
        noun = world.domain.time_noun if predicate.args == (TIME,) else predicate.args[0]
        text = text.replace("is {0}", f"is {phrases.article(noun).split()[0]} {{0}}")
    said, rest = "", text
    while "{" in rest:
        before, _, rest = rest.partition("{")
        slot, _, rest = rest.partition("}")
        places = [int(place) for place in slot.split(",")]
        if len(places) == 2:
            word = f"{world.domain.cell or 'place'} ({letters[places[0]]},{letters[places[1]]})"
            word = (
                word.removeprefix(before.split()[-1] + " ")
                if before.strip().endswith(world.domain.cell or "?")
                else word
            )
        else:
            type_ = predicate.args[places[0]]
            noun = world.domain.time_noun if type_ == TIME else type_
            word = (
                letters[places[0]] if is_integer(type_) and type_ != TIME else f"{noun} {letters[places[0]]}"
            )
        said += before + word
    said += rest
    atom = f"{predicate.name}({', '.join(letters)})" if letters else predicate.name
    return f"- `{atom}`: {said}."
