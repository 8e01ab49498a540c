"""The pipeline on one page, runs/demo.sh, with the smoke profile."""

import os
import shutil
import subprocess
import sys

from utils_ft import ROOT


def test_the_demo_script_runs_from_problems_to_a_program(tmp_path):
    shutil.copytree(ROOT / "data" / "benchmarks" / "scheduling", tmp_path / "mine" / "scheduling")
    work = tmp_path / "work"
    settings = {"FT_WORKDIR": str(work), "PROBLEMS": str(tmp_path / "mine"), "PYTHON": sys.executable}
    split = '{"test": ["scheduling/scene_order"], "valid": ["scheduling/exam_timetable"]}'
    (tmp_path / "mine" / "split.json").write_text(split, encoding="utf-8")
    done = subprocess.run(
        [ROOT / "runs" / "demo.sh", "smoke"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        errors="replace",  # the random model writes any bytes
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for file in (
        "data/smoke/train.jsonl",
        "adapters/smoke_pytorch/metrics.json",
        "adapters/smoke_pytorch/scores-4.json",
        "local_models/ft_smoke_pytorch/fuse.json",
        "runs/smoke/base.json",
        "runs/smoke/fused.json",
        "runs/smoke/program.lp",
    ):
        assert (work / file).exists(), file
    assert "steps accepted" in done.stdout
