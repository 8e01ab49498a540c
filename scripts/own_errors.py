"""Repair rows from a model's own errors: it writes the steps of training problems, the solver says what is wrong.

    python -m scripts.own_errors --model local_models/ft_smollm_pytorch [--out data/own_errors] [--problems N] [--samples 2]

The corruptions of `augmentations` follow what models are known to get wrong; these rows are what this model does get
wrong, so that it learns from the states that it reaches itself (Ross et al., 2011, dataset aggregation). Training goes
on from the fused model with them:

    python -m scripts.train_pytorch --profile demo --model-type local_models/ft_smollm_pytorch --data data/own_errors \
        --max-steps 60 --learning-rate 2e-4 --no-qlora
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tqdm.auto import tqdm

from scripts.asp.solver import Solver
from scripts.data.problems import problems_of_split
from scripts.data.rows import SPLITS, load_rows, to_jsonl
from scripts.evaluation.own_errors import TOGETHER, _kept, _kind
from scripts.evaluation.results import SCORING_VERSION, weights_digest
from scripts.inference.generator import load_generator
from scripts.inference.requests import MAX_NEW_TOKENS
from scripts.training.recipe import load_profile
from utils_ft import (
    BENCHMARKS,
    UserError,
    command,
    content_hash,
    evenly_spaced,
    show_path,
    write_json,
    write_text,
)


def main(
    model: Path,
    benchmarks: Path = BENCHMARKS,
    data: Path | None = None,
    out: Path | None = None,
    problems: int | None = None,
    samples: int = 1,
    seed: int = 0,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> None:
    """Make repair rows from what a fine-tuned model gets wrong on training problems.

    --out (by default `own_errors` in --data, the folder of the converted rows) gets them as train.jsonl with as many of the
    converted rows, so that nothing is forgotten over them; valid.jsonl and test.jsonl are those of --data. What each problem
    gave is kept below `problems` there, so that an interrupted command goes on.
    --problems limits how many are written; --samples draws more answers to each step than the greedy one.
    """
    if samples < 1:
        raise UserError("--samples is a number above 0", remedy="write --samples 2")
    data = data or load_profile().data
    out = out or data / "own_errors"
    if out.resolve() == data.resolve():
        raise UserError(
            "the rows would replace those that they are made to go with",
            where=out,
            remedy="name another folder with --out",
        )
    converted = {
        split: load_rows(data, split) for split in SPLITS
    }  # hear of a missing file before hours of writing
    chosen = problems_of_split(benchmarks, "train", problems)
    generator = load_generator(model, max_new_tokens=max_new_tokens, seed=seed)
    made_by = content_hash(weights_digest(model), str(SCORING_VERSION), str((seed, samples, max_new_tokens)))
    rows, dropped = [], Counter()
    with Solver() as solver, tqdm(total=len(chosen), desc="writing", unit="problem", disable=None) as bar:
        for group in (chosen[start : start + TOGETHER] for start in range(0, len(chosen), TOGETHER)):
            for kept in _kept(out / "problems", made_by, generator, group, solver, seed, samples):
                rows += kept["rows"]
                dropped.update(kept["dropped"])
            bar.update(len(group))
    for reason, number in sorted(dropped.items()):
        print(f"dropped {number:5}  {reason}")
    if not rows:
        raise UserError(
            "the model made no error that the solver sees",
            where=model,
            remedy="draw more answers with --samples 4",
        )
    write_json(
        out / "report.json",
        {
            "model": show_path(model),
            "seed": seed,
            "samples": samples,
            "problems": len(chosen),
            "rows": len(rows),
            "dropped": dict(sorted(dropped.items())),
        },
    )
    for split in SPLITS:
        write_text(
            out / f"{split}.jsonl",
            to_jsonl(
                rows + evenly_spaced(converted[split], len(rows)) if split == "train" else converted[split]
            ),
        )
    for kind, number in sorted(Counter(_kind(row) for row in rows).items()):
        print(f"{kind:14} {number:6}")
    print(show_path(out))


if __name__ == "__main__":
    command(main)()
