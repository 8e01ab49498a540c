"""What only a GPU can show, in twelve minutes: a large model trains, stops, saves and writes fast.

    python -m tools.gpu_check --instruct meta-llama/Meta-Llama-3-8B-Instruct --base meta-llama/Meta-Llama-3-8B
    python -m tools.gpu_check --rehearse

Each part prints one line with its measurement and its time. A part that fails prints why, and the next one
begins. A part that would not fit into the rest of the time is left out. Without a model a random Llama in the
shape of 8B parameters is made, which needs no network; then the ends of turns say nothing, and the other
figures hold. Convert first: python -m scripts.data_converter. With --rehearse the parts run with the smoke
model on any machine, which shows that the script works.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from utils_ft import ADAPTERS, DATA, ROOT, UserError, command

STEPS = 30
MINUTES = 12.0


@dataclass(frozen=True)
class Part:
    """A check."""

    name: str
    seconds: float
    """How long it takes on a data centre's GPU with an 8B model, a guess."""
    run: Callable[[], str]


def main(
    instruct: str | None = None,
    base: str | None = None,
    data: Path = DATA,
    out: Path = ADAPTERS / "gpu_check",
    steps: int = STEPS,
    rehearse: bool = False,
) -> None:
    """Run the checks on this machine's GPU, in at most about twelve minutes.

    Arguments:
        instruct: A model with trained marks: a folder or a hub id. By default random weights.
        base: A base model with untrained marks. By default none is trained.
        data: The folder of train.jsonl and valid.jsonl.
        out: The folder for runs and fused models.
        steps: Training steps of the first two parts.
        rehearse: Run the parts with the smoke model, on any machine.
    """
    import torch

    begun = time.perf_counter()
    if not torch.cuda.is_available() and not rehearse:
        raise UserError("there is no CUDA GPU", remedy="run this on a machine with one, or add --rehearse")
    if not (data / "train.jsonl").is_file():
        raise UserError("there are no rows", where=data, remedy="python -m scripts.data_converter")
    model = "smoke" if rehearse else instruct or str(random_model(out / "random-8b"))
    for part in parts(model, base, data, out, steps):
        started = time.perf_counter()
        if started - begun + part.seconds > MINUTES * 60:
            print(f"{part.name}: left out, as the time is over", flush=True)
            continue
        try:
            found = part.run()
        except Exception as error:  # the other parts still say something
            found = f"FAILED: {type(error).__name__}: {error}"
        print(f"{part.name}: {found} ({time.perf_counter() - started:.0f} s)", flush=True)


def parts(model: str, base: str | None, data: Path, out: Path, steps: int) -> list[Part]:
    """The checks, the most important first."""
    found = [
        Part("plan and measured memory", 90, lambda: trained(model, data, out / "instruct", steps)),
        Part("scores of the checkpoint", 60, lambda: written(model, data, out / "instruct")),
    ]
    if base:
        found += [
            Part("base model ends its turns", 90, lambda: trained(base, data, out / "base", steps)),
            Part("answers of the base model", 60, lambda: written(base, data, out / "base")),
        ]
    return [
        *found,
        Part("FSDP, 4 steps and 2 of them again", 150, lambda: shared(model, data, out / "fsdp")),
        Part("fusing", 90, lambda: fused(model, data, out)),
        Part("against plain TRL", 120, lambda: against_plain(data)),
    ]


