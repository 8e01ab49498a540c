"""The training log: one row for each training step, kept as `log.csv` in the folder of a run."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from scripts.training.recipe import Recipe
from utils_ft import UserError, read_text, show_path, write_text


class LogRow(TypedDict):
    """One training step. None stands for a value that was not measured at this step.

    Keys:
        step: The training step, from 1.
        loss: The mean loss over the supervised tokens of the step, before its update, in nats.
        eval_loss: The mean loss over the supervised tokens of the validation rows, measured at checkpoints,
            in nats.
        learning_rate: The learning rate of the step.
        tokens_per_second: Tokens of all steps since training started or resumed, per second.
        seconds: Seconds of training up to this step, those before an interruption included.
    """

    step: int
    loss: float | None
    eval_loss: float | None
    learning_rate: float | None
    tokens_per_second: float | None
    seconds: float | None


COLUMNS = tuple(LogRow.__annotations__)
"""The columns of `log.csv`."""

OnLog = Callable[[list[LogRow]], None]
"""A function that gets the log so far after each logged step. A notebook draws the loss curve with it."""


class TrainingLog:
    """The log of a run while it trains. It continues the log that a resumed run left.

    Arguments:
        run: The folder of the run.
        recipe: Its recipe, whose values stand in the message when training diverges.
        step_tokens: The number of tokens in each training step.
    """

    def __init__(self, run: Path, recipe: Recipe, step_tokens: list[int]):
        self.run, self.recipe, self.step_tokens = run, recipe, step_tokens
        self.rows: list[LogRow] = []
        self.start(first_step=0)

    def start(self, first_step: int) -> None:
        """Start the clock. `first_step` is the step of the checkpoint that training continues from, or 0."""
        self.first_step = first_step
        self.rows = [row for row in read_log(self.run) if row["step"] <= first_step]
        self.seconds_before = max((row["seconds"] or 0.0 for row in self.rows), default=0.0)
        self.started = time.perf_counter()

    def record(self, step: int, **values: float) -> LogRow:
        """Put `values` (loss, eval_loss, learning_rate) into the row of `step` and return the row.

        A step may be recorded more than once, with other values each time. Raises UserError when training
        diverges.
        """
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append(LogRow(**dict.fromkeys(COLUMNS)))
        row, seconds = self.rows[-1], time.perf_counter() - self.started
        row.update(values)
        row["step"] = step
        row["seconds"] = round(self.seconds_before + seconds, 2)
        row["tokens_per_second"] = round(sum(self.step_tokens[self.first_step : step]) / seconds, 1)
        stop_if_diverging(
            [row["loss"] for row in self.rows if row["loss"] is not None], self.run, self.recipe
        )
        return row

    def curve(self, column: str) -> list[list[float]]:
        """`[[step, value], …]` of a column, for the steps that have a value in it."""
        return [[row["step"], row[column]] for row in self.rows if row[column] is not None]

    def write(self) -> None:
        """Write the rows so far to `log.csv`."""
        write_log(self.run, self.rows)


def stop_if_diverging(losses: list[float], run: Path, recipe: Recipe) -> None:
    """Raise UserError if training diverges. `losses` has one loss for each step so far.

    Training diverges when the last loss is no finite number, or, after ten steps, when it is above 4 × the
    first loss + 4.
    """
    if not losses or (math.isfinite(losses[-1]) and (len(losses) <= 10 or losses[-1] <= 4 * losses[0] + 4)):
        return
    raise UserError(
        f"the loss is {losses[-1]} at step {len(losses)}: training diverges",
        where=run,
        remedy=f"lower the learning rate (it is {recipe.learning_rate}) or alpha ({recipe.alpha}), "
        "and start again",
    )


def read_log(run: Path) -> list[LogRow]:
    """The rows of `log.csv`, or [] when there is no such file. Raises UserError for a damaged file."""
    file = run / "log.csv"
    if not file.exists():
        return []
    remedy = f"move {show_path(run)} aside and train again"
    try:
        return [_typed(row) for row in csv.DictReader(io.StringIO(read_text(file, remedy=remedy)))]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise UserError("the training log is damaged", where=file, remedy=remedy) from None


def _typed(row: dict[str, str]) -> LogRow:
    """A row of the file with numbers in place of texts, and None in place of an empty text."""
    numbers = {name: float(row[name]) if row[name] else None for name in COLUMNS if name != "step"}
    return LogRow(step=int(row["step"]), **numbers)


def write_log(run: Path, rows: list[LogRow]) -> None:
    """Write `log.csv`, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(run / "log.csv", text.getvalue())
