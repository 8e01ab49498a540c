"""Runs the notebooks of a profile with papermill and keeps the executed copies.

The copies, as notebooks and as HTML pages, and an index are in `runs/<profile>-<time>/`. An interrupted
run can be resumed: notebooks that are done with the same parameters and problems are not run again.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.lm.base_models import MODELS, model_spec
from scripts.notebook.parameters import check
from utils_ft import (
    ADAPTERS,
    BENCHMARKS,
    ROOT,
    RUNS,
    UserError,
    check_writable,
    content_hash,
    one_writer,
    read_json,
    show_path,
    write_json,
    write_text,
)

NOTEBOOKS = ("data_augmentation", "data_converter", "ft_pytorch_qlora", "ft_mlx_lora")
"""All notebooks, in the order of the pipeline."""
DEFAULT = {"smoke": NOTEBOOKS, "demo": NOTEBOOKS[:3]}
"""Profile → its notebooks. Other profiles have the engine that fits the machine."""
ENGINES = {"ft_pytorch_qlora": "pytorch", "ft_mlx_lora": "mlx"}
"""Training notebook → its engine."""
PATHS = ("BENCHMARKS", "MODEL", "MODEL_TYPE")
"""Parameters that may be a folder."""


_DAMAGED = "move its folder out of runs/, then run the notebooks without --resume"
_STATE = {"notebooks": list, "done": dict, "failed": str}
"""The entries of a run's `run.json`, besides the profile."""
_RECORD = {"finished", "seconds", "revision", "parameters"}
"""The entries of the record of a notebook."""


class CellFailed(Exception):
    """A cell failed with an error that is not a UserError. The message has notebook, cell and error."""


@dataclass
class Run:
    """The state of a run, kept in `run.json` of its folder.

    Attributes:
        folder: The run folder.
        profile: The name of the profile.
        notebooks: The names of all notebooks of the run, in order.
        done: Name → record of a notebook that is done (finished, seconds, revision, parameters, problems).
        failed: The name of the notebook that failed, or "".
    """

    folder: Path
    profile: str
    notebooks: list[str] = field(default_factory=list)
    done: dict[str, dict] = field(default_factory=dict)
    failed: str = ""

    @classmethod
    def load(cls, folder: Path, profile: str) -> Run:
        """The run of a folder; a new one if the folder has no `run.json`."""
        file = folder / "run.json"
        if not file.exists():
            return cls(folder, profile)
        state = read_json(file, _DAMAGED)
        run = cls(folder, profile, *(state.get(name, kind()) for name, kind in _STATE.items()))
        is_whole = all(isinstance(getattr(run, name), kind) for name, kind in _STATE.items())
        if not is_whole or not all({*record} >= _RECORD for record in run.done.values()):
            raise UserError("the file has no state of a run", where=file, remedy=_DAMAGED)
        return run

    def save(self) -> None:
        """Write `run.json` and the index that links the copies."""
        state = {
            "profile": self.profile,
            "done": self.done,
            "notebooks": self.notebooks,
            "failed": self.failed,
        }
        write_json(self.folder / "run.json", state)
        rows = "\n".join(
            "<tr>" + "".join(f"<td>{cell}" for cell in self._row(name)) for name in self.notebooks
        )
        title = html.escape(self.folder.name)
        write_text(self.folder / "index.html", INDEX.format(title=title, rows=rows))

    def _row(self, name: str) -> list[str]:
        """The cells of a notebook's row in the index."""
        links = f'<a href="{name}.html">{name}</a> (<a href="{name}.ipynb">notebook</a>)'
        if record := self.done.get(name):
            given = ", ".join(f"{key} = {value!r}" for key, value in record["parameters"].items())
            minutes = f"{record['seconds'] / 60:.1f} min"
            texts = (record["finished"], minutes, record["revision"], given)
            return [links, *map(html.escape, texts)]
        return [links, "failed"] if name == self.failed else [name, "to do"]

    def is_done(self, name: str, parameters: Mapping[str, Any], problems: str) -> bool:
        """Whether a notebook is done with these parameters and with problems of this hash."""
        record = self.done.get(name, {})
        return (record.get("parameters"), record.get("problems")) == (parameters, problems)


