"""Paths, settings and the few habits every module shares: one way to fail, to seed, and to write a file.

`FT_WORKDIR` moves everything that is generated (data, adapters, models, runs) out of the checkout;
the tests use it so that they never touch a person's own results.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import inspect
import io
import json
import os
import random
import re
import shutil
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

VERSION = "1.0.0"
"""The version of this project: what `--version` prints, model cards name and CHANGELOG.md begins with."""

ROOT = Path(__file__).resolve().parent
WORKDIR = Path(os.environ.get("FT_WORKDIR") or ROOT).resolve()
BENCHMARKS = ROOT / "data" / "benchmarks"
EXAMPLES = ROOT / "data" / "examples"
DATA = WORKDIR / "data"
ADAPTERS = WORKDIR / "adapters"
LOCAL_MODELS = WORKDIR / "local_models"
RUNS = WORKDIR / "runs"
ENV = ROOT / ".env"


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
    """Return `path` as a person would type it: relative to the working folder or the checkout, if inside.

    The result can always be printed: bytes of a name that are not UTF-8 are replaced.
    """
    path = Path(path)
    shown = str(path)
    for base in (Path.cwd(), WORKDIR, ROOT):
        # A loop of symbolic links cannot be resolved.
        with contextlib.suppress(ValueError, OSError, RuntimeError):
            shown = str(path.resolve().relative_to(base.resolve())) or "."
            break
    return shown.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_OS_REMEDIES = {
    errno.ENOSPC: "free some space on the disk, then run the same command again",
    errno.EDQUOT: "free some space on the disk, then run the same command again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), then run the same command again",
    errno.EROFS: "name a folder that can be written",
    errno.EACCES: "change the rights of the file or folder, or name another",
    errno.EPERM: "change the rights of the file or folder, or name another",
    errno.ENOTDIR: "a part of the path is a file; name a path whose parts are folders",
    errno.EEXIST: "a part of the path is a file; name a path whose parts are folders",
    errno.EISDIR: "name a file, not a folder",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "remove the loop of symbolic links",
    errno.EMFILE: "raise the limit on open files (ulimit -n), then run the same command again",
}


def explain_os_error(error: OSError) -> UserError:
    """Return an error of the file system as a UserError: what the system says, the file, and a remedy."""
    lines = str(error).splitlines() or [type(error).__name__]
    what = error.strerror or lines[0]  # libraries raise OSError with a text only
    where = error.filename if isinstance(error.filename, str) else None
    return UserError(what, where=where, remedy=_OS_REMEDIES.get(error.errno, ""))


def command(function: Callable[..., Any]) -> Callable[[], None]:
    """Make a command line out of `function`, with typer.

    The signature gives the options and their types. The docstring gives the help: its text up to
    `Arguments:` describes the command, and each `name: text` below that line describes one option. A
    parameter without a default is a required option. Paths are shown relative to the checkout.

    A `UserError` becomes one message on standard error and exit code 2, as does an error of the file system.
    An interrupt becomes exit code 130.
    """
    import typer

    @functools.wraps(function)
    def guarded(*args: Any, version: bool = False, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except OSError as error:
            if (
                error.errno == errno.EPIPE
            ):  # the reader of a pipe, such as `head`, has gone; typer ends quietly
                raise
            print(f"error: {explain_os_error(error)}", file=sys.stderr)
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
    hints["version"] = _version_option()
    parameters.append(
        inspect.Parameter(
            "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=hints["version"]
        )
    )
    guarded.__doc__ = summary
    guarded.__signature__ = inspect.Signature(parameters)
    guarded.__annotations__ = hints
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(guarded)
    return app


def _version_option() -> Any:
    """The type of the option that every command has: `--version` prints the version and ends the command."""
    import typer

    def show(asked: bool) -> None:
        if asked:
            print(VERSION)
            raise typer.Exit

    option = typer.Option("--version", is_eager=True, callback=show, help="Print the version and exit.")
    return Annotated[bool, option]


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
    """Read `.env` of the checkout into the environment. What is set there already wins.

    UserError if the file is not UTF-8 text.
    """
    from dotenv import load_dotenv

    if not os.path.lexists(ENV):
        return
    text = read_text(ENV, remedy="write lines NAME=value into it")
    if "\0" in text:
        raise UserError("not UTF-8 text", where=ENV, remedy="save the file as UTF-8")
    load_dotenv(stream=io.StringIO(text), override=False)


def secret(name: str, *, needed_for: str | None = None) -> str | None:
    """Return the secret `name` from the environment or `.env`, or None.

    UserError if there is none though it is `needed_for` something, or if it has characters that no key has.
    """
    load_env()
    value = (os.environ.get(name) or "").strip()
    if not value and needed_for:
        raise UserError(
            f"{name} is not set, and {needed_for} needs it",
            where=ENV,
            remedy=f"copy .env.example to .env and fill in {name}=…, or set it in the environment",
        )
    if not all("!" <= letter <= "~" for letter in value):  # the message must not have the key
        raise UserError(
            f"{name} has a blank, a line break or a letter that no key has",
            where=ENV,
            remedy="copy the key again, without typographic quotes; the environment comes before .env",
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
    """Return the text of `path`.

    UserError if it is missing, is no ordinary file, cannot be read, or is not UTF-8.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # to open a pipe or a terminal could wait for ever
            what = "a folder, not a file" if stat.S_ISDIR(mode) else "no ordinary file"
            raise UserError(what, where=path, remedy=remedy)
        data = Path(path).read_bytes()
        return data.decode("utf-8").removeprefix("\ufeff")  # some editors put this mark before a text
    except FileNotFoundError:
        raise UserError("no such file", where=path, remedy=remedy) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError("not UTF-8 text", where=path, line=line, remedy="save the file as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot be read ({reason})", where=path, remedy=remedy) from None


