"""Merge an MLX checkpoint into its base, de-quantised where that was 4-bit, as a folder for mlx-lm and transformers.

    python -m scripts.fuse_mlx --model-type llama --step best
    python -m scripts.fuse_mlx --model-type llama --adapter FOLDER      # one that scripts.adapter_formats converted

The proof that both libraries compute base + adapter from the fused weights stands in `fuse.json` beside them.
"""

from __future__ import annotations

from pathlib import Path

from scripts.export.fuse_mlx import fuse
from scripts.training.recipe import load_profile
from utils_ft import UserError, command, show_path


def main(
    model_type: str | None = None,
    step: str = "best",
    profile: str | None = None,
    data: Path | None = None,
    adapter: Path | None = None,
) -> None:
    """Fuse a checkpoint of the MLX engine, or an adapter in mlx-lm's format, into `local_models/ft_<type>_mlx`."""
    chosen = load_profile(profile, model_type)
    if step not in ("best", "last") and not step.isdigit():
        raise UserError(f"{step!r} is no checkpoint", remedy="give a step, best or last")
    print(show_path(fuse(model_type or chosen.model_type, step, data or chosen.data, adapter)))


if __name__ == "__main__":
    command(main)()
