"""Merge a chosen checkpoint into its base in bfloat16, save an ordinary model folder, and measure how exact it is.

    python -m scripts.fuse --model-type smollm --step best

A checkpoint trained over a 4-bit base is merged into the 16-bit one: merging into 4-bit weights loses a hundred times
more of the adapter. The measurement (logits of base + adapter against the fused model, on real rows) stands in `fuse.json`.
"""

from __future__ import annotations

from pathlib import Path

from scripts.export.fuse_pytorch import fuse
from scripts.training.recipe import load_profile
from utils_ft import UserError, command, show_path


def main(
    model_type: str | None = None, step: str = "best", profile: str | None = None, data: Path | None = None
) -> None:
    """Fuse a checkpoint of the PyTorch engine into `local_models/ft_<type>_pytorch`."""
    chosen = load_profile(profile, model_type)
    if step not in ("best", "last") and not step.isdigit():
        raise UserError(f"{step!r} is no checkpoint", remedy="give a step, best or last")
    print(show_path(fuse(model_type or chosen.model_type, step, data or chosen.data)))


if __name__ == "__main__":
    command(main)()
