"""Fine-tune a model with PyTorch and fuse a checkpoint.

    python -m scripts.train_pytorch --profile demo
    python -m scripts.train_pytorch --profile full --model-type llama --dry-run
    accelerate launch --config_file accelerate_configs/ddp_gpu.yaml -m scripts.train_pytorch --profile full

The checkpoints, `log.csv` and `metrics.json` go into `adapters/<type>_pytorch/`, the fused model into
`local_models/ft_<type>_pytorch/`.
"""

from __future__ import annotations

import gc
from pathlib import Path

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
    fuse_step: str = "best",
    chat_template: Path | None = None,
    report_to: str = "none",
    dry_run: bool = False,
) -> None:
    """Fine-tune a model with the recipe of a profile, then fuse a checkpoint into the base model.

    A finished run is not repeated, and an interrupted one is resumed. A run with another recipe, model or
    data is moved aside.

    Arguments:
        profile: The profile: smoke, demo, small or full. By default FT_PROFILE, else the one for the model,
            else demo.
        model_type: The base model: llama, qwen, qwen-coder (0.5B), smollm, smoke, a folder, a GGUF file,
            or an id on the hub. By default the profile's. For --dry-run a config.json is enough.
        max_steps: Training steps.
        resume: Resume a run that is in the folder. With --no-resume it is moved aside.
        data: The folder of train.jsonl and valid.jsonl. By default the profile's.
        learning_rate: The highest learning rate.
        qlora: Hold the base model in 4 bits (NF4) while the adapters are trained.
        seed: Seeds the adapters, the order of the rows, dropout and noise.
        max_tokens: The longest row, in tokens. A longer one loses whole turns at its end. Rows are never
            longer than the model's context.
        top_layers: How many layers get adapters, counted from the top.
        fuse_step: The checkpoint to fuse: a training step, best (by score, else by validation loss) or last.
        chat_template: A file with a chat template that replaces the model's own.
        report_to: An experiment tracker: tensorboard, wandb, mlflow or none. Several with commas.
        dry_run: Print what would be trained, with the memory and the hours it takes, and stop. If the weights
            are on the disk, one training step is taken to measure it. qwen-coder and smollm are fetched
            before.
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
        from scripts.export.gguf_support import export_advice
        from scripts.lm.base_models import config_folder
        from scripts.training.plan import describe, plan

        print(describe(plan(model_type, recipe, data, chat_template)))
        print(f"{'GGUF':8} {export_advice(config_folder(model_type))}")
        return
    from accelerate import PartialState

    from scripts.export.fuse_pytorch import fuse
    from scripts.training.metrics import describe_metrics
    from scripts.training.pytorch_engine import train
    from scripts.training.run import RunOptions

    options = RunOptions(resume=resume, chat_template=chat_template)
    metrics = train(model_type, recipe, data, report_to=report_to, options=options)
    if not PartialState().is_main_process:
        return
    print(describe_metrics(metrics))
    gc.collect()  # frees the trainer and the model, which refer to each other
    print(f"fused model: {show_path(fuse(model_type, fuse_step, data))}")


if __name__ == "__main__":
    command(main)()
