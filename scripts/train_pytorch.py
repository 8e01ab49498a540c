"""The PyTorch engine: TRL's SFTTrainer with the mission's recipe, QLoRA on CUDA and on the CPU, resumable, fused.

    python -m scripts.train_pytorch --profile demo --model-type smollm [--max-steps N] [--resume] [--fuse-step best]

Writes `adapters/<type>_pytorch/checkpoint-<step>/`, `log.csv` and `metrics.json` there, and fuses the chosen
checkpoint into `local_models/ft_<type>_pytorch/`.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MethodType
from typing import Any

from scripts import chat
from scripts.base_models import base_model, fingerprint, model_spec
from scripts.checkpoints import COLUMNS, OnLog, checkpoints, prepare_run, read_log, rotate, seal, write_log
from scripts.dataset import batches, data_digest, encode_rows, load_rows, validation_rows
from scripts.device import compute_dtype, device
from scripts.fuse import fuse
from scripts.recipe import PROJECTIONS, Recipe
from scripts.recipe import profile as profile_named
from utils_ft import ADAPTERS, UserError, command, digest, seed_everything, show_path, write_json


# --- model ------------------------------------------------------------------------------------------------------


def load_base(folder: Path, qlora: bool, dtype: Any = None) -> Any:
    """The base model for training on this machine's device, its linear layers in NF4 with double quantisation if `qlora`."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = dtype or compute_dtype()
    quantization = {}
    if qlora and device() != "mps":  # bitsandbytes has kernels for CUDA and the CPU
        quantization["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, device_map={"": torch.cuda.current_device()} if device() == "cuda" else None, **quantization
    )
    model.config.use_cache = False
    return model


def lora_config(layers: int, recipe: Recipe) -> Any:
    """PEFT's configuration: the seven projections of the top layers. (`all-linear` refuses a choice of layers.)"""
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, task_type="CAUSAL_LM",
        target_modules=list(PROJECTIONS), layers_to_transform=list(range(max(0, layers - recipe.top_layers), layers)),
    )


