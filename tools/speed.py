"""What this machine does in a second. Each measure is a subcommand that prints a small table.

python -m tools.speed solver        checks per second, live workers against one process per check
python -m tools.speed train         tokens per second and memory, the plain TRL recipe against ours
python -m tools.speed generate      answers per second, side by side against one after another
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, takewhile
from pathlib import Path

import typer

from scripts.asp.solver import Outcome, Request, Solver
from scripts.data.problems import read_problems
from scripts.evaluation.grader import Grader
from scripts.inference.generator import load_generator
from scripts.inference.requests import MAX_NEW_TOKENS
from scripts.lm.base_models import base_model
from scripts.lm.chat import encode_prompt
from utils_ft import BENCHMARKS, DATA, UserError, command, evenly_spaced

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
            Request(f"{next(iter(problem.instances.values()))}\n{problem.encoding.program}")
            for problem in problems
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


def train(
    model_type: str = "smollm",
    data: Path = DATA,
    steps: int = 3,
    qlora: bool | None = None,
    alone: bool = True,
) -> None:
    """Tokens per second and peak memory of training: plain TRL, ours, and with --alone each of our changes by itself.

    Both train on the rows of --data, in one run, a step each in turn. --qlora measures over an NF4 base only, --no-qlora
    without. On CUDA the model has random weights in the shape of Llama-3-8B.
    """
    from tools.speed_train import loads, machine, measure

    print(machine(), flush=True)
    for load in loads(model_type, data, steps, qlora):
        print(flush=True)
        for line in measure(load, alone):
            print(line, flush=True)


def _rate(
    run: Callable[[Iterator[Request]], Iterator[Outcome]], load: list[Request], seconds: float
) -> float:
    """Outcomes per second of `load` in rotation. UserError where a program of the load does not pass."""
    count, start = 0, time.perf_counter()
    for outcome in run(takewhile(lambda _: time.perf_counter() < start + seconds, cycle(load))):
        if not outcome.passes:
            raise UserError(
                f"the solver says {outcome.verdict}: {outcome.message}",
                remedy="python -m scripts.benchmarks check",
            )
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


def generate(
    model: Path | None = None,
    benchmarks: Path = BENCHMARKS,
    problems: int = 8,
    items: int = 16,
    max_new_tokens: int = MAX_NEW_TOKENS,
    grammar: bool = False,
) -> None:
    """Answers per second to the steps of some problems: `decode.write` on all of them, transformers' `generate` on a few.

    --items is how many are also answered one by one, spread evenly. In float32 the answers are the same; bfloat16 rounds, and
    of two tokens that are as likely the batch may take the other. Without --model it is SmolLM2. --grammar measures what
    the grammar costs; then the answers differ.
    """
    import torch

    generator = load_generator(model or base_model("smollm"), max_new_tokens=max_new_tokens, grammar=grammar)
    chosen = evenly_spaced(read_problems(benchmarks), problems)
    with Solver() as idle:
        conversations = [ask.messages for problem in chosen for ask in Grader(problem, idle).requests()]
    some = evenly_spaced(list(range(len(conversations))), items)
    prompts = [encode_prompt(generator.tokenizer, messages) for messages in conversations]
    end, network = sorted(generator.end_tokens), generator.model

    def alone(ids: list[int]) -> str:
        tokens = torch.tensor([ids], device=network.device)
        written = network.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end[0],
        )
        return generator.tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True)

    print(
        f"{len(chosen)} problems, {len(prompts)} steps, {sum(map(len, prompts)) / len(prompts):.0f} tokens a prompt, "
        f"{network.dtype}, {torch.get_num_threads()} threads",
        flush=True,
    )
    start = time.perf_counter()
    together = generator.generate(conversations)
    fast = len(prompts) / (time.perf_counter() - start)
    print(f"side by side        {fast:7.2f} answers/s", flush=True)
    start = time.perf_counter()
    singly = [alone(prompts[index]) for index in some]
    slow = len(some) / (time.perf_counter() - start)
    same = sum(text == together[index] for text, index in zip(singly, some, strict=True))
    print(
        f"one after another   {slow:7.2f} answers/s, {same} of {len(some)} the same\ntimes as fast       {fast / slow:7.1f}"
    )


def main() -> None:
    """The command line: one subcommand a measure, made from its signature."""
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True
    )
    app.callback()(lambda: None)
    for measure in (solver, train, generate):
        app.registered_commands += command(measure).registered_commands
    app()


if __name__ == "__main__":
    main()
