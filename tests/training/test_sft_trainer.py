"""The faster trainer has the losses of the plain recipe, with all its changes and with each one alone."""

import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from scripts.lm import chat
from scripts.training.order import TrainingRows
from scripts.training.pytorch_model import load_base
from scripts.training.sft_trainer import CHANGES
from tests.training.plain_loop import losses_from_scratch
from tests.training.recipes import LONG, PLAIN, RECIPE, encoded_rows, losses_of, make
from tools.training_variants import Load, fast_trainer, plain_trainer
from utils_ft import UserError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base(realistic_base: Path) -> Path:
    return realistic_base


@pytest.fixture(scope="module")
def data(colouring_data: Path) -> Path:
    return colouring_data


@pytest.fixture(scope="module")
def plain_losses(base: Path, data: Path) -> list[float]:
    losses = losses_from_scratch(base, encoded_rows(base, data), LONG)
    assert losses[-1] < losses[0] - 0.2  # the model learns something
    return losses


@pytest.mark.parametrize("batch_size", [1, 2])
def test_losses_are_those_of_a_plain_loop(
    base: Path, data: Path, tmp_path: Path, plain_losses: list[float], batch_size: int
):
    """However many rows go through the model together."""
    recipe = replace(LONG, batch_size=batch_size, gradient_accumulation_steps=4 // batch_size)
    trainer = make(base, data, recipe, tmp_path)
    trainer.train()
    assert losses_of(trainer) == pytest.approx(plain_losses, abs=1e-4)


def test_each_change_alone_keeps_the_losses(base: Path, data: Path, tmp_path: Path):
    short = replace(LONG, max_steps=2)
    expected = losses_from_scratch(base, encoded_rows(base, data), short)
    for change in (None, *CHANGES):
        trainer = make(
            base,
            data,
            short,
            tmp_path / str(change),
            checkpointing=change != "no_checkpointing",
            changes=[change] if change else [],
        )
        trainer.train()
        assert losses_of(trainer) == pytest.approx(expected, abs=1e-4), change


def test_losses_are_those_of_plain_trl(base: Path, data: Path, tmp_path: Path):
    """Plain TRL is SFTTrainer with the recipe's numbers and its own defaults."""
    recipe = replace(LONG, max_steps=8)
    tokenizer = chat.load_tokenizer(base)
    rows = TrainingRows.for_recipe(tokenizer, encoded_rows(base, data), recipe)
    ordered = tuple(row for step in range(recipe.max_steps) for row in rows.step(step))
    load = Load("smoke", base, base, ordered, recipe)
    losses = []
    for make_variant, options in ((plain_trainer, ()), (fast_trainer, (tuple(CHANGES),))):
        folder = str(tmp_path / make_variant.__name__)
        trainer = make_variant(load_base(base, False, torch.float32), tokenizer, load, folder, [], *options)
        trainer.args.save_strategy = "no"
        trainer.train()
        losses.append(losses_of(trainer))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3) and losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_backward_pass_ends_at_the_lowest_layer_with_an_adapter(
    base: Path, data: Path, tmp_path: Path, checkpointing: bool
):
    with warnings.catch_warnings(record=True) as caught:
        trainer = make(base, data, replace(RECIPE, max_steps=1), tmp_path, checkpointing=checkpointing)
        has_gradient = []
        for layer in trainer.model.get_base_model().model.layers:
            layer.register_forward_hook(lambda _, __, output: has_gradient.append(output.requires_grad))
        trainer.train()
    assert has_gradient[:4] == [False, False, True, True]  # the top two of four layers have adapters
    assert trainer.model.is_activation_checkpointing == checkpointing
    assert not [warning.message for warning in caught if "checkpointing" in str(warning.message)]


def test_gradient_checkpointing_keeps_the_losses_even_with_dropout(base: Path, data: Path, tmp_path: Path):
    """Layers that run a second time draw the same dropout masks."""
    recipe = replace(RECIPE, max_steps=4, dropout=0.5, learning_rate=1e-2)
    losses = []
    for checkpointing in (False, True):
        trainer = make(base, data, recipe, tmp_path / str(checkpointing), checkpointing=checkpointing)
        trainer.train()
        losses.append(losses_of(trainer))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_adapters_stay_in_float32_over_a_16_bit_base(base: Path, data: Path, tmp_path: Path):
    """Updates below the precision of bfloat16 are kept; the losses differ from float32 by rounding."""
    recipe = replace(LONG, max_steps=6)
    trainer = make(base, data, recipe, tmp_path, dtype=torch.bfloat16)
    trainer.train()
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    exact = make(base, data, recipe, tmp_path / "exact")
    exact.train()
    assert losses_of(trainer) == pytest.approx(losses_of(exact), rel=0.02)


def test_a_missing_experiment_tracker_is_named_with_the_remedy(base: Path, data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="nonsense.*\n.*tensorboard, wandb, mlflow"):
        make(base, data, PLAIN, tmp_path, report_to="nonsense")
    absent = next((name for name in ("wandb", "mlflow", "comet_ml", "clearml") if not find_spec(name)), None)
    if absent:
        with pytest.raises(UserError, match=f"pip install {absent}"):
            make(base, data, PLAIN, tmp_path, report_to=absent)


def test_rows_that_processes_cannot_share_evenly_are_refused(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="4 rows.*3 processes\n.*batch_size × gradient_accumulation_steps"):
        make(base, data, PLAIN, tmp_path)
