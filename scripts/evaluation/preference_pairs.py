"""Preference pairs from the solver: a model answers a step several times, the grader says what is right.

An answer is right if all answer sets of all instances stay the same, also with other constants in the facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from scripts.asp.solver import Solver
from scripts.data.gold import solve_gold
from scripts.data.pairs import Pair, load_pairs, write_pairs
from scripts.data.problems import Problem
from scripts.data.renamed_constants import with_renamed_constants
from scripts.data.rows import REPORT
from scripts.data.settings import DEFAULT_PAIRS, PairSettings
from scripts.evaluation import results
from scripts.evaluation.grader import Answer, Grader, step_items
from scripts.evaluation.items import Item
from scripts.evaluation.results import Results, of_each_problem, weights_digest
from scripts.evaluation.settings import Part
from scripts.inference.attempts import check, has_code
from scripts.inference.generator import load_generator
from scripts.inference.requests import StepRequest, TextGenerator, Unanswered
from scripts.lm import prompts
from utils_ft import UserError, content_hash, one_writer, read_json, show_path

GradedStep = dict[str, Any]
"""A step with its answers as JSON.

`prompt`: messages; `gold`: the gold code; `right`: right codes; `wrong`: {"output", "verdict", "evidence"} of
wrong answers, each code once; `meta`: that of its pairs.
"""

RIGHT = "equal"
WRONG = frozenset({"wrong", "unsatisfiable", "syntax", "unsafe", "refused"})
"""The verdicts of wrong answers. With any other, such as a timeout, the solver does not know."""


@dataclass
class _Source:
    """A problem as the model gets it, with its grader and the counts of its steps and answers.

    `grader` is None if the problem cannot be used.
    """

    grader: Grader | None = None
    steps: list[GradedStep] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Step:
    """Step `index` of a source, with its request."""

    source: _Source
    index: int
    request: StepRequest


def graded_steps(
    generator: TextGenerator,
    problems: Sequence[Problem],
    solver: Solver,
    settings: PairSettings = DEFAULT_PAIRS,
) -> list[tuple[list[GradedStep], Counter[str]]]:
    """For each problem: its steps with the model's answers, graded, and the number of answers of each kind.

    Steps that no instance tests are left out.
    """
    sources = [_source(problem, solver, settings.seed) for problem in problems]
    steps = [step for source in sources for step in _steps_of(source)]
    texts = _write(generator, steps, settings.samples)
    answered = [(step, text) for step, answers in zip(steps, texts, strict=True) for text in answers]
    attempts = check([step.request for step, _ in answered], [text for _, text in answered], solver)
    answers = [
        Answer(step.source.grader, step.index, step.request.instruction, attempt)
        for (step, _), attempt in zip(answered, attempts, strict=True)
    ]
    items = iter(step_items(Part("steps"), answers))
    for step in steps:
        step.source.steps.append(_graded(step, [next(items) for _ in range(settings.samples)]))
    return [(source.steps, source.counts) for source in sources]


def _source(problem: Problem, solver: Solver, seed: int) -> _Source:
    """The problem with its grader, which has a copy of each instance with other constants."""
    own = solve_gold(problem, solver)
    if own.faults:
        return _Source(counts=Counter({"problem: cannot be used": 1}))
    wider = with_renamed_constants(problem, Random(content_hash("constants", str(seed), problem.id)))
    gold = solve_gold(wider, solver)
    if gold.faults:  # such as a time limit that other names meet
        return _Source(
            Grader(problem, solver, own.outcomes), counts=Counter({"problem: own constants only": 1})
        )
    return _Source(Grader(wider, solver, gold.outcomes))


def _steps_of(source: _Source) -> Iterator[_Step]:
    """The steps of a source that an instance tests, each after the gold steps before it."""
    if source.grader is None:
        return
    for index, request in enumerate(source.grader.requests()):
        if source.grader.why_untested(index):
            source.counts["step: no instance tests it"] += 1
        else:
            yield _Step(source, index, request)


def _write(generator: TextGenerator, steps: Sequence[_Step], samples: int) -> list[list[str]]:
    """The answers to each step: the greedy one and `samples - 1` more."""
    asked = [step.request.messages for step in steps]
    greedy = generator.generate(asked)
    sampled = generator.sample(asked, samples - 1) if samples > 1 else [[] for _ in asked]
    return [[first, *more] for first, more in zip(greedy, sampled, strict=True)]


def _graded(step: _Step, items: Sequence[Item]) -> GradedStep:
    """A step with its answers, and each of their codes once."""
    source, kinds = step.source, [_kind(item) for item in items]
    source.counts.update(f"answer: {kind}" for kind in kinds)
    right, wrong = (
        _by_code([item for item, kind in zip(items, kinds, strict=True) if kind == wanted])
        for wanted in ("right", "wrong")
    )
    problem = source.grader.problem
    return {
        "prompt": step.request.messages,
        "gold": source.grader.steps[step.index].code,
        "right": [item.code for item in right],
        "wrong": [
            {"output": item.output.strip(), "verdict": item.verdict, "evidence": item.evidence}
            for item in wrong
        ],
        "meta": {
            "problem": problem.name,
            "family": problem.family,
            "split": "train",
            "kind": "pair",
            "step": step.index,
            "samples": len(items),
            "right_samples": kinds.count("right"),
            "wrong_samples": kinds.count("wrong"),
        },
    }


def _kind(item: Item) -> str:
    """`right`, `wrong`, `undecided`, or `empty` for an answer without code."""
    if isinstance(item.output, Unanswered) or not has_code(item.code):
        return "empty"
    if item.verdict == RIGHT:
        return "right"
    return "wrong" if item.verdict in WRONG else "undecided"


def _by_code(items: Sequence[Item]) -> list[Item]:
    """The first item of each code, the most frequent code first."""
    first = {item.code: item for item in reversed(items)}
    return [first[code] for code, _ in Counter(item.code for item in items).most_common()]


def pairs_of(step: GradedStep, settings: PairSettings) -> list[Pair]:
    """The pairs of a step: first each right and each wrong answer once, then in other combinations.

    The chosen text is the right code without a fence. The rejected one is what the model wrote.
    """
    gold = step["gold"]
    chosen = step["right"] or ([gold] if settings.gold else [])
    width = max(len(chosen), len(step["wrong"]))
    places = product(range(len(chosen)), range(len(step["wrong"])))
    order = sorted(places, key=lambda place: ((place[1] - place[0]) % width, place[0]))
    return [
        {
            "prompt": step["prompt"],
            "chosen": [prompts.answer(chosen[first])],
            "rejected": [{"role": "assistant", "content": step["wrong"][second]["output"]}],
            "meta": step["meta"]
            | {
                "gold": gold,
                "is_gold": chosen[first] == gold,
                "verdict": step["wrong"][second]["verdict"],
                "evidence": step["wrong"][second]["evidence"],
            },
        }
        for first, second in order[: settings.pairs]
    ]


@dataclass(frozen=True)
class ModelAndProblems:
    """What pairs are made from.

    Attributes:
        model: The folder of the base model.
        adapter: The checkpoint over it.
        problems: Problems for training.
    """

    model: Path
    adapter: Path | None
    problems: Sequence[Problem]

    def made_by(self, settings: PairSettings) -> str:
        """A hash of everything that the answers to a problem depend on, besides the problem."""
        weights = [weights_digest(folder) for folder in (self.model, self.adapter) if folder]
        drawn = settings.samples, settings.temperature, settings.seed, settings.max_new_tokens
        return content_hash(*weights, str(results.SCORING_VERSION), str(drawn))

    def identity(self, settings: PairSettings) -> str:
        """A hash of everything that the pairs depend on."""
        digests = [problem.digest for problem in self.problems]
        return content_hash(self.made_by(settings), str((settings.pairs, settings.gold)), *digests)


def existing_pairs(source: ModelAndProblems, folder: Path, settings: PairSettings) -> list[Pair] | None:
    """The pairs in a folder, if they are those of this model, these problems and settings."""
    if not Results(folder / REPORT, source.identity(settings)).finished():
        return None
    try:
        return load_pairs(folder)
    except UserError:  # they do not belong to the report, so they are made again
        return None


def make_pairs(source: ModelAndProblems, out: Path, settings: PairSettings) -> dict[str, Any]:
    """Write the pairs of all problems into the folder `out`, and return its report.

    The answers to each problem are stored in `out/problems`, so an interrupted call continues. If the folder
    has the pairs of the same model, problems and settings, nothing is computed.

    Raises:
        UserError: No step has both a right and a wrong answer, or another process writes to `out`.
    """
    with one_writer(out, inside=True):
        if existing_pairs(source, out, settings):
            print(f"already made: {show_path(out)}", flush=True)
            return read_json(out / REPORT, "remove it")
        steps, counts = _steps(source, out / "problems", settings)
        pairs = [pair for step in steps for pair in pairs_of(step, settings)]
        if not pairs:
            raise UserError(
                "no step has both a right and a wrong answer",
                where=source.adapter or source.model,
                remedy="draw more answers with --samples 16, take more problems, "
                "or let the gold rule stand for missing right answers with --gold",
            )
        report = {
            "identity": source.identity(settings),
            "model": show_path(source.model),
            "adapter": show_path(source.adapter) if source.adapter else None,
            "settings": asdict(settings),
            "problems": len(source.problems),
            "pairs": len(pairs),
            "counts": dict(sorted(counts.items())),
        }
        return write_pairs(out, pairs, report)


def _steps(
    source: ModelAndProblems, folder: Path, settings: PairSettings
) -> tuple[list[GradedStep], Counter[str]]:
    """The graded steps of all problems, and the counts of steps and answers."""

    @cache
    def generator() -> TextGenerator:
        drawn = settings.temperature, settings.seed
        return load_generator(source.model, source.adapter, settings.max_new_tokens, False, *drawn)

    steps, counts = [], Counter()
    with Solver() as solver:

        def compute(missing: list[Problem]) -> list[dict]:
            made = graded_steps(generator(), missing, solver, settings)
            return [{"steps": found, "counts": dict(counted)} for found, counted in made]

        for stored in of_each_problem(source.problems, folder, source.made_by(settings), compute):
            steps.extend(stored["steps"])
            counts.update(stored["counts"])
    counts.update(_outcome(step) for step in steps)
    return steps, counts


def _outcome(step: GradedStep) -> str:
    """What the answers to a step are, for the report."""
    if step["right"] and step["wrong"]:
        return "step: right and wrong answers"
    return "step: only right answers" if step["right"] else "step: no right answer"
