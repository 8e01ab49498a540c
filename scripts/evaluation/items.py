"""Graded answers: one item for each step, repair or program that a model wrote."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from scripts.asp.comparison import Comparison, Relation
from scripts.asp.solver import Outcome, Verdict
from scripts.evaluation.settings import Part

CHOICES = {
    "first": "the first",
    "checks": "checks",
    "log_probability": "log-probability",
    "checks_log_probability": "checks, log-probability",
    "vote": "vote",
    "vote_instances": "vote on all instances",
}
"""The ways to choose one of several samples without gold, with their titles in tables."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One answer with its verdict.

    Attributes:
        part: The part of the evaluation.
        problem, family: Id and family of the problem.
        prompt: The instruction, the repair prompt, or for a program the description.
        output: The text that the model wrote.
        code: The code in it.
        gold: The gold code.
        verdict: `equal`, or the reason why the answer is not equivalent.
        evidence: The solver message or the difference in answer sets; "" for an equivalent answer.
        parse: Whether clingo's parser accepts the code.
        ground: Whether the code grounds in its context.
        equivalent: Whether all answer sets of all instances stay the same.
        index: The number of the step, from 0.
        fenced: Whether a Markdown fence was removed to get the code.
        constructs: The constructs of the language in the gold code.
        tries: The number of answers that the model wrote.
        untested: Why the answer is not counted in any rate, or "".
    """

    part: Part
    problem: str
    family: str
    prompt: str
    output: str
    code: str
    gold: str
    verdict: str
    evidence: str
    parse: bool
    ground: bool
    equivalent: bool
    index: int = 0
    fenced: bool = False
    constructs: tuple[str, ...] = ()
    tries: int = 1
    untested: str = ""

    def as_json(self) -> dict:
        """The item as the JSON file has it."""
        return asdict(self) | {"part": self.part.name, "constructs": list(self.constructs)}


@dataclass(frozen=True, kw_only=True)
class RepairItem(Item):
    """One repair with its verdict.

    `verdict`, `parse` and `ground` are those of the answer in place of the gold step.

    Attributes:
        fixed: Whether the code is another one and its error is gone.
        corruption: The class of the error.
    """

    fixed: bool
    corruption: str


@dataclass(frozen=True, kw_only=True)
class SampleItem(Item):
    """One of several samples of a step with its verdict.

    Attributes:
        sample: Its number, from 1.
        log_probability: The sum of the log-probabilities of its tokens, or None if they are not known.
        chosen_by: The ways of choosing that take this sample of the step: some of `CHOICES`.
    """

    sample: int
    log_probability: float | None = None
    chosen_by: tuple[str, ...] = ()

    def as_json(self) -> dict:
        """The item as the JSON file has it."""
        return super().as_json() | {"chosen_by": list(self.chosen_by)}


def item_from_json(record: dict) -> Item:
    """The item that `as_json` wrote."""
    found = record | {"part": Part.from_name(record["part"]), "constructs": tuple(record["constructs"])}
    if "chosen_by" in record:
        return SampleItem(**found | {"chosen_by": tuple(record["chosen_by"])})
    return (RepairItem if "corruption" in record else Item)(**found)


def judgement(outcome: Outcome, comparison: Comparison) -> dict:
    """The fields of an item that say how good the answer is.

    Arguments:
        outcome: The outcome of the code in its context, or of a program on one instance.
        comparison: The comparison of the answer sets on all instances.
    """
    equal = comparison.relation is Relation.EQUAL
    return {
        "verdict": verdict_of(outcome, comparison),
        "evidence": "" if equal else comparison.evidence or outcome.message or str(comparison.verdict),
        "parse": outcome.verdict not in (Verdict.SYNTAX, Verdict.REFUSED),
        "ground": outcome.passes,
        "equivalent": equal,
    }


def verdict_of(outcome: Outcome, comparison: Comparison) -> str:
    """`equal`, or the reason why not: that of the check in the context, or else that of the comparison."""
    if comparison.relation is Relation.EQUAL:
        return "equal"
    if not outcome.passes:
        return str(outcome.verdict)
    if comparison.verdict not in (Verdict.OK, Verdict.UNSATISFIABLE):
        return "undecided" if comparison.verdict is Verdict.TOO_MANY else str(comparison.verdict)
    if comparison.relation is Relation.UNDECIDED:
        return "undecided"
    return "unsatisfiable" if comparison.verdict is Verdict.UNSATISFIABLE else "wrong"
