"""All hyperparameters of a training run, and the profiles that set them.

Both engines read the same `Recipe`. A `Profile` adds the model, the amount of data and the data folder.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from scripts.data.settings import DEFAULT_PAIRS, ConversionSettings, PairSettings
from utils_ft import DATA, UserError

PROJECTIONS = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("qkv_proj", "gate_up_proj"),  # Phi and GLM have several of them in one matrix
)
"""The matrices of a layer that get a LoRA adapter."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of LoRA (Hu et al., 2021) and QLoRA (Dettmers et al., 2023)."""

    rank: int = 16
    """The rank of the LoRA matrices."""
    alpha: int = 160
    """The output of an adapter is multiplied by alpha / rank, here 10."""
    dropout: float = 0.05
    """The share of an adapter's inputs that dropout sets to zero."""
    top_layers: int = 16
    """How many layers get adapters, counted from the top. A model with fewer layers gets them on all."""
    max_steps: int = 550
    """Training steps. With four rows each, 550 are two epochs of about 1,000 rows."""
    batch_size: int = 1
    """Rows in one forward pass."""
    gradient_accumulation_steps: int = 4
    """Forward passes in one training step."""
    max_tokens: int = 4096
    """The longest row, in tokens. A longer one loses whole turns at its end."""
    learning_rate: float = 1e-4
    """The highest learning rate, at the end of the warm-up.

    After it the rate falls to zero along a cosine.
    """
    warmup_ratio: float = 0.03
    """The share of the training steps in which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""
    max_grad_norm: float = 1.0
    """Larger gradients are scaled down to this norm."""
    neftune_alpha: float = 5.0
    """The size of the noise on the embeddings (NEFTune, Jain et al., 2023). 0 turns it off."""
    qlora: bool = True
    """Whether the base model is held in 4 bits (NF4) while the adapters are trained."""
    save_every: int = 50
    """Training steps between two checkpoints. The validation loss is measured at each checkpoint."""
    keep_checkpoints: int = 12
    """Checkpoints that stay on the disk: the newest ones, and always the best."""
    seed: int = 0
    """Seeds the adapters, the order of the rows, dropout and noise."""

    @property
    def scale(self) -> float:
        """The factor of an adapter's output, alpha / rank. mlx-lm calls it `scale`."""
        return self.alpha / self.rank

    @property
    def rows_per_step(self) -> int:
        """Rows in one training step."""
        return self.batch_size * self.gradient_accumulation_steps

    @property
    def warmup_steps(self) -> int:
        """Training steps in which the learning rate rises."""
        return round(self.warmup_ratio * self.max_steps)

    def override(self, **changes: object) -> Recipe:
        """A copy with `changes`. A value of None keeps the recipe's own.

        Raises UserError for a name that is no hyperparameter, and for a recipe that would train nothing.
        """
        known = {field.name for field in fields(self)}
        if unknown := sorted(set(changes) - known):
            raise UserError(
                f"{unknown[0]!r} is no hyperparameter", remedy=f"one of: {', '.join(sorted(known))}"
            )
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        if min(changed.max_steps, changed.top_layers) < 1:
            raise UserError(
                "a recipe has at least one training step and one layer with an adapter",
                remedy="give --max-steps and --top-layers above 0",
            )
        if not 0 < changed.learning_rate < math.inf:  # nan is in no range
            raise UserError(
                f"the learning rate {changed.learning_rate} is no number above 0",
                remedy="give one such as --learning-rate 1e-4",
            )
        if not 0 <= changed.seed < 2**32:
            raise UserError(f"the seed {changed.seed} is not from 0 to 4,294,967,295", remedy="give --seed 0")
        return changed


