"""Files and folders: what a killed process leaves, one writer, damaged records, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from utils_ft import (
    ROOT,
    UserError,
    check_writable,
    finish_new_folder,
    new_folder,
    one_writer,
    read_json,
    read_jsonl,
    read_text,
    secret,
    show_path,
)

REPLACE = """
import os, signal, sys
from pathlib import Path
from utils_ft import new_folder
renames, rename = 0, Path.rename

def killing(self, target):
    global renames
    renames += 1
    if renames == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.rename = killing
with new_folder(sys.argv[1]) as draft:
    (draft / "file").write_text("new")
"""
"""A process that replaces a folder and is killed before its n-th rename."""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize(("killed_before", "kept"), [(1, "old"), (2, "new"), (3, "new")])
def test_a_folder_survives_a_kill_at_any_moment_of_its_replacement(tmp_path, killed_before, kept):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "file").write_text("old")
    done = python(REPLACE, folder, killed_before)
    assert done.returncode == (0 if killed_before == 3 else -signal.SIGKILL), done.stderr
    finish_new_folder(folder)
    assert (folder / "file").read_text() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "nothing is left over"
    with new_folder(folder) as draft:
        (draft / "file").write_text("newest")
    assert (folder / "file").read_text() == "newest"


def test_the_drafts_of_other_folders_and_of_living_processes_stay(tmp_path):
    other, living = tmp_path / ".model.5.99999999.abcdefgh", tmp_path / f".model.{os.getppid()}.abcdefgh"
    for folder in (other, living):
        folder.mkdir()
    with new_folder(tmp_path / "model") as draft:
        finish_new_folder(tmp_path / "model")
        assert draft.is_dir()
    assert other.is_dir() and living.is_dir()


def test_a_lock_has_one_holder_and_ends_with_its_process(tmp_path):
    target = tmp_path / "run"
    code = f"from utils_ft import one_writer\nwith one_writer({str(target)!r}):\n    pass\n"
    with one_writer(target):
        refused = python(code)
    assert f"another process writes here: process {os.getpid()} " in refused.stderr
    assert python(code).returncode == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"{", "not JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": "\\ud800"}', "half a character"),
        (b'{"\\uDfff": 1}', "half a character"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_damaged_record_names_its_file_and_a_remedy(tmp_path, content, words):
    file = tmp_path / "record.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=words) as raised:
        read_json(file, "make it again")
    assert raised.value.where == file and "remedy" in str(raised.value)
    (tmp_path / "rows.jsonl").write_bytes(b"\n" + content.replace(b"\n", b" ") + b"\n")
    with pytest.raises(UserError, match=r"rows.jsonl"):
        read_jsonl(tmp_path / "rows.jsonl")


def test_a_surrogate_pair_is_one_character(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "\\ud83d\\ude00"}')
    assert read_json(tmp_path / "a.json", "") == {"a": "\U0001f600"}


def test_a_path_that_cannot_be_resolved_is_shown(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "loop" in show_path(loop)
    show_path(tmp_path / os.fsdecode(b"\xff")).encode()
    with pytest.raises(UserError, match="cannot be read"):
        read_text(loop)


@pytest.mark.parametrize("folder", [True, False])
def test_a_check_finds_what_cannot_be_written_and_makes_nothing(tmp_path, folder):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    check_writable(tmp_path / "new" / "deep", folder=folder)
    wrong = ("file" if folder else "folder", "file/below", "/proc/nowhere/x")
    for path in wrong:
        with pytest.raises(UserError, match="cannot be written"):
            check_writable(tmp_path / path, folder=folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of POSIX")
def test_a_disk_that_gets_full_is_one_message_and_the_old_file_stays(tmp_path):
    """A limit on the size of files stands for the disk."""
    file = tmp_path / "result.json"
    file.write_text("old")
    code = (
        "import resource, sys; from pathlib import Path; from utils_ft import command, write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "def main(out: Path) -> None:\n    '''Write.'''\n    write_text(out, 'x' * 100_000)\n"
        "command(main)()"
    )
    done = python(code, "--out", file)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert file.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_key_with_other_characters_is_refused_and_not_shown(monkeypatch):
    for value in ("\u201cabc\u201d", "ab\nc", "a b", "abc\x07"):
        monkeypatch.setenv("GOOGLE_API_KEY", value)
        with pytest.raises(UserError, match="no key has") as raised:
            secret("GOOGLE_API_KEY")
        assert "abc" not in str(raised.value)
    monkeypatch.setenv("GOOGLE_API_KEY", " abc\n")
    assert secret("GOOGLE_API_KEY") == "abc"
