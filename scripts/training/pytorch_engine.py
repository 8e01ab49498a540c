"""The PyTorch engine: TRL's SFTTrainer with the recipe, QLoRA on CUDA and on the CPU, resumable, fused.

    python -m scripts.train_pytorch --profile demo --model-type smollm [--max-steps N] [--resume] [--fuse-step best]
    python -m scripts.train_pytorch --profile full --model-type llama --dry-run       # what it would take
    accelerate launch --config_file accelerate_configs/ddp_gpu.yaml -m scripts.train_pytorch --profile full

Writes `adapters/<type>_pytorch/checkpoint-<step>/`, `log.csv` and `metrics.json` there, and fuses the chosen
checkpoint into `local_models/ft_<type>_pytorch/`.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import data_digest, load_rows, validation_rows
from scripts.lm import chat
from scripts.lm.base_models import base_model, fingerprint, model_spec
from scripts.lm.device import compute_dtype, device, explain_out_of_memory, peak_memory, reset_peak_memory
from scripts.training.checkpoints import (
    COLUMNS,
    OnLog,
    checkpoints,
    mark_complete,
    prepare_run,
    read_log,
    rotate,
    stop_if_diverging,
    write_log,
)
from scripts.training.order import batches
from scripts.training.plan import advice, needs_checkpointing
from scripts.training.recipe import Recipe
from utils_ft import ADAPTERS, content_hash, seed_everything, show_path, write_json


def watcher(run: Path, recipe: Recipe, tokens_of: list[int], on_log: OnLog | None) -> Any:
    """The callback that keeps `log.csv`, seals and rotates checkpoints, and stops a run that diverges.

    `tokens_of[i]` is the number of tokens in optimiser step i.
    """
    from accelerate import PartialState
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def __init__(self) -> None:
            self.rows: list[dict] = []
            self.start = self.before = 0.0
            self.first_step = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.rows = [row for row in read_log(run) if row["step"] <= state.global_step]
            self.before = max((row["seconds"] or 0.0 for row in self.rows), default=0.0)
            self.first_step, self.start = state.global_step, time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
            logs = logs or {}
            if "loss" not in logs and "eval_loss" not in logs:
                return
            spent = time.perf_counter() - self.start
            if not self.rows or self.rows[-1]["step"] != state.global_step:
                self.rows.append(dict.fromkeys(COLUMNS))
            row = self.rows[-1]
            row |= {
                "step": state.global_step,
                "seconds": round(self.before + spent, 2),
                "loss": logs.get("loss", row["loss"]),
                "eval_loss": logs.get("eval_loss", row["eval_loss"]),
                "learning_rate": logs.get("learning_rate", row["learning_rate"]),
                "tokens_per_second": round(sum(tokens_of[self.first_step : state.global_step]) / spent, 1),
            }
            stop_if_diverging([row["loss"] for row in self.rows if row["loss"] is not None], run, recipe)
            logs["tokens_per_second"] = row["tokens_per_second"]  # the console's turn comes after ours
            if on_log and state.is_world_process_zero:
                on_log(self.rows)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            PartialState().wait_for_everyone()  # each process writes the state of its random numbers
            if state.is_world_process_zero:
                write_log(run, self.rows)
                mark_complete(run / f"checkpoint-{state.global_step}")
                rotate(run, recipe.keep_checkpoints)

    return Watcher()


def train(
    model_type: str,
    recipe: Recipe,
    data: Path,
    resume: bool = True,
    on_log: OnLog | None = None,
    chat_template: Path | None = None,
    report_to: str = "none",
    run: Path | None = None,
) -> dict:
    """Train LoRA adapters on `data/train.jsonl` and return the metrics, also written to `metrics.json`.

    Everything lies in `run`, by default `adapters/<type>_pytorch`.

    The same call again says "already done", or goes on from the last whole checkpoint; a run with another recipe,
    model or data is moved aside, never deleted. `resume=False` starts afresh. Under `accelerate launch` the processes
    share the rows of each step, and the first of them writes.
    """
    from accelerate import PartialState

    processes = PartialState(cpu=device() == "cpu")
    name = model_spec(model_type).type  # an unknown model is the first thing to hear of
    rows, valid_rows = load_rows(data, "train"), validation_rows(data)
    with processes.main_process_first():  # who makes or fetches it; the others find it there
        folder = base_model(model_type)
    run = run or ADAPTERS / f"{name}_pytorch"
    tokenizer = chat.load_tokenizer(folder, chat_template)
    identity = {
        "recipe": asdict(recipe),
        "base": fingerprint(folder),
        "data_sha256": data_digest(rows),
        "valid_sha256": data_digest(valid_rows),
        "chat_template_sha256": content_hash(tokenizer.chat_template),
    }
    if processes.is_main_process:
        prepare_run(run, identity, resume)
    processes.wait_for_everyone()
    if (run / "metrics.json").exists():
        return json.loads((run / "metrics.json").read_text(encoding="utf-8"))

    from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

    from scripts.training import sft_trainer

    seed_everything(recipe.seed)
    with processes.main_process_first():
        encoded = encode_rows(tokenizer, rows, recipe.max_tokens, cache_dir=run.parent / ".tokens")
    valid = encode_rows(tokenizer, valid_rows, recipe.max_tokens)
    order = batches(len(encoded), recipe.rows_per_step, recipe.max_steps, recipe.seed)
    tokens_of = [sum(len(encoded[index].input_ids) for index in step) for step in order]
    watch = watcher(run, recipe, tokens_of, on_log)
    last = max((checkpoint.step for checkpoint in checkpoints(run)), default=None)
    if last is not None and processes.is_main_process:
        print(f"resuming {show_path(run)} from step {last}", flush=True)
    with explain_out_of_memory(advice(recipe), run):
        model = sft_trainer.unpack(
            sft_trainer.load_base(folder, recipe.qlora)
        )  # before anybody asks how much memory is left
        trainer = sft_trainer.make_trainer(
            model,
            tokenizer,
            recipe,
            encoded,
            order,
            run,
            valid,
            report_to,
            needs_checkpointing(model, recipe, encoded),
            [watch],
        )
        del model  # the trainer may hold it in another form
        if on_log:  # who watches draws a curve; the trainer's own table would stand beside it
            trainer.remove_callback(DEFAULT_PROGRESS_CALLBACK)
        reset_peak_memory()
        trainer.train(resume_from_checkpoint=None if last is None else str(run / f"checkpoint-{last}"))
    log = watch.rows
    metrics = identity | {
        "model_type": model_type,
        "device": device(),
        "dtype": str(compute_dtype()).removeprefix("torch."),
        "rows": len(encoded),
        "rows_dropped": len(rows) - len(encoded),
        "turns_cut": sum(row.cut for row in encoded),
        "steps": recipe.max_steps,
        "tokens": sum(tokens_of),
        "supervised_tokens": sum(sum(encoded[i].supervised) for step in order for i in step),
        "train_seconds": log[-1]["seconds"] if log else 0.0,
        "losses": [[row["step"], row["loss"]] for row in log if row["loss"] is not None],
        "eval_losses": [[row["step"], row["eval_loss"]] for row in log if row["eval_loss"] is not None],
        "trainable_parameters": trainer.model.num_parameters(only_trainable=True),
        "peak_memory_gb": round(peak_memory() / 1e9, 3),
        "processes": processes.num_processes,
        "versions": _versions(),
    }
    metrics["epochs"] = round(recipe.max_steps * recipe.rows_per_step / len(encoded), 2)
    metrics["tokens_per_second"] = round(metrics["tokens"] / max(metrics["train_seconds"], 1e-9), 1)
    if processes.is_main_process:
        write_log(run, log)
        write_json(run / "metrics.json", metrics)
    processes.wait_for_everyone()
    return metrics


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "bitsandbytes", "clingo")
    return {name: version(name) for name in names if find_spec(name)}
