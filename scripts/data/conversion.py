"""Annotated problems in, proved JSONL out, with a report of what was kept and dropped and why.

    python -m scripts.data_converter --benchmarks data/benchmarks --out data --seed 0

Two kinds of rows: conversations (a problem step by step, in several styles, namings, noise and vocabularies) and
independent repair turns. Each carries a proof: renamed programs have the answer sets of the original, a repair's message is what
clingo prints for that code in its context, its fix is accepted. Same input and seed, same bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle, islice, product
from pathlib import Path
from random import Random
from typing import Any

from tqdm.auto import tqdm

from scripts.asp.encoding import predicates
from scripts.asp.feedback import context_of, solver_message
from scripts.asp.solver import Outcome, Relation, Request, Solver, Verdict, compare, evidence
from scripts.data.corruptions import CORRUPTIONS, POOLS, noisy, rename, rename_in_text, same_up_to
from scripts.data.paraphrase.files import load_instructions, with_paraphrases
from scripts.data.predicate_renaming import (
    mentions_predicate,
    rename_predicates,
    rename_predicates_in_program,
    rename_predicates_in_text,
    renamed,
    variable_names,
)
from scripts.data.problems import STYLES, Problem, instance_faults, read_problems, split_of
from scripts.lm import prompts
from scripts.lm.chat import load_tokenizer
from scripts.training.dataset import counts, encode_rows
from scripts.training.recipe import load_profile
from utils_ft import BENCHMARKS, UserError, content_hash, write_json, write_text

SPLITS = ("train", "valid", "test")
NAMINGS = ("original", *POOLS)
COUNTED = (
    "split",
    "kind",
    "style",
    "naming",
    "noise",
    "names",
    "corruption",
)  # what the report counts rows by
NOISE_SHARE = (
    0.25  # of the conversations: enough to be robust, while most instructions stay as people write them
)
EVIDENCE = "clingo accepts this code, but "  # opens a message that comes from comparing answer sets

Row = dict[str, Any]


@dataclass
class Report:
    """Counts of what was made, proved and dropped, as the notebook and `report.json` show them."""

    rows: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    proofs: Counter = field(default_factory=Counter)
    findings: list[dict] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count what another report counts as well."""
        self.rows.update(other.rows)
        self.dropped.update(other.dropped)
        self.proofs.update(other.proofs)
        self.findings += other.findings

    def as_json(self) -> dict:
        rows = [
            dict(zip((*COUNTED, "rows"), (*k, n), strict=True)) for k, n in sorted(self.rows.items(), key=str)
        ]
        return {
            "rows": rows,
            "dropped": dict(sorted(self.dropped.items())),
            "proofs": dict(sorted(self.proofs.items())),
            "findings": self.findings,
        }


@dataclass(frozen=True)
class Variant:
    """A problem under one naming: instructions and codes of its steps with an instruction, and the code without.

    `names` maps the variables of each step from old to new.
    """

    naming: str
    given: str
    steps: tuple[tuple[str, str], ...]
    names: tuple[dict[str, str], ...] = ()

    @property
    def program(self) -> str:
        return context_of("", self.given, [code for _, code in self.steps])


# --- variants ---------------------------------------------------------------------------------------------------


def variant_of(problem: Problem) -> Variant:
    """The problem with its own variables."""
    encoding = problem.encoding
    return Variant(
        "original", encoding.given, tuple((step.instruction, step.code) for step in encoding.instructed)
    )


def given_stands_first(problem: Problem, gold: list[Outcome], solver: Solver) -> bool:
    """Whether the code without instructions can stand before the rest, as it does when steps are asked for."""
    variant = variant_of(problem)
    return (
        not variant.given or compare(gold, solve(problem, variant.program, solver)).relation is Relation.EQUAL
    )


