"""Paraphrasing: write descriptions and instructions in other styles, and keep what is faithful.

Each description, and all instructions of an encoding together, is a task for each style. A model answers the
task; an answer that is not faithful is sent back with its errors. All answers are stored (`.answers`), so
that a run that was interrupted continues and no answer is paid for twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clingo.ast import ASTType
from tqdm.auto import tqdm

from scripts.asp.syntax import walk
from scripts.data.paraphrase.faithfulness import content, faithfulness_errors, vocabulary
from scripts.data.paraphrase.files import write_instructions, write_paraphrase
from scripts.data.paraphrase.providers import choose
from scripts.data.paraphrase.report import ParaphraseReport, TaskResult
from scripts.data.problems import Problem
from scripts.data.settings import PARAPHRASES, STYLES
from scripts.lm.paid_calls import Answer, Failed, RateLimitedClient, Refused, Stopped, in_parallel
from utils_ft import UserError, check_writable, one_writer, write_json

_STYLE_PROMPTS = {
    "natural": "in a natural, conversational tone, as a colleague would explain it: "
    "whole sentences, no lists, no jargon",
    "instructional": "in an instructional tone, as a teacher sets an exercise: "
    "direct requests, one thing after the other",
    "academic": "in an academic tone, as a paper states its problem: "
    "formal, precise and impersonal, with definitions",
}

_RULES = """Keep the meaning exactly: every condition, bound, exception, priority and default. Add nothing.
Write every predicate as it stands, in backquotes with its arguments, \
for instance `name(A, B)`; never rename one.
Keep numbers in digits as digits, and keep quoted strings and constants letter for letter.
Write no rules or other code, no heading such as "Rewritten text", and no remark of your own."""

_DESCRIPTION = """Below is the description of a problem that will be solved with Answer Set Programming. \
Rewrite it {tone}.

{rules}
All of these must appear: {keep}

Description:
{text}"""

_INSTRUCTIONS = """Below are numbered instructions; \
each describes one step of a program in Answer Set Programming. Rewrite
each of them {tone}. Names in capitals (X, T, Day) are variables of that step: keep them.

{rules}
Answer with the same numbers in the same order, one line each.
All of these must stay where they are used: {keep}

Instructions:
{text}"""

_AGAIN = """

Your last answer was:
{last}

