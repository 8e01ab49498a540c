"""What each idea of recipe and data is worth: the same training without it, scored by the solver beside the reference.

    python -m scripts.ablations --out runs/study [--arms reference,no_noise] [--seeds 0,1] [--max-steps 60]

Every arm takes the same number of optimiser steps of the same size from the same converted problems, and differs from the
reference in one thing. What is done is kept: a study that was cut short goes on, and arms and seeds can be added later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from scripts.asp.solver import Solver
from scripts.data.conversion import convert_folder
from scripts.data.problems import Problem, held_out_families, problems_of_split, read_problems
from scripts.data.rows import SPLITS, Row, load_rows, to_jsonl
from scripts.evaluation.evaluate import evaluate_once, score_repairs
from scripts.evaluation.grader import Grader, Item, graders_of
from scripts.evaluation.results import SCORING_VERSION, once
from scripts.evaluation.scores import interval, summary
from scripts.evaluation.tables import TITLES
from scripts.inference.attempts import has_code
from scripts.inference.generator import Generator, load_generator
from scripts.lm import prompts
from scripts.lm.base_models import base_model
from scripts.training.checkpoints import choose
from scripts.training.pytorch_engine import train
from scripts.training.recipe import Profile, Recipe, load_profile
from utils_ft import BENCHMARKS, UserError, content_hash, read_text, write_json, write_text

PARTS = ("steps", "repair")  # the loop costs a weak model more time than its training, and adds little
WHOLE = 8  # a program may be as long as so many of the longest answers


@dataclass(frozen=True)
class Arm:
    """One training: what of the conversion and what of the recipe is another than in the reference."""

    question: str
    convert: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    whole: bool = False  # the program in one turn instead of step by step


ARMS = {
    "reference": Arm("everything that the recipe has"),
    "no_vocabulary": Arm("problems keep their own predicate names", {"vocabularies": 0}),
    "no_renaming": Arm("variables keep their names", {"namings": ("original",)}),
    "no_noise": Arm("instructions keep case and punctuation", {"noise": 0.0}),
    "no_paraphrases": Arm("one wording of each description", {"styles": ()}),
    "no_repair": Arm("conversations only", {"repairs": 0}),
    "whole_program": Arm("all instructions in one turn, all rules in the answer", whole=True),
    "top_16": Arm("adapters on the top 16 layers only", recipe={"top_layers": 16}),
    "alpha_32": Arm("adapters count 2 times, not 10", recipe={"alpha": 32}),
    "no_neftune": Arm("no noise on the embeddings", recipe={"neftune_alpha": 0.0}),
}


def rows_of(arm: Arm, rows: Sequence[Row]) -> list[Row]:
    """The rows that an arm trains on."""
    if not arm.whole:
        return list(rows)
    return [
        row | {"messages": prompts.at_once(row["messages"])} if row["meta"]["kind"] == "conversation" else row
        for row in rows
    ]


def score_whole(generator: Generator, graders: Sequence[Grader]) -> list[Item]:
    """Steps of programs that were written in one turn: answer i is the i-th paragraph, judged with the gold history.

    So it is the same question as for a model that writes step by step, but for the history that was in view. A paragraph
    that is missing is an answer without code, and shifts those after it.
    """
    descriptions = [prompts.describe(grader.problem.description, grader.variant.given) for grader in graders]
    asked = [
        prompts.at_once(prompts.conversation(description, grader.variant.steps))[:-1]
        for description, grader in zip(descriptions, graders, strict=True)
    ]
    items = []
    for grader, output in zip(graders, generator.generate(asked), strict=True):
        paragraphs = [text for text in prompts.code_of(output)[0].split("\n\n") if text.strip()]
        for index, step in enumerate(grader.steps):
            items.append(
                grader.step_item(
                    "steps", index, step.instruction, paragraphs[index] if index < len(paragraphs) else ""
                )
            )
    return items


def run_arm(
    name: str, seed: int, out: Path, chosen: Profile, recipe: Recipe, problems: Sequence[Problem]
) -> dict:
    """Train and score one arm with one seed; the scores, with `tokens`, `validation_loss` and `train_seconds`.

    Everything lies in `out/<arm>-<seed>`, and nothing is made twice.
    """
    arm, folder = ARMS[name], out / f"{name}-{seed}"
    rows = _converted(out / f"rows-{name}" if arm.convert else out / "rows", chosen, arm.convert)
    write_text(folder / "train.jsonl", to_jsonl(rows_of(arm, load_rows(rows, "train"))))
    write_text(folder / "valid.jsonl", read_text(_converted(out / "rows", chosen, {}) / "valid.jsonl"))
    metrics = train(chosen.model_type, recipe.override(seed=seed, **arm.recipe), folder, run=folder / "run")
    model, adapter = base_model(chosen.model_type), choose(folder / "run", "last").path
    score = _evaluate_whole if arm.whole else evaluate_once
    result = score(folder / "scores.json", model, problems, PARTS, adapter, chosen.max_new_tokens)
    figures = {
        part: result[part] for part in (*PARTS, "seen_families", "held_out_families") if part in result
    }
    steps = [item for item in result["verdicts"] if item["part"] == "steps"]
    by_problem: dict[str, list[int]] = {}  # right steps and all steps
    for item in steps:
        right, n = by_problem.get(item["problem"], (0, 0))
        by_problem[item["problem"]] = [right + item["equivalent"], n + 1]
    return figures | {
        "by_problem": by_problem,
        "without_code": sum(not has_code(item["code"]) for item in steps),
        "tokens": metrics["tokens"],
        "train_seconds": metrics["train_seconds"],
        "validation_loss": metrics["eval_losses"][-1][1] if metrics["eval_losses"] else None,
    }


def _converted(rows: Path, chosen: Profile, changes: dict[str, Any]) -> Path:
    """The folder `rows`, with the rows in it."""
    if not all((rows / f"{split}.jsonl").exists() for split in SPLITS):
        convert_folder(BENCHMARKS, rows, chosen.conversion(**changes), limit=chosen.problems)
    return rows


def _evaluate_whole(
    out: Path, model: Path, problems: Sequence[Problem], _parts: Sequence[str], adapter: Path, tokens: int
) -> dict:
    """Like `evaluate_once`, for a model that was taught to write programs in one turn."""

    def score(_: str) -> dict:
        generator = load_generator(model, adapter, WHOLE * tokens)
        with Solver() as solver:
            graders = graders_of(problems, solver)
            items = [
                *score_whole(generator, graders),
                *score_repairs(replace(generator, max_new_tokens=tokens), graders),
            ]
            return summary(items, held_out_families(problems))

    settings = {"whole": True, "max_new_tokens": WHOLE * tokens}
    return once(out, model, adapter, problems, settings, score)


# --- the table --------------------------------------------------------------------------------------------------


def difference(runs: Sequence[dict], others: Sequence[dict], draws: int = 2000) -> tuple[float, float, float]:
    """How many per cent more steps are right in `runs` than in `others`, with a 95 % interval: (difference, low, high).

    The steps are the same in both and those of a problem hang together, so whole problems are drawn (paired bootstrap).
    """

    def rates(runs: Sequence[dict]) -> dict[str, tuple[float, int]]:
        return {
            problem: (sum(run["by_problem"][problem][0] for run in runs) / len(runs), n)
            for problem, (_, n) in runs[0]["by_problem"].items()
        }

    ours, theirs = rates(runs), rates(others)
    names, rng = sorted(ours), Random(0)

    def gap(problems: Sequence[str]) -> float:
        return (
            100
            * sum(ours[name][0] - theirs[name][0] for name in problems)
            / sum(ours[name][1] for name in problems)
        )

    gaps = sorted(gap(rng.choices(names, k=len(names))) for _ in range(draws))
    return gap(names), gaps[round(0.025 * draws)], gaps[round(0.975 * draws) - 1]


def table(results: dict[str, list[dict]]) -> Any:
    """A row an arm: tokens, validation loss, rates in per cent with 95 % intervals, and the difference to the reference.

    Seeds are averaged: more of them do not make more steps. The validation loss is that of the original conversations and
    of repairs, whatever an arm was trained on.
    """
    import pandas as pd

    def rate(runs: list[dict], part: str, name: str) -> str:
        found = [run[part] for run in runs if run[part].get("n")]
        if not found:
            return ""
        n, hits = found[0]["n"], sum(rates[name] * rates["n"] for rates in found) / len(found)
        low, high = interval(hits, n)
        return f"{100 * hits / n:.1f} ({100 * low:.0f}–{100 * high:.0f})"

    rows = []
    for name, runs in results.items():
        losses = [run["validation_loss"] for run in runs if run["validation_loss"] is not None]
        compared = name != "reference" and "reference" in results
        rows.append(
            {
                "arm": name,
                "": ARMS[name].question,
                "seeds": len(runs),
                "tokens": sum(run["tokens"] for run in runs) // len(runs),
                "validation loss": round(sum(losses) / len(losses), 3) if losses else None,
                "steps": runs[0]["steps"]["n"],
                "without code": sum(run["without_code"] for run in runs) // len(runs),
                **{TITLES[name]: rate(runs, "steps", name) for name in ("parse", "ground", "equivalent")},
                "against the reference": "{:+.1f} ({:+.1f} to {:+.1f})".format(
                    *difference(runs, results["reference"])
                )
                if compared
                else "",
                "repairs": runs[0]["repair"]["n"],
                **{
                    f"repairs: {TITLES[name]}": rate(runs, "repair", name) for name in ("fixed", "equivalent")
                },
            }
        )
    return pd.DataFrame(rows)


def study(
    out: Path,
    arms: Sequence[str] = tuple(ARMS),
    seeds: Sequence[int] = (0,),
    profile: str | None = None,
    max_steps: int | None = None,
    problems: int | None = None,
) -> Any:
    """Run every arm with every seed, a seed after the other, and return the table of all arms that `out/study.json` has.

    `problems` limits how many test problems are scored. UserError where `out` holds a study of other settings.
    """
    chosen = load_profile(profile)
    recipe = chosen.recipe.override(max_steps=max_steps)
    scored = problems_of_split(limit=problems)
    settings = {
        "profile": chosen.name,
        "recipe": asdict(recipe),
        "problems": [problem.id for problem in scored],
        "made_from": content_hash(str(SCORING_VERSION), *(problem.digest for problem in read_problems())),
    }
    file = out / "study.json"
    kept = json.loads(read_text(file)) if file.exists() else settings | {"arms": {}}
    if {name: kept.get(name) for name in settings} != settings:
        raise UserError(
            "this folder holds a study of another profile, recipe, set of problems or scoring version",
            where=file,
            remedy="name another folder with --out",
        )
    write_json(
        file, kept
    )  # before the first arm: rows that an interrupted study left are taken for those of its settings
    for seed in seeds:
        for name in arms:
            print(f"{name}, seed {seed}", flush=True)
            kept["arms"].setdefault(name, {})[str(seed)] = run_arm(name, seed, out, chosen, recipe, scored)
            write_json(file, kept)
    return table({name: list(kept["arms"][name].values()) for name in ARMS if name in kept["arms"]})
