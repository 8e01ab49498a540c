"""The recipe written the obvious way with TRL against ours, step by step in alternation, and each change alone.

    python -m tools.speed train [--model-type smollm] [--data DIR] [--steps 3]

Every variant lives in a process of its own and takes one optimiser step when it is its turn, on the same rows and in the
same number format: what else the machine does, it does to all of them. On a GPU they go one after the other, for their
memory's sake, and the model has random weights in the shape of Llama-3-8B.
"""

from __future__ import annotations

import multiprocessing
import platform
import re
import statistics
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import load_rows
from scripts.lm import chat
from scripts.lm.base_models import base_model
from scripts.lm.chat import Encoded
from scripts.lm.device import (
    compute_dtype,
    device,
    free_memory,
    peak_memory,
    reset_peak_memory,
    silenced,
    synchronize,
)
from scripts.training.order import batches
from scripts.training.recipe import PROJECTIONS, Recipe

LLAMA3_8B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
ROOM = 4e9  # bytes for a live process of a small model on a CPU
PLAIN = "plain TRL"


@dataclass(frozen=True)
class Load:
    """What every variant trains on: a model, its rows in the order of the steps, and the recipe."""

    name: str
    model: Path | dict[str, int]  # a folder, or the sizes of a Llama of random weights
    tokenizer: Path
    rows: tuple[Encoded, ...]
    recipe: Recipe

    def tokens(self, step: int) -> int:
        size = self.recipe.rows_per_step
        return sum(len(row.input_ids) for row in self.rows[step * size : (step + 1) * size])


@dataclass
class Result:
    """What became of a variant: seconds and loss of each step, the first one warm-up; bytes at the most; or what failed."""

    seconds: list[float]
    losses: list[float]
    peak: int = 0
    failed: str = ""


# --- the variants -----------------------------------------------------------------------------------------------


def plain_trainer(model: Any, tokenizer: Any, load: Load, folder: str, callbacks: list) -> Any:
    """SFTTrainer as its documentation shows it: the recipe's numbers, and TRL's defaults for everything else."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

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
        train_sampling_strategy="sequential",  # for the same rows in each step
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


def lean_trainer(
    model: Any, tokenizer: Any, load: Load, folder: str, callbacks: list, changes: Sequence[str]
) -> Any:
    """Our trainer with some of its changes, on the rows of `load` in their order."""
    from scripts.training.plan import needs_checkpointing
    from scripts.training.sft_trainer import make_trainer

    size = load.recipe.rows_per_step
    order = [list(range(start, start + size)) for start in range(0, len(load.rows), size)]
    return make_trainer(
        model,
        tokenizer,
        load.recipe,
        load.rows,
        order,
        Path(folder),
        callbacks=callbacks,
        changes=changes,
        checkpointing=needs_checkpointing(model, load.recipe, load.rows),
    )


def random_llama(sizes: dict[str, int], qlora: bool, dtype: Any) -> Any:
    """A Llama of random weights on this machine's device; in NF4 its matrices are made and packed one by one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.quantizers import AutoHfQuantizer

    from scripts.training.sft_trainer import nf4

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

    def filled(like: Any) -> Any:
        return torch.empty(like.shape, dtype=dtype, device=device()).normal_(0, 0.02, generator=generator)

    for name, module in list(model.named_modules()):
        if qlora and isinstance(module, torch.nn.Linear) and name.rsplit(".", 1)[-1] in PROJECTIONS:
            model.set_submodule(name, _packed(filled(module.weight)))
        elif isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            module.weight = torch.nn.Parameter(filled(module.weight))
        elif hasattr(module, "variance_epsilon"):
            module.weight = torch.nn.Parameter(torch.ones(module.weight.shape, dtype=dtype, device=device()))
    rotary = type(model.model.rotary_emb)(config)  # its tables are no weights
    model.model.rotary_emb = rotary.to(device())
    model.is_loaded_in_4bit = qlora
    if qlora:
        model.hf_quantizer = AutoHfQuantizer.from_config(
            nf4(dtype), pre_quantized=False
        )  # which knows how to undo it
    return model


