"""Put the outputs of a run into the notebooks of the repository, so that they can be read where they lie.

    python -m tools.publish_notebooks --profile demo

Kept are results and pictures; progress bars, warnings, timings, widgets and the injected parameters are not. A cell that
was changed after the run stays without an output. The metadata says when, from which commit and with what it was run.
"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat

from scripts.notebook.runner import NOTEBOOKS
from utils_ft import ROOT, RUNS, WORKDIR, UserError, command, show_path, write_text


def publish(run: Path, notebooks: Path = ROOT / "notebooks") -> dict[Path, int]:
    """Copy the outputs of the notebooks that `run` executed to their end into `notebooks`.

    The files changed, with the number of cells in each that the run did not execute as they stand now.
    """
    file = run / "run.json"
    if not file.exists():
        raise UserError(
            "this is no run folder", where=run, remedy="python -m scripts.run_notebooks makes one below runs/"
        )
    done = json.loads(file.read_text(encoding="utf-8"))["done"]
    changed = {}
    for name in (name for name in NOTEBOOKS if name in done):
        target = notebooks / f"{name}.ipynb"
        book, executed = (nbformat.read(path, as_version=4) for path in (target, run / target.name))
        ran = {(cell.id, cell.source): cell.outputs for cell in executed.cells if cell.cell_type == "code"}
        cells = [cell for cell in book.cells if cell.cell_type == "code"]
        for number, cell in enumerate(cells, 1):
            cell.execution_count = number
            cell.outputs = [
                _clean(output, number)
                for output in ran.get((cell.id, cell.source), ())
                if _worth_keeping(output)
            ]
        book.metadata["outputs"] = {key: done[name][key] for key in ("finished", "revision", "parameters")}
        text = nbformat.writes(book) + "\n"
        for place in (ROOT, WORKDIR):  # nobody else's path
            text = text.replace(json.dumps(str(place))[1:-1], ".")
        write_text(target, text)
        changed[target] = sum((cell.id, cell.source) not in ran for cell in cells)
    return changed


def _worth_keeping(output: dict) -> bool:
    """Not what goes to standard error, nor a widget that no reader of the file can see, nor a place that was cleared."""
    if output["output_type"] == "stream":
        return output["name"] == "stdout" and "\r" not in output["text"]
    shown = output.get("data", {})
    return (
        output["output_type"] in ("display_data", "execute_result")
        and shown.get("text/html") != ""
        and not any("widget" in kind for kind in shown)
    )


def _clean(output: dict, number: int) -> dict:
    if output["output_type"] != "stream":
        output["metadata"] = {}
    if output["output_type"] == "execute_result":
        output["execution_count"] = number
    return output


def main(profile: str = "demo", run: Path | None = None) -> None:
    """Refresh the committed outputs from the last run of a profile, or from the run folder given."""
    runs = sorted(path.parent for path in RUNS.glob(f"{profile}-*/run.json"))
    if run is None and not runs:
        remedy = f"python -m scripts.run_notebooks --profile {profile}"
        raise UserError(f"there is no run of the profile {profile}", where=RUNS, remedy=remedy)
    for file, missing in publish(run or runs[-1]).items():
        print(
            show_path(file)
            + (f": {missing} cells were changed since the run and have no output" if missing else "")
        )


if __name__ == "__main__":
    command(main)()
