"""What a training run will do and need, before it starts: parameters, layers, tokens, memory, hours.

The file `config.json` of a model is enough for the estimates. If the weights are there too, one training step
is measured as well.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import Row, load_rows, validation_rows
from scripts.lm import chat
from scripts.lm.base_models import config_folder
from scripts.lm.chat import Encoded
from scripts.lm.device import (
    compute_dtype,
    device,
    explain_out_of_memory,
    flops_per_second,
    free_memory,
    peak_memory,
    reset_peak_memory,
    silenced,
)
from scripts.lm.loading import load_config
from scripts.training.callbacks import StepClock
from scripts.training.costs import (
    USABLE_SPEED,
    MemoryUse,
    ModelSizes,
    TokenCount,
    fills_memory,
    flops,
    largest_batch,
    memory_advice,
    memory_use,
    model_sizes,
    needs_checkpointing,
)
from scripts.training.order import TrainingRows
from scripts.training.pytorch_model import load_for_training
from scripts.training.recipe import Recipe
from scripts.training.run import within_context
from scripts.training.sft_trainer import make_trainer, sft_config

CHARACTERS_PER_TOKEN = 3.0
"""For models without a tokenizer. SmolLM2's tokenizer has this many on our rows."""


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to need."""

    memory: MemoryUse
    hours: float


@dataclass(frozen=True)
class Measurement:
    """What the training step with the longest row needed."""

    total_bytes: int
    """The largest use of memory."""
    step_seconds: float
    step_tokens: int
    hours: float
    """For all training steps, at this speed."""


@dataclass(frozen=True)
class Plan:
    """What `train` will do with the same arguments."""

    model: ModelSizes
    device: str
    dtype: str
    recipe: Recipe
    rows: int
    tokens: int
    """Tokens of all training steps."""
    supervised_tokens: int
    longest_row: int
    """Tokens of the longest row."""
    tokens_counted: bool
    """Whether a tokenizer counted the tokens. If not, they are estimated from the length of the texts."""
    gradient_checkpointing: bool
    free_bytes: int
    """Memory that is free on the device now."""
    expected: Estimate
    measured: Measurement | None
    """None when nothing was measured, as when the folder has no weights."""


@silenced()
def plan(
    model_type: str, recipe: Recipe, data: Path, chat_template: Path | None = None, measure: bool = True
) -> Plan:
    """Plan the run that `train` does with the same arguments. Nothing is written.

    With `measure`, one training step is taken if the folder has weights.

    `model_type` may also be the path of a `config.json`. Raises UserError for what a person can correct.
    """
    folder = config_folder(model_type)
    config = load_config(folder)
    sizes, recipe = model_sizes(config, recipe), within_context(recipe, config)
    texts = load_rows(data, "train")
    validation_rows(data)  # a training refuses data without them
    counted = (folder / "tokenizer.json").exists()
    tokenizer = chat.load_tokenizer(folder, chat_template) if counted else None
    encoded = encode_rows(tokenizer, texts, recipe.max_tokens) if counted else _guess(texts, recipe)
    rows = TrainingRows.for_recipe(tokenizer, encoded, recipe)
    use, checkpointing = _memory(sizes, recipe, rows.longest)
    has_weights = counted and any(folder.glob("*.safetensors"))
    return Plan(
        model=sizes,
        device=device(),
        dtype=str(compute_dtype()).removeprefix("torch."),
        recipe=recipe,
        rows=len(encoded),
        tokens=rows.tokens,
        supervised_tokens=rows.supervised_tokens,
        longest_row=len(rows.longest.input_ids),
        tokens_counted=counted,
        gradient_checkpointing=checkpointing,
        free_bytes=free_memory(),
        expected=Estimate(use, _hours(sizes, recipe, rows, checkpointing)),
        measured=_measure(folder, sizes, recipe, rows) if measure and has_weights else None,
    )


def _memory(sizes: ModelSizes, recipe: Recipe, longest: Encoded) -> tuple[MemoryUse, bool]:
    """The memory that the run needs, and whether it needs gradient checkpointing."""
    settings: dict[str, Any] = {"width": compute_dtype().itemsize, "where": device()}
    batch = largest_batch(longest, recipe)
    use = memory_use(sizes, recipe, batch, checkpointing=False, **settings)
    if not fills_memory(use, base_is_loaded=False):
        return use, False
    return memory_use(sizes, recipe, batch, checkpointing=True, **settings), True


def _hours(sizes: ModelSizes, recipe: Recipe, rows: TrainingRows, checkpointing: bool) -> float:
    """The hours that all training steps are expected to take on this device."""
    length = rows.tokens / (recipe.max_steps * recipe.rows_per_step)
    work = flops(sizes, TokenCount(rows.tokens, rows.supervised_tokens), length, checkpointing)
    return work / flops_per_second() / USABLE_SPEED / 3600


def _guess(rows: list[Row], recipe: Recipe) -> list[Encoded]:
    """Rows with the number of tokens, and of supervised tokens, that the length of their texts suggests."""
    guessed = []
    for row in rows:
        length = supervised = 0
        for message in row["messages"]:
            tokens = int(len(message["content"]) / CHARACTERS_PER_TOKEN) + 5  # 5 for the marks of the turn
            length += tokens
            if message["role"] == "assistant":
                supervised += tokens
        length = min(length, recipe.max_tokens)
        supervised = min(supervised, length)
        guessed.append(Encoded([0] * length, [False] * (length - supervised) + [True] * supervised))
    return guessed


def _measure(folder: Path, sizes: ModelSizes, recipe: Recipe, rows: TrainingRows) -> Measurement:
    """Take the training step with the longest row, and measure it."""
    heaviest = max(rows.order, key=lambda step: max(len(rows.train[index].input_ids) for index in step))
    step = TrainingRows(rows.tokenizer, rows.train, [heaviest])
    model, clock = load_for_training(folder, recipe.qlora), StepClock()
    with tempfile.TemporaryDirectory() as scratch, explain_out_of_memory(memory_advice(recipe), folder):
        config = sft_config(
            recipe,
            Path(scratch),
            steps=1,
            validate=False,
            checkpointing=needs_checkpointing(sizes, recipe, rows.longest),
        )
        config.save_strategy = "no"
        trainer = make_trainer(model, step, recipe, config, [clock])
        trainer.remove_callback(DEFAULT_PROGRESS_CALLBACK)  # a notebook has another one
        reset_peak_memory()
        trainer.train()
    seconds = clock.seconds
    return Measurement(peak_memory(), seconds, step.tokens, seconds * rows.tokens / step.tokens / 3600)


def describe(plan: Plan) -> str:
    """A plan as a few aligned lines of text."""
    return "\n".join(f"{name:8} {line}" for name, line in _lines(plan).items())


def _lines(plan: Plan) -> dict[str, str]:
    """What `describe` prints, line by line."""
    model, recipe, use, measured = plan.model, plan.recipe, plan.expected.memory, plan.measured
    parts = ", ".join(f"{part} {size / 1e9:.2f}" for part, size in asdict(use).items() if size)
    memory = f"{use.total / 1e9:.2f} GB expected ({parts})"
    time = f"{plan.expected.hours:.2f} hours expected"
    if plan.gradient_checkpointing:
        memory += ", with gradient checkpointing"
    if measured:
        memory += f"; {measured.total_bytes / 1e9:.2f} GB measured in one step"
        speed = measured.step_tokens / measured.step_seconds
        time += f"; {measured.hours:.2f} measured ({speed:.0f} tokens/s)"
    if use.total > plan.free_bytes:
        memory += " - MORE THAN IS FREE"
    return {
        "model": f"{model.architecture}, {model.layers} layers, {model.parameters:,} parameters",
        "trained": f"{model.trainable:,} parameters ({model.trainable / model.parameters:.2%}): LoRA of rank "
        f"{recipe.rank} on layers {model.layers - model.adapted_layers} to {model.layers - 1}"
        + (f", none on {', '.join(model.left_out)}" if model.left_out else ""),
        "device": f"{plan.device}, {plan.dtype}, {plan.free_bytes / 1e9:.1f} GB free",
        "data": f"{plan.rows:,} rows, the longest of {plan.longest_row:,} tokens"
        + ("" if plan.tokens_counted else " (estimated: there is no tokenizer)"),
        "tokens": f"{plan.tokens:,} in {recipe.max_steps} steps of {recipe.rows_per_step} rows, "
        f"{plan.supervised_tokens / plan.tokens:.0%} supervised",
        "memory": memory,
        "time": time,
    }
