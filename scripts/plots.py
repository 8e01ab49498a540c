"""Every figure of the notebooks and the README, in one style: the same colour always means the same model or split.

Each function returns a matplotlib figure. The background is white, so that figures can be read on a dark page too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

COLOURS = {"base": "#8a8f98", "fine-tuned": "#2563eb", "with the loop": "#0d9488", "train": "#2563eb", "valid": "#d97706", "test": "#9333ea"}


def _figure(width: float = 6.4, height: float = 3.2, columns: int = 1) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    plt.rcParams.update({
        "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "axes.spines.top": False,
        "axes.spines.right": False, "axes.grid": True, "grid.color": "#e5e7eb", "axes.axisbelow": True, "font.size": 9,
        "axes.titlesize": 10, "figure.dpi": 90,
    })
    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained")
    plt.close(figure)  # the notebook shows what a cell returns, once
    return figure, axes


def rows_by(report: dict, name: str) -> Any:
    """Bars: training rows by `name` (style, naming, corruption, kind) in a conversion report."""
    counts: Counter[str] = Counter()
    for row in report["rows"]:
        if row["split"] == "train" and row[name] != "":
            counts[str(row[name])] += row["rows"]
    figure, axes = _figure(height=0.9 + 0.26 * len(counts))
    labels, values = zip(*reversed(counts.most_common()), strict=True)
    bars = axes.barh(labels, values, color=COLOURS["train"])
    axes.bar_label(bars, padding=3)
    axes.set(xlabel="training rows", title=f"Rows by {name}")
    axes.grid(axis="y", visible=False)
    return figure


def token_lengths(lengths: dict[str, Sequence[int]], limit: int) -> Any:
    """Histogram of tokens a row for each kind, with the context length as a line."""
    figure, axes = _figure()
    longest = max(max(values) for values in lengths.values())
    for (kind, values), colour in zip(lengths.items(), (COLOURS["train"], COLOURS["valid"]), strict=False):
        axes.hist(values, bins=40, range=(0, longest), label=f"{kind} (n = {len(values)})", color=colour, alpha=0.75)
    axes.axvline(limit, color="#dc2626", linestyle="--", label=f"context: {limit} tokens")
    axes.set(xlabel="tokens a row", ylabel="rows", title="How long the rows are")
    axes.legend(frameon=False)
    return figure


def loss_curve(log: Sequence[dict]) -> Any:
    """Train and validation loss over the steps of a run, from the rows of its log."""
    figure, axes = _figure()
    for name, colour, marker in (("loss", COLOURS["train"], None), ("eval_loss", COLOURS["valid"], "o")):
        points = [(row["step"], row[name]) for row in log if row[name] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label="train" if name == "loss" else "validation")
    axes.set(xlabel="optimiser step", ylabel="loss (nats a supervised token)", title="Learning", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def checkpoint_scores(table: Any) -> Any:
    """Losses of the saved steps, from the checkpoint table; and the scores on validation problems where they were measured.

    Whiskers are the 95 % intervals in the columns `low` and `high`.
    """
    scored = table[table["step equivalence"].notna()]
    figure, axes = _figure(height=2.8, columns=2 if len(scored) else 1)
    losses = axes[0] if len(scored) else axes
    for name, colour in (("train loss", COLOURS["train"]), ("validation loss", COLOURS["valid"])):
        losses.plot(table["step"], table[name], marker="o", color=colour, label=name)
    losses.set(xlabel="checkpoint (optimiser step)", ylabel="loss (nats a token)", title="Which checkpoint?")
    losses.legend(frameon=False)
    if len(scored):
        values = 100 * scored["step equivalence"].astype(float)
        errors = None
        if {"low", "high"} <= set(table.columns):
            errors = [(values - 100 * scored["low"]).clip(0), (100 * scored["high"] - values).clip(0)]
        axes[1].errorbar(scored["step"], values, yerr=errors, marker="o", color=COLOURS["fine-tuned"], capsize=2, elinewidth=1)
        axes[1].set(xlabel="checkpoint (optimiser step)", ylabel="% with the gold answer sets", ylim=(0, 102),
                    title="Steps of validation problems")
    return figure


def before_after(results: dict[str, dict]) -> Any:
    """Rates of single steps for each model (`base`, `fine-tuned`), with 95 % intervals.

    Where the last one was scored with the solver in the loop, its steps with the most repairs stand beside it.
    """
    figure, axes = _figure()
    names = ("parse", "ground", "equivalent")
    rates = {label: result["steps"] for label, result in results.items()}
    if loop := list(results.values())[-1].get("loop"):
        rates["with the loop"] = list(loop.values())[-1]
    width = 0.8 / len(rates)
    for number, (label, steps) in enumerate(rates.items()):
        positions = [index + (number - (len(rates) - 1) / 2) * width for index in range(len(names))]
        bars = axes.bar(positions, [100 * steps[name] for name in names], width * 0.92, yerr=_errors(steps, names),
                        color=COLOURS.get(label, "#111827"), label=label, error_kw={"alpha": 0.5})
        axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.set(xticks=range(len(names)), xticklabels=["parses", "grounds", "same answer sets"], ylabel="% of steps", ylim=(0, 105),
             title=f"Single steps of test problems, n = {next(iter(rates.values()))['n']}")
    axes.legend(frameon=False)
    return figure


def _errors(rates: dict, names: Sequence[str]) -> list[list[float]]:
    """How far the interval of each rate reaches below and above it, in per cent."""
    return [[max(0.0, 100 * (rates[name] - rates[f"{name}_ci"][0])) for name in names],
            [max(0.0, 100 * (rates[f"{name}_ci"][1] - rates[name])) for name in names]]


def by_family(results: dict[str, dict]) -> Any:
    """Step equivalence by family for each model, with 95 % intervals."""
    families = sorted(next(iter(results.values()))["per_family"])
    figure, axes = _figure(height=1.0 + 0.34 * len(families))
    for number, (label, result) in enumerate(results.items()):
        offset = 0.22 * (number - (len(results) - 1) / 2)
        rates = [result["per_family"][family] for family in families]
        errors = list(zip(*(_errors(rate, ["equivalent"]) for rate in rates), strict=True))
        errors = [[reach for [reach] in side] for side in errors]
        axes.errorbar([100 * rate["equivalent"] for rate in rates], [index + offset for index in range(len(families))],
                      xerr=errors, fmt="o", color=COLOURS.get(label, "#111827"), label=label, capsize=2, elinewidth=1)
    axes.set(yticks=range(len(families)), yticklabels=families, xlabel="% of steps with the gold answer sets", xlim=(-2, 102),
             title="By family")
    axes.legend(frameon=False)
    return figure


def verdicts(results: dict[str, dict]) -> Any:
    """What became of the steps: the share of each verdict, a bar a model."""
    order = ("equal", "wrong", "unsatisfiable", "undecided", "unsafe", "syntax", "timeout", "memory", "refused")
    shades = ("#0d9488", "#93c5fd", "#60a5fa", "#c4b5fd", "#fcd34d", "#f87171", "#9ca3af", "#6b7280", "#111827")
    figure, axes = _figure(height=0.9 + 0.5 * len(results))
    for row, result in enumerate(results.values()):
        counts, left = result["per_verdict"].get("steps", {}), 0.0
        total = sum(counts.values()) or 1
        for name, shade in zip(order, shades, strict=True):
            share = 100 * counts.get(name, 0) / total
            axes.barh(row, share, left=left, color=shade, label=name if row == 0 else None)
            left += share
    axes.set(yticks=range(len(results)), yticklabels=list(results), xlabel="% of steps", xlim=(0, 100),
             title="What became of each step")
    axes.legend(frameon=False, ncol=5, loc="upper center", bbox_to_anchor=(0.5, -0.35))
    axes.invert_yaxis()
    return figure
