"""The MLX engine: the same recipe, tokens and order as the PyTorch engine, on Apple silicon (and on Linux, on the CPU).

    python -m scripts.train_mlx --profile full --model-type llama [--max-steps N] [--no-resume] [--fuse-step 550]

mlx-lm gives the models, the LoRA layers and the file formats; the step is in `scripts/mlx_step.py`. Writes
`<step>_adapters.safetensors` into `adapters/<type>_mlx/` with its optimiser beside it, `log.csv`, `metrics.json`, and
fuses the chosen checkpoint into `local_models/ft_<type>_mlx/`.
"""

from __future__ import annotations

from pathlib import Path

from scripts.export.fuse_mlx import fuse
from scripts.training.mlx_engine import train
from scripts.training.mlx_model import require_mlx
from scripts.training.recipe import load_profile
from utils_ft import command, show_path


def main(
    profile: str | None = None,
    model_type: str | None = None,
    max_steps: int | None = None,
    resume: bool = True,
    data: Path | None = None,
    learning_rate: float | None = None,
    quantize: bool | None = None,
    seed: int | None = None,
    top_layers: int | None = None,
    dtype: str | None = None,
    gradient_checkpointing: bool | None = None,
    fuse_step: str = "last",
    chat_template: Path | None = None,
) -> None:
    """Fine-tune a model with the recipe of a profile on MLX, then fuse a checkpoint of it.

    --top-layers is how many layers get an adapter, counted from the top. --fuse-step is a step, `best` (by score, else
    validation loss) or `last`. --quantize trains over a 4-bit base. By default an Apple GPU gets that where the recipe says
    QLoRA, bfloat16 and gradient checkpointing, a CPU --dtype float32.
    """
    require_mlx()
    chosen = load_profile(profile, model_type)
    recipe = chosen.recipe.override(
        max_steps=max_steps, learning_rate=learning_rate, seed=seed, top_layers=top_layers
    )
    model_type = model_type or chosen.model_type
    metrics = train(
        model_type,
        recipe,
        data or chosen.data,
        resume,
        chat_template=chat_template,
        dtype=dtype,
        quantize=quantize,
        gradient_checkpointing=gradient_checkpointing,
    )
    print(
        f"{metrics['steps']} steps, {metrics['tokens']} tokens in {metrics['train_seconds']:.0f} s "
        f"({metrics['tokens_per_second']} tokens/s), loss {metrics['losses'][-1][1]:.3f}"
    )
    print(f"fused model: {show_path(fuse(model_type, fuse_step, data or chosen.data))}")


if __name__ == "__main__":
    command(main)()
