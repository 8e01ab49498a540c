"""What both engines share when a checkpoint is fused into its base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from scripts.data.encoded_rows import encode_rows
from scripts.data.rows import validation_rows
from scripts.lm import chat
from scripts.lm.base_models import base_name, fingerprint, model_spec
from utils_ft import UserError, content_hash, show_path, write_json

PROOF_ROWS = 4


PROOF_TOKENS = 12  # written after a prompt, without a cache


def origin(model_type: str, folder: Path, adapter: Path, run: Path | None) -> dict[str, str]:
    """What a fused model is made from: the base in `folder` and the weights file `adapter`, for both engines.

    UserError where `run`, in which the adapter was trained, had another base: a merge would be exact, and nonsense.
    """
    found = fingerprint(folder)
    if run and json.loads((run / "run.json").read_text(encoding="utf-8"))["base"] != found:
        raise UserError(
            f"the adapters in {show_path(run)} were trained over another base",
            where=folder,
            remedy="bring the base back as it was, or train again",
        )
    return {
        "base": base_name(model_spec(model_type).source),
        "base_fingerprint": found,
        "adapter_sha256": content_hash(adapter.read_bytes()),
    }


def is_fused(target: Path, made_from: dict[str, str]) -> bool:
    """Whether the folder `target` holds a model that was fused from just that."""
    file = target / "fuse.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8")).items() >= made_from.items()


def keep_modelfiles(old: Path, new: Path) -> None:
    """Copy the Modelfiles of a fused folder into the one that will replace it: a person may have written into them."""
    for file in old.glob("Modelfile*"):
        shutil.copy2(file, new / file.name)


def proof_rows(tokenizer: Any, data: Path) -> list[chat.Encoded]:
    """The shortest validation rows: what a fused model is proved on."""
    rows = encode_rows(tokenizer, validation_rows(data), max_tokens=4096)
    if not rows:
        raise UserError(
            "no validation row fits into 4,096 tokens, and the proof needs one",
            where=data,
            remedy="convert more problems",
        )
    return sorted(rows, key=lambda row: len(row.input_ids))[:PROOF_ROWS]


def logits(model: Any, row: chat.Encoded) -> Any:
    """Logits at the supervised positions of a row: float32, (targets, vocabulary), on the CPU."""
    import torch

    with torch.inference_mode():
        every = model(input_ids=torch.tensor([row.input_ids], device=model.device)).logits[0, :-1]
    return every[torch.tensor(row.supervised[1:], device=every.device)].float().cpu()


def proof(before: list, after: list) -> dict:
    """How far the fused model is from base + adapter: largest logit difference, mean KL divergence, greedy agreement."""
    import torch

    left, right = torch.cat(before), torch.cat(after)
    divergence = torch.nn.functional.kl_div(
        right.log_softmax(-1), left.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    return {
        "rows": len(before),
        "positions": len(left),
        "largest_logit_difference": round((left - right).abs().max().item(), 5),
        "mean_kl_divergence": round(max(divergence.item(), 0.0), 8),
        "same_greedy_token": round((left.argmax(-1) == right.argmax(-1)).float().mean().item(), 5),
    }


def greedy(model: Any, row: chat.Encoded) -> list[int]:
    """The tokens that a model writes after the first prompt of a row, the likeliest each time."""
    import torch

    prompt = torch.tensor([row.input_ids[: row.supervised.index(True)]], device=model.device)
    for _ in range(PROOF_TOKENS):
        with torch.inference_mode():
            following = model(input_ids=prompt).logits[0, -1].argmax()
        prompt = torch.cat([prompt, following.view(1, 1)], 1)
    return prompt[0, -PROOF_TOKENS:].tolist()


def write_generation_settings(base: Path, fused: Path, tokenizer: Any) -> None:
    """The base model's `generation_config.json`, which now also stops at the end of the assistant's turn.

    As a file: transformers refuses to save settings that it finds at odds, and many models come with such.
    """
    file = base / "generation_config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    config = json.loads((fused / "config.json").read_text(encoding="utf-8"))
    ends = settings.get("eos_token_id", config.get("eos_token_id"))
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    settings["eos_token_id"] = list(dict.fromkeys([chat.end_of_turn(tokenizer), *ends]))
    write_json(fused / "generation_config.json", settings | {"pad_token_id": tokenizer.pad_token_id})


def training_figures(run: Path) -> dict:
    """The figures of the run, without its curves and the model's name, which may be a path of this machine."""
    file = run / "metrics.json"
    if not file.exists():  # a person may fuse a checkpoint of a run that goes on
        return json.loads((run / "run.json").read_text(encoding="utf-8"))
    left_out = ("losses", "eval_losses", "model_type")
    return {
        name: value
        for name, value in json.loads(file.read_text(encoding="utf-8")).items()
        if name not in left_out
    }
