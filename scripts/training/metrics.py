"""The metrics of a finished run, as `metrics.json` has them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from utils_ft import UserError, read_json


class EngineMetrics(TypedDict, total=False):
    """The part of the metrics that an engine measures.

    Keys:
        device: `cuda`, `mps`, `cpu` (PyTorch), or `gpu`, `cpu` (MLX).
        dtype: The number format of the computation, `bfloat16` or `float32`.
        trainable_parameters: Parameters of the adapters.
        peak_memory_gb: The largest use of memory, in 10^9 bytes: of the GPU by tensors, or of the process on
            a CPU.
        versions: The installed version of each library that bears on the result.
        processes: PyTorch: the processes that shared the rows of each step.
        quantized: MLX: whether the base model was held in 4 bits.
        gradient_checkpointing: MLX: whether activations were computed a second time in the backward pass.
        neftune: MLX: whether noise was added to the embeddings.
        accuracies: Preferences: `[[step, share], …]`: the share of pairs whose right answer gained more
            probability than the wrong one.
        eval_accuracies: Preferences: the same on pairs that training does not see, at checkpoints.
        margins: Preferences: `[[step, margin], …]`: by how much more, times beta, in nats.
    """

    device: str
    dtype: str
    trainable_parameters: int
    peak_memory_gb: float
    versions: dict[str, str]
    processes: int
    quantized: bool
    gradient_checkpointing: bool
    neftune: bool
    accuracies: list[list[float]]
    eval_accuracies: list[list[float]]
    margins: list[list[float]]


class TrainingMetrics(EngineMetrics, total=False):
    """The metrics of a finished run, as `metrics.json` has them.

    Keys, besides those of EngineMetrics:
        recipe: The recipe, all its fields.
        base: The fingerprint of the base model.
        data_sha256: The hash of the training rows.
        valid_sha256: The hash of the validation rows.
        chat_template_sha256: The hash of the chat template.
        model_type: The base model as the command names it.
        rows: Training rows that fit into `max_tokens`.
        rows_dropped: Training rows of which no turn fits.
        turns_cut: Assistant turns beyond `max_tokens`, in the rows that fit.
        preferences: The recipe of a training on preference pairs, all its fields.
        start_sha256: The hash of the adapter that it continued from.
        steps: Training steps.
        epochs: How often each row was seen.
        tokens: Tokens of all training steps.
        supervised_tokens: Those of them that count in the loss.
        train_seconds: Seconds of training and validation, interruptions left out.
        tokens_per_second: `tokens` divided by `train_seconds`.
        losses: `[[step, loss], …]`: the mean loss over supervised tokens, in nats.
        eval_losses: The same on the validation rows, at checkpoints.
    """

    recipe: dict[str, Any]
    base: str
    data_sha256: str
    valid_sha256: str
    chat_template_sha256: str
    model_type: str
    rows: int
    rows_dropped: int
    turns_cut: int
    preferences: dict[str, Any]
    start_sha256: str
    steps: int
    epochs: float
    tokens: int
    supervised_tokens: int
    train_seconds: float
    tokens_per_second: float
    losses: list[list[float]]
    eval_losses: list[list[float]]


def read_metrics(run: Path) -> TrainingMetrics:
    """The metrics of a finished run, from `metrics.json`. UserError if the file is damaged."""
    file = run / "metrics.json"
    remedy = "remove it; the training then ends again from its last checkpoint"
    found = read_json(file, remedy)
    try:
        describe_metrics(found)
        found["eval_losses"], found["recipe"]["max_steps"], found["data_sha256"]
    except (KeyError, TypeError, ValueError, IndexError):
        raise UserError("the file has no metrics of a training", where=file, remedy=remedy) from None
    return found


def describe_metrics(metrics: TrainingMetrics) -> str:
    """The metrics in one line: steps, tokens, time, speed and the last loss."""
    return (
        f"{metrics['steps']} steps, {metrics['tokens']} tokens in {metrics['train_seconds']:.0f} s "
        f"({metrics['tokens_per_second']} tokens/s), loss {metrics['losses'][-1][1]:.3f}"
    )


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those `packages` that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
