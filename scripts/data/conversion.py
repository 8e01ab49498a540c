"""Annotated problems in, proved JSONL out, with a report of what was kept and dropped and why.

    python -m scripts.data_converter --benchmarks data/benchmarks --out data --seed 0

Two kinds of rows: conversations (a problem step by step, in several styles, namings, noise and vocabularies) and
independent repair turns. Each carries a proof: renamed programs have the answer sets of the original, a repair's message is what
clingo prints for that code in its context, its fix is accepted. Same input and seed, same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

from tqdm.auto import tqdm

from scripts.asp.solver import Solver
from scripts.data.conversations import NOISE_SHARE, conversation_rows
from scripts.data.encoded_rows import counts, encode_rows
from scripts.data.paraphrase.files import load_instructions, with_paraphrases
from scripts.data.problems import STYLES, Problem, read_problems, split_of
from scripts.data.renamed_problems import NAMINGS, renamed_problems
from scripts.data.repairs import repair_rows
from scripts.data.report import COUNTED, Report
from scripts.data.rows import SPLITS, Row, to_jsonl
from scripts.lm.chat import load_tokenizer
from scripts.training.recipe import load_profile
from utils_ft import BENCHMARKS, content_hash, write_json, write_text

# --- variants ---------------------------------------------------------------------------------------------------


# --- conversations ----------------------------------------------------------------------------------------------


# --- repairs ----------------------------------------------------------------------------------------------------


# --- the whole --------------------------------------------------------------------------------------------------


def convert(
    problems: list[Problem],
    splits: dict[str, str],
    seed: int = 0,
    conversations: int = 10,
    repairs: int = 8,
    wordings: Callable[[Problem], dict[str, dict[str, str]]] | None = None,
    vocabularies: int = 0,
    styles: Collection[str] = STYLES,
    namings: tuple[str, ...] = NAMINGS,
    noise: float = NOISE_SHARE,
) -> tuple[dict[str, list[Row]], Report]:
    """The rows of each split, in order, and the report. Every problem's rows depend on the seed and on it alone.

    Training data varies `styles` and `namings`, has a share of `noise`, and the vocabulary in up to `vocabularies` retellings;
    validation and test keep the original conversation, and repairs.
    """
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    report = Report()
    seen: set[str] = set()

    def made(problem: Problem) -> tuple[list[Row], Report]:
        train = splits[problem.id] == "train"
        return problem_rows(
            problem,
            Random(content_hash(str(seed), problem.id)),
            solver,
            conversations if train else 1,
            repairs,
            wordings and wordings(problem),
            vocabularies if train else 0,
            styles,
            namings if train else ("original",),
            noise,
        )

    # While the solver's workers prove the rows of one problem, this process makes those of another.
    with Solver() as solver, ThreadPoolExecutor(solver.size) as pool:
        found = pool.map(made, problems)
        for problem, (new, told) in zip(
            problems, tqdm(found, "converting", len(problems), unit="problem", disable=None), strict=True
        ):
            report.add(told)
            split = splits[problem.id]
            for row in new:
                row["meta"]["split"] = split
                fingerprint = content_hash(json.dumps(row["messages"]))
                if fingerprint in seen:
                    report.dropped[f"{row['meta']['kind']}: exact duplicate"] += 1
                    continue
                seen.add(fingerprint)
                rows[split].append(row)
                counted = row["meta"] | {"names": "others" if "vocabulary" in row["meta"] else "its own"}
                report.rows[tuple(counted.get(name, "") for name in COUNTED)] += 1
    return rows, report


def problem_rows(
    problem: Problem,
    rng: Random,
    solver: Solver,
    conversations: int,
    repairs: int,
    wordings: dict[str, dict[str, str]] | None,
    vocabularies: int,
    styles: Collection[str],
    namings: tuple[str, ...],
    noise: float,
) -> tuple[list[Row], Report]:
    """The rows of one problem, the conversations first, and the report of what was proved and dropped on the way."""
    report = Report()
    report.findings += [
        {"problem": problem.id, "line": f.line, "kind": f.kind, "text": f.text}
        for f in problem.encoding.findings
    ]
    if not problem.encoding.instructed:
        report.dropped["problem: no statement has an instruction"] += 1
        return [], report
    told = [
        replace(renamed_problem, namings=namings)
        for renamed_problem in renamed_problems(problem, vocabularies, rng, solver, report)
    ]
    rows = list(conversation_rows(told, conversations, rng, wordings, styles, noise)) if told else []
    for place, renamed_problem in enumerate(told):
        rows += repair_rows(renamed_problem, repairs // len(told) + (place < repairs % len(told)), rng)
    return rows, report


def convert_folder(
    benchmarks: Path = BENCHMARKS,
    out: Path | None = None,
    seed: int = 0,
    conversations: int | None = None,
    repairs: int | None = None,
    problems: int | None = None,
    profile: str | None = None,
    paraphrases: Path | None = None,
    tokenizer: Path | None = None,
    vocabularies: int | None = None,
    **variety: Any,
) -> dict:
    """Convert a folder of problems and write `train.jsonl`, `valid.jsonl`, `test.jsonl` and `report.json`; the report.

    What is not given comes from the profile. With `paraphrases`, the folder that `data_augmentor` wrote, its texts stand in
    for the hand-written ones. With `tokenizer`, the folder of a model, tokens are counted, and the turns that its context
    would cut. `variety` limits styles, namings or noise, as in `convert`. Every file appears whole or not at all.
    """
    chosen = load_profile(profile)
    every = read_problems(benchmarks)
    splits = split_of(every, benchmarks)
    if paraphrases:
        every = with_paraphrases(every, paraphrases)
    wanted = _spread(every, splits, problems or chosen.problems)
    rows, report = convert(
        wanted,
        splits,
        seed,
        chosen.conversations if conversations is None else conversations,
        chosen.repairs if repairs is None else repairs,
        (lambda problem: load_instructions(problem, paraphrases)) if paraphrases else None,
        chosen.vocabularies if vocabularies is None else vocabularies,
        **variety,
    )
    out = out or chosen.data
    texts = {split: to_jsonl(rows[split]) for split in SPLITS}
    summary = report.as_json() | {
        "seed": seed,
        "problems": dict(Counter(splits[problem.id] for problem in wanted)),
        "sha256": {split: content_hash(text) for split, text in texts.items()},
    }
    if tokenizer:
        loaded, limit = load_tokenizer(tokenizer), chosen.recipe.max_tokens
        summary["tokens"] = {
            split: asdict(counts(rows[split], encode_rows(loaded, rows[split], limit))) for split in SPLITS
        }
    write_json(out / "report.json", summary)
    for split, text in texts.items():
        write_text(out / f"{split}.jsonl", text)
    return summary


def _spread(problems: list[Problem], splits: dict[str, str], limit: int | None) -> list[Problem]:
    """`limit` problems with each split in it: for the smoke profile, which reads a few only."""
    if limit is None or limit >= len(problems):
        return problems
    by_split = [[problem for problem in problems if splits[problem.id] == split] for split in SPLITS]
    shares = (limit - 2 * (limit // 6), limit // 6, limit // 6)
    return [problem for part, share in zip(by_split, shares, strict=True) for problem in part[:share]]