def _packed(weight: Any) -> Any:
    """A linear layer that holds `weight` in NF4."""
    from bitsandbytes.nn import Linear4bit, Params4bit

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


# --- one process a variant --------------------------------------------------------------------------------------


def _work(pipe: Connection, load: Load, changes: tuple[str, ...] | None) -> None:
    """Train `load` in this process, a step for every message that comes in; None for `changes` is the plain recipe."""
    from transformers import PrinterCallback, ProgressCallback, TrainerCallback

    class Turns(TrainerCallback):
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
            model, tokenizer = _load(load), chat.load_tokenizer(load.tokenizer)
            trainer = (
                plain_trainer(model, tokenizer, load, folder, [Turns])
                if changes is None
                else lean_trainer(model, tokenizer, load, folder, [Turns], changes)
            )
            trainer.args.save_strategy = "no"
            del model
            for callback in (ProgressCallback, PrinterCallback):
                trainer.remove_callback(callback)
            pipe.send("ready")
            trainer.train()
        pipe.send((peak_memory(), [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]))
    except Exception as error:
        traceback.print_exc()
        pipe.send(error if len(str(error)) < 200 else RuntimeError(str(error)[:200]))


def _load(load: Load) -> Any:
    from scripts.training.sft_trainer import load_base

    if isinstance(load.model, dict):
        return random_llama(load.model, load.recipe.qlora, compute_dtype())
    return load_base(load.model, load.recipe.qlora)


def alternate(load: Load, variants: dict[str, tuple[str, ...] | None]) -> dict[str, Result]:
    """Train each variant in a process of its own, one step each in turn; the results by name."""
    context = multiprocessing.get_context("spawn")
    results = {name: Result([], []) for name in variants}
    live: dict[str, Connection] = {}
    processes = []

    def answer(name: str) -> Any:
        """What a process says; None, and the process no more live, where it failed."""
        try:
            said = live[name].recv()
        except EOFError:
            said = RuntimeError("the process died: out of memory?")
        if isinstance(said, Exception):
            results[name].failed = f"{type(said).__name__}: {said}"
            del live[name]
            return None
        return said

    try:
        for name, changes in variants.items():
            pipe, end = context.Pipe()
            process = context.Process(target=_work, args=(end, load, changes), daemon=True)
            process.start()
            end.close()
            processes.append(process)
            live[name] = pipe
            answer(name)  # ready
        for _ in range(load.recipe.max_steps):
            for name in list(live):
                live[name].send("go")
                if (seconds := answer(name)) is not None:
                    results[name].seconds.append(seconds)
        for name in list(live):
            if (end := answer(name)) is not None:
                results[name].peak, results[name].losses = end
    finally:
        for process in processes:  # the next ones find the memory free
            process.join(30)
            process.terminate()
    return results


# --- loads and table --------------------------------------------------------------------------------------------


def loads(model_type: str, data: Path, steps: int, qlora: bool | None) -> list[Load]:
    """What is measured on this device: the model on the data's rows; on CUDA the 8B shape, and rows of 4,096 tokens as well."""
    recipe = Recipe(max_steps=steps + 1, warmup_ratio=0.0, qlora=True)  # one step to warm up
    on_gpu = device() == "cuda"
    folder = base_model("smoke" if on_gpu else model_type)
    encoded = encode_rows(chat.load_tokenizer(folder), load_rows(data, "train"), recipe.max_tokens)
    order = batches(len(encoded), recipe.rows_per_step, recipe.max_steps, recipe.seed)
    rows = tuple(encoded[index] for step in order for index in step)
    found = []
    for packed in (False, True) if qlora is None else (qlora,):
        kind = "NF4" if packed else str(compute_dtype()).removeprefix("torch.")
        setting = replace(recipe, qlora=packed)
        if not on_gpu:
            found.append(Load(f"{model_type}, {kind} base", folder, folder, rows, setting))
            continue
        found += random_loads(
            f"random weights in the shape of Llama-3-8B, {kind} base", LLAMA3_8B, folder, rows, setting
        )
    return found


