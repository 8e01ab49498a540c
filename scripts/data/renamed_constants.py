"""Instances under other names of their constants.

A rule that lists the constants of an instance, such as `colour(N, (red;green))`, may be right on that
instance and is wrong on others. With other constants in the facts it is wrong. Numbers stay, as programs
compute with them.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from clingo.ast import ASTType

from scripts.asp.syntax import parse, walk
from scripts.data.predicate_renaming import fresh_names
from scripts.data.problems import Problem
from scripts.data.retellings import name_of, renamed_code

SUFFIX = " renamed"
"""The end of the name of an instance with other constants."""

LONGEST = 50_000
"""Characters of an instance that is renamed, at most. The syntax tree of a larger one takes seconds."""


def with_renamed_constants(problem: Problem, rng: Random) -> Problem:
    """Return a problem with each instance twice: as it is, and under new names of its constants and strings.

    Names that the encoding has stay, because they mean something there. An instance without any other name is
    not repeated.
    """
    short = {name: facts for name, facts in problem.instances.items() if len(facts) <= LONGEST}
    constants, others = set(), _names(problem.encoding.program)
    for facts in short.values():
        for node in (node for tree in parse(facts) for node in walk(tree)):
            (constants if node.ast_type == ASTType.SymbolicTerm else others).add(name_of(node))
    texts = "\n".join([problem.source, problem.description, *problem.instances.values()])
    names = fresh_names(constants - others - {""}, texts, rng)
    renamed = {name: renamed_code(facts, names) for name, facts in short.items()}
    new = {
        f"{name}{SUFFIX}": facts for name, facts in renamed.items() if facts != renamed_code(short[name], {})
    }
    return replace(problem, instances=problem.instances | new)


def _names(program: str) -> set[str]:
    """All names and strings of a program."""
    return {name_of(node) for tree in parse(program) for node in walk(tree)}
