"""An ablation study: the same training without one idea of the recipe or the data, scored beside the
reference.

All arms take the same number of training steps of the same size, on rows of the same problems. Finished
work is stored, so an interrupted study continues, and arms and seeds can be added later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from scripts.asp.solver import Solver
from scripts.data.conversion import convert_folder
from scripts.data.problems import Problem, held_out_families, problems_of_split, read_problems
from scripts.data.rows import REPORT, load_rows, to_jsonl
from scripts.evaluation import results
from scripts.evaluation.arms import ARMS, Arm
from scripts.evaluation.evaluate import evaluate_once
from scripts.evaluation.grader import Answer, Grader, graders_of, step_items
from scripts.evaluation.items import Item
from scripts.evaluation.parts import score_repairs
from scripts.evaluation.results import Results, Subject
from scripts.evaluation.scores import EvaluationResult, PartRates, Rates, interval, summary
from scripts.evaluation.settings import WHOLE, EvaluationSettings, Part
from scripts.evaluation.tables import TITLES
from scripts.inference.attempts import check, has_code
from scripts.inference.generator import load_generator
from scripts.inference.requests import TextGenerator
from scripts.lm import prompts
from scripts.lm.base_models import base_model
from scripts.training.checkpoints import choose
from scripts.training.pytorch_engine import train
from scripts.training.recipe import Profile, Recipe, load_profile
from scripts.training.run import RunOptions
from utils_ft import (
    BENCHMARKS,
    UserError,
    content_hash,
    one_writer,
    read_json,
    read_text,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("steps", "repair")
"""The parts that are scored.

