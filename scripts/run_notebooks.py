"""The notebooks in order, headless, for a profile: papermill with a progress bar and the executed copies kept.

    python -m scripts.run_notebooks --profile demo [-p MAX_STEPS=20] [--only ft_pytorch_qlora] [--resume]

Copies, figures of the run and an index page lie in `runs/<profile>-<time>/`. Every notebook skips what is done
already, so the same command after a fault or a kill goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.base_models import model_spec
from scripts.recipe import profile as profile_named
from utils_ft import ADAPTERS, LOCAL_MODELS, ROOT, RUNS, UserError, command, show_path, write_json, write_text

NOTEBOOKS = ("data_augmentation", "data_converter", "ft_pytorch_qlora", "ft_mlx_lora")
DEFAULT = {"smoke": NOTEBOOKS, "demo": NOTEBOOKS[:3]}
"""What a profile runs; `full` trains with the engine of the machine."""


def notebooks_of(profile: str) -> tuple[str, ...]:
    """The notebooks that a profile runs on this machine, in order."""
    if profile in DEFAULT:
        return DEFAULT[profile]
    return (*NOTEBOOKS[:2], "ft_mlx_lora" if sys.platform == "darwin" else "ft_pytorch_qlora")


def run_notebooks(profile: str, only: tuple[str, ...] = (), parameters: dict[str, Any] | None = None, resume: bool = False) -> Path:
    """Execute the notebooks of a profile and return the run folder. UserError names the notebook and cell that failed."""
    import papermill

    names = only or notebooks_of(profile)
    for name in names:
        if not (ROOT / "notebooks" / f"{name}.ipynb").exists():
            raise UserError(f"there is no notebook {name!r}", where=ROOT / "notebooks", remedy=f"one of {', '.join(NOTEBOOKS)}")
    chosen = {name: _parameters(name, names, profile, parameters or {}) for name in names}
    folder = _run_folder(profile, names, resume)
    state = json.loads((folder / "run.json").read_text()) if (folder / "run.json").exists() else {}
    state |= {"profile": profile, "revision": _revision(), "parameters": parameters or {}}
    done = state.setdefault("done", {})
    write_json(folder / "run.json", state)
    os.environ["FT_PROFILE"] = profile
    for name in names:
        if name in done:
            print(f"already done in {show_path(folder)}: {name}", flush=True)
            continue
        print(f"\n{name}", flush=True)
        start = time.time()
        draft = folder / f"{name}.ipynb"
        try:
            papermill.execute_notebook(
                str(ROOT / "notebooks" / f"{name}.ipynb"), str(draft), parameters=chosen[name], cwd=str(ROOT / "notebooks"),
                kernel_name="python3", progress_bar=True, log_output=False, extra_arguments=["--log-level=40"],
            )
        except papermill.PapermillExecutionError as error:
            write_json(folder / "run.json", state)
            _index(folder, state, failed=name)
            raise UserError(
                f"cell {error.exec_count} failed: {error.ename}: {error.evalue}", where=draft,
                remedy=f"mend it, then: python -m scripts.run_notebooks --profile {profile} --resume",
            ) from None
        done[name] = round(time.time() - start, 1)
        write_json(folder / "run.json", state)
        _index(folder, state)
    return folder


def _parameters(name: str, names: tuple[str, ...], profile: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a notebook has a default for. papermill only warns of an unknown one; here it is an error."""
    import papermill

    known = {other: set(papermill.inspect_notebook(str(ROOT / "notebooks" / f"{other}.ipynb"))) for other in names}
    everywhere = set().union(*known.values())
    if unknown := sorted(set(parameters) - everywhere):
        raise UserError(f"no notebook of this run has a parameter {unknown[0]}", remedy=f"one of {', '.join(sorted(everywhere))}")
    return {"PROFILE": profile} | {key: value for key, value in parameters.items() if key in known[name]}


def _run_folder(profile: str, names: tuple[str, ...], resume: bool) -> Path:
    """A new run folder, or with `resume` that of the last run of this profile where it did not come to its end."""
    earlier = sorted(path for path in RUNS.glob(f"{profile}-*") if (path / "run.json").exists())
    if resume and earlier and set(names) - set(json.loads((earlier[-1] / "run.json").read_text())["done"]):
        return earlier[-1]
    folder = RUNS / f"{profile}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _revision() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() or "unknown"


def _index(folder: Path, state: dict, failed: str = "") -> None:
    """A page that links the executed copies."""
    rows = [f'<li><a href="{name}.ipynb">{name}</a> — {seconds} s</li>' for name, seconds in state["done"].items()]
    if failed:
        rows.append(f'<li><a href="{failed}.ipynb">{failed}</a> — failed</li>')
    write_text(folder / "index.html", f"<!doctype html><meta charset=utf-8><title>{folder.name}</title><h1>{folder.name}</h1>"
               f"<p>revision {state['revision']}, profile {state['profile']}</p><ul>{''.join(rows)}</ul>\n")


def results(model_type: str, engine: str = "pytorch") -> dict[str, dict]:
    """The test scores that the training notebook left: label → figures."""
    run = ADAPTERS / f"{model_spec(model_type).type}_{engine}"
    files = {"base": run / "test-base.json", "fine-tuned": run / "test-fused.json"}
    return {label: json.loads(file.read_text()) for label, file in files.items() if file.exists()}


def _value(text: str) -> Any:
    """A parameter's value from the command line: JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return {"None": None, "True": True, "False": False}.get(text, text)


def main(
    profile: str | None = None, only: list[str] | None = None,
    p: Annotated[list[str] | None, typer.Option("-p", help="NAME=VALUE, a notebook's parameter")] = None, resume: bool = False,
) -> None:
    """Run the notebooks of a profile and print the scores before and after."""
    chosen = profile_named(profile)
    parameters = {}
    for pair in p or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{pair!r} is no parameter", remedy="write -p NAME=VALUE")
        parameters[name] = _value(value)
    folder = run_notebooks(chosen.name, tuple(only or ()), parameters, resume)
    print(f"\nexecuted notebooks: {show_path(folder / 'index.html')}")
    model_type = parameters.get("MODEL_TYPE") or chosen.model_type
    if found := results(model_type):
        from scripts.show import scores

        print(f"\n{scores(found).to_string(index=False)}")
        print(f"\nfused model: {show_path(LOCAL_MODELS / f'ft_{model_spec(model_type).type}_pytorch')}")


if __name__ == "__main__":
    command(main)()
