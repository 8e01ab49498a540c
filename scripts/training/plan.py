"""What a training run will do and need, before it starts: parameters, layers, tokens, memory, hours.

    python -m scripts.train_pytorch --dry-run [--model-type FOLDER | config.json | llama] [--data DIR]

`config.json` is enough for what is expected; where the weights are there, one step is taken and measured as well.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import load_rows
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
    synchronize,
)
from scripts.training.order import batches
from scripts.training.recipe import PROJECTIONS, Recipe
from utils_ft import UserError

NF4 = 4.127 / 8  # bytes a weight: 4 bits, and the doubly quantised scales
CHARACTERS = 3.0  # a token, where there is no tokenizer to count with: what SmolLM2's needs for our rows
LIBRARIES = 600e6  # bytes of a process that has loaded PyTorch, transformers and TRL
USABLE = 0.7  # of the speed of a matrix product: what a whole step reaches


@dataclass(frozen=True)
class Shape:
    """The sizes of a model that memory and time follow from."""

    architecture: str
    parameters: int
    matrices: (
        int  # parameters in the linear layers, which NF4 packs; the embeddings and the head stay as they are
    )
    above: int  # of `matrices`, in the adapted layers
    trainable: int  # parameters of the adapters
    layers: int
    adapted: int  # layers, from the top
    hidden: int
    queries: int  # width of all attention heads
    keys: int  # width of all key heads, and of all value heads
    intermediate: int
    vocabulary: int


def shape(config: Any, recipe: Recipe) -> Shape:
    """The sizes of the model of a Hugging Face configuration, under the adapters of `recipe`. Needs no weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config = config.get_text_config()
    lowest = max(0, config.num_hidden_layers - recipe.top_layers)
    matrices = above = trainable = 0
    for name, module in model.named_modules():
        layer = re.search(r"\.layers\.(\d+)\.", name)
        if not isinstance(module, torch.nn.Linear) or not layer:
            continue
        matrices += module.weight.numel()
        if int(layer[1]) >= lowest:
            above += module.weight.numel()
            if name.rsplit(".", 1)[-1] in PROJECTIONS:
                trainable += recipe.rank * (module.in_features + module.out_features)
    if not trainable:
        raise UserError(
            "the model has none of the projections that LoRA adapts",
            where=config.name_or_path or None,
            remedy=f"they are {', '.join(PROJECTIONS)}",
        )
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        type(model).__name__,
        sum(parameter.numel() for parameter in model.parameters()),
        matrices,
        above,
        trainable,
        config.num_hidden_layers,
        config.num_hidden_layers - lowest,
        config.hidden_size,
        head * config.num_attention_heads,
        head * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads),
        config.intermediate_size,
        config.vocab_size,
    )


# --- memory -----------------------------------------------------------------------------------------------------


def memory(
    shape: Shape, recipe: Recipe, tokens: int, targets: int, width: int, checkpointing: bool, where: str
) -> dict[str, float]:
    """Bytes at the most, part by part, while `tokens` tokens with `targets` supervised ones go through the model together.

    `width` is the size of a number that is computed with, in bytes; `where` the device, `cuda`, `mps` or `cpu`.
    """
    packed = recipe.qlora and where == "cuda"
    a_layer = tokens * (
        width
        * (
            6 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 4 * shape.intermediate
        )  # what its products read
        + 8 * shape.hidden  # the two norms compute in float32
        + bool(recipe.dropout) * (2 * shape.hidden + shape.queries + shape.intermediate)  # masks
    )
    kept = (
        width * tokens * shape.hidden * shape.layers + a_layer if checkpointing else shape.adapted * a_layer
    )
    scored = min(targets, 1024) if where == "cuda" else targets  # at a time
    return {
        "base": shape.matrices * (NF4 if packed else width) + (shape.parameters - shape.matrices) * width,
        "adapters": shape.trainable * 16,  # weights, gradients and two moments, float32
        "activations": kept,
        "logits": 12 * scored * shape.vocabulary,  # with their softmax and its gradient, float32
        "libraries": 0.0 if where == "cuda" else LIBRARIES,
    }


