"""The command lines: every option is explained, help is fast, and the pages use options that exist."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from utils_ft import ROOT, VERSION

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "mlx", "pandas", "matplotlib", "papermill")
"""Packages that take seconds to import. `--help` does without them."""
SUBCOMMANDS = {"tools.speed": ("solver", "generate")}
COMMANDS = sorted(
    f"{file.parent.name}.{file.stem}"
    for folder in ("scripts", "tools")
    for file in (ROOT / folder).glob("*.py")
    if '\nif __name__ == "__main__":\n' in file.read_text(encoding="utf-8")
)
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data/benchmarks/README.md"]
} | {name: (ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "runs/demo.sh")}
TEXT = "\n".join(PAGES.values())
OPTION = r"(?<!\S)--[a-z][\w-]+"


def parts_of(module: str) -> list[tuple[str, ...]]:
    """The subcommands of a command, and the command itself."""
    return [(), *((name,) for name in SUBCOMMANDS.get(module, ()))]


@functools.cache
def help_of(module: str, *part: str) -> tuple[str, str]:
    """What `--help` prints, and the modules that it imports, one on a line."""
    words = [sys.executable, "-X", "importtime", "-m", module, *part, "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def options_of(text: str) -> dict[str, str]:
    """Option or argument → its help text, from the output of `--help`."""
    entries: dict[str, str] = {}
    for section in re.findall(r"(?ms)^(?:Options|Arguments):\n(.*?)(?=^\S|\Z)", text):
        for entry in re.split(r"(?m)^  (?=\S)", section)[1:]:
            name, *words = re.split(r"\s{2,}", " " + entry.strip().replace("\n", "  "))[0:]
            entries[name.strip()] = " ".join(words)
    return entries


ALL_HELPS = [(module, part) for module in COMMANDS for part in parts_of(module)]


@pytest.mark.parametrize(("module", "part"), ALL_HELPS, ids=[" ".join([m, *p]) for m, p in ALL_HELPS])
def test_every_option_is_explained_and_the_help_is_fast(module, part):
    text, imported = help_of(module, *part)
    summary = text.split("\n\n")[1] if part or module not in SUBCOMMANDS else "a command with subcommands"
    assert "Usage" in text and len(summary.strip()) > 20
    entries = options_of(text)
    assert entries
    for option, words in entries.items():
        words = re.sub(r"\[(default|required|env var)[^\]]*\]", "", words)
        assert len(words.strip()) >= 10, f"{option} has no help text"
    assert str(ROOT) not in text and not re.search(r"(?<!\w)/(home|tmp|work|root|Users)/", text)
    heavy = [name for name in HEAVY if re.search(rf"\| +{name}$", imported, re.MULTILINE)]
    assert not heavy, f"--help imports {heavy}"


def test_every_command_is_in_a_page():
    assert not [module for module in COMMANDS if module not in TEXT]


@pytest.mark.parametrize("module", sorted(set(re.findall(r"-m ((?:scripts|tools)\.[a-z]\w*)", TEXT))))
def test_the_pages_use_only_options_that_exist(module):
    assert module in COMMANDS
    for line in re.findall(rf"-m {module}(?!\w)((?:[^\n`]*\\\n)*[^\n`#]*)", TEXT):
        part = tuple(word for word in line.split()[:1] if word in SUBCOMMANDS.get(module, ()))
        known = set(re.findall(r"--[a-z][\w-]+", help_of(module, *part)[0]))
        assert set(re.findall(OPTION, line)) <= known, line


@pytest.mark.parametrize("line", re.findall(r"(?m)^hf .*$", TEXT))
def test_the_command_of_the_hub_has_the_options_that_the_pages_use(line):
    words = [word for word in line.split() if re.fullmatch(r"[a-z]+", word)]
    tool = Path(sys.executable).with_name("hf")
    done = subprocess.run([tool, *words[1:], "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and f"Usage: {' '.join(words)} " in done.stdout
    assert set(re.findall(OPTION, line)) <= set(re.findall(r"--[a-z][\w-]+", done.stdout))


def test_every_make_target_in_a_page_exists():
    targets = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", TEXT))
    assert {"demo", "test", "setup"} <= targets
    for target in targets:
        assert re.search(rf"(?m)^{target}:", PAGES["Makefile"]), target


def test_every_command_prints_the_version_which_the_changelog_and_the_citation_have():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.fuse", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, VERSION, "")
    assert all("--version" in help_of(module)[0] for module in COMMANDS if module not in SUBCOMMANDS)
    assert f"version: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {VERSION}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
