"""Paths, settings and the few habits every module shares: one way to fail, to seed, and to write a file.

`FT_WORKDIR` moves everything that is generated (data, adapters, models, runs) out of the checkout;
the tests use it so that they never touch a person's own results.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parent
WORKDIR = Path(os.environ.get("FT_WORKDIR") or ROOT).resolve()
BENCHMARKS = ROOT / "data" / "benchmarks"
DATA = WORKDIR / "data"
ADAPTERS = WORKDIR / "adapters"
LOCAL_MODELS = WORKDIR / "local_models"
RUNS = WORKDIR / "runs"


class UserError(Exception):
    """An error that a person can correct. Commands print it and exit with code 2.

    Attributes:
        what: What is wrong, one sentence.
        where: The file or folder concerned, or None.
        line: The line in that file, from 1, or None.
        remedy: What to do about it, or "".
    """

    def __init__(
        self, what: str, *, where: str | Path | None = None, line: int | None = None, remedy: str = ""
    ):
        self.what, self.line, self.remedy = what, line, remedy
        self.where = None if where is None else Path(where)
        super().__init__(what)

    def __str__(self) -> str:
        """`file:line: what`, and the remedy on a line of its own."""
        place = ""
        if self.where is not None:
            place = f"{show_path(self.where)}{f':{self.line}' if self.line else ''}: "
        return f"{place}{self.what}" + (f"\n  remedy: {self.remedy}" if self.remedy else "")

    def __reduce__(self) -> tuple:
        """Makes the error survive pickling, for pools of processes."""
        return _user_error, (self.what, self.where, self.line, self.remedy)


def _user_error(what: str, where: Path | None, line: int | None, remedy: str) -> UserError:
    return UserError(what, where=where, line=line, remedy=remedy)


def show_path(path: str | Path) -> str:
    """`path` as a person would type it: relative to the working folder or the checkout if it lies in one."""
    path = Path(path)
    for base in (Path.cwd(), WORKDIR, ROOT):
        with contextlib.suppress(ValueError):
            return str(path.resolve().relative_to(base.resolve())) or "."
    return str(path)


def command(function: Callable[..., Any]) -> Callable[[], None]:
    """Make a command line out of `function`, with typer.

    The signature gives the options and their types. The docstring gives the help: its text up to
    `Arguments:` describes the command, and each `name: text` below that line describes one option. A
    parameter without a default is a required option. Paths are shown relative to the checkout.

    A `UserError` becomes one message on standard error and exit code 2; an interrupt becomes exit code 130.
    """
    import typer

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("interrupted; run the same command again to resume", file=sys.stderr)
            raise typer.Exit(130) from None

    summary, helps = _parse_docstring(inspect.getdoc(function) or "")
    hints = get_type_hints(function, include_extras=True)
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        hint = _described(hints[parameter.name], parameter, helps.get(parameter.name, ""))
        hints[parameter.name] = hint
        parameters.append(parameter.replace(annotation=hint))
    guarded.__doc__ = summary
    guarded.__signature__ = inspect.Signature(parameters)
    guarded.__annotations__ = hints
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(guarded)
    return app


def _parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description in a docstring, and the text for each name in its `Arguments:` section."""
    summary, _, section = text.partition("\nArguments:\n")
    helps: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if entry := re.match(r"    (\w+): (.*)", line):
            name = entry[1]
            helps[name] = entry[2].strip()
        elif line.strip() and name:
            helps[name] += f" {line.strip()}"
    return summary.strip(), helps


def _described(hint: Any, parameter: inspect.Parameter, text: str) -> Any:
    """`hint` as typer reads it, with the help text `text` and a default path as a person would type it."""
    import typer

    shown: dict[str, Any] = {"help": text}
    if isinstance(parameter.default, Path):  # typer would show the absolute path
        shown = {"help": f"{text}  [default: {show_path(parameter.default)}]", "show_default": False}
    if get_origin(hint) is not Annotated:
        # An option that is off by default has no negative form; `--no-...` is for the others.
        names = [f"--{parameter.name.replace('_', '-')}"] if parameter.default is False else []
        return Annotated[hint, typer.Option(*names, **shown)]
    for extra in get_args(hint)[1:]:  # an option or argument that the signature declares itself
        if isinstance(extra, typer.models.ParameterInfo):
            vars(extra).update(shown if not extra.help else {"help": extra.help})
    return hint


def load_env() -> None:
    """Read `.env` of the checkout into the environment; what is set there already wins."""
    from dotenv import load_dotenv

    load_dotenv(ROOT / ".env", override=False)


def secret(name: str, *, needed_for: str | None = None) -> str | None:
    """The secret `name` from the environment or `.env`, or None.

    Raises UserError if it is missing and `needed_for` something.
    """
    load_env()
    value = (os.environ.get(name) or "").strip()
    if not value and needed_for:
        raise UserError(
            f"{name} is not set, and {needed_for} needs it",
            where=ROOT / ".env",
            remedy=f"copy .env.example to .env and fill in {name}=…, or set it in the environment",
        )
    return value or None


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (those of them that are loaded already or are cheap to load)."""
    random.seed(seed)
    import numpy

    numpy.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` (UTF-8) to `path` whole or not at all: a reader never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write `value` as indented JSON, atomically."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_text(path: str | Path, *, remedy: str = "") -> str:
    """The text of `path`; UserError where it is missing, a folder, or not UTF-8."""
    try:
        return (
            Path(path).read_text(encoding="utf-8").removeprefix("\ufeff")
        )  # which some editors put before a text
    except FileNotFoundError:
        raise UserError("no such file", where=path, remedy=remedy) from None
    except UnicodeDecodeError as error:
        line = Path(path).read_bytes()[: error.start].count(b"\n") + 1
        raise UserError("not UTF-8 text", where=path, line=line, remedy="save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path, remedy=remedy) from None


def read_jsonl(
    path: str | Path, *, remedy: str = "run the conversion first: python -m scripts.data_converter"
) -> list[dict]:
    """The rows of a JSONL file; UserError names the first line that is not a JSON object."""
    rows = []
    for number, line in enumerate(read_text(path, remedy=remedy).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"not JSON ({error})", where=path, line=number, remedy="convert the data again"
            ) from None
        if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
            raise UserError(
                "the row has no list `messages`", where=path, line=number, remedy="convert the data again"
            )
        rows.append(row)
    return rows


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder that appears at `path` only when the block ends well, replacing what was there before."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_drafts(path)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent))
    try:
        yield draft
        draft.chmod(0o755)
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        if path.exists():
            path.rename(old)
        draft.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove_stale_drafts(path: Path) -> None:
    """Remove what a killed process left of a folder it was writing: its number stands in the draft's name."""
    import psutil

    for draft in path.parent.glob(f".{path.name}.*"):
        number = draft.name.removeprefix(f".{path.name}.").split(".")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(draft, ignore_errors=True)


def content_hash(*parts: str | bytes) -> str:
    """SHA-256 over `parts`, each with its length so that no two lists of parts collide; hexadecimal."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


def evenly_spaced(items: list, limit: int) -> list:
    """`limit` of the items at the most, evenly far apart."""
    return items if len(items) <= limit else [items[index * len(items) // limit] for index in range(limit)]
