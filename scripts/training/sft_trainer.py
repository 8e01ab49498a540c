"""SFTTrainer made lean, piece by piece: what is supervised, what is kept, what is computed once.

Every change is named in `CHANGES` and can be had alone: `python -m tools.speed_train` says what each is worth. Imports
torch and TRL: import this module inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer

from scripts.lm.chat import Encoded
from scripts.lm.device import compute_dtype, device, free_memory, silence_peft_warning
from scripts.training.lora_groups import group_adapters
from scripts.training.recipe import PROJECTIONS, Recipe
from utils_ft import UserError

CHANGES = {
    "supervised": "logits at supervised positions only",
    "keep": "no gradient checkpointing where the activations fit into memory",
    "short": "the backward pass ends at the lowest adapted layer",
    "groups": "adapters of one input share its dropout mask and products",
    "float32": "adapters over a 4-bit base stay in float32",
    "batches": "short rows of a step go through the model together",
    "unpacked": "a 4-bit base on a CPU is de-quantised once",
}


# --- model ------------------------------------------------------------------------------------------------------


def sharded() -> bool:
    """Whether `accelerate launch` spreads the model over several GPUs (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 with double quantisation (Dettmers et al., 2023). FSDP shards by dtype, so there the bits are kept in `dtype`."""
    storage = {"bnb_4bit_quant_storage": dtype} if sharded() else {}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        **storage,
    )


def load_base(folder: Path, qlora: bool, dtype: torch.dtype | None = None) -> Any:
    """The base model for training on this machine's device, its linear layers in NF4 with double quantisation if `qlora`."""
    dtype = dtype or compute_dtype()
    quantization = (
        {"quantization_config": nf4(dtype)} if qlora and device() != "mps" else {}
    )  # no kernels for Apple's GPU
    where = {"": torch.cuda.current_device()} if device() == "cuda" and not sharded() else None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map=where, **quantization)
    model.config.use_cache = False
    return model


def unpack(model: Any) -> Any:
    """On a CPU: a model with its NF4 matrices replaced by the very numbers that they stand for, where these fit into memory.

    bitsandbytes de-quantises each matrix in each forward and each backward pass; on a CPU that is a third of a step.
    """
    if device() != "cpu" or not getattr(model, "is_loaded_in_4bit", False):
        return model
    dtype = model.config.dtype
    unpacked = (
        2 * dtype.itemsize * sum(p.numel() for p in model.parameters() if hasattr(p, "quant_state"))
    )  # 4 bits: 2 a byte
    if unpacked > 0.5 * free_memory():
        return model
    model = model.dequantize(dtype=dtype)
    model.is_loaded_in_4bit = False
    return model


def lora_config(layers: int, recipe: Recipe) -> LoraConfig:
    """PEFT's configuration: the seven projections of the top layers. (`all-linear` refuses a choice of layers.)"""
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        task_type="CAUSAL_LM",
        target_modules=list(PROJECTIONS),
        layers_to_transform=list(range(max(0, layers - recipe.top_layers), layers)),
    )


def supervised_loss(model: Any) -> None:
    """Teach a causal language model to compute its loss at supervised positions only.

    `model(input_ids=…, labels=…, supervised_only=True)` returns the sum of the negative log-likelihoods, float32, of the
    tokens whose label is not -100. TRL's fused head does that on Triton devices; elsewhere it scores every position,
    which for a vocabulary of 49k costs a quarter of a step.
    """
    original, head = model.forward, model.get_output_embeddings()

    def forward(
        self: Any, *args: Any, supervised_only: bool = False, labels: Any = None, **kwargs: Any
    ) -> Any:
        if not supervised_only:
            return original(*args, **kwargs) if labels is None else original(*args, labels=labels, **kwargs)
        targets = labels[:, 1:]
        chosen = targets != -100
        # The model's own forward goes on behind its head (Gemma caps its logits there), so only the head's input is cut.
        cut = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][:, :-1][chosen][None],))
        try:
            logits = original(*args, use_cache=False, **kwargs).logits[0]
        finally:
            cut.remove()
        return torch.nn.functional.cross_entropy(logits.float(), targets[chosen], reduction="sum")

    model.forward = MethodType(forward, model)


