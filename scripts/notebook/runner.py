"""The notebooks in order, headless, for a profile: papermill with a progress bar and the executed copies kept.

    python -m scripts.run_notebooks --profile demo [-p MAX_STEPS=20] [--only ft_pytorch_qlora] [--resume]

Copies, as notebooks and as pages, and an index that links them lie in `runs/<profile>-<time>/`. The same command with
--resume goes on at the notebook that failed. Exit code 1: a cell failed; 2: something that a person can mend.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.lm.base_models import MODELS, model_spec
from utils_ft import (
    ADAPTERS,
    BENCHMARKS,
    ROOT,
    RUNS,
    UserError,
    content_hash,
    show_path,
    write_json,
    write_text,
)

NOTEBOOKS = ("data_augmentation", "data_converter", "ft_pytorch_qlora", "ft_mlx_lora")
DEFAULT = {"smoke": NOTEBOOKS, "demo": NOTEBOOKS[:3]}
"""What a profile runs; `full` trains with the engine of the machine."""
ENGINES = {"ft_pytorch_qlora": "pytorch", "ft_mlx_lora": "mlx"}


class CellFailed(Exception):
    """A cell of a notebook failed, and it was no mistake of the person: the message says which one and why."""


def notebooks_of(profile: str) -> tuple[str, ...]:
    """The notebooks that a profile runs on this machine, in order."""
    chosen = DEFAULT.get(
        profile, (*NOTEBOOKS[:2], "ft_mlx_lora" if sys.platform == "darwin" else "ft_pytorch_qlora")
    )
    return tuple(
        name for name in chosen if name != "ft_mlx_lora" or sys.platform != "win32"
    )  # there is no MLX on Windows


def in_order(only: Sequence[str]) -> tuple[str, ...]:
    """The notebooks named, in the order of the pipeline. UserError for one that there is not."""
    named = {Path(name).name.removesuffix(".ipynb") for name in only}
    if unknown := sorted(named - set(NOTEBOOKS)):
        remedy = f"one of {', '.join(NOTEBOOKS)}"
        raise UserError(f"there is no notebook {unknown[0]!r}", where=ROOT / "notebooks", remedy=remedy)
    return tuple(name for name in NOTEBOOKS if name in named)


def run_notebooks(
    profile: str,
    only: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
    resume: bool = False,
) -> Path:
    """Execute the notebooks of a profile and return the run folder.

    With `resume` the last run goes on where it did not come to its end; what it did with the same parameters and problems is
    not done again, unless a notebook before it is. UserError or CellFailed name the notebook and the cell that failed.
    """
    names = in_order(only) or notebooks_of(profile)
    chosen = _parameters(names, profile, parameters or {})
    folder = _run_folder(profile, names, resume)
    file = folder / "run.json"
    run = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"profile": profile, "done": {}}
    run |= {"notebooks": [name for name in NOTEBOOKS if name in {*names, *run["done"]}], "failed": ""}
    os.environ["FT_PROFILE"] = profile
    _keep(folder, run)
    problems, skipping = _problems_digest(Path((parameters or {}).get("BENCHMARKS") or BENCHMARKS)), True
    for name in names:
        done = run["done"].get(name, {})
        skipping = skipping and (done.get("parameters"), done.get("problems")) == (chosen[name], problems)
        if skipping:
            print(f"already done in {show_path(folder)}: {name}", flush=True)
            continue
        print(f"\n{name}", flush=True)
        run["done"].pop(name, None)
        start = time.time()
        given = [
            word for key, value in (parameters or {}).items() for word in ("-p", f"{key}={json.dumps(value)}")
        ]
        again = [
            "python",
            "-m",
            "scripts.run_notebooks",
            "--profile",
            profile,
            *(f"--only={other}" for other in only),
            *given,
        ]
        try:
            _execute(name, chosen[name], folder, shlex.join([*again, "--resume"]))
            run["done"][name] = {
                "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
                "seconds": round(time.time() - start, 1),
                "revision": _revision(),
                "parameters": chosen[name],
                "problems": problems,
            }
        except BaseException:
            run["failed"] = name
            raise
        finally:
            _page(folder, name)
            _keep(folder, run)
    return folder


def _problems_digest(folder: Path) -> str:
    """A hash of all files of a folder of problems."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return content_hash(
        *(part for file in files for part in (str(file.relative_to(folder)), file.read_bytes()))
    )