INDEX = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em }}
td, th {{ padding: 2px 12px; text-align: left }}
</style>
<h1>{title}</h1>
<table><tr><th>notebook<th>finished<th>took<th>revision<th>parameters</tr>
{rows}
</table>
"""


def notebooks_of(profile: str) -> tuple[str, ...]:
    """The notebooks that a profile runs on this machine, in order. Windows has no MLX."""
    engine = "ft_mlx_lora" if sys.platform == "darwin" else "ft_pytorch_qlora"
    names = DEFAULT.get(profile, (*NOTEBOOKS[:2], engine))
    return tuple(name for name in names if name != "ft_mlx_lora" or sys.platform != "win32")


def in_order(only: Sequence[str]) -> tuple[str, ...]:
    """The notebooks in `only`, in the order of the pipeline. Raises UserError for an unknown name."""
    wanted = {Path(name).name.removesuffix(".ipynb") for name in only}
    if unknown := sorted(wanted - set(NOTEBOOKS)):
        remedy = f"one of {', '.join(NOTEBOOKS)}"
        raise UserError(f"there is no notebook {unknown[0]!r}", where=ROOT / "notebooks", remedy=remedy)
    return tuple(name for name in NOTEBOOKS if name in wanted)


def run_notebooks(
    profile: str,
    only: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
    resume: bool = False,
) -> Path:
    """Run the notebooks of a profile.

    Arguments:
        profile: The name of the profile.
        only: Names of notebooks to run, in any order; all notebooks of the profile if empty.
        parameters: Values for the notebooks' parameters cells.
        resume: Whether to continue the last run of the profile if it is not complete. A notebook that is
            done with the same parameters and problems is not run again, unless one before it is.

    Returns:
        The run folder.

    Raises:
        UserError: A parameter or notebook is unknown, a parameter cannot have its value, or a cell raised a
            UserError.
        CellFailed: A cell failed with another error.
    """
    parameters = parameters or {}
    check(parameters)
    names = in_order(only) or notebooks_of(profile)
    chosen = _parameters_of(names, profile, parameters)
    check_writable(RUNS, folder=True)
    problems = _problems_digest(Path(parameters.get("BENCHMARKS") or BENCHMARKS))
    run = Run.load(_run_folder(profile, names, resume), profile)
    os.environ["FT_PROFILE"] = profile
    with one_writer(run.folder):
        _run_all(run, chosen, problems, _resume_command(profile, only, parameters))
    return run.folder


def _run_all(run: Run, chosen: Mapping[str, dict[str, Any]], problems: str, command: str) -> None:
    """Run those of the notebooks `chosen` (name → parameters) that are not done, in order."""
    run.notebooks = [name for name in NOTEBOOKS if name in {*chosen, *run.done}]
    run.failed = ""
    run.save()
    skipping = True
    for name, parameters in chosen.items():
        skipping = skipping and run.is_done(name, parameters, problems)
        if skipping:
            print(f"already done in {show_path(run.folder)}: {name}", flush=True)
        else:
            print(f"\n{name}", flush=True)
            _run_one(run, name, parameters, problems, command)


def results(model_type: str, engine: str = "pytorch") -> dict[str, dict]:
    """The test scores that a training notebook wrote: `base` and `fine-tuned` → figures, if they exist."""
    run = ADAPTERS / f"{model_spec(model_type).type}_{engine}"
    files = {"base": run / "test-base.json", "fine-tuned": run / "test-fused.json"}
    return {
        label: read_json(file, "remove it and run the notebook again")
        for label, file in files.items()
        if file.exists()
    }


def _run_one(run: Run, name: str, parameters: dict[str, Any], problems: str, command: str) -> None:
    """Run one notebook and record it in `run`, whatever happens. `command` resumes the run."""
    run.done.pop(name, None)
    start = time.time()
    try:
        _execute(name, parameters, run.folder, command)
        run.done[name] = {
            "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
            "seconds": round(time.time() - start, 1),
            "revision": _revision(),
            "parameters": parameters,
            "problems": problems,
        }
    except BaseException:
        run.failed = name
        raise
    finally:
        _write_page(run.folder, name)
        run.save()


def _execute(name: str, parameters: dict[str, Any], folder: Path, command: str) -> None:
    """Run one notebook into `folder`. Raises UserError if a cell raised one, else CellFailed."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    notebooks = ROOT / "notebooks"
    copy = folder / f"{name}.ipynb"
    try:
        papermill.execute_notebook(
            str(notebooks / copy.name),
            str(copy),
            parameters=parameters,
            cwd=str(notebooks),
            kernel_name="python3",
            progress_bar=True,
            log_output=False,
            extra_arguments=["--log-level=40"],
        )
    except papermill.PapermillExecutionError as error:
        failure = f"cell {error.exec_count} failed: {error.ename}: {error.evalue}"
        if error.ename == "UserError":
            raise UserError(failure, where=copy, remedy=f"correct it, then resume: {command}") from None
        raise CellFailed(f"{show_path(copy)}: {failure}\n  correct it, then resume: {command}") from None
    except DeadKernelError:
        raise CellFailed(
            f"{show_path(copy)}: the kernel died, most likely because memory ran out\n  to resume: {command}"
        ) from None


