"""Repair rows from a model's own errors: which answers give a row, what it says, and the folder for the
training.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from random import Random

import pytest

from scripts.asp.solver import Solver, Verdict
from scripts.data.conversion import convert_folder
from scripts.data.problems import Problem, read_problem, read_problems, split_of
from scripts.data.renamed_problems import RenamedProblem, renamed_problems
from scripts.data.report import Report
from scripts.evaluation import results
from scripts.evaluation.own_errors import OWN_ERROR, OwnErrorSettings, own_errors
from scripts.inference.repair_loop import LoopSettings, write_steps
from scripts.inference.requests import StepRequest
from scripts.lm import prompts
from scripts.own_errors import main
from scripts.training.recipe import load_profile
from tests.examples import write_problem
from tests.fakes import ScriptedGenerator
from utils_ft import BENCHMARKS, UserError, content_hash

ERRORS = (" )", "\n:- #true.", "\nnowhere(1).", "", "\n:- nowhere(X) not.")
"""What is appended to the gold code of the first steps: steps 0, 1 and 4 are rejected."""


@pytest.fixture(scope="module")
def problem(problems: list[Problem]) -> Problem:
    """A problem with more than four steps."""
    return next(
        problem for problem in problems if problem.family == "graphs" and len(problem.encoding.instructed) > 4
    )


def renamed(problem: Problem, solver: Solver) -> RenamedProblem:
    """The problem under the predicate names of its rows."""
    rng = Random(content_hash("own errors", "0", problem.id))
    return renamed_problems(problem, 1, rng, solver, Report())[-1]


def test_a_rejected_answer_becomes_a_row_with_the_prompt_of_the_repair_loop(
    problem: Problem, solver: Solver
) -> None:
    source = renamed(problem, solver)
    assert source.names, "the predicates have new names"
    codes = [code for _, code in source.original.steps]
    texts = [code + error for code, error in zip_longest(codes, ERRORS[: len(codes)], fillvalue="")]
    generator = ScriptedGenerator.in_order(*texts)
    [(rows, report)] = own_errors(generator, [problem], solver)
    metas = [row["meta"] for row in rows]
    assert [meta["step"] for meta in metas] == [0, 1, 4]
    assert report.dropped["answer: the solver has nothing against it"] == len(codes) - 3
    for row, meta in zip(rows, metas, strict=True):
        loop = ScriptedGenerator.in_order(meta["broken"])
        request = StepRequest(
            [prompts.step(meta["instruction"])],
            meta["instruction"],
            meta["context"],
            solve=True,
            draft=meta["broken"],
        )
        write_steps(loop, [request], LoopSettings(1), solver)
        assert loop.asked[0] == row["messages"][:-1]
        assert row["messages"][-1] == prompts.answer(codes[meta["step"]])
        assert meta["split"] == "train" and meta["kind"] == "repair" and meta["vocabulary"] == source.names
    assert metas[1]["error"] == "UNSATISFIABLE"
    lengths = [len(messages) for messages in generator.asked]
    assert lengths == [2 * step + 2 for step in range(len(codes))], "each step comes after the gold steps"
    in_conversation = OwnErrorSettings(in_conversation=1.0)
    [(others, _)] = own_errors(ScriptedGenerator.in_order(*texts), [problem], solver, in_conversation)
    assert [row["meta"] for row in others] == [meta | {"form": "conversation"} for meta in metas]
    for row, meta in zip(others, metas, strict=True):
        asked = generator.asked[meta["step"]]
        repair = prompts.repair(meta["instruction"], meta["broken"], meta["error"], asked)
        assert row["messages"] == [*repair, prompts.answer(meta["fixed"])]


def test_a_wrong_arity_is_reported_before_a_missing_answer_set(solver: Solver, tmp_path: Path) -> None:
    """Below `not`, clingo only notes a wrong arity.

    The row has this note, though there is no answer set either.
    """
    folder = write_problem(
        tmp_path / "mine" / "family" / "colours",
        "Each `node(N)` gets a colour, `tint(N, C)`, of red and blue; `dark(N)` are the blue ones.",
        "% Each node has one tint.\n{ tint(N, (red;blue)) } = 1 :- node(N).\n\n"
        "% Show each tint of a node.\n#show tint/2.\n",
        two="node(1..2).\n",
    )
    problem = read_problem(folder, "family")
    names = renamed(problem, solver).names
    generator = ScriptedGenerator.in_order("", f":- {names['node']}(N), not {names['tint']}(N).")
    [(rows, _)] = own_errors(generator, [problem], solver)
    meta = rows[0]["meta"]
    assert solver.answer_sets(meta["context"] + meta["broken"]).verdict is Verdict.UNSATISFIABLE
    assert f"info: atom does not occur in any rule head:\n  {names['tint']}(N)" in meta["error"]


def test_the_command_writes_a_folder_to_train_on_and_does_nothing_twice(
    smoke: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    out = data / "own_errors"

    def run() -> None:
        main(smoke, data=data, problems=8, max_new_tokens=8, samples=2)

    with pytest.raises(UserError, match="train"):
        main(smoke, data=data)
    profile = load_profile("smoke")
    convert_folder(BENCHMARKS, data, profile.conversion(), limit=profile.problems)
    run()
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    mine = [row for row in rows if row["meta"].get("corruption") == OWN_ERROR]
    converted = (data / "train.jsonl").read_text().splitlines()
    assert mine and len(rows) == len(mine) + min(len(mine), len(converted))
    splits = split_of(read_problems(), BENCHMARKS)
    assert {splits[f"{row['meta']['family']}/{row['meta']['problem']}"] for row in mine} == {"train"}
    assert (out / "valid.jsonl").read_text() == (data / "valid.jsonl").read_text()
    report = json.loads((out / "report.json").read_text())
    assert report["rows"] == len(mine) and report["problems"] == 8
    capsys.readouterr()

    def fail(*_: object) -> None:
        raise AssertionError("finished work is done again")

    before = (out / "train.jsonl").read_bytes()
    monkeypatch.setattr("scripts.evaluation.own_errors.own_errors", fail)
    run()
    assert (out / "train.jsonl").read_bytes() == before
    assert "clingo's message" in capsys.readouterr().out
    monkeypatch.setattr(results, "SCORING_VERSION", results.SCORING_VERSION + 1)
    with pytest.raises(AssertionError, match="done again"):  # rows of another version do not count
        run()


def test_the_converted_rows_are_not_replaced(smoke: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would replace"):
        main(smoke, data=tmp_path, out=tmp_path)
