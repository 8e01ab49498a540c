"""Training on preference pairs: the loss is that of DPO and falls, a run resumes, and its folder is like any
other.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from scripts.convert_adapter import main as convert
from scripts.data.pairs import Pair
from scripts.export.fuse_pytorch import fuse
from scripts.export.fusing import Folders
from scripts.inference.generator import load_generator
from scripts.lm import chat, prompts
from scripts.train_preferences import main
from scripts.training import preferences
from scripts.training.checkpoints import checkpoints
from scripts.training.log import read_log
from scripts.training.preferences import PreferenceRun, Start, describe, encode_pairs, hold_out
from scripts.training.recipe import PreferenceRecipe
from scripts.training.run import RunOptions
from tests.examples import colouring_row
from tests.training.recipes import PLAIN, load_model, logits
from utils_ft import BENCHMARKS, ROOT, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

DPO = PreferenceRecipe(beta=0.5, pairs_per_step=2, max_steps=8, learning_rate=1e-2)


def pair(number: int) -> Pair:
    """A right and a wrong answer to the first step of map `number`."""
    *prompt, right = colouring_row(number, steps=1)["messages"]
    wrong = prompts.answer(f"colour({number}, C) :- hue(C")
    meta = {"problem": f"map_{number}", "family": "graphs"}
    return {"prompt": prompt, "chosen": [right], "rejected": [wrong], "meta": meta}


PAIRS = [pair(number) for number in range(12)]


def run_in(folder: Path, base: Path, start: Path, recipe: PreferenceRecipe = DPO) -> PreferenceRun:
    """The run on PAIRS from a checkpoint."""
    return PreferenceRun.of(Start.of(str(base), start), PLAIN, recipe, PAIRS, RunOptions(folder=folder))


@pytest.fixture(scope="module")
def start(pytorch_run: Path) -> Path:
    """The checkpoint that the runs continue from."""
    return pytorch_run / "checkpoint-12"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, realistic_base: Path, start: Path) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("preferences") / "run"
    preferences.train_preferences(run_in(folder, realistic_base, start))
    return folder


def adapter_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "adapter_model.safetensors")


def test_pairs_are_no_longer_than_the_context_of_the_model(
    tmp_path: Path, realistic_base: Path, start: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    config = preferences.load_config(realistic_base)
    config.max_position_embeddings = 400
    monkeypatch.setattr(preferences, "load_config", lambda _: config)
    run = run_in(tmp_path / "run", realistic_base, start)
    assert run.recipe.max_tokens == 400 and "at most 400 tokens" in capsys.readouterr().out


def test_the_loss_falls_and_the_adapter_changes(trained: Path, start: Path):
    metrics = json.loads((trained / "metrics.json").read_text())
    losses = [loss for _, loss in metrics["losses"]]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4), "at first both models are the same"
    assert losses[-1] < 0.5 * losses[0]
    assert metrics["accuracies"][-1] == [8, 1.0] and metrics["margins"][-1][1] > 0
    assert metrics["eval_losses"][-1][1] < math.log(2) and metrics["eval_accuracies"][-1][1] == 1.0
    before, after = adapter_of(start), adapter_of(trained / "checkpoint-8")
    assert before.keys() == after.keys(), "the same matrices, and no copy of the first checkpoint"
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert not (trained / "checkpoint-8" / "ref").exists()
    assert [row["step"] for row in read_log(trained)] == list(range(1, 9))
    assert metrics["preferences"]["beta"] == 0.5 and metrics["recipe"]["rank"] == 4


def test_the_loss_is_that_of_the_paper(trained: Path, realistic_base: Path, start: Path):
    """-log sigmoid(beta * difference of log-ratios), computed with PEFT and transformers alone."""
    tokenizer = chat.load_tokenizer(start)
    _, valid = hold_out(PAIRS)
    margins = [0.0] * len(valid)
    for checkpoint, sign in ((trained / "checkpoint-8", 1), (start, -1)):
        model = PeftModel.from_pretrained(load_model(realistic_base), str(checkpoint))
        for number, one in enumerate(encode_pairs(tokenizer, valid, PLAIN.max_tokens)):
            for answer, side in ((one.chosen, 1), (one.rejected, -1)):
                found = logits(model, [*one.prompt, *answer]).log_softmax(-1)[len(one.prompt) - 1 : -1]
                margins[number] += sign * side * found[range(len(answer)), list(answer)].sum().item()
    losses = [-math.log(1 / (1 + math.exp(-DPO.beta * margin))) for margin in margins]
    measured = json.loads((trained / "metrics.json").read_text())["eval_losses"][-1]
    assert valid and measured == [8, pytest.approx(sum(losses) / len(losses), rel=0.02)]


def test_the_tokens_are_those_of_inference_and_end_with_the_turn(start: Path):
    tokenizer = chat.load_tokenizer(start)
    [one] = encode_pairs(tokenizer, PAIRS[:1], 512)
    assert list(one.prompt) == chat.encode_prompt(tokenizer, PAIRS[0]["prompt"])
    for answer, side in ((one.chosen, "chosen"), (one.rejected, "rejected")):
        assert answer[-1] == chat.end_of_turn(tokenizer)
        assert tokenizer.decode(answer[:-1]) == PAIRS[0][side][0]["content"]
    assert len(one.input_ids) == 2 * len(one.prompt) + len(one.chosen) + len(one.rejected)
    with pytest.raises(UserError, match="fits into 40 tokens"):
        encode_pairs(tokenizer, PAIRS, 40)


def test_fuse_evaluate_and_convert_take_the_run(
    trained: Path, realistic_base: Path, colouring_data: Path, tmp_path: Path
):
    target = fuse(str(realistic_base), "last", colouring_data, folders=Folders(trained, tmp_path / "fused"))
    record = json.loads((target / "fuse.json").read_text())
    assert record["exactness"]["mean_kl_divergence"] < 1e-2 and record["checkpoint"] == 8
    assert record["training"]["start_sha256"] and "margins" not in record["training"]
    generator = load_generator(realistic_base, trained / "checkpoint-8", max_new_tokens=4)
    assert len(generator.generate([PAIRS[0]["prompt"]])) == 1
    convert(trained / "checkpoint-8", tmp_path / "mlx")
    assert (tmp_path / "mlx" / "adapters.safetensors").exists()


def test_a_killed_run_ends_like_an_uninterrupted_one(
    trained: Path, realistic_base: Path, start: Path, tmp_path: Path, capsys
):
    code = (
        "import os, sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from scripts.training.preferences import train_preferences\n"
        "from tests.training.test_preferences import run_in\n"
        "def kill(log):\n"
        "    if log[-1]['step'] == 5: os.kill(os.getpid(), 9)\n"
        "train_preferences(run_in(*map(Path, sys.argv[1:])), on_log=kill)\n"
    )
    folder = tmp_path / "run"
    words = [sys.executable, "-c", code, folder, realistic_base, start]
    assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == -9
    assert [each.step for each in checkpoints(folder)] == [2, 4]
    run = run_in(folder, realistic_base, start)
    metrics = preferences.train_preferences(run)
    assert "from step 4" in capsys.readouterr().out
    whole = json.loads((trained / "metrics.json").read_text())
    for name in ("losses", "eval_losses", "accuracies", "margins"):
        assert metrics[name] == whole[name]
    resumed, expected = adapter_of(folder / "checkpoint-8"), adapter_of(trained / "checkpoint-8")
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    assert preferences.train_preferences(run) == metrics
    assert "already done" in capsys.readouterr().out


def test_the_loss_on_right_answers_can_be_added(realistic_base: Path, start: Path, tmp_path: Path):
    recipe = replace(DPO, sft_weight=0.5, max_steps=1)
    metrics = preferences.train_preferences(run_in(tmp_path / "run", realistic_base, start, recipe))
    assert metrics["losses"][0][1] > math.log(2) + 0.1


def test_a_plan_says_what_the_training_needs(realistic_base: Path, start: Path, tmp_path: Path):
    text = describe(run_in(tmp_path / "run", realistic_base, start))
    assert "11 for training, 1 for the validation loss" in text and "8 steps of 2 pairs" in text
    assert not (tmp_path / "run").exists()


def test_the_first_checkpoint_is_an_adapter_of_this_base(
    pytorch_run: Path, realistic_base: Path, smoke: Path, start: Path, tmp_path: Path
):
    best = Start.of(str(realistic_base), pytorch_run).folder
    assert best.parent == pytorch_run and best.name.startswith("checkpoint-")
    with pytest.raises(UserError, match="trained over another base"):
        Start.of(str(smoke), start)
    with pytest.raises(UserError, match="no such checkpoint.*\n.*--start"):
        Start.of(str(realistic_base), tmp_path / "nowhere")
    with pytest.raises(UserError, match="no complete checkpoint"):
        Start.of(str(realistic_base), tmp_path)
    with pytest.raises(UserError, match="would replace the one that it continues"):
        run_in(pytorch_run, realistic_base, start)


def test_the_command_goes_from_answers_to_a_run_and_does_nothing_twice(
    realistic_base: Path, pytorch_run: Path, tmp_path: Path, capsys
):
    folder = tmp_path / "mine" / "family"
    shutil.copytree(BENCHMARKS / "graphs" / "cave_lamps", folder / "lamps")
    (folder.parent / "split.json").write_text("{}")

    def run(**options: bool) -> str:
        given = {"model_type": str(realistic_base), "start": pytorch_run, "benchmarks": folder.parent}
        main("smoke", **given, max_steps=2, data=tmp_path / "pairs", run=tmp_path / "run", **options)
        return capsys.readouterr().out

    assert "not made yet" in run(dry_run=True) and not (tmp_path / "pairs").exists()
    first = run()
    assert "answer: wrong" in first and (tmp_path / "run" / "checkpoint-2").is_dir()
    assert "2 steps of 4 pairs" in run(dry_run=True)
    second = run()
    assert "already made" in second and "already done" in second
    assert not list(tmp_path.glob("run.*"))


def test_pairs_of_every_tenth_problem_are_held_out_whole():
    train, valid = hold_out([*PAIRS, *PAIRS])
    assert len(valid) == 2 and valid[0]["meta"] == valid[1]["meta"]
    assert len(train) == 22 and valid[0] not in train
    assert hold_out(PAIRS[:9]) == (PAIRS[:9], [])
