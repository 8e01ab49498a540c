"""Recipes refuse unknown and empty settings; a profile is found by name, environment and model."""

from dataclasses import replace

import pytest

from scripts.training.recipe import PROFILES, Recipe, load_profile
from utils_ft import UserError


def test_an_unknown_hyperparameter_is_refused_with_the_known_ones():
    assert Recipe().override(top_layers=30, seed=None) == replace(Recipe(), top_layers=30)
    with pytest.raises(UserError, match="'layers' is no hyperparameter\n.*top_layers"):
        Recipe().override(layers=3)


@pytest.mark.parametrize("nothing", [{"top_layers": 0}, {"max_steps": 0}])
def test_a_recipe_that_would_train_nothing_is_refused(nothing: dict):
    with pytest.raises(UserError, match="at least one training step and one layer"):
        Recipe().override(**nothing)


@pytest.mark.parametrize(
    ("name", "variable", "model_type", "expected"),
    [
        ("smoke", "full", "llama", "smoke"),
        (None, "full", "smollm", "full"),
        (None, "", "smollm", "demo"),
        (None, "", "Qwen/Qwen2.5-7B", "full"),
        (None, "", None, "demo"),
    ],
)
def test_a_profile_is_found_by_name_then_environment_then_model(
    monkeypatch: pytest.MonkeyPatch, name: str | None, variable: str, model_type: str | None, expected: str
):
    monkeypatch.setenv("FT_PROFILE", variable)
    assert load_profile(name, model_type) is PROFILES[expected]


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="unknown profile 'huge'\n.*smoke, demo"):
        load_profile("huge")
