"""From judged items to figures: rates with their confidence intervals, by part, family, construct and verdict."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import asdict

from scripts.evaluation.grader import Item


def interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a rate, (low, high)."""
    if not n:
        return 0.0, 1.0
    rate, squared = successes / n, z * z / n
    centre, half = (
        (rate + squared / 2) / (1 + squared),
        z * math.sqrt(rate * (1 - rate) / n + squared / (4 * n)) / (1 + squared),
    )
    return max(0.0, centre - half) if successes else 0.0, min(1.0, centre + half) if successes < n else 1.0


def rates(items: Iterable[Item], names: Sequence[str] = ("parse", "ground", "equivalent")) -> dict:
    """n, each rate in 0–1, its interval under `<name>_ci`, and how many outputs came in a fence that was stripped."""
    items = list(items)
    result: dict = {"n": len(items)}
    for name in names:
        hits = sum(getattr(item, "ground" if name == "fixed" else name) for item in items)
        result[name] = hits / len(items) if items else 0.0
        result[f"{name}_ci"] = list(interval(hits, len(items)))
    return result | {"fenced": sum(item.fenced for item in items)}


def summary(items: Sequence[Item], apart: Container[str] = ()) -> dict:
    """The figures of an evaluation, as `docs/evaluation.md` describes them: an interval beside each rate.

    `loop` has the steps again with up to k repairs each, by the same names as `programs`: k3, or k3n4 with 4 samples.
    `seen_families` and `held_out_families` have the same figures for the items outside and inside the families `apart`.
    """
    parts = _grouped(items, lambda item: [item.part])
    steps = parts.get("steps", [])
    seen = [item for item in items if item.family not in apart]
    halves = {"seen_families": seen, "held_out_families": [item for item in items if item.family in apart]}
    return _parts(parts) | {
        "per_family": {
            name: rates(found) for name, found in sorted(_grouped(steps, lambda item: [item.family]).items())
        },
        "per_construct": {
            name: rates(found)
            for name, found in sorted(_grouped(steps, lambda item: item.constructs).items())
        },
        "per_verdict": {part: dict(Counter(item.verdict for item in found)) for part, found in parts.items()},
        **{
            name: _parts(_grouped(found, lambda item: [item.part]))
            for name, found in halves.items()
            if len(seen) < len(items)
        },
        "verdicts": [asdict(item) | {"constructs": list(item.constructs)} for item in items],
    }


def _parts(parts: dict[str, list[Item]]) -> dict:
    """The rates of steps, loop, repair and programs."""

    def named(prefix: str, names: Sequence[str]) -> dict:
        return {
            part.split()[1]: rates(found, names)
            for part, found in parts.items()
            if part.startswith(f"{prefix} ")
        }

    return {
        "steps": rates(parts.get("steps", [])),
        "loop": named("loop", ("parse", "ground", "equivalent")),
        "repair": rates(parts.get("repair", []), ("fixed", "equivalent")),
        "programs": named("programs", ("parse", "equivalent")),
    }


def _grouped(items: Iterable[Item], names: Callable[[Item], Iterable[str]]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        for name in names(item):
            groups[name].append(item)
    return groups
