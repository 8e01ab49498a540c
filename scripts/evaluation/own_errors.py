"""Repair rows from a model's own errors: it writes the steps of training problems, the solver says what is wrong.

    python -m scripts.own_errors --model local_models/ft_smollm_pytorch [--out data/own_errors] [--problems N] [--samples 2]

The corruptions of `augmentations` follow what models are known to get wrong; these rows are what this model does get
wrong, so that it learns from the states that it reaches itself (Ross et al., 2011, dataset aggregation). Training goes
on from the fused model with them:

    python -m scripts.train_pytorch --profile demo --model-type local_models/ft_smollm_pytorch --data data/own_errors \\
        --max-steps 60 --learning-rate 2e-4 --no-qlora
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from tqdm.auto import tqdm

from scripts.asp_solver import Solver
from scripts.benchmarks import Problem
from scripts.data_converter import SPLITS, Candidate, Report, Row, Telling, repair_row, tellings, to_jsonl
from scripts.dataset import load_rows, spread
from scripts.evaluate import SCORING_VERSION, held_out, kept_in, weights_digest
from scripts.judge import Judge
from scripts.loop import Ask, check, has_code
from scripts.recipe import profile
from scripts.writer import MAX_NEW_TOKENS, Writer, load_writer
from utils_ft import BENCHMARKS, UserError, command, digest, show_path, write_json, write_text

OWN_ERROR = "own error"  # what a model wrote itself, in place of a class of corruption
TOGETHER = 16  # problems: some two hundred steps are written in about the time of one problem's


def own_errors(
    writer: Writer, problems: Sequence[Problem], solver: Solver, seed: int = 0, samples: int = 1,
) -> list[tuple[list[Row], Report]]:
    """Of each problem a repair row for each answer that the loop would complain of, in the loop's words; and the report.

    A problem is told in a vocabulary drawn anew, as the model may know its training conversations by heart. Of `samples`
    answers to a step the first is greedy. An answer that is only wrong gives no row: without gold nobody could say so.
    """
    reports = [Report() for _ in problems]
    told = [tellings(problem, 1, Random(digest("own errors", str(seed), problem.id)), solver, report)[-1:]
            for problem, report in zip(problems, reports, strict=True)]
    asks = [[ask for telling in found for ask in Judge(telling.problem, solver).asks_in_the_loop()] for found in told]
    asked = [ask.messages for part in asks for ask in part]
    drawn = writer.samples(asked, samples - 1) if samples > 1 else [[]] * len(asked)
    answers = ([greedy, *more] for greedy, more in zip(writer.answers(asked), drawn, strict=True))
    return [(list(_rows(found, part, list(islice(answers, len(part))), solver, report)), report)
            for found, part, report in zip(told, asks, reports, strict=True)]


def _rows(
    told: Sequence[Telling], asks: Sequence[Ask], answers: Sequence[Sequence[str]], solver: Solver, report: Report,
) -> Iterator[Row]:
    """The rows of one problem, of which `told` is the telling that was written, if there is one."""
    for telling in told:
        gold = check(asks, [code for _, code in telling.original.steps], solver)
        for index, (ask, right, texts) in enumerate(zip(asks, gold, answers, strict=True)):
            if right.complaint:
                report.dropped["step: the solver has something against the gold code"] += 1
                continue
            tries = {found.code: found for found in check([ask] * len(texts), texts, solver) if has_code(found.code)}
            for found in tries.values():
                if not found.complaint:
                    report.dropped["answer: the solver has nothing against it"] += 1
                    continue
                instance, _ = telling.problem.example
                candidate = Candidate(OWN_ERROR, telling.original.naming, index, instance, ask.context, found.code, right.code)
                if row := repair_row(candidate, telling, OWN_ERROR, found.complaint):
                    row["meta"]["split"] = "train"
                    yield row


def main(
    model: Path, benchmarks: Path = BENCHMARKS, data: Path | None = None, out: Path | None = None, problems: int | None = None,
    samples: int = 1, seed: int = 0, max_new_tokens: int = MAX_NEW_TOKENS,
) -> None:
    """Make repair rows from what a fine-tuned model gets wrong on training problems.

    --out (by default `own_errors` in --data, the folder of the converted rows) gets them as train.jsonl with as many of the
    converted rows, so that nothing is forgotten over them; valid.jsonl and test.jsonl are those of --data. What each problem
    gave is kept below `problems` there, so that an interrupted command goes on.
    --problems limits how many are written; --samples draws more answers to each step than the greedy one.
    """
    if samples < 1:
        raise UserError("--samples is a number above 0", remedy="write --samples 2")
    data = data or profile().data
    out = out or data / "own_errors"
    if out.resolve() == data.resolve():
        raise UserError("the rows would replace those that they are made to go with", where=out, remedy="name another folder with --out")
    converted = {split: load_rows(data, split) for split in SPLITS}  # hear of a missing file before hours of writing
    chosen = held_out(benchmarks, "train", problems)
    writer = load_writer(model, max_new_tokens=max_new_tokens, seed=seed)
    made_by = digest(weights_digest(model), str(SCORING_VERSION), str((seed, samples, max_new_tokens)))
    rows, dropped = [], Counter()
    with Solver() as solver, tqdm(total=len(chosen), desc="writing", unit="problem", disable=None) as bar:
        for group in (chosen[start : start + TOGETHER] for start in range(0, len(chosen), TOGETHER)):
            for kept in _kept(out / "problems", made_by, writer, group, solver, seed, samples):
                rows += kept["rows"]
                dropped.update(kept["dropped"])
            bar.update(len(group))
    for reason, number in sorted(dropped.items()):
        print(f"dropped {number:5}  {reason}")
    if not rows:
        raise UserError("the model made no error that the solver sees", where=model, remedy="draw more answers with --samples 4")
    write_json(out / "report.json", {
        "model": show_path(model), "seed": seed, "samples": samples, "problems": len(chosen), "rows": len(rows),
        "dropped": dict(sorted(dropped.items()))})
    for split in SPLITS:
        write_text(out / f"{split}.jsonl", to_jsonl(rows + spread(converted[split], len(rows)) if split == "train" else converted[split]))
    for kind, number in sorted(Counter(_kind(row) for row in rows).items()):
        print(f"{kind:14} {number:6}")
    print(show_path(out))


def _kept(
    folder: Path, made_by: str, writer: Writer, problems: Sequence[Problem], solver: Solver, seed: int, samples: int,
) -> list[dict]:
    """Rows and dropped answers of each problem, from `folder` where the same model has written the same problem before."""
    files = [folder / f"{problem.family}.{problem.name}.json" for problem in problems]
    identities = [digest(made_by, problem.digest) for problem in problems]
    kept = [kept_in(file, identity) for file, identity in zip(files, identities, strict=True)]
    missing = [place for place, found in enumerate(kept) if not found]
    made = own_errors(writer, [problems[place] for place in missing], solver, seed, samples) if missing else []
    for place, (rows, report) in zip(missing, made, strict=True):
        kept[place] = {"identity": identities[place], "rows": rows, "dropped": dict(report.dropped)}
        write_json(files[place], kept[place])
    return kept


def _kind(row: Row) -> str:
    return "unsatisfiable" if row["meta"]["error"] == "UNSATISFIABLE" else "clingo's words"


if __name__ == "__main__":
    command(main)()
