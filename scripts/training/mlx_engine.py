"""The MLX engine: the same recipe, tokens and order as the PyTorch engine, on Apple silicon and on Linux.

mlx-lm gives the models, the LoRA layers and the file formats. MLX is imported inside `train`, as it may be
missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from scripts.training.log import OnLog, TrainingLog
from scripts.training.metrics import EngineMetrics, TrainingMetrics, installed_versions
from scripts.training.mlx_support import require_mlx
from scripts.training.recipe import Recipe
from scripts.training.run import RunOptions, TrainingRun
from utils_ft import write_json

if TYPE_CHECKING:
    from scripts.training.mlx_model import Precision
    from scripts.training.mlx_step import Stepper

PACKAGES = ("mlx", "mlx-lm", "transformers", "clingo")
"""The libraries whose versions are in the metrics."""


@dataclass(frozen=True)
class MlxSettings:
    """What MLX users can set beside the recipe. None stands for the default of the machine."""

    dtype: str | None = None
    """`bfloat16` (the default on an Apple GPU) or `float32` (the default on a CPU, and faster there)."""
    quantize: bool | None = None
    """Whether the base model is held in 4 bits. By default on an Apple GPU, where the recipe says QLoRA."""
    gradient_checkpointing: bool | None = None
    """Whether activations are computed a second time, which saves memory. By default on an Apple GPU."""


def train(
    model_type: str,
    recipe: Recipe,
    data: Path,
    *,
    on_log: OnLog | None = None,
    settings: MlxSettings | None = None,
    options: RunOptions | None = None,
) -> TrainingMetrics:
    """Train LoRA adapters on `data/train.jsonl`; write and return the metrics.

    A finished run is not repeated, and an interrupted one continues from its last complete checkpoint. A run
    with another recipe, model or data is moved aside.

    Arguments:
        model_type: The base model: a key of `lm.base_models.MODELS`, a folder or a hub id.
        recipe: The recipe.
        data: The folder of `train.jsonl` and `valid.jsonl`.
        on_log: Is called with the log so far after each training step.
        settings: The number format, 4 bits, and gradient checkpointing.
        options: The folder of the run, whether it is resumed, and the chat template.

    Raises UserError for what a person can correct: MLX is missing, model, rows, divergence, another run that
    goes on in the folder.
    """
    require_mlx()
    from scripts.training.mlx_model import Precision, on_metal
    from scripts.training.mlx_step import stepper

    settings, options = settings or MlxSettings(), options or RunOptions()
    checkpointing = settings.gradient_checkpointing
    if checkpointing is None:
        checkpointing = on_metal()
    precision = Precision.of(recipe, settings.dtype, settings.quantize)
    identity = {"dtype": precision.dtype, "quantized": precision.quantized}
    run = TrainingRun.load("mlx", model_type, recipe, data, options, **identity)
    with run.writing():
        if (finished := run.prepare(options.resume)) is not None:
            return finished
        log = TrainingLog(run.folder, recipe, run.rows.step_tokens)
        model = _model_with_adapter(run, precision)
        with stepper(model, recipe, checkpointing) as trainer:
            _take_steps(run, log, trainer, on_log)
        return run.finish(log, _measured(trainer, checkpointing))


def _model_with_adapter(run: TrainingRun, precision: Precision) -> Any:
    """The base model with a fresh adapter.

    Writes the adapter's configuration and the tokenizer into the run's folder.
    """
    from mlx_lm.utils import maybe_set_recommended_wired_limit

    from scripts.training.mlx_model import adapter_config, add_adapter, check_text_model, load_base

    check_text_model(run.base)
    maybe_set_recommended_wired_limit()
    model = load_base(run.base, precision.dtype, precision.quantized)
    config = adapter_config(model, run.recipe, str(run.base), precision)
    add_adapter(model, config, seed=run.recipe.seed)
    run.tokenizer.save_pretrained(run.folder / "tokenizer")
    write_json(run.folder / "adapter_config.json", config)
    return model


def _take_steps(run: TrainingRun, log: TrainingLog, trainer: Stepper, on_log: OnLog | None) -> None:
    """Take the remaining training steps, with a validation loss and a checkpoint every `save_every`."""
    from scripts.training.mlx_checkpoints import restore, save_checkpoint
    from scripts.training.mlx_step import evaluate, learning_rate

    recipe, model, optimizer = run.recipe, trainer.model, trainer.optimizer
    done = restore(run.folder, model, optimizer)
    log.start(first_step=done)
    model.train()
    bar = tqdm(total=recipe.max_steps, initial=done, desc="training", unit="step")
    with bar:
        for step in range(done + 1, recipe.max_steps + 1):
            loss = trainer.step(run.rows.step(step - 1), step - 1)
            log.record(step, loss=loss, learning_rate=learning_rate(recipe, step - 1))
            if step % recipe.save_every == 0 or step == recipe.max_steps:
                log.record(step, eval_loss=evaluate(model, run.rows.valid, recipe.batch_size))
                log.write()
                save_checkpoint(run.folder, step, model, optimizer, recipe.keep_checkpoints)
            if on_log:
                on_log(log.rows)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()


def _measured(trainer: Stepper, checkpointing: bool) -> EngineMetrics:
    """The engine's part of the metrics."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    weights = tree_flatten(trainer.model.trainable_parameters())
    return EngineMetrics(
        device=mx.default_device().type.name,
        trainable_parameters=sum(value.size for _, value in weights),
        peak_memory_gb=round(mx.get_peak_memory() / 1e9, 3),
        gradient_checkpointing=checkpointing,
        neftune=trainer.noise > 0,
        versions=installed_versions(PACKAGES),
    )
