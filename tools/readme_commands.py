"""Run the commands of README.md and docs/install.md as a new reader does: a new checkout and an empty home.

    python -m tools.readme_commands --profile smoke

Without a profile every command runs as printed, `make demo` and `make test` as well: about 40 minutes, and it
installs all packages. With the profile smoke the commands that take long are not run, only checked: their
make target, module or file exists. The others run with the tiny model, as docs/install.md says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from utils_ft import ROOT, UserError, command, read_text

PAGES = ("README.md", "docs/install.md")
NOT_IN_SMOKE = {
    r"^make ": "it takes long; its target exists",
    r"-m venv |^source |-m pip ": "the environment is the one of this process",
    r"-m pytest ": "these are the tests",
    r"-m scripts\.run_notebooks ": "tests/notebook/test_runner.py runs the notebooks",
}
"""What the profile smoke does not run: pattern → reason."""
SHORTER = {
    " --profile demo": "",
    "smollm": "smoke",
    "-m scripts.evaluate ": "-m scripts.evaluate --problems 1 --max-new-tokens 12 ",
    "-m scripts.generate ": "-m scripts.generate --max-new-tokens 12 ",
}
"""How a command changes for the profile smoke: text → text."""


@dataclass(frozen=True)
class PageCommand:
    """A command that a page tells its reader to type."""

    page: str
    line: int
    text: str

    @property
    def why_not_in_smoke(self) -> str:
        """Why the profile smoke does not run it, or ""."""
        return next((why for pattern, why in NOT_IN_SMOKE.items() if re.search(pattern, self.text)), "")

    @property
    def shortened(self) -> str:
        """The command for the profile smoke."""
        text = self.text
        for before, after in SHORTER.items():
            text = text.replace(before, after)
        return text

    def missing(self, root: Path) -> list[str]:
        """The make targets, modules and files that the command names and that are not in `root`."""
        targets = re.findall(r"^make ([a-z]\w*)", self.text)
        modules = re.findall(r"-m ((?:scripts|tools)\.\w+)", self.text)
        files = [f"{module.replace('.', '/')}.py" for module in modules] + re.findall(r"-r (\S+)", self.text)
        makefile = read_text(root / "Makefile")
        return [target for target in targets if not re.search(rf"(?m)^{target}:", makefile)] + [
            file for file in files if not (root / file).exists()
        ]


def commands_of(page: str, root: Path = ROOT) -> list[PageCommand]:
    """The commands in the bash blocks of a page, in order, without comments. A `\\` joins lines."""
    commands: list[PageCommand] = []
    text = read_text(root / page)
    for block in re.finditer(r"(?ms)^```bash\n(.*?)^```", text):
        first = text[: block.start(1)].count("\n") + 1
        joined = ""
        for number, line in enumerate(block[1].splitlines(), first):
            joined += re.sub(r"(^|\s+)# .*", "", line)
            if joined.endswith("\\"):
                joined = joined[:-1].rstrip() + " "
            elif joined.strip():
                commands.append(PageCommand(page, number, re.sub(r" {2,}", " ", joined.strip())))
                joined = ""
    return commands


def page_script(commands: Sequence[PageCommand], is_smoke: bool) -> str:
    """One bash script for the commands of a page. It stops at the first one that fails, and says where."""
    lines = ["set -eo pipefail", "trap 'echo \"error: $at failed\" >&2' ERR"]
    for one in commands:
        where = f"{one.page}:{one.line}"
        if is_smoke and one.why_not_in_smoke:
            lines.append(f"echo {quote(f'not run: {one.text}: {one.why_not_in_smoke}')}")
            continue
        text = one.shortened if is_smoke else one.text
        lines += [f"at={quote(where)}", f"echo {quote(f'{where}: {text}')}"]
        # Exit code 1 of `generate` says that some step failed, which a small model's do.
        lines.append(f"{text} || test $? = 1" if "-m scripts.generate" in text else text)
        lines += [f"test -s {file}" for file in re.findall(r"--out (\S+)", text)]
    return "\n".join(lines) + "\n"


def new_checkout(folder: Path, root: Path = ROOT) -> Path:
    """Copy what a clone would have, with the changes that are not committed yet, into `folder`.

    Raises UserError if `root` is no git checkout.
    """
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise UserError("this is no git checkout", where=root, remedy="clone the repository")
    for name in filter(None, done.stdout.split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


def new_environment(home: Path, is_smoke: bool, known: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a new reader: an empty home, and no settings of this project.

    With the profile smoke, `python` is the one that runs now, and nothing is downloaded.
    """
    settings = re.compile(r"FT_|HF_|VIRTUAL_ENV|PYTHONPATH|GOOGLE_API_KEY|GEMINI_")
    kept = {name: value for name, value in known.items() if not settings.match(name)}
    home.mkdir(parents=True)
    if not is_smoke:
        return kept | {"HOME": str(home)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | {"HOME": str(home), "PATH": path, "FT_PROFILE": "smoke", "HF_HUB_OFFLINE": "1"}


def run_page(page: str, folder: Path, is_smoke: bool) -> int:
    """Run the commands of a page in a new checkout below `folder`; return bash's exit code."""
    checkout, home = new_checkout(folder / "checkout"), folder / "home"
    script = page_script(commands_of(page, checkout), is_smoke)
    if not is_smoke and page == "README.md":  # it says: in the environment
        script = f"make setup\nsource .venv/bin/activate\n{script}"
    environment = new_environment(home, is_smoke)
    return subprocess.run(["bash", "-c", script], cwd=checkout, env=environment).returncode


def main(profile: str = "", pages: str = ",".join(PAGES), dry_run: bool = False) -> None:
    """Run the commands of pages in a new checkout with an empty home, and stop at the first that fails.

    The exit code is 1 if a command fails.

    Arguments:
        profile: smoke: run the short commands with the tiny model, and check the others. Else all run as
            printed.
        pages: The pages, with commas between them. Each has a checkout of its own.
        dry_run: Print the commands, and run none.
    """
    import typer

    if profile not in ("", "smoke"):
        raise UserError(f"there is no profile {profile!r} here", remedy="leave --profile out, or give smoke")
    for page in pages.split(","):
        commands = commands_of(page)
        if missing := [name for one in commands for name in one.missing(ROOT)]:
            raise UserError(f"the commands name {', '.join(missing)}, which do not exist", where=ROOT / page)
        if dry_run:
            for one in commands:
                why = one.why_not_in_smoke if profile else ""
                print(f"{page}:{one.line}: {one.shortened if profile else one.text}{why and f'   ({why})'}")
            continue
        with tempfile.TemporaryDirectory(prefix="readme-") as folder:
            if run_page(page, Path(folder), bool(profile)):
                raise typer.Exit(1)


if __name__ == "__main__":
    command(main)()
