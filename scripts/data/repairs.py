"""Repair rows: a broken rule and the solver message in, the corrected rule out.

Rules of the gold program are broken by corruptions. The solver decides which of them become rows: it must
reject the broken rule, or find other answer sets for it, and it must accept the corrected one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from scripts.asp.comparison import evidence
from scripts.asp.feedback import context_of, solver_message
from scripts.asp.solver import Outcome, Request, Solver, Verdict
from scripts.data.corruptions import CORRUPTIONS
from scripts.data.gold import Variant
from scripts.data.in_view import needed_predicates, words
from scripts.data.predicate_renaming import mentions_predicate
from scripts.data.renamed_problems import RenamedProblem, VariableRenamer
from scripts.data.report import Report
from scripts.data.rows import Row
from scripts.lm import prompts
from utils_ft import content_hash

EVIDENCE = "clingo accepts this code, but "  # how a message about the answer sets begins
_TRIES = 4  # candidates for each row that is wanted
_DRAWS = 16  # draws for each row that is wanted; a draw gives no candidate if no step admits the class
_CPU_SECONDS = 0.5  # for a program that is only grounded: enough, unless its error makes it endless


@dataclass(frozen=True)
class Candidate:
    """A broken step that may become a repair row.

    Attributes:
        corruption: The class of the error.
        naming: The variable renaming of the step.
        step: The number of the step, from 0.
        instance: The name of the instance in the context.
        context: The program before the step.
        instruction: The instruction of the step.
        broken: The broken rule.
        fixed: The corrected rule.
        conversation: The prompt of the step, for a repair that goes on there; None for an independent turn.
    """

    corruption: str
    naming: str
    step: int
    instance: str
    context: str
    instruction: str
    broken: str
    fixed: str
    conversation: Sequence[prompts.Message] | None = None


@dataclass(frozen=True)
class _Judgement:
    """The solver's judgement of a candidate: the class and the message of its row, or why it gives none."""

    corruption: str = ""
    error: str = ""
    reason: str = ""


class RepairMaker:
    """Makes repair rows from the gold program of one problem.

    Arguments:
        renamed: The problem.
        solver: The solver that judges broken and corrected rules.
        renamer: Gives the variants under other variable names; None if `namings` has only `original`.
        namings: The namings from which one is drawn for each row.
        in_conversation: The share of the rows that go on in the conversation of their step.

    Attributes:
        report: Counts what was verified and what was dropped.
    """

    def __init__(
        self,
        renamed: RenamedProblem,
        solver: Solver,
        renamer: VariableRenamer | None = None,
        namings: Sequence[str] = ("original",),
        in_conversation: float = 0.0,
    ):
        self.renamed, self.solver, self.renamer, self.namings = renamed, solver, renamer, tuple(namings)
        self.in_conversation = in_conversation
        self.report = Report()

    def rows(self, limit: int, rng: Random) -> list[Row]:
        """Return up to `limit` repair rows that the solver has verified; `rng` draws the corruptions."""
        candidates = self._candidates(limit, rng)
        rows: list[Row] = []
        while len(rows) < limit and (some := list(islice(candidates, limit - len(rows)))):
            rows += self._verified(some)
        return rows

    def _candidates(self, limit: int, rng: Random) -> Iterator[Candidate]:
        """Yield broken steps, four for each row that is wanted, no two the same.

        The class is drawn first, by its weight, and then a step that it applies to. The other way round,
        classes that apply to every rule would displace those that need a brace or an aggregate.
        """
        weights = [corruption.weight for corruption in CORRUPTIONS.values()]
        seen: set[tuple[str, int, str]] = set()
        for _ in range(_DRAWS * limit):
            if len(seen) == _TRIES * limit:
                break
            corruption = rng.choices(list(CORRUPTIONS), weights)[0]
            naming = rng.choice(self.namings)
            instance = rng.choice(list(self.renamed.problem.instances))
            variant = self._variant(naming)
            for step in rng.sample(range(len(variant.steps)), len(variant.steps)):
                code = variant.steps[step][1]
                broken = CORRUPTIONS[corruption].corrupt(code, rng)
                if broken and broken != code and (naming, step, broken) not in seen:
                    seen.add((naming, step, broken))
                    yield self._candidate(corruption, variant, step, instance, broken)
                    break

    def _candidate(
        self, corruption: str, variant: Variant, step: int, instance: str, broken: str
    ) -> Candidate:
        instruction, fixed = variant.steps[step]
        history = [code for _, code in variant.steps[:step]]
        context = context_of(self.renamed.problem.instances[instance], variant.given, history)
        conversation = None
        if goes_on_in_conversation(self.in_conversation, self.renamed, step, broken):
            description = prompts.describe(self.renamed.problem.description, variant.given)
            conversation = prompts.conversation(description, variant.steps[:step]) + [
                prompts.step(instruction)
            ]
        return Candidate(
            corruption, variant.naming, step, instance, context, instruction, broken, fixed, conversation
        )

    def _variant(self, naming: str) -> Variant:
        return self.renamer.variant(self.renamed, naming) if self.renamer else self.renamed.original

    def _verified(self, candidates: Sequence[Candidate]) -> Iterator[Row]:
        """Yield the rows of the candidates that the solver confirms, in their order."""
        requests: list[Request] = []
        for candidate in candidates:
            requests += [_request(candidate, candidate.broken), _request(candidate, candidate.fixed)]
        outcomes = list(self.solver.run(requests))
        for candidate, broken, fixed in zip(candidates, outcomes[::2], outcomes[1::2], strict=True):
            judgement = _judge(candidate, broken, fixed)
            if judgement.reason:
                self.report.dropped[f"{candidate.corruption}: {judgement.reason}"] += 1
            elif row := repair_row(
                candidate, self.renamed, judgement.corruption, judgement.error, self.report
            ):
                yield row


