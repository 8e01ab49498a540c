"""Twins: problems that are the same up to names and order, and near-twins, which differ in a few places.

Twins are on one side of a split. Otherwise a model is tested on what it was trained on.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from clingo.ast import ASTType

from scripts.asp.encoding import Encoding
from scripts.asp.syntax import walk
from utils_ft import UserError, content_hash

if TYPE_CHECKING:
    from scripts.data.problems import Problem

_WORD = re.compile(r'"(?:[^"\\\n]|\\[\\n"])*"|#?[A-Za-z_][\w\']*')
_NUMBER = re.compile(r"\b\d+\b")
# The share of what near-twins have in common, and the smallest size for which it is no chance. Two shipped
# problems have 0.57 and 0.06 in common at most.
_STATEMENTS, _FEWEST_STATEMENTS = 0.75, 5
_RUNS, _FEWEST_RUNS = 0.5, 12
_RUN = 4  # words of a run


@dataclass(frozen=True)
class Twins:
    """Two problems that are the same, or nearly.

    Attributes:
        first: The one that comes first.
        second: The other one.
        same: What is the same: `description`, `encoding`, or `description and encoding`.
        near: Whether it is only nearly the same.
    """

    first: Problem
    second: Problem
    same: str
    near: bool = False

    @property
    def what(self) -> str:
        """What the second problem has in common with the first."""
        names = ", up to names and order" if "encoding" in self.same else ""
        return f"{'nearly ' * self.near}the same {self.same} as {self.first.id}{names}"


@dataclass(frozen=True)
class _Content:
    """What is compared of a problem.

    Attributes:
        problem: The problem.
        encoding: The canonical encoding, or the words of the file if clingo cannot parse it.
        shapes: The statements with numbered names and without numbers.
        descriptions: The words of each description.
        runs: The runs of words of the problem's own description.
    """

    problem: Problem
    encoding: str
    shapes: Counter[str]
    descriptions: frozenset[str]
    runs: Counter[str]


def twins(problems: Sequence[Problem]) -> list[Twins]:
    """Return the pairs of problems with the same canonical encoding, or the same words in a description.

    Each problem is paired with the first one that has the same. An encoding that clingo cannot parse is
    compared as text.
    """
    return _twins([_content(problem) for problem in problems])


def near_twins(problems: Sequence[Problem]) -> list[Twins]:
    """Return the pairs of problems that differ in a few statements, numbers or words.

    They have the same encoding up to numbers, or three quarters of the statements of the longer one, or half
    of the runs of four words of their descriptions. Twins are among the pairs.
    """
    return _near_twins([_content(problem) for problem in problems])


def _twins(contents: Sequence[_Content]) -> list[Twins]:
    first_with: dict[str, Problem] = {}
    pairs: dict[tuple[str, str], tuple[Problem, Problem, set[str]]] = {}
    for content in contents:
        problem = content.problem
        texts = dict.fromkeys(sorted(content.descriptions), "description") | {content.encoding: "encoding"}
        for text, part in texts.items():
            first = first_with.setdefault(text, problem) if text else problem
            if first is not problem:
                pairs.setdefault((first.id, problem.id), (first, problem, set()))[2].add(part)
    return [Twins(first, second, " and ".join(sorted(parts))) for first, second, parts in pairs.values()]


def _near_twins(contents: Sequence[_Content]) -> list[Twins]:
    numberless = [Counter([_NUMBER.sub("N", content.encoding)]) for content in contents]
    by_encoding = chain(
        _pairs(numberless, 1, lambda common, first, second: True),
        _pairs(
            [content.shapes for content in contents],
            _FEWEST_STATEMENTS,
            lambda common, first, second: common >= _STATEMENTS * max(first, second),
        ),
    )
    by_words = _pairs(
        [content.runs for content in contents],
        _FEWEST_RUNS,
        lambda common, first, second: common >= _RUNS * (first + second - common),
    )
    found = dict.fromkeys(by_words, "description") | dict.fromkeys(by_encoding, "encoding")
    return [
        Twins(contents[first].problem, contents[second].problem, same, near=True)
        for (first, second), same in sorted(found.items())
    ]


def groups_of_twins(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Return the problems in groups: twins and near-twins are in one, and so are their twins."""
    return [[content.problem for content in group] for group in _groups(problems)]


def side_of_each(problems: Sequence[Problem]) -> dict[str, str]:
    """Return `train`, `valid` or `test` for the id of each problem, by its content.

    All problems of a group of twins are on one side. Of ten groups one is for validation and one for the
    test: the smallest hash of a canonical encoding decides.
    """
    sides = {}
    for group in _groups(problems):
        digit = int(min(content_hash(content.encoding) for content in group)[:8], 16) % 10
        side = {0: "valid", 1: "test"}.get(digit, "train")
        sides |= {content.problem.id: side for content in group}
    return {problem.id: sides[problem.id] for problem in problems}


