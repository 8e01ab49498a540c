"""Figures in words, for readers who do not see them.

For each function of `plots` there is one with the same name and arguments here. The text is the alternative
text of the image in a notebook and on its page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from scripts.evaluation.leaderboard import model_label, scored_parts
from scripts.evaluation.tables import TITLES, rates_by_title
from scripts.training.engine_comparison import EngineComparison


def _listed(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def pipeline(here: str = "") -> str:
    """The text for `plots.pipeline`."""
    steps = (
        "problems, data_augmentation, data_converter, then ft_pytorch_qlora or ft_mlx_lora, choose and fuse, "
        "then evaluate and generate"
    )
    return f"Diagram of the pipeline: {steps}." + (f" This notebook is {here}." if here else "")


def families(splits: Mapping[str, str]) -> str:
    """The text for `plots.families`."""
    number = len({name.split("/")[0] for name in splits})
    by_split = Counter(splits.values())
    return f"Bars: the problems of each of {number} families by split. In total: {_listed(by_split)}."


def plot_row_counts(report: dict, *names: str) -> str:
    """The text for `plots.plot_row_counts`."""
    panels = []
    for name in names:
        counts: Counter[str] = Counter()
        for row in report["rows"]:
            if row[name] != "":
                counts[str(row[name])] += row["rows"]
        panels.append(f"by {name}: {_listed(dict(counts.most_common()))}")
    return f"Bars: rows {'; '.join(panels)}."


def token_lengths(lengths: Mapping[str, Sequence[int]], limit: int) -> str:
    """The text for `plots.token_lengths`."""
    longest = {f"{kind} at most": max(values) for kind, values in lengths.items()}
    return f"Histogram of the tokens of a row: {_listed(longest)}. A line marks the context of {limit}."


def _ends(label: str, values: Iterable[tuple[int, float | None]]) -> list[str]:
    """A curve in words: its first and its last value."""
    known = [(step, value) for step, value in values if value is not None]
    if not known:
        return []
    (first, begin), (last, end) = known[0], known[-1]
    return [f"{label} {begin:.2f} at step {first} and {end:.2f} at step {last}"]


def loss_curve(log: Sequence[dict], title: str = "") -> str:
    """The text for `plots.loss_curve`."""
    curves = _ends("train loss", ((row["step"], row["loss"]) for row in log))
    curves += _ends("validation loss", ((row["step"], row["eval_loss"]) for row in log))
    return f"Curves over the training steps: {', '.join(curves) or 'no loss yet'}." + (title and f" {title}.")


def engine_losses(comparison: EngineComparison) -> str:
    """The text for `plots.engine_losses`."""
    alone = loss_curve(comparison.log)
    other = _ends("PyTorch's train loss", ((row["step"], row["loss"]) for row in comparison.pytorch_log))
    return f"{alone} A dashed curve: {other[0]}." if other else alone


def checkpoint_scores(table: Any) -> str:
    """The text for `plots.checkpoint_scores`."""
    import pandas as pd

    points = []
    for row in table.to_dict("records"):
        values = {name: row[name] for name in ("validation loss", "step equivalence")}
        known = {name: f"{value:.2f}" for name, value in values.items() if not pd.isna(value)}
        points.append(f"step {row['step']}: {_listed(known)}")
    return f"Curves over the checkpoints. {'; '.join(points)}."


def before_after(results: dict[str, dict]) -> str:
    """The text for `plots.before_after`."""
    rates = {label: result["steps"] for label, result in results.items()}
    if loop := list(results.values())[-1].get("loop"):
        rates["with the loop"] = list(loop.values())[-1]
    names = ("parse", "ground", "equivalent")
    models = [
        f"{label}: {_listed({TITLES[name]: _percent(steps[name]) for name in names})}"
        for label, steps in rates.items()
    ]
    return f"Bars: shares of the steps of test problems. {'; '.join(models)}."


def by_family(results: dict[str, dict], held_out: Collection[str] = ()) -> str:
    """The text for `plots.by_family`."""
    first = next(iter(results.values()))["per_family"]
    families = [
        f"{name}{' (held out)' if name in held_out else ''}: "
        + _listed({label: _percent(one["per_family"][name]["equivalent"]) for label, one in results.items()})
        for name in sorted(first, key=lambda name: (name in held_out, name))
    ]
    return f"Points: steps with the gold answer sets by family. {'; '.join(families)}."


def verdicts(results: dict[str, dict]) -> str:
    """The text for `plots.verdicts`."""
    models = []
    for label, result in results.items():
        counts = Counter(result["per_verdict"].get("steps", {}))
        total = counts.total() or 1
        models.append(f"{label}: {_listed({name: _percent(n / total) for name, n in counts.most_common()})}")
    return f"Bars: the verdicts of the steps. {'; '.join(models)}."


def leaderboard_bars(results: Sequence[dict]) -> str:
    """The text for `plots.leaderboard_bars`."""
    titles = list(scored_parts(results))
    models = []
    for result in results:
        rates = rates_by_title(result)
        right = {
            title: _percent(rates[title]["equivalent"]) for title in titles if rates.get(title, {}).get("n")
        }
        models.append(f"{model_label(result)}: {_listed(right)}")
    return f"Bars: shares of right answers. {'; '.join(models)}."