def parse_json(text: str, path: str | Path, *, line: int | None = None, remedy: str = "") -> Any:
    """Return the value of a JSON text.

    Arguments:
        text: The text.
        path: Its file, for the message.
        line: Its line in that file, if the text is one line.
        remedy: What to do about a damaged text.

    Raises:
        UserError: The text is not JSON, is nested too deeply, has a key twice in an object, or has half a
            character (a lone surrogate such as `\\ud800`), which no file can have.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_twins)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        what = "half a character (a lone surrogate)"
    except RecursionError:
        what = "JSON that is nested too deeply"
    except ValueError as error:
        what, line = f"not JSON ({error})", line or getattr(error, "lineno", None)
    else:
        return value
    raise UserError(what, where=path, line=line, remedy=remedy)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON text. ValueError if it has a key twice: only one of the values would count."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twin, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twin!r} stands twice in one object")
    return found


def read_json(path: str | Path, remedy: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    UserError with `remedy` if the file is missing, is damaged, or has no object.
    """
    value = parse_json(read_text(path, remedy=remedy), path, remedy=remedy)
    if not isinstance(value, dict):
        raise UserError("the file has no JSON object", where=path, remedy=remedy)
    return value


def read_jsonl(
    path: str | Path, *, remedy: str = "run the conversion first: python -m scripts.data_converter"
) -> list[dict]:
    """Return the rows of a JSONL file. UserError names the first line that is not a JSON object."""
    rows = []
    again = "convert the data again"
    for number, line in enumerate(read_text(path, remedy=remedy).split("\n"), 1):
        if not line.strip():
            continue
        row = parse_json(line, path, line=number, remedy=again)
        if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
            raise UserError("the row has no list `messages`", where=path, line=number, remedy=again)
        rows.append(row)
    return rows


