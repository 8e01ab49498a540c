"""Tables of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {"parse": "parses", "ground": "grounds", "fixed": "error gone", "equivalent": "same answer sets"}


def scores(results: Mapping[str, dict]) -> Any:
    """Figures of several models as a table: n and the rates in per cent, with 95 % intervals.

    The last columns have the share of equal answer sets again, apart for families that training saw and those held out.
    """
    import pandas as pd

    rows = [{"model": label, **row} for label, result in results.items() for row in _rows(result)]
    return pd.DataFrame(rows, columns=None if rows else ["model", "part", "n"])


def _rows(result: dict) -> list[dict]:
    halves = {"seen families": "seen_families", "held-out families": "held_out_families"}
    apart = {title: _parts(result[name]) for title, name in halves.items() if name in result}
    return [
        {"part": part, "n": rates["n"]}
        | {title: _percent(rates, name) for name, title in TITLES.items()}
        | {title: _percent(found.get(part, {}), "equivalent") for title, found in apart.items()}
        for part, rates in _parts(result).items()
        if rates["n"]
    ]


def _parts(result: dict) -> dict[str, dict]:
    """The rates of an evaluation by the name of the part, those of the loop behind the steps."""
    return {
        "steps": result["steps"],
        **{f"steps, loop {k}": rates for k, rates in result.get("loop", {}).items()},
        "repair": result["repair"],
        **{f"programs {k}": rates for k, rates in result["programs"].items()},
    }


def _percent(rates: dict, name: str) -> str:
    if name not in rates or not rates["n"]:
        return ""
    low, high = rates[f"{name}_ci"]
    return f"{100 * rates[name]:.1f} % ({100 * low:.0f}–{100 * high:.0f})"
