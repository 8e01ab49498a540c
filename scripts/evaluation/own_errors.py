"""Repair rows from a model's own errors: it writes the steps of training problems, the solver says what is wrong.

    python -m scripts.own_errors --model local_models/ft_smollm_pytorch [--out data/own_errors] [--problems N] [--samples 2]

The corruptions of `augmentations` follow what models are known to get wrong; these rows are what this model does get
wrong, so that it learns from the states that it reaches itself (Ross et al., 2011, dataset aggregation). Training goes
on from the fused model with them:

    python -m scripts.train_pytorch --profile demo --model-type local_models/ft_smollm_pytorch --data data/own_errors \\
        --max-steps 60 --learning-rate 2e-4 --no-qlora
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from scripts.asp.solver import Solver
from scripts.data.problems import Problem
from scripts.data.renamed_problems import RenamedProblem, renamed_problems
from scripts.data.repairs import Candidate, repair_row
from scripts.data.report import Report
from scripts.data.rows import Row
from scripts.evaluation.grader import Grader
from scripts.evaluation.results import kept_in
from scripts.inference.attempts import check, has_code
from scripts.inference.generator import Generator
from scripts.inference.requests import StepRequest
from utils_ft import content_hash, write_json

OWN_ERROR = "own error"  # what a model wrote itself, in place of a class of corruption
TOGETHER = 16  # problems: some two hundred steps are written in about the time of one problem's


def own_errors(
    generator: Generator,
    problems: Sequence[Problem],
    solver: Solver,
    seed: int = 0,
    samples: int = 1,
) -> list[tuple[list[Row], Report]]:
    """Of each problem a repair row for each answer that the loop would complain of, in the loop's words; and the report.

    A problem is told in a vocabulary drawn anew, as the model may know its training conversations by heart. Of `samples`
    answers to a step the first is greedy. An answer that is only wrong gives no row: without gold nobody could say so.
    """
    reports = [Report() for _ in problems]
    told = [
        renamed_problems(
            problem, 1, Random(content_hash("own errors", str(seed), problem.id)), solver, report
        )[-1:]
        for problem, report in zip(problems, reports, strict=True)
    ]
    requests = [
        [ask for renamed_problem in found for ask in Grader(renamed_problem.problem, solver).loop_requests()]
        for found in told
    ]
    asked = [ask.messages for part in requests for ask in part]
    drawn = generator.sample(asked, samples - 1) if samples > 1 else [[]] * len(asked)
    answers = ([greedy, *more] for greedy, more in zip(generator.generate(asked), drawn, strict=True))
    return [
        (list(_rows(found, part, list(islice(answers, len(part))), solver, report)), report)
        for found, part, report in zip(told, requests, reports, strict=True)
    ]


def _rows(
    told: Sequence[RenamedProblem],
    requests: Sequence[StepRequest],
    answers: Sequence[Sequence[str]],
    solver: Solver,
    report: Report,
) -> Iterator[Row]:
    """The rows of one problem, of which `told` is the telling that was written, if there is one."""
    for renamed_problem in told:
        gold = check(requests, [code for _, code in renamed_problem.original.steps], solver)
        for index, (ask, right, texts) in enumerate(zip(requests, gold, answers, strict=True)):
            if right.message:
                report.dropped["step: the solver has something against the gold code"] += 1
                continue
            attempts = {
                found.code: found
                for found in check([ask] * len(texts), texts, solver)
                if has_code(found.code)
            }
            for found in attempts.values():
                if not found.message:
                    report.dropped["answer: the solver has nothing against it"] += 1
                    continue
                instance, _ = renamed_problem.problem.example
                candidate = Candidate(
                    OWN_ERROR,
                    renamed_problem.original.naming,
                    index,
                    instance,
                    ask.context,
                    renamed_problem.original.steps[index][0],
                    found.code,
                    right.code,
                )
                if row := repair_row(candidate, renamed_problem, OWN_ERROR, found.message, report):
                    row["meta"]["split"] = "train"
                    yield row


def _kept(
    folder: Path,
    made_by: str,
    generator: Generator,
    problems: Sequence[Problem],
    solver: Solver,
    seed: int,
    samples: int,
) -> list[dict]:
    """Rows and dropped answers of each problem, from `folder` where the same model has written the same problem before."""
    files = [folder / f"{problem.family}.{problem.name}.json" for problem in problems]
    identities = [content_hash(made_by, problem.digest) for problem in problems]
    kept = [kept_in(file, identity) for file, identity in zip(files, identities, strict=True)]
    missing = [place for place, found in enumerate(kept) if not found]
    made = (
        own_errors(generator, [problems[place] for place in missing], solver, seed, samples)
        if missing
        else []
    )
    for place, (rows, report) in zip(missing, made, strict=True):
        kept[place] = {"identity": identities[place], "rows": rows, "dropped": dict(report.dropped)}
        write_json(files[place], kept[place])
    return kept


def _kind(row: Row) -> str:
    return "unsatisfiable" if row["meta"]["error"] == "UNSATISFIABLE" else "clingo's words"