def check_writable(path: str | Path, folder: bool = False, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise UserError if `path` cannot be written. Call it before a long work whose result goes there.

    Nothing is made: a file is written and deleted in the nearest folder that exists.

    Arguments:
        path: The file that will be written, or the folder.
        folder: Whether it is a folder.
        inputs: Files that the work reads, and folders whose files it reads. `path` may be none of them.
    """
    path = Path(path)
    remedy = f"name another {'folder' if folder else 'file'}"
    for file in inputs:
        if file and path.is_file() and Path(file).exists() and _reads(Path(file), path):
            raise UserError("this file is an input, and would be lost", where=path, remedy=remedy)
    try:
        if path.exists() and path.is_dir() is not folder:
            is_a = "a folder, not a file" if not folder else "a file, not a folder"
            raise UserError(f"cannot be written: it is {is_a}", where=path, remedy=remedy)
        if path.exists() and not (path.is_file() or path.is_dir()):  # a device such as /dev/null
            raise UserError("cannot be written: it is no ordinary file", where=path, remedy=remedy)
        place = path if folder else path.parent
        while not os.path.lexists(place):
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot be written ({reason})", where=path, remedy=remedy) from None


def _reads(source: Path, file: Path) -> bool:
    """Whether `file` is the file `source`, or is directly in the folder `source`."""
    return os.path.samefile(source, file.resolve().parent if source.is_dir() else file)


def _holder(lock: Path) -> str:
    """The name of the process that has a lock, or "". It writes its name just after it has got the lock."""
    for _ in range(20):
        with contextlib.suppress(OSError, ValueError):  # Windows lets no other process read the file
            if holder := lock.read_text(encoding="utf-8").strip():
                return holder
        time.sleep(0.05)
    return ""


@contextlib.contextmanager
def one_writer(path: str | Path, *, inside: bool = False) -> Iterator[None]:
    """Inside this context no other process writes to `path`: a file or a folder.

    The lock ends with the process, however it ends. Its file stays, empty: `.<name>.lock` beside `path`.

    Arguments:
        path: The file or folder.
        inside: Whether the lock's file is `.lock` in the folder `path`, which then stays where it is.

    Raises:
        UserError: Another process has the lock. The message names it.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    file = path / ".lock" if inside else path.with_name(f".{path.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(file, timeout=0).acquire()
    except Timeout:
        raise UserError(
            f"another process writes here: {_holder(file) or 'it gives no name'}",
            where=path,
            remedy="wait until it has ended, or name another folder or file",
        ) from None
    with lock:
        file.write_text(f"{_process_name()}\n", encoding="utf-8")
        try:
            yield
        finally:
            file.write_text("", encoding="utf-8")


def _process_name() -> str:
    """Number, program, machine and time of this process, for a message to another one."""
    import platform

    program = getattr(sys.modules["__main__"], "__spec__", None)
    name = program.name if program else Path(sys.argv[0]).name or "python"
    return f"process {os.getpid()} ({name}) on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"


_DRAFTS: set[str] = set()
"""The drafts that this process is writing, by name."""


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that appears at `path` when the block ends well, in place of what was there.

    If the process is killed, what was at `path` stays. If it is killed between the two renames that replace
    the old folder, the next call, or `finish_new_folder`, puts the new one into its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    finish_new_folder(path)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent))
    _DRAFTS.add(draft.name)
    try:
        yield draft
        draft.chmod(0o755)
        old = draft.with_name(f"{draft.name}.old")
        if path.exists():
            path.rename(old)
        draft.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _DRAFTS.discard(draft.name)


def finish_new_folder(path: str | Path) -> None:
    """Tidy up after killed calls of `new_folder(path)`, and finish a replacement that one of them began."""
    import psutil

    path = Path(path)
    if not path.parent.is_dir():
        return
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.\w{{8}}(\.old)?")
    found = {
        entry.name: match for entry in os.scandir(path.parent) if (match := pattern.fullmatch(entry.name))
    }
    for name, match in sorted(found.items(), reverse=True):  # `<draft>.old` comes before `<draft>`
        process, draft = int(match[1]), path.with_name(name)
        is_own = process == os.getpid()  # after a restart a process may have the number of a dead one
        if name.removesuffix(".old") in _DRAFTS if is_own else psutil.pid_exists(process):
            continue
        if match[2] and not path.exists():
            finished = draft.with_suffix("")  # the old folder was moved away, so the draft is whole
            (finished if finished.is_dir() else draft).rename(path)
        shutil.rmtree(draft, ignore_errors=True)


def content_hash(*parts: str | bytes) -> str:
    """SHA-256 over `parts`, each with its length so that no two lists of parts collide; hexadecimal."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of the bytes of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def evenly_spaced(items: list, limit: int) -> list:
    """`limit` of the items at the most, evenly far apart."""
    return items if len(items) <= limit else [items[index * len(items) // limit] for index in range(limit)]
