"""Retellings: the program of a problem in another domain, the same up to the names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.asp.solver import Solver
from scripts.data.checks import check_problem
from scripts.data.conversion import convert
from scripts.data.problems import Problem, read_collection
from scripts.data.retellings import Retelling, read_retellings, renamed_code, retelling_faults, retold
from scripts.data.settings import ConversionSettings
from tests.examples import shipped_problem
from utils_ft import UserError

SETTINGS = ConversionSettings(conversations=10, repairs=4)


@pytest.fixture(scope="module")
def problem() -> Problem:
    """A problem with one retelling that renames predicates, constants and a shown term."""
    return shipped_problem("argumentation/bread_jury")


def changed(problem: Problem, **changes: object) -> Problem:
    """The problem with a change in its first retelling."""
    return replace(problem, retellings=(replace(problem.retellings[0], **changes),))


def faults(problem: Problem, solver: Solver) -> str:
    """What the check finds."""
    return "\n".join(fault.what for fault in check_problem(problem, solver).faults)


def test_every_shipped_retelling_is_complete_and_of_a_training_problem() -> None:
    collection = read_collection()
    told = [problem for problem in collection.problems if problem.retellings]
    assert told and {collection.splits[problem.id] for problem in told} == {"train"}
    for problem in told:
        for retelling in problem.retellings:
            assert [fault.what for fault in retelling_faults(problem, retelling)] == [], problem.id
            assert retelling.description != problem.description
            instructions = [step.instruction for step in retold(problem, retelling).encoding.instructed]
            expected = [retelling.instructions[step.instruction] for step in problem.encoding.instructed]
            assert instructions == expected, problem.id
        domains = [retelling.domain for retelling in problem.retellings]
        assert len(set(domains)) == len(domains), problem.id


def test_a_shipped_retelling_passes_the_check(problem: Problem, solver: Solver) -> None:
    assert faults(problem, solver) == ""


def test_names_are_replaced_on_the_syntax_tree() -> None:
    code = (
        'p(1;2) :- -q(a;b), r(p,"p q",f(a)), P = n-1. % p(a)\n#const n = 5.\n'
        "#show -q/1.\n#show show(X) : r(X,_,_)."
    )
    names = {
        "p": "loaf",
        "q": "bread",
        "a": "rye",
        "f": "oven",
        "n": "most",
        "p q": "two loaves",
        "show": "tell",
    }
    expected = (
        'loaf(1;2) :- -bread(rye;b), r(loaf,"two loaves",oven(rye)), P = most-1.\n#const most = 5.\n'
        "#show -bread/1.\n#show tell(X) : r(X,_,_)."
    )
    assert renamed_code(code, names) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predicates": {"loaf": "film"}}, "the predicate 'baker' is missing"),
        ({"instructions": {}}, "is missing"),
        ({"constants": {"nowhere": "x"}}, "there is no constant 'nowhere'"),
        ({"constants": {"rye": "thaw", "wheat": "thaw"}}, "two names become thaw"),
        ({"constants": {"rye": "Amber"}}, "'Amber' is not a name"),
        ({"description": "Films."}, "the description never names"),
        ({"constants": {"winner": "laureate"}}, "the texts never name laureate"),
        ({"constants": {"winner": "champion", "rye": "a1", "oat": "b1"}}, "the answer sets are not the same"),
    ],
)
def test_the_check_finds_what_is_wrong(problem: Problem, solver: Solver, changes: dict, message: str) -> None:
    found = faults(changed(problem, **changes), solver)
    assert message in found and problem.retellings[0].domain in found


def test_an_old_name_in_a_retold_text_is_a_fault(problem: Problem, solver: Solver) -> None:
    texts = dict(problem.retellings[0].instructions)
    texts["Show the final ranking."] = "Show final(L,R)."
    assert "a text has the old name final" in faults(changed(problem, instructions=texts), solver)


@pytest.mark.parametrize("text", ["{}", "[1]", "[{}]", '[{"domain": "x", "more": 1}]', "[", "null"])
def test_a_file_of_another_form_is_one_message(text: str, tmp_path: Path) -> None:
    (tmp_path / "retellings.json").write_text(text)
    with pytest.raises(UserError, match=r"retellings\.json"):
        read_retellings(tmp_path)


def test_retellings_take_turns_with_the_problem_as_it_is(problem: Problem) -> None:
    rows, report = convert([problem], {problem.id: "train"}, SETTINGS)
    conversations = [row for row in rows["train"] if row["meta"]["kind"] == "conversation"]
    retelling = problem.retellings[0]
    domains = [row["meta"].get("retelling") for row in conversations]
    told = [row for row in conversations if "retelling" in row["meta"]]
    assert len(told) >= 4 and domains[:4] == [None, retelling.domain] * 2
    for row in told:
        assert retelling.description in row["messages"][0]["content"]
        assert "loaf" not in json.dumps(row["messages"])
    expected = [retelling.instructions[step.instruction] for step in problem.encoding.instructed]
    plain = [row for row in told if row["meta"]["naming"] == "original"]
    asked = [[turn["content"] for turn in row["messages"] if turn["role"] == "user"] for row in plain]
    assert expected in asked
    assert report.verified["retellings with the same answer sets up to the names"] == 1
    retold_rows = sum(count for key, count in report.rows.items() if "retold" in key)
    assert retold_rows == sum("retelling" in row["meta"] for row in rows["train"]) > 3


def test_without_the_setting_and_outside_of_training_nothing_is_retold(problem: Problem) -> None:
    own = convert([problem], {problem.id: "train"}, replace(SETTINGS, retellings=False))[0]["train"]
    valid = convert([problem], {problem.id: "valid"}, SETTINGS)[0]["valid"]
    assert not [row for row in own + valid if "retelling" in row["meta"]]


def test_a_retelling_that_the_solver_does_not_verify_is_dropped(problem: Problem) -> None:
    wrong = changed(problem, constants={"winner": "champion", "rye": "a1", "oat": "b1"})
    incomplete: Retelling = replace(problem.retellings[0], predicates={})
    both = replace(wrong, retellings=(*wrong.retellings, incomplete))
    rows, report = convert([both], {problem.id: "train"}, SETTINGS)
    assert not [row for row in rows["train"] if "retelling" in row["meta"]]
    assert report.dropped["retelling: other answer sets"] == report.dropped["retelling: not complete"] == 1
