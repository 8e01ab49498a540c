"""A program from a description and a list of instructions, step by step, with the solver in the loop.

    python -m scripts.generate --model DIR --problem FILE.md --steps FILE.txt --out FILE.lp [--instance FILE.lp] [-k 3]

Write a step; check it in its context; on an error give the model its code and the solver's message, as in training;
at most k tries. k = 0 is the plain model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts import chat, prompts
from scripts.asp_solver import Outcome, Request, Solver
from scripts.decode import write
from scripts.feedback import complaint, context_of
from utils_ft import UserError, command, read_text, show_path, write_text

MAX_NEW_TOKENS = 160  # the longest gold statement of the shipped problems has 120


@dataclass(frozen=True)
class Writer:
    """A model that writes: the causal language model, its tokenizer, the tokens that end a turn, the most it may say."""

    model: Any
    tokenizer: Any
    ends: frozenset[int]
    max_new_tokens: int = MAX_NEW_TOKENS

    def answers(self, conversations: Sequence[list[prompts.Message]], on_done: Callable[[int], None] | None = None) -> list[str]:
        """What the model says next in each conversation, greedily."""
        tokens = [chat.encode_prompt(self.tokenizer, messages) for messages in conversations]
        written = write(self.model, tokens, set(self.ends), self.max_new_tokens, on_done=on_done)
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]


def load_writer(model: str | Path, adapter: str | Path | None = None, max_new_tokens: int = MAX_NEW_TOKENS) -> Writer:
    """Load a model folder, and with `adapter` a LoRA checkpoint over it, for generation on this machine's device."""
    from transformers import AutoModelForCausalLM

    from scripts.device import compute_dtype, device

    for folder in filter(None, (model, adapter)):
        if not Path(folder).is_dir():
            raise UserError("there is no such model folder", where=folder, remedy="train first, or name a folder with a config.json")
    tokenizer = chat.load_tokenizer(adapter if adapter and (Path(adapter) / "tokenizer.json").exists() else model)
    try:
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=compute_dtype()).to(device()).eval()
    except (OSError, ValueError) as error:
        raise UserError(f"the model cannot be loaded: {str(error).splitlines()[0]}", where=model,
                        remedy="name a folder with config.json and safetensors weights") from None
    if adapter:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, str(adapter)).merge_and_unload()
    return Writer(loaded, tokenizer, frozenset({chat.end_of_turn(tokenizer)}), max_new_tokens)


@dataclass(frozen=True)
class Task:
    """What to write: a description, the instructions in order, facts to check with, code that is there already."""

    description: str
    instructions: tuple[str, ...]
    facts: str = ""
    given: str = ""


@dataclass
class Written:
    """A step as it was written: its code, the solver's last word on it, each try with its complaint."""

    instruction: str
    code: str
    outcome: Outcome
    tries: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.tries[-1][1]


def write_programs(
    writer: Writer, tasks: Sequence[Task], k: int, solver: Solver, on_step: Callable[[int, Written], None] | None = None,
) -> list[list[Written]]:
    """Write all `tasks` side by side, each on its own history; `on_step` hears task number and step as they are accepted."""
    programs: list[list[Written]] = [[] for _ in tasks]
    for number in range(max((len(task.instructions) for task in tasks), default=0)):
        active = [index for index, task in enumerate(tasks) if number < len(task.instructions)]
        conversations = [_conversation(tasks[index], programs[index], number) for index in active]
        contexts = {index: _context(tasks[index], programs[index]) for index in active}
        drafts = dict(zip(active, writer.answers(conversations), strict=True))
        tries: dict[int, list[tuple[str, str]]] = {index: [] for index in active}
        outcomes: dict[int, Outcome] = {}
        for attempt in range(k + 1):
            codes = {index: prompts.code_of(text)[0] for index, text in drafts.items()}
            checked = solver.run(Request(contexts[index] + code) for index, code in codes.items())
            for (index, code), outcome in zip(codes.items(), checked, strict=True):
                outcomes[index] = outcome
                tries[index].append((code, complaint(outcome, contexts[index]) if code else "error: there is no code"))
            failing = [index for index in drafts if tries[index][-1][1]]
            if attempt == k or not failing:
                break
            asked = [prompts.repair(tasks[index].instructions[number], *tries[index][-1]) for index in failing]
            drafts = dict(zip(failing, writer.answers(asked), strict=True))
        for index in active:
            step = Written(tasks[index].instructions[number], tries[index][-1][0], outcomes[index], tries[index])
            programs[index].append(step)
            if on_step:
                on_step(index, step)
    return programs


def _conversation(task: Task, steps: Sequence[Written], number: int) -> list[prompts.Message]:
    history = [(step.instruction, step.code) for step in steps]
    return [*prompts.conversation(prompts.describe(task.description, task.given), history), prompts.step(task.instructions[number])]


def _context(task: Task, steps: Sequence[Written]) -> str:
    """What stands before the next step: a step that failed is left out, so that it spoils no later one."""
    return context_of(task.facts, task.given, [step.code for step in steps if step.ok])


def program_text(task: Task, steps: Sequence[Written], only_accepted: bool = True) -> str:
    """The program, each statement under its instruction; steps that failed appear as comments if `only_accepted`."""
    parts = [task.given] if task.given else []
    for step in steps:
        comment = "\n".join(f"% {line}" for line in step.instruction.splitlines())
        if step.ok or not only_accepted:
            parts.append(f"{comment}\n{step.code}")
        else:
            failed = "\n".join(f"%! {line}" for line in [*step.code.splitlines(), *step.tries[-1][1].splitlines()])
            parts.append(f"{comment}\n{failed}")
    return "\n\n".join(parts) + "\n"


def main(
    model: Path, problem: Path, steps: Path, out: Path, adapter: Path | None = None, instance: Path | None = None, k: int = 3,
) -> None:
    """Write a program for a description and a file of instructions, one a line. Exit code 1 where some step failed."""
    import typer

    instructions = tuple(line.strip() for line in read_text(steps).splitlines() if line.strip())
    if not instructions:
        raise UserError("there is no instruction in this file", where=steps, remedy="write one instruction a line")
    task = Task(read_text(problem), instructions, read_text(instance) if instance else "")

    def accepted(_: int, step: Written) -> None:
        repaired = f"  % after {len(step.tries) - 1} repairs" if len(step.tries) > 1 and step.ok else ""
        print(f"{step.code}{repaired}" if step.ok else f"%! failed: {step.instruction}", flush=True)

    with Solver() as solver:
        written = write_programs(load_writer(model, adapter), [task], k, solver, accepted)[0]
    write_text(out, program_text(task, written))
    failed = [(number, step) for number, step in enumerate(written, 1) if not step.ok]
    print(f"\n{len(written) - len(failed)} of {len(written)} steps accepted: {show_path(out)}")
    for number, step in failed:
        print(f"\nstep {number} failed after {len(step.tries)} tries: {step.instruction}\n{step.code}\n{step.tries[-1][1]}")
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    command(main)()
