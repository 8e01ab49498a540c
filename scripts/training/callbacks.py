"""Callbacks of the PyTorch trainer: the log, complete checkpoints, a shorter backward pass."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from scripts.lm.adapters import adapter_tensors
from scripts.lm.device import synchronize
from scripts.training.checkpoints import mark_complete, rotate, run_identity
from scripts.training.log import OnLog, TrainingLog


class LogCallback(TrainerCallback):
    """Keeps the training log, and calls `on_log` after each logged step."""

    def __init__(self, log: TrainingLog, on_log: OnLog | None = None):
        self.log, self.listener = log, on_log

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.log.start(first_step=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        values = {name: logs[name] for name in ("loss", "eval_loss", "learning_rate") if name in logs}
        row = self.log.record(state.global_step, **values)
        logs["tokens_per_second"] = row["tokens_per_second"]  # the console prints `logs` after this
        if self.listener and state.is_world_process_zero:
            self.listener(self.log.rows)


class CheckpointCallback(TrainerCallback):
    """Writes the log beside each checkpoint, marks it as complete, and deletes old ones beyond `keep`."""

    def __init__(self, run: Path, log: TrainingLog, keep: int):
        self.run, self.log, self.keep = run, log, keep

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        PartialState().wait_for_everyone()  # each process writes the state of its random numbers
        if state.is_world_process_zero:
            self.log.write()
            checkpoint = self.run / f"checkpoint-{state.global_step}"
            adapter_tensors(checkpoint / "adapter_model.safetensors")
            mark_complete(checkpoint, run_identity(self.run))
            rotate(self.run, self.keep)


class TruncatedBackward(TrainerCallback):
    """Ends the backward pass at the lowest layer with an adapter.

    TRL adds a hook that makes the embeddings require gradients, which sends the backward pass through all
    layers. Only reentrant gradient checkpointing needs that hook. Training here does not use it, so the hook
    is removed.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        hooks = model.get_input_embeddings()._forward_hooks
        for key, hook in list(hooks.items()):
            if getattr(hook, "__name__", "") == "make_inputs_require_grads":
                del hooks[key]


class StepClock(TrainerCallback):
    """Measures the seconds of the last training step."""

    seconds = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        synchronize()
        self.seconds = time.perf_counter() - self.started
