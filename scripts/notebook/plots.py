"""All figures of the notebooks and the README, in one style.

A colour always means the same model or split. Each function returns a matplotlib figure with a white
background, readable on a dark page, and with an alternative text (`alt_texts`), which a notebook and its
page show to readers who do not see it. The style holds only while a figure is drawn; a person's own
matplotlib settings do not change.
"""

from __future__ import annotations

import base64
import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from io import BytesIO
from typing import Any

from scripts.evaluation.leaderboard import model_label, prompt_of, scored_parts
from scripts.evaluation.tables import TITLES, rates_by_title
from scripts.notebook import alt_texts
from scripts.training.engine_comparison import EngineComparison

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
LOSS_UNIT = "loss (nats per supervised token)"
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
    "text.parse_math": False,  # names of families and models may have a dollar sign
}
TIGHT = {"columnspacing": 1.2, "handlelength": 1.4}  # keeps a legend on one line
WIDTH = 7.2  # inches; fills the column of a notebook
RATES = ("parse", "ground", "equivalent")


def _styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Run `draw` with `STYLE`, and give the figure the text of the function of the same name in `alt_texts`.

    The figure is closed, so that only the cell's own value shows it.
    """
    describe = getattr(alt_texts, draw.__name__)

    @functools.wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Any:
        import matplotlib.pyplot as plt

        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # fixes the layout while the style holds
        plt.close(figure)
        text = describe(*args, **kwargs)
        figure._repr_mimebundle_ = lambda **_: _bundle(figure, text)  # IPython calls it to show the figure
        return figure

    return styled


def _bundle(figure: Any, text: str) -> tuple[dict, dict]:
    """What a cell shows of a figure: the image, and `text` for readers who do not see it."""
    image = BytesIO()
    figure.savefig(
        image, format="png", dpi=STYLE["figure.dpi"], facecolor=figure.get_facecolor(), bbox_inches="tight"
    )
    data = {"image/png": base64.b64encode(image.getvalue()).decode("ascii"), "text/plain": text}
    return data, {"image/png": {"alt": text}}


def _figure(height: float = 3.0, columns: int = 1, width: float = WIDTH, **settings: Any) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    return plt.subplots(1, columns, figsize=(width, height), layout="constrained", **settings)


def _legend_above(axes: Any, columns: int) -> None:
    """Put the legend above the upper right corner, outside of the axes."""
    axes.legend(ncol=columns, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, **TIGHT)


STATIONS = (
    ("problems", "text, encoding,\ninstances", 0, 0.5),
    ("data_augmentation", "paraphrases in\nthree styles", 1, 0.5),
    ("data_converter", "renaming, noise,\nrepairs: verified", 2, 0.5),
    ("ft_pytorch_qlora", "LoRA with TRL", 3, 1.0),
    ("ft_mlx_lora", "LoRA with MLX", 3, 0.0),
    ("choose and fuse", "a checkpoint\nby its scores", 4, 0.5),
    ("evaluate", "all answer sets", 5, 1.0),
    ("generate", "repair loop", 5, 0.0),
)
"""The boxes of the pipeline: name, text, column, height. A name with `_` is a notebook."""
_HALF, _TALL = 0.41, 0.29  # half the width and half the height of a box


@_styled
def pipeline(here: str = "") -> Any:
    """The pipeline from problems to programs, with the notebook `here` filled in."""
    figure, axes = _figure(1.7, width=9.0)
    for station in STATIONS:
        _box(axes, station, here)
        for _, _, column, height in STATIONS:
            if column == station[2] - 1:
                _arrow(axes, (column, height), station[2:])
    axes.set(xlim=(-0.45, 5.45), ylim=(-0.35, 1.35))
    axes.axis("off")
    return figure


def _box(axes: Any, station: tuple[str, str, int, float], here: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    name, text, x, y = station
    notebook = "_" in name
    face, ink = (BLUE, "white") if name == here else ("#eff6ff" if notebook else "#f3f4f6", INK)
    axes.add_patch(
        FancyBboxPatch(
            (x - _HALF, y - _TALL),
            2 * _HALF,
            2 * _TALL,
            boxstyle="round,pad=0.02,rounding_size=0.06",
            mutation_aspect=0.6,
            facecolor=face,
            edgecolor=BLUE if notebook else "#9ca3af",
            linewidth=0.8,
        )
    )
    axes.text(x, y + 0.17, name, ha="center", va="center", fontsize=7, color=ink, weight="bold")
    axes.text(x, y - 0.08, text, ha="center", va="center", fontsize=6.2, color=ink, linespacing=1.3)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow from the box at `start` to the box at `end`."""
    style = {"arrowstyle": "-|>", "color": "#6b7280", "linewidth": 0.9, "mutation_scale": 8}
    tail, head = (start[0] + _HALF + 0.03, start[1]), (end[0] - _HALF - 0.03, end[1])
    axes.annotate("", head, tail, arrowprops=style | {"shrinkA": 0, "shrinkB": 0})


