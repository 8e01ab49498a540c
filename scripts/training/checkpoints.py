"""The checkpoints of a run: which are complete, which are kept, their scores, and which one to use.

PyTorch saves folders (`checkpoint-55/`), MLX saves files (`0000055_adapters.safetensors`). Here both are one
list.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from scripts.training.log import read_log
from utils_ft import UserError, content_hash, read_json, show_path, write_json

if TYPE_CHECKING:
    from pandas import DataFrame

COMPLETE = "complete.json"
"""The last file of a checkpoint folder: `{"run": identity, "files": {path: size}}`.

`run` is the `run_identity` of the run that wrote the checkpoint. MLX's files have it in their metadata.
"""

RUN = "run.json"
"""The file of a run folder that says what is trained: recipe, base model and data."""

SCORES = "checkpoint_scores.json"
"""The scores of a run's checkpoints: `{"settings": …, "rates": {step: …}}`."""


@dataclass(frozen=True)
class CheckpointScore:
    """The scores of one checkpoint on validation problems."""

    step: int
    """The training step of the checkpoint."""
    rates: dict[str, Any]
    """The figures of the steps, as `evaluation.scores` makes them: `n`, `parse`, `ground`, `equivalent`, and
    the 95 % intervals `parse_ci`, `ground_ci`, `equivalent_ci`."""
    settings: str
    """A hash of the base model, the problems and the settings.

    Scores with different hashes are not compared.
    """


@dataclass(frozen=True)
class Checkpoint:
    """One saved training step of a run."""

    step: int
    path: Path
    """A folder (PyTorch) or a file (MLX)."""
    eval_loss: float | None = None
    """The validation loss at this step, where it was measured."""
    rates: dict[str, Any] | None = None
    """The rates of `CheckpointScore`, where the checkpoint was scored."""

    @property
    def score(self) -> float | None:
        """The share of validation steps whose answer is equivalent, where the checkpoint was scored."""
        return self.rates["equivalent"] if self.rates else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the score."""
        interval = self.rates.get("equivalent_ci") if self.rates else None
        return (interval[0], interval[1]) if interval else None


def run_identity(run: Path) -> str:
    """A hash of what a run trains, from its `run.json`. It is "" if there is no such file."""
    file = run / RUN
    return content_hash(json.dumps(read_run(run), sort_keys=True)) if file.exists() else ""


def read_run(run: Path) -> dict[str, Any]:
    """The content of `run.json`. UserError if it is damaged."""
    return read_json(run / RUN, f"move {show_path(run)} aside and train again")


def mark_complete(folder: Path, identity: str = "") -> None:
    """Mark a checkpoint folder as complete: write the sizes of all its files into it.

    `identity` is the `run_identity` of its run.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != COMPLETE]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_json(folder / COMPLETE, {"run": identity, "files": sizes})


def is_complete(path: Path) -> bool:
    """Whether a checkpoint has all its files at their full size. MLX's files are written atomically."""
    if path.is_file():
        return True
    sizes = _mark(path).get("files")
    if not sizes or not isinstance(sizes, dict):
        return False
    files = {path / name: size for name, size in sizes.items()}
    return all(file.is_file() and file.stat().st_size == size for file, size in files.items())


def _mark(path: Path) -> dict[str, Any]:
    """The content of a checkpoint's `complete.json`, or {} if it cannot be read."""
    try:
        found = read_json(path / COMPLETE, "")
    except UserError:
        return {}
    is_old = "files" not in found and all(isinstance(size, int) for size in found.values())
    return {"files": found} if is_old else found  # the first versions wrote the sizes only


def _check_run(path: Path, identity: str) -> None:
    """UserError if a checkpoint says that it is of another run than the one with `identity`."""
    found = ""
    if path.is_file():
        with contextlib.suppress(OSError, SafetensorError), safe_open(path, "np") as file:
            found = (file.metadata() or {}).get("run", "")
    else:
        found = _mark(path).get("run", "")
    if found and identity and found != identity:
        raise UserError(
            "this checkpoint is of another run",
            where=path,
            remedy="move it out of this folder; what was trained with it is a mixture of two runs",
        )


def incomplete(run: Path) -> list[Path]:
    """The checkpoint folders of a run that were not written to their end."""
    return [path for path in sorted(run.glob("checkpoint-*")) if not is_complete(path)]


def checkpoints(run: Path) -> list[Checkpoint]:
    """The complete checkpoints of a run folder, by step, each with its validation loss and its scores.

    UserError if one of them is of another run.
    """
    paths: dict[int, Path] = {}
    identity = run_identity(run)
    for path in run.glob("*") if run.is_dir() else ():
        name = re.fullmatch(r"checkpoint-(\d+)|(\d{7})_adapters\.safetensors", path.name)
        if name and is_complete(path):
            _check_run(path, identity)
            paths[int(name[1] or name[2])] = path
    losses = {row["step"]: row["eval_loss"] for row in read_log(run) if row["eval_loss"] is not None}
    scores = {score.step: score.rates for score in read_scores(run)}
    return [
        Checkpoint(step, path, losses.get(step), scores.get(step)) for step, path in sorted(paths.items())
    ]