@dataclass
class RenamedProblem:
    """A problem in one vocabulary, under the namings of its variables that are asked for and proved.

    `names` maps its own predicates to those told, {} where they are the same; `gold` are its outcomes on its instances;
    `source` is the problem in its own vocabulary, where this is another.
    """

    problem: Problem
    names: dict[str, str]
    gold: list[Outcome]
    solver: Solver
    report: Report
    namings: tuple[str, ...] = NAMINGS
    source: RenamedProblem | None = None
    _variants: dict[str, Variant] = field(default_factory=dict)

    @cached_property
    def original(self) -> Variant:
        return variant_of(self.problem)

    @property
    def meta(self) -> dict[str, Any]:
        """What every row of it says of its origin."""
        return {"problem": self.problem.name, "family": self.problem.family} | (
            {"vocabulary": self.names} if self.names else {}
        )

    def variant(self, naming: str) -> Variant:
        """The problem under `naming` if its renaming is proved: same trees, nothing merged, same answer sets; else as it is."""
        if naming not in self._variants:
            self._variants[naming] = (self._renamed(naming) if naming in POOLS else None) or self.original
        return self._variants[naming]

    def _renamed(self, pool: str) -> Variant | None:
        variant = self._retold(pool) if self.source else self._same_trees(pool)
        if variant is None:
            return None
        relation = compare(self.gold, solve(self.problem, variant.program, self.solver)).relation
        if relation is not Relation.EQUAL:
            self.report.dropped[f"renaming {pool}: answer sets {relation}"] += 1
            return None
        self.report.proofs["renamings with the same trees and answer sets"] += 1
        return variant

    def _same_trees(self, pool: str) -> Variant | None:
        """The problem with its variables renamed, if that is all that is changed."""
        found = [rename(instruction, code, pool) for instruction, code in self.original.steps]
        if not all(
            same_up_to(new.names, code, new.code)
            for new, (_, code) in zip(found, self.original.steps, strict=True)
        ):
            self.report.dropped[f"renaming {pool}: not the same tree"] += 1
            return None
        return Variant(
            pool,
            self.original.given,
            tuple((new.instruction, new.code) for new in found),
            tuple(new.names for new in found),
        )

    def _retold(self, pool: str) -> Variant | None:
        """The source under `pool`, its predicates renamed: which of the two comes first makes no difference."""
        renamed = self.source.variant(pool)
        steps = tuple(
            (
                rename_predicates_in_text(instruction, self.names),
                rename_predicates_in_program(code, self.names),
            )
            for instruction, code in renamed.steps
        )
        return Variant(pool, self.original.given, steps, renamed.names) if renamed.naming == pool else None


def renamed_problems(
    problem: Problem, count: int, rng: Random, solver: Solver, report: Report
) -> list[RenamedProblem]:
    """The problem as it is, then in up to `count` other vocabularies, each proved: same answer sets up to the names.

    Empty where its code without instructions cannot stand before the rest.
    """
    gold = gold_outcomes(problem, solver)
    own = RenamedProblem(problem, {}, gold, solver, report)
    if not given_stands_first(problem, gold, solver):
        report.dropped["problem: its code without instructions cannot stand before the rest"] += 1
        return []
    result = [own]
    for _ in range(count):
        retold, names = rename_predicates(problem, rng)
        found = solve(retold, retold.encoding.program, solver)
        pairs = zip(gold, found, strict=True)
        if all(
            new.answer_sets is not None and renamed(old.answer_sets, names) == new.answer_sets
            for old, new in pairs
        ):
            report.proofs["vocabularies with the same answer sets up to the names"] += 1
            result.append(RenamedProblem(retold, names, found, solver, report, source=own))
        else:
            report.dropped["vocabulary: other answer sets"] += 1
    return result


def gold_outcomes(problem: Problem, solver: Solver) -> list[Outcome]:
    """The outcomes of the gold program, one an instance. UserError, with file and line, where its answer sets are not all found."""
    outcomes = solve(problem, problem.encoding.program, solver)
    failing = [
        (item, outcome)
        for item, outcome in zip(problem.instances.items(), outcomes, strict=True)
        if outcome.answer_sets is None
    ]
    if failing:
        items, why = zip(*failing, strict=True)
        fault = next(instance_faults(replace(problem, instances=dict(items)), why))
        raise UserError(fault.what, where=fault.file, line=fault.line, remedy=fault.remedy)
    return outcomes


def solve(problem: Problem, program: str, solver: Solver) -> list[Outcome]:
    """The solved outcome of `program` on each instance of `problem`."""
    return list(
        solver.run(Request(f"{facts}\n{program}", solve=True) for facts in problem.instances.values())
    )


# --- conversations ----------------------------------------------------------------------------------------------


