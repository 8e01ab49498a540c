"""TRL's SFTTrainer, made faster without changing the losses.

Each change has a name in `CHANGES`, so that it can be measured alone: `python -m tools.speed_train`.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainingArguments
from trl import SFTConfig, SFTTrainer

from scripts.lm.chat import Encoded
from scripts.lm.device import compute_dtype, device, silence_peft_warning
from scripts.training.callbacks import TruncatedBackward
from scripts.training.lora_groups import group_adapters
from scripts.training.order import TrainingRows
from scripts.training.pytorch_model import lora_config
from scripts.training.recipe import Recipe
from utils_ft import UserError

CHANGES = {
    "supervised": "logits at supervised positions only",
    "no_checkpointing": "no gradient checkpointing where the activations fit into memory",
    "truncated_backward": "the backward pass ends at the lowest adapted layer",
    "grouped_lora": "adapters of one input share its dropout mask and products",
    "float32": "adapters over a 4-bit base stay in float32",
    "unpacked": "a 4-bit base on a CPU is de-quantised once",
}
"""Name → what the change does. The caller applies `unpacked` (`pytorch_model.unpack`) and `no_checkpointing`
(`checkpointing=False` in `sft_config`); the trainer applies the others."""

IGNORED = -100
"""The label of a position that does not count in the loss."""


def sft_config(
    recipe: Recipe, folder: Path, *, steps: int, validate: bool, checkpointing: bool, report_to: str = "none"
) -> SFTConfig:
    """TRL's configuration of a run.

    Arguments:
        recipe: The recipe.
        folder: Where the checkpoints go.
        steps: Training steps.
        validate: Whether the validation loss is measured at each checkpoint.
        checkpointing: Whether activations are computed a second time in the backward pass, to save memory.
        report_to: Names of experiment trackers, with commas between them, or `none`.

    Raises UserError when the rows of a step cannot be shared evenly among the processes.
    """
    common = trainer_settings(recipe, folder, steps, validate, checkpointing, report_to)
    return SFTConfig(
        **common,
        neftune_noise_alpha=recipe.neftune_alpha or None,
        max_length=recipe.max_tokens,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def trainer_settings(
    recipe: Recipe, folder: Path, steps: int, validate: bool, checkpointing: bool, report_to: str
) -> dict[str, Any]:
    """The settings that all trainers of TRL share. `sft_config` describes the arguments."""
    batch_size, accumulation = _rows_per_process(recipe)
    return dict(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        bf16=compute_dtype() == torch.bfloat16 and device() != "cpu",
        use_cpu=device() == "cpu",
        activation_checkpointing=checkpointing,
        ddp_find_unused_parameters=False,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_pin_memory=device() == "cuda",
        logging_steps=1,
        logging_nan_inf_filter=False,  # the filter would hide a diverging run
        eval_strategy="steps" if validate else "no",
        eval_steps=recipe.save_every,
        disable_tqdm=False,
        save_strategy="steps",
        save_steps=recipe.save_every,
        save_total_limit=None,
        report_to=report_to.split(","),
    )


def _rows_per_process(recipe: Recipe) -> tuple[int, int]:
    """Rows in one forward pass of one process, and its forward passes in a training step."""
    processes = int(os.environ.get("WORLD_SIZE", 1))
    rows, rest = divmod(recipe.rows_per_step, processes)
    if rest:
        raise UserError(
            f"{recipe.rows_per_step} rows in a training step cannot be shared by {processes} processes",
            remedy="start a number of processes that divides batch_size × gradient_accumulation_steps",
        )
    batch_size = math.gcd(recipe.batch_size, rows)
    return batch_size, rows // batch_size


def make_trainer(
    model: Any,
    rows: TrainingRows,
    recipe: Recipe,
    config: SFTConfig,
    callbacks: Sequence[Any] = (),
    changes: Sequence[str] = tuple(CHANGES),
) -> FastSFTTrainer:
    """A trainer that puts adapters on the loaded base `model` and takes one training step for each entry of
    `rows.order`.

    `changes` are keys of `CHANGES`. Raises UserError when an experiment tracker in `config` is not installed,
    and when several GPUs are visible to one process.
    """
    silence_peft_warning()
    ordered = [row for index in range(len(rows.order)) for row in rows.step(index)]
    with explain_setup_errors(config):
        return FastSFTTrainer(
            changes=changes,
            model=model,
            args=config,
            processing_class=rows.tokenizer,
            peft_config=lora_config(model, recipe),
            train_dataset=_dataset(ordered),
            eval_dataset=_dataset(rows.valid) if rows.valid else None,
            data_collator=lambda batch: collate(batch, rows.tokenizer.pad_token_id),
            callbacks=list(callbacks),
        )


@contextlib.contextmanager
def explain_setup_errors(config: TrainingArguments) -> Iterator[None]:
    """Turns the errors that a person can correct, when a trainer is made, into UserErrors."""
    try:
        yield
    except (RuntimeError, ImportError, ValueError) as error:
        if "nn.DataParallel" in str(error):
            launch = (
                "accelerate launch --config_file accelerate_configs/ddp_gpu.yaml -m scripts.train_pytorch …"
            )
            raise UserError(
                "several GPUs are visible to one process", remedy=f"{launch}, or CUDA_VISIBLE_DEVICES=0"
            ) from None
        trackers = config.report_to
        if not any(name != "none" and name in str(error).lower() for name in trackers):
            raise
        raise UserError(
            f"the metrics cannot be reported to {', '.join(trackers)}: {error}",
            remedy=f"pip install {' '.join(trackers)}; or name tensorboard, wandb, mlflow or none",
        ) from None


class FastSFTTrainer(SFTTrainer):
    """An SFTTrainer whose loss is the mean over the supervised tokens of a training step.

    Arguments:
        changes: The keys of `CHANGES` that are applied.
        arguments: The arguments of SFTTrainer.
    """

    def __init__(self, changes: Sequence[str], **arguments: Any):
        super().__init__(**arguments)
        valid = arguments.get("eval_dataset")
        targets = sum(label != IGNORED for row in valid["labels"] for label in row[1:]) if valid else 0
        self.rows_per_target = len(valid) / targets if targets else 0.0
        # Mixtures of experts have a loss of their own, which TRL adds.
        self.own_loss = "supervised" in changes and not self.aux_loss_enabled
        # On Triton devices TRL's own head computes the logits of supervised positions only, in tiles.
        has_triton = self.accelerator.device.type in ("cuda", "xpu")
        self.head = "fused_lm_head" if has_triton else "supervised_only"
        if self.own_loss and self.head == "supervised_only":
            use_supervised_loss(self.model.get_base_model())
        if "truncated_backward" in changes:
            self.add_callback(TruncatedBackward)
        if "float32" in changes:  # with FSDP too, as accelerate leaves adapters over a 4-bit base in 16 bits
            for parameter in self.model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()
        if "grouped_lora" in changes and not self.is_fsdp_enabled:  # it gathers the weights itself
            group_adapters(self.model)

    def compute_loss(
        self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one batch, scaled so that the losses of a training step add up to its mean over
        supervised tokens.

        In evaluation transformers takes the mean over rows, so the loss of a row is scaled to make that mean
        the one over supervised tokens.
        """
        if not self.own_loss or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Padding is on the right, where causal attention does not look. Without a mask, faster kernels are
        # used.
        inputs = {name: inputs[name] for name in ("input_ids", "labels")}
        output = model(**inputs, **{self.head: True})
        loss = output if self.head == "supervised_only" else -output.log_probs.sum()
        if not model.training:
            return loss * self.rows_per_target / len(inputs["labels"])
        if num_items_in_batch is None:
            return loss / (inputs["labels"][:, 1:] != IGNORED).sum()
        return loss * self.accelerator.num_processes / num_items_in_batch


