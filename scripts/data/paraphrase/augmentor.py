"""Paraphrases of problem descriptions and instructions in three tones, checked for faithfulness, paid for once.

    python -m scripts.data_augmentor --provider auto --dry-run

What passes the gate is written to data/paraphrases/<family>/<problem>/<style>.md; each answer is kept in `.answers`
beside them, so that a run that was stopped or killed goes on where it was. `data_converter --paraphrases` reads what is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from clingo.ast import ASTType
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from scripts.asp.syntax import walk
from scripts.data.paraphrase.faithfulness import complaints, content, vocabulary
from scripts.data.paraphrase.files import PARAPHRASES, Report, Row, write_instructions, write_paraphrase
from scripts.data.paraphrase.paid_calls import Failed, RateLimitedClient, Stopped
from scripts.data.paraphrase.providers import Refused, choose
from scripts.data.problems import STYLES, Problem
from utils_ft import UserError, write_json

# --- what is asked ----------------------------------------------------------------------------------------------

TONES = {
    "natural": "in a natural, conversational tone, as a colleague would explain it: whole sentences, no lists, no jargon",
    "instructional": "in an instructional tone, as a teacher sets an exercise: direct requests, one thing after the other",
    "academic": "in an academic tone, as a paper states its problem: formal, precise and impersonal, with definitions",
}

_RULES = """Keep the meaning exactly: every condition, bound, exception, priority and default. Add nothing.
Write every predicate as it stands, in backquotes with its arguments, for instance `name(A, B)`; never rename one.
Keep numbers in digits as digits, and keep quoted strings and constants letter for letter.
Write no rules or other code, no heading such as "Rewritten text", and no remark of your own."""

_DESCRIPTION = """Below is the description of a problem that will be solved with Answer Set Programming. Rewrite it {tone}.

{rules}
All of these must appear: {keep}

Description:
{text}"""

_INSTRUCTIONS = """Below are numbered instructions; each describes one statement of a program in Answer Set Programming. Rewrite
each of them {tone}. Names in capitals (X, T, Day) are variables of that statement: keep them.

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
class Task:
    """One thing to paraphrase: a description, or the instructions of an encoding; `names` are those known to each part."""

    problem: Problem
    style: str
    kind: str
    parts: tuple[str, ...]
    names: tuple[frozenset[str], ...]

    def joined(self, texts: Sequence[str]) -> str:
        """`texts` as they are sent: a description alone, instructions as a numbered list."""
        return (
            texts[0]
            if self.kind == "description"
            else "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
        )

    def prompt(self, text: str) -> str:
        form = _DESCRIPTION if self.kind == "description" else _INSTRUCTIONS
        keep = content(text, frozenset().union(*self.names))
        return form.format(tone=TONES[self.style], rules=_RULES, keep=keep, text=text)

    def split(self, answer: str, wanted: Sequence[int]) -> dict[int, str]:
        """The paraphrase of each part in an answer; a part that it left out is not there."""
        if self.kind == "description":
            return {0: answer.strip()}
        lines = {int(number): line for number, line in re.findall(r"(?m)^\s*(\d+)[.)]\s+(.*\S)", answer)}
        return {index: lines[number] for number, index in enumerate(wanted, 1) if number in lines}


def tasks_of(problem: Problem, styles: Sequence[str], instructions: bool) -> list[Task]:
    """The tasks of a problem; UserError where its encoding does not parse."""
    names = vocabulary(problem.encoding)
    spoken: dict[str, frozenset[str]] = {}
    for step in problem.encoding.instructed:
        trees = (tree for statement in step.statements for tree in statement.trees)
        variables = {node.name for tree in trees for node in walk(tree) if node.ast_type == ASTType.Variable}
        spoken[step.instruction] = spoken.get(step.instruction, names) | variables
    tasks = []
    for style in styles:
        tasks.append(Task(problem, style, "description", (problem.description,), (names,)))
        if instructions and spoken:
            tasks.append(Task(problem, style, "instructions", tuple(spoken), tuple(spoken.values())))
    return tasks


# --- the run ----------------------------------------------------------------------------------------------------


