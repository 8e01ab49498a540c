"""From items to figures: rates with confidence intervals, by part, family, construct and verdict."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from typing import NotRequired, TypedDict

from scripts.evaluation.items import CHOICES, Item, SampleItem


class Rates(TypedDict, total=False):
    """The rates of some items, each in 0–1 and with its 95 % interval [low, high] (Wilson).

    Keys:
        n: The number of items that count.
        n_untested: The number of items that do not count, because nothing tests them.
        parse, ground, equivalent, fixed: The share of the items that parse, ground, are equivalent, are
            fixed.
        parse_ci, …: The intervals.
        fenced: The number of items whose Markdown fence was removed.
    """

    n: int
    n_untested: int
    parse: float
    parse_ci: list[float]
    ground: float
    ground_ci: list[float]
    equivalent: float
    equivalent_ci: list[float]
    fixed: float
    fixed_ci: list[float]
    fenced: int


class PartRates(TypedDict):
    """The rates by part. `loop` and `programs` have one entry for each setting, such as `k3` or `k3n4`.

    `samples` has the estimates `pass@k`, and the rates of the samples that each of `CHOICES` takes; only if
    there are samples.
    """

    steps: Rates
    loop: dict[str, Rates]
    repair: Rates
    programs: dict[str, Rates]
    whole: Rates
    samples: NotRequired[dict[str, Rates]]


class Figures(PartRates, total=False):
    """The figures of an evaluation, as docs/evaluation.md describes them.

    Keys:
        per_family: The rates of the steps, by family.
        per_construct: The rates of the steps, by construct of the gold code.
        per_verdict: By part and verdict, the number of items that count.
        untested: The steps and programs that do not count: dicts with `problem`, `part`, `index`, `reason`.
        seen_families, held_out_families: The rates of the other families, and of those that training has no
            problem of. Only if there are held-out families among the problems.
        verdicts: Every item, with the keys of `Item` or `RepairItem`.
        left_out: The problems that cannot be used, one entry for each reason: `problem`, `file`, `line`,
            `what`, `remedy`.
        seconds: The time of each kind of part.
        usage: The number of answers, and the tokens of their prompts and of their texts.
    """

    per_family: dict[str, Rates]
    per_construct: dict[str, Rates]
    per_verdict: dict[str, dict[str, int]]
    untested: list[dict]
    seen_families: PartRates
    held_out_families: PartRates
    verdicts: list[dict]
    left_out: list[dict]
    seconds: dict[str, float]
    usage: dict[str, int]


class EvaluationResult(Figures, total=False):
    """The figures, and what was evaluated.

    Keys:
        identity: A hash of everything that the figures depend on.
        asked: The same hash without the adapter.
        model, adapter: The folders; `adapter` is None if there is none. Behind an endpoint, the model's name.
        endpoint: The address of the endpoint, or None.
        parameters: The number of the model's parameters, or None if it is not known.
        problem_set: A hash of the problems.
        scoring_version: `results.SCORING_VERSION`.
        date: The day of the evaluation.
        versions: The versions of the libraries that have an influence on the figures.
        settings: The fields of `EvaluationSettings`.
        problems: The ids of the problems.
    """

    identity: str
    asked: str
    model: str
    adapter: str | None
    endpoint: str | None
    parameters: int | None
    problem_set: str
    scoring_version: int
    date: str
    versions: dict[str, str]
    settings: dict
    problems: list[str]


STEP_RATES = ("parse", "ground", "equivalent")
REPAIR_RATES = ("fixed", "equivalent")
PROGRAM_RATES = ("parse", "equivalent")

PASS_AT = (1, 4, 16)
"""The numbers of samples for which `pass@k` is estimated, as far as so many are drawn."""


def interval(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's confidence interval of the rate `successes / n`, (low, high); 95 % with the default `z`."""
    if not n:
        return 0.0, 1.0
    rate, squared = successes / n, z * z / n
    centre = (rate + squared / 2) / (1 + squared)
    half = z * math.sqrt(rate * (1 - rate) / n + squared / (4 * n)) / (1 + squared)
    low = max(0.0, centre - half) if successes else 0.0
    high = min(1.0, centre + half) if successes < n else 1.0
    return low, high


def rates(items: Iterable[Item], names: Sequence[str] = STEP_RATES) -> Rates:
    """The rates of the fields `names` of the items. Untested items do not count."""
    every = list(items)
    items = [item for item in every if not item.untested]
    result: dict = {"n": len(items), "n_untested": len(every) - len(items)}
    for name in names:
        hits = sum(getattr(item, name) for item in items)
        result[name] = hits / len(items) if items else 0.0
        result[f"{name}_ci"] = list(interval(hits, len(items)))
    return result | {"fenced": sum(item.fenced for item in items)}