def random_model(folder: Path) -> Path:
    """A random Llama of 8B parameters with the tokenizer of the smoke model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from scripts.lm.base_models import base_model
    from scripts.lm.loading import load_pretrained_tokenizer
    from tools.speed_train import LLAMA3_8B

    if (folder / "config.json").exists():
        return folder
    config = AutoConfig.for_model("llama", **LLAMA3_8B, bos_token_id=0, eos_token_id=2, pad_token_id=0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    load_pretrained_tokenizer(base_model("smoke")).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def trained(model: str, data: Path, run: Path, steps: int) -> str:
    """Train; the losses, and the memory that the plan expects and that was used."""
    from scripts.lm.device import release_memory
    from scripts.training.plan import plan
    from scripts.training.pytorch_engine import train
    from scripts.training.recipe import Recipe
    from scripts.training.run import RunOptions

    recipe = Recipe(max_steps=steps, save_every=steps, qlora=True)
    expected = plan(model, recipe, data, measure=False).expected.memory.total
    release_memory()
    metrics = train(model, recipe, data, options=RunOptions(folder=run))
    first, last = metrics["losses"][0][1], metrics["losses"][-1][1]
    return (
        f"loss {first:.3f} → {last:.3f}, {metrics['tokens_per_second']} tokens/s, "
        f"peak {metrics['peak_memory_gb']} GB, planned {expected / 1e9:.1f} GB"
    )


def written(model: str, data: Path, run: Path, rows: int = 16, limit: int = 128) -> str:
    """Answers to validation prompts: how many end by themselves, and tokens per second."""
    from scripts.data.rows import load_rows
    from scripts.inference.generator import load_generator
    from scripts.lm.base_models import base_model
    from scripts.lm.device import peak_memory, reset_peak_memory
    from scripts.training.checkpoints import choose

    reset_peak_memory()
    generator = load_generator(base_model(model), choose(run, "last").path, max_new_tokens=limit)
    prompts = [row["messages"][:2] for row in load_rows(data, "valid")[:rows]]
    figures = []
    for name, write in (
        ("greedy", lambda: generator.generate(prompts)),
        ("4 samples", lambda: [text for texts in generator.sample(prompts, 4) for text in texts]),
    ):
        started = time.perf_counter()
        texts = write()
        tokens = [len(generator.tokenizer(text)["input_ids"]) for text in texts]
        ended = sum(count < limit - 1 for count in tokens)
        speed = sum(tokens) / (time.perf_counter() - started)
        figures.append(f"{name}: {ended} of {len(texts)} end, {speed:.0f} tokens/s")
    return f"{'; '.join(figures)}; peak {peak_memory() / 1e9:.1f} GB"


def fused(model: str, data: Path, out: Path) -> str:
    """Fuse the checkpoint; its exactness."""
    from scripts.export.fuse_pytorch import fuse
    from scripts.export.fusing import Folders
    from scripts.lm.device import release_memory

    release_memory()
    target = fuse(model, "last", data, folders=Folders(out / "instruct", out / "fused"))
    return str(json.loads((target / "fuse.json").read_text(encoding="utf-8"))["exactness"])


def against_plain(data: Path) -> str:
    """Tokens per second and memory of plain TRL and of this project's trainer, over NF4."""
    from scripts.lm.device import release_memory
    from tools.speed_train import loads, measure

    release_memory()
    lines = list(measure(loads("smoke", data, steps=3, qlora=True)[0], alone=False))
    return "\n" + "\n".join(lines)


SHARED = """
import sys
from pathlib import Path
from accelerate import PartialState
from scripts.training.pytorch_engine import train
from scripts.training.recipe import Recipe
from scripts.training.run import RunOptions

model, data, run = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
recipe = Recipe(max_steps=4, save_every=2, warmup_ratio=0.0, qlora=True)
train(model, recipe, data, options=RunOptions(folder=run))
if PartialState().is_main_process:
    (run / "checkpoint-4").rename(run / "whole")
    (run / "metrics.json").unlink()
PartialState().wait_for_everyone()
train(model, recipe, data, options=RunOptions(folder=run))
"""
"""Trains four steps, and the last two of them again."""


def shared(model: str, data: Path, run: Path) -> str:
    """Four steps under FSDP 2, two processes where there are two GPUs, and the last two again.

    Says how many tensors the checkpoint has, and how far the two results are apart.
    """
    import torch
    from safetensors.torch import load_file

    from scripts.lm.device import release_memory

    if not torch.cuda.is_available():
        return "left out, as accelerate shares models on GPUs only"
    release_memory()
    processes = min(2, torch.cuda.device_count())
    run.parent.mkdir(parents=True, exist_ok=True)
    file = run.parent / "fsdp_check.py"
    file.write_text(SHARED, encoding="utf-8")
    config = ROOT / "accelerate_configs" / "fsdp_qlora.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    done = subprocess.run(
        [*launch, "--num_processes", str(processes), str(file), model, str(data), str(run)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return f"FAILED: {done.stderr[-500:]}"
    whole, again = (load_file(run / name / "adapter_model.safetensors") for name in ("whole", "checkpoint-4"))
    largest = max(float(value.abs().max()) for name, value in whole.items() if "lora_B" in name)
    apart = max(float((whole[name] - again[name]).abs().max()) for name in whole)
    return f"{processes} processes, {len(whole)} tensors, max |B| {largest:.2g}, resumed {apart:.2g} apart"


def environment() -> dict[str, str]:
    """The environment of a process that imports this project."""
    import os

    return os.environ | {"PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    command(main)()
