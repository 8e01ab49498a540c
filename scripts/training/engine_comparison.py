"""Both engines on the same rows: the train losses of a run beside those of the same run with PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scripts.training.checkpoints import RUN, read_run
from scripts.training.log import LogRow, read_log
from utils_ft import UserError, show_path

SAME = ("recipe", "base", "data_sha256", "valid_sha256", "chat_template_sha256")
"""The entries of `run.json` that are equal in two runs if both take the same training steps."""


class Difference(NamedTuple):
    """How far the train losses of both engines are apart at one step."""

    step: int
    share: float
    """The difference as a share of PyTorch's loss."""


@dataclass(frozen=True)
class EngineComparison:
    """The log of a run, and the log of the PyTorch run with the same recipe, base model and rows."""

    log: Sequence[LogRow]
    pytorch: Path | None
    """The folder of the PyTorch run. None: there is none."""
    pytorch_log: Sequence[LogRow] = ()
    is_quantized_only_in_pytorch: bool = False
    """Whether PyTorch holds the base model in 4 bits and the other engine does not."""

    @property
    def pairs(self) -> list[tuple[int, float, float]]:
        """Step, loss and PyTorch's loss, for the steps that both logs have."""
        others = {row["step"]: row["loss"] for row in self.pytorch_log if row["loss"] is not None}
        return [
            (row["step"], row["loss"], others[row["step"]])
            for row in self.log
            if row["loss"] is not None and row["step"] in others
        ]

    @property
    def largest(self) -> Difference | None:
        """The largest difference. None if no step is in both logs."""
        differences = (Difference(step, abs(mine - other) / other) for step, mine, other in self.pairs)
        return max(differences, key=lambda difference: difference.share, default=None)

    def __str__(self) -> str:
        """The largest difference, or how to get the PyTorch run."""
        if self.pytorch is None or self.largest is None:
            return (
                "There is no PyTorch run with this recipe and these rows. To compare both engines, run "
                "ft_pytorch_qlora.ipynb with the same parameters, then this cell again."
            )
        text = (
            f"The same {len(self.pairs)} training steps in both engines: the train losses differ by "
            f"{self.largest.share:.1%} at most (step {self.largest.step})."
        )
        only = " Only PyTorch holds the base model in 4 bits." if self.is_quantized_only_in_pytorch else ""
        return f"{text}{only} The PyTorch run is {show_path(self.pytorch)}."


def compare_engines(run: Path) -> EngineComparison:
    """Compare the losses of a run with those of the same run with PyTorch, if there is one.

    The PyTorch run is looked for in `<type>_pytorch` beside `run`, then in the runs that were moved aside
    from there, the newest first. A run is the same if recipe, base model, rows and chat template are equal.

    Arguments:
        run: The folder of a run, such as `adapters/smollm_mlx`.

    Raises UserError if the files of `run` are damaged.
    """
    identity, log = read_run(run), read_log(run)
    for folder in _pytorch_runs(run):
        other = _same_run(folder, identity)
        if other:
            only = identity["recipe"]["qlora"] and not identity.get("quantized", True)
            return EngineComparison(log, folder, other, only)
    return EngineComparison(log, None)


def _pytorch_runs(run: Path) -> list[Path]:
    """The folders that may have PyTorch runs of the same base model."""
    name = f"{run.name.rpartition('_')[0]}_pytorch"
    aside = [path for path in run.parent.iterdir() if path.name.startswith(f"{name}.")]
    newest_first = sorted(aside, key=lambda path: path.stat().st_mtime, reverse=True)
    return [path for path in (run.with_name(name), *newest_first) if (path / RUN).exists()]


def _same_run(folder: Path, identity: dict) -> list[LogRow]:
    """The log of the run in `folder` if it is the same as the one with `identity`, else []."""
    try:
        known = read_run(folder)
        is_same = all(known.get(name) == identity.get(name) for name in SAME)
        return read_log(folder) if is_same else []
    except UserError:  # a damaged run beside this one stops nothing
        return []