def _stacked(axes: Any, counts: Mapping[str, Counter], title: str, unit: str) -> None:
    """One bar for each label, stacked by split, with its total. `counts` is label → split → n."""
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
    """Problems by family, stacked by split. `splits` is problem id (`family/name`) → split."""
    counts: dict[str, Counter] = {}
    for name, split in sorted(splits.items()):
        counts.setdefault(name.split("/")[0], Counter())[split] += 1
    figure, axes = _figure(height=0.9 + 0.2 * len(counts))
    _stacked(axes, counts, "Families of problems", "problems")
    _legend_above(axes, 3)
    return figure


PANELS = {"naming": "variable names", "names": "predicate names"}
"""The title of a panel of `plot_row_counts`, if it is not the name of the column."""


@_styled
def plot_row_counts(report: dict, *names: str) -> Any:
    """Rows of a conversion report, counted by each of `names`, such as kind or style: one panel for each."""
    panels = []
    for name in names:
        counts: dict[str, Counter] = {}
        for row in report["rows"]:
            if row[name] != "":
                counts.setdefault(str(row[name]), Counter())[row["split"]] += row["rows"]
        panels.append(dict(sorted(counts.items(), key=lambda item: -item[1].total())))
    figure, axes = _figure(1.2 + 0.22 * max(map(len, panels)), len(names), squeeze=False)
    for place, name, counts in zip(axes[0], names, panels, strict=True):
        _stacked(place, counts, f"by {PANELS.get(name, name)}", "rows")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper right", ncol=3, **TIGHT)
    return figure


@_styled
def token_lengths(lengths: Mapping[str, Sequence[int]], limit: int) -> Any:
    """Histogram of the tokens of a row for each kind. A line marks `limit`, the context length in tokens."""
    figure, axes = _figure(2.6)
    longest = max(max(values) for values in lengths.values())
    for kind, values in lengths.items():
        label = f"{kind} (n = {len(values)}, longest {max(values):,})"
        axes.hist(values, bins=40, range=(0, longest), label=label, color=COLOURS.get(kind, INK), alpha=0.75)
    axes.axvline(limit, color=RED, linestyle="--", label=f"context: {limit:,}")
    axes.set(xlabel="tokens of a row", ylabel="rows", xlim=(0, 1.04 * max(longest, limit)))
    _legend_above(axes, len(lengths) + 1)
    return figure


@_styled
def loss_curve(log: Sequence[dict], title: str = "") -> Any:
    """Train and validation loss over the training steps of a run, from the rows of its log.

    With 20 training steps or more, the train loss is also drawn as a moving mean of nine steps.
    """
    figure, axes = _figure()
    if train := _points(log, "loss"):
        _train_loss(axes, *zip(*train, strict=True))
    _finish_losses(axes, log, title)
    return figure


@_styled
def engine_losses(comparison: EngineComparison) -> Any:
    """The losses of an MLX run, and as a dashed line PyTorch's train loss on the same rows, if known."""
    if comparison.pytorch is None:
        return loss_curve.__wrapped__(comparison.log)
    figure, axes = _figure()
    for label, log, style in (
        ("train, MLX", comparison.log, {"color": COLOURS["train"]}),
        ("train, PyTorch", comparison.pytorch_log, {"color": INK, "linestyle": "--", "linewidth": 1.2}),
    ):
        axes.plot(*zip(*_points(log, "loss"), strict=True), **style, label=label)
    _finish_losses(axes, comparison.log)
    return figure