@dataclass(frozen=True)
class PreferenceRecipe:
    """The hyperparameters of learning from preference pairs (DPO, Rafailov et al., 2023)."""

    beta: float = 0.1
    """How much a difference from the first checkpoint costs. A larger beta keeps the model closer to it."""
    sft_weight: float = 0.0
    """The weight of the ordinary loss on the right answers, which is added to that of the pairs."""
    pairs_per_step: int = 16
    """Pairs in one training step."""
    max_steps: int | None = None
    """Training steps. None: as many as see each pair once."""
    learning_rate: float | None = None
    """The highest learning rate. None: a twentieth of the recipe's."""

    def override(self, **changes: object) -> PreferenceRecipe:
        """A copy with `changes`. A value of None keeps the own one.

        Raises UserError for values with which nothing can be trained.
        """
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        if changed.beta <= 0 or changed.sft_weight < 0:
            raise UserError("--beta must be above 0, and --sft-weight not below 0", remedy="write --beta 0.1")
        if min(changed.pairs_per_step, changed.max_steps or 1) < 1:
            raise UserError(
                "a training has at least one step, and a step at least one pair",
                remedy="give --max-steps and --pairs-per-step above 0",
            )
        return changed

    def recipe(self, recipe: Recipe, pairs: int) -> Recipe:
        """The recipe of a training on a number of `pairs`, from that of the first checkpoint.

        It has neither dropout nor noise, so that the log-probabilities of two models can be compared.
        """
        steps = self.max_steps or math.ceil(pairs / self.pairs_per_step)
        return replace(
            recipe,
            max_steps=steps,
            batch_size=1,
            gradient_accumulation_steps=self.pairs_per_step,
            learning_rate=self.learning_rate or recipe.learning_rate / 20,
            dropout=0.0,
            neftune_alpha=0.0,
            save_every=min(recipe.save_every, max(2, math.ceil(steps / 4))),
        )


@dataclass(frozen=True)
class Profile:
    """A recipe with a model and an amount of data."""

    name: str
    model_type: str
    """The base model, as in `lm.base_models.MODELS`."""
    recipe: Recipe
    data: Path = DATA
    """The folder of the JSONL files."""
    conversations: int = 10
    """Conversations made from one training problem, at most."""
    repairs: int = 8
    """Repair rows made from one problem, at most."""
    vocabularies: int = 0
    """Predicate renamings of one training problem, at most. Their random words gained nothing."""
    generated: int = 0
    """Generated problems that the notebooks add to the training problems."""
    problems: int | None = None
    """How many problems are read. None: all."""
    test_problems: int | None = None
    """How many test problems are scored. None: all."""
    provider: str = "shipped"
    """Where paraphrases come from. The small profiles never spend money, even with a key."""
    max_new_tokens: int = 160
    """The longest answer to one step, in tokens."""
    pairs: PairSettings = DEFAULT_PAIRS
    """How preference pairs are made."""
    preferences: PreferenceRecipe = field(default_factory=PreferenceRecipe)
    """How a model learns from them."""

    def conversion(self, **changes: object) -> ConversionSettings:
        """The conversion settings of this profile, with `changes`. None keeps the profile's value."""
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
            problems=12,
            test_problems=1,
            max_new_tokens=12,
            # Random weights write no right answer.
            pairs=PairSettings(samples=2, gold=True, max_new_tokens=12),
            preferences=PreferenceRecipe(pairs_per_step=4, max_steps=4, learning_rate=1e-3),
        ),
        # Adapters on all 30 layers of SmolLM2: in the same time its loss falls lower than with the top 16
        # (docs/results.md).
        Profile(
            "demo",
            "smollm",
            Recipe(max_steps=60, save_every=30, learning_rate=1e-3, top_layers=30),
            test_problems=10,
        ),
        # The recipe for small models on a CPU: adapters on all layers, no NF4, and generated problems, as
        # structure is what small models lack.
        Profile(
            "small",
            "qwen-coder",
            Recipe(max_steps=400, learning_rate=5e-4, top_layers=24, qlora=False),
            conversations=3,
            repairs=1,
            generated=720,
        ),
        Profile("full", "llama", Recipe(), provider="auto"),
    )
}


def load_profile(name: str | None = None, model_type: str | None = None) -> Profile:
    """Find the profile for what a person gave.

    The first of these that is given decides: `name`; the environment variable `FT_PROFILE`; `model_type`. A
    model type gets the profile that names it, and `full` if no profile does. With none of the three it is
    `demo`.

    Raises UserError for an unknown profile.
    """
    chosen = name or os.environ.get("FT_PROFILE") or _profile_for_model(model_type)
    if chosen not in PROFILES:
        raise UserError(f"unknown profile {chosen!r}", remedy=f"one of: {', '.join(PROFILES)}")
    return PROFILES[chosen]


def _profile_for_model(model_type: str | None) -> str:
    """The name of the profile for a model type, or `demo` without one."""
    if not model_type:
        return "demo"
    for profile in PROFILES.values():
        if profile.model_type == model_type:
            return profile.name
    return "full"