def write_score(run: Path, score: CheckpointScore) -> None:
    """Add a score to those of a run.

    Scores with other settings are removed, as they cannot be compared with it.
    """
    comparable = [
        other for other in read_scores(run) if other.settings == score.settings and other.step != score.step
    ]
    rates = {str(each.step): each.rates for each in sorted([*comparable, score], key=lambda each: each.step)}
    write_json(run / SCORES, {"settings": score.settings, "rates": rates})


def read_scores(run: Path) -> list[CheckpointScore]:
    """The scores of a run's checkpoints, by step. All of them have the same settings."""
    file = run / SCORES
    if not file.exists():
        return []
    remedy = "remove it and score the checkpoints again: python -m scripts.evaluate --run"
    kept = read_json(file, remedy)
    try:
        scores = [
            CheckpointScore(int(step), rates, kept["settings"]) for step, rates in kept["rates"].items()
        ]
        for score in scores:
            float(score.rates["equivalent"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError("the file has no scores of checkpoints", where=file, remedy=remedy) from None
    return scores


def best(candidates: list[Checkpoint]) -> Checkpoint:
    """The checkpoint with the highest score.

    Without scores: the lowest validation loss. Without losses: the last.
    """
    scored = [checkpoint for checkpoint in candidates if checkpoint.score is not None]
    if scored:
        return max(scored, key=lambda checkpoint: (checkpoint.score, checkpoint.step))
    return _best_by_loss(candidates)


def _best_by_loss(candidates: list[Checkpoint]) -> Checkpoint:
    measured = [checkpoint for checkpoint in candidates if checkpoint.eval_loss is not None]
    if measured:
        return min(measured, key=lambda checkpoint: (checkpoint.eval_loss, -checkpoint.step))
    return candidates[-1]


def choose(run: Path, which: int | str = "best") -> Checkpoint:
    """The checkpoint `which`: a step, `best` or `last`. Raises UserError, with the steps there are."""
    candidates = checkpoints(run)
    if not candidates:
        remedy = "train first, or run the training again to resume it"
        raise UserError("there is no complete checkpoint", where=run, remedy=remedy)
    if which == "best":
        return best(candidates)
    if which == "last":
        return candidates[-1]
    for checkpoint in candidates:
        if str(checkpoint.step) == str(which):
            return checkpoint
    steps = ", ".join(str(checkpoint.step) for checkpoint in candidates)
    raise UserError(
        f"there is no checkpoint at step {which}", where=run, remedy=f"choose best, last, or one of {steps}"
    )


def check_step(which: str) -> None:
    """Raise UserError for a text that cannot name a checkpoint."""
    if which not in ("best", "last") and not which.isdigit():
        raise UserError(f"{which!r} is no checkpoint", remedy="give a training step, best or last")


def rotate(run: Path, keep: int) -> None:
    """Delete the oldest checkpoints beyond `keep`.

    The best by score and the best by validation loss always stay.
    """
    candidates = checkpoints(run)
    if len(candidates) <= keep:
        return
    protected = {best(candidates).step, _best_by_loss(candidates).step}
    for checkpoint in candidates[:-keep]:
        if checkpoint.step not in protected:
            _delete(run, checkpoint)


def _delete(run: Path, checkpoint: Checkpoint) -> None:
    """Delete a checkpoint folder, or MLX's two files: the adapter and the optimiser."""
    if checkpoint.path.is_dir():
        shutil.rmtree(checkpoint.path)
        return
    for file in run.glob(f"{checkpoint.step:07d}_*.safetensors"):
        file.unlink()


def table(run: Path) -> DataFrame:
    """The checkpoints of a run as a table, one row each.

    Columns: `step`, `train loss` and `validation loss` in nats, `step equivalence` (the score, 0 to 1), `low`
    and `high` (the ends of its 95 % interval), and `recommended` (an arrow at the best checkpoint).
    """
    import pandas as pd

    candidates = checkpoints(run)
    losses = {row["step"]: row["loss"] for row in read_log(run) if row["loss"] is not None}
    recommended = best(candidates).step if candidates else None
    rows = []
    for checkpoint in candidates:
        low, high = checkpoint.interval or (math.nan, math.nan)
        rows.append(
            {
                "step": checkpoint.step,
                "train loss": losses.get(checkpoint.step),
                "validation loss": checkpoint.eval_loss,
                "step equivalence": checkpoint.score,
                "low": low,
                "high": high,
                "recommended": "←" if checkpoint.step == recommended else "",
            }
        )
    return pd.DataFrame(rows)