def _groups(problems: Sequence[Problem]) -> list[list[_Content]]:
    contents = [_content(problem) for problem in problems]
    group_of = {content.problem.id: [content] for content in contents}

    def join(pairs: Iterable[Twins]) -> None:
        for pair in pairs:
            first, second = group_of[pair.first.id], group_of[pair.second.id]
            if first is not second:
                first += second
                group_of.update((content.problem.id, first) for content in second)

    join(_twins(contents))
    distinct = {(content.encoding, *content.runs): content for content in contents}
    join(_near_twins(list(distinct.values())))
    return _distinct(group_of.values())


def check_split(problems: Sequence[Problem], splits: Mapping[str, str], file: Path) -> None:
    """Raise UserError if twins are on two sides of a split. The error names all of them.

    Arguments:
        problems: The problems.
        splits: The side of each, by id.
        file: The split.json, for the message.
    """
    apart = [pair for pair in twins(problems) if splits[pair.first.id] != splits[pair.second.id]]
    if not apart:
        return
    lines = [f"{pair.second.id} ({splits[pair.second.id]}) has {pair.what}" for pair in apart]
    lines = [f"{line} ({splits[pair.first.id]})" for line, pair in zip(lines, apart, strict=True)]
    raise UserError(
        "the split separates twins:\n  " + "\n  ".join(lines),
        where=file,
        remedy="put both on one side, or remove one of the two problems",
    )


def canonical(encoding: Encoding) -> str:
    """Return the program in one layout and order, its names replaced by numbered ones.

    Two programs with the same canonical text are the same up to the names of predicates, constants and
    variables. The reverse does not always hold: the order of statements with equal shapes is not decided.
    """
    return _in_one_order(_statements(encoding))


def _content(problem: Problem) -> _Content:
    """What is compared of `problem`."""
    try:
        statements = _statements(problem.encoding)
        encoding = _in_one_order(statements)
    except UserError:
        statements, encoding = [], _words(problem.source)
    return _Content(
        problem,
        encoding,
        Counter(_NUMBER.sub("N", shape) for shape, _, _ in statements),
        frozenset(_words(text) for text in problem.descriptions().values()),
        _runs(problem.description),
    )


def _statements(encoding: Encoding) -> list[tuple[str, str, set[str]]]:
    """For each statement its text with numbered names, its text as it is, and its variables."""
    found = []
    for step in encoding.steps:
        for statement in step.statements:
            nodes = (node for tree in statement.trees for node in walk(tree))
            variables = {node.name for node in nodes if node.ast_type == ASTType.Variable}
            text = "\n".join(map(str, statement.trees))
            found.append((_with_numbered_names(text, variables, {}), text, variables))
    return found


def _in_one_order(statements: Sequence[tuple[str, str, set[str]]]) -> str:
    """The canonical text of statements."""
    names: dict[str, str] = {}
    in_order = sorted(statements, key=lambda statement: statement[0])
    return "\n".join(_with_numbered_names(text, variables, names) for _, text, variables in in_order)


def _words(text: str) -> str:
    return re.sub(r"\W+", " ", text).lower().strip()


def _runs(text: str) -> Counter[str]:
    """The runs of words of a text, each once."""
    words = _words(text).split()
    return Counter({" ".join(words[start : start + _RUN]) for start in range(len(words) - _RUN + 1)})


def _pairs(
    bags: Sequence[Counter[str]], fewest: int, are_near: Callable[[int, int, int], bool]
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of bags that are near, as their places.

    Arguments:
        bags: The bags. Only those with at least `fewest` elements are compared.
        fewest: The size of the smallest bag that is compared.
        are_near: Whether two bags are near, by the number of their common elements and by their sizes.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for place, bag in enumerate(bags):
        if bag.total() < fewest:
            continue
        common: Counter[int] = Counter()
        for element, count in bag.items():
            for other in holders[element]:
                common[other] += min(count, bags[other][element])
            holders[element].append(place)
        for other, number in common.items():
            if are_near(number, bags[other].total(), bag.total()):
                yield other, place


def _distinct(groups: Iterable[list[Problem]]) -> list[list[Problem]]:
    """The groups, each once."""
    return list({id(group): group for group in groups}.values())


def _with_numbered_names(text: str, variables: set[str], names: dict[str, str]) -> str:
    """Return a statement with numbered names, in the order of their first occurrence.

    `names` has the numbered names of predicates and constants so far, and gets the new ones. The variables of
    each statement are numbered from 0.
    """
    variable_names: dict[str, str] = {}

    def rename(match: re.Match) -> str:
        word = match[0]
        if word[0] == "#" or word in ("not", "_"):
            return word
        if word in variables:
            return variable_names.setdefault(word, f"V{len(variable_names)}")
        return names.setdefault(word, f"n{len(names)}")

    return _WORD.sub(rename, text)
