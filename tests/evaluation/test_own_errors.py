"""Repair rows from a model's own errors: which answers give one, what it says, and the files that training goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from random import Random

import pytest

from scripts.asp.solver import Solver, Verdict
from scripts.data.conversion import convert_folder
from scripts.data.problems import Problem, read_problems, split_of
from scripts.data.renamed_problems import RenamedProblem, renamed_problems
from scripts.data.report import Report
from scripts.evaluation import own_errors
from scripts.inference.attempts import StepRequest
from scripts.inference.repair_loop import write_steps
from scripts.lm import prompts
from scripts.lm.smoke_model import smoke_model
from scripts.training.recipe import load_profile
from utils_ft import BENCHMARKS, UserError, content_hash


@pytest.fixture(scope="module")
def solver() -> Iterator[Solver]:
    with Solver() as solver:
        yield solver


@pytest.fixture(scope="module")
def problem() -> Problem:
    return next(
        problem
        for problem in read_problems()
        if problem.family == "graphs" and len(problem.encoding.instructed) > 4
    )


SLIPS = (" )", "\n:- not nowhere.", "\nnowhere(1).", "", "\n:- nowhere(X) not.")


class Clumsy:
    """Writes the gold code of a telling, and then something that depends on the number of the step."""

    def __init__(self, codes: Sequence[str], slips: Sequence[str] = SLIPS):
        self.texts = [code + slip for code, slip in zip_longest(codes, slips[: len(codes)], fillvalue="")]
        self.asked: list[list[prompts.Message]] = []

    def generate(self, conversations: Sequence[list[prompts.Message]], _on_done: object = None) -> list[str]:
        self.asked += conversations
        return self.texts

    def sample(self, conversations: Sequence[list[prompts.Message]], count: int) -> list[list[str]]:
        return [[text] * count for text in self.generate(conversations)]


def told(problem: Problem, solver: Solver) -> RenamedProblem:
    """The telling that the rows of a problem are made in."""
    return renamed_problems(
        problem, 1, Random(content_hash("own errors", "0", problem.id)), solver, Report()
    )[-1]


def test_what_the_loop_would_complain_of_becomes_a_row_in_its_words(problem: Problem, solver: Solver) -> None:
    renamed_problem = told(problem, solver)
    assert renamed_problem.names, "in a vocabulary of its own"
    codes = [code for _, code in renamed_problem.original.steps]
    generator = Clumsy(codes)
    [(rows, report)] = own_errors.own_errors(generator, [problem], solver)
    metas = [row["meta"] for row in rows]
    assert [meta["step"] for meta in metas] == [0, 1, 4]
    assert report.dropped["answer: the solver has nothing against it"] == len(codes) - 3
    for row, meta in zip(rows, metas, strict=True):
        # The loop, asked for the same step with the same answer, goes on with the very messages of the row.
        loop = Clumsy([meta["broken"]], ())
        ask = StepRequest(
            [prompts.step(meta["instruction"])], meta["instruction"], meta["context"], solve=True
        )
        write_steps(loop, [ask], 1, solver, drafts=[meta["broken"]])
        assert loop.asked[0] == row["messages"][:-1] and row["messages"][-1] == prompts.answer(
            codes[meta["step"]]
        )
        assert (
            meta["split"] == "train"
            and meta["kind"] == "repair"
            and meta["vocabulary"] == renamed_problem.names
        )
    assert metas[1]["error"] == "UNSATISFIABLE"
    assert [len(messages) for messages in generator.asked] == [2 * step + 2 for step in range(len(codes))], (
        "gold history"
    )


def test_an_atom_that_nothing_defines_is_heard_of_before_the_answer_sets(
    solver: Solver, tmp_path: Path
) -> None:
    """Of a wrong arity below `not` the loop hears clingo's note; that there is no answer set either would come later."""
    folder = tmp_path / "mine" / "family" / "colours"
    (folder / "instances").mkdir(parents=True)
    (folder / "problem.md").write_text(
        "Each `node(N)` gets a colour, `tint(N, C)`, of red and blue; `dark(N)` are the blue ones."
    )
    (folder / "encoding.lp").write_text(
        "% Each node has one tint.\n{ tint(N, (red;blue)) } = 1 :- node(N).\n\n% Show each tint of a node.\n#show tint/2.\n"
    )
    (folder / "instances" / "two.lp").write_text("node(1..2).\n")
    [problem] = read_problems(tmp_path / "mine")
    names = told(problem, solver).names
    [(rows, _)] = own_errors.own_errors(
        Clumsy(["", f":- {names['node']}(N), not {names['tint']}(N)."], ()), [problem], solver
    )
    assert (
        solver.answer_sets(rows[0]["meta"]["context"] + rows[0]["meta"]["broken"]).verdict
        is Verdict.UNSATISFIABLE
    )
    assert f"info: atom does not occur in any rule head:\n  {names['tint']}(N)" in rows[0]["meta"]["error"]


def test_the_command_writes_a_folder_to_train_on(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, data = smoke_model(tmp_path / "smoke"), tmp_path / "data"
    with pytest.raises(UserError, match="train"):
        own_errors.main(model, data=data)
    smoke = load_profile("smoke")
    convert_folder(BENCHMARKS, data, smoke.conversion(), limit=smoke.problems)
    own_errors.main(model, data=data, problems=8, max_new_tokens=8, samples=2)
    rows = [json.loads(line) for line in (data / "own_errors" / "train.jsonl").read_text().splitlines()]
    mine = [row for row in rows if row["meta"].get("corruption") == own_errors.OWN_ERROR]
    converted = (data / "train.jsonl").read_text().splitlines()
    assert mine and len(rows) == len(mine) + min(len(mine), len(converted))
    splits = split_of(read_problems(), BENCHMARKS)
    assert {splits[f"{row['meta']['family']}/{row['meta']['problem']}"] for row in mine} == {"train"}
    assert (data / "own_errors" / "valid.jsonl").read_text() == (data / "valid.jsonl").read_text()
    report = json.loads((data / "own_errors" / "report.json").read_text())
    assert report["rows"] == len(mine) and report["problems"] == 8
    capsys.readouterr()

    def never(*_: object) -> None:
        raise AssertionError("what is done is not done again")

    before = (data / "own_errors" / "train.jsonl").read_bytes()
    monkeypatch.setattr(own_errors, "own_errors", never)
    own_errors.main(model, data=data, problems=8, max_new_tokens=8, samples=2)
    assert (
        data / "own_errors" / "train.jsonl"
    ).read_bytes() == before and "clingo's words" in capsys.readouterr().out
    monkeypatch.setattr(own_errors, "SCORING_VERSION", own_errors.SCORING_VERSION + 1)
    with pytest.raises(AssertionError, match="not done again"):  # another version is not what is done
        own_errors.main(model, data=data, problems=8, max_new_tokens=8, samples=2)
    with pytest.raises(UserError, match="would replace"):
        own_errors.main(model, data=data, out=data)
