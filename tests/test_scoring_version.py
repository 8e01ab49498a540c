"""Scoring and encoding behave as recorded for their versions, so results that are stored under a version
are valid.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from scripts.data.encoded_rows import encode_rows
from scripts.data.problems import read_problems, split_of
from scripts.lm import chat, prompts
from tests.golden_verdicts import (
    ANSWERS,
    CONVERSATION,
    FILE,
    Kind,
    changes,
    kinds,
    prompt_records,
    recorded,
    write,
)
from utils_ft import BENCHMARKS, ROOT, UserError

KINDS = kinds()


@pytest.mark.parametrize("name", KINDS)
def test_behaviour_is_what_is_recorded_for_the_version(name: str) -> None:
    kind = KINDS[name]
    records = recorded().get(name, {}).get(str(kind.version))
    if records is None:
        pytest.fail(
            f"{kind.constant} {kind.version} is not recorded; run `python -m tests.golden_verdicts`",
            pytrace=False,
        )
    if difference := changes(kind, records, kind.records()):
        pytest.fail(difference, pytrace=False)


@pytest.mark.parametrize("name", KINDS)
def test_versions_count_up_and_no_record_stands_twice(name: str) -> None:
    assert list(recorded()[name]) == [str(number) for number in range(1, KINDS[name].version + 1)]
    for records in recorded()[name].values():
        places = [(record["what"], record["of"]) for record in records]
        assert len(set(places)) == len(places)


def test_no_record_is_of_a_test_problem() -> None:
    splits = split_of(read_problems(), BENCHMARKS)
    assert len(ANSWERS) >= 6 and not [name for name in ANSWERS if splits[name] == "test"]


def test_the_records_cover_every_verdict_that_is_the_same_on_every_machine() -> None:
    last = recorded()["scoring"][str(KINDS["scoring"].version)]
    verdicts = {record["result"]["verdict"] for record in last if record["what"] == "answer"}
    assert verdicts == {
        "equal",
        "syntax",
        "refused",
        "unsafe",
        "timeout",
        "unsatisfiable",
        "wrong",
        "undecided",
    }  # all but memory


def test_a_changed_prompt_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(prompt_records([]))
    assert changes(KINDS["scoring"], before, list(prompt_records([]))) == ""
    monkeypatch.setattr(prompts, "REPAIR_PERSONA", "Correct it.")
    message = changes(KINDS["scoring"], before, list(prompt_records([])))
    assert message.startswith(
        "behaviour changed; raise SCORING_VERSION and run `python -m tests.golden_verdicts`\n1 of "
    )
    assert "Correct it." in message
    assert "records differ" in changes(KINDS["scoring"], before, before[1:]), "a missing record"


def test_the_records_of_a_version_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy.json"
    shutil.copy(FILE, copy)
    with pytest.raises(UserError, match="never replaced\n  remedy: .*SCORING_VERSION or ENCODING_VERSION"):
        write(copy, KINDS)
    assert copy.read_bytes() == FILE.read_bytes()
    monkeypatch.setattr(prompts, "REPAIR_PERSONA", "Correct it.")
    raised = Kind("SCORING_VERSION", KINDS["scoring"].version + 1, lambda: list(prompt_records([])))
    assert write(copy, KINDS | {"scoring": raised}) == [f"SCORING_VERSION {raised.version}"]
    old, new = recorded(), recorded(copy)
    assert new["scoring"].pop(str(raised.version)) == raised.records() and new == old


def test_no_record_has_a_path_of_a_machine() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert not [place for place in (ROOT, Path.home(), tempfile.gettempdir()) if f"{place}/" in text]


def test_tokens_are_stored_for_one_version_of_the_encoding(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = chat.load_tokenizer(smoke)
    rows, folder = [{"messages": CONVERSATION}], tmp_path / "tokens"
    first = encode_rows(tokenizer, rows, 4096, folder)
    [file] = folder.iterdir()
    assert first == [chat.encode(tokenizer, CONVERSATION)] == encode_rows(tokenizer, rows, 4096, folder)
    changed = json.loads(file.read_text())
    changed[0][0][0] += 1
    file.write_text(json.dumps(changed))
    assert encode_rows(tokenizer, rows, 4096, folder) != first, "the stored tokens are used"
    monkeypatch.setattr(chat, "ENCODING_VERSION", chat.ENCODING_VERSION + 1)
    assert encode_rows(tokenizer, rows, 4096, folder) == first and len(list(folder.iterdir())) == 2
