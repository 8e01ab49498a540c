"""The training log continues after an interruption, and stops a run that diverges."""

from pathlib import Path

import pytest

from scripts.training.log import COLUMNS, TrainingLog, read_log, stop_if_diverging, write_log
from scripts.training.recipe import Recipe
from utils_ft import UserError


def test_a_loss_that_is_no_number_or_explodes_stops_the_run():
    for fine in ([], [2.0] * 11, [2.0, 30.0]):
        stop_if_diverging(fine, Path("run"), Recipe())
    for wild in ([2.0] * 10 + [12.1], [float("nan")]):
        with pytest.raises(
            UserError, match=f"at step {len(wild)}: training diverges\n.*lower the learning rate"
        ):
            stop_if_diverging(wild, Path("run"), Recipe())


def test_a_log_comes_back_as_it_was_written(tmp_path: Path):
    rows = [
        dict.fromkeys(COLUMNS) | {"step": 1, "loss": 2.5, "seconds": 0.25},
        dict.fromkeys(COLUMNS) | {"step": 2, "loss": 2.25, "eval_loss": 2.125, "tokens_per_second": 100.5},
    ]
    write_log(tmp_path, rows)
    assert read_log(tmp_path) == rows and read_log(tmp_path / "none") == []
    assert (tmp_path / "log.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_resumed_log_keeps_the_rows_and_the_seconds_up_to_its_checkpoint(tmp_path: Path):
    empty = dict.fromkeys(COLUMNS)
    write_log(tmp_path, [empty | {"step": step, "loss": 2.0, "seconds": 10.0 * step} for step in (1, 2, 3)])
    log = TrainingLog(tmp_path, Recipe(), step_tokens=[50, 60, 70, 80])
    log.start(first_step=2)
    log.record(3, loss=1.5)
    log.record(3, eval_loss=1.25)
    assert [row["step"] for row in log.rows] == [1, 2, 3]
    assert 20 <= log.rows[-1]["seconds"] < 21
    assert log.curve("loss") == [[1, 2.0], [2, 2.0], [3, 1.5]] and log.curve("eval_loss") == [[3, 1.25]]


def test_a_damaged_log_is_named(tmp_path: Path):
    (tmp_path / "log.csv").write_text("step,loss\none,2\n")
    with pytest.raises(UserError, match=r"log\.csv: the training log is damaged\n.*train again"):
        read_log(tmp_path)
