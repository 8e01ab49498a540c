"""The peak memory of training, evaluating and fusing a model: computed, and measured at a tenth of its size.

    python -m tools.peak_memory
    python -m tools.peak_memory --measure

The first table is computed for Llama-3-8B on a GPU. With --measure, a Llama with random weights and a tenth
of the parameters goes through all three on this machine, each in a process of its own, and the second table
compares what they took with what is computed for that size.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils_ft import command

if TYPE_CHECKING:  # imports torch
    from scripts.training.costs import ModelSizes, TokenCount
    from scripts.training.recipe import Recipe

TENTH = {
    "vocab_size": 49152,
    "hidden_size": 1536,
    "intermediate_size": 5376,
    "num_hidden_layers": 20,
    "num_attention_heads": 12,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
}
"""Llama-3-8B with a tenth of its parameters: the same proportions, and fewer layers and tokens."""

LONGEST = 1359
"""Tokens of the longest row of the demo's data with Llama 3's tokenizer."""

Parts = dict[str, float]
"""What takes memory → bytes."""


def main(measure: bool = False, tokens: int = LONGEST) -> None:
    """Print the peak memory of training, evaluating and fusing.

    Arguments:
        measure: Measure a model of a tenth of the size on this machine, too.
        tokens: Tokens of the longest training row of the first table.
    """
    from scripts.training.costs import TokenCount
    from scripts.training.recipe import Recipe
    from tools.speed_train import LLAMA3_8B

    recipe = Recipe()
    computed = expected(LLAMA3_8B, recipe, TokenCount(tokens, tokens // 3), "cuda", 2)
    print(f"Llama-3-8B on a GPU, rows of {tokens:,} tokens\n\n| step | GB | parts |\n|---|---:|---|")
    for step, parts in computed.items():
        print(f"| {step} | {sum(parts.values()) / 1e9:.1f} | {_shown(parts)} |")
    if measure:
        print(f"\n{_compare(replace(recipe, top_layers=10, max_steps=1, gradient_accumulation_steps=1))}")


def expected(
    sizes: dict[str, int], recipe: Recipe, row: TokenCount, where: str, width: int
) -> dict[str, Parts]:
    """Step → what it needs for a Llama of these `sizes` on the device `where`.

    Arguments:
        sizes: The settings of the Llama.
        recipe: The recipe.
        row: The longest row.
        where: `cuda` or `cpu`.
        width: Bytes of one number of the computation.
    """
    from transformers import LlamaConfig

    from scripts.training.costs import model_sizes

    model = model_sizes(LlamaConfig(**sizes), recipe)
    steps = {"train": _training(model, recipe, row, where, width, False)}
    if where == "cuda":
        steps["train, gradient checkpointing"] = _training(model, recipe, row, where, width, True)
        steps["evaluate"] = _writing(model, where, width)
        steps["evaluate, base in 4 bits"] = _writing(model, where, width, packed=True)
    else:
        steps["evaluate"] = _writing(model, where, width)
    steps["fuse"] = _fusing(model, where, width)
    return steps


def _training(
    model: ModelSizes, recipe: Recipe, row: TokenCount, where: str, width: int, checkpointing: bool
) -> Parts:
    """The plan's estimate, and on a CPU the pages of the weights' file that were read to pack it into NF4.

    These pages count as memory of the process, but the system can take them back.
    """
    from dataclasses import asdict

    from scripts.training.costs import memory_use

    use = memory_use(model, recipe, row, width=width, checkpointing=checkpointing, where=where)
    pages = {"pages of the file": 2.0 * model.packed} if where == "cpu" and recipe.qlora else {}
    return asdict(use) | pages


def _writing(model: ModelSizes, where: str, width: int, packed: bool = False) -> Parts:
    """Weights, and on a GPU the room that a generator leaves for prompts and answers."""
    from scripts.inference.generator import ROOM
    from scripts.training.costs import LIBRARIES, NF4

    weights = model.packed * (NF4 if packed else width) + (model.parameters - model.packed) * width
    return {"base": weights} | ({"prompts": ROOM} if where == "cuda" else {"libraries": LIBRARIES})


def _fusing(model: ModelSizes, where: str, width: int) -> Parts:
    """The weights. Files are written from them, without a copy on a CPU."""
    from scripts.training.costs import LIBRARIES

    weights = model.parameters * width
    return {"base": weights} | ({} if where == "cuda" else {"libraries": LIBRARIES})


def _shown(parts: Parts) -> str:
    return ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items() if size)


def _compare(recipe: Recipe) -> str:
    """Take a tenth of the model through all steps; the table of expected and measured peaks."""
    from scripts.lm.device import compute_dtype, device
    from scripts.training.costs import TokenCount

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        row = TokenCount(*_alone(prepare, scratch, recipe))
        computed = expected(TENTH, recipe, row, device(), compute_dtype().itemsize)
        measured = {
            "train": _alone(train, scratch, recipe),
            "evaluate": _alone(evaluate, scratch, recipe),
            "fuse": _alone(fuse, scratch, recipe),
        }
    dtype = str(compute_dtype()).removeprefix("torch.")
    lines = [
        f"A tenth of the size on {device()} in {dtype}, rows of {row.tokens} tokens\n",
        "| step | computed GB | measured GB | parts |\n|---|---:|---:|---|",
    ]
    for step, peak in measured.items():
        parts = computed[step]
        lines.append(f"| {step} | {sum(parts.values()) / 1e9:.2f} | {peak / 1e9:.2f} | {_shown(parts)} |")
    return "\n".join(lines)


def _alone(part: Callable[[Path, Recipe], Any], *arguments: Any) -> Any:
    """The result of a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(part, arguments)


