"""The PyTorch engine: LoRA and QLoRA with TRL's SFTTrainer, on CUDA, Apple's GPU and the CPU."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

from scripts.lm.device import (
    compute_dtype,
    device,
    emulates_bfloat16,
    explain_out_of_memory,
    peak_memory,
    release_memory,
    reset_peak_memory,
)
from scripts.lm.loading import load_config
from scripts.training.callbacks import CheckpointCallback, LogCallback
from scripts.training.checkpoints import checkpoints
from scripts.training.costs import memory_advice, model_sizes, needs_checkpointing
from scripts.training.log import OnLog, TrainingLog
from scripts.training.metrics import EngineMetrics, TrainingMetrics, installed_versions
from scripts.training.pytorch_model import load_for_training
from scripts.training.recipe import Recipe
from scripts.training.run import RunOptions, TrainingRun
from scripts.training.sft_trainer import FastSFTTrainer, make_trainer, sft_config
from utils_ft import seed_everything, show_path

PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "clingo")
"""The libraries whose versions are in the metrics."""

LONGEST_WAIT = timedelta(hours=3)
"""How long processes wait for the first one, which downloads the model."""


def train(
    model_type: str,
    recipe: Recipe,
    data: Path,
    *,
    on_log: OnLog | None = None,
    report_to: str = "none",
    options: RunOptions | None = None,
) -> TrainingMetrics:
    """Train LoRA adapters on `data/train.jsonl`; write and return the metrics.

    A finished run is not repeated, and an interrupted one continues from its last complete checkpoint. A run
    with another recipe, model or data is moved aside. Under `accelerate launch` the processes share the rows
    of each training step, and the first process writes the files.

    Arguments:
        model_type: The base model: a key of `lm.base_models.MODELS`, a folder or a hub id.
        recipe: The recipe.
        data: The folder of `train.jsonl` and `valid.jsonl`.
        on_log: Is called with the log so far after each training step.
        report_to: Names of experiment trackers, with commas between them, or `none`.
        options: The folder of the run, whether it is resumed, and the chat template.

    Raises UserError for what a person can correct: model, rows, divergence, memory, another run that goes on
    in the folder.
    """
    options = options or RunOptions()
    run = TrainingRun.load("pytorch", model_type, recipe, data, options, all_processes())
    return train_run(run, options.resume, partial(_trainer, report_to=report_to), on_log)


def all_processes() -> PartialState:
    """The processes that train together."""
    return PartialState(cpu=device() == "cpu", timeout=LONGEST_WAIT)


def train_run(
    run: TrainingRun,
    resume: bool,
    make: Callable[[TrainingRun, list[TrainerCallback]], Trainer],
    on_log: OnLog | None = None,
    figures: Callable[[Trainer], EngineMetrics] = lambda _: EngineMetrics(),
) -> TrainingMetrics:
    """Train a run; write and return the metrics.

    Arguments:
        run: The run.
        resume: Whether a run that is in the folder is resumed. If not, it is moved aside.
        make: Makes the trainer, with the callbacks that it gets.
        on_log: Is called with the log so far after each training step.
        figures: Returns what else is measured, from the trainer at its end.
    """
    with run.writing():
        if (finished := run.prepare(resume)) is not None:
            return finished
        return _train(run, make, on_log, figures)


def _train(
    run: TrainingRun,
    make: Callable[[TrainingRun, list[TrainerCallback]], Trainer],
    on_log: OnLog | None,
    figures: Callable[[Trainer], EngineMetrics],
) -> TrainingMetrics:
    """Train, from the last complete checkpoint on; write and return the metrics."""
    recipe, processes = run.recipe, run.processes
    if emulates_bfloat16() and processes.is_main_process:
        print("this GPU has no bfloat16 units: everything takes several times longer", flush=True)
    seed_everything(recipe.seed)
    log = TrainingLog(run.folder, recipe, run.rows.step_tokens)
    last = max((checkpoint.step for checkpoint in checkpoints(run.folder)), default=None)
    if last is not None and processes.is_main_process:
        print(f"resuming {show_path(run.folder)} from step {last}", flush=True)
    with explain_out_of_memory(memory_advice(recipe), run.folder):
        trainer = make(
            run, [LogCallback(log, on_log), CheckpointCallback(run.folder, log, recipe.keep_checkpoints)]
        )
        if on_log:  # who passes `on_log` draws a curve, so the trainer's own table is not needed
            trainer.remove_callback(DEFAULT_PROGRESS_CALLBACK)
        reset_peak_memory()
        trainer.train(resume_from_checkpoint=None if last is None else str(run.folder / f"checkpoint-{last}"))
    engine = EngineMetrics(
        device=device(),
        dtype=str(compute_dtype()).removeprefix("torch."),
        trainable_parameters=trainer.model.num_parameters(only_trainable=True),
        peak_memory_gb=round(peak_memory() / 1e9, 3),
        processes=processes.num_processes,
        versions=installed_versions(PACKAGES),
        **figures(trainer),
    )
    del trainer
    release_memory()  # the next step loads another model
    return run.finish(log, engine)


def _trainer(run: TrainingRun, callbacks: list[TrainerCallback], report_to: str) -> FastSFTTrainer:
    """The trainer of a run, over its freshly loaded base model."""
    recipe = run.recipe
    sizes = model_sizes(load_config(run.base), recipe)  # refuses a model before its weights are loaded
    # The model is loaded first, as `needs_checkpointing` looks at the memory that is left.
    model: Any = load_for_training(run.base, recipe.qlora)
    # Each process has another amount of free memory, and they would wait for each other if they decided
    # differently.
    (checkpointing,) = broadcast_object_list([needs_checkpointing(sizes, recipe, run.rows.longest)])
    config = sft_config(
        recipe,
        run.folder,
        steps=recipe.max_steps,
        validate=bool(run.rows.valid),
        checkpointing=checkpointing,
        report_to=report_to,
    )
    return make_trainer(model, run.rows, recipe, config, callbacks)
