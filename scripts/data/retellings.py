"""Retellings: a problem told by hand in another domain, from `retellings.json` of its folder.

A retelling gives the predicates, and where it wants the constants, names of its domain. Its description and
its instructions are written anew. The program and the facts of the retold problem are those of the problem
with the new names, which are replaced on the syntax tree.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clingo.ast import AST, ASTType, Position
from clingo.symbol import Function, String, Symbol, SymbolType, parse_term

from scripts.asp.solver import AnswerSet, Outcome
from scripts.asp.syntax import Statement, parse, predicates, walk
from utils_ft import UserError, parse_json, read_text

if TYPE_CHECKING:
    from scripts.data.problems import Problem

FILE = "retellings.json"

_REMEDY = (
    'write [{"domain": "…", "predicates": {"old": "new"}, "constants": {"old": "new"}, "description": "…", '
    '"instructions": {"instruction": "retold"}}, …]'
)
_IDENTIFIER = re.compile(r"_*[a-z]\w*'*")
_DIRECTIVES = (ASTType.ShowSignature, ASTType.Defined, ASTType.ProjectSignature, ASTType.Definition)


@dataclass(frozen=True)
class Retelling:
    """A problem in another domain.

    Attributes:
        domain: The domain, in a few words. No other retelling of the problem has it.
        predicates: The new name of every predicate.
        constants: New names of constants, functions and `#const` names, and new texts of strings.
        description: The whole description.
        instructions: The retold instruction for every instruction.
    """

    domain: str
    predicates: dict[str, str]
    description: str
    instructions: dict[str, str]
    constants: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, str]:
        """The new names of predicates and constants."""
        return self.constants | self.predicates

    @property
    def texts(self) -> list[str]:
        """All texts."""
        pairs = [*self.names.items(), *self.instructions.items()]
        return [self.domain, self.description, *(text for pair in pairs for text in pair)]


def read_retellings(folder: Path) -> tuple[Retelling, ...]:
    """Read the retellings of the problem in `folder`; empty if it has none.

    Raises:
        UserError: The file is not a JSON list of retellings.
    """
    file = folder / FILE
    if not os.path.lexists(file):
        return ()
    found = parse_json(read_text(file), file, remedy=_REMEDY)
    if not isinstance(found, list):
        raise UserError("not a list of retellings", where=file, remedy=_REMEDY)
    for number, entry in enumerate(found, 1):
        if not _is_retelling(entry):
            raise UserError(f"entry {number} is not a retelling", where=file, remedy=_REMEDY)
    return tuple(Retelling(**entry) for entry in found)


def _is_retelling(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    texts = [entry.get("domain"), entry.get("description")]
    maps = [entry.get("predicates"), entry.get("instructions"), entry.get("constants", {})]
    if not all(isinstance(pairs, dict) for pairs in maps):
        return False
    texts += [text for pairs in maps for text in pairs.values()]
    known = set(Retelling.__dataclass_fields__)
    return set(entry) <= known and all(isinstance(text, str) and text.strip() for text in texts)


def retold(problem: Problem, retelling: Retelling) -> Problem:
    """Return the problem in the words of a retelling.

    It has no paraphrases, no other wordings and no comments in its instances.
    """
    names = retelling.names
    steps = []
    for step in problem.encoding.steps:
        instruction = retelling.instructions.get(step.instruction, step.instruction)
        comment = f"% {instruction}\n" if instruction else ""
        steps.append(comment + renamed_code(step.code, names))
    return replace(
        problem,
        source="\n\n".join(steps) + "\n",
        description=retelling.description.strip(),
        instances={name: renamed_code(facts, names) for name, facts in problem.instances.items()},
        paraphrases={},
        wordings={},
        retellings=(),
    )


def renamed_code(code: str, names: Mapping[str, str]) -> str:
    """Return a program without its comments, with its predicates, constants and strings renamed."""
    data, changes = code.encode(), _changes(code, names)
    pieces, position = [], 0
    for begin, (end, new) in sorted(changes.items()):
        pieces += [data[position:begin], new]
        position = end
    lines = b"".join([*pieces, data[position:]]).decode().split("\n")
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _changes(code: str, names: Mapping[str, str]) -> dict[int, tuple[int, bytes]]:
    """What to replace in a program: from the begin of a part to its end and its new text, in bytes."""
    data = code.encode()
    starts = [0, *(match.end() for match in re.finditer(b"\n", data))]

    def offset(place: Position) -> int:
        return starts[place.line - 1] + place.column - 1

    changes = {}
    for tree in parse(code):
        if tree.ast_type == ASTType.Comment:
            begin, end = offset(tree.location.begin), offset(tree.location.end)
            changes[begin] = end, b"\n" if data[begin:end].endswith(b"\n") else b""
            continue
        for node, (old, new) in _renamed_nodes(tree, names):
            begin = offset(node.location.begin)  # of `-p(1)` the minus, of `#show p/1.` the directive
            begin += len("#show") if node.ast_type in _DIRECTIVES else 0
            begin = data.index(old, begin)
            changes[begin] = begin + len(old), new
    return changes


def _renamed_nodes(tree: AST, names: Mapping[str, str]) -> Iterator[tuple[AST, tuple[bytes, bytes]]]:
    """Yield the nodes of `tree` that have a name or a string in `names`, with its old and its new text."""
    for node in walk(tree):
        old = name_of(node)
        if old in names:
            is_text = node.ast_type == ASTType.SymbolicTerm and node.symbol.type == SymbolType.String
            old, new = (str(String(text)) if is_text else text for text in (old, names[old]))
            yield node, (old.encode(), new.encode())


def name_of(node: AST) -> str:
    """The name of a predicate, a function or a constant, or the text of a string; "" for other nodes."""
    if node.ast_type == ASTType.Function or node.ast_type in _DIRECTIVES:
        return node.name
    if node.ast_type == ASTType.SymbolicTerm:
        symbol = node.symbol
        if symbol.type == SymbolType.String:
            return symbol.string
        if symbol.type == SymbolType.Function:
            return symbol.name
    return ""


def renamed_answer_sets(answer_sets: frozenset[AnswerSet], names: Mapping[str, str]) -> frozenset[AnswerSet]:
    """Return answer sets with their predicates, constants and strings renamed."""
    known: dict[str, str] = {}
    for atom in {atom for atoms, _ in answer_sets for atom in atoms}:
        known[atom] = str(_renamed_symbol(parse_term(atom), names))
    return frozenset((tuple(sorted(known[atom] for atom in atoms)), costs) for atoms, costs in answer_sets)


def same_but_retold(gold: Sequence[Outcome], new: Sequence[Outcome], retelling: Retelling) -> bool:
    """Whether a retold problem has the outcomes of the original up to the names, on every instance."""
    return all(
        old.answer_sets is not None
        and renamed_answer_sets(old.answer_sets, retelling.names) == other.answer_sets
        for old, other in zip(gold, new, strict=True)
    )


def _renamed_symbol(symbol: Symbol, names: Mapping[str, str]) -> Symbol:
    if symbol.type == SymbolType.String:
        return String(names.get(symbol.string, symbol.string))
    if symbol.type != SymbolType.Function:
        return symbol
    arguments = [_renamed_symbol(argument, names) for argument in symbol.arguments]
    return Function(names.get(symbol.name, symbol.name), arguments, symbol.positive)


def retelling_faults(problem: Problem, retelling: Retelling) -> Iterator[UserError]:
    """Yield what is missing in a retelling of `problem`, is there in vain, or merges two names."""
    trees = tuple(tree for code in _programs(problem) for tree in parse(code))
    named = {name.lstrip("-") for name, _ in predicates(Statement("", 0, trees))} - {""}
    constants = _names_of(trees) - named
    instructions = {step.instruction for step in problem.encoding.instructed}
    found = [
        *_key_faults("predicate", retelling.predicates, named),
        *_key_faults("instruction", retelling.instructions, instructions),
        *_key_faults("constant", retelling.constants, constants, all_needed=False),
        *_name_faults(retelling, named | constants, _strings(trees)),
        *_text_faults(retelling, _names_of(parse(problem.encoding.program))),
    ]
    yield from (fault(problem, retelling, what, remedy) for what, remedy in found)


def _programs(problem: Problem) -> list[str]:
    return [problem.encoding.program, *problem.instances.values()]


def _name_faults(retelling: Retelling, names: set[str], strings: set[str]) -> Iterator[tuple[str, str]]:
    """New names that clingo does not read as names, and names that become one."""
    for old, new in retelling.names.items():
        if old not in strings and (not _IDENTIFIER.fullmatch(new) or new == "not"):
            yield f"{new!r} is not a name", "begin it with a small letter"
    new_names = Counter(retelling.names.get(name, name) for name in names)
    for name in sorted(name for name, count in new_names.items() if count > 1):
        yield f"two names become {name}", "give one of them another new name"


def _text_faults(retelling: Retelling, in_program: set[str]) -> Iterator[tuple[str, str]]:
    """New names that the texts do not have, and old names that a text still has as code.

    The description names every predicate. It or an instruction names every constant that the program has.
    """
    texts = (retelling.description, *retelling.instructions.values())
    for new in retelling.predicates.values():
        if not _is_named(new, retelling.description):
            yield f"the description never names {new}", "name it with its arguments"
    for old, new in retelling.constants.items():
        if old in in_program and not _is_named(new, "\n".join(texts)):
            yield f"the texts never name {new}", "name it in the description"
    for old, new in retelling.names.items():
        found = [text for text in texts if re.search(rf"(?<![\w#]){re.escape(old)}[(/`]", text)]
        if found and old not in retelling.names.values():
            yield f"a text has the old name {old}: {found[0][:60]}", f"write {new}"


def _is_named(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _names_of(trees: Iterable[AST]) -> set[str]:
    """The names of all predicates, functions and constants, and the texts of all strings."""
    return {name_of(node) for tree in trees for node in walk(tree)} - {""}


def _strings(trees: Iterable[AST]) -> set[str]:
    """The texts of all strings, without those that are also names."""
    symbols = [node.symbol for tree in trees for node in walk(tree) if node.ast_type == ASTType.SymbolicTerm]
    names = {symbol.name for symbol in symbols if symbol.type == SymbolType.Function}
    return {symbol.string for symbol in symbols if symbol.type == SymbolType.String} - names


def _key_faults(
    kind: str, given: Iterable[str], expected: set[str], all_needed: bool = True
) -> Iterator[tuple[str, str]]:
    """Names and instructions that are missing or of no use."""
    for missing in sorted(expected - set(given)) if all_needed else ():
        yield f"the {kind} {missing!r} is missing", "add it"
    for unknown in sorted(set(given) - expected):
        yield f"there is no {kind} {unknown!r}", "remove it or correct it"


def fault(problem: Problem, retelling: Retelling, what: str, remedy: str) -> UserError:
    """A fault of a retelling."""
    return UserError(f"{retelling.domain}: {what}", where=problem.folder / FILE, remedy=remedy)