def summary(items: Sequence[Item], held_out: Container[str] = ()) -> Figures:
    """The figures of an evaluation. `held_out` are the families that training has no problem of."""
    steps = [item for item in items if item.part.kind == "steps"]
    tested = [item for item in items if not item.untested]
    seen = [item for item in items if item.family not in held_out]
    figures: dict = {
        **_part_rates(items),
        "per_family": _rates_by(steps, lambda item: [item.family]),
        "per_construct": _rates_by(steps, lambda item: item.constructs),
        "per_verdict": {
            part: dict(Counter(item.verdict for item in group))
            for part, group in _grouped(tested, lambda item: [item.part.name]).items()
        },
        "untested": _untested(items),
    }
    if len(seen) < len(items):
        figures["seen_families"] = _part_rates(seen)
        figures["held_out_families"] = _part_rates([item for item in items if item.family in held_out])
    return figures | {"verdicts": [item.as_json() for item in items]}


def _untested(items: Sequence[Item]) -> list[dict]:
    """The steps and programs that do not count, each once."""
    found: dict[tuple, dict] = {}
    for item in items:
        if item.untested:
            part = "programs" if item.part.kind == "programs" else "steps"
            entry = {"problem": item.problem, "part": part, "index": item.index, "reason": item.untested}
            found.setdefault((item.problem, part, item.index), entry)
    return [found[key] for key in sorted(found)]


def _part_rates(items: Sequence[Item]) -> PartRates:
    """The rates of steps, loop, repair and programs."""
    by_kind = _grouped(items, lambda item: [item.part.kind])
    samples = {"samples": _sample_rates(by_kind["samples"])} if "samples" in by_kind else {}
    return {
        "steps": rates(by_kind.get("steps", [])),
        "loop": _rates_by_setting(by_kind.get("loop", []), STEP_RATES),
        "repair": rates(by_kind.get("repair", []), REPAIR_RATES),
        "programs": _rates_by_setting(by_kind.get("programs", []), PROGRAM_RATES),
        "whole": rates(by_kind.get("whole", [])),
        **samples,
    }


def pass_at(k: int, n: int, right: int) -> float:
    """The probability that one of `k` samples is right, if `right` of `n` are.

    This is the estimate without bias of Chen et al. (2021), for k ≤ n.
    """
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def _sample_rates(items: Sequence[SampleItem]) -> dict[str, Rates]:
    """`pass@k` over the steps, and the rates of what each way of choosing takes."""
    steps = list(_grouped(items, lambda item: [(item.problem, item.index)]).values())
    numbers = [k for k in PASS_AT if k <= min(map(len, steps))]
    chosen = {way: [item for item in items if way in item.chosen_by] for way in CHOICES}
    return {f"pass@{k}": _pass_rates(steps, k) for k in numbers} | {
        way: rates(taken) for way, taken in chosen.items() if len(taken) == len(steps)
    }


def _pass_rates(steps: Sequence[Sequence[SampleItem]], k: int) -> Rates:
    """The mean of `pass_at` over the steps that count.

    The values lie between 0 and 1, so Wilson's interval is too wide rather than too narrow.
    """
    tested = [step for step in steps if not step[0].untested]
    total = sum(pass_at(k, len(step), sum(item.equivalent for item in step)) for step in tested)
    n = len(tested)
    return {
        "n": n,
        "n_untested": len(steps) - n,
        "equivalent": total / n if n else 0.0,
        "equivalent_ci": list(interval(total, n)),
    }


def _rates_by_setting(items: Sequence[Item], names: Sequence[str]) -> dict[str, Rates]:
    """The rates by setting of the repair loop: `k3`, or `k3n4` with 4 samples."""
    groups = _grouped(items, lambda item: [item.part.loop.name])
    return {setting: rates(group, names) for setting, group in groups.items()}


def _rates_by(items: Sequence[Item], keys: Callable[[Item], Iterable[str]]) -> dict[str, Rates]:
    """The rates of the items with each key, sorted by key."""
    return {key: rates(group) for key, group in sorted(_grouped(items, keys).items())}


def _grouped(items: Iterable[Item], keys: Callable[[Item], Iterable[str]]) -> dict[str, list[Item]]:
    """The items by key. An item may have several keys."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        for key in keys(item):
            groups[key].append(item)
    return groups