# --- batches ----------------------------------------------------------------------------------------------------


def collate(rows: list[dict], pad: int) -> dict[str, torch.Tensor]:
    """Rows of `input_ids` and `labels` as tensors (rows, longest row), padded on the right, the longest row first."""
    rows = sorted(rows, key=lambda row: -len(row["input_ids"]))
    longest = len(rows[0]["input_ids"])

    def padded(lists: list[list[int]], value: int) -> torch.Tensor:
        return torch.tensor([values + [value] * (longest - len(values)) for values in lists])

    return {
        "input_ids": padded([row["input_ids"] for row in rows], pad),
        "labels": padded([row["labels"] for row in rows], -100),
        "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
    }


def by_length(batch: dict[str, torch.Tensor], tokens: int) -> list[dict[str, torch.Tensor]]:
    """`batch`, the longest row first, in parts of at most `tokens` tokens with padding; a row longer than that by itself."""
    lengths = batch["attention_mask"].sum(1).tolist()
    parts, start = [], 0
    while start < len(lengths):
        width = lengths[start]
        stop = start + max(1, tokens // width)
        parts.append({name: values[start:stop, :width] for name, values in batch.items()})
        start = stop
    return parts


# --- trainer ----------------------------------------------------------------------------------------------------


class _ShortBackward(TrainerCallback):
    """Drops the request for gradients at the embeddings, which drags the backward pass through every layer.

    TRL and transformers make it for the sake of reentrant checkpointing; theirs is non-reentrant, and needs it not.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        hooks = model.get_input_embeddings()._forward_hooks
        for key in [
            key for key, hook in hooks.items() if getattr(hook, "__name__", "") == "make_inputs_require_grads"
        ]:
            del hooks[key]


class FastSFTTrainer(SFTTrainer):
    """An SFTTrainer whose loss is the sum over supervised tokens divided by their number in the whole optimiser step."""

    def __init__(self, changes: Sequence[str], tokens_at_once: int, **arguments: Any):
        super().__init__(**arguments)
        self.tokens_at_once = tokens_at_once
        valid = arguments.get("eval_dataset")
        targets = sum(label != -100 for row in valid["labels"] for label in row[1:]) if valid else 0
        self.supervised_share = len(valid) / targets if targets else 0.0
        self.own_loss = (
            "supervised" in changes and not self.aux_loss_enabled
        )  # mixtures of experts have a loss of their own
        # TRL's own head scores the chosen positions only, in tiles, where there is Triton.
        self.head = "fused_lm_head" if self.accelerator.device.type in ("cuda", "xpu") else "supervised_only"
        if self.own_loss and self.head == "supervised_only":
            supervised_loss(self.model.get_base_model())
        if "short" in changes:
            self.add_callback(_ShortBackward)
        if self.is_fsdp_enabled:
            return  # it gathers and casts the weights by its own rules
        if "float32" in changes:
            for parameter in self.model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()
        if "groups" in changes:
            group_adapters(self.model)

    def training_step(self, model: Any, inputs: dict, num_items_in_batch: Any = None) -> torch.Tensor:
        parts = by_length(inputs, self.tokens_at_once)
        loss = 0.0
        for number, part in enumerate(parts, 1):
            # processes exchange their gradients once, after the last part
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                loss = loss + super().training_step(model, part, num_items_in_batch)
        return loss

    def compute_loss(
        self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not self.own_loss or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Padding is on the right, where causal attention never looks: without a mask the fast kernels serve.
        inputs = {name: inputs[name] for name in ("input_ids", "labels")}
        output = model(**inputs, **{self.head: True})
        loss = output if self.head == "supervised_only" else -output.log_probs.sum()
        if (
            not model.training
        ):  # the mean over rows, which transformers takes, is then that over supervised tokens
            return loss * self.supervised_share / len(inputs["labels"])
        if num_items_in_batch is None:
            return loss / (inputs["labels"][:, 1:] != -100).sum()
        return loss * self.accelerator.num_processes / num_items_in_batch


def make_trainer(
    model: Any,
    tokenizer: Any,
    recipe: Recipe,
    rows: Sequence[Encoded],
    order: Sequence[Sequence[int]],
    run: Path,
    valid: Sequence[Encoded] = (),
    report_to: str = "none",
    checkpointing: bool = False,
    callbacks: Sequence[Any] = (),
    changes: Sequence[str] = tuple(CHANGES),
) -> FastSFTTrainer:
    """A trainer that takes one optimiser step on each list of row indices in `order`, with adapters on a loaded `model`.

    UserError where the rows of a step cannot be shared out evenly among the processes, or `report_to` names nothing that
    is installed.
    """
    if sharded() or hasattr(model.config.get_text_config(), "output_router_logits"):
        # Processes that share a model must take the same number of passes, which the lengths of their rows would decide;
        # and of a mixture of experts TRL adds the routers' loss in each pass.
        changes = [change for change in changes if change != "batches"]
    world = int(os.environ.get("WORLD_SIZE", 1))
    at_once = recipe.rows_per_step if "batches" in changes else recipe.batch_size * world
    if recipe.rows_per_step % world or at_once % world:
        raise UserError(
            f"{recipe.rows_per_step} rows an optimiser step cannot be shared by {world} processes",
            remedy="launch as many processes as divide batch_size × accumulation",
        )
    if "unpacked" in changes:
        model = unpack(model)
    dtype, names = compute_dtype(), report_to.split(",")
    silence_peft_warning()
    try:
        config = SFTConfig(
            output_dir=str(run),
            max_steps=len(order),
            per_device_train_batch_size=at_once // world,
            gradient_accumulation_steps=recipe.rows_per_step // at_once,
            per_device_eval_batch_size=1,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=recipe.warmup_steps,
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.max_grad_norm,
            neftune_noise_alpha=recipe.neftune_alpha or None,
            max_length=recipe.max_tokens,
            seed=recipe.seed,
            bf16=dtype == torch.bfloat16 and device() != "cpu",
            use_cpu=device() == "cpu",
            activation_checkpointing=checkpointing or "keep" not in changes,
            ddp_find_unused_parameters=False,
            train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            dataloader_pin_memory=device() == "cuda",
            logging_steps=1,
            logging_nan_inf_filter=False,  # which hides that a run diverges
            eval_strategy="steps" if valid else "no",
            eval_steps=recipe.save_every,
            disable_tqdm=False,
            save_strategy="steps",
            save_steps=recipe.save_every,
            save_total_limit=None,
            report_to=names,
        )
        return FastSFTTrainer(
            changes=changes,
            tokens_at_once=recipe.batch_size * max(len(row.input_ids) for row in rows),
            model=model,
            args=config,
            processing_class=tokenizer,
            peft_config=lora_config(model.config.num_hidden_layers, recipe),
            train_dataset=_dataset([rows[index] for step in order for index in step]),
            eval_dataset=_dataset(valid) if valid else None,
            data_collator=lambda batch: collate(batch, tokenizer.pad_token_id),
            callbacks=list(callbacks),
        )
    except (RuntimeError, ImportError, ValueError) as error:
        if "nn.DataParallel" in str(error):
            raise UserError(
                "several GPUs are visible to one process",
                remedy="accelerate launch --config_file "
                "accelerate_configs/ddp_gpu.yaml -m scripts.train_pytorch …, or CUDA_VISIBLE_DEVICES=0",
            ) from None
        if not any(name != "none" and name in str(error).lower() for name in names):
            raise
        raise UserError(
            f"figures cannot be reported to {report_to}: {error}",
            remedy=f"pip install {' '.join(names)}; or name tensorboard, wandb, mlflow or none",
        ) from None


def _dataset(rows: Sequence[Encoded]) -> Dataset:
    return Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