def _parameters_of(
    names: Sequence[str], profile: str, parameters: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Notebook → those of `parameters` that it has, with the profile.

    Raises UserError for a parameter that no notebook has; papermill would only warn. Folders become absolute,
    because notebooks run in another working folder.
    """
    import papermill

    known = {
        name: set(papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))) for name in names
    }
    allowed = set().union(*known.values()) - {"PROFILE"}
    if unknown := sorted(set(parameters) - allowed):
        is_profile = unknown[0] == "PROFILE"
        remedy = "give it as --profile" if is_profile else f"one of {', '.join(sorted(allowed))}"
        raise UserError(f"no notebook of this run has a parameter {unknown[0]}", remedy=remedy)
    for name in PATHS:
        value = parameters.get(name)
        if isinstance(value, str) and value not in MODELS and Path(value).is_dir():
            parameters = parameters | {name: str(Path(value).resolve())}
    return {
        name: {"PROFILE": profile} | {key: value for key, value in parameters.items() if key in known[name]}
        for name in names
    }


def _run_folder(profile: str, names: Sequence[str], resume: bool) -> Path:
    """A new run folder; with `resume`, the last one of the profile if one of `names` is not done in it."""
    earlier = sorted(path.parent for path in RUNS.glob(f"{profile}-*/run.json"))
    now = f"{profile}-{time.strftime('%Y%m%d-%H%M%S')}"
    for folder in [folder for folder in earlier if folder.name > now]:  # made while the clock was wrong
        print(f"{show_path(folder)} is dated ahead of the clock: it is not resumed", flush=True)
        earlier.remove(folder)
    if resume and earlier and set(names) - set(Run.load(earlier[-1], profile).done):
        return earlier[-1]
    while True:
        folder = RUNS / f"{profile}-{time.strftime('%Y%m%d-%H%M%S')}"
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder
        time.sleep(0.2)  # a second run within the same second


def _resume_command(profile: str, only: Sequence[str], parameters: Mapping[str, Any]) -> str:
    """The command line that resumes a run."""
    words = ["python", "-m", "scripts.run_notebooks", "--profile", profile]
    words += [f"--only={name}" for name in only]
    for name, value in parameters.items():
        words += ["-p", f"{name}={json.dumps(value)}"]
    return shlex.join([*words, "--resume"])


def _problems_digest(folder: Path) -> str:
    """A hash of all files of a folder of problems."""
    parts: list[str | bytes] = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        parts += [str(file.relative_to(folder)), file.read_bytes()]
    return content_hash(*parts)


def _revision() -> str:
    """The commit of the checkout, with `-dirty` if files differ from it; `unknown` without git."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


_PAGE = """{%- extends "lab/index.html.j2" -%}
{%- block data_png scoped -%}
<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img src="data:image/png;base64,{{ output.data["image/png"] }}"
alt="{{ (output | get_metadata("alt", "image/png") or "") | escape_html }}">
</div>
{%- endblock data_png -%}
"""
"""The template of a page: nbconvert's own, whose images have no alternative texts, with these texts."""


def _write_page(folder: Path, name: str) -> None:
    """Write the executed copy of a notebook as an HTML page beside it, as far as it was executed."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(extra_loaders=[DictLoader({"page.j2": _PAGE})], template_file="page.j2")
    with contextlib.suppress(OSError, ValueError):  # no copy, or papermill was stopped while writing it
        page, _ = exporter.from_filename(str(folder / f"{name}.ipynb"))
        write_text(folder / f"{name}.html", page)
