"""Measure the speed and memory of training: plain TRL against this project's trainer.

    python -m tools.speed_train --steps 2 --no-qlora

Every variant runs in its own process. On a CPU the variants take training steps in turn, on the same rows
and in the same number format, so other work on the machine slows all of them alike. On a GPU they run one
after another, because of the memory, and the model has random weights in the shape of Llama-3-8B.
"""

from __future__ import annotations

import platform
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from utils_ft import DATA, command

if TYPE_CHECKING:  # imports torch
    from scripts.lm.chat import Encoded
    from scripts.training.recipe import Recipe
    from tools.training_variants import Load, Result

LLAMA3_8B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
BYTES_PER_PROCESS = 4e9  # memory that a process with a small model needs on a CPU
PLAIN = "plain TRL"
HEADER = (
    "| variant | tokens/s | times plain | peak GB | of plain | mean loss |\n|---|---:|---:|---:|---:|---:|"
)


def loads(model_type: str, data: Path, steps: int, qlora: bool | None) -> list[Load]:
    """The loads for this device.

    On a CPU: the model on the rows of `data`. On CUDA: a Llama of 8B parameters, on rows of the same lengths
    and on rows of 4,096 tokens. `qlora` None means both with and without an NF4 base.
    """
    from scripts.data.encoded_rows import encode_rows
    from scripts.data.rows import load_rows
    from scripts.lm.base_models import base_model
    from scripts.lm.chat import load_tokenizer
    from scripts.lm.device import compute_dtype, device
    from scripts.training.order import batches
    from scripts.training.recipe import Recipe
    from tools.training_variants import Load

    recipe = Recipe(max_steps=steps + 1, warmup_ratio=0.0, qlora=True)  # the first step is warm-up
    on_gpu = device() == "cuda"
    folder = base_model("smoke" if on_gpu else model_type)
    encoded = encode_rows(load_tokenizer(folder), load_rows(data, "train"), recipe.max_tokens)
    order = batches(len(encoded), recipe.rows_per_step, recipe.max_steps, recipe.seed)
    rows = tuple(encoded[index] for step in order for index in step)
    made: list[Load] = []
    for packed in (False, True) if qlora is None else (qlora,):
        kind = "NF4" if packed else str(compute_dtype()).removeprefix("torch.")
        setting = replace(recipe, qlora=packed)
        if on_gpu:
            name = f"random weights in the shape of Llama-3-8B, {kind} base"
            made += random_loads(name, LLAMA3_8B, folder, rows, setting)
        else:
            made.append(Load(f"{model_type}, {kind} base", folder, folder, rows, setting))
    return made


def random_loads(
    name: str, sizes: dict[str, int], tokenizer: Path, rows: Sequence[Encoded], recipe: Recipe
) -> list[Load]:
    """Two loads of random tokens for a Llama with random weights of these `sizes`.

    The rows of the first are as long as `rows`, those of the second as long as the recipe allows.
    """
    from scripts.lm.chat import Encoded
    from tools.training_variants import Load

    random, full = Random(0), recipe.max_tokens

    def tokens(number: int) -> list[int]:
        return [random.randrange(3, sizes["vocab_size"]) for _ in range(number)]

    mixed = tuple(replace(row, input_ids=tokens(len(row.input_ids))) for row in rows)
    long = tuple(Encoded(tokens(full), [index % 4 == 3 for index in range(full)]) for _ in rows)
    return [
        Load(f"{name}, the data's rows", sizes, tokenizer, mixed, recipe),
        Load(f"{name}, rows of {full:,} tokens", sizes, tokenizer, long, recipe),
    ]


def variants(load: Load, alone: bool) -> dict[str, tuple[str, ...]]:
    """Name → changes: "ours" has all changes; with `alone`, each change is also a variant of its own."""
    from scripts.lm.device import device
    from scripts.training.sft_trainer import CHANGES

    found = {"ours": tuple(CHANGES)}
    if alone:
        no_effect = set() if load.recipe.qlora else {"float32", "unpacked"}
        no_effect |= set() if device() == "cpu" else {"unpacked"}
        found |= {f"plain + {text}": (name,) for name, text in CHANGES.items() if name not in no_effect}
    return found


def measure(load: Load, alone: bool) -> Iterator[str]:
    """The lines of a Markdown table: plain TRL, ours, and with `alone` each change by itself.

    A ratio compares a variant with the plain run that it took turns with; on a GPU, with the first run.
    """
    from scripts.lm.device import device, free_memory
    from tools.training_variants import alternate

    waiting = iter(variants(load, alone).items())
    groups: list[dict[str, tuple[str, ...] | None]]
    if device() == "cuda":
        groups = [{PLAIN: None}, *({name: changes} for name, changes in waiting)]
    else:
        at_once = max(1, int(free_memory() / BYTES_PER_PROCESS) - 1)
        groups = [{PLAIN: None} | group for group in iter(lambda: dict(islice(waiting, at_once)), {})]
    tokens = sum(load.tokens(step) for step in range(load.recipe.max_steps))
    yield f"{load.name}: {len(load.rows)} rows, {tokens:,} tokens\n"
    yield HEADER
    plain = None
    for group in groups:
        results = alternate(load, group)
        if plain is None:
            yield _line(PLAIN, results[PLAIN], results[PLAIN], load)
        plain = results.pop(PLAIN, plain)
        for name, result in results.items():
            yield _line(name, result, plain, load)


def _line(name: str, result: Result, plain: Result, load: Load) -> str:
    """A line of the table."""
    if result.failed:
        return f"| {name} | {result.failed} | | | | |"
    speed, plain_speed = _speed(result, load), _speed(plain, load)
    ratio = f"{speed / plain_speed:.2f}" if plain_speed else ""
    share = f"{result.peak / plain.peak:.2f}" if plain.peak else ""
    loss = statistics.mean(result.losses)
    return f"| {name} | {speed:.1f} | {ratio} | {result.peak / 1e9:.2f} | {share} | {loss:.4f} |"


def _speed(result: Result, load: Load) -> float:
    """Tokens per second, without padding and without the first step."""
    counted = result.seconds[1:] or result.seconds
    first = len(result.seconds) - len(counted)
    return sum(load.tokens(first + step) for step in range(len(counted))) / sum(counted) if counted else 0.0


def machine() -> str:
    """The processor or GPU, the number format and the version of torch."""
    import torch

    from scripts.lm.device import compute_dtype, device

    if device() == "cuda":
        name = torch.cuda.get_device_name()
    else:
        cpuinfo = Path("/proc/cpuinfo")
        model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
        name = f"{model[1] if model else platform.processor()}, {torch.get_num_threads()} threads"
    return f"{name}; {str(compute_dtype()).removeprefix('torch.')} for both; torch {torch.__version__}"


def main(
    model_type: str = "smollm",
    data: Path = DATA,
    steps: int = 3,
    qlora: bool | None = None,
    alone: bool = True,
) -> None:
    """Measure tokens per second, memory and loss of plain TRL and of this project's trainer.

    Arguments:
        model_type: The base model on a CPU. On CUDA it is a Llama of 8B parameters with random weights.
        data: The folder with the converted rows.
        steps: How many training steps to measure, after one for warm-up.
        qlora: Measure with an NF4 base only, or without one only. Without the option, both.
        alone: Measure each change by itself, too.
    """
    print(machine(), flush=True)
    for load in loads(model_type, data, steps, qlora):
        print(flush=True)
        for line in measure(load, alone):
            print(line, flush=True)


if __name__ == "__main__":
    command(main)()
