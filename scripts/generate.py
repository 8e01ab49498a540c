"""Write a program from a description and a list of instructions, step by step, with the repair loop.

python -m scripts.generate --model DIR --problem FILE.md --steps FILE.txt --out FILE.lp [--instance FILE.lp]
python -m scripts.generate --endpoint http://127.0.0.1:8000/v1 --model NAME --problem FILE.md …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.evaluate import check_repair_prompt, refuse_with_endpoint, refuse_without
from scripts.inference.attempts import StepResult
from scripts.inference.repair_loop import LoopSettings
from scripts.inference.requests import MAX_NEW_TOKENS, Task, TextGenerator
from utils_ft import DATA, UserError, check_writable, command, read_text, show_path, write_text

if TYPE_CHECKING:
    from scripts.inference.endpoint_generator import EndpointGenerator
    from scripts.inference.generator import Generator


def main(
    model: str,
    problem: Path,
    steps: Path,
    out: Path,
    adapter: Path | None = None,
    instance: Path | None = None,
    k: int = 3,
    samples: int = 1,
    temperature: float = 0.8,
    grammar: bool = False,
    max_new_tokens: int = MAX_NEW_TOKENS,
    seed: int = 0,
    shots: int = 0,
    repair_prompt: str = "turn",
    endpoint: str | None = None,
    workers: int = 8,
    max_calls: int | None = None,
    max_tokens: int | None = None,
    answers: Path = DATA / "answers",
    dry_run: bool = False,
) -> None:
    """Write a program, one rule for each instruction.

    The solver checks each rule after the rules before it. If it finds an error, the model gets its code and
    the solver message and answers again. A rule that still fails stands in the file as a comment, and the
    exit code is 1.

    With --endpoint, the model is behind an address that speaks OpenAI's chat completions. Its key, if it
    needs one, is ENDPOINT_API_KEY in .env. Answers are kept, and none is paid for twice.

    Arguments:
        model: Folder of the model; with --endpoint its name there.
        problem: Text file with the description of the problem.
        steps: Text file with the instructions, one in each line.
        out: File for the program.
        adapter: Folder of a LoRA checkpoint over the model.
        instance: File of facts. The program must then have an answer set with these facts after each rule.
        k: Repairs of a rule, at most. 0 is the plain model.
        samples: Answers to each prompt. The first is greedy. The answer that passes the most checks is
            kept; then the answer sets that most samples share decide.
        temperature: Temperature of the samples.
        grammar: Let the model write well-formed statements only.
        max_new_tokens: Tokens of an answer, at most.
        seed: Seed of the samples.
        shots: Solved steps of training problems before each step, for models that were not fine-tuned.
        repair_prompt: turn: a repair is an independent turn with instruction, code and solver message.
            conversation: it goes on in the conversation of the step.
        endpoint: Base address of a server that speaks OpenAI's chat completions.
        workers: Requests to the endpoint at the same time.
        max_calls: Requests of this run, at most.
        max_tokens: Tokens of this run, at most.
        answers: Folder of the kept answers of endpoints.
        dry_run: Print the number of requests and an estimate of their tokens, and make none.
    """
    import typer

    from scripts.inference.programs import program_text

    task = _read_task(problem, steps, instance)
    check_writable(out, inputs=(problem, steps, instance, adapter, None if endpoint else model))
    if not 0 <= k < 1000 or samples < 1 or shots < 0:
        raise UserError("--k must be from 0 to 999, --shots at least 0 and --samples at least 1")
    check_repair_prompt(repair_prompt)
    limits = {"max_calls": max_calls, "max_tokens": max_tokens, "dry_run": dry_run}
    drawn = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    if endpoint:
        refuse_with_endpoint({"adapter": adapter, "grammar": grammar})
        opened = _open_endpoint(endpoint, model, {"workers": workers, "answers": answers, **limits}, drawn)
    else:
        refuse_without(limits)
        opened = _load(Path(model), adapter, grammar, drawn)
    with opened as generator:
        if not endpoint and (reason := generator.too_long(task.next_step(0, (), ()).messages)):
            raise UserError(
                reason.removeprefix("error: "),
                where=problem,
                remedy="shorten the description, or use a model with a larger context",
            )
        written = _write(generator, task, LoopSettings(0 if dry_run else k, samples, repair_prompt), shots)
        if endpoint:
            print(generator.spent + f"; up to {k} repairs of each rejected answer come on top" * dry_run)
    if dry_run:
        return
    write_text(out, program_text(task, written))
    _print_summary(written, out)
    if not all(step.ok for step in written):
        raise typer.Exit(1)


def _load(
    model: Path, adapter: Path | None, grammar: bool, drawn: Mapping[str, Any]
) -> AbstractContextManager[Generator]:
    """The generator of a model folder."""
    from scripts.inference.generator import load_generator

    return nullcontext(load_generator(model, adapter, grammar=grammar, **drawn))


def _open_endpoint(
    url: str, model: str, limits: Mapping[str, Any], drawn: Mapping[str, Any]
) -> AbstractContextManager[EndpointGenerator]:
    """The generator of a model behind an endpoint."""
    from scripts.inference.endpoint_generator import PaidLimits, open_endpoint
    from scripts.lm.endpoint import read_endpoint

    return open_endpoint(read_endpoint(url, model), PaidLimits(**limits), **drawn)


def _write(generator: TextGenerator, task: Task, settings: LoopSettings, shots: int) -> list[StepResult]:
    """Write the steps of a task, with a progress bar that shows each step."""
    from tqdm.auto import tqdm

    from scripts.asp.solver import Solver
    from scripts.inference.examples import ExampleLibrary, with_shots
    from scripts.inference.programs import write_programs

    library = ExampleLibrary.of_training_problems() if shots else None
    with Solver() as solver, tqdm(total=len(task.instructions), unit="step", disable=None) as bar:

        def show(_task: int, step: StepResult) -> None:
            bar.write(_step_line(step))
            bar.update()

        few_shot = with_shots(generator, library, shots)
        [written] = write_programs(few_shot, [task], settings, solver, on_step=show)
    return written


def _read_task(problem: Path, steps: Path, instance: Path | None) -> Task:
    """The task that the files describe. UserError without an instruction, or if the facts do not parse."""
    from scripts.asp.syntax import require_complete
    from scripts.data.problems import without_front_matter

    instructions = tuple(line.strip() for line in read_text(steps).splitlines() if line.strip())
    if not instructions:
        raise UserError(
            "there is no instruction in this file", where=steps, remedy="write one instruction in each line"
        )
    description = without_front_matter(read_text(problem)).strip()
    facts = read_text(instance) if instance else ""
    if instance:
        require_complete(facts, instance)
    return Task(description, instructions, facts)


def _step_line(step: StepResult) -> str:
    """A finished step as the terminal shows it."""
    if not step.ok:
        return f"%! failed: {step.instruction}"
    repairs = len(step.attempts) - 1
    return f"{step.code}  % after {repairs} repairs" if repairs else step.code


def _print_summary(steps: Sequence[StepResult], out: Path) -> None:
    """Print how many steps were accepted, and each step that was not, with its solver message."""
    accepted = sum(step.ok for step in steps)
    print(f"\n{accepted} of {len(steps)} steps accepted: {show_path(out)}")
    for number, step in enumerate(steps, 1):
        if not step.ok:
            print(f"\nstep {number} failed after {len(step.attempts)} attempts: {step.instruction}")
            print(f"{step.code}\n{step.best.message}")


if __name__ == "__main__":
    command(main)()
