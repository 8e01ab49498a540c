"""Kept scores: computed once for the same model, problems, settings and scoring version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.data.problems import Problem, held_out_families
from utils_ft import content_hash, show_path, write_json

RECORDS = (
    "fuse.json",
    "trainer_state.json",
    "complete.json",
)  # which say how a folder came about, and change no answer


SCORING_VERSION = 1
"""The version of what decides a score. Scores, studies and own errors that are kept hold for one version.

Raise it with any change of the prompts, the repair messages, the verdicts, the loop or the rates; of the rows that are
converted or drawn for repair; of the grammar, or of how answers are decoded and sampled. An edit that changes no answer and
no figure leaves it as it is. Then `python -m tests.golden_verdicts` records the new version: tests/test_scoring_version.py
fails where the recorded behaviour changes under an old one. It sees neither decoding nor sampling.
"""


def once(
    out: Path,
    model: Path,
    adapter: Path | None,
    problems: Sequence[Problem],
    settings: dict,
    score: Callable[[str], dict],
) -> dict:
    """What `score` finds, kept in `out`, or what is kept there of the same weights, problems, settings and `SCORING_VERSION`.

    `score` is given the hash of all these, under which it can keep parts. `asked` in the result is the hash of all but the
    adapter: where it is the same, two adapters can be compared.
    """
    asked = content_hash(
        weights_digest(model),
        json.dumps(settings),
        str(SCORING_VERSION),
        *(problem.digest for problem in problems),
        *sorted(held_out_families(problems)),
    )
    identity = content_hash(asked, weights_digest(adapter) if adapter else "")
    if kept := kept_in(out, identity):
        print(f"already scored: {show_path(out)}", flush=True)
        return kept
    result = {
        "identity": identity,
        "asked": asked,
        "model": show_path(model),
        "adapter": show_path(adapter) if adapter else None,
        "settings": settings,
        "problems": [problem.id for problem in problems],
        **score(identity),
    }
    write_json(out, result)
    return result


def kept_in(file: Path, identity: str) -> dict | None:
    """What was left in `file` under this `identity`; None where there is none that can be read, or another."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.get("identity") == identity else None


def weights_digest(folder: Path) -> str:
    """A hash of weights, tokenizer and configuration in a folder."""
    state = hashlib.sha256()
    for file in sorted(
        file for file in folder.iterdir() if file.suffix in (".safetensors", ".json", ".jinja", ".model")
    ):
        if file.name not in RECORDS:
            state.update(file.name.encode())
            with file.open("rb") as data:
                while part := data.read(2**24):
                    state.update(part)
    return state.hexdigest()