def conversation_rows(
    told: Sequence[RenamedProblem],
    limit: int,
    rng: Random,
    wordings: dict[str, dict[str, str]] | None = None,
    styles: Collection[str] = STYLES,
    noise: float = NOISE_SHARE,
) -> Iterator[Row]:
    """Up to `limit` conversations of a problem: as it is first, then a draw over tones and namings, a share of it with noise.

    The vocabularies take turns. `wordings` has, by style, paraphrases of instructions where somebody made them.
    """
    descriptions = [
        style for style in told[0].problem.descriptions() if style == "original" or style in styles
    ]
    first, *rest = product(descriptions, told[0].namings)
    quiet, loud = rest or [first], [first, *rest]
    rng.shuffle(quiet)
    rng.shuffle(loud)
    noisy_rows = round(limit * noise)
    drawn = [
        (first, False),
        *((each, False) for each in islice(cycle(quiet), max(0, limit - 1 - noisy_rows))),
        *((each, True) for each in islice(cycle(loud), noisy_rows)),
    ][:limit]
    turns = zip(drawn, cycle(range(len(told))), strict=False)
    for ((style, naming), unclean), turn in dict.fromkeys(
        turns
    ):  # nothing twice, where there are few ways to tell it
        renamed_problem = told[turn]
        variant = renamed_problem.variant(naming)
        instructions = _told(renamed_problem, variant, (wordings or {}).get(style, {}))
        steps = [
            (noisy(instruction) or instruction if unclean else instruction, code)
            for instruction, (_, code) in zip(instructions, variant.steps, strict=True)
        ]
        description = prompts.describe(renamed_problem.problem.descriptions()[style], variant.given)
        yield {
            "messages": prompts.conversation(description, steps),
            "meta": renamed_problem.meta
            | {"kind": "conversation", "style": style, "naming": variant.naming, "noise": unclean},
        }


def _told(renamed_problem: RenamedProblem, variant: Variant, wording: dict[str, str]) -> Iterator[str]:
    """The instructions of a variant, each in another wording where there is one, its predicates and variables renamed along."""
    kept = variable_names(renamed_problem.source.problem) if renamed_problem.source else ()
    for index, (instruction, _) in enumerate((renamed_problem.source or renamed_problem).original.steps):
        other = wording.get(instruction)
        if other is None:
            yield variant.steps[index][0]
        else:
            other = rename_predicates_in_text(other, renamed_problem.names, kept)
            yield rename_in_text(other, variant.names[index]) if variant.names else other


# --- repairs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A broken step and its fix: the class of corruption, the naming and step it is of, the instance and program before it."""

    corruption: str
    naming: str
    step: int
    instance: str
    context: str
    broken: str
    fixed: str


def repair_rows(renamed_problem: RenamedProblem, limit: int, rng: Random) -> list[Row]:
    """Up to `limit` repair turns, each with the message that the solver really gives."""
    candidates = _candidates(renamed_problem, limit, rng)
    rows: list[Row] = []
    while len(rows) < limit and (part := list(islice(candidates, limit - len(rows)))):
        rows += _proved(part, renamed_problem)
    return rows


def example_repair(problem: Problem, corruption: str, solver: Solver, seed: int = 0) -> Row:
    """A proved repair row of a problem, of the class `corruption` if one is found."""
    [own, *_] = renamed_problems(problem, 0, Random(seed), solver, Report())
    rows = repair_rows(own, 40, Random(seed))
    return next((row for row in rows if row["meta"]["corruption"] == corruption), rows[0])


def _proved(candidates: list[Candidate], renamed_problem: RenamedProblem) -> Iterator[Row]:
    """The rows of those candidates that the solver confirms, in order."""
    requests = [
        # A step grounds in a few hundredths of a second, or its error makes it endless: no need to wait for long.
        Request(c.context + code, solve=solve, cpu_seconds=None if solve else 0.5)
        for c in candidates
        for solve in [c.corruption == "wrong meaning"]
        for code in (c.broken, c.fixed)
    ]
    outcomes = list(renamed_problem.solver.run(requests))
    for candidate, broken, fixed in zip(candidates, outcomes[::2], outcomes[1::2], strict=True):
        kind, error, why = _judge(candidate, broken, fixed)
        if why:
            renamed_problem.report.dropped[f"{candidate.corruption}: {why}"] += 1
        elif row := repair_row(candidate, renamed_problem, kind, error):
            yield row