def prepare(scratch: Path, recipe: Recipe) -> tuple[int, int]:
    """Write the random model and its rows; the tokens of the longest row, and its supervised ones."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from scripts.data.encoded_rows import encode_rows
    from scripts.data.rows import load_rows
    from scripts.lm import chat
    from scripts.lm.smoke_model import smoke_model
    from tools.model_table import write_rows

    smoke_model(scratch / "smoke")
    tokenizer = chat.load_tokenizer(scratch / "smoke")
    ends = {"bos_token_id": 0, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    torch.manual_seed(0)
    config = LlamaConfig(**TENTH, **ends, dtype=torch.bfloat16)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(scratch / "base")
    tokenizer.save_pretrained(scratch / "base")
    write_rows(scratch / "data")
    rows = encode_rows(tokenizer, load_rows(scratch / "data", "train"), recipe.max_tokens)
    longest = max(rows, key=lambda row: len(row.input_ids))
    return len(longest.input_ids), sum(longest.supervised)


def train(scratch: Path, recipe: Recipe) -> int:
    """One training step; its peak."""
    from scripts.training.pytorch_engine import train as train_model
    from scripts.training.run import RunOptions

    options = RunOptions(folder=scratch / "run")
    metrics = train_model(str(scratch / "base"), recipe, scratch / "data", options=options)
    return round(metrics["peak_memory_gb"] * 1e9)


def evaluate(scratch: Path, recipe: Recipe) -> int:
    """Load base and adapter, answer four prompts; the peak."""
    from scripts.data.rows import load_rows
    from scripts.inference.generator import load_generator
    from scripts.lm.device import peak_memory, reset_peak_memory

    reset_peak_memory()
    generator = load_generator(scratch / "base", scratch / "run" / "checkpoint-1", max_new_tokens=8)
    generator.generate([row["messages"][:2] for row in load_rows(scratch / "data", "train")])
    return peak_memory()


def fuse(scratch: Path, recipe: Recipe) -> int:
    """Fuse the adapter; the peak."""
    from scripts.export.fuse_pytorch import fuse as fuse_model
    from scripts.export.fusing import Folders
    from scripts.lm.device import peak_memory, reset_peak_memory

    reset_peak_memory()
    folders = Folders(scratch / "run", scratch / "fused")
    fuse_model(str(scratch / "base"), "last", scratch / "data", folders=folders)
    return peak_memory()


if __name__ == "__main__":
    command(main)()
