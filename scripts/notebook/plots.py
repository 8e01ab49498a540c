"""Every figure of the notebooks and the README, in one style: the same colour always means the same model or split.

Each function returns a matplotlib figure. The ground is white, so that a figure can be read on a dark page too; the
style is left behind when the figure is drawn, so that a person's own settings stay as they were.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from scripts.evaluation.tables import TITLES

BLUE, GREY, TEAL, AMBER, PURPLE, RED, INK = (
    "#2563eb",
    "#8a8f98",
    "#0d9488",
    "#d97706",
    "#9333ea",
    "#dc2626",
    "#111827",
)
COLOURS = {
    "base": GREY,
    "fine-tuned": BLUE,
    "with the loop": TEAL,
    "train": BLUE,
    "valid": AMBER,
    "test": PURPLE,
    "conversation": "#475569",
    "repair": "#be185d",
}
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": "#9ca3af",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
TIGHT = {"columnspacing": 1.2, "handlelength": 1.4}  # a legend in one line
WIDTH = 7.2  # inches: a figure fills the column of a notebook


def _styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """`draw` in the one style; its figure is laid out before the style is left behind, and shown once, by its cell."""

    @functools.wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Any:
        import matplotlib.pyplot as plt

        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
        plt.close(figure)
        return figure

    return styled


def _figure(height: float = 3.0, columns: int = 1, width: float = WIDTH, **settings: Any) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    return plt.subplots(1, columns, figsize=(width, height), layout="constrained", **settings)


def _legend_above(axes: Any, columns: int) -> None:
    """The legend over the upper right corner, where it covers nothing."""
    axes.legend(ncol=columns, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, **TIGHT)


# --- the way and the data ---------------------------------------------------------------------------------------

STATIONS = (
    ("problems", "text, encoding,\ninstances", 0, 0.5),
    ("data_augmentation", "descriptions in\nthree tones", 1, 0.5),
    ("data_converter", "renaming, retelling,\nnoise, repair: proved", 2, 0.5),
    ("ft_pytorch_qlora", "LoRA with TRL", 3, 1.0),
    ("ft_mlx_lora", "LoRA with MLX", 3, 0.0),
    ("choose and fuse", "a checkpoint\nby its scores", 4, 0.5),
    ("evaluate", "all answer sets", 5, 1.0),
    ("generate", "solver in the loop", 5, 0.0),
)
"""Name, what happens there, and the place (column, height) of each box of the pipeline; the notebooks are those with `_`."""


@_styled
def pipeline(here: str = "") -> Any:
    """The whole way from problems to programs, with the notebook `here` filled in."""
    from matplotlib.patches import FancyBboxPatch

    figure, axes = _figure(1.7, width=9.0)
    half, tall = 0.41, 0.29
    for name, text, x, y in STATIONS:
        notebook = "_" in name
        face, ink = (BLUE, "white") if name == here else ("#eff6ff" if notebook else "#f3f4f6", INK)
        axes.add_patch(
            FancyBboxPatch(
                (x - half, y - tall),
                2 * half,
                2 * tall,
                boxstyle="round,pad=0.02,rounding_size=0.06",
                mutation_aspect=0.6,
                facecolor=face,
                edgecolor=BLUE if notebook else "#9ca3af",
                linewidth=0.8,
            )
        )
        axes.text(x, y + 0.17, name, ha="center", va="center", fontsize=7, color=ink, weight="bold")
        axes.text(x, y - 0.08, text, ha="center", va="center", fontsize=6.2, color=ink, linespacing=1.3)
        for _, _, left, height in STATIONS:
            if left == x - 1:
                axes.annotate(
                    "",
                    (x - half - 0.03, y),
                    (left + half + 0.03, height),
                    arrowprops={
                        "arrowstyle": "-|>",
                        "color": "#6b7280",
                        "linewidth": 0.9,
                        "shrinkA": 0,
                        "shrinkB": 0,
                        "mutation_scale": 8,
                    },
                )
    axes.set(xlim=(-0.45, 5.45), ylim=(-0.35, 1.35))
    axes.axis("off")
    return figure


def _stacked(axes: Any, counts: Mapping[str, Counter], title: str, unit: str) -> None:
    """Bars, a stack of the splits each, the total behind it; `counts` is label → split → n, drawn from the top."""
    labels, left = list(counts), [0] * len(counts)
    for split in ("train", "valid", "test"):
        values = [counts[label][split] for label in labels]
        axes.barh(labels, values, left=left, color=COLOURS[split], label=split, height=0.7)
        left = [a + b for a, b in zip(left, values, strict=True)]
    for row, total in enumerate(left):
        axes.annotate(str(total), (total, row), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(xlabel=unit, title=title)
    axes.margins(x=0.14)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


@_styled
def families(splits: Mapping[str, str]) -> Any:
    """Problems by family, stacked by split; `splits` is problem id (`family/name`) → split."""
    counts: dict[str, Counter] = {}
    for name, split in sorted(splits.items()):
        counts.setdefault(name.split("/")[0], Counter())[split] += 1
    figure, axes = _figure(height=0.9 + 0.2 * len(counts))
    _stacked(axes, counts, "Families of problems", "problems")
    _legend_above(axes, 3)
    return figure


@_styled
def plot_row_counts(report: dict, *names: str) -> Any:
    """Rows of a conversion report by each of `names` (kind, style, naming, corruption), a panel each, stacked by split."""
    panels = []
    for name in names:
        counts: dict[str, Counter] = {}
        for row in report["rows"]:
            if row[name] != "":
                counts.setdefault(str(row[name]), Counter())[row["split"]] += row["rows"]
        panels.append(dict(sorted(counts.items(), key=lambda item: -item[1].total())))
    figure, axes = _figure(1.2 + 0.22 * max(map(len, panels)), len(names), squeeze=False)
    for place, name, counts in zip(axes[0], names, panels, strict=True):
        _stacked(place, counts, f"by {name}", "rows")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper right", ncol=3, **TIGHT)
    return figure


@_styled
def token_lengths(lengths: Mapping[str, Sequence[int]], limit: int) -> Any:
    """Histogram of tokens a row for each kind, with the context length as a line."""
    figure, axes = _figure(2.6)
    longest = max(max(values) for values in lengths.values())
    for kind, values in lengths.items():
        label = f"{kind} (n = {len(values)}, longest {max(values):,})"
        axes.hist(values, bins=40, range=(0, longest), label=label, color=COLOURS.get(kind, INK), alpha=0.75)
    axes.axvline(limit, color=RED, linestyle="--", label=f"context: {limit:,}")
    axes.set(xlabel="tokens a row", ylabel="rows", xlim=(0, 1.04 * max(longest, limit)))
    _legend_above(axes, len(lengths) + 1)
    return figure


# --- training ---------------------------------------------------------------------------------------------------


@_styled
def loss_curve(log: Sequence[dict], title: str = "") -> Any:
    """Train and validation loss over the steps of a run, from the rows of its log; nine steps around each averaged."""
    figure, axes = _figure()
    train, valid = (
        [(row["step"], row[name]) for row in log if row[name] is not None] for name in ("loss", "eval_loss")
    )
    if train:
        steps, losses = zip(*train, strict=True)
        few = len(losses) < 20
        axes.plot(
            steps,
            losses,
            color=COLOURS["train"],
            alpha=1 if few else 0.35,
            linewidth=1.5 if few else 1,
            label="train",
        )
        if not few:
            around = [losses[max(0, i - 4) : i + 5] for i in range(len(losses))]
            axes.plot(
                steps,
                [sum(near) / len(near) for near in around],
                color=COLOURS["train"],
                label="train, mean of 9 steps",
            )
    if valid:
        axes.plot(*zip(*valid, strict=True), color=COLOURS["valid"], marker="o", label="validation")
    axes.set(xlabel="optimiser step", ylabel="loss (nats a supervised token)", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if train or valid:
        axes.set_ylim(0, 1.1 * max(loss for _, loss in (*train, *valid)))
        axes.legend()
    return figure


@_styled
def checkpoint_scores(table: Any, scored: Mapping[int, dict] | None = None) -> Any:
    """Losses of the saved steps, from the checkpoint table; and their scores on validation problems where there are any.

    `scored` is step → figures, as `evaluate.score_checkpoints` returns them. The whiskers are 95 % intervals: from there,
    else from the columns `low` and `high` of the table.
    """
    if scored:
        bounds = [
            scored[step]["steps"]["equivalent_ci"] if step in scored else (None, None)
            for step in table["step"]
        ]
        table = table.assign(low=[low for low, _ in bounds], high=[high for _, high in bounds])
    known = table[table["step equivalence"].notna()]
    figure, axes = _figure(2.8, 2 if len(known) else 1)
    losses = axes[0] if len(known) else axes
    for name, colour in (("train loss", COLOURS["train"]), ("validation loss", COLOURS["valid"])):
        losses.plot(table["step"], table[name], marker="o", color=colour, label=name)
    losses.set(xlabel="checkpoint (optimiser step)", ylabel="loss (nats a supervised token)", title="Losses")
    for place in figure.axes:
        place.set_xticks(list(table["step"]))
    losses.set_ylim(0, 1.1 * max(losses.dataLim.y1, 0.1))
    losses.legend()
    if len(known):
        values = 100 * known["step equivalence"].astype(float)
        errors = None
        if {"low", "high"} <= set(known.columns):
            errors = [
                (values - 100 * known["low"].astype(float)).clip(0),
                (100 * known["high"].astype(float) - values).clip(0),
            ]
        axes[1].errorbar(
            known["step"],
            values,
            yerr=errors,
            marker="o",
            color=COLOURS["fine-tuned"],
            capsize=2,
            elinewidth=1,
        )
        axes[1].set(
            xlabel="checkpoint (optimiser step)",
            ylabel="% with the gold answer sets",
            title="Steps of validation problems",
        )
        axes[1].set_ylim(0, min(102, max(10, 1.1 * axes[1].get_ylim()[1])))
    return figure


# --- scores -----------------------------------------------------------------------------------------------------


def _errors(rates: dict, names: Sequence[str]) -> list[list[float]]:
    """How far the interval of each rate reaches below and above it, in per cent."""
    return [
        [max(0.0, 100 * (rates[name] - rates[f"{name}_ci"][0])) for name in names],
        [max(0.0, 100 * (rates[f"{name}_ci"][1] - rates[name])) for name in names],
    ]


@_styled
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
        bars = axes.bar(
            positions,
            [100 * steps[name] for name in names],
            width * 0.92,
            yerr=_errors(steps, names),
            color=COLOURS.get(label, INK),
            label=label,
            error_kw={"alpha": 0.5},
        )
        axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.set(
        xticks=range(len(names)),
        xticklabels=[TITLES[name] for name in names],
        ylabel="% of steps",
        ylim=(0, 112),
        yticks=range(0, 101, 20),
        title=f"{next(iter(rates.values()))['n']} steps of test problems",
    )
    axes.grid(axis="x", visible=False)
    _legend_above(axes, len(rates))
    return figure


@_styled
def by_family(results: dict[str, dict], apart: Collection[str] = ()) -> Any:
    """Step equivalence by family for each model, with 95 % intervals; the families `apart` from training are marked."""
    per_family = next(iter(results.values()))["per_family"]
    families = sorted(per_family, key=lambda name: (name in apart, name))
    figure, axes = _figure(0.95 + 0.34 * len(families))
    for number, (label, result) in enumerate(results.items()):
        offset = 0.22 * (number - (len(results) - 1) / 2)
        rates = [result["per_family"][family] for family in families]
        errors = list(zip(*(_errors(rate, ["equivalent"]) for rate in rates), strict=True))
        errors = [[reach for [reach] in side] for side in errors]
        axes.errorbar(
            [100 * rate["equivalent"] for rate in rates],
            [index + offset for index in range(len(families))],
            xerr=errors,
            fmt="o",
            color=COLOURS.get(label, INK),
            label=label,
            capsize=2,
            elinewidth=1,
        )
    names = [
        f"{name}{' (never seen)' if name in apart else ''}, n = {per_family[name]['n']}" for name in families
    ]
    axes.set(
        yticks=range(len(families)),
        yticklabels=names,
        ylim=(len(families) - 0.5, -0.5),
        xlim=(-2, 102),
        xlabel="% of steps with the gold answer sets",
        title="By family",
    )
    _legend_above(axes, len(results))
    return figure


VERDICTS = {
    "equal": TEAL,
    "wrong": "#93c5fd",
    "unsatisfiable": "#3b82f6",
    "undecided": "#c4b5fd",
    "unsafe": "#fcd34d",
    "syntax": "#f87171",
    "timeout": "#9ca3af",
    "memory": "#6b7280",
    "refused": INK,
}


@_styled
def verdicts(results: dict[str, dict]) -> Any:
    """What became of the steps: the share of each verdict, a bar a model."""
    counts = {label: result["per_verdict"].get("steps", {}) for label, result in results.items()}
    seen = [name for name in VERDICTS if any(count.get(name) for count in counts.values())]
    figure, axes = _figure(1.25 + 0.36 * len(results))
    for row, count in enumerate(counts.values()):
        left, total = 0.0, sum(count.values()) or 1
        for name in seen:
            share = 100 * count.get(name, 0) / total
            axes.barh(
                row, share, left=left, color=VERDICTS[name], label=name if row == 0 else None, height=0.7
            )
            if share >= 5:
                axes.text(
                    left + share / 2,
                    row,
                    f"{share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if name in ("equal", "unsatisfiable", "memory", "refused") else INK,
                )
            left += share
    axes.set(yticks=range(len(results)), yticklabels=list(results), xlabel="% of steps", xlim=(0, 100))
    axes.grid(visible=False)
    axes.legend(ncol=len(seen), loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2, **TIGHT)
    axes.invert_yaxis()
    return figure
