"""A program from a description and a list of instructions, step by step, with the solver in the loop.

    python -m scripts.generate --model DIR --problem FILE.md --steps FILE.txt --out FILE.lp [--instance FILE.lp] [--k 3]

Write a step; check it in its context; on an error give the model its code and the solver's message, as in training;
at most k tries. k = 0 is the plain model. With the facts of an instance, a step that leaves no answer set is an error too.
"""

from __future__ import annotations

from pathlib import Path

from tqdm.auto import tqdm

from scripts.asp.solver import Solver
from scripts.data.problems import without_front_matter
from scripts.inference.attempts import StepResult
from scripts.inference.generator import MAX_NEW_TOKENS, load_generator
from scripts.inference.programs import Task, program_text, write_programs
from utils_ft import UserError, command, read_text, show_path, write_text


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
    """Write a program for a description and a file of instructions, one a line. Exit code 1 where some step failed.

    --samples writes that many answers a step, all but the first sampled at --temperature, and keeps what the solver gets
    furthest with and most of them agree on; --grammar lets the model write nothing but well-formed statements.
    --instance: facts that the program must have an answer set with; without them samples that are accepted mean the same.
    --max-new-tokens: how long an answer may be; no statement of the shipped problems needs so many.
    """
    import typer

    instructions = tuple(line.strip() for line in read_text(steps).splitlines() if line.strip())
    if not instructions:
        raise UserError(
            "there is no instruction in this file", where=steps, remedy="write one instruction a line"
        )
    if k < 0 or samples < 1:
        raise UserError("--k must be at least 0 and --samples at least 1")
    task = Task(
        without_front_matter(read_text(problem)).strip(),
        instructions,
        read_text(instance) if instance else "",
    )
    generator = load_generator(
        model, adapter, max_new_tokens, grammar=grammar, temperature=temperature, seed=seed
    )
    with Solver() as solver, tqdm(total=len(instructions), unit="step", disable=None) as bar:

        def done(_: int, step: StepResult) -> None:
            repaired = (
                f"  % after {len(step.attempts) - 1} repairs" if len(step.attempts) > 1 and step.ok else ""
            )
            bar.write(f"{step.code}{repaired}" if step.ok else f"%! failed: {step.instruction}")
            bar.update()

        written = write_programs(generator, [task], k, solver, done, samples)[0]
    write_text(out, program_text(task, written))
    failed = [(number, step) for number, step in enumerate(written, 1) if not step.ok]
    print(f"\n{len(written) - len(failed)} of {len(written)} steps accepted: {show_path(out)}")
    for number, step in failed:
        print(
            f"\nstep {number} failed after {len(step.attempts)} tries: {step.instruction}\n{step.code}\n{step.last.message}"
        )
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    command(main)()
