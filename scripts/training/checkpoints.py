"""The checkpoints of a run: which are whole, which to keep, and the table from which a person picks one.

PyTorch saves folders (`checkpoint-55/`), MLX files (`0000055_adapters.safetensors`); here they are one list.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.training.recipe import Recipe
from utils_ft import UserError, content_hash, show_path, write_json, write_text

WHOLE = "complete.json"
"""Written last into a checkpoint folder, with the sizes of its files: without it, or with other sizes, it is torn."""


@dataclass(frozen=True)
class Checkpoint:
    """One saved step of a run."""

    step: int
    path: Path
    eval_loss: float | None = None
    score: float | None = None  # share of step equivalence on validation problems, where somebody measured it
    interval: tuple[float, float] | None = None  # of the score, 95 %
    rates: dict | None = None  # the rates of the steps of validation problems, as `evaluate` wrote them


def mark_complete(folder: Path) -> None:
    """Mark a checkpoint folder as whole, with all that lies in it at any depth."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != WHOLE]
    write_json(folder / WHOLE, {path.relative_to(folder).as_posix(): path.stat().st_size for path in files})


def is_whole(path: Path) -> bool:
    """Whether a checkpoint was written to its end. MLX's files appear whole or not at all."""
    if path.is_file():
        return True
    try:
        sizes = json.loads((path / WHOLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(
        (path / name).is_file() and (path / name).stat().st_size == size for name, size in sizes.items()
    )


def checkpoints(run: Path) -> list[Checkpoint]:
    """The whole checkpoints of a run folder, by step, with what its log and its scores say of them."""
    found: dict[int, Path] = {}
    for path in run.glob("*") if run.is_dir() else ():
        name = re.fullmatch(r"checkpoint-(\d+)|(\d{7})_adapters\.safetensors", path.name)
        if name and is_whole(path):
            found[int(name[1] or name[2])] = path
    losses = {row["step"]: row["eval_loss"] for row in read_log(run) if row["eval_loss"] is not None}
    scores = _scores(run)
    return [
        Checkpoint(step, path, losses.get(step), *scores.get(step, (None, None, None)))
        for step, path in sorted(found.items())
    ]


def _scores(run: Path) -> dict[int, tuple[float, tuple[float, float] | None, dict]]:
    """Step → step equivalence, its interval, and all rates, from the `scores-<step>.json` that `evaluate` wrote into the run folder.

    Only what was scored over the base, on the problems, with the settings and the code of the newest file counts.
    """
    files = [file for file in run.glob("scores-*.json") if re.fullmatch(r"scores-\d+", file.stem)]
    found, newest = {}, None
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        result = json.loads(file.read_text(encoding="utf-8"))
        newest = newest or result
        if result.get("asked") == newest.get("asked"):
            interval = result["steps"].get("equivalent_ci")
            found[int(file.stem.removeprefix("scores-"))] = (
                result["steps"]["equivalent"],
                tuple(interval) if interval else None,
                result["steps"],
            )
    return found


def incomplete(run: Path) -> list[Path]:
    """Checkpoint folders of a run that were not written to their end."""
    return [path for path in sorted(run.glob("checkpoint-*")) if not is_whole(path)]


def best(found: list[Checkpoint]) -> Checkpoint:
    """The checkpoint to recommend: highest score on validation problems, else lowest validation loss, else the last."""
    scored = [checkpoint for checkpoint in found if checkpoint.score is not None]
    return (
        max(scored, key=lambda checkpoint: (checkpoint.score, checkpoint.step))
        if scored
        else _best_by_loss(found)
    )


def _best_by_loss(found: list[Checkpoint]) -> Checkpoint:
    measured = [checkpoint for checkpoint in found if checkpoint.eval_loss is not None]
    return (
        min(measured, key=lambda checkpoint: (checkpoint.eval_loss, -checkpoint.step))
        if measured
        else found[-1]
    )


def choose(run: Path, which: int | str = "best") -> Checkpoint:
    """The checkpoint at a step, or `best`, or `last`. UserError names the steps there are."""
    found = checkpoints(run)
    if not found:
        raise UserError(
            "there is no whole checkpoint",
            where=run,
            remedy="train first, or run the training again to resume it",
        )
    if which in ("best", "last"):
        return best(found) if which == "best" else found[-1]
    for checkpoint in found:
        if str(checkpoint.step) == str(which):
            return checkpoint
    steps = ", ".join(str(checkpoint.step) for checkpoint in found)
    raise UserError(
        f"there is no checkpoint at step {which}", where=run, remedy=f"choose best, last, or one of {steps}"
    )


def rotate(run: Path, keep: int) -> None:
    """Delete the oldest checkpoints beyond `keep`; the best by score and the best by validation loss always stay."""
    found = checkpoints(run)
    if len(found) <= keep:
        return
    safe = {best(found).step, _best_by_loss(found).step}
    for checkpoint in found[:-keep]:
        if checkpoint.step in safe:
            continue
        if checkpoint.path.is_dir():
            shutil.rmtree(checkpoint.path)
        else:  # MLX's, with the optimiser in a file of its own
            for file in run.glob(f"{checkpoint.step:07d}_*.safetensors"):
                file.unlink()


# --- the log ----------------------------------------------------------------------------------------------------

OnLog = Callable[[list[dict]], None]
"""Called with the log so far after every step that was logged: a notebook draws its live curve from it."""

COLUMNS = ("step", "loss", "eval_loss", "learning_rate", "tokens_per_second", "seconds")


def stop_if_diverging(losses: list[float], run: Path, recipe: Recipe) -> None:
    """UserError where the last loss, one for each step, is no number, or far above the first after the first steps."""
    if not losses or (math.isfinite(losses[-1]) and (len(losses) <= 10 or losses[-1] <= 4 * losses[0] + 4)):
        return
    raise UserError(
        f"the loss is {losses[-1]} at step {len(losses)}: training diverges",
        where=run,
        remedy=f"lower the learning rate (it is {recipe.learning_rate}) or alpha ({recipe.alpha}) and start again",
    )


def read_log(run: Path) -> list[dict]:
    """The rows of `log.csv`: numbers, None where a column is empty. Both engines write the same columns."""
    file = run / "log.csv"
    if not file.exists():
        return []
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    try:
        return [
            {name: (int if name == "step" else float)(row[name]) if row[name] else None for name in COLUMNS}
            for row in rows
        ]
    except (KeyError, ValueError):
        remedy = f"move {show_path(run)} aside and train again"
        raise UserError("the training log is damaged", where=file, remedy=remedy) from None


def write_log(run: Path, rows: list[dict]) -> None:
    """Write `log.csv`, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(run / "log.csv", text.getvalue())


def prepare_run(run: Path, identity: dict, resume: bool) -> dict | None:
    """Make the run folder fit `identity` (recipe, base, data); the metrics where that very run is finished already.

    A run with another identity, or any where `resume` is off, is moved aside, never deleted; a torn checkpoint too.
    """
    run.mkdir(parents=True, exist_ok=True)
    file = run / "run.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    if known is not None and (known != identity or not resume):
        aside = run.with_name(f"{run.name}.{content_hash(json.dumps(known))[:8]}-{int(time.time())}")
        run.rename(aside)
        print(f"another run lay in {show_path(run)}: moved to {show_path(aside)}", flush=True)
        run.mkdir()
        known = None
    if known is None:
        write_json(file, identity)
    for path in incomplete(run):
        print(f"{show_path(path)} was not written to its end: passed over", flush=True)
        path.rename(path.with_name(f".torn-{path.name}-{int(time.time())}"))
    if (run / "metrics.json").exists():
        print(f"already done: {show_path(run / 'metrics.json')}", flush=True)
        return json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return None


def table(run: Path):  # noqa: ANN201 - a pandas DataFrame
    """The checkpoint table of a run: step, train loss, validation loss, score, and which one is recommended.

    `low` and `high` are the ends of the score's 95 % interval.
    """
    import pandas as pd

    found = checkpoints(run)
    log = {row["step"]: row["loss"] for row in read_log(run) if row["loss"] is not None}
    recommended = best(found).step if found else None
    unknown = (math.nan, math.nan)
    return pd.DataFrame(
        [
            {
                "step": c.step,
                "train loss": log.get(c.step),
                "validation loss": c.eval_loss,
                "step equivalence": c.score,
                "low": (c.interval or unknown)[0],
                "high": (c.interval or unknown)[1],
                "recommended": "←" if c.step == recommended else "",
            }
            for c in found
        ]
    )