The repair loop costs a weak model more time than its training, and adds little.
"""

DRAWS = 2000
"""Bootstrap samples for the interval of a difference."""


class ArmFigures(PartRates, total=False):
    """The figures of one arm with one seed.

    Keys:
        seen_families, held_out_families: As in `Figures`.
        by_problem: Problem id → [steps that are equivalent, all steps].
        without_code: The number of steps that were answered without code.
        tokens: The tokens of the training.
        train_seconds: Its time.
        validation_loss: The last validation loss, or None.
    """

    seen_families: PartRates
    held_out_families: PartRates
    by_problem: dict[str, list[int]]
    without_code: int
    tokens: int
    train_seconds: float
    validation_loss: float | None


@dataclass(frozen=True)
class Study:
    """What all arms share: the folder, the profile, the recipe and the problems that are scored."""

    out: Path
    profile: Profile
    recipe: Recipe
    problems: Sequence[Problem]

    @property
    def settings(self) -> dict:
        """What the figures depend on, as `study.json` has it."""
        return {
            "profile": self.profile.name,
            "recipe": asdict(self.recipe),
            "problems": [problem.id for problem in self.problems],
            "made_from": content_hash(
                str(results.SCORING_VERSION), *(problem.digest for problem in read_problems())
            ),
        }


def study(
    out: Path,
    arms: Sequence[str] = tuple(ARMS),
    seeds: Sequence[int] = (0,),
    profile: str | None = None,
    max_steps: int | None = None,
    problems: int | None = None,
) -> pd.DataFrame:
    """Run each arm with each seed and return the table of all arms in `out/study.json`.

    Args:
        out: Folder of the study.
        arms: Names of arms, some of `ARMS`.
        seeds: Seeds of the training; all arms run with one seed before the next one.
        profile: Name of the profile; None for the default one.
        max_steps: Training steps; None for those of the profile.
        problems: Test problems that are scored; None for all.

    Raises:
        UserError: `out` holds a study with other settings.
    """
    chosen = load_profile(profile)
    shared = Study(
        out, chosen, chosen.recipe.override(max_steps=max_steps), problems_of_split(limit=problems)
    )
    file = out / "study.json"
    with one_writer(file):
        stored = _stored_study(file, shared.settings)
        write_json(file, stored)  # before the first arm: the rows in the folder belong to these settings
        for seed in seeds:
            for name in arms:
                print(f"{name}, seed {seed}", flush=True)
                stored["arms"].setdefault(name, {})[str(seed)] = run_arm(name, seed, shared)
                write_json(file, stored)
    return table({name: list(stored["arms"][name].values()) for name in ARMS if name in stored["arms"]})


def _stored_study(file: Path, settings: dict) -> dict:
    """The content of `study.json`, without arms if there is no file. UserError if it has other settings."""
    if not file.exists():
        return settings | {"arms": {}}
    stored = read_json(file, "restore the file, or name another folder with --out")
    if {name: stored.get(name) for name in settings} != settings:
        raise UserError(
            "this folder holds a study of another profile, recipe, set of problems or scoring version",
            where=file,
            remedy="name another folder with --out",
        )
    if not isinstance(stored.get("arms"), dict):
        raise UserError("the study has no `arms`", where=file, remedy="restore the file, or remove it")
    return stored


def run_arm(name: str, seed: int, shared: Study) -> ArmFigures:
    """Train and score one arm with one seed, in the folder `<out>/<arm>-<seed>`."""
    arm, folder = ARMS[name], shared.out / f"{name}-{seed}"
    reference_rows = _converted(shared, "rows", {})
    rows = _converted(shared, f"rows-{name}", arm.convert) if arm.convert else reference_rows
    write_text(folder / "train.jsonl", to_jsonl(arm.rows(load_rows(rows, "train"))))
    write_text(folder / "valid.jsonl", read_text(reference_rows / "valid.jsonl"))
    recipe = shared.recipe.override(seed=seed, **arm.recipe)
    metrics = train(shared.profile.model_type, recipe, folder, options=RunOptions(folder=folder / "run"))
    return _figures(_evaluate(arm, folder, shared), metrics)


def _converted(shared: Study, name: str, changes: dict[str, Any]) -> Path:
    """The folder `name` with the converted rows; converts if its report, the last file, is missing."""
    folder = shared.out / name
    if not (folder / REPORT).exists():
        profile = shared.profile
        convert_folder(BENCHMARKS, folder, profile.conversion(**changes), limit=profile.problems)
    return folder


def _evaluate(arm: Arm, folder: Path, shared: Study) -> EvaluationResult:
    """The scores of the last checkpoint of an arm."""
    out, model = folder / "scores.json", base_model(shared.profile.model_type)
    adapter = choose(folder / "run", "last").path
    tokens = shared.profile.max_new_tokens
    if arm.whole:
        return evaluate_whole(out, model, adapter, shared.problems, tokens)
    settings = EvaluationSettings(parts=PARTS, max_new_tokens=tokens)
    return evaluate_once(out, model, shared.problems, settings, adapter)


def _figures(result: EvaluationResult, metrics: dict) -> ArmFigures:
    """The figures of an arm, from its scores and the metrics of its training."""
    names = (*PARTS, "seen_families", "held_out_families")
    steps = [item for item in result["verdicts"] if item["part"] == "steps" and not item["untested"]]
    by_problem: dict[str, list[int]] = {}
    for item in steps:
        right, n = by_problem.get(item["problem"], (0, 0))
        by_problem[item["problem"]] = [right + item["equivalent"], n + 1]
    losses = metrics["eval_losses"]
    return {name: result[name] for name in names if name in result} | {
        "by_problem": by_problem,
        "without_code": sum(not has_code(item["code"]) for item in steps),
        "tokens": metrics["tokens"],
        "train_seconds": metrics["train_seconds"],
        "validation_loss": losses[-1][1] if losses else None,
    }


def evaluate_whole(
    out: Path, model: Path, adapter: Path, problems: Sequence[Problem], max_new_tokens: int
) -> EvaluationResult:
    """Like `evaluate_once`, for a model that writes programs in one turn.

    `max_new_tokens` is the limit of a repair.
    """
    longest = WHOLE * max_new_tokens
    subject = Subject(model, adapter, problems, {"whole": True, "max_new_tokens": longest})
    stored = Results(out, subject.identity)
    if done := stored.finished():
        return done
    generator = load_generator(model, adapter, longest)
    with Solver() as solver:
        graders, left_out = graders_of(problems, solver)
        items = [
            *score_whole(generator, graders),
            *score_repairs(replace(generator, max_new_tokens=max_new_tokens), graders),
        ]
    figures = summary(items, held_out_families(problems))
    figures["left_out"] = [entry.as_json() for entry in left_out]
    return stored.finish(subject.as_json() | figures)


def score_whole(generator: TextGenerator, graders: Sequence[Grader]) -> list[Item]:
    """The steps of programs that were written in one turn: answer i is paragraph i of the program.

    Each is graded after the gold steps before it, so only the history that the model saw differs from
    `score_steps`. A missing paragraph is an answer without code.
    """
    asked = [prompts.at_once(grader.task.conversation(grader.variant.steps))[:-1] for grader in graders]
    answers = []
    for grader, output in zip(graders, generator.generate(asked), strict=True):
        program, _ = prompts.code_of(output)
        paragraphs = [text for text in program.split("\n\n") if text.strip()]
        requests = grader.requests()
        missing = [""] * (len(requests) - len(paragraphs))
        attempts = check(requests, [*paragraphs, *missing][: len(requests)], grader.solver)
        answers += [
            Answer(grader, index, request.instruction, attempt)
            for index, (request, attempt) in enumerate(zip(requests, attempts, strict=True))
        ]
    return step_items(Part("steps"), answers)


# --- the table ---


def difference(runs: Sequence[ArmFigures], others: Sequence[ArmFigures]) -> tuple[float, float, float]:
    """How many more per cent of the steps are equivalent in `runs` than in `others`: (difference, low, high).

    low and high are a 95 % interval of a paired bootstrap over whole problems: both sides have the same
    steps, and the steps of a problem are not independent.
    """
    ours, theirs = _hits_by_problem(runs), _hits_by_problem(others)
    sizes = {problem: n for problem, (_, n) in runs[0]["by_problem"].items()}
    names, rng = sorted(ours), Random(0)

    def gap(problems: Sequence[str]) -> float:
        more = sum(ours[name] - theirs[name] for name in problems)
        return 100 * more / sum(sizes[name] for name in problems)

    gaps = sorted(gap(rng.choices(names, k=len(names))) for _ in range(DRAWS))
    return gap(names), gaps[round(0.025 * DRAWS)], gaps[round(0.975 * DRAWS) - 1]


def _hits_by_problem(runs: Sequence[ArmFigures]) -> dict[str, float]:
    """By problem: the steps that are equivalent, on average over the runs."""
    return {
        problem: sum(run["by_problem"][problem][0] for run in runs) / len(runs)
        for problem in runs[0]["by_problem"]
    }


def table(arms: dict[str, list[ArmFigures]]) -> pd.DataFrame:
    """One row for each arm: tokens, validation loss, rates in per cent with 95 % intervals, difference to the
    reference.

    The figures of several seeds are averaged; the intervals are those of one run. The validation loss is
    that of the reference's validation rows for all arms.
    """
    import pandas as pd

    reference = arms.get("reference")
    return pd.DataFrame([_table_row(name, runs, reference) for name, runs in arms.items()])


def _table_row(name: str, runs: Sequence[ArmFigures], reference: Sequence[ArmFigures] | None) -> dict:
    losses = [run["validation_loss"] for run in runs if run["validation_loss"] is not None]
    compared = ""
    if reference and name != "reference":
        compared = "{:+.1f} ({:+.1f} to {:+.1f})".format(*difference(runs, reference))
    steps, repairs = ([run[part] for run in runs] for part in PARTS)
    return {
        "arm": name,
        "": ARMS[name].question,
        "seeds": len(runs),
        "tokens": sum(run["tokens"] for run in runs) // len(runs),
        "validation loss": round(sum(losses) / len(losses), 3) if losses else None,
        "steps": steps[0]["n"],
        "without code": sum(run["without_code"] for run in runs) // len(runs),
        **{TITLES[rate]: _mean_percent(steps, rate) for rate in ("parse", "ground", "equivalent")},
        "against the reference": compared,
        "repairs": repairs[0]["n"],
        **{f"repairs: {TITLES[rate]}": _mean_percent(repairs, rate) for rate in ("fixed", "equivalent")},
    }


def _mean_percent(runs: Sequence[Rates], name: str) -> str:
    """The mean of a rate over several runs in per cent, with the interval of one run; "" without items."""
    found = [rates for rates in runs if rates.get("n")]
    if not found:
        return ""
    n, hits = found[0]["n"], sum(rates[name] * rates["n"] for rates in found) / len(found)
    low, high = interval(hits, n)
    return f"{100 * hits / n:.1f} ({100 * low:.0f}–{100 * high:.0f})"
