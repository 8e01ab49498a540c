"""Fine-tune a model with MLX and fuse a checkpoint. The recipe, the tokens and their order are those of
train_pytorch.

    python -m scripts.train_mlx --profile full --model-type llama

The checkpoints (`<step>_adapters.safetensors`, each with its optimiser), `log.csv` and `metrics.json` go into
`adapters/<type>_mlx/`, the fused model into `local_models/ft_<type>_mlx/`.
"""

from __future__ import annotations

from pathlib import Path

from scripts.training.mlx_support import require_mlx
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
    fuse_step: str = "best",
    chat_template: Path | None = None,
) -> None:
    """Fine-tune a model with the recipe of a profile on MLX, then fuse a checkpoint into the base model.

    A finished run is not repeated, and an interrupted one is resumed. A run with another recipe, model or
    data is moved aside.

    Arguments:
        profile: The profile: smoke, demo, small or full. By default FT_PROFILE, else the one for the model,
            else demo.
        model_type: The base model: llama, qwen, qwen-coder (0.5B), smollm, smoke, a folder, a GGUF file,
            or an id on the hub. By default the profile's.
        max_steps: Training steps.
        resume: Resume a run that is in the folder. With --no-resume it is moved aside.
        data: The folder of train.jsonl and valid.jsonl. By default the profile's.
        learning_rate: The highest learning rate.
        quantize: Hold the base model in 4 bits. By default on an Apple GPU, where the recipe says QLoRA.
        seed: Seeds the adapters, the order of the rows, dropout and noise.
        top_layers: How many layers get adapters, counted from the top.
        dtype: bfloat16 (the default on an Apple GPU) or float32 (the default on a CPU).
        gradient_checkpointing: Compute activations twice to save memory. By default on an Apple GPU.
        fuse_step: The checkpoint to fuse: a training step, best (by score, else by validation loss) or last.
        chat_template: A file with a chat template that replaces the model's own.
    """
    require_mlx()
    from scripts.export.fuse_mlx import fuse
    from scripts.training.metrics import describe_metrics
    from scripts.training.mlx_engine import MlxSettings, train
    from scripts.training.run import RunOptions

    chosen = load_profile(profile, model_type)
    recipe = chosen.recipe.override(
        max_steps=max_steps, learning_rate=learning_rate, seed=seed, top_layers=top_layers
    )
    model_type, data = model_type or chosen.model_type, data or chosen.data
    settings = MlxSettings(dtype, quantize, gradient_checkpointing)
    options = RunOptions(resume=resume, chat_template=chat_template)
    metrics = train(model_type, recipe, data, settings=settings, options=options)
    print(describe_metrics(metrics))
    print(f"fused model: {show_path(fuse(model_type, fuse_step, data))}")


if __name__ == "__main__":
    command(main)()