def supervised_loss(model: Any) -> None:
    """Teach a causal language model to compute its loss at supervised positions only.

    `model(input_ids, labels=…, supervised_only=True)` returns the sum of the negative log-likelihoods, float32, of the
    tokens whose label is not -100. TRL's fused head does that on Triton devices; elsewhere it scores every position,
    which for a vocabulary of 49k costs a quarter of a step.
    """
    import torch

    original = model.forward

    def forward(self: Any, *args: Any, supervised_only: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not supervised_only:
            return original(*args, **kwargs) if labels is None else original(*args, labels=labels, **kwargs)
        hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        chosen = targets != -100
        logits = self.get_output_embeddings()(hidden[chosen]).float()
        return torch.nn.functional.cross_entropy(logits, targets[chosen], reduction="sum")

    model.forward = MethodType(forward, model)


# --- trainer ----------------------------------------------------------------------------------------------------


def lean_trainer(**arguments: Any) -> Any:
    """An SFTTrainer whose loss is the sum over supervised tokens divided by their number in the whole optimiser step."""
    from trl import SFTTrainer

    class LeanTrainer(SFTTrainer):
        def __init__(self, **kwargs: Any):
            super().__init__(**kwargs)
            self.own_loss = self.accelerator.device.type not in ("cuda", "xpu")
            if self.own_loss:
                supervised_loss(self.model.get_base_model())
            # TRL casts the adapters of a quantised base to bfloat16, slow beyond use where the CPU lacks it.
            for parameter in self.model.parameters():
                if parameter.requires_grad and self.accelerator.device.type == "cpu":
                    parameter.data = parameter.data.float()

        def compute_loss(self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            if not self.own_loss or return_outputs:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            loss = model(**inputs, supervised_only=True)
            count = (inputs["labels"][:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch
            world = self.accelerator.num_processes if num_items_in_batch is not None else 1
            return loss * world / count

    return LeanTrainer(**arguments)


def collate(rows: list[dict], pad: int) -> dict:
    """Rows of `input_ids` and `labels` as tensors (rows, longest row), padded on the right."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, value: int) -> Any:
        return torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])

    batch = {"input_ids": padded("input_ids", pad), "labels": padded("labels", -100)}
    if len(rows) > 1:
        batch["attention_mask"] = torch.tensor(
            [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        )
    return batch


def watcher(run: Path, recipe: Recipe, tokens_of: list[int], on_log: OnLog | None) -> Any:
    """The callback that keeps `log.csv`, seals and rotates checkpoints, and stops a run that diverges.

    `tokens_of[i]` is the number of tokens in optimiser step i.
    """
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def __init__(self) -> None:
            self.rows: list[dict] = []
            self.start = self.before = 0.0
            self.first_step = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            self.rows = [row for row in read_log(run) if row["step"] <= state.global_step]
            self.before = max((row["seconds"] or 0.0 for row in self.rows), default=0.0)
            self.first_step, self.start = state.global_step, time.perf_counter()
            # TRL and transformers ask for gradients at the embeddings, and the backward pass then runs through every
            # layer; without that hook it ends at the lowest adapted one (checkpointing is non-reentrant, so it may go).
            hooks = model.get_input_embeddings()._forward_hooks
            for key in [key for key, hook in hooks.items() if getattr(hook, "__name__", "") == "make_inputs_require_grads"]:
                del hooks[key]

        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
            logs = logs or {}
            if "loss" not in logs and "eval_loss" not in logs or not state.is_world_process_zero:
                return
            spent = time.perf_counter() - self.start
            if not self.rows or self.rows[-1]["step"] != state.global_step:
                self.rows.append(dict.fromkeys(COLUMNS))
            row = self.rows[-1]
            row |= {
                "step": state.global_step, "seconds": round(self.before + spent, 2),
                "loss": logs.get("loss", row["loss"]), "eval_loss": logs.get("eval_loss", row["eval_loss"]),
                "learning_rate": logs.get("learning_rate", row["learning_rate"]),
                "tokens_per_second": round(sum(tokens_of[self.first_step : state.global_step]) / spent, 1),
            }
            loss = row["loss"]
            if loss is not None and (not math.isfinite(loss) or (len(self.rows) > 10 and loss > 4 * self.rows[0]["loss"] + 4)):
                raise UserError(
                    f"the loss is {loss} at step {state.global_step}: training diverges", where=run,
                    remedy=f"lower the learning rate (it is {recipe.learning_rate}) or alpha ({recipe.alpha}) and start again",
                )
            if on_log:
                on_log(self.rows)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                write_log(run, self.rows)
                seal(run / f"checkpoint-{state.global_step}")
                rotate(run, recipe.keep)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                write_log(run, self.rows)

    return Watcher()


# --- a run ------------------------------------------------------------------------------------------------------


def train(
    model_type: str, recipe: Recipe, data: Path, resume: bool = True, on_log: OnLog | None = None,
    chat_template: Path | None = None, report_to: str = "none",
) -> dict:
    """Train LoRA adapters on `data/train.jsonl` and return the metrics, also written to `metrics.json`.

    The same call again says "already done", or goes on from the last whole checkpoint; a run with another recipe,
    model or data is moved aside, never deleted. `resume=False` starts afresh.
    """
    import torch
    from datasets import Dataset
    from trl import SFTConfig

    rows = load_rows(data, "train")
    folder = base_model(model_type)
    run = ADAPTERS / f"{model_spec(model_type).type}_pytorch"
    tokenizer = chat.load_tokenizer(folder, chat_template)
    identity = {
        "recipe": asdict(recipe), "base": fingerprint(folder), "data_sha256": data_digest(rows),
        "chat_template_sha256": digest(tokenizer.chat_template),
    }
    if (finished := prepare_run(run, identity, resume)) is not None:
        return finished

    seed_everything(recipe.seed)
    encoded = encode_rows(tokenizer, rows, recipe.max_tokens, cache_dir=run.parent / ".tokens")
    valid = encode_rows(tokenizer, validation_rows(data), recipe.max_tokens)
    order = batches(len(encoded), recipe.rows_per_iteration, recipe.iterations, recipe.seed)
    tokens_of = [sum(len(encoded[index].input_ids) for index in step) for step in order]

    model = load_base(folder, recipe.qlora)
    dtype = compute_dtype()
    checkpointing = device() != "cpu" and not _fits_without_checkpointing(model, max(len(e.input_ids) for e in encoded))
    config = SFTConfig(
        output_dir=str(run), max_steps=recipe.iterations, per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=1, gradient_accumulation_steps=recipe.accumulation, learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine", warmup_steps=recipe.warmup_iterations, weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm, neftune_noise_alpha=recipe.neftune_alpha or None,
        bf16=dtype == torch.bfloat16 and device() != "cpu", use_cpu=device() == "cpu", gradient_checkpointing=checkpointing,
        train_sampling_strategy="sequential", dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False,
        max_length=recipe.max_tokens, logging_steps=1, eval_strategy="steps" if valid else "no", eval_steps=recipe.save_every,
        save_strategy="steps", save_steps=recipe.save_every, save_total_limit=None, report_to=report_to, seed=recipe.seed,
        disable_tqdm=False, dataloader_pin_memory=device() == "cuda",
    )
    as_rows = [{"input_ids": e.input_ids, "labels": e.labels} for e in encoded]
    watch = watcher(run, recipe, tokens_of, on_log)
    trainer = lean_trainer(
        model=model, args=config, processing_class=tokenizer, callbacks=[watch],
        train_dataset=Dataset.from_list([as_rows[index] for step in order for index in step]),
        eval_dataset=Dataset.from_list([{"input_ids": e.input_ids, "labels": e.labels} for e in valid]) if valid else None,
        data_collator=lambda batch: collate(batch, tokenizer.pad_token_id),
        peft_config=lora_config(model.config.num_hidden_layers, recipe),
    )
    last = max((checkpoint.step for checkpoint in checkpoints(run)), default=None)
    if last is not None:
        print(f"resuming {show_path(run)} from step {last}", flush=True)
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(run / f"checkpoint-{last}"))
    except torch.OutOfMemoryError:
        remedy = "lower max_tokens or batch_size (raise accumulation to match), or turn qlora on"
        raise UserError("out of memory", where=run, remedy=remedy) from None
    _save_last(trainer, run, recipe.iterations)
    log = watch.rows
    metrics = identity | {
        "model_type": model_type, "device": device(), "dtype": str(dtype).removeprefix("torch."),
        "rows": len(encoded), "turns_cut": sum(e.cut for e in encoded), "steps": recipe.iterations,
        "tokens": sum(tokens_of), "supervised_tokens": sum(sum(encoded[i].supervised) for step in order for i in step),
        "train_seconds": log[-1]["seconds"] if log else 0.0,
        "losses": [[row["step"], row["loss"]] for row in log if row["loss"] is not None],
        "eval_losses": [[row["step"], row["eval_loss"]] for row in log if row["eval_loss"] is not None],
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "versions": _versions(),
    }
    metrics["tokens_per_second"] = round(metrics["tokens"] / max(metrics["train_seconds"], 1e-9), 1)
    if trainer.is_world_process_zero():
        write_json(run / "metrics.json", metrics)
    return metrics


def _save_last(trainer: Any, run: Path, step: int) -> None:
    """Make sure that the last step has a checkpoint, whatever `save_every` is."""
    if trainer.is_world_process_zero() and step not in {checkpoint.step for checkpoint in checkpoints(run)}:
        trainer._save_checkpoint(trainer.model, trial=None)
        seal(run / f"checkpoint-{step}")


def _fits_without_checkpointing(model: Any, longest: int) -> bool:
    """Whether the activations of the longest row fit the free memory of the GPU: about 34 × hidden bytes a token and layer."""
    import torch

    if device() != "cuda":
        return False
    config = model.config
    needed = 34 * config.hidden_size * longest * config.num_hidden_layers
    free, _ = torch.cuda.mem_get_info()
    return needed < 0.6 * free


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "bitsandbytes", "clingo")
    return {name: version(name) for name in names if find_spec(name)}


def main(
    profile: str | None = None, model_type: str | None = None, max_steps: int | None = None, resume: bool = True,
    data: Path | None = None, learning_rate: float | None = None, qlora: bool | None = None, seed: int | None = None,
    fuse_step: str = "last", chat_template: Path | None = None, report_to: str = "none",
) -> None:
    """Fine-tune a model with the recipe of a profile, then fuse a checkpoint of it.

    --fuse-step is a step, `best` (by score, else validation loss) or `last`.
    """
    chosen = profile_named(profile)
    recipe = chosen.recipe.with_(iterations=max_steps, learning_rate=learning_rate, qlora=qlora, seed=seed)
    model_type = model_type or chosen.model_type
    metrics = train(model_type, recipe, data or chosen.data, resume, chat_template=chat_template, report_to=report_to)
    print(f"{metrics['steps']} steps, {metrics['tokens']} tokens in {metrics['train_seconds']:.0f} s "
          f"({metrics['tokens_per_second']} tokens/s), loss {metrics['losses'][-1][1]:.3f}")
    print(f"fused model: {show_path(fuse(model_type, fuse_step, data or chosen.data))}")


if __name__ == "__main__":
    command(main)()
