"""What this machine does in a second. Each measure is a subcommand that prints a small table.

    python -m scripts.bench solver        checks per second, live workers against one process per check
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, takewhile
from pathlib import Path

import typer

from scripts.asp_solver import Outcome, Request, Solver
from scripts.benchmarks import read_problems
from utils_ft import BENCHMARKS, UserError, command

COLOURING = """
node(1..6). edge(1,2..4). edge(2,4..6). edge(3,4..5). edge(4,5..6). colour(red;green;blue).
{paint(N,C) : colour(C)} = 1 :- node(N).
:- edge(N,M), paint(N,C), paint(M,C).
#show paint/2.
"""


def solver(benchmarks: Path = BENCHMARKS, seconds: float = 3.0, workers: int | None = None) -> None:
    """Checks per second through a `Solver`, and with a fresh process for each check.

    Three loads: to parse and ground a small colouring problem, to enumerate its answer sets, and to parse and ground
    every problem of the folder on its first instance. --seconds is the time for each figure.
    """
    problems = read_problems(benchmarks)
    loads = {
        "ground a small problem": [Request(COLOURING)],
        "solve a small problem": [Request(COLOURING, solve=True)],
        f"ground {len(problems)} problems": [
            Request(f"{next(iter(problem.instances.values()))}\n{problem.encoding.program}") for problem in problems
        ],
    }
    workers = workers or os.cpu_count() or 1
    print(f"{workers} workers{'':20} live/s   process each/s   times as fast")
    for name, load in loads.items():
        with Solver(workers) as live:
            list(live.run(load * workers))  # started and warm
            fast = _rate(live.run, load, seconds)
        slow = _rate(lambda requests: _one_process_each(requests, workers), load, seconds)
        print(f"{name:28} {fast:7,.0f} {slow:16.1f} {fast / slow:15.0f}", flush=True)


def _rate(run: Callable[[Iterator[Request]], Iterator[Outcome]], load: list[Request], seconds: float) -> float:
    """Outcomes per second of `load` in rotation. UserError where a program of the load does not pass."""
    count, start = 0, time.perf_counter()
    for outcome in run(takewhile(lambda _: time.perf_counter() < start + seconds, cycle(load))):
        if not outcome.passes:
            raise UserError(f"the solver says {outcome.verdict}: {outcome.message}", remedy="python -m scripts.benchmarks check")
        count += 1
    return count / (time.perf_counter() - start)


def _one_process_each(requests: Iterator[Request], workers: int) -> Iterator[Outcome]:
    """The outcomes of `requests`, each from a process of its own, as many at a time as there are workers."""

    def alone(request: Request) -> Outcome:
        with Solver(1) as fresh:
            return next(iter(fresh.run([request])))

    with ThreadPoolExecutor(workers) as pool:
        while part := list(islice(requests, workers)):
            yield from pool.map(alone, part)


def main() -> None:
    """The command line: one subcommand a measure, made from its signature."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback()(lambda: None)
    for measure in (solver,):
        app.registered_commands += command(measure).registered_commands
    app()


if __name__ == "__main__":
    main()
