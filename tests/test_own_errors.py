"""Repair rows from a model's own errors: which answers give one, what it says, and the files that training goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from scripts import own_errors, prompts
from scripts.asp_solver import Solver
from scripts.base_models import _smoke_model
from scripts.benchmarks import Problem, read_problems, split_of
from scripts.data_converter import Report, Telling, convert_folder, tellings
from scripts.feedback import complaint
from utils_ft import BENCHMARKS, UserError, digest


@pytest.fixture(scope="module")
def solver() -> Iterator[Solver]:
    with Solver() as solver:
        yield solver


@pytest.fixture(scope="module")
def problem() -> Problem:
    return next(problem for problem in read_problems() if problem.family == "graphs" and len(problem.encoding.instructed) > 4)


class Clumsy:
    """Writes the gold code of a telling, and then something that depends on the number of the step."""

    SLIPS = (" )", "\n:- not nowhere.", "\nnowhere(1).", "", "\n:- nowhere(X) not.")

    def __init__(self, telling: Telling):
        self.codes = [code for _, code in telling.original.steps]
        self.asked: list[list[prompts.Message]] = []

    def answers(self, conversations: Sequence[list[prompts.Message]]) -> list[str]:
        self.asked += conversations
        return [self.codes[step] + (self.SLIPS[step] if step < len(self.SLIPS) else "") for step in range(len(conversations))]


def test_what_the_solver_complains_of_becomes_a_row(problem: Problem, solver: Solver) -> None:
    told = tellings(problem, 1, Random(digest("own errors", "0", problem.id)), solver, Report())[-1]
    assert told.names, "in a vocabulary of its own"
    writer = Clumsy(told)
    rows, report = own_errors.own_errors(writer, [problem], solver)
    metas = [row["meta"] for row in rows]
    assert {meta["step"]: meta["corruption"] for meta in metas} == {0: "own error", 1: "unsatisfiable", 4: "own error"}
    assert report.dropped["own error: the solver has nothing against it"] == 1
    for row, meta in zip(rows, metas, strict=True):
        outcome = solver.answer_sets(meta["context"] + meta["broken"])
        assert meta["error"] == complaint(outcome, meta["context"]) != ""
        assert not complaint(solver.answer_sets(meta["context"] + meta["fixed"]), meta["context"])
        asked = prompts.repair(meta["instruction"], meta["broken"], meta["error"])
        assert row["messages"] == [*asked, prompts.answer(writer.codes[meta["step"]])]
        assert meta["split"] == "train" and meta["kind"] == "repair" and meta["vocabulary"] == told.names
    assert [len(messages) for messages in writer.asked] == [2 * step + 2 for step in range(len(writer.codes))], "gold history"


def test_the_command_writes_a_folder_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = _smoke_model(tmp_path / "smoke"), tmp_path / "data"
    with pytest.raises(UserError, match="train"):
        own_errors.main(model, data=data)
    convert_folder(out=data, profile="smoke")
    own_errors.main(model, data=data, problems=8, max_new_tokens=8, samples=2)
    rows = [json.loads(line) for line in (data / "own_errors" / "train.jsonl").read_text().splitlines()]
    mine = [row for row in rows if row["meta"].get("corruption") == "own error"]
    converted = (data / "train.jsonl").read_text().splitlines()
    assert mine and len(rows) == len(mine) + min(len(mine), len(converted))
    splits = split_of(read_problems(), BENCHMARKS)
    assert {splits[f"{row['meta']['family']}/{row['meta']['problem']}"] for row in mine} == {"train"}
    assert (data / "own_errors" / "valid.jsonl").read_text() == (data / "valid.jsonl").read_text()
    report = json.loads((data / "own_errors" / "report.json").read_text())
    assert report["proofs"]["messages reproduced by the solver, fixes accepted"] == len(mine)
    assert f"own error      {len(mine):6}" in capsys.readouterr().out
