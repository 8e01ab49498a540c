"""Both engines take the same training steps, and read each other's adapters."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("mlx_lm", reason="MLX exists for Apple silicon and Linux only")

import torch
from mlx.utils import tree_flatten
from peft import PeftModel, get_peft_model_state_dict

from scripts.lm import chat
from scripts.training.adapter_formats import to_mlx, to_peft
from scripts.training.mlx_engine import MlxSettings, train
from scripts.training.mlx_model import add_adapter, load_adapter, load_base, save_arrays
from scripts.training.mlx_step import stepper
from scripts.training.order import batches
from scripts.training.run import RunOptions
from tests.examples import colouring_row
from tests.training.mlx_models import mlx_logits, with_adapter
from tests.training.plain_loop import losses_from_scratch, train_plainly
from tests.training.recipes import LONG, encoded_rows, load_model, logits, make

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base(realistic_base: Path) -> Path:
    return realistic_base


@pytest.fixture(scope="module")
def data(colouring_data: Path) -> Path:
    return colouring_data


def with_loaded_adapter(base: Path, file: Path):
    """The float32 base model on MLX with the adapter in `file`."""
    model = load_base(base, "float32")
    add_adapter(model, *load_adapter(file))
    return model


def test_mlx_takes_the_steps_of_a_plain_loop_from_pytorchs_start(base: Path, data: Path, tmp_path: Path):
    rows = encoded_rows(base, data)
    make(base, data, LONG, tmp_path).model.save_pretrained(tmp_path / "start")
    start = to_mlx(tmp_path / "start", tmp_path / "mlx", base)
    model = with_loaded_adapter(base, start / "adapters.safetensors")
    model.train()
    order = batches(len(rows), LONG.rows_per_step, LONG.max_steps, LONG.seed)
    with stepper(model, LONG, checkpointing=False) as trainer:
        losses = [trainer.step([rows[i] for i in step], done) for done, step in enumerate(order)]
    assert losses == pytest.approx(losses_from_scratch(base, rows, LONG), rel=1e-3) and len(losses) == 20


def test_twenty_steps_of_both_engines_agree(base: Path, data: Path, tmp_path: Path):
    """From the same start, in float32: the losses, and what the two adapters do to the logits."""
    recipe = replace(LONG, save_every=10)
    model, config = with_adapter(base, recipe)
    start = tmp_path / "start"
    start.mkdir()
    save_arrays(start / "adapters.safetensors", dict(tree_flatten(model.trainable_parameters())))
    (start / "adapter_config.json").write_text(json.dumps(config))
    run, settings = tmp_path / "run", MlxSettings(dtype="float32")
    metrics = train(str(base), recipe, data, settings=settings, options=RunOptions(folder=run))

    peft = PeftModel.from_pretrained(
        load_model(base), to_peft(start, tmp_path / "start_peft"), is_trainable=True
    ).train()
    losses = train_plainly(peft, encoded_rows(base, data), recipe)
    assert [loss for _, loss in metrics["losses"]] == pytest.approx(losses, rel=1e-3)  # measured: 2e-5
    assert losses[-1] < losses[0] - 0.2  # the model learns something

    ids = chat.encode(chat.load_tokenizer(base), colouring_row(21)["messages"]).input_ids
    before, by_torch = logits(load_model(base), ids), logits(peft, ids)
    by_mlx = mlx_logits(with_loaded_adapter(base, run / "0000020_adapters.safetensors"), ids)
    effect = (by_torch - before).abs().max()
    assert effect > 0.5 and (by_mlx - by_torch).abs().max() < 0.02 * effect

    # Each library computes the same from the other's adapter.
    converted = to_peft(run / "0000020_adapters.safetensors", tmp_path / "as_peft")
    assert torch.allclose(
        logits(PeftModel.from_pretrained(load_model(base), converted), ids), by_mlx, atol=1e-4
    )
    peft.save_pretrained(tmp_path / "by_torch")
    back = to_mlx(tmp_path / "by_torch", tmp_path / "as_mlx", base)
    assert torch.allclose(
        mlx_logits(with_loaded_adapter(base, back / "adapters.safetensors"), ids), by_torch, atol=1e-4
    )
    keys = config["lora_parameters"]["keys"]
    assert len(get_peft_model_state_dict(peft)) == 2 * len(keys) * recipe.top_layers