def needs_checkpointing(model: Any, recipe: Recipe, rows: Sequence[Encoded]) -> bool:
    """Whether the activations of the longest row would fill the device's free memory, once the base model is loaded."""
    longest, targets = (number * recipe.batch_size for number in _longest(rows))
    needed = memory(
        shape(model.config, recipe), recipe, longest, targets, compute_dtype().itemsize, False, device()
    )
    return sum(needed[part] for part in ("adapters", "activations", "logits")) > 0.8 * free_memory()


def _longest(rows: Sequence[Encoded]) -> tuple[int, int]:
    """Tokens and supervised tokens of the longest row."""
    longest = max(rows, key=lambda row: len(row.input_ids))
    return len(longest.input_ids), sum(longest.supervised)


def advice(recipe: Recipe) -> str:
    """What to do where memory runs out: the knobs that this recipe has left."""
    knobs = [f"lower --max-tokens (it is {recipe.max_tokens})"]
    if recipe.batch_size > 1:
        knobs.append("take batch_size 1 and more accumulation")
    if not recipe.qlora:
        knobs.append("turn on --qlora")
    return ", ".join([*knobs, "or take a smaller model; --dry-run says what each needs"])


# --- time -------------------------------------------------------------------------------------------------------


def flops(shape: Shape, tokens: int, targets: int, length: float, checkpointing: bool) -> float:
    """Floating-point operations of training on `tokens` tokens, `targets` of them supervised, in rows of `length` tokens."""
    forward = (
        2 * shape.matrices + 2 * shape.layers * shape.queries * length
    )  # attention looks back half a row
    upper = 2 * shape.above + 2 * shape.adapted * shape.queries * length
    backward = upper + 3 * shape.adapted * shape.queries * length + 6 * shape.trainable
    return (
        tokens * (forward + backward + checkpointing * upper) + targets * 4 * shape.hidden * shape.vocabulary
    )


# --- the plan ---------------------------------------------------------------------------------------------------


@silenced()
def plan(model_type: str, recipe: Recipe, data: Path, chat_template: Path | None = None) -> dict:
    """What `train` would do with the same arguments: the model, its adapters, tokens, bytes and hours, expected and measured.

    `measured` is None where the folder holds no weights.
    """
    from transformers import AutoConfig

    folder = config_folder(model_type)
    rows = load_rows(data, "train")
    sizes = shape(AutoConfig.from_pretrained(folder), recipe)
    counted = (folder / "tokenizer.json").exists()
    encoded = _encode(folder, rows, recipe, chat_template) if counted else _guess(rows, recipe)
    order = batches(len(encoded), recipe.rows_per_step, recipe.max_steps, recipe.seed)
    tokens = sum(len(encoded[index].input_ids) for step in order for index in step)
    targets = sum(sum(encoded[index].supervised) for step in order for index in step)
    longest, longest_targets = _longest(encoded)
    dtype, where = compute_dtype(), device()
    needs = [
        memory(
            sizes,
            recipe,
            longest * recipe.batch_size,
            longest_targets * recipe.batch_size,
            dtype.itemsize,
            again,
            where,
        )
        for again in (False, True)
    ]
    checkpointing = sum(needs[0].values()) > 0.8 * free_memory()
    needed = needs[checkpointing]
    work = flops(sizes, tokens, targets, tokens / (recipe.max_steps * recipe.rows_per_step), checkpointing)
    found = {
        "model": asdict(sizes),
        "device": where,
        "dtype": str(dtype).removeprefix("torch."),
        "recipe": asdict(recipe),
        "rows": len(encoded),
        "tokens": tokens,
        "supervised_tokens": targets,
        "longest_row": longest,
        "tokens_counted": counted,
        "gradient_checkpointing": checkpointing,
        "free_bytes": free_memory(),
        "expected": {
            "bytes": needed,
            "total_bytes": sum(needed.values()),
            "hours": work / flops_per_second() / USABLE / 3600,
        },
        "measured": None,
    }
    if counted and any(folder.glob("*.safetensors")):
        seconds, peak, taken = _one_step(folder, recipe, encoded, order, chat_template)
        hours = seconds * tokens / taken / 3600
        found["measured"] = {
            "total_bytes": peak,
            "step_seconds": seconds,
            "step_tokens": taken,
            "hours": hours,
        }
    return found


