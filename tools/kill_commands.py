"""Kill the long commands at random moments, run them again, and compare with an undisturbed run.

    python -m tools.kill_commands --kills 20
    python -m tools.kill_commands --only two_fuses

`two_fuses` is no kill: two processes fuse one run at the same time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from utils_ft import ROOT, UserError, command, file_sha256


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        words: Its command line, without `python -m`.
        folder: The folder below the working folder that has its result. The command starts without it.
        state: The function that reads from that folder what must be the same.
        after: The name of the case whose result the command reads, or "".
        twice: Whether two processes run the command at the same time, and none is killed.
    """

    words: tuple[str, ...]
    folder: str
    state: Callable[[Path], Any]
    after: str = ""
    twice: bool = False


def _files(folder: Path) -> dict[str, str]:
    """The hash of every file whose name does not begin with a dot, nor that of a folder above it."""
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(name): file_sha256(folder / name) for name in names if not name.name.startswith(".")}


def _run_state(folder: Path) -> dict[str, Any]:
    """The adapters of a run's checkpoints, and its losses."""
    found = {
        path: digest for path, digest in _files(folder).items() if path.endswith("adapter_model.safetensors")
    }
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found | {name: metrics[name] for name in ("losses", "eval_losses", "recipe", "base")}


def _run_and_model(folder: Path) -> dict[str, Any]:
    """A run, and the files of the model that was fused from it."""
    return _run_state(folder) | _files(folder.parents[1] / FUSED)


def _run_and_pairs(folder: Path) -> dict[str, Any]:
    """A run on preference pairs, and the files of its pairs."""
    return _run_state(folder) | _files(folder.parents[1] / "data" / "smoke" / "preferences")


def _scores(folder: Path) -> dict[str, Any]:
    """The scores, without the time that they took."""
    return json.loads((folder / "scores.json").read_text(encoding="utf-8")) | {"seconds": None}


def _answers(folder: Path) -> dict[str, str]:
    """The stored answers and the paraphrases. The report counts the requests of the last run only."""
    return {name: digest for name, digest in _files(folder).items() if name != "report.json"}


FUSED = "local_models/ft_smoke_pytorch"

CASES = {
    "convert": Case(("scripts.data_converter",), "data/smoke", _files),
    "train": Case(("scripts.train_pytorch", "--max-steps", "12"), "adapters/smoke_pytorch", _run_and_model),
    "train_preferences": Case(
        ("scripts.train_preferences", "--problems", "3"),
        "adapters/smoke_preferences",
        _run_and_pairs,
        after="train",
    ),
    "fuse": Case(("scripts.fuse",), FUSED, _files, after="train"),
    "two_fuses": Case(("scripts.fuse",), FUSED, _files, after="train", twice=True),
    "evaluate": Case(
        (
            *("scripts.evaluate", "--model", "local_models/smoke", "--out", "scores/scores.json"),
            *("--problems", "1", "--k", "0,1", "--max-new-tokens", "12"),
        ),
        "scores",
        _scores,
    ),
    "paraphrase": Case(
        (
            *("scripts.data_augmentor", "--provider", "local", "--model", "smoke", "--tries", "1"),
            *("--benchmarks", "problems", "--out", "paraphrases", "--styles", "natural"),
        ),
        "paraphrases",
        _answers,
    ),
    "own_errors": Case(
        (
            *("scripts.own_errors", "--model", "local_models/smoke", "--out", "own"),
            *("--problems", "3", "--max-new-tokens", "12"),
        ),
        "own",
        _files,
    ),
    "generate": Case(
        (
            *("scripts.generate", "--model", "local_models/smoke", "--problem", "problem.md"),
            *("--steps", "steps.txt", "--out", "program/program.lp", "--max-new-tokens", "12"),
        ),
        "program",
        _files,
    ),
    "problems": Case(
        ("scripts.data_generator", "--out", "generated", "--problems", "6"), "generated", _files
    ),
    "export": Case(
        ("scripts.export_gguf", "--model", "local_models/smoke", "--out", "exported/model.gguf"),
        "exported",
        _files,
    ),
}


