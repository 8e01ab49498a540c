"""The command `python -m scripts.generate`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.asp.solver import Solver
from tests.inference.colouring import DESCRIPTION, FACTS, INSTRUCTIONS
from utils_ft import ROOT


def run(folder: Path, **options: object) -> subprocess.CompletedProcess:
    """Run the command with `options`."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return subprocess.run(
        [sys.executable, "-m", "scripts.generate", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"FT_WORKDIR": str(folder), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def options(smoke: Path, tmp_path: Path) -> dict[str, Path]:
    """Options of the command, with the files that they name."""
    (tmp_path / "problem.md").write_text(DESCRIPTION)
    (tmp_path / "steps.txt").write_text("\n\n".join(INSTRUCTIONS[:2]) + "\n")
    (tmp_path / "facts.lp").write_text(FACTS)
    return {
        "model": smoke,
        "problem": tmp_path / "problem.md",
        "steps": tmp_path / "steps.txt",
        "out": tmp_path / "out.lp",
        "instance": tmp_path / "facts.lp",
    }


def test_the_steps_that_failed_are_listed_and_the_exit_code_is_1(
    options: dict[str, Path], tmp_path: Path, solver: Solver
) -> None:
    done = run(tmp_path, **options, k=1)
    assert done.returncode == 1, done.stderr
    assert "0 of 2 steps accepted" in done.stdout
    for number, instruction in enumerate(INSTRUCTIONS[:2], 1):
        assert f"step {number} failed after 2 attempts: {instruction}" in done.stdout
    messages = re.findall(r"^(?:<block>:.*: )?error: ", done.stdout, re.MULTILINE)
    assert len(messages) >= 2, "the solver messages"
    text = options["out"].read_text()
    assert solver.check(text).passes and all(instruction in text for instruction in INSTRUCTIONS[:2])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", "empty.txt", "no instruction"),
        ("steps", "none.txt", "none.txt: no such file"),
        ("k", -1, "--k"),
        ("repair-prompt", 3, "no repair prompt '3'"),
        ("problem", "long.md", "long.md: the prompt has"),
        ("instance", "open.lp", "open.lp:2: clingo cannot parse it"),
        ("model", "none", "no such model folder"),
    ],
)
def test_a_wrong_option_ends_in_one_message_and_exit_code_2(
    options: dict[str, Path], tmp_path: Path, name: str, value: object, message: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "long.md").write_text("Colour the map. " * 20_000)
    (tmp_path / "open.lp").write_text("node(1). %* open")
    wrong = value if isinstance(value, int) else tmp_path / value
    done = run(tmp_path, **options | {name: wrong})
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not options["out"].exists()
