"""The conversion: problems in, verified rows and a report out.

Each problem gives conversations (the problem step by step) and repairs (a broken rule and the solver
message). The solver verifies each row: a renamed program has the answer sets of the original, a repair's
message is what the solver says about the broken rule in its context, and the solver accepts the corrected
rule. The same problems, settings and seed give the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from random import Random

from tqdm.auto import tqdm

from scripts.asp.solver import Solver
from scripts.data.conversations import Wordings, conversation_rows
from scripts.data.encoded_rows import counts, encode_rows
from scripts.data.paraphrase.files import load_instructions, with_paraphrases
from scripts.data.problems import Collection, Problem, read_collection
from scripts.data.renamed_problems import VariableRenamer, renamed_problems, retold_problems
from scripts.data.repairs import RepairMaker
from scripts.data.report import ConversionReport, Report
from scripts.data.rows import REPORT, SPLITS, Row, load_rows, write_row_files
from scripts.data.settings import ConversionSettings
from scripts.lm.chat import load_tokenizer
from utils_ft import check_writable, content_hash, one_writer, read_json, write_json


def convert_folder(
    benchmarks: Path,
    out: Path,
    settings: ConversionSettings,
    *,
    seed: int = 0,
    limit: int | None = None,
    paraphrases: Path | None = None,
) -> ConversionReport:
    """Convert a folder of problems and write `train.jsonl`, `valid.jsonl`, `test.jsonl` and `report.json`.

    Files are written at the end, each as a whole: if the conversion fails, older files stay. If it is killed
    while it writes, training refuses the files until they are converted again.

    Arguments:
        benchmarks: The folder of problems.
        out: The folder to write to.
        settings: What to make of each problem.
        seed: Decides all random choices.
        limit: Convert only so many problems, some of each split.
        paraphrases: A folder that `data_augmentor` wrote. Its paraphrases replace those of the problems.

    Returns:
        The content of `report.json`.

    Raises:
        UserError: A problem, an encoding, an instance or a paraphrase cannot be read or solved, or `out`
            cannot be written.
    """
    collection = read_collection(benchmarks)
    check_writable(out, folder=True)
    with one_writer(out, inside=True):
        return _convert_collection(collection, out, settings, seed, limit, paraphrases)


def _convert_collection(
    collection: Collection,
    out: Path,
    settings: ConversionSettings,
    seed: int,
    limit: int | None,
    paraphrases: Path | None,
) -> ConversionReport:
    chosen = _some_of_each_split(collection.problems, collection.splits, limit)
    wordings = None
    if paraphrases:
        chosen = with_paraphrases(chosen, paraphrases)
        wordings = {problem.id: load_instructions(problem, paraphrases) for problem in chosen}
    rows, report = convert(chosen, collection.splits, settings, seed, wordings)
    summary = report.as_json() | {
        "seed": seed,
        "problems": dict(Counter(collection.splits[problem.id] for problem in chosen)),
    }
    return write_row_files(out, rows, summary)


def add_token_counts(folder: Path, tokenizer: Path, max_tokens: int) -> ConversionReport:
    """Count the tokens of converted rows and add them to `report.json`, as `tokens`.

    Arguments:
        folder: The folder of the rows and the report.
        tokenizer: The folder of a model whose tokenizer counts.
        max_tokens: The limit of a row in training; the report says what is beyond it.

    Returns:
        The content of `report.json`.
    """
    loaded = load_tokenizer(tokenizer)
    with one_writer(folder, inside=True):
        report: ConversionReport = read_json(folder / REPORT, "convert the data again")
        report["tokens"] = {}
        for split in SPLITS:
            rows = load_rows(folder, split)
            report["tokens"][split] = asdict(counts(rows, encode_rows(loaded, rows, max_tokens)))
        write_json(folder / REPORT, report)
    return report


def convert(
    problems: Sequence[Problem],
    splits: Mapping[str, str],
    settings: ConversionSettings,
    seed: int = 0,
    wordings: Mapping[str, Wordings] | None = None,
) -> tuple[dict[str, list[Row]], Report]:
    """Convert problems.

    The rows of a problem depend on the problem, the settings and the seed, not on the other problems. Of
    equal rows only the first is kept.

    Arguments:
        problems: The problems.
        splits: The split of each problem, by id.
        settings: What to make of each training problem; other problems are not varied.
        seed: Decides all random choices.
        wordings: Paraphrased instructions, by the id of the problem.

    Returns:
        The rows of each split, in the order of the problems, and the report.
    """
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    report = Report()
    seen: set[str] = set()

    def convert_one(problem: Problem) -> tuple[list[Row], Report]:
        rng = Random(content_hash(str(seed), problem.id))
        own_settings = settings.for_split(splits[problem.id])
        return problem_rows(problem, own_settings, rng, solver, (wordings or {}).get(problem.id))

    # The threads make the rows of several problems, so that all workers of the solver are in use.
    with Solver() as solver, ThreadPoolExecutor(solver.size) as pool:
        results = pool.map(convert_one, problems)
        bar = tqdm(results, "converting", len(problems), unit="problem", disable=None)
        for problem, (new_rows, new_report) in zip(problems, bar, strict=True):
            report.add(new_report)
            split = splits[problem.id]
            for row in new_rows:
                fingerprint = content_hash(json.dumps(row["messages"]))
                if fingerprint in seen:
                    report.dropped[f"{row['meta']['kind']}: exact duplicate"] += 1
                    continue
                seen.add(fingerprint)
                row["meta"]["split"] = split
                rows[split].append(row)
                report.count_row(row)
    return rows, report


def problem_rows(
    problem: Problem,
    settings: ConversionSettings,
    rng: Random,
    solver: Solver,
    wordings: Wordings | None = None,
) -> tuple[list[Row], Report]:
    """Return the rows of one problem, conversations first, and a report on what was verified and dropped."""
    report = Report()
    report.findings += [
        {"problem": problem.id, "line": finding.line, "kind": finding.kind, "text": finding.text}
        for finding in problem.encoding.findings
    ]
    if not problem.encoding.instructed:
        report.dropped["problem: no statement has an instruction"] += 1
        return [], report
    renamed = renamed_problems(problem, settings.vocabularies, rng, solver, report)
    if not renamed:
        return [], report
    if settings.retellings:
        renamed[1:1] = retold_problems(renamed[0], solver, report)
    renamer = VariableRenamer(solver, report)
    rows = list(conversation_rows(renamed, renamer, settings, rng, wordings))
    for one, limit in zip(renamed, _shares(settings.repairs, len(renamed)), strict=True):
        maker = RepairMaker(one, solver, renamer, settings.namings)
        rows += maker.rows(limit, rng)
        report.add(maker.report)
    return rows, report


def _shares(total: int, parts: int) -> list[int]:
    """`total` in `parts` shares that differ by 1 at the most, the larger ones first."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def _some_of_each_split(
    problems: Sequence[Problem], splits: Mapping[str, str], limit: int | None
) -> list[Problem]:
    """`limit` of the problems, a sixth of them for validation and a sixth for test; all if there are not
    more.
    """
    if limit is None or limit >= len(problems):
        return list(problems)
    sixth = limit // 6
    shares = {"train": limit - 2 * sixth, "valid": sixth, "test": sixth}
    chosen: list[Problem] = []
    for split in SPLITS:
        chosen += [problem for problem in problems if splits[problem.id] == split][: shares[split]]
    return chosen
