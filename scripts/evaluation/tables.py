"""Tables of scores, as the commands print them and the notebooks show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scripts.evaluation.items import CHOICES
from scripts.evaluation.scores import EvaluationResult, PartRates, Rates

if TYPE_CHECKING:
    import pandas as pd

TITLES = {"parse": "parses", "ground": "grounds", "fixed": "error gone", "equivalent": "same answer sets"}
"""The title of each rate."""


def scores_table(results: Mapping[str, EvaluationResult]) -> pd.DataFrame:
    """The scores of several models, one row for each model and part.

    The columns are the number of items and the rates in per cent, with 95 % intervals. If there are held-
    out families, the last two columns have the share of equal answer sets for the other families and for
    them.
    """
    import pandas as pd

    rows = [{"model": label, **row} for label, result in results.items() for row in _rows(result)]
    return pd.DataFrame(rows, columns=None if rows else ["model", "part", "n"])


def _rows(result: EvaluationResult) -> list[dict]:
    """The rows of one model, without the parts that have no items."""
    keys = {"seen families": "seen_families", "held-out families": "held_out_families"}
    halves = {title: rates_by_title(result[key]) for title, key in keys.items() if key in result}
    rows = []
    for part, rates in rates_by_title(result).items():
        if rates["n"]:
            row = {"part": part, "n": rates["n"]}
            row |= {title: percent(rates, name) for name, title in TITLES.items()}
            row |= {title: percent(half.get(part, {}), "equivalent") for title, half in halves.items()}
            rows.append(row)
    return rows


def rates_by_title(result: PartRates) -> dict[str, Rates]:
    """The rates of all parts, by the title of the part; the loop stands after the steps."""
    return {
        "steps": result["steps"],
        **{f"steps, loop {setting}": rates for setting, rates in result.get("loop", {}).items()},
        **{f"samples: {CHOICES.get(name, name)}": rates for name, rates in result.get("samples", {}).items()},
        "repair": result["repair"],
        **{f"programs {setting}": rates for setting, rates in result["programs"].items()},
        **({"programs in one answer": result["whole"]} if "whole" in result else {}),
    }


def percent(rates: Rates, name: str) -> str:
    """A rate in per cent with its interval, as in `55.1 % (47–63)`; "" if it is missing."""
    if name not in rates or not rates["n"]:
        return ""
    low, high = rates[f"{name}_ci"]
    return f"{100 * rates[name]:.1f} % ({100 * low:.0f}–{100 * high:.0f})"
