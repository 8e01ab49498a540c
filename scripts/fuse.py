"""Merge a chosen checkpoint into its base in bfloat16, save an ordinary model folder, and prove that it is exact.

    python -m scripts.fuse --model-type smollm --step best

A checkpoint trained over a 4-bit base is merged into the 16-bit one: merging into 4-bit weights loses a hundred times
more of the adapter. The proof (logits of base + adapter against the fused model, on real rows) stands in `fuse.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts import chat
from scripts.base_models import base_model, model_spec
from scripts.checkpoints import choose
from scripts.dataset import encode_rows, validation_rows
from scripts.device import compute_dtype, device
from scripts.recipe import profile as profile_named
from utils_ft import ADAPTERS, LOCAL_MODELS, UserError, command, digest, new_folder, show_path, write_json, write_text

PROOF_ROWS = 4


def fuse(model_type: str, step: int | str = "best", data: Path | None = None) -> Path:
    """Fuse the checkpoint at `step` (a number, `best` or `last`); the folder of the fused model.

    Says "already done" where the same checkpoint was fused before. The folder appears whole or not at all.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    name = model_spec(model_type).type
    run, target = ADAPTERS / f"{name}_pytorch", LOCAL_MODELS / f"ft_{name}_pytorch"
    checkpoint = choose(run, step)
    adapter = digest((checkpoint.path / "adapter_model.safetensors").read_bytes())
    if (target / "fuse.json").exists() and json.loads((target / "fuse.json").read_text())["adapter_sha256"] == adapter:
        print(f"already fused: step {checkpoint.step} is {show_path(target)}", flush=True)
        return target

    folder = base_model(model_type)
    tokenizer = chat.load_tokenizer(checkpoint.path)
    rows = proof_rows(tokenizer, data or profile_named().data)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype()).to(device()).eval()
    model = PeftModel.from_pretrained(base, checkpoint.path).eval()
    with torch.inference_mode():
        before = [logits(model, row) for row in rows]
    fused = model.merge_and_unload().to(torch.bfloat16)
    _end_with_turn(fused, tokenizer)
    with new_folder(target) as draft:
        fused.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        reloaded = AutoModelForCausalLM.from_pretrained(draft, dtype=compute_dtype()).to(device()).eval()
        exactness = proof(before, [logits(reloaded, row) for row in rows])
        record = {
            "base": model_spec(model_type).source, "checkpoint": checkpoint.step, "adapter_sha256": adapter,
            "proof": exactness, "training": training_figures(run),
        }
        write_json(draft / "fuse.json", record)
        write_text(draft / "README.md", _card(name, record))
    return target


def proof_rows(tokenizer: Any, data: Path) -> list[chat.Encoded]:
    """The shortest validation rows: what a fused model is proved on."""
    rows = encode_rows(tokenizer, validation_rows(data), max_tokens=4096)
    if not rows:
        raise UserError("no validation row fits into 4,096 tokens, and the proof needs one", where=data, remedy="convert more problems")
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
    divergence = torch.nn.functional.kl_div(right.log_softmax(-1), left.log_softmax(-1), log_target=True, reduction="batchmean")
    return {
        "rows": len(before), "positions": len(left),
        "largest_logit_difference": round((left - right).abs().max().item(), 5),
        "mean_kl_divergence": round(max(divergence.item(), 0.0), 8),
        "same_greedy_token": round((left.argmax(-1) == right.argmax(-1)).float().mean().item(), 5),
    }


def _end_with_turn(model: Any, tokenizer: Any) -> None:
    """Let generation stop at the end of the assistant's turn as well as where the base model stopped."""
    ends = model.generation_config.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    model.generation_config.eos_token_id = list(dict.fromkeys([chat.end_of_turn(tokenizer), *ends]))
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = True


def training_figures(run: Path) -> dict:
    """The figures of the run, without its curves."""
    file = run / "metrics.json"
    if not file.exists():  # a person may fuse a checkpoint of a run that goes on
        return json.loads((run / "run.json").read_text())
    return {name: value for name, value in json.loads(file.read_text()).items() if name not in ("losses", "eval_losses")}


def _card(name: str, record: dict) -> str:
    """The model card: what it is, from what, how exact."""
    proof, training = record["proof"], record["training"]
    recipe = ", ".join(f"{key} {value}" for key, value in training["recipe"].items())
    return f"""---
base_model: {record['base']}
library_name: transformers
tags: [answer-set-programming, clingo, lora]
---
# ft_{name}_pytorch

Writes Answer Set Programming step by step: one instruction, one clingo statement, and repairs it from the solver's
message. LoRA checkpoint {record['checkpoint']} merged into {record['base']} in bfloat16.

- Recipe: {recipe}
- Training data: SHA-256 `{training['data_sha256']}`
- Fused against base + adapter on {proof['positions']} target positions: largest logit difference
  {proof['largest_logit_difference']}, mean KL divergence {proof['mean_kl_divergence']}, same greedy token {proof['same_greedy_token']:.2%}
"""


def main(model_type: str | None = None, step: str = "best", profile: str | None = None, data: Path | None = None) -> None:
    """Fuse a checkpoint of the PyTorch engine into `local_models/ft_<type>_pytorch`."""
    chosen = profile_named(profile)
    if step not in ("best", "last") and not step.isdigit():
        raise UserError(f"{step!r} is no checkpoint", remedy="give a step, best or last")
    print(show_path(fuse(model_type or chosen.model_type, step, data or chosen.data)))


if __name__ == "__main__":
    command(main)()
