"""Rows of JSONL files: the splits, reading, writing, and the rows of the validation loss."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils_ft import (
    UserError,
    content_hash,
    evenly_spaced,
    file_sha256,
    read_json,
    read_jsonl,
    read_text,
    show_path,
    write_json,
    write_text,
)

SPLITS = ("train", "valid", "test")

Row = dict[str, Any]
"""`messages`: a list of {"role", "content"}.

`meta`: where the row comes from (docs/data.md lists its keys).
"""

REPORT = "report.json"
"""The file beside the rows that is written last. It has the SHA-256 of the file of each split."""

DRAFT = ".report.json"
"""The report while the rows are written. It says which rows an interrupted command wrote."""

EVAL_ROWS = 24  # validation rows for the loss during training: enough to see overfitting, and fast


def to_jsonl(rows: Iterable[Row]) -> str:
    """Return `rows` as the text of a JSONL file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_row_files(
    folder: Path, rows: Mapping[str, Iterable[Row]], report: dict[str, Any]
) -> dict[str, Any]:
    """Write `<split>.jsonl` for each split, then `report.json`, as `write_with_report` does."""
    return write_with_report(folder, {split: to_jsonl(rows[split]) for split in SPLITS}, report)


def write_with_report(folder: Path, texts: Mapping[str, str], report: dict[str, Any]) -> dict[str, Any]:
    """Write JSONL files, then `report.json` with their SHA-256.

    Files that no earlier call wrote are kept under another name, and a line says so. If the process is killed
    between two files, the report does not fit the rows, and `load_rows` refuses them.

    Arguments:
        folder: The folder.
        texts: The text of each file, by its name without `.jsonl`.
        report: The content of the report, to which the hashes are added.

    Returns:
        The content of `report.json`.
    """
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    whole = report | {"sha256": hashes}
    _keep_others(folder, hashes)
    draft = write_json(folder / DRAFT, whole)
    for name, text in texts.items():
        write_text(folder / f"{name}.jsonl", text)
    draft.replace(folder / REPORT)
    return whole


def _keep_others(folder: Path, new: Mapping[str, str]) -> None:
    """Rename the JSONL files that no report of the folder has, and a report that has no hashes.

    The new name has the beginning of the file's hash. `new` has the hashes of the files that will be written.
    """
    written = _hashes(folder / REPORT)
    reports = (written, _hashes(folder / DRAFT), new)
    files = {folder / f"{name}.jsonl": [report.get(name) for report in reports] for name in new}
    others = [file for file, known in files.items() if file.is_file() and file_sha256(file) not in known]
    if (folder / REPORT).is_file() and not written:
        others.append(folder / REPORT)
    for file in others:
        kept = file.with_name(f"{file.stem}.{file_sha256(file)[:12]}{file.suffix}")
        file.replace(kept)
        print(f"{show_path(file)} was not written by this command: it is now {show_path(kept)}", flush=True)


def _hashes(report: Path) -> dict[str, Any]:
    """The hashes in a report. There are none if the file is missing or is no report."""
    if not report.is_file():
        return {}
    try:
        hashes = read_json(report, "").get("sha256")
    except UserError:
        return {}
    return hashes if isinstance(hashes, dict) else {}


def load_rows(data_dir: str | Path, split: str) -> list[Row]:
    """Read `<data_dir>/<split>.jsonl`.

    Raises:
        UserError: There is no such file, a row is not a conversation (the error names its line), or the file
            is not the one of the report beside it. Rows without a report are read as they are.
    """
    path = Path(data_dir) / f"{split}.jsonl"
    rows = read_jsonl(path)
    check_report(path, "convert the data again")
    for index, row in enumerate(rows):
        if problem := _problem(row):
            lines = [number for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
            remedy = "convert the data again: python -m scripts.data_converter"
            raise UserError(problem, where=path, line=lines[index], remedy=remedy)
    return rows


def check_report(path: Path, again: str) -> None:
    """UserError if the report beside the JSONL file `path` has another hash for it.

    `again` is what a person does to get new rows, as in `convert the data again`.
    """
    file = path.with_name(REPORT)
    if not file.exists():
        return
    report = read_json(file, f"{again}, or remove the file if the rows are made by hand")
    if "sha256" not in report:
        return
    hashes = report["sha256"]
    if not isinstance(hashes, dict) or hashes.get(path.stem) != file_sha256(path):
        raise UserError(
            f"this file and {REPORT} do not belong together: "
            "a command was interrupted, or a file was changed",
            where=path,
            remedy=f"{again}; if the rows are made by hand, remove {REPORT}",
        )


def _problem(row: Row) -> str | None:
    """What is wrong with a row, or None."""
    if not isinstance(row.get("meta", {}), dict):
        return "`meta` is no object"
    messages = row["messages"]
    for message in messages:
        if not isinstance(message, dict) or not all(
            isinstance(message.get(key), str) for key in ("role", "content")
        ):
            return "a message is no {role, content} of two texts"
    if not messages or messages[-1]["role"] != "assistant":
        return "the conversation does not end with the assistant"
    if messages[0]["role"] == "assistant":
        return "the conversation begins with the assistant"
    return None


def is_repair(row: Row) -> bool:
    """Whether a row is a repair. Rows made by hand may have no `meta`."""
    return row.get("meta", {}).get("kind") == "repair"


def validation_rows(data_dir: str | Path) -> list[Row]:
    """Return the rows for the validation loss: `EVAL_ROWS` of the validation split, half of them repairs.

    They are evenly spaced, so that they come from many problems.

    Raises:
        UserError: The validation split is empty. The choice of a checkpoint and the check of a fused model
            need it.
    """
    rows = load_rows(data_dir, "valid")
    if not rows:
        raise UserError(
            "there is no validation row",
            where=Path(data_dir) / "valid.jsonl",
            remedy="name a validation problem in split.json beside the families, "
            '{"valid": ["family/problem"]}, and convert again',
        )
    repairs = [row for row in rows if is_repair(row)]
    others = [row for row in rows if not is_repair(row)]
    chosen = evenly_spaced(others, max(EVAL_ROWS // 2, EVAL_ROWS - len(repairs)))
    return chosen + evenly_spaced(repairs, EVAL_ROWS - len(chosen))


def data_digest(rows: Sequence[Row]) -> str:
    """Return the SHA-256 of the messages of `rows`, in their order: a model learns from nothing else."""
    return content_hash(*(json.dumps(row["messages"], ensure_ascii=False, sort_keys=True) for row in rows))
