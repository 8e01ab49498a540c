"""Repair rows from a model's own errors (dataset aggregation, Ross et al., 2011).

The model writes the steps of training problems. Each answer that the solver rejects becomes a repair row,
so the model trains on errors that it makes itself. The corruptions of the conversion, in contrast, are
errors that models are known to make.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from scripts.asp.feedback import UNSATISFIABLE
from scripts.asp.solver import Solver
from scripts.data.problems import Problem
from scripts.data.renamed_problems import RenamedProblem, renamed_problems
from scripts.data.repairs import Candidate, goes_on_in_conversation, repair_row
from scripts.data.report import Report
from scripts.data.rows import SPLITS, Row, load_rows, write_row_files
from scripts.evaluation import results
from scripts.evaluation.grader import Grader
from scripts.evaluation.results import of_each_problem, weights_digest
from scripts.inference.attempts import Attempt, check, has_code
from scripts.inference.generator import load_generator
from scripts.inference.requests import MAX_NEW_TOKENS, StepRequest, TextGenerator
from utils_ft import UserError, content_hash, evenly_spaced, one_writer, show_path

OWN_ERROR = "own error"
"""The value of `corruption` in these rows."""


@dataclass(frozen=True)
class OwnErrorSettings:
    """`samples`: answers to each step, the first one greedy.

    `seed`: of the samples and the predicate names.

    `in_conversation`: the share of the rows that go on in the conversation of their step.
    """

    samples: int = 1
    seed: int = 0
    max_new_tokens: int = MAX_NEW_TOKENS
    in_conversation: float = 0.0


DEFAULT_SETTINGS = OwnErrorSettings()


@dataclass
class _Source:
    """A training problem under other predicate names, its rows, and the report of the answers that gave none.

    `renamed` is None if the problem cannot be written step by step.
    """

    renamed: RenamedProblem | None
    report: Report
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Step:
    """Step `index` of a source, with its request."""

    source: _Source
    index: int
    request: StepRequest

    @property
    def gold_code(self) -> str:
        return self.source.renamed.original.steps[self.index][1]


def own_errors(
    generator: TextGenerator,
    problems: Sequence[Problem],
    solver: Solver,
    settings: OwnErrorSettings = DEFAULT_SETTINGS,
) -> list[tuple[list[Row], Report]]:
    """For each problem: a repair row for each answer that the repair loop would reject, and the report.

    The predicates of a problem get new names, because the model may know its training conversations by
    heart. A row has the same messages as the prompt of the repair loop. An answer that is wrong but
    accepted gives no row: without the gold code the repair loop cannot find such an error.
    """
    sources = [_source(problem, solver, settings.seed) for problem in problems]
    steps = _accepted_steps([step for source in sources for step in _steps_of(source, solver)], solver)
    answered = [
        (step, text)
        for step, texts in zip(steps, _write(generator, steps, settings.samples), strict=True)
        for text in texts
    ]
    attempts = check([step.request for step, _ in answered], [text for _, text in answered], solver)
    seen: set[tuple[int, int, str]] = set()
    for (step, _), attempt in zip(answered, attempts, strict=True):
        answer = (id(step.source), step.index, attempt.code)
        if has_code(attempt.code) and answer not in seen:
            seen.add(answer)
            _add_row(step, attempt, settings.in_conversation)
    return [(source.rows, source.report) for source in sources]


def _source(problem: Problem, solver: Solver, seed: int) -> _Source:
    """The problem under new predicate names, or under its own if none could be verified."""
    report = Report()
    rng = Random(content_hash("own errors", str(seed), problem.id))
    versions = renamed_problems(problem, 1, rng, solver, report)
    return _Source(versions[-1] if versions else None, report)


def _steps_of(source: _Source, solver: Solver) -> list[_Step]:
    """The steps of a source, each after the gold steps before it."""
    if source.renamed is None:
        return []
    requests = Grader(source.renamed.problem, solver).loop_requests()
    return [_Step(source, index, request) for index, request in enumerate(requests)]


def _write(generator: TextGenerator, steps: Sequence[_Step], samples: int) -> list[list[str]]:
    """The answers to each step: the greedy one and `samples - 1` more."""
    prompts = [step.request.messages for step in steps]
    greedy = generator.generate(prompts)
    sampled = generator.sample(prompts, samples - 1) if samples > 1 else [[] for _ in prompts]
    return [[first, *more] for first, more in zip(greedy, sampled, strict=True)]


def _accepted_steps(steps: Sequence[_Step], solver: Solver) -> list[_Step]:
    """The steps whose gold code the solver accepts. The others are reported as dropped."""
    accepted = []
    gold = check([step.request for step in steps], [step.gold_code for step in steps], solver)
    for step, attempt in zip(steps, gold, strict=True):
        if not attempt.accepted:
            step.source.report.dropped["step: the solver has something against the gold code"] += 1
        else:
            accepted.append(step)
    return accepted


def _add_row(step: _Step, attempt: Attempt, in_conversation: float) -> None:
    """Add the repair row of a rejected attempt to its source. An accepted one is reported as dropped."""
    source = step.source
    if attempt.accepted:
        source.report.dropped["answer: the solver has nothing against it"] += 1
        return
    instance, _ = source.renamed.problem.example
    instruction, gold_code = source.renamed.original.steps[step.index]
    goes_on = goes_on_in_conversation(in_conversation, source.renamed, step.index, attempt.code)
    candidate = Candidate(
        corruption=OWN_ERROR,
        naming=source.renamed.original.naming,
        step=step.index,
        instance=instance,
        context=step.request.context,
        instruction=instruction,
        broken=attempt.code,
        fixed=gold_code,
        conversation=step.request.messages if goes_on else None,
    )
    row = repair_row(candidate, source.renamed, OWN_ERROR, attempt.message, source.report)
    if row:
        row["meta"]["split"] = "train"
        source.rows.append(row)


@dataclass(frozen=True)
class OwnErrorRows:
    """The rows of all problems, and how many answers were dropped, by reason."""

    rows: list[Row]
    dropped: Counter[str]

    @property
    def by_kind(self) -> Counter[str]:
        """The number of rows by what the solver says: no answer set, or an error of clingo."""
        return Counter(
            "unsatisfiable" if row["meta"]["error"] == UNSATISFIABLE else "clingo's message"
            for row in self.rows
        )


def write_own_errors(
    model: Path, problems: Sequence[Problem], data: Path, out: Path, settings: OwnErrorSettings
) -> OwnErrorRows:
    """Make the rows of all problems and write a folder that training can read.

    `train.jsonl` has the rows and as many converted ones, so that the model does not forget them. The other
    splits are those of the conversion. The rows of each problem are stored in `out/problems`, so an
    interrupted call continues.

    Args:
        model: Folder of the fine-tuned model.
        problems: Training problems.
        data: Folder of the converted rows.
        out: Folder for the files; another one than `data`.
        settings: How the answers are generated.

    Raises:
        UserError: A file of `data` is missing, or the model made no error that the solver finds.
    """
    converted = {
        split: load_rows(data, split) for split in SPLITS
    }  # an error here comes before hours of work
    with one_writer(out, inside=True):
        return _write_rows(model, problems, converted, out, settings)


def _write_rows(
    model: Path,
    problems: Sequence[Problem],
    converted: dict[str, list[Row]],
    out: Path,
    settings: OwnErrorSettings,
) -> OwnErrorRows:
    found = _rows_of(model, problems, out / "problems", settings)
    if not found.rows:
        raise UserError(
            "the solver found no error in the model's answers",
            where=model,
            remedy="draw more answers with --samples 4",
        )
    report = {
        "model": show_path(model),
        "seed": settings.seed,
        "samples": settings.samples,
        "problems": len(problems),
        "rows": len(found.rows),
        "dropped": dict(sorted(found.dropped.items())),
    }
    converted["train"] = found.rows + evenly_spaced(converted["train"], len(found.rows))
    write_row_files(out, converted, report)
    return found


def _rows_of(
    model: Path, problems: Sequence[Problem], folder: Path, settings: OwnErrorSettings
) -> OwnErrorRows:
    """The rows of all problems, in groups; those of a problem come from `folder` if they are stored there."""
    generator = load_generator(model, max_new_tokens=settings.max_new_tokens, seed=settings.seed)
    key = str((settings.seed, settings.samples, settings.max_new_tokens))
    key += f", {settings.in_conversation} in conversation" if settings.in_conversation else ""
    made_by = content_hash(weights_digest(model), str(results.SCORING_VERSION), key)
    found = OwnErrorRows([], Counter())
    with Solver() as solver:

        def compute(missing: list[Problem]) -> list[dict]:
            made = own_errors(generator, missing, solver, settings)
            return [{"rows": rows, "dropped": dict(report.dropped)} for rows, report in made]

        for stored in of_each_problem(problems, folder, made_by, compute):
            found.rows.extend(stored["rows"])
            found.dropped.update(stored["dropped"])
    return found