def _points(log: Sequence[dict], column: str) -> list[tuple[int, float]]:
    """Step and value of the rows that have a value in a column."""
    return [(row["step"], row[column]) for row in log if row[column] is not None]


def _finish_losses(axes: Any, log: Sequence[dict], title: str = "") -> None:
    """Draw the validation losses of a log, and finish a figure of losses."""
    if valid := _points(log, "eval_loss"):
        axes.plot(*zip(*valid, strict=True), color=COLOURS["valid"], marker="o", label="validation")
    axes.set(xlabel="training step", ylabel=LOSS_UNIT, title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.lines:
        axes.set_ylim(0, 1.1 * max(loss for line in axes.lines for loss in line.get_ydata()))
        axes.legend()


def _train_loss(axes: Any, steps: Sequence[int], losses: Sequence[float]) -> None:
    if len(losses) < 20:
        axes.plot(steps, losses, color=COLOURS["train"], linewidth=1.5, label="train")
        return
    axes.plot(steps, losses, color=COLOURS["train"], alpha=0.35, linewidth=1, label="train")
    windows = [losses[max(0, index - 4) : index + 5] for index in range(len(losses))]
    means = [sum(window) / len(window) for window in windows]
    axes.plot(steps, means, color=COLOURS["train"], label="train, mean of 9 steps")


@_styled
def checkpoint_scores(table: Any) -> Any:
    """Losses of the checkpoints, and their scores on validation problems with 95 % intervals.

    `table` is the checkpoint table, `training.checkpoints.table`. Without scores there is one panel.
    """
    scored = table[table["step equivalence"].notna()]
    figure, axes = _figure(2.8, 2 if len(scored) else 1, squeeze=False)
    losses, *scores = axes[0]
    for name, colour in (("train loss", COLOURS["train"]), ("validation loss", COLOURS["valid"])):
        losses.plot(table["step"], table[name], marker="o", color=colour, label=name)
    losses.set(xlabel="checkpoint (training step)", ylabel=LOSS_UNIT, title="Losses")
    losses.set_ylim(0, 1.1 * max(losses.dataLim.y1, 0.1))
    losses.legend()
    for panel in scores:
        _score_points(panel, scored)
    for panel in figure.axes:
        panel.set_xticks(list(table["step"]))
    return figure


def _score_points(axes: Any, table: Any) -> None:
    """The step equivalence of each checkpoint in `table`, in per cent, with its interval."""
    rates, low, high = (100 * table[name].astype(float) for name in ("step equivalence", "low", "high"))
    axes.errorbar(
        table["step"],
        rates,
        yerr=[(rates - low).clip(0), (high - rates).clip(0)],
        marker="o",
        color=COLOURS["fine-tuned"],
        capsize=2,
        elinewidth=1,
    )
    axes.set(
        xlabel="checkpoint (training step)",
        ylabel="% with the gold answer sets",
        title="Steps of validation problems",
    )
    axes.set_ylim(0, min(102, max(10, 1.1 * axes.get_ylim()[1])))


def _errors(rates: dict, names: Sequence[str]) -> list[list[float]]:
    """How far the 95 % interval of each rate reaches below and above it, in per cent."""
    return [
        [max(0.0, 100 * (rates[name] - rates[f"{name}_ci"][0])) for name in names],
        [max(0.0, 100 * (rates[f"{name}_ci"][1] - rates[name])) for name in names],
    ]


@_styled
def before_after(results: dict[str, dict]) -> Any:
    """Rates of single steps for each model (`base`, `fine-tuned`), with 95 % intervals.

    If the last model was scored with the repair loop, the rates with the most repairs are drawn beside it.
    """
    figure, axes = _figure()
    rates = {label: result["steps"] for label, result in results.items()}
    if loop := list(results.values())[-1].get("loop"):
        rates["with the loop"] = list(loop.values())[-1]
    width = 0.8 / len(rates)
    for number, (label, steps) in enumerate(rates.items()):
        offset = (number - (len(rates) - 1) / 2) * width
        bars = axes.bar(
            [index + offset for index in range(len(RATES))],
            [100 * steps[name] for name in RATES],
            width * 0.92,
            yerr=_errors(steps, RATES),
            color=COLOURS.get(label, INK),
            label=label,
            error_kw={"alpha": 0.5},
        )
        axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.set(
        xticks=range(len(RATES)),
        xticklabels=[TITLES[name] for name in RATES],
        ylabel="% of steps",
        ylim=(0, 112),
        yticks=range(0, 101, 20),
        title=f"{next(iter(rates.values()))['n']} steps of test problems",
    )
    axes.grid(axis="x", visible=False)
    _legend_above(axes, len(rates))
    return figure


@_styled
def by_family(results: dict[str, dict], held_out: Collection[str] = ()) -> Any:
    """Step equivalence by family for each model, with 95 % intervals. Families in `held_out` are marked."""
    per_family = next(iter(results.values()))["per_family"]
    families = sorted(per_family, key=lambda name: (name in held_out, name))
    figure, axes = _figure(0.95 + 0.34 * len(families))
    for number, (label, result) in enumerate(results.items()):
        offset = 0.22 * (number - (len(results) - 1) / 2)
        rates = [result["per_family"][family] for family in families]
        reaches = [_errors(rate, ["equivalent"]) for rate in rates]
        axes.errorbar(
            [100 * rate["equivalent"] for rate in rates],
            [index + offset for index in range(len(families))],
            xerr=[[below for [below], _ in reaches], [above for _, [above] in reaches]],
            fmt="o",
            color=COLOURS.get(label, INK),
            label=label,
            capsize=2,
            elinewidth=1,
        )
    axes.set(
        yticks=range(len(families)),
        yticklabels=[
            f"{name}{' (held out)' if name in held_out else ''}, n = {per_family[name]['n']}"
            for name in families
        ],
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


_DARK = ("equal", "unsatisfiable", "memory", "refused")  # bars with white text


@_styled
def verdicts(results: dict[str, dict]) -> Any:
    """The share of each verdict among the steps: one bar for each model."""
    counts = {label: result["per_verdict"].get("steps", {}) for label, result in results.items()}
    seen = [name for name in VERDICTS if any(count.get(name) for count in counts.values())]
    figure, axes = _figure(1.25 + 0.36 * len(results))
    for row, count in enumerate(counts.values()):
        left, total = 0.0, sum(count.values()) or 1
        for name in seen:
            share = 100 * count.get(name, 0) / total
            label = name if row == 0 else None
            axes.barh(row, share, left=left, color=VERDICTS[name], label=label, height=0.7)
            if share >= 5:
                ink = "white" if name in _DARK else INK
                middle = {"ha": "center", "va": "center"}
                axes.text(left + share / 2, row, f"{share:.0f}", **middle, fontsize=8, color=ink)
            left += share
    axes.set(yticks=range(len(results)), yticklabels=list(results), xlabel="% of steps", xlim=(0, 100))
    axes.grid(visible=False)
    axes.legend(ncol=len(seen), loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2, **TIGHT)
    axes.invert_yaxis()
    return figure


@_styled
def leaderboard_bars(results: Sequence[dict]) -> Any:
    """For each result file of a leaderboard, the shares of right answers by part, with 95 % intervals."""
    titles = list(scored_parts(results))
    colours = [BLUE, TEAL, AMBER, PURPLE, RED, GREY]
    height = 0.8 / max(len(titles), 1)
    figure, axes = _figure(height=1.0 + 0.28 * len(results) * max(len(titles), 1))
    for number, title in enumerate(titles):
        for place, result in enumerate(results):
            rates = rates_by_title(result).get(title, {})
            if rates.get("n"):
                axes.barh(
                    place + number * height,
                    100 * rates["equivalent"],
                    height,
                    color=colours[number % len(colours)],
                    xerr=_errors(rates, ["equivalent"]),
                    error_kw={"ecolor": INK, "elinewidth": 0.8},
                    label=title if title not in axes.get_legend_handles_labels()[1] else None,
                )
    middle = height * (len(titles) - 1) / 2
    labels = [f"{model_label(result)}\n{prompt_of(result)}".replace("$", r"\$") for result in results]
    axes.set_yticks([place + middle for place in range(len(results))], labels)
    axes.invert_yaxis()
    axes.set_xlabel("right, %")
    axes.set_xlim(0, 100)
    axes.grid(axis="y", visible=False)
    if titles:
        _legend_above(axes, min(len(titles), 3))
    return figure
