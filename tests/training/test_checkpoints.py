"""Which checkpoints are complete, which are kept, how they are scored, and which one is chosen."""

from pathlib import Path

import pytest

from scripts.training.checkpoints import (
    CheckpointScore,
    best,
    check_step,
    checkpoints,
    choose,
    mark_complete,
    read_scores,
    rotate,
    run_identity,
    table,
    write_score,
)
from scripts.training.log import COLUMNS, write_log
from utils_ft import UserError, write_json


def run_folder(run: Path, eval_losses: dict[int, float], scores: dict[int, dict] | None = None) -> Path:
    """A run folder with a complete checkpoint for each step, as training and scoring leave it."""
    for step in eval_losses:
        (run / f"checkpoint-{step}").mkdir(parents=True)
        (run / f"checkpoint-{step}" / "adapter_model.safetensors").write_bytes(bytes(10))
        mark_complete(run / f"checkpoint-{step}")
    empty = dict.fromkeys(COLUMNS)
    write_log(run, [empty | {"step": step, "eval_loss": loss} for step, loss in eval_losses.items()])
    for step, rates in (scores or {}).items():
        write_score(run, CheckpointScore(step, rates, settings="the same"))
    return run


FIVE = {1: 0.9, 2: 0.3, 3: 0.5, 4: 0.6, 5: 0.7}
THREE = {50: 0.9, 100: 0.3, 150: 0.5}


def test_the_best_checkpoints_are_never_deleted(tmp_path: Path):
    by_loss = run_folder(tmp_path / "loss", FIVE)
    rotate(by_loss, keep=2)
    assert [c.step for c in checkpoints(by_loss)] == [2, 4, 5]
    by_score = run_folder(tmp_path / "score", FIVE, {1: {"equivalent": 0.8}, 3: {"equivalent": 0.2}})
    rotate(by_score, keep=1)
    assert [c.step for c in checkpoints(by_score)] == [1, 2, 5]  # by score, by loss, the last
    assert best(checkpoints(by_score)).step == 1


def test_the_table_recommends_a_checkpoint_and_shows_the_interval_of_its_score(tmp_path: Path):
    scores = {
        100: {"equivalent": 0.25, "equivalent_ci": [0.125, 0.5]},
        150: {"equivalent": 0.5, "equivalent_ci": [0.25, 0.75]},
    }
    scored = table(run_folder(tmp_path / "run", THREE, scores))
    assert list(scored["recommended"]) == ["", "", "←"]
    assert list(scored["step equivalence"].dropna()) == [0.25, 0.5]
    assert list(scored["low"].dropna()) == [0.125, 0.25] and list(scored["high"].dropna()) == [0.5, 0.75]
    unscored = table(run_folder(tmp_path / "unscored", {50: 0.9, 100: 0.3}))
    assert list(unscored["recommended"]) == ["", "←"]
    assert unscored[["low", "high"]].isna().all(axis=None)


def test_only_scores_with_the_same_settings_are_compared(tmp_path: Path):
    run = run_folder(tmp_path / "run", THREE, {100: {"equivalent": 0.25}})
    write_score(run, CheckpointScore(150, {"equivalent": 0.5}, settings="other problems"))
    assert list(table(run)["step equivalence"].dropna()) == [0.5]
    write_score(run, CheckpointScore(50, {"equivalent": 0.75}, settings="other problems"))
    assert [score.step for score in read_scores(run)] == [50, 150]


def test_a_checkpoint_is_complete_only_with_all_its_files(tmp_path: Path):
    """FSDP may write folders inside a checkpoint."""
    run = run_folder(tmp_path / "run", {50: 0.9})
    part = run / "checkpoint-50" / "shards" / "0.distcp"
    part.parent.mkdir()
    part.write_bytes(bytes(10))
    mark_complete(run / "checkpoint-50")
    assert [c.step for c in checkpoints(run)] == [50]
    part.unlink()
    assert not checkpoints(run)
    (run / "checkpoint-60").mkdir()  # a killed run leaves a checkpoint without its mark
    assert not checkpoints(run)


def test_choosing_a_missing_checkpoint_names_the_others(tmp_path: Path):
    run = run_folder(tmp_path / "run", THREE)
    assert [choose(run, which).step for which in ("best", "last", 50, "150")] == [100, 150, 50, 150]
    with pytest.raises(UserError, match="no checkpoint at step 75\n.*best, last, or one of 50, 100, 150"):
        choose(run, 75)
    with pytest.raises(UserError, match="no complete checkpoint\n.*train first"):
        choose(tmp_path / "nowhere")
    (run / "checkpoint-100" / "adapter_model.safetensors").write_bytes(bytes(9))
    with pytest.raises(UserError, match="one of 50, 150"):
        choose(run, 100)


def test_a_text_that_names_no_checkpoint_is_refused():
    for fine in ("best", "last", "50"):
        check_step(fine)
    with pytest.raises(UserError, match="'first' is no checkpoint"):
        check_step("first")


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path):
    run, other = tmp_path / "run", tmp_path / "other"
    for folder, rate in ((run, 1e-4), (other, 5e-4)):
        write_json(folder / "run.json", {"recipe": {"learning_rate": rate}})
        (folder / "checkpoint-50").mkdir()
        (folder / "checkpoint-50" / "adapter_model.safetensors").write_bytes(bytes(10))
        mark_complete(folder / "checkpoint-50", run_identity(folder))
    assert [c.step for c in checkpoints(run)] == [50]
    (other / "checkpoint-50").rename(run / "checkpoint-60")
    for use in (checkpoints, choose, table):
        with pytest.raises(
            UserError, match="checkpoint-60: this checkpoint is of another run\n.*move it out"
        ):
            use(run)


def test_an_mlx_checkpoint_of_another_run_is_refused(tmp_path: Path):
    from safetensors.numpy import save_file

    write_json(tmp_path / "run.json", {"base": "a"})
    for step, identity in ((1, run_identity(tmp_path)), (2, "")):  # old checkpoints name no run
        save_file({}, tmp_path / f"{step:07d}_adapters.safetensors", {"run": identity})
    assert [c.step for c in checkpoints(tmp_path)] == [1, 2]
    save_file({}, tmp_path / "0000003_adapters.safetensors", {"run": "another"})
    with pytest.raises(UserError, match="0000003_adapters.safetensors: this checkpoint is of another run"):
        checkpoints(tmp_path)


@pytest.mark.parametrize(
    "mark", ["{}", "[]", "null", "{", '{"files": {}}', '{"files": []}', '{"a": "b"}', "[" * 99999]
)
def test_a_checkpoint_with_a_damaged_mark_is_not_complete(tmp_path: Path, mark: str):
    run = run_folder(tmp_path / "run", {50: 0.9, 60: 0.8})
    (run / "checkpoint-60" / "complete.json").write_text(mark)
    assert [c.step for c in checkpoints(run)] == [50]


def test_the_marks_of_older_runs_are_read(tmp_path: Path):
    run = run_folder(tmp_path / "run", {50: 0.9})
    (run / "checkpoint-50" / "complete.json").write_text('{"adapter_model.safetensors": 10}')
    assert [c.step for c in checkpoints(run)] == [50]
