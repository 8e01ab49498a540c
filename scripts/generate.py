"""Write a program from a description and a list of instructions, step by step, with the repair loop.

python -m scripts.generate --model DIR --problem FILE.md --steps FILE.txt --out FILE.lp [--instance FILE.lp]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.inference.attempts import StepResult
from scripts.inference.requests import MAX_NEW_TOKENS, Task
from utils_ft import UserError, check_writable, command, read_text, show_path, write_text


def main(
    model: Path,
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
) -> None:
    """Write a program, one rule for each instruction.

    The solver checks each rule after the rules before it. If it finds an error, the model gets its code and
    the solver message and answers again. A rule that still fails stands in the file as a comment, and the
    exit code is 1.

    Arguments:
        model: Folder of the model.
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
    """
    import typer
    from tqdm.auto import tqdm

    from scripts.asp.solver import Solver
    from scripts.inference.generator import load_generator
    from scripts.inference.programs import program_text, write_programs
    from scripts.inference.repair_loop import LoopSettings

    task = _read_task(problem, steps, instance)
    check_writable(out)
    if k < 0 or samples < 1:
        raise UserError("--k must be at least 0 and --samples at least 1")
    generator = load_generator(model, adapter, max_new_tokens, grammar, temperature, seed)
    if reason := generator.too_long(task.next_step(0, (), ()).messages):
        raise UserError(
            reason.removeprefix("error: "),
            where=problem,
            remedy="shorten the description, or use a model with a larger context",
        )
    with Solver() as solver, tqdm(total=len(task.instructions), unit="step", disable=None) as bar:

        def show(_task: int, step: StepResult) -> None:
            bar.write(_step_line(step))
            bar.update()

        [written] = write_programs(generator, [task], LoopSettings(k, samples), solver, on_step=show)
    write_text(out, program_text(task, written))
    _print_summary(written, out)
    if not all(step.ok for step in written):
        raise typer.Exit(1)


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