It cannot be used: {faults}. Write it again with this mended."""


@dataclass(frozen=True)
class ParaphraseSettings:
    """How to paraphrase.

    Attributes:
        styles: Some of `STYLES`.
        model: The provider's model, or None for its default.
        instructions: Whether the instructions are paraphrased as well as the descriptions.
        tries: The most answers to one task.
        max_calls: The most requests of this run, or None.
        max_tokens: The most tokens of this run, or None.
        workers: The number of requests at the same time.
        per_minute: The most requests in a minute.
    """

    styles: Sequence[str] = STYLES
    model: str | None = None
    instructions: bool = False
    tries: int = 3
    max_calls: int | None = None
    max_tokens: int | None = None
    workers: int = 4
    per_minute: float = 60

    def check(self) -> None:
        """Raise UserError if a style is unknown or a number is not above 0."""
        if unknown := sorted(set(self.styles) - set(STYLES)):
            raise UserError(f"unknown style {unknown[0]!r}", remedy=f"one of: {', '.join(STYLES)}")
        for name in ("tries", "workers", "per_minute", "max_calls", "max_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:  # nan is in no range
                raise UserError(
                    f"--{name.replace('_', '-')} must be a number above 0, not {value}",
                    remedy="leave the option out for its default",
                )


@dataclass(frozen=True)
class ParaphraseTask:
    """One thing to paraphrase in one style: a description, or all instructions of an encoding.

    Attributes:
        problem: The problem.
        style: The style.
        kind: `description` or `instructions`.
        parts: The texts: the description, or each instruction.
        names: For each part, the names that must stay: predicates, constants and the variables of its rule.
    """

    problem: Problem
    style: str
    kind: str
    parts: tuple[str, ...]
    names: tuple[frozenset[str], ...]

    def joined(self, texts: Sequence[str]) -> str:
        """Return texts as one: a description as it is, instructions as a numbered list."""
        if self.kind == "description":
            return texts[0]
        return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))

    def prompt(self, text: str) -> str:
        """Return the prompt for `text`."""
        form = _DESCRIPTION if self.kind == "description" else _INSTRUCTIONS
        keep = content(text, frozenset().union(*self.names))
        return form.format(tone=_STYLE_PROMPTS[self.style], rules=_RULES, keep=keep, text=text)

    def split(self, answer: str, missing: Sequence[int]) -> dict[int, str]:
        """Return the paraphrases in an answer, by the index of their part.

        `missing` are the parts that were in the prompt, in its order. A part that the answer leaves out is
        not in the result.
        """
        if self.kind == "description":
            return {0: answer.strip()}
        lines = {int(number): line for number, line in re.findall(r"(?m)^\s*(\d+)[.)]\s+(.*\S)", answer)}
        return {index: lines[number] for number, index in enumerate(missing, 1) if number in lines}

    def result(self, status: str, **counts: object) -> TaskResult:
        """Return a result of this task."""
        return TaskResult(
            self.problem.family, self.problem.name, self.style, self.kind, status=status, **counts
        )


def tasks_of(problem: Problem, styles: Sequence[str], instructions: bool) -> list[ParaphraseTask]:
    """Return the tasks of a problem. UserError if clingo cannot parse its encoding."""
    program_names = vocabulary(problem.encoding)
    names: dict[str, frozenset[str]] = {}
    for step in problem.encoding.instructed:
        trees = (tree for statement in step.statements for tree in statement.trees)
        variables = {node.name for tree in trees for node in walk(tree) if node.ast_type == ASTType.Variable}
        names[step.instruction] = names.get(step.instruction, program_names) | variables
    tasks = []
    for style in styles:
        tasks.append(ParaphraseTask(problem, style, "description", (problem.description,), (program_names,)))
        if instructions and names:
            tasks.append(ParaphraseTask(problem, style, "instructions", tuple(names), tuple(names.values())))
    return tasks


def paraphrase(
    problems: Sequence[Problem],
    provider: str = "auto",
    settings: ParaphraseSettings = ParaphraseSettings(),
    *,
    out: Path = PARAPHRASES,
    dry_run: bool = False,
) -> ParaphraseReport:
    """Paraphrase problems and write the faithful paraphrases.

    If a run ends early (its budget is spent, the service does not answer), what it has written stays, and the
    same call continues it.

    Arguments:
        problems: The problems.
        provider: `auto`, `gemini`, `local` or `shipped`.
        settings: How to paraphrase.
        out: The folder to write to; it also gets the stored answers and `report.json`.
        dry_run: Count the requests and their tokens, and make none.

    Raises:
        UserError: A setting or the provider is not valid, a key or a model is missing, or another run writes
            to `out`.
    """
    settings.check()
    tasks = [
        task for problem in problems for task in tasks_of(problem, settings.styles, settings.instructions)
    ]
    chosen = choose(provider, settings.model)
    if not chosen.ask:
        results = tuple(_check_hand_written(task) for task in tasks)
        return ParaphraseReport(chosen.name, chosen.model, chosen.chosen, "", 0, 0, results)
    client = RateLimitedClient(
        chosen,
        out / ".answers",
        max_calls=settings.max_calls,
        max_tokens=settings.max_tokens,
        per_minute=settings.per_minute,
        dry_run=dry_run,
    )
    workers = settings.workers if chosen.parallel else 1
    if not dry_run:
        check_writable(out, folder=True)
    with nullcontext() if dry_run else one_writer(out, inside=True):
        results = tuple(_run_tasks(tasks, client, out, settings.tries, workers))
    spent = client.spent
    report = ParaphraseReport(
        chosen.name, chosen.model, chosen.chosen, client.reason, spent["calls"], spent["tokens"], results
    )
    if not dry_run:
        write_json(out / "report.json", report.as_json())
    return report


def _run_tasks(
    tasks: Sequence[ParaphraseTask], client: RateLimitedClient, out: Path, tries: int, workers: int
) -> list[TaskResult]:
    """Run all tasks and return their results, in order.

    On an error, wait for the answers to running requests.
    """
    title = f"paraphrasing with {client.provider.model}"
    with tqdm(total=len(tasks), desc=title, unit="text", disable=client.dry_run) as bar:

        def show(result: TaskResult) -> None:
            bar.update(result.status != "open")
            bar.set_postfix(calls=client.spent["calls"], tokens=client.spent["tokens"])

        return in_parallel(
            [partial(_run_task, task, client, out, tries) for task in tasks], workers, client, show
        )


class _TaskState:
    """How far a task is.

    Attributes:
        task: The task.
        missing: The parts without a faithful paraphrase.
        done: The faithful paraphrases, by the index of their part.
        why: What is wrong with the last answer.
        blocked: Whether the provider blocks this task: another try would change nothing.
    """

    def __init__(self, task: ParaphraseTask):
        self.task = task
        self.missing = list(range(len(task.parts)))
        self.done: dict[int, str] = {}
        self.why = ""
        self.blocked = False
        self._requests: list[int] = []  # for each answer; 0 if it was stored
        self._tokens = 0
        self._again = ""  # the last answer and its errors, for the next prompt

    def question(self) -> tuple[str, str]:
        """Return the next prompt, and the text in it."""
        text = self.task.joined([self.task.parts[index] for index in self.missing])
        return self.task.prompt(text) + self._again, text

    def count_failure(self, requests: int) -> None:
        """Count the requests of an answer that did not come."""
        self._requests.append(requests)

    def read(self, answer: Answer, requests: int) -> None:
        """Take what is faithful from an answer that took `requests` requests."""
        self._requests.append(requests)
        self._tokens += answer.tokens if requests else 0
        texts = self.task.split(answer.text, self.missing)
        errors = {index: ["its line is missing"] for index in self.missing}
        for index, text in texts.items():
            errors[index] = faithfulness_errors(self.task.parts[index], text, self.task.names[index])
        if not answer.stopped:
            self.done |= {index: texts[index] for index in self.missing if not errors[index]}
        self.missing = [index for index in self.missing if index not in self.done]
        if not self.missing:
            return
        self.blocked = answer.blocked
        self.why = f"the answer is {answer.stopped}" if answer.stopped else self._listed(errors)
        last = self.task.joined([texts.get(index, "") for index in self.missing])
        self._again = _AGAIN.format(last=last, faults=self.why) if answer.text else ""

    def _listed(self, errors: dict[int, list[str]]) -> str:
        """The errors of the missing parts, with the numbers that these have in the next prompt."""
        texts = [", ".join(errors[index]) for index in self.missing]
        if self.task.kind == "instructions":
            texts = [f"{number}: {text}" for number, text in enumerate(texts, 1)]
        return "; ".join(texts)

    def unfinished(self, status: str, why: str) -> TaskResult:
        """Return the result of a task whose question was not answered: `open` or `failed`."""
        lost = 0 if status == "open" else len(self.task.parts)
        return self.task.result(status, lost=lost, retried=self._retried(), tokens=self._tokens, why=why)

    def finished(self) -> TaskResult:
        """Return the result of a task whose questions were all answered."""
        texts = {self.task.parts[index]: text for index, text in sorted(self.done.items())}
        status = "dropped" if not self.done else "made" if any(self._requests) else "cached"
        return self.task.result(
            status,
            texts=texts,
            lost=len(self.task.parts) - len(texts),
            retried=self._retried(),
            tokens=self._tokens,
            why=self.why if self.missing else "",
        )

    def _retried(self) -> int:
        return sum(self._requests) - bool(self._requests and self._requests[0])


def _run_task(task: ParaphraseTask, client: RateLimitedClient, out: Path, tries: int) -> TaskResult:
    """Ask for paraphrases of a task until each part has a faithful one, at most `tries` times, and write
    them.
    """
    state = _TaskState(task)
    for attempt in range(1, tries + 1):
        prompt, text = state.question()
        try:
            answer, requests = client.ask(prompt, text, attempt)
        except Stopped as stopped:
            return state.unfinished("open", str(stopped))
        except (Failed, Refused) as error:
            state.count_failure(getattr(error, "requests", 1))
            return state.unfinished("failed", str(error))
        state.read(answer, requests)
        if not state.missing or state.blocked:
            break
    if state.done:
        _write(task, state.done, client, out)
    return state.finished()


def _write(task: ParaphraseTask, done: dict[int, str], client: RateLimitedClient, out: Path) -> None:
    origin = client.provider.name, client.provider.model
    if task.kind == "description":
        write_paraphrase(task.problem, task.style, done[0], *origin, out)
    else:
        texts = {task.parts[index]: done[index] for index in sorted(done)}
        write_instructions(task.problem, task.style, texts, *origin, out)


def _check_hand_written(task: ParaphraseTask) -> TaskResult:
    """Check the hand-written paraphrase of a task as any other, and return the result."""
    text = task.problem.paraphrases.get(task.style) if task.kind == "description" else None
    if not text:
        why = f"no hand-written {task.kind} in this style"
        return task.result("dropped", lost=len(task.parts), why=why)
    errors = faithfulness_errors(task.parts[0], text, task.names[0])
    if errors:
        return task.result("dropped", lost=len(task.parts), why=", ".join(errors))
    return task.result("shipped", texts={task.parts[0]: text})
