"""Measure how fast this machine checks programs and writes answers.

python -m tools.speed solver        checks per second: live worker processes against one process per check
python -m tools.speed generate      answers per second: all prompts together against one after another

The speed of training: python -m tools.speed_train.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scripts.asp.solver import Outcome, Request, Solver
from scripts.data.problems import read_problems
from scripts.inference.requests import MAX_NEW_TOKENS
from utils_ft import BENCHMARKS, UserError, command, evenly_spaced

if TYPE_CHECKING:  # imports torch
    from scripts.inference.generator import Generator

COLOURING = """
node(1..6). edge(1,2..4). edge(2,4..6). edge(3,4..5). edge(4,5..6). colour(red;green;blue).
{paint(N,C) : colour(C)} = 1 :- node(N).
:- edge(N,M), paint(N,C), paint(M,C).
#show paint/2.
"""


def solver(benchmarks: Path = BENCHMARKS, seconds: float = 3.0, workers: int | None = None) -> None:
    """Measure checks per second, with live worker processes and with a new process for each check.

    There are three loads: ground a small colouring problem, enumerate its answer sets, and ground every
    problem of a folder with its first instance.

    Arguments:
        benchmarks: The folder of problems.
        seconds: The time for each measurement, in seconds.
        workers: The number of processes at a time. Without it, one for each processor core.
    """
    problems = read_problems(benchmarks)
    loads = {
        "ground a small problem": [Request(COLOURING)],
        "solve a small problem": [Request(COLOURING, solve=True)],
        f"ground {len(problems)} problems": [
            Request(f"{next(iter(problem.instances.values()))}\n{problem.encoding.program}")
            for problem in problems
        ],
    }
    workers = workers or os.cpu_count() or 1
    print(f"{workers} workers{'':20} live/s   process each/s   times as fast")
    for name, load in loads.items():
        with Solver(workers) as live:
            list(live.run(load * workers))  # starts the workers
            fast = _rate(live.run, load, seconds)
        slow = _rate(lambda requests: _one_process_each(requests, workers), load, seconds)
        print(f"{name:28} {fast:7,.0f} {slow:16.1f} {fast / slow:15.0f}", flush=True)


def _rate(
    run: Callable[[Iterator[Request]], Iterator[Outcome]], load: list[Request], seconds: float
) -> float:
    """Outcomes per second when `run` gets the requests of `load` in rotation.

    Raises UserError if a program of the load does not pass.
    """
    count, start = 0, time.perf_counter()
    for outcome in run(takewhile(lambda _: time.perf_counter() < start + seconds, cycle(load))):
        if not outcome.passes:
            raise UserError(
                f"a program does not pass ({outcome.verdict}): {outcome.message}",
                remedy="python -m scripts.benchmarks check",
            )
        count += 1
    return count / (time.perf_counter() - start)


def _one_process_each(requests: Iterator[Request], workers: int) -> Iterator[Outcome]:
    """The outcome of each request from a new process, with `workers` processes at a time."""

    def in_new_process(request: Request) -> Outcome:
        with Solver(1) as fresh:
            return next(iter(fresh.run([request])))

    with ThreadPoolExecutor(workers) as pool:
        while group := list(islice(requests, workers)):
            yield from pool.map(in_new_process, group)


def generate(
    model: Path | None = None,
    benchmarks: Path = BENCHMARKS,
    problems: int = 8,
    items: int = 16,
    max_new_tokens: int = MAX_NEW_TOKENS,
    grammar: bool = False,
) -> None:
    """Measure answers per second to the steps of some problems, together and one after another.

    "Together" is this project's generator, "one after another" is generate() of transformers. In float32 the
    answers are equal. In bfloat16 they can differ where two tokens are almost equally likely.

    Arguments:
        model: The folder of the model. Without it, SmolLM2-135M-Instruct.
        benchmarks: The folder of problems.
        problems: How many problems to take, evenly spaced.
        items: How many steps to write one after another, evenly spaced.
        max_new_tokens: The largest number of tokens of an answer.
        grammar: Write together with the grammar, to measure its cost. Then the answers differ.
    """
    import torch

    from scripts.evaluation.grader import Grader
    from scripts.inference.generator import load_generator
    from scripts.lm.base_models import base_model
    from scripts.lm.chat import encode_prompt

    generator = load_generator(model or base_model("smollm"), max_new_tokens=max_new_tokens, grammar=grammar)
    chosen = evenly_spaced(read_problems(benchmarks), problems)
    with Solver() as idle:
        conversations = [
            request.messages for problem in chosen for request in Grader(problem, idle).requests()
        ]
    prompts = [encode_prompt(generator.tokenizer, messages) for messages in conversations]
    length = sum(map(len, prompts)) / len(prompts)
    print(f"{len(chosen)} problems, {len(prompts)} steps, {length:.0f} tokens per prompt", flush=True)
    print(f"{generator.model.dtype}, {torch.get_num_threads()} threads", flush=True)
    start = time.perf_counter()
    together = generator.generate(conversations)
    fast = len(conversations) / (time.perf_counter() - start)
    print(f"together            {fast:7.2f} answers/s", flush=True)
    some = evenly_spaced(list(range(len(conversations))), items)
    start = time.perf_counter()
    singly = _one_after_another(generator, [prompts[index] for index in some], max_new_tokens)
    slow = len(some) / (time.perf_counter() - start)
    same = sum(text == together[index] for text, index in zip(singly, some, strict=True))
    print(f"one after another   {slow:7.2f} answers/s, {same} of {len(some)} equal")
    print(f"times as fast       {fast / slow:7.1f}")


def _one_after_another(generator: Generator, prompts: list[list[int]], max_new_tokens: int) -> list[str]:
    """The greedy answer of transformers' `generate` to each prompt, given as token ids."""
    import torch

    network, end = generator.model, sorted(generator.end_tokens)
    texts = []
    for ids in prompts:
        tokens = torch.tensor([ids], device=network.device)
        output = network.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end[0],
        )
        texts.append(generator.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))
    return texts


def main() -> None:
    """The command line, with one subcommand for each measurement."""
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True
    )
    app.callback()(lambda: None)
    for measure in (solver, generate):
        app.registered_commands += command(measure).registered_commands
    app()


if __name__ == "__main__":
    main()
