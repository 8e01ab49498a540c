"""The conversion: problems in, verified rows and a report out.

Each problem gives conversations (the problem step by step) and repairs (a broken rule and the solver
message). The solver verifies each row: a renamed program has the answer sets of the original, a repair's
message is what the solver says about the broken rule in its context, and the solver accepts the corrected
rule. The same problems, settings and seed give the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from random import Random

from tqdm.auto import tqdm

from scripts.asp.solver import Solver
from scripts.data.conversations import Wordings, conversation_rows
from scripts.data.encoded_rows import counts, encode_rows
from scripts.data.in_view import unnamed_predicates
from scripts.data.left_out import LeftOut, nothing_left
from scripts.data.paraphrase.files import load_instructions, with_paraphrases
from scripts.data.problems import Collection, Problem, read_collection
from scripts.data.renamed_problems import (
    RenamedProblem,
    VariableRenamer,
    renamed_problems,
    retold_problems,
)
from scripts.data.repairs import RepairMaker
from scripts.data.report import ConversionReport, Report
from scripts.data.rows import REPORT, SPLITS, Row, load_rows, write_row_files
from scripts.data.settings import ConversionSettings
from scripts.data.shapes import coverage, statements_of
from scripts.data.twins import check_split, groups_of_twins
from scripts.lm.chat import load_tokenizer
from utils_ft import UserError, check_writable, content_hash, one_writer, read_json, write_json


def convert_folder(
    benchmarks: Path,
    out: Path,
    settings: ConversionSettings,
    *,
    seed: int = 0,
    limit: int | None = None,
    paraphrases: Path | None = None,
    generated: Path | None = None,
) -> ConversionReport:
    """Convert a folder of problems and write `train.jsonl`, `valid.jsonl`, `test.jsonl` and `report.json`.

    A problem that cannot be used is left out; the report says why. Files are written at the end, each as a
    whole: if nothing can be converted, older files stay. If the conversion is killed while it writes,
    training refuses the files until they are converted again.

    Arguments:
        benchmarks: The folder of problems.
        out: The folder to write to.
        settings: What to make of each problem.
        seed: Decides all random choices.
        limit: Convert only so many problems, some of each split.
        paraphrases: A folder that `data_augmentor` wrote. Its paraphrases replace those of the problems.
        generated: A folder that `data_generator` wrote. Its problems are added to the training split.

    Returns:
        The content of `report.json`.

    Raises:
        UserError: There is no such folder, its split.json is wrong or separates twins, no problem can be
            used, or `out` cannot be written.
    """
    collection = read_collection(benchmarks)
    if generated:
        collection = collection.with_generated(generated)
    return convert_collection(collection, out, settings, seed=seed, limit=limit, paraphrases=paraphrases)


def convert_collection(
    collection: Collection,
    out: Path,
    settings: ConversionSettings,
    *,
    seed: int = 0,
    limit: int | None = None,
    paraphrases: Path | None = None,
) -> ConversionReport:
    """Convert a collection that has been read. Arguments, files, result and errors as `convert_folder`."""
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
    if collection.split_file:
        check_split(chosen, collection.splits, collection.split_file)
    chosen, wordings, unread = _with_paraphrases(chosen, paraphrases)
    rows, report = convert(chosen, collection.splits, settings, seed, wordings, collection.generated)
    report.left_out[:0] = [*collection.left_out, *unread]
    if not any(rows.values()):
        raise nothing_left(report.left_out, "no problem can be converted")
    metas = [row["meta"] for split in SPLITS for row in rows[split]]
    problems = {(meta["family"], meta["problem"]): meta["split"] for meta in metas}
    by_split = {
        split: [one for one in chosen if problems.get((one.family, one.name)) == split]
        for split in ("train", "valid")
    }
    summary = report.as_json() | {
        "seed": seed,
        "problems": dict(Counter(problems.values())),
        "twins": [] if collection.split_file else _groups(collection),
        "generated": len(collection.generated),
        "shapes": _shapes(by_split),
    }
    return write_row_files(out, rows, summary)


def _with_paraphrases(
    problems: Sequence[Problem], folder: Path | None
) -> tuple[list[Problem], dict[str, Wordings], list[LeftOut]]:
    """The problems with their generated descriptions, and their generated instructions by id.

    A problem keeps its own texts if a file of paraphrases cannot be read; the list says why.
    """
    found, wordings, unread = list(problems), {}, []
    for place, problem in enumerate(found if folder else ()):
        try:
            [found[place]] = with_paraphrases([problem], folder)
            wordings[problem.id] = load_instructions(problem, folder)
        except UserError as fault:
            unread.append(LeftOut(problem.id, fault))
    return found, wordings, unread


def _groups(collection: Collection) -> list[dict]:
    """The groups of twins that the split keeps together."""
    groups = [[problem.id for problem in group] for group in groups_of_twins(collection.problems)]
    return [{"problems": ids, "split": collection.splits[ids[0]]} for ids in groups if len(ids) > 1]


def _shapes(by_split: Mapping[str, Sequence[Problem]]) -> dict[str, dict[str, float]]:
    """How much of the shapes of validation rules training shows, for all rules and by construct."""
    found = coverage(*(statements_of(by_split[split]) for split in ("train", "valid")))
    return {name: asdict(figures) for name, figures in found.items()}


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
    generated: Set[str] = frozenset(),
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
        generated: The ids of the generated problems, which are told once.

    Returns:
        The rows of each split, in the order of the problems, and the report.
    """
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    report = Report()
    seen: set[str] = set()

    def convert_one(problem: Problem) -> tuple[list[Row], Report]:
        rng = Random(content_hash(str(seed), problem.id))
        own_settings = settings.for_split(splits[problem.id])
        if problem.id in generated:
            own_settings = own_settings.for_generated()
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
    renamed = renamed_problems(problem, settings.vocabularies, rng, solver, report)
    if not renamed:
        return [], report
    report.findings += _findings(problem, renamed[0])
    report.count_steps(problem.encoding.instructed)
    if settings.retellings:
        renamed[1:1] = retold_problems(renamed[0], solver, report)
    renamer = VariableRenamer(solver, report)
    rows = list(conversation_rows(renamed, renamer, settings, rng, wordings))
    for one, limit in zip(renamed, _shares(settings.repairs, len(renamed)), strict=True):
        maker = RepairMaker(one, solver, renamer, settings.namings, settings.repairs_in_conversation)
        rows += maker.rows(limit, rng)
        report.add(maker.report)
    if not rows:
        line, name = next(iter(unnamed_predicates(problem)), (1, ""))
        fault = UserError(
            f"no row can be made{f': no text before this rule names its predicate {name}' * bool(name)}",
            where=problem.encoding_file,
            line=line,
            remedy=f"name every predicate in {problem.description_file.name}",
        )
        report.left_out.append(LeftOut(problem.id, fault))
    return rows, report


def _findings(problem: Problem, own: RenamedProblem) -> list[dict]:
    """What a person should look at.

    These are the findings of the reader, predicates that no text names, and gold without answer sets.
    """
    found = [(finding.line, finding.kind, finding.text) for finding in problem.encoding.findings]
    found += [
        (line, "predicate that no text before its first use names", name)
        for line, name in unnamed_predicates(problem)
    ]
    if not any(outcome.answer_sets for outcome in own.gold):
        found.append((1, "no instance has an answer set, so no answer sets are compared", problem.name))
    return [
        {"problem": problem.id, "line": line, "kind": kind, "text": text}
        for line, kind, text in sorted(found, key=lambda finding: finding[0])
    ]


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