def main(kills: int = 20, only: str = ",".join(CASES), seed: int = 0) -> None:
    """Kill each command at random moments of its run, run it again to its end, and compare the results.

    Each moment has a working folder of its own. The exit code is 1 if a result differs.

    Arguments:
        kills: How often each command is killed.
        only: The commands, with commas between: convert, train, train_preferences, fuse, two_fuses, evaluate,
            paraphrase, own_errors, generate, problems, export.
        seed: Decides the moments.
    """
    import typer

    names = only.split(",")
    if unknown := sorted(set(names) - set(CASES)):
        raise UserError(f"unknown command {unknown[0]!r}", remedy=f"some of {', '.join(CASES)}")
    different = 0
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        _prepare(base)
        for earlier in sorted({CASES[name].after for name in names} - {""}):
            _run(CASES[earlier].words, base)
        for name in names:
            different += check(name, CASES[name], base, kills, Random(f"{seed}/{name}"))
    if different:
        raise typer.Exit(1)


def _prepare(base: Path) -> None:
    """Make the inputs of all commands: the smoke model, converted rows, and a few problems."""
    _run(("scripts.base_models", "--model-type", "smoke"), base)
    _run(CASES["convert"].words, base)
    problems = ROOT / "data" / "benchmarks" / "scheduling"
    for folder in sorted(path for path in problems.iterdir() if path.is_dir())[:4]:
        shutil.copytree(folder, base / "problems" / "scheduling" / folder.name)
    shutil.copy(folder / "problem.md", base / "problem.md")
    (base / "steps.txt").write_text("Choose a time.\nNo two at once.\nShow it.\n", encoding="utf-8")


def check(name: str, case: Case, base: Path, kills: int, rng: Random) -> int:
    """Kill one command `kills` times and print what came of it. Returns how many results differ.

    Arguments:
        name: What the printed lines call the command.
        case: The command.
        base: The working folder, which is copied for each run.
        kills: How often the command is killed.
        rng: Decides the moments.
    """
    whole = _copy(base, f"{name}-whole", case)
    start = time.monotonic()
    _run(case.words, whole)
    seconds = time.monotonic() - start
    expected = case.state(whole / case.folder)
    different = killed = 0
    for number in range(kills):
        work = _copy(base, f"{name}-{number}", case)
        if case.twice:
            killed += _run_twice(case.words, work)
            what = "with two processes"
        else:
            moment = rng.uniform(0.1, seconds)
            killed += _run_and_kill(case.words, work, moment)
            _run(case.words, work)
            what = f"after a kill at {moment:.2f} s"
        if case.state(work / case.folder) != expected:
            different += 1
            print(f"{name}: another result {what}", flush=True)
        shutil.rmtree(work)
    done = "refused the second process" if case.twice else "killed"
    print(f"{name}: {seconds:.1f} s, {killed} of {kills} {done}, {different} results differ", flush=True)
    return different


def _copy(base: Path, name: str, case: Case) -> Path:
    """A copy of the working folder without the result of a command."""
    work = shutil.copytree(base, base.with_name(name))
    shutil.rmtree(work / case.folder, ignore_errors=True)
    return work


def _start(words: tuple[str, ...], work: Path) -> subprocess.Popen:
    work.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"FT_WORKDIR": str(work), "FT_PROFILE": "smoke", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=work,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )


def _run(words: tuple[str, ...], work: Path) -> None:
    """Run a command to its end. UserError with its output if it fails. Code 1 is that of a poor result."""
    process = _start(words, work)
    output, _ = process.communicate()
    if process.returncode not in (0, 1) or "Traceback" in output:
        raise UserError(f"{' '.join(words)} failed with {process.returncode}:\n{output[-2000:]}")


def _run_twice(words: tuple[str, ...], work: Path) -> bool:
    """Run a command in two processes at the same time. Returns whether one of them was refused.

    UserError if both were refused, or if the message does not name the process that works.
    """
    processes = [_start(words, work) for _ in range(2)]
    ends = []
    for process in processes:
        output, _ = process.communicate()
        ends.append((process.returncode, process.pid, output))
    ends.sort()
    (first, holder, _), (second, _, output) = ends
    named = re.search(rf"another process writes here: process {holder} ", output)
    if first or second not in (0, 2) or (second and not named):
        told = "\n".join(f"{code}: {text[-1000:]}" for code, _, text in ends)
        raise UserError(f"{' '.join(words)} in two processes ended with {told}")
    return second == 2


def _run_and_kill(words: tuple[str, ...], work: Path, moment: float) -> bool:
    """Start a command, and kill it and its children at a moment. Returns whether it was still running."""
    process = _start(words, work)
    try:
        process.communicate(timeout=moment)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True


if __name__ == "__main__":
    command(main)()
