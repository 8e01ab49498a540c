"""The variants of training that `tools.speed_train` measures, each in its own process.

A variant is plain TRL or this project's trainer with some of its changes. The processes take training steps
in turn.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from datasets import Dataset
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, ProgressCallback, TrainerCallback
from transformers.quantizers import AutoHfQuantizer
from trl import SFTConfig, SFTTrainer

from scripts.lm.chat import Encoded, load_tokenizer
from scripts.lm.device import compute_dtype, device, peak_memory, reset_peak_memory, silenced, synchronize
from scripts.lm.quantization import nf4
from scripts.training.costs import model_sizes, needs_checkpointing
from scripts.training.order import TrainingRows
from scripts.training.pytorch_model import load_base, unpack
from scripts.training.recipe import PROJECTIONS, Recipe
from scripts.training.sft_trainer import make_trainer, sft_config


@dataclass(frozen=True)
class Load:
    """What every variant trains on.

    Attributes:
        name: The heading of the table.
        model: The folder of a model, or the sizes of a Llama with random weights.
        tokenizer: The folder of the tokenizer.
        rows: The encoded rows, in the order of the training steps.
        recipe: The recipe; its `max_steps` are measured, and the first one is warm-up.
    """

    name: str
    model: Path | dict[str, int]
    tokenizer: Path
    rows: tuple[Encoded, ...]
    recipe: Recipe

    def tokens(self, step: int) -> int:
        """The number of tokens in training step `step`, from 0."""
        size = self.recipe.rows_per_step
        return sum(len(row.input_ids) for row in self.rows[step * size : (step + 1) * size])


@dataclass
class Result:
    """What was measured of a variant.

    Attributes:
        seconds: The time of each training step; the first one is warm-up.
        losses: The loss of each training step.
        peak: The largest memory of its process, in bytes.
        failed: The error, if there was one.
    """

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak: int = 0
    failed: str = ""


def plain_trainer(model: Any, tokenizer: Any, load: Load, folder: str, callbacks: list) -> Any:
    """SFTTrainer as in TRL's documentation: the numbers of the recipe, otherwise TRL's defaults."""
    recipe, layers = load.recipe, model.config.num_hidden_layers
    config = SFTConfig(
        output_dir=folder,
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_steps,
        max_length=recipe.max_tokens,
        neftune_noise_alpha=recipe.neftune_alpha or None,
        bf16=model.dtype == torch.bfloat16,
        use_cpu=device() == "cpu",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=recipe.seed,
        train_sampling_strategy="sequential",  # so that all variants have the same rows in a step
    )
    adapter = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        task_type="CAUSAL_LM",
        target_modules=list(PROJECTIONS),
        layers_to_transform=list(range(max(0, layers - recipe.top_layers), layers)),
    )
    rows = Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in load.rows])
    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=callbacks,
    )


def fast_trainer(
    model: Any, tokenizer: Any, load: Load, folder: str, callbacks: list, changes: Sequence[str]
) -> Any:
    """This project's trainer with only the given `changes` (keys of `sft_trainer.CHANGES`)."""
    size = load.recipe.rows_per_step
    order = [list(range(start, start + size)) for start in range(0, len(load.rows), size)]
    rows = TrainingRows(tokenizer, load.rows, order)
    if "unpacked" in changes:
        model = unpack(model)
    checkpointing = "no_checkpointing" not in changes or needs_checkpointing(
        model_sizes(model.config, load.recipe), load.recipe, rows.longest
    )
    config = sft_config(
        load.recipe, Path(folder), steps=len(order), validate=False, checkpointing=checkpointing
    )
    return make_trainer(model, rows, load.recipe, config, callbacks, changes)


