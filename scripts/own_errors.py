"""Repair rows from a model's own errors: it writes the steps of training problems, the solver says what is wrong.

    python -m scripts.own_errors --model local_models/ft_smollm_pytorch [--out data/own_errors] [--problems N] [--samples 2]

The corruptions of `augmentations` follow what models are known to get wrong; these rows are what this model does get
wrong, so that it learns from the states that it reaches itself (Ross et al., 2011, dataset aggregation). Training goes
on from the fused model with them:

    python -m scripts.train_pytorch --model-type local_models/ft_smollm_pytorch --data data/own_errors --max-steps 100
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tqdm.auto import tqdm

from scripts import prompts
from scripts.asp_solver import Solver
from scripts.benchmarks import Problem
from scripts.data_converter import OWN_ERROR, SPLITS, Candidate, Report, Row, Telling, proved_repairs, tellings, to_jsonl
from scripts.dataset import load_rows, spread
from scripts.evaluate import held_out
from scripts.feedback import context_of
from scripts.loop import has_code
from scripts.recipe import profile
from scripts.writer import MAX_NEW_TOKENS, Writer, load_writer
from utils_ft import BENCHMARKS, UserError, command, digest, show_path, write_json, write_text


def own_errors(writer: Writer, problems: Sequence[Problem], solver: Solver, seed: int = 0, samples: int = 1) -> tuple[list[Row], Report]:
    """A proved repair row for each answer that the solver complains of, no two the same, and the report.

    Each problem is told in a vocabulary drawn anew, as the model may know its training conversations by heart. Of `samples`
    answers to a step the first is greedy. An answer that is only wrong gives no row: without gold nobody could say so.
    """
    report, rows = Report(), []
    for problem in tqdm(problems, desc="writing", unit="problem", disable=None):
        for telling in tellings(problem, 1, Random(digest("own errors", str(seed), problem.id)), solver, report)[-1:]:
            rows += proved_repairs(_candidates(writer, telling, samples), telling)
    for row in rows:
        row["meta"]["split"] = "train"
    return rows, report


def _candidates(writer: Writer, telling: Telling, samples: int) -> list[Candidate]:
    """What the model answers to each step, with the gold history before it, where that is code and not the gold code."""
    variant, (name, facts) = telling.original, telling.problem.example
    description = prompts.describe(telling.problem.description, variant.given)
    asked = [[*prompts.conversation(description, variant.steps[:index]), prompts.step(instruction)]
             for index, (instruction, _) in enumerate(variant.steps)]
    answers = [[greedy] for greedy in writer.answers(asked)]
    if samples > 1:
        answers = [first + more for first, more in zip(answers, writer.samples(asked, samples - 1), strict=True)]
    found = []
    for index, (texts, (_, gold)) in enumerate(zip(answers, variant.steps, strict=True)):
        context = context_of(facts, variant.given, [code for _, code in variant.steps[:index]])
        for code in dict.fromkeys(prompts.code_of(text)[0] for text in texts):
            if has_code(code) and code != gold:
                found.append(Candidate(OWN_ERROR, variant.naming, index, name, context, code, gold))
    return found


def main(
    model: Path, benchmarks: Path = BENCHMARKS, data: Path | None = None, out: Path | None = None, problems: int | None = None,
    samples: int = 1, seed: int = 0, max_new_tokens: int = MAX_NEW_TOKENS,
) -> None:
    """Make repair rows from what a fine-tuned model gets wrong on training problems.

    --out (by default `own_errors` in --data, the folder of the converted rows) gets them as train.jsonl with as many of the
    converted rows, so that nothing is forgotten over them; valid.jsonl and test.jsonl are those of --data.
    --problems limits how many are written; --samples draws more answers to each step than the greedy one.
    """
    if samples < 1:
        raise UserError("--samples is a number above 0", remedy="write --samples 2")
    data = data or profile().data
    out = out or data / "own_errors"
    converted = {split: load_rows(data, split) for split in SPLITS}  # hear of a missing file before hours of writing
    chosen = held_out(benchmarks, "train", problems)
    with Solver() as solver:
        rows, report = own_errors(load_writer(model, max_new_tokens=max_new_tokens, seed=seed), chosen, solver, seed, samples)
    for reason, number in sorted(report.dropped.items()):
        print(f"dropped {number:5}  {reason}")
    if not rows:
        raise UserError("the model made no error that the solver sees", where=model, remedy="draw more answers with --samples 4")
    write_json(out / "report.json", {
        "model": show_path(model), "seed": seed, "samples": samples, "problems": len(chosen), "rows": len(rows),
        "dropped": dict(sorted(report.dropped.items())), "proofs": dict(sorted(report.proofs.items()))})
    for split in SPLITS:
        write_text(out / f"{split}.jsonl", to_jsonl(rows + spread(converted[split], len(rows)) if split == "train" else converted[split]))
    for kind, number in sorted(Counter(row["meta"]["corruption"] for row in rows).items()):
        print(f"{kind:14} {number:6}")
    print(show_path(out))


if __name__ == "__main__":
    command(main)()
