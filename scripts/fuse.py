"""Merge a checkpoint of train_pytorch into its base model, and measure how exact the merge is.

    python -m scripts.fuse --model-type smollm --step best

The fused model is an ordinary model folder in bfloat16. Its `fuse.json` compares it with base + adapter on
real rows.
"""

from __future__ import annotations

from pathlib import Path

from scripts.training.checkpoints import check_step
from scripts.training.recipe import load_profile
from utils_ft import LOCAL_MODELS, command, show_path


def main(
    model_type: str | None = None,
    step: str = "best",
    profile: str | None = None,
    data: Path | None = None,
    run: Path | None = None,
) -> None:
    """Fuse a checkpoint of the PyTorch engine into `local_models/ft_<type>_pytorch`.

    With --run, the fused model is `local_models/ft_<name of the run>`.

    Arguments:
        model_type: The base model: llama, qwen, qwen-coder (0.5B), smollm, smoke, a folder, a GGUF file,
            or an id on the hub. By default the profile's.
        step: The checkpoint: a training step, best (by score, else by validation loss) or last.
        profile: The profile: smoke, demo, small or full. By default FT_PROFILE, else the one for the model,
            else demo.
        data: The folder of valid.jsonl, whose rows the comparison uses. By default the profile's.
        run: The run, such as adapters/smollm_preferences. By default adapters/<type>_pytorch.
    """
    check_step(step)
    chosen = load_profile(profile, model_type)
    from scripts.export.fuse_pytorch import fuse
    from scripts.export.fusing import Folders

    folders = Folders(run, LOCAL_MODELS / f"ft_{run.resolve().name}") if run else None
    print(show_path(fuse(model_type or chosen.model_type, step, data or chosen.data, folders=folders)))


if __name__ == "__main__":
    command(main)()
