"""The model card of a fused model."""

from __future__ import annotations

from typing import Any

from huggingface_hub import ModelCardData

from scripts.lm.base_models import hub_id
from scripts.lm.prompts import PERSONA
from utils_ft import VERSION

_TEXT = """---
{head}
---
# {name}

Writes Answer Set Programming for clingo step by step: one instruction in, its code out. Given wrong code
and the solver's message, it answers with the corrected code. The system message is this, then the
description of the problem:

> {persona}

{origin} merged into {base} in {dtype}. The licence of the base model holds for these
weights too.

{facts}"""


def card(name: str, record: dict[str, Any], tags: tuple[str, ...] = ()) -> str:
    """The model card of a fused folder: what the model is, what it was made from, and how exact the merge is.

    Arguments:
        name: The name of the folder.
        record: Its `fuse.json`.
        tags: Tags beside the usual ones.

    The hub accepts only one of its own ids as `base_model`, so that entry is left out for other base models.
    """
    head = ModelCardData(
        base_model=hub_id(record["base"]),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["answer-set-programming", "clingo", "lora", *tags],
    )
    step = record["checkpoint"]
    return _TEXT.format(
        head=head.to_yaml(),
        name=name,
        persona=PERSONA,
        origin="A LoRA adapter trained elsewhere" if step is None else f"LoRA checkpoint {step}",
        base=record["base"],
        dtype=record.get("dtype", "bfloat16"),
        facts="".join(f"- {fact}\n" for fact in [_exactness(record["exactness"]), *_training(record)]),
    )


def _exactness(figures: dict[str, Any]) -> str:
    """How far the fused model is from base + adapter."""
    text = (
        f"Fused against base + adapter on {figures['positions']} target positions: "
        f"largest logit difference {figures['largest_logit_difference']}, "
        f"mean KL divergence {figures['mean_kl_divergence']}, "
        f"same greedy token {figures['same_greedy_token']:.2%}"
    )
    if "same_greedy_output" in figures:
        text += f", same greedy output after {figures['same_greedy_output']:.0%} of {figures['rows']} prompts"
    return text


def _training(record: dict[str, Any]) -> list[str]:
    """The recipe, the data and the figures of the training, where the record has them."""
    training = record.get("training")
    if not training:
        return []
    shown = ("rows", "tokens", "supervised_tokens", "train_seconds", "tokens_per_second")
    figures = {key.replace("_", " "): training[key] for key in shown if key in training}
    facts = [
        f"Recipe: {_listed(training['recipe'])}",
        f"Training data: SHA-256 `{training['data_sha256']}`",
        f"Training: {_listed(figures) or 'not finished when this checkpoint was fused'}",
    ]
    if versions := training.get("versions"):
        facts.append(f"Versions: this project {VERSION}, {_listed(versions)}")
    return facts


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
