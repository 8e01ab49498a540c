"""A folder of generated problems: written by several processes, and continued where an earlier run ended."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path

from tqdm.auto import tqdm

from scripts.asp.solver import Solver
from scripts.data.generator.problem import LEVELS, NothingFits, generate
from scripts.data.generator.templates import templates_by_level
from utils_ft import BENCHMARKS, UserError, check_writable, one_writer

WORKERS = 2
_NAME = re.compile(r"p(\d+)_(\d+)_(\d)")


@dataclass
class Written:
    """What a run has written.

    Attributes:
        problems: The folders of new problems.
        kept: The number of problems that were there before.
        rules: The number of rules in new problems.
        failed: The numbers of the items for which no problem came out.
    """

    problems: list[Path] = field(default_factory=list)
    kept: int = 0
    rules: int = 0
    failed: list[int] = field(default_factory=list)


def generate_folder(
    out: Path, problems: int, seed: int = 0, level: int | None = None, benchmarks: Path = BENCHMARKS
) -> Written:
    """Write generated problems to a folder. Problems of the same seed and levels that it has are kept.

    Arguments:
        out: The folder.
        problems: The number of problems.
        seed: Decides all random choices.
        level: From 1 (short programs of simple rules) to 5, or None for all levels in turn.
        benchmarks: The problems whose training rules give a part of the templates.

    Returns:
        What was written.

    Raises:
        UserError: There is no such level, `problems` is not positive, the folder cannot be written, or one of
            the processes was killed.
    """
    if level is not None and level not in LEVELS:
        raise UserError(f"there is no level {level}", remedy="give --level 1, 2, 3, 4 or 5, or leave it out")
    if problems < 1:
        raise UserError(f"{problems} problems cannot be written", remedy="give --problems 1 or more")
    check_writable(out, folder=True)
    with one_writer(out, inside=True):
        present = {
            int(n[2]) for file in out.glob("generated_*/p*/encoding.lp") if (n := _own(file, seed, level))
        }
        todo = [index for index in range(problems) if index not in present]
        written = Written(kept=problems - len(todo))
        if todo:
            _write_all(
                out, todo, written, partial(_item, seed=seed, level=level, benchmarks=benchmarks, out=out)
            )
        return written


def _own(file: Path, seed: int, level: int | None) -> re.Match | None:
    """The parts of a problem's name if it is of this seed and has the level that its number gets."""
    match = _NAME.fullmatch(file.parent.name)
    return (
        match if match and int(match[1]) == seed and int(match[3]) == _level(int(match[2]), level) else None
    )


def _level(index: int, level: int | None) -> int:
    return index % len(LEVELS) + 1 if level is None else level


def _write_all(out: Path, todo: Sequence[int], written: Written, item: partial) -> None:
    """Write the problems with the numbers `todo`; two processes work at once, and few are waited for."""
    # A forked process has the templates from here.
    templates_by_level((item.keywords["benchmarks"],), item.keywords["seed"])
    pool = ProcessPoolExecutor(WORKERS, mp_context=get_context(), initializer=_start_process)
    waiting = iter(todo)
    try:
        running: set[Future] = {pool.submit(item, index) for index in islice(waiting, 2 * WORKERS)}
        with tqdm(desc="generating", total=len(todo), unit="problem", disable=None) as bar:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    _count(future.result(), written)
                    bar.update()
                    bar.set_postfix(rules=written.rules)
                running |= {pool.submit(item, index) for index in islice(waiting, len(done))}
    except BrokenExecutor:
        raise UserError(
            "a process that generates problems was killed, most likely because memory ran out",
            where=out,
            remedy="free some memory, then run the same command again; the finished problems are kept",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    """Prepare a process of the pool. It ends with the command, and an interrupt ends it without a message.

    A problem that is half written then is not seen, and the next run removes it.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as it is in the background of a script
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    parent = parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _count(result: tuple[int, Path | None, int], written: Written) -> None:
    index, folder, rules = result
    written.rules += rules
    if folder is None:
        written.failed.append(index)
    else:
        written.problems.append(folder)


def _item(
    index: int, seed: int, level: int | None, benchmarks: Path, out: Path
) -> tuple[int, Path | None, int]:
    """Write problem `index`. Return its number, its folder and the number of its rules."""
    try:
        problem = generate(seed, index, _level(index, level), _solver(), (benchmarks,))
    except NothingFits:
        return index, None, 0
    return index, problem.write(out), len(problem.steps)


_SOLVERS: list[Solver] = []


def _solver() -> Solver:
    """The solver of this process, with one worker."""
    if not _SOLVERS:
        _SOLVERS.append(Solver(1))
    return _SOLVERS[0]