def paraphrase(
    problems: Sequence[Problem],
    provider: str = "auto",
    *,
    styles: Sequence[str] = STYLES,
    out: Path = PARAPHRASES,
    model: str | None = None,
    instructions: bool = False,
    tries: int = 3,
    max_calls: int | None = None,
    max_tokens: int | None = None,
    workers: int = 4,
    per_minute: float = 60,
    dry_run: bool = False,
) -> Report:
    """Paraphrase `problems` and write what is faithful below `out`; the report.

    A text that fails the gate is asked for again, with what was wrong named, up to `tries` times. A run that stops
    early (budget, service gone) is complete in itself: the same call again goes on. UserError for what a person can mend.
    """
    if unknown := sorted(set(styles) - set(STYLES)):
        raise UserError(f"unknown style {unknown[0]!r}", remedy=f"one of: {', '.join(STYLES)}")
    if min(tries, workers, per_minute) <= 0:
        raise UserError(
            "tries, workers and per-minute must be above 0", remedy="leave the option out for its default"
        )
    tasks = [task for problem in problems for task in tasks_of(problem, styles, instructions)]
    chosen = choose(provider, model)
    if not chosen.ask:
        return Report(
            chosen.name, chosen.model, chosen.chosen, "", 0, 0, tuple(_shipped(task) for task in tasks)
        )
    calls = RateLimitedClient(
        chosen,
        out / ".answers",
        max_calls=max_calls,
        max_tokens=max_tokens,
        per_minute=per_minute,
        dry_run=dry_run,
    )
    if not dry_run:
        out.mkdir(parents=True, exist_ok=True)
    try:
        with nullcontext() if dry_run else FileLock(out / ".lock", timeout=0):
            rows = _run(tasks, calls, out, tries, workers if chosen.parallel else 1)
    except Timeout:
        raise UserError(
            "another run is writing here", where=out, remedy="wait for it to end, or give another --out"
        ) from None
    report = Report(
        chosen.name,
        chosen.model,
        chosen.chosen,
        calls.reason,
        calls.spent["calls"],
        calls.spent["tokens"],
        tuple(rows),
    )
    if not dry_run:
        write_json(
            out / "report.json",
            {
                "provider": report.provider,
                "model": report.model,
                "stopped": report.stopped,
                "calls": report.calls,
                "tokens": report.tokens,
                "summary": report.summary(),
                "losses": report.losses(),
            },
        )
    return report


def _run(tasks: Sequence[Task], calls: RateLimitedClient, out: Path, tries: int, workers: int) -> list[Row]:
    """The rows of all tasks, in their order. An interrupt or a UserError lets the calls in flight come home first."""
    rows: dict[int, Row] = {}
    title = f"paraphrasing with {calls.provider.model}"
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(tasks), desc=title, unit="text", disable=calls.dry_run) as bar,
    ):
        futures = {pool.submit(_one, task, calls, out, tries): number for number, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                row = rows[futures[future]] = future.result()
                bar.update(row.status != "open")
                bar.set_postfix(calls=calls.spent["calls"], tokens=calls.spent["tokens"])
        except BaseException:
            calls.stop("interrupted")
            pool.shutdown(cancel_futures=True)
            raise
    return [rows[number] for number in sorted(rows)]


def _one(task: Task, calls: RateLimitedClient, out: Path, tries: int) -> Row:
    """Ask for one task until each part is faithful, at most `tries` times, and write what is."""
    wanted = list(range(len(task.parts)))
    done: dict[int, str] = {}
    sent: list[int] = []  # requests for each answer
    again, why, tokens = "", "", 0

    def row(status: str, why: str) -> Row:
        texts = (
            {}
            if status in ("open", "failed")
            else {task.parts[index]: text for index, text in sorted(done.items())}
        )
        retried = sum(sent) - bool(sent and sent[0])
        lost = 0 if status == "open" else len(task.parts) - len(texts)
        return Row(*_where(task), status, texts, lost, retried, tokens, why)

    for attempt in range(1, tries + 1):
        text = task.joined([task.parts[index] for index in wanted])
        try:
            answer, requests = calls.ask(task.prompt(text) + again, text, attempt)
        except Stopped as stopped:
            return row("open", str(stopped))
        except (Failed, Refused) as error:
            sent.append(getattr(error, "requests", 1))
            return row("failed", str(error))
        sent.append(requests)
        tokens += answer.tokens if requests else 0
        said = task.split(answer.text, wanted)
        faults = {index: ["its line is missing"] for index in wanted}
        faults |= {
            index: complaints(task.parts[index], text, task.names[index]) for index, text in said.items()
        }
        if not answer.stopped:
            done |= {index: said[index] for index in wanted if not faults[index]}
        wanted = [index for index in wanted if index not in done]
        if not wanted:
            break
        # Numbered as the next question will number them.
        found = [", ".join(faults[index]) for index in wanted]
        if task.kind == "instructions":
            found = [f"{number}: {fault}" for number, fault in enumerate(found, 1)]
        why = f"the answer is {answer.stopped}" if answer.stopped else "; ".join(found)
        if answer.blocked:
            break
        again = (
            _AGAIN.format(last=task.joined([said.get(index, "") for index in wanted]), faults=why)
            if answer.text
            else ""
        )
    if done:
        _write(task, done, calls, out)
    return row("dropped" if not done else "made" if any(sent) else "cached", why if wanted else "")


def _where(task: Task) -> tuple[str, str, str, str]:
    return task.problem.family, task.problem.name, task.style, task.kind


def _write(task: Task, done: dict[int, str], calls: RateLimitedClient, out: Path) -> None:
    origin = calls.provider.name, calls.provider.model
    if task.kind == "description":
        write_paraphrase(task.problem, task.style, done[0], *origin, out)
    else:
        write_instructions(
            task.problem, task.style, {task.parts[index]: done[index] for index in sorted(done)}, *origin, out
        )


def _shipped(task: Task) -> Row:
    """The row of a hand-written paraphrase, which has to pass the gate as any other."""
    text = task.problem.paraphrases.get(task.style) if task.kind == "description" else None
    found = (
        complaints(task.parts[0], text, task.names[0])
        if text
        else [f"no hand-written {task.kind} in this style"]
    )
    if found or not text:
        return Row(*_where(task), "dropped", lost=len(task.parts), why=", ".join(found))
    return Row(*_where(task), "shipped", {task.parts[0]: text})


# --- command ----------------------------------------------------------------------------------------------------
