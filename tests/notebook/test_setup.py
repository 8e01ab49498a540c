"""The setup of a notebook: its parameters win, None takes the profile's value."""

import pytest

import utils_ft
from scripts.notebook import setup
from utils_ft import ADAPTERS, UserError


def test_the_setup_of_a_training_notebook_follows_profile_and_parameters():
    run = setup.training("mlx", "smoke", valid_problems=2, max_steps=3, learning_rate=None)
    assert run.folder == ADAPTERS / "smoke_mlx" and run.model_type == "smoke"
    assert (run.recipe.max_steps, run.recipe.learning_rate) == (3, run.profile.recipe.learning_rate)
    assert len(run.valid) == 2 and len(run.tests) == run.profile.test_problems
    assert (run.model / "config.json").exists()


def test_an_unknown_profile_or_hyperparameter_is_an_error():
    with pytest.raises(UserError, match="profile"):
        setup.training("pytorch", "tiny")
    with pytest.raises(UserError, match="steps"):
        setup.training("pytorch", "smoke", steps=3)


def test_the_setup_of_a_data_notebook_knows_the_training_problems_and_the_paraphrases():
    data = setup.data("smoke")
    collection = data.collection
    assert {collection.splits[problem.id] for problem in data.training_problems} == {"train"}
    assert len(data.training_problems) < len(collection.problems)
    assert data.generated_paraphrases("shipped") is None
    assert (data.tokenizer / "tokenizer_config.json").exists()


def test_generated_problems_are_made_once_and_only_where_they_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(utils_ft, "DATA", tmp_path)
    data = setup.data("smoke")
    assert data.generated_problems() is None and data.generated_problems(0) is None
    folder = data.generated_problems(1)
    [encoding] = folder.glob("generated_*/p*/encoding.lp")
    written = encoding.stat().st_mtime_ns
    assert data.generated_problems(1) == folder and encoding.stat().st_mtime_ns == written
