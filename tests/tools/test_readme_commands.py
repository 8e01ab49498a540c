"""The commands of the README run as printed, with the tiny model, in a new checkout with an empty home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.readme_commands import PAGES, commands_of, new_checkout, new_environment, page_script
from utils_ft import ROOT

COMMANDS = [one for page in PAGES for one in commands_of(page)]
"""The commands of all pages."""


def tool(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tools.readme_commands", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",  # the random model writes any bytes
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_a_new_checkout(page: str):
    done = tool("--profile", "smoke", "--pages", page)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{one.page}:{one.line}: " in done.stdout or one.why_not_in_smoke for one in commands_of(page))


def test_what_is_not_run_is_little_and_names_only_what_exists():
    assert not [name for one in COMMANDS for name in one.missing(ROOT)]
    ran = [one.text for one in COMMANDS if not one.why_not_in_smoke]
    for name in ("benchmarks check", "data_converter", "train_pytorch", "evaluate", "generate", "mkdir"):
        assert any(name in text for text in ran), name


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git checkout with a page of its own, a Makefile and an ignored file."""
    folder = tmp_path / "repository"
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / "Makefile").write_text("demo: setup\n\ttrue\n")
    (folder / ".gitignore").write_text("ignored\n")
    (folder / "ignored").write_text("")
    page = "```bash\nmake demo\nmake dmeo\nfalse\necho never\n```\n```text\nrm -rf /\n```\n"
    (folder / "PAGE.md").write_text(page)
    return folder


def test_a_block_gives_its_commands_without_comments_and_with_joined_lines(repository: Path):
    (repository / "PAGE.md").write_text("a\n```bash\n# no\necho a \\\n    b    # two\n\necho 'c'\n```\n")
    found = commands_of("PAGE.md", repository)
    assert [(one.line, one.text) for one in found] == [(5, "echo a b"), (7, "echo 'c'")]


def test_a_target_module_or_file_that_is_missing_is_named(repository: Path):
    (repository / "PAGE.md").write_text(
        "```bash\nmake demo\nmake dmeo\npython -m scripts.gone\npip install -r gone.txt\n```\n"
    )
    missing = [name for one in commands_of("PAGE.md", repository) for name in one.missing(repository)]
    assert missing == ["dmeo", "scripts/gone.py", "gone.txt"]


def test_the_first_command_that_fails_is_named_and_no_other_runs(repository: Path, tmp_path: Path):
    checkout = new_checkout(tmp_path / "checkout", repository)
    assert sorted(path.name for path in checkout.iterdir()) == [".gitignore", "Makefile", "PAGE.md"]
    script = page_script(commands_of("PAGE.md", checkout), is_smoke=True)
    done = subprocess.run(["bash", "-c", script], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1 and "error: PAGE.md:4 failed" in done.stderr
    assert "never" not in done.stdout and "rm -rf" not in script


def test_a_new_reader_has_an_empty_home_and_no_settings(tmp_path: Path):
    known = {
        "PATH": os.environ["PATH"],
        "FT_WORKDIR": "a",
        "HF_TOKEN": "b",
        "GOOGLE_API_KEY": "c",
        "HOME": "d",
    }
    environment = new_environment(tmp_path / "home", False, known)
    assert environment == {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    assert not list((tmp_path / "home").iterdir())