def random_llama(sizes: dict[str, int], qlora: bool, dtype: Any) -> Any:
    """A Llama with random weights on the current device.

    With `qlora` its matrices are created and packed to NF4 one by one, so that the whole model is never in
    memory in 16 bits.
    """
    config = LlamaConfig(
        **sizes,
        rope_theta=500000.0,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
        use_cache=False,
        dtype=dtype,
    )
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    generator = torch.Generator(device()).manual_seed(0)

    def random_like(weight: Any) -> Any:
        return torch.empty(weight.shape, dtype=dtype, device=device()).normal_(0, 0.02, generator=generator)

    for name, module in list(model.named_modules()):
        if qlora and isinstance(module, torch.nn.Linear) and name.rsplit(".", 1)[-1] in PROJECTIONS:
            model.set_submodule(name, _nf4_layer(random_like(module.weight)))
        elif isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            module.weight = torch.nn.Parameter(random_like(module.weight))
        elif hasattr(module, "variance_epsilon"):
            module.weight = torch.nn.Parameter(torch.ones(module.weight.shape, dtype=dtype, device=device()))
    # The tables of the rotary embedding are not weights: the loop above does not create them.
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device())
    model.is_loaded_in_4bit = qlora
    if qlora:  # the quantizer knows how to de-quantise the model
        model.hf_quantizer = AutoHfQuantizer.from_config(nf4(dtype), pre_quantized=False)
    return model


def _nf4_layer(weight: Any) -> Any:
    """A linear layer with `weight` in NF4."""
    layer = Linear4bit(
        weight.shape[1],
        weight.shape[0],
        bias=False,
        compute_dtype=weight.dtype,
        quant_type="nf4",
        device="meta",
    )
    packed = Params4bit(
        weight.cpu(), requires_grad=False, compress_statistics=True, quant_type="nf4", module=layer
    )
    layer.weight = packed.to(weight.device)
    return layer


def _train(pipe: Connection, load: Load, changes: tuple[str, ...] | None) -> None:
    """Train `load` in this process, one training step for each message from `pipe`.

    Sends "ready", then the seconds of each step, then the peak memory and the losses; an exception instead
    if there is one. `changes` is None for plain TRL.
    """

    class OneStepPerMessage(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            pipe.recv()
            if state.global_step == 0:
                reset_peak_memory()
            self.start = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            synchronize()
            pipe.send(time.perf_counter() - self.start)

    try:
        with silenced(), tempfile.TemporaryDirectory() as folder:
            inputs = _load_model(load), load_tokenizer(load.tokenizer), load, folder, [OneStepPerMessage]
            trainer = plain_trainer(*inputs) if changes is None else fast_trainer(*inputs, changes)
            trainer.args.save_strategy = "no"
            del inputs  # the trainer may hold the model in another form
            for callback in (ProgressCallback, PrinterCallback):
                trainer.remove_callback(callback)
            pipe.send("ready")
            trainer.train()
        pipe.send((peak_memory(), [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]))
    except Exception as error:
        traceback.print_exc()
        pipe.send(error if len(str(error)) < 200 else RuntimeError(str(error)[:200]))


def _load_model(load: Load) -> Any:

    if isinstance(load.model, dict):
        return random_llama(load.model, load.recipe.qlora, compute_dtype())
    return load_base(load.model, load.recipe.qlora)


class _Variant:
    """A variant that trains in its own process."""

    def __init__(self, load: Load, changes: tuple[str, ...] | None):
        self.result = Result()
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_train, args=(end, load, changes), daemon=True)
        self._process.start()
        end.close()
        self.receive()  # "ready"

    def receive(self) -> Any:
        """The next message of the process; None if it failed, now or before."""
        if self.result.failed:
            return None
        try:
            message = self._pipe.recv()
        except EOFError:
            message = RuntimeError("the process died: out of memory?")
        if isinstance(message, Exception):
            self.result.failed = f"{type(message).__name__}: {message}"
            return None
        return message

    def step(self) -> None:
        """Take one training step and record its time."""
        if not self.result.failed:
            self._pipe.send("go")
        if (seconds := self.receive()) is not None:
            self.result.seconds.append(seconds)

    def finish(self) -> None:
        """Record peak memory and losses."""
        if (last := self.receive()) is not None:
            self.result.peak, self.result.losses = last

    def stop(self) -> None:
        """End the process, so that its memory is free."""
        self._process.join(30)
        self._process.terminate()


def alternate(load: Load, variants: dict[str, tuple[str, ...] | None]) -> dict[str, Result]:
    """Train each variant in its own process, one training step of each in turn. Returns name → result."""
    running: dict[str, _Variant] = {}
    try:
        for name, changes in variants.items():
            running[name] = _Variant(load, changes)
        for _ in range(load.recipe.max_steps):
            for variant in running.values():
                variant.step()
        for variant in running.values():
            variant.finish()
    finally:
        for variant in running.values():
            variant.stop()
    return {name: variant.result for name, variant in running.items()}
