"""The model card of a fused model."""

from __future__ import annotations

from scripts.lm.base_models import hub_id
from scripts.lm.prompts import PERSONA


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
