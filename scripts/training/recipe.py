"""All hyperparameters in one place, and the three profiles that vary them.

Both engines read the same `Recipe`: PyTorch as it stands, MLX through `scale` and micro-batches.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

from scripts.data.settings import ConversionSettings
from utils_ft import DATA, UserError

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    """LoRA (Hu et al., 2021) on the top layers, over a base in NF4 where `qlora` is on (Dettmers et al., 2023).

    One iteration is one optimiser step over `batch_size` × `accumulation` rows.
    """

    rank: int = 16
    alpha: int = 160  # adapters count alpha / rank = 10 times
    dropout: float = 0.05
    top_layers: int = 16
    max_steps: int = 550  # of four rows each: two epochs of the thousand rows that the recipe was made for
    batch_size: int = 1
    gradient_accumulation_steps: int = 4
    max_tokens: int = 4096
    learning_rate: float = 1e-4
    warmup_ratio: float = 0.03  # share of the iterations; cosine to zero after it
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    neftune_alpha: float = 5.0  # noise on the embeddings (Jain et al., 2023); 0 is off
    qlora: bool = True
    save_every: int = 50
    keep_checkpoints: int = 12  # checkpoints kept on disk
    seed: int = 0

    @property
    def scale(self) -> float:
        """The factor of the adapter, alpha / rank: what mlx-lm calls `scale`."""
        return self.alpha / self.rank

    @property
    def rows_per_step(self) -> int:
        return self.batch_size * self.gradient_accumulation_steps

    @property
    def warmup_steps(self) -> int:
        return round(self.warmup_ratio * self.max_steps)

    def override(self, **changes: object) -> Recipe:
        """A copy with `changes`; None keeps a value. UserError for a name that is no hyperparameter, or for no training at all."""
        known = {f.name for f in fields(self)}
        if unknown := sorted(set(changes) - known):
            raise UserError(
                f"{unknown[0]!r} is no hyperparameter", remedy=f"one of: {', '.join(sorted(known))}"
            )
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        if min(changed.max_steps, changed.top_layers) < 1:
            raise UserError(
                "a recipe has at least one iteration and one layer with an adapter",
                remedy="give --max-steps and --top-layers above 0",
            )
        return changed


@dataclass(frozen=True)
class Profile:
    """What a run is for: which model, how much data, how long, and where the data lies."""

    name: str
    model_type: str
    recipe: Recipe
    data: Path = DATA
    conversations: int = 10  # a problem, at the most
    repairs: int = 8  # a problem, at the most
    vocabularies: int = 9  # a problem is retold in, its predicates renamed everywhere
    problems: int | None = None  # that are read, None for all
    test_problems: int | None = None  # that are scored, None for all
    provider: str = "shipped"  # of paraphrases; the small profiles never spend money, even with a key
    max_new_tokens: int = 160  # a step may be answered with, `writer.MAX_NEW_TOKENS`

    def conversion(self, **changes: object) -> ConversionSettings:
        """The conversion settings of this profile, with `changes`. A change to None keeps the profile's value."""
        settings = ConversionSettings(self.conversations, self.repairs, self.vocabularies)
        return settings.override(**changes)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "smoke",
            "smoke",
            Recipe(
                max_steps=4, save_every=2, top_layers=2, learning_rate=1e-3, max_tokens=2048, rank=4, alpha=40
            ),
            data=DATA / "smoke",
            conversations=1,
            repairs=1,
            vocabularies=0,
            problems=12,
            test_problems=1,
            max_new_tokens=12,
        ),
        # Adapters on all 30 layers of SmolLM2: in the same time its loss falls lower than with the top 16 (docs/results.md).
        Profile(
            "demo",
            "smollm",
            Recipe(max_steps=60, save_every=30, learning_rate=1e-3, top_layers=30),
            test_problems=10,
        ),
        Profile("full", "llama", Recipe(), provider="auto"),
    )
}


def load_profile(name: str | None = None, model_type: str | None = None) -> Profile:
    """The profile `name`, or the one that `FT_PROFILE` names, or the one made for `model_type`, `full` if none is; or `demo`."""
    made_for = {profile.model_type: profile.name for profile in PROFILES.values()}
    name = (
        name or os.environ.get("FT_PROFILE") or (made_for.get(model_type, "full") if model_type else "demo")
    )
    if name not in PROFILES:
        raise UserError(f"unknown profile {name!r}", remedy=f"one of: {', '.join(PROFILES)}")
    return PROFILES[name]
