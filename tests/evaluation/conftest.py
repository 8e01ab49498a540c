"""Problems and scores that the tests of the evaluation share."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.data.problems import Problem, read_problems
from scripts.evaluation.evaluate import evaluate
from scripts.evaluation.scores import Figures
from tests.fakes import ScriptedGenerator

FAMILIES = {"graphs": 2, "scheduling": 2, "planning": 1}


@pytest.fixture(scope="session")
def some_problems(problems: list[Problem]) -> list[Problem]:
    """A few problems of the families in `FAMILIES`."""
    return [
        problem
        for family, number in FAMILIES.items()
        for problem in [problem for problem in problems if problem.family == family][:number]
    ]


@pytest.fixture(scope="session")
def gold(some_problems: list[Problem]) -> dict[str, str]:
    """Instruction → gold code, for the steps of `some_problems`."""
    steps = [step for problem in some_problems for step in problem.encoding.instructed]
    assert len({step.instruction.strip() for step in steps}) == len(steps)
    return {step.instruction.strip(): step.code for step in steps}


@pytest.fixture(scope="session")
def gold_figures(some_problems: list[Problem], gold: dict[str, str]) -> Figures:
    """The figures of a generator that writes the gold code."""
    return evaluate(ScriptedGenerator.by_instruction(gold.__getitem__), some_problems)


@pytest.fixture
def old_layout(tmp_path: Path) -> Path:
    """A folder with one problem in the layout of the predecessor. The program carries its own facts."""
    folder = tmp_path / "set" / "Colouring"
    folder.mkdir(parents=True)
    (folder / "NL.txt").write_text("Colour the nodes. node(N), edge(N,M) and paint(N,C) are used.")
    (folder / "ASP.lp").write_text(
        "node(1..3). edge(1,2).\n\n% Each node has one colour.\n{ paint(N,(red;green)) } = 1 :- node(N).\n\n"
        "% Neighbours differ.\n:- edge(N,M), paint(N,C), paint(M,C).\n"
    )
    return folder.parent


@pytest.fixture
def old_problems(old_layout: Path) -> list[Problem]:
    """The problem in that folder."""
    return read_problems(old_layout)
