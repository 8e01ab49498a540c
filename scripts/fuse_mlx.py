"""Merge a checkpoint of train_mlx into its base model, and measure how exact the merge is.

    python -m scripts.fuse_mlx --model-type llama --step best
    python -m scripts.fuse_mlx --model-type llama --adapter FOLDER

The fused model works with mlx-lm and with transformers. Its `fuse.json` compares both with base + adapter.
"""

from __future__ import annotations

from pathlib import Path

from scripts.training.checkpoints import check_step
from scripts.training.recipe import load_profile
from utils_ft import command, show_path


def main(
    model_type: str | None = None,
    step: str = "best",
    profile: str | None = None,
    data: Path | None = None,
    adapter: Path | None = None,
) -> None:
    """Fuse a checkpoint of the MLX engine, or another adapter, into `local_models/ft_<type>_mlx`.

    Arguments:
        model_type: The base model: llama, qwen, qwen-coder (0.5B), smollm, smoke, a folder, a GGUF file,
            or an id on the hub. By default the profile's.
        step: The checkpoint: a training step, best (by score, else by validation loss) or last.
        profile: The profile: smoke, demo, small or full. By default FT_PROFILE, else the one for the model,
            else demo.
        data: The folder of valid.jsonl, whose rows the comparison uses. By default the profile's.
        adapter: A folder in mlx-lm's format to fuse in place of a checkpoint, for example from
            convert_adapter.
    """
    check_step(step)
    chosen = load_profile(profile, model_type)
    from scripts.export.fuse_mlx import fuse

    print(show_path(fuse(model_type or chosen.model_type, step, data or chosen.data, adapter=adapter)))


if __name__ == "__main__":
    command(main)()