def random_loads(
    name: str, sizes: dict[str, int], tokenizer: Path, rows: Sequence[Encoded], recipe: Recipe
) -> list[Load]:
    """A Llama of random weights on random tokens: in rows as long as `rows`, and in rows of all the tokens of the recipe.

    The model, of these `sizes`, is made in the process that trains it.
    """
    draw, full = Random(0), recipe.max_tokens

    def tokens(number: int) -> list[int]:
        return [draw.randrange(3, sizes["vocab_size"]) for _ in range(number)]

    mixed = tuple(replace(row, input_ids=tokens(len(row.input_ids))) for row in rows)
    long = tuple(Encoded(tokens(full), [index % 4 == 3 for index in range(full)]) for _ in rows)
    return [
        Load(f"{name}, {which}", sizes, tokenizer, drawn, recipe)
        for which, drawn in (("the data's rows", mixed), (f"rows of {full:,} tokens", long))
    ]


def variants(load: Load, alone: bool) -> dict[str, tuple[str, ...]]:
    """Ours, and with `alone` each change that bears on `load` by itself, by the words that describe it."""
    from scripts.training.sft_trainer import CHANGES

    dense_has = {
        name: words
        for name, words in CHANGES.items()
        if load.recipe.qlora or name not in ("float32", "unpacked")
    }
    bears = {name: words for name, words in dense_has.items() if name != "unpacked" or device() == "cpu"}
    return {"ours": tuple(CHANGES)} | (
        {f"plain + {words}": (name,) for name, words in bears.items()} if alone else {}
    )


def measure(load: Load, alone: bool) -> Iterator[str]:
    """The lines of a Markdown table: the plain recipe, ours, and with `alone` each change by itself.

    Ratios are to the plain recipe that took its steps in alternation with the variant; on a GPU, before it.
    """
    waiting = iter(variants(load, alone).items())
    if device() == "cuda":
        parts = [{PLAIN: None}, *({name: changes} for name, changes in waiting)]
    else:
        abreast = max(1, int(free_memory() / ROOM) - 1)
        parts = [{PLAIN: None} | part for part in iter(lambda: dict(islice(waiting, abreast)), {})]
    yield f"{load.name}: {len(load.rows)} rows, {sum(load.tokens(step) for step in range(load.recipe.max_steps)):,} tokens\n"
    yield "| variant | tokens/s | times plain | peak GB | of plain | mean loss |\n|---|---:|---:|---:|---:|---:|"
    plain = None
    for part in parts:
        results = alternate(load, part)
        if plain is None:
            yield _line(PLAIN, results[PLAIN], results[PLAIN], load)
        plain = results.pop(PLAIN, plain)
        yield from (_line(name, result, plain, load) for name, result in results.items())


def _line(name: str, result: Result, plain: Result, load: Load) -> str:
    if result.failed:
        return f"| {name} | {result.failed} | | | | |"
    speed, before = _speed(result, load), _speed(plain, load)
    ratio = f"{speed / before:.2f}" if before else ""
    share = f"{result.peak / plain.peak:.2f}" if plain.peak else ""
    return f"| {name} | {speed:.1f} | {ratio} | {result.peak / 1e9:.2f} | {share} | {statistics.mean(result.losses):.4f} |"


def _speed(result: Result, load: Load) -> float:
    """Tokens a second, padding left out; the first step, which is slower, is not counted."""
    counted = result.seconds[1:] or result.seconds
    first = len(result.seconds) - len(counted)
    return sum(load.tokens(first + step) for step in range(len(counted))) / sum(counted) if counted else 0.0


def machine() -> str:
    """What the figures were measured on."""
    import torch

    if device() == "cuda":
        name = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        model = re.search(r"model name\s*:\s*(.+)", lines)
        name = f"{model[1] if model else platform.processor()}, {torch.get_num_threads()} threads"
    return f"{name}; {str(compute_dtype()).removeprefix('torch.')} for both; torch {torch.__version__}"
