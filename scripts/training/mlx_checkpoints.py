"""Checkpoints of the MLX engine: two files for each, the adapter and the optimiser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from mlx.utils import tree_flatten, tree_unflatten

from scripts.training.checkpoints import checkpoints, rotate, run_identity
from scripts.training.mlx_model import load_arrays, save_arrays
from utils_ft import UserError, show_path


def save_checkpoint(run: Path, step: int, model: Any, optimizer: Any, keep: int) -> None:
    """Write the checkpoint of a training step, and delete the oldest beyond `keep`.

    The adapter is written after the optimiser, so a checkpoint that has an adapter is complete. A copy of the
    newest adapter is `adapters.safetensors`, the name that mlx-lm reads.
    """
    metadata = {"step": str(step), "run": run_identity(run)}
    save_arrays(_optimizer_file(run, step), dict(tree_flatten(optimizer.state)), **metadata)
    file = run / f"{step:07d}_adapters.safetensors"
    save_arrays(file, dict(tree_flatten(model.trainable_parameters())), **metadata)
    draft = run / ".adapters.safetensors"
    shutil.copyfile(file, draft)
    os.replace(draft, run / "adapters.safetensors")
    rotate(run, keep)


def _optimizer_file(run: Path, step: int) -> Path:
    return run / f"{step:07d}_optimizer.safetensors"


def restore(run: Path, model: Any, optimizer: Any) -> int:
    """Load the newest complete checkpoint into the model and the optimiser; return its step, or 0.

    An incomplete file (a full disk, an interrupted copy) is renamed, and the checkpoint before it is used.
    Raises UserError if only the optimiser's file is missing: starting again would lose the run without a
    word.
    """
    for checkpoint in reversed(checkpoints(run)):
        optimizer_file = _optimizer_file(run, checkpoint.step)
        if not optimizer_file.exists():
            raise UserError(
                "the state of the optimiser is missing",
                where=optimizer_file,
                remedy="restore the file, or start again with --no-resume (the run is moved aside)",
            )
        try:
            weights, state = load_arrays(checkpoint.path), load_arrays(optimizer_file)
        except UserError:
            print(f"{show_path(checkpoint.path)} is incomplete and is not used", flush=True)
            checkpoint.path.rename(checkpoint.path.with_name(f".incomplete-{checkpoint.path.name}"))
            continue
        model.load_weights(list(weights.items()), strict=False)
        optimizer.state = tree_unflatten(list(state.items()))
        print(f"resuming {show_path(run)} from step {checkpoint.step}", flush=True)
        return checkpoint.step
    return 0
