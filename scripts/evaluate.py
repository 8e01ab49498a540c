"""Scores given by the solver: single steps, repairs, and whole programs, on any folder of problems.

    python -m scripts.evaluate --model DIR [--adapter DIR] --benchmarks DIR --out FILE.json [--k 0,3] [--samples 4] [--grammar]
    python -m scripts.evaluate --run adapters/smollm_pytorch          every checkpoint of a run, on validation problems

Steps are written with the gold history before them, once by the plain model and once with the solver in the loop;
programs on their own history. `judge` decides what is right, `scores` makes the figures.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path

from scripts.data.problems import problems_of_split
from scripts.data.rows import SPLITS
from scripts.evaluation.evaluate import NOT_WITH_RUN, PARTS, evaluate_once, score_checkpoints
from scripts.evaluation.tables import scores
from scripts.inference.requests import MAX_NEW_TOKENS
from scripts.training import checkpoints
from utils_ft import BENCHMARKS, UserError, command, show_path


def main(
    model: Path | None = None,
    out: Path | None = None,
    benchmarks: Path = BENCHMARKS,
    adapter: Path | None = None,
    run: Path | None = None,
    split: str = "auto",
    parts: str = ",".join(PARTS),
    problems: int | None = None,
    k: str = "0,3",
    samples: int = 1,
    temperature: float = 0.8,
    grammar: bool = False,
    max_new_tokens: int = MAX_NEW_TOKENS,
    seed: int = 0,
) -> None:
    """Score a model on problems and write the figures and every single answer to a JSON file.

    --split test, valid, train or all; `auto` takes the test problems of a folder that has a split.json, else all.
    --k: up to how many repairs a step, one evaluation each. --samples: how many answers a step, all but the first drawn at
    --temperature; the solver and a vote choose. --grammar: nothing but well-formed statements can be written.
    --max-new-tokens: how long an answer may be; no statement of the shipped problems needs so many.
    --run DIR instead of --model and --out: the steps of each checkpoint of a training run, on validation problems, as a
    checkpoint that was chosen on test problems could not be scored on them.
    """
    given = locals()
    if run:
        if idle := [
            f"--{name}" for name in NOT_WITH_RUN if given[name] != signature(main).parameters[name].default
        ]:
            raise UserError(
                "with --run the steps of every checkpoint are scored, greedily, on validation problems, and nothing else",
                remedy=f"leave out {' and '.join(idle)}",
            )
        score_checkpoints(run, problems_of_split(benchmarks, "valid", problems), model, max_new_tokens)
        print(checkpoints.table(run).to_string(index=False))
        return
    if model is None or out is None:
        raise UserError(
            "--model and --out are needed",
            remedy="or --run adapters/<type>_pytorch for the checkpoints of a run",
        )
    wanted = tuple(part.strip() for part in parts.split(","))
    if unknown := set(wanted) - set(PARTS):
        raise UserError(f"unknown part {sorted(unknown)[0]!r}", remedy=f"some of {', '.join(PARTS)}")
    ks = tuple(dict.fromkeys(int(number) if number.strip().isdecimal() else -1 for number in k.split(",")))
    if min(ks) < 0 or samples < 1:
        raise UserError(
            "--k is a list of numbers, --samples a number above 0", remedy="write --k 0,3 --samples 4"
        )
    if wanted == ("loop",) and max(ks) == 0 and samples == 1:
        raise UserError(
            "a loop without repairs and without samples is the plain model",
            remedy="write --k 3, or --parts steps",
        )
    if split not in (*SPLITS, "all", "auto"):
        raise UserError(f"there is no split {split!r}", remedy=f"one of {', '.join(SPLITS)}, all or auto")
    if split == "auto":
        split = "test" if (benchmarks / "split.json").exists() else "all"
    chosen = problems_of_split(benchmarks, split, problems)
    result = evaluate_once(
        out, model, chosen, wanted, adapter, max_new_tokens, ks, seed, samples, temperature, grammar
    )
    print(scores({"": result}).drop(columns="model").to_string(index=False))
    print(show_path(out))


if __name__ == "__main__":
    command(main)()
