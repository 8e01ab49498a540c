"""Merge a chosen checkpoint into its base in bfloat16, save an ordinary model folder, and measure how exact it is.

    python -m scripts.fuse --model-type smollm --step best

A checkpoint trained over a 4-bit base is merged into the 16-bit one: merging into 4-bit weights loses a hundred times
more of the adapter. The measurement (logits of base + adapter against the fused model, on real rows) stands in `fuse.json`.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path

from scripts.export.fusing import (
    greedy,
    is_fused,
    keep_modelfiles,
    logits,
    origin,
    proof,
    proof_rows,
    training_figures,
    write_generation_settings,
)
from scripts.export.model_card import card
from scripts.lm import chat
from scripts.lm.base_models import base_model, model_spec, rope_settings
from scripts.lm.device import compute_dtype, device, explain_out_of_memory, free_memory, silence_peft_warning
from scripts.training.checkpoints import choose
from scripts.training.recipe import load_profile
from utils_ft import (
    ADAPTERS,
    LOCAL_MODELS,
    new_folder,
    show_path,
    write_json,
    write_text,
)

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


# --- the model card ---------------------------------------------------------------------------------------------