def use_supervised_loss(model: Any) -> None:
    """Give a causal language model a forward pass that computes logits at supervised positions only.

    Afterwards `model(input_ids=…, labels=…, supervised_only=True)` returns the sum of the negative
    log-likelihoods of the tokens whose label is not -100, as a float32 scalar. Other calls are unchanged.
    Logits at all positions cost a quarter of a training step with a vocabulary of 49,000.
    """
    original, head = model.forward, model.get_output_embeddings()

    def forward(
        self: Any, *args: Any, supervised_only: bool = False, labels: Any = None, **kwargs: Any
    ) -> Any:
        if not supervised_only:
            return original(*args, **kwargs) if labels is None else original(*args, labels=labels, **kwargs)
        targets = labels[:, 1:]
        chosen = targets != IGNORED
        # Only the input of the head is cut, as a model may process its logits after the head (Gemma caps
        # them).
        hook = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][:, :-1][chosen][None],))
        try:
            logits = original(*args, use_cache=False, **kwargs).logits[0]
        finally:
            hook.remove()
        return torch.nn.functional.cross_entropy(logits.float(), targets[chosen], reduction="sum")

    model.forward = MethodType(forward, model)


def collate(rows: list[dict], pad: int) -> dict[str, torch.Tensor]:
    """Rows of `input_ids` and `labels` as tensors (rows, longest row), padded with `pad` on the right."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(lists: list[list[int]], value: int) -> torch.Tensor:
        return torch.tensor([values + [value] * (longest - len(values)) for values in lists])

    return {
        "input_ids": padded([row["input_ids"] for row in rows], pad),
        "labels": padded([row["labels"] for row in rows], IGNORED),
        "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
    }


def _dataset(rows: Sequence[Encoded]) -> Dataset:
    return Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
