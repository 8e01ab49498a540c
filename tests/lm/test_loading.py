"""A model is data: nothing of its folder runs, and weights that are missing are not made up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from scripts.lm.loading import load_config, load_model
from utils_ft import ROOT, UserError

pytestmark = pytest.mark.usefixtures("one_thread")


def change(folder: Path, **values: object) -> None:
    """Change entries of `config.json`."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_models_are_loaded_in_one_place() -> None:
    calls = {
        file.relative_to(ROOT).as_posix(): re.findall(
            r"\w+\.from_pretrained\(", file.read_text(encoding="utf-8")
        )
        for folder in ("scripts", "tools")
        for file in (ROOT / folder).rglob("*.py")
    }
    found = {name for name, texts in calls.items() if texts}
    assert found == {"scripts/lm/loading.py", "scripts/lm/adapters.py"}
    assert calls["scripts/lm/adapters.py"] == ["PeftModel.from_pretrained("]


def test_no_code_of_a_model_folder_runs_even_if_someone_says_yes(copy_of_smoke: Path, tmp_path: Path) -> None:
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n"
    (copy_of_smoke / "evil.py").write_text(evil)
    names = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C", "AutoTokenizer": ["evil.C", "evil.C"]}
    change(copy_of_smoke, model_type="own", architectures=["C"], auto_map=names, model_file="evil.py")
    for file, text in (("problem.md", "Text."), ("steps.txt", "Say a.\n")):
        (tmp_path / file).write_text(text)
    files = {"model": copy_of_smoke} | {name: tmp_path / f"{name}.md" for name in ("problem",)}
    words = ["--steps", str(tmp_path / "steps.txt"), "--out", str(tmp_path / "x.lp")]
    words += [word for name, value in files.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.generate", *words],
        cwd=ROOT,
        input="y\n" * 9,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HOME": str(tmp_path / "hub")},
    )
    assert done.returncode == 2 and "cannot be loaded" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_tied_head_is_not_missing(smoke: Path) -> None:
    assert load_config(smoke).tie_word_embeddings
    assert "lm_head.weight" not in load_file(smoke / "model.safetensors")
    load_model(smoke)


def test_missing_weights_are_refused(copy_of_smoke: Path) -> None:
    file = copy_of_smoke / "model.safetensors"
    weights = load_file(file)
    left_out = "model.layers.1.mlp.up_proj.weight"
    save_file({name: value for name, value in weights.items() if name != left_out}, file, {"format": "pt"})
    with pytest.raises(UserError, match=f"do not fit config.json: {left_out}"):
        load_model(copy_of_smoke)
    save_file(weights, file, {"format": "pt"})
    change(copy_of_smoke, tie_word_embeddings=False)
    with pytest.raises(UserError, match="do not fit config.json: lm_head.weight"):
        load_model(copy_of_smoke)


def test_weights_of_another_shape_are_refused(copy_of_smoke: Path) -> None:
    change(copy_of_smoke, intermediate_size=128)
    with pytest.raises(UserError, match="cannot be loaded|do not fit"):
        load_model(copy_of_smoke)


def test_pickled_weights_are_not_read(copy_of_smoke: Path) -> None:
    import torch

    weights = load_file(copy_of_smoke / "model.safetensors")
    (copy_of_smoke / "model.safetensors").unlink()
    torch.save(weights, copy_of_smoke / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(copy_of_smoke)
