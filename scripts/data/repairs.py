"""Repair rows: broken code and the solver's message in, the corrected code out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from scripts.asp.comparison import evidence
from scripts.asp.feedback import context_of, solver_message
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.asp.syntax import predicates
from scripts.data.corruptions import CORRUPTIONS
from scripts.data.predicate_renaming import mentions_predicate
from scripts.data.problems import Problem
from scripts.data.renamed_problems import RenamedProblem, renamed_problems
from scripts.data.report import Report
from scripts.data.rows import Row
from scripts.lm import prompts

EVIDENCE = "clingo accepts this code, but "  # opens a message that comes from comparing answer sets


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
