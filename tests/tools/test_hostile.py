"""The gate against clingo's own lexer, and hostile answers in all parts of an evaluation."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from scripts.asp.solver import Limits, Solver
from scripts.data.problems import Problem
from scripts.evaluation.grader import graders_of
from scripts.inference.requests import MAX_NEW_TOKENS
from tools.hostile_runs import HOSTILE, disagreement, generator_for, random_texts, wrong_results


def test_the_gate_sees_all_that_clingos_lexer_sees(
    problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m tools.hostile gate` tries more texts."""
    monkeypatch.chdir(tmp_path)  # no file of this name can be opened here
    programs = [problem.source for problem in problems[::9]]
    found = {text: disagreement(text) for text in islice(random_texts(7, programs), 1500)}
    assert not {text: kind for text, kind in found.items() if kind}


def test_no_hostile_answer_passes_and_no_right_one_fails(problems: list[Problem], smoke: Path) -> None:
    """`python -m tools.hostile answers` lets a model write a thousand."""
    chosen = [problem for problem in problems if problem.name == "crane_deadlock"]
    limits = Limits(cpu_seconds=0.5, memory_bytes=128 * 2**20)
    with Solver(2, limits) as solver:
        graders, _ = graders_of(chosen, solver)
        generator = generator_for(chosen, smoke)
        assert wrong_results(generator, graders) == []
    assert generator.asked > 3 * len(HOSTILE)
    assert 100 < generator.longest <= 4096 - MAX_NEW_TOKENS
