"""The PyTorch engine: TRL's SFTTrainer with the recipe, QLoRA on CUDA and on the CPU, resumable, fused.

    python -m scripts.train_pytorch --profile demo --model-type smollm [--max-steps N] [--resume] [--fuse-step best]
    python -m scripts.train_pytorch --profile full --model-type llama --dry-run       # what it would take
    accelerate launch --config_file accelerate_configs/ddp_gpu.yaml -m scripts.train_pytorch --profile full

Writes `adapters/<type>_pytorch/checkpoint-<step>/`, `log.csv` and `metrics.json` there, and fuses the chosen
checkpoint into `local_models/ft_<type>_pytorch/`.
"""

from __future__ import annotations

import gc
from pathlib import Path

from scripts.export.fuse_pytorch import fuse
from scripts.training.plan import describe, plan
from scripts.training.pytorch_engine import train
from scripts.training.recipe import load_profile
from utils_ft import command, show_path


def main(
    profile: str | None = None,
    model_type: str | None = None,
    max_steps: int | None = None,
    resume: bool = True,
    data: Path | None = None,
    learning_rate: float | None = None,
    qlora: bool | None = None,
    seed: int | None = None,
    max_tokens: int | None = None,
    top_layers: int | None = None,
    fuse_step: str = "last",
    chat_template: Path | None = None,
    report_to: str = "none",
    dry_run: bool = False,
) -> None:
    """Fine-tune a model with the recipe of a profile, then fuse a checkpoint of it.

    --top-layers is how many layers get an adapter, counted from the top. --fuse-step is a step, `best` (by score, else
    validation loss) or `last`. --report-to names tensorboard, wandb, mlflow, … --dry-run says what would be trained, and the
    memory and hours it would take; for that a config.json is enough as --model-type.
    """
    chosen = load_profile(profile, model_type)
    recipe = chosen.recipe.override(
        max_steps=max_steps,
        learning_rate=learning_rate,
        qlora=qlora,
        seed=seed,
        max_tokens=max_tokens,
        top_layers=top_layers,
    )
    model_type, data = model_type or chosen.model_type, data or chosen.data
    if dry_run:
        print(describe(plan(model_type, recipe, data, chat_template)))
        return
    metrics = train(model_type, recipe, data, resume, chat_template=chat_template, report_to=report_to)
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    print(
        f"{metrics['steps']} steps, {metrics['tokens']} tokens in {metrics['train_seconds']:.0f} s "
        f"({metrics['tokens_per_second']} tokens/s), loss {metrics['losses'][-1][1]:.3f}"
    )
    gc.collect()  # the trainer and its parts hold each other, and the model
    print(f"fused model: {show_path(fuse(model_type, fuse_step, data))}")


if __name__ == "__main__":
    command(main)()
