"""Files of rows: what belongs together, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.data.pairs import write_pairs
from scripts.data.rows import load_rows, write_row_files
from tests.examples import colouring_row, write_rows
from utils_ft import ROOT, UserError, file_sha256

KILLED = """
import os, signal, sys
from pathlib import Path
from scripts.data import rows
from tests.examples import colouring_row
written, write = 0, rows.write_text

def killing(path, text):
    global written
    written += 1
    if written > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, text)

rows.write_text = Path.replace = killing
rows.write_row_files(Path(sys.argv[1]), {name: [colouring_row(7)] for name in rows.SPLITS}, {})
"""
"""A process that writes rows and is killed after n files."""


FILES = {"train.jsonl", "valid.jsonl", "test.jsonl", "report.json"}


def three(number: int) -> dict:
    return {split: [colouring_row(number + place)] for place, split in enumerate(("train", "valid", "test"))}


def test_the_report_has_the_hash_of_each_file(tmp_path: Path) -> None:
    write_row_files(tmp_path, three(1), {"seed": 0})
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sha256"] == {split: file_sha256(tmp_path / f"{split}.jsonl") for split in three(1)}
    assert all(load_rows(tmp_path, split) == rows for split, rows in three(1).items())


@pytest.mark.parametrize("files", [1, 2, 3])
def test_rows_of_a_killed_conversion_are_refused_until_it_is_repeated(tmp_path: Path, files: int) -> None:
    write_row_files(tmp_path, three(1), {})
    words = [sys.executable, "-c", KILLED, str(tmp_path), str(files)]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(UserError, match="train.jsonl: .*do not belong together(.|\n)*convert the data again"):
        load_rows(tmp_path, "train")
    write_row_files(tmp_path, three(7), {})
    assert load_rows(tmp_path, "train") == three(7)["train"]
    assert {file.name for file in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("report", ["none", "of other rows", "without hashes", "damaged"])
def test_rows_that_a_person_wrote_are_kept(tmp_path: Path, split: str, report: str, capsys) -> None:
    if report == "of other rows":
        write_row_files(tmp_path, three(4), {})
    elif report != "none":
        (tmp_path / "report.json").write_text({"damaged": '{"sha'}.get(report, '{"made": "by hand"}'))
    (tmp_path / f"{split}.jsonl").write_text('{"messages": "by hand"}\n')
    write_row_files(tmp_path, three(1), {})
    assert load_rows(tmp_path, split) == three(1)[split]
    [kept] = tmp_path.glob(f"{split}.*.jsonl")
    assert kept.read_text() == '{"messages": "by hand"}\n'
    told = capsys.readouterr().out
    assert f"{split}.jsonl was not written by this command: it is now " in told and kept.name in told
    reports = [file.read_text() for file in tmp_path.glob("report.*.json")]
    assert len(reports) == told.count("report.json was not") == (report in ("without hashes", "damaged"))
    assert len(told.splitlines()) == 1 + len(reports), "rows that a command wrote are replaced in silence"
    write_row_files(tmp_path, three(2), {})
    assert kept.exists() and not capsys.readouterr().out
    (tmp_path / "report.json").unlink()
    write_row_files(tmp_path, three(2), {})
    assert not capsys.readouterr().out, "the rows are the same"


def test_pairs_that_a_person_wrote_are_kept(tmp_path: Path, capsys) -> None:
    (tmp_path / "pairs.jsonl").write_text("by hand\n")
    write_pairs(tmp_path, [], {})
    [kept] = tmp_path.glob("pairs.*.jsonl")
    assert kept.read_text() == "by hand\n" and kept.name in capsys.readouterr().out


def test_rows_that_are_made_by_hand_need_no_report(tmp_path: Path) -> None:
    write_rows(tmp_path, train=[colouring_row(1)])
    assert load_rows(tmp_path, "train") == [colouring_row(1)]
    (tmp_path / "report.json").write_text('{"made": "by hand"}')
    assert load_rows(tmp_path, "train") == [colouring_row(1)]
