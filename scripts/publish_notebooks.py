"""Put the outputs of a run into the notebooks of the repository, so that they can be read where they lie.

    python -m scripts.publish_notebooks --profile demo

Kept are results and pictures; progress bars, warnings, timings, widgets and the injected parameters are not.
"""

from __future__ import annotations

from pathlib import Path

import nbformat

from scripts.run_notebooks import NOTEBOOKS
from utils_ft import ROOT, RUNS, UserError, command, show_path, write_text


def publish(run: Path) -> list[Path]:
    """Copy the outputs of the executed notebooks in `run` into `notebooks/`; the files changed."""
    changed = []
    for name in NOTEBOOKS:
        executed = run / f"{name}.ipynb"
        if not executed.exists():
            continue
        target = ROOT / "notebooks" / f"{name}.ipynb"
        book, done = (nbformat.read(file, as_version=4) for file in (target, executed))
        ran = {cell.id: cell for cell in done.cells if cell.cell_type == "code"}
        number = 0
        for cell in book.cells:
            if cell.cell_type != "code":
                continue
            number += 1
            cell.execution_count = number
            cell.outputs = [_clean(output, number) for output in ran[cell.id].outputs if _worth_keeping(output)] if cell.id in ran else []
        text = nbformat.writes(book) + "\n"
        write_text(target, text.replace(str(ROOT), "."))
        changed.append(target)
    return changed


def _worth_keeping(output: dict) -> bool:
    """Not what goes to standard error, nor a widget that no reader of the file can see."""
    if output["output_type"] == "stream":
        return output["name"] == "stdout" and "\r" not in output["text"]
    return output["output_type"] in ("display_data", "execute_result") and not any("widget" in kind for kind in output["data"])


def _clean(output: dict, number: int) -> dict:
    output["metadata"] = {} if output["output_type"] != "stream" else output.get("metadata", {})
    if output["output_type"] == "stream":
        output.pop("metadata", None)
    if output["output_type"] == "execute_result":
        output["execution_count"] = number
    return output


def main(profile: str = "demo", run: Path | None = None) -> None:
    """Refresh the committed outputs from the last run of a profile, or from the run folder given."""
    runs = sorted(path for path in RUNS.glob(f"{profile}-*") if (path / "run.json").exists())
    if run is None and not runs:
        remedy = f"python -m scripts.run_notebooks --profile {profile}"
        raise UserError(f"there is no run of the profile {profile}", where=RUNS, remedy=remedy)
    for file in publish(run or runs[-1]):
        print(show_path(file))


if __name__ == "__main__":
    command(main)()