def _encode(folder: Path, rows: list[dict], recipe: Recipe, chat_template: Path | None) -> list[Encoded]:
    return encode_rows(chat.load_tokenizer(folder, chat_template), rows, recipe.max_tokens)


def _guess(rows: list[dict], recipe: Recipe) -> list[Encoded]:
    """Rows as long as their texts suggest, with as many targets as the assistant's texts suggest, all at the end."""
    guessed = []
    for row in rows:
        said = [
            (message["role"], int(len(message["content"]) / CHARACTERS) + 5) for message in row["messages"]
        ]
        length = min(sum(number for _, number in said), recipe.max_tokens)
        targets = min(sum(number for role, number in said if role == "assistant"), length)
        guessed.append(Encoded([0] * length, [False] * (length - targets) + [True] * targets))
    return guessed


def _one_step(
    folder: Path, recipe: Recipe, rows: list[Encoded], order: list[list[int]], chat_template: Path | None
) -> tuple[float, int, int]:
    """Take the step with the longest row: its seconds, the largest use of memory in bytes, its tokens."""
    from transformers import TrainerCallback
    from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

    from scripts.training import sft_trainer

    class Clock(TrainerCallback):
        start = end = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronize()
            self.end = time.perf_counter()

    heaviest = max(order, key=lambda step: max(len(rows[index].input_ids) for index in step))
    model, clock = sft_trainer.unpack(sft_trainer.load_base(folder, recipe.qlora)), Clock()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = sft_trainer.make_trainer(
            model,
            chat.load_tokenizer(folder, chat_template),
            recipe,
            rows,
            [heaviest],
            Path(scratch),
            checkpointing=needs_checkpointing(model, recipe, rows),
            callbacks=[clock],
        )
        del model
        trainer.args.save_strategy = "no"
        trainer.remove_callback(DEFAULT_PROGRESS_CALLBACK)  # another one in a notebook
        reset_peak_memory()
        with explain_out_of_memory(advice(recipe), folder):
            trainer.train()
    return clock.end - clock.start, peak_memory(), sum(len(rows[index].input_ids) for index in heaviest)


def describe(found: dict) -> str:
    """A plan as a few aligned lines."""
    model, recipe, expected, measured = found["model"], found["recipe"], found["expected"], found["measured"]
    parts = ", ".join(f"{part} {size / 1e9:.2f}" for part, size in expected["bytes"].items() if size)
    lines = {
        "model": f"{model['architecture']}, {model['layers']} layers, {model['parameters']:,} parameters",
        "trained": f"{model['trainable']:,} parameters ({model['trainable'] / model['parameters']:.2%}): LoRA of rank "
        f"{recipe['rank']} on layers {model['layers'] - model['adapted']} to {model['layers'] - 1}",
        "device": f"{found['device']}, {found['dtype']}, {found['free_bytes'] / 1e9:.1f} GB free",
        "data": f"{found['rows']:,} rows, the longest of {found['longest_row']:,} tokens"
        + ("" if found["tokens_counted"] else " (guessed: there is no tokenizer)"),
        "tokens": f"{found['tokens']:,} in {recipe['max_steps']} steps of {recipe['batch_size'] * recipe['gradient_accumulation_steps']} rows, "
        f"{found['supervised_tokens'] / found['tokens']:.0%} supervised",
        "memory": f"{expected['total_bytes'] / 1e9:.2f} GB expected ({parts})"
        + (", with gradient checkpointing" if found["gradient_checkpointing"] else ""),
        "time": f"{expected['hours']:.2f} hours expected",
    }
    if measured:
        lines["memory"] += f"; {measured['total_bytes'] / 1e9:.2f} GB measured in one step"
        lines["time"] += (
            f"; {measured['hours']:.2f} measured ({measured['step_tokens'] / measured['step_seconds']:.0f} tokens/s)"
        )
    if expected["total_bytes"] > found["free_bytes"]:
        lines["memory"] += " - MORE THAN IS FREE"
    return "\n".join(f"{name:8} {line}" for name, line in lines.items())