def goes_on_in_conversation(share: float, renamed: RenamedProblem, step: int, broken: str) -> bool:
    """Whether the repair of a broken step is one of the `share` of repairs that go on in the conversation.

    A hash decides, not the random stream of the corruptions: with a share of 0 the rows stay as they were.
    """
    return Random(content_hash("conversation", renamed.problem.id, str(step), broken)).random() < share


def repair_row(
    candidate: Candidate, renamed: RenamedProblem, corruption: str, error: str, report: Report
) -> Row | None:
    """Return the row of a candidate that the solver has judged, or None.

    There is no row if the corrected rule needs a predicate whose name is nowhere in the prompt: no model
    could know it.

    Arguments:
        candidate: The broken step.
        renamed: The problem of the step.
        corruption: The class of the error, for the row's `meta`.
        error: The message about the broken rule.
        report: Counts the row as verified, or as dropped.
    """
    step = renamed.problem.encoding.instructed[candidate.step]
    if not all(_is_in_view(name, candidate, error) for name in needed_predicates(step)):
        report.dropped[f"{candidate.corruption}: the fix needs a predicate that is not in view"] += 1
        return None
    report.verified["messages reproduced by the solver, fixes accepted"] += 1
    prompt = prompts.repair(candidate.instruction, candidate.broken, error, candidate.conversation)
    form = {} if candidate.conversation is None else {"form": "conversation"}
    return {
        "messages": [*prompt, prompts.answer(candidate.fixed)],
        "meta": renamed.meta
        | {
            "kind": "repair",
            "style": "original",
            "naming": candidate.naming,
            "noise": False,
            "corruption": corruption,
            "instruction": candidate.instruction,
            "broken": candidate.broken,
            "error": error,
            "fixed": candidate.fixed,
            "context": candidate.context,
            "instance": candidate.instance,
            "step": candidate.step,
        }
        | form,
    }


def _request(candidate: Candidate, code: str) -> Request:
    """The request for one of a candidate's rules in its context. Only a wrong meaning needs answer sets."""
    solve = candidate.corruption == "wrong meaning"
    return Request(candidate.context + code, solve=solve, cpu_seconds=None if solve else _CPU_SECONDS)


def _judge(candidate: Candidate, broken: Outcome, fixed: Outcome) -> _Judgement:
    """Judge a candidate by the outcomes of its broken and its corrected rule."""
    if not fixed.passes or solver_message(fixed, candidate.context):
        return _Judgement(reason="the solver has something against the fix")
    if broken.verdict in (Verdict.TIMEOUT, Verdict.MEMORY, Verdict.REFUSED, Verdict.TOO_MANY):
        return _Judgement(reason=f"ends in {broken.verdict}")
    error = solver_message(broken, candidate.context)
    if candidate.corruption == "wrong meaning":
        return _judge_meaning(broken, fixed, error)
    if not error:
        return _Judgement(reason="clingo accepts it")
    expected = {"unsafe variable": Verdict.UNSAFE, "wrong arity": Verdict.OK}.get(candidate.corruption)
    if expected and broken.verdict is not expected:
        return _Judgement(reason=f"clingo says {broken.verdict} instead")
    return _Judgement(candidate.corruption, error)


def _judge_meaning(broken: Outcome, fixed: Outcome, error: str) -> _Judgement:
    """Judge a rule that clingo should accept, but whose answer sets should differ from those of the corrected
    rule.
    """
    if not broken.passes:
        return _Judgement(reason="clingo rejects it")
    if broken.answer_sets is None or fixed.answer_sets is None:
        return _Judgement(reason="too many answer sets to compare")
    if broken.answer_sets == fixed.answer_sets:
        return _Judgement(reason="the answer sets stay the same")
    if broken.verdict is Verdict.UNSATISFIABLE:
        return _Judgement("unsatisfiable", error)
    return _Judgement("answer sets differ", EVIDENCE + evidence(fixed.answer_sets, broken.answer_sets))


def _is_in_view(name: str, candidate: Candidate, error: str) -> bool:
    """Whether the prompt of a repair shows the name of a predicate.

    In the solver message only atoms count: its other words are not names.
    """
    return (
        any(name in words(message["content"]) for message in candidate.conversation or ())
        or mentions_predicate(name, candidate.instruction)
        or re.search(rf"(?<![#\w]){re.escape(name)}(?!\w)", candidate.broken) is not None
        or re.search(rf"(?<![#\w]){re.escape(name)}\(", error) is not None
    )
