"""Other names of the constants in the facts: what is renamed, what stays, and that the gold program keeps its
meaning.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from scripts.asp.solver import Solver
from scripts.data.gold import solve
from scripts.data.problems import Problem, read_problem
from scripts.data.renamed_constants import LONGEST, SUFFIX, with_renamed_constants
from tests.examples import write_problem

ENCODING = """% Each node has one tint.
{ tint(N, C) : hue(C) } = 1 :- node(N).

% The inn is red.
:- not tint(inn, red).
"""
FACTS = 'hue(red;blue). node(inn). node(mill). size(mill, 3). label(mill, "old mill"). node. % mill\n'


def colouring(folder, **instances: str) -> Problem:
    return read_problem(write_problem(folder / "p", "Tints of `node(N)`.", ENCODING, **instances), "f")


def test_constants_and_strings_get_new_names_and_what_the_encoding_names_stays(tmp_path):
    problem = with_renamed_constants(colouring(tmp_path, one=FACTS, two="size(3, 4).\n"), Random(0))
    assert list(problem.instances) == ["one", "two", f"one{SUFFIX}"], "an instance of numbers is not repeated"
    renamed = problem.instances[f"one{SUFFIX}"]
    assert "mill" not in renamed and "blue" not in renamed and "old" not in renamed
    for kept in ("hue(red;", "node(inn).", ", 3)", "label(", " node."):
        assert kept in renamed
    assert problem.instances["one"] == FACTS and problem.example == ("one", FACTS)


def test_one_constant_has_one_new_name_in_all_instances_and_a_large_instance_is_left_out(tmp_path):
    many = "".join(f"node(n{number}).\n" for number in range(LONGEST // 10))
    problem = colouring(tmp_path, large=many, one="node(mill).\n", two="size(mill, 1).\n")
    found = with_renamed_constants(problem, Random(0)).instances
    assert f"large{SUFFIX}" not in found
    one, two = found[f"one{SUFFIX}"], found[f"two{SUFFIX}"]
    assert one.removeprefix("node(").removesuffix(").") == two.removeprefix("size(").removesuffix(", 1).")


def test_gold_programs_have_as_many_answer_sets_with_other_constants(solver: Solver, problems: list[Problem]):
    """On shipped problems of several families."""
    families = {problem.family: problem for problem in problems}
    same = compared = 0
    for problem in list(families.values())[::5]:
        wider = with_renamed_constants(problem, Random(problem.id))
        for name in set(wider.instances) - set(problem.instances):
            pair = {key: wider.instances[key] for key in (name.removesuffix(SUFFIX), name)}
            own, new = solve(replace(problem, instances=pair), problem.encoding.program, solver)
            compared += 1
            same += len(own.answer_sets) == len(new.answer_sets)
    assert compared >= 8 and same == compared
