"""Copy the outputs of a run into the committed notebooks, so that they can be read on the web.

    python -m tools.publish_notebooks --profile demo

Results, figures and their alternative texts are kept; progress bars, warnings, timings, widgets and
injected parameters are not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.notebook.runner import NOTEBOOKS
from utils_ft import ROOT, RUNS, WORKDIR, UserError, command, show_path, write_text

if TYPE_CHECKING:
    from nbformat import NotebookNode


def publish(run: Path, notebooks: Path = ROOT / "notebooks") -> dict[Path, int]:
    """Copy the outputs of the notebooks that are done in `run` into the files of `notebooks`.

    The metadata of a file gets time, commit and parameters of the run. A cell whose text differs from the
    executed one has no output afterwards.

    Returns:
        Changed file → the number of its cells without an output.

    Raises:
        UserError: `run` is not a run folder.
    """
    import nbformat

    file = run / "run.json"
    if not file.exists():
        remedy = "python -m scripts.run_notebooks makes one in runs/"
        raise UserError("this is not a run folder", where=run, remedy=remedy)
    done = json.loads(file.read_text(encoding="utf-8"))["done"]
    changed = {}
    for name in (name for name in NOTEBOOKS if name in done):
        target = notebooks / f"{name}.ipynb"
        book, executed = (nbformat.read(path, as_version=4) for path in (target, run / target.name))
        missing = _copy_outputs(executed, book)
        book.metadata["outputs"] = {key: done[name][key] for key in ("finished", "revision", "parameters")}
        text = nbformat.writes(book) + "\n"
        for folder in (ROOT, WORKDIR):  # no path of this machine is published
            text = text.replace(json.dumps(str(folder))[1:-1], ".")
        write_text(target, text)
        changed[target] = missing
    return changed


def _copy_outputs(executed: NotebookNode, book: NotebookNode) -> int:
    """Give each code cell of `book` the outputs of the same cell of `executed`.

    Returns how many cells of `book` have no such cell.
    """
    ran = {(cell.id, cell.source): cell.outputs for cell in executed.cells if cell.cell_type == "code"}
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, 1):
        outputs = ran.get((cell.id, cell.source), ())
        cell.execution_count = number
        cell.outputs = [_clean(output, number) for output in outputs if _is_kept(output)]
    return sum((cell.id, cell.source) not in ran for cell in cells)


def _is_kept(output: dict) -> bool:
    """Whether an output is a result: not standard error, a progress bar, a widget, or a cleared place."""
    if output["output_type"] == "stream":
        return output["name"] == "stdout" and "\r" not in output["text"]
    shown = output.get("data", {})
    return (
        output["output_type"] in ("display_data", "execute_result")
        and shown.get("text/html") != ""
        and not any("widget" in kind for kind in shown)
    )


def _clean(output: dict, number: int) -> dict:
    """`output` with the number of its cell, and of its metadata only the alternative text of an image."""
    if output["output_type"] != "stream":
        images = {kind: known for kind, known in output["metadata"].items() if isinstance(known, dict)}
        output["metadata"] = {kind: {"alt": known["alt"]} for kind, known in images.items() if "alt" in known}
    if output["output_type"] == "execute_result":
        output["execution_count"] = number
    return output


def main(profile: str = "demo", run: Path | None = None) -> None:
    """Copy the outputs of a run into the committed notebooks.

    Arguments:
        profile: The profile whose last run is taken.
        run: The run folder to take instead.
    """
    runs = sorted(path.parent for path in RUNS.glob(f"{profile}-*/run.json"))
    if run is None and not runs:
        remedy = f"python -m scripts.run_notebooks --profile {profile}"
        raise UserError(f"there is no run of the profile {profile}", where=RUNS, remedy=remedy)
    for file, missing in publish(run or runs[-1]).items():
        note = f": {missing} cells have changed since the run and have no output" if missing else ""
        print(f"{show_path(file)}{note}")


if __name__ == "__main__":
    command(main)()
