"""Templates: rules whose predicates are placeholders, from the training problems and from compositions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

from scripts.asp.syntax import Statement as ParsedStatement
from scripts.asp.syntax import trees_of
from scripts.data.generator.compositions import compose
from scripts.data.generator.reading import Unsupported, read_statement
from scripts.data.generator.rules import (
    Aggregate,
    Atom,
    Compare,
    Cost,
    Func,
    Op,
    Rule,
    Show,
    Statement,
    Var,
    nodes,
    rewrite,
)
from scripts.data.problems import read_collection
from scripts.data.shapes import OFTEN
from utils_ft import BENCHMARKS, content_hash

COMPOSED = 60_000  # rules of the grammar that are drawn to find out which shapes are frequent
FREQUENT = 1_300  # shapes that are templates until training and templates together show them often
RARE = 4_500  # further shapes of the grammar that are templates once
LENGTHS = {1: (5, 8), 2: (6, 11), 3: (7, 14), 4: (9, 17), 5: (11, 22)}
"""The fewest and the most rules of a problem of each level."""
GENERATED = "generated_"
"""How the family of a generated problem begins."""
TRAINING_WEIGHT = 3  # what a training rule counts for, against a rule that the grammar draws
MOST = 9  # literals of a rule, at most


@dataclass(frozen=True)
class Template:
    """Statements with placeholders, to be filled together; `kind` says what the last one is for."""

    statements: tuple[Statement, ...]
    kind: str


@cache
def read_template(code: str) -> Template | None:
    """The template of a text with a statement a line, or None if it has what the generator does not use."""
    trees = trees_of(code)
    lines = code.split("\n")
    parsed = [
        ParsedStatement(line, n, tuple(tree for tree in trees if tree.location.begin.line == n))
        for n, line in enumerate(lines, 1)
    ]
    try:
        statements = tuple(_with_placeholders([read_statement(one) for one in parsed]))
    except Unsupported:
        return None
    if not all(map(_usable, statements)):
        return None
    return Template(statements, kind_of(statements[-1]))


def _with_placeholders(statements: Sequence[Statement]) -> list[Statement]:
    """Statements whose predicates have the names q0, q1, …, and their shown terms as well."""
    names: dict[tuple[str, int], str] = {}

    def change(node):
        if isinstance(node, Atom):
            return replace(node, name=names.setdefault(node.key, f"q{len(names)}"))
        if isinstance(node, Show) and isinstance(node.term, Func) and node.term.name:
            key = (node.term.name, len(node.term.args))
            return replace(node, term=replace(node.term, name=names.get(key, "shown")))
        return node

    return [rewrite(statement, change) for statement in statements]


def _usable(statement: Statement) -> bool:
    """Whether the generator can fill a statement and say it."""
    if isinstance(statement, Show) and not isinstance(statement.term, Func | Var):
        return False
    if isinstance(statement, Rule) and not statement.body and not isinstance(statement.head, Aggregate):
        return False  # a fact
    size = sum(isinstance(node, Atom | Compare | Aggregate) for node in nodes(statement))
    if any(
        isinstance(node, Op)
        and node.left == node.right
        or isinstance(node, Compare)
        and len(set(node.terms)) < len(node.terms)
        for node in nodes(statement)
    ):
        return False  # `T-T`, `N = N`
    funcs = any(
        isinstance(arg, Func) for node in nodes(statement) if isinstance(node, Atom) for arg in node.args
    )
    return size <= MOST and not (funcs and not isinstance(statement, Show))


def kind_of(statement: Statement) -> str:
    """What a statement is for."""
    if isinstance(statement, Cost):
        return "cost"
    if isinstance(statement, Show):
        return "show"
    if isinstance(statement, Rule) and isinstance(statement.head, Aggregate):
        return "choice"
    if isinstance(statement, Rule) and (not statement.head or not isinstance(statement.head[0], Atom)):
        return "constraint"
    return "definition"


def level_of(code: str) -> int:
    """The lowest level of problems that have such statements."""
    level = 1
    if re.search(r"#(count|sum|min|max)|\.\.|[+*]|\w-\w", code):
        level = 2
    if re.search(r":~|#m\w+ize|\|\w|(^|[ (])-\w+\(|\) : \w+\(.*\)\.$|\n", code):
        level = 3
    if re.match(r"[^:]*#(count|sum)|[^{]*\) [;|] [^{]*:-|\w+ (<|!=|>)", code):
        level = 4
    size = len(re.findall(r"\w\(", code))
    return max(level, 2 if size > 3 else 1, 3 if size > 5 else 1, 4 if size > 6 else 1)


_ABSTRACT = re.compile(r'"[^"]*"|[A-Z_]\w*|[a-z]\w*\(|(?<!#)\b[a-z]\w*|\d+')


def sketch(code: str) -> str:
    """A shape that is cheap to compute: a text with its names, constants, numbers and variables taken out."""

    def stand_in(match: re.Match) -> str:
        word = match[0]
        if word == "not":
            return word
        if word[-1] == "(":
            return "f("
        return "V" if word[0] == "_" or word[0].isupper() else "0" if word[0].isdigit() else "c"

    return re.sub(r"\s+", "", _ABSTRACT.sub(stand_in, code))


def training_rules(roots: Iterable[Path]) -> list[str]:
    """The code of all training rules below `roots` that the generator can use."""
    found = []
    for root in roots:
        problems = read_collection(root).of_split("train")
        for problem in (one for one in problems if not one.family.startswith(GENERATED)):
            for step in problem.encoding.instructed:
                for statement in step.statements:
                    try:
                        tree = _with_placeholders([read_statement(statement)])[0]
                    except Unsupported:
                        continue
                    if _usable(tree):
                        found.append(tree.code())
    return found


@cache
def templates_by_level(roots: tuple[Path, ...] = (BENCHMARKS,), seed: int = 0) -> dict[int, list[str]]:
    """Return the templates of each level in an order that only `seed` decides.

    A shape is frequent if many training rules have it, or compositions often have it. A frequent shape has so
    many templates that training and templates together show it OFTEN times; another shape of compositions has
    one.
    """
    rng = Random(content_hash("deck", str(seed)))
    by_shape: dict[str, list[str]] = {}
    training: Counter[str] = Counter()
    score: Counter[str] = Counter()
    for code in training_rules(roots):
        key = sketch(code)
        training[key] += 1
        score[key] += TRAINING_WEIGHT
        by_shape.setdefault(key, []).append(code)
    for _ in range(COMPOSED):
        code = compose(rng)
        for line in code.split("\n"):
            score[key := sketch(line)] += 1
            by_shape.setdefault(key, []).append(code)
    ordered = [key for key, _ in score.most_common()]
    chosen = []
    for key in ordered[:FREQUENT]:
        chosen += [rng.choice(by_shape[key]) for _ in range(max(1, OFTEN - training[key]))]
    chosen += [rng.choice(by_shape[key]) for key in ordered[FREQUENT:] if not training[key]][:RARE]
    rng.shuffle(chosen)
    return _by_level(chosen)


def _by_level(templates: Sequence[str]) -> dict[int, list[str]]:
    """Give each template to a level that may have it, so that all levels last for as many problems."""
    found: dict[int, list[str]] = {level: [] for level in LENGTHS}
    for template in templates:
        levels = [level for level in found if level >= level_of(template)]
        found[min(levels, key=lambda level: len(found[level]) / sum(LENGTHS[level]))].append(template)
    return found
