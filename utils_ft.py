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
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parent
WORKDIR = Path(os.environ.get("FT_WORKDIR") or ROOT).resolve()
BENCHMARKS = ROOT / "data" / "benchmarks"
DATA = WORKDIR / "data"
ADAPTERS = WORKDIR / "adapters"
LOCAL_MODELS = WORKDIR / "local_models"
RUNS = WORKDIR / "runs"


class UserError(Exception):
    """Something a person can mend: what is wrong, where, and the remedy. Commands print it and exit with 2."""

    def __init__(
        self, what: str, *, where: str | Path | None = None, line: int | None = None, remedy: str = ""
    ):
        place = "" if where is None else f"{show_path(where)}{f':{line}' if line else ''}: "
        super().__init__(f"{place}{what}" + (f"\n  remedy: {remedy}" if remedy else ""))


def show_path(path: str | Path) -> str:
    """`path` as a person would type it: relative to the working folder or the checkout where it lies inside one."""
    path = Path(path)
    for base in (Path.cwd(), WORKDIR, ROOT):
        with contextlib.suppress(ValueError):
            return str(path.resolve().relative_to(base.resolve())) or "."
    return str(path)


def command(function: Callable[..., Any]) -> Callable[[], None]:
    """The command line of `function`: its signature gives the options, its docstring the help (typer).

    A parameter without a default is a required option. A `UserError` becomes one message on standard error and exit
    code 2, an interrupt exit code 130.
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
            print("interrupted; run the same command again to go on", file=sys.stderr)
            raise typer.Exit(130) from None

    hints = get_type_hints(function, include_extras=True)
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if parameter.default is inspect.Parameter.empty and get_origin(hint) is not Annotated:
            hint = Annotated[hint, typer.Option()]
        hints[parameter.name] = hint
        parameters.append(parameter.replace(annotation=hint))
    guarded.__signature__ = inspect.Signature(parameters)
    guarded.__annotations__ = hints
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(guarded)
    return app


# --- settings ---------------------------------------------------------------------------------------------------


def load_env() -> None:
    """Read `.env` of the checkout into the environment; what is set there already wins."""
    from dotenv import load_dotenv

    load_dotenv(ROOT / ".env", override=False)


def secret(name: str, *, needed_for: str | None = None) -> str | None:
    """The secret `name` from the environment or `.env`, or None. Raises UserError where it is `needed_for` something."""
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


# --- files ------------------------------------------------------------------------------------------------------


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