def repair_row(candidate: Candidate, renamed_problem: RenamedProblem, kind: str, error: str) -> Row | None:
    """The row of a proved repair, `error` being what was said of the broken code.

    None, and counted as dropped, where the fix needs a predicate that this turn does not show: nobody could know it.
    """
    instruction = renamed_problem.variant(candidate.naming).steps[candidate.step][0]
    step = renamed_problem.problem.encoding.instructed[candidate.step]
    needed = {name.lstrip("-") for statement in step.statements for name, _ in predicates(statement)}
    if not all(_in_view(name, instruction, candidate.broken, error) for name in needed):
        renamed_problem.report.dropped[
            f"{candidate.corruption}: the fix needs a predicate that is not in view"
        ] += 1
        return None
    renamed_problem.report.proofs["messages reproduced by the solver, fixes accepted"] += 1
    return {
        "messages": [*prompts.repair(instruction, candidate.broken, error), prompts.answer(candidate.fixed)],
        "meta": renamed_problem.meta
        | {
            "kind": "repair",
            "style": "original",
            "naming": candidate.naming,
            "noise": False,
            "corruption": kind,
            "instruction": instruction,
            "broken": candidate.broken,
            "error": error,
            "fixed": candidate.fixed,
            "context": candidate.context,
            "instance": candidate.instance,
            "step": candidate.step,
        },
    }


def _in_view(name: str, instruction: str, broken: str, error: str) -> bool:
    """Whether a repair turn shows the name of a predicate. The solver's own words are no names, but the atoms that it quotes."""
    return (
        mentions_predicate(name, instruction)
        or re.search(rf"(?<![#\w]){re.escape(name)}(?!\w)", broken) is not None
        or re.search(rf"(?<![#\w]){re.escape(name)}\(", error) is not None
    )


def _candidates(renamed_problem: RenamedProblem, limit: int, rng: Random) -> Iterator[Candidate]:
    """Corrupted steps to try, four for each row wanted, no two the same.

    The class is drawn first, by its weight, and then a step that admits it: else the classes that apply everywhere would
    crowd out those that need a brace or an aggregate.
    """
    classes, weights = zip(*((name, weight) for name, (weight, _) in CORRUPTIONS.items()), strict=True)
    seen: set[tuple[str, int, str]] = set()
    for _ in range(16 * limit):
        if len(seen) == 4 * limit:
            break
        corruption = rng.choices(classes, weights)[0]
        naming, instance = (
            rng.choice(renamed_problem.namings),
            rng.choice(list(renamed_problem.problem.instances)),
        )
        variant = renamed_problem.variant(naming)
        for step in rng.sample(range(len(variant.steps)), len(variant.steps)):
            code = variant.steps[step][1]
            broken = CORRUPTIONS[corruption][1](code, rng)
            if broken and broken != code and (naming, step, broken) not in seen:
                break
        else:
            continue
        seen.add((naming, step, broken))
        context = context_of(
            renamed_problem.problem.instances[instance],
            variant.given,
            [code for _, code in variant.steps[:step]],
        )
        yield Candidate(corruption, variant.naming, step, instance, context, broken, code)


def _judge(candidate: Candidate, broken: Outcome, fixed: Outcome) -> tuple[str, str, str]:
    """The corruption class and message of a candidate, or, last, why it is no repair row."""
    if not fixed.passes or solver_message(fixed, candidate.context):
        return "", "", "the solver has something against the fix"
    error = solver_message(broken, candidate.context)
    if broken.verdict in (Verdict.TIMEOUT, Verdict.MEMORY, Verdict.REFUSED, Verdict.TOO_MANY):
        return "", "", f"ends in {broken.verdict}"
    if candidate.corruption != "wrong meaning":
        wanted = {"unsafe variable": Verdict.UNSAFE, "wrong arity": Verdict.OK}.get(candidate.corruption)
        if not error:
            return "", "", "clingo accepts it"
        if wanted and broken.verdict is not wanted:
            return "", "", f"clingo says {broken.verdict} instead"
        return candidate.corruption, error, ""
    if not broken.passes:
        return "", "", "clingo rejects it"
    if broken.answer_sets is None or fixed.answer_sets is None:
        return "", "", "too many answer sets to compare"
    if broken.answer_sets == fixed.answer_sets:
        return "", "", "the answer sets stay the same"
    if broken.verdict is Verdict.UNSATISFIABLE:
        return "unsatisfiable", error, ""
    return "answer sets differ", EVIDENCE + evidence(fixed.answer_sets, broken.answer_sets), ""


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


def to_jsonl(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


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
            split: counts(rows[split], encode_rows(loaded, rows[split], limit)) for split in SPLITS
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