def _execute(name: str, parameters: dict[str, Any], folder: Path, again: str) -> None:
    """Run one notebook into `folder`; UserError where a cell ended in one, else CellFailed."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    draft, notebooks = folder / f"{name}.ipynb", ROOT / "notebooks"
    try:
        papermill.execute_notebook(
            str(notebooks / draft.name),
            str(draft),
            parameters=parameters,
            cwd=str(notebooks),
            kernel_name="python3",
            progress_bar=True,
            log_output=False,
            extra_arguments=["--log-level=40"],
        )
    except papermill.PapermillExecutionError as error:
        told = f"cell {error.exec_count} failed: {error.ename}: {error.evalue}"
        if error.ename == "UserError":
            raise UserError(told, where=draft, remedy=f"mend it, then: {again}") from None
        raise CellFailed(f"{show_path(draft)}: {told}\n  mend it, then: {again}") from None
    except DeadKernelError:
        raise CellFailed(
            f"{show_path(draft)}: the kernel died, as it does where memory runs out\n  to go on: {again}"
        ) from None


PATHS = ("BENCHMARKS", "MODEL", "MODEL_TYPE")


def _parameters(names: Sequence[str], profile: str, parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each notebook gets of `parameters`. papermill only warns of one that no notebook has; here it is an error.

    Folders are named as seen from where the command is given, and the notebooks run in another place.
    """
    import papermill

    known = {
        name: set(papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))) for name in names
    }
    everywhere = set().union(*known.values()) - {"PROFILE"}
    if unknown := sorted(set(parameters) - everywhere):
        remedy = (
            "give it as --profile" if unknown[0] == "PROFILE" else f"one of {', '.join(sorted(everywhere))}"
        )
        raise UserError(f"no notebook of this run has a parameter {unknown[0]}", remedy=remedy)
    for name in PATHS:
        value = parameters.get(name)
        if isinstance(value, str) and value not in MODELS and Path(value).is_dir():
            parameters = parameters | {name: str(Path(value).resolve())}
    given = {name: {key: value for key, value in parameters.items() if key in known[name]} for name in names}
    return {name: {"PROFILE": profile} | values for name, values in given.items()}


def _run_folder(profile: str, names: Sequence[str], resume: bool) -> Path:
    """A new run folder, or with `resume` that of the last run of this profile where it did not come to its end."""
    earlier = sorted(path.parent for path in RUNS.glob(f"{profile}-*/run.json"))
    if (
        resume
        and earlier
        and set(names) - set(json.loads((earlier[-1] / "run.json").read_text(encoding="utf-8"))["done"])
    ):
        return earlier[-1]
    while True:
        folder = RUNS / f"{profile}-{time.strftime('%Y%m%d-%H%M%S')}"
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder
        time.sleep(0.2)  # two runs in one second


def _revision() -> str:
    """The commit of the checkout, with `-dirty` where it was changed; `unknown` without git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


# --- what lies in the run folder --------------------------------------------------------------------------------


def _page(folder: Path, name: str) -> None:
    """The executed copy as a page beside it, as far as it came."""
    from nbconvert import HTMLExporter

    with contextlib.suppress(OSError, ValueError):  # nothing was run, or it was ended while it wrote
        write_text(folder / f"{name}.html", HTMLExporter().from_filename(str(folder / f"{name}.ipynb"))[0])


INDEX = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 2em }} td, th {{ padding: 2px 12px; text-align: left }}</style>
<h1>{title}</h1>
<table><tr><th>notebook<th>finished<th>took<th>revision<th>parameters</tr>
{rows}
</table>
"""


def _keep(folder: Path, run: dict) -> None:
    """Write the state of a run, and the index that links its copies."""
    write_json(folder / "run.json", run)
    rows = []
    for name in run["notebooks"]:
        links = f'<a href="{name}.html">{name}</a> (<a href="{name}.ipynb">notebook</a>)'
        if done := run["done"].get(name):
            given = html.escape(", ".join(f"{key} = {value!r}" for key, value in done["parameters"].items()))
            cells = [links, done["finished"], f"{done['seconds'] / 60:.1f} min", done["revision"], given]
        else:
            cells = [links, "failed"] if name == run["failed"] else [name, "to come"]
        rows.append("<tr>" + "".join(f"<td>{cell}" for cell in cells) + "</tr>")
    write_text(folder / "index.html", INDEX.format(title=folder.name, rows="\n".join(rows)))


def results(model_type: str, engine: str = "pytorch") -> dict[str, dict]:
    """The test scores that the training notebook left: label → figures."""
    run = ADAPTERS / f"{model_spec(model_type).type}_{engine}"
    files = {"base": run / "test-base.json", "fine-tuned": run / "test-fused.json"}
    return {
        label: json.loads(file.read_text(encoding="utf-8")) for label, file in files.items() if file.exists()
    }


# --- the command ------------------------------------------------------------------------------------------------


def _value(text: str) -> Any:
    """A parameter's value from the command line: JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return {"None": None, "True": True, "False": False}.get(text, text)
