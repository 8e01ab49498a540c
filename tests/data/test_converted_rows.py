"""All rows of the shipped collection, checked again with plain clingo in a process without this project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path

import pytest

from scripts.data.corruptions import CORRUPTIONS
from scripts.data.problems import read_collection, read_problems
from scripts.data.rows import SPLITS, to_jsonl
from scripts.data.settings import STYLES
from scripts.lm import prompts
from utils_ft import BENCHMARKS, ROOT

PLAIN_CLINGO = Path(__file__).with_name("plain_clingo.py")


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """The shipped collection, converted by the command with the full profile."""
    folder = tmp_path_factory.mktemp("data")
    options = ("--benchmarks", str(BENCHMARKS), "--out", str(folder), "--seed", "0", "--profile", "full")
    options += ("--conversations", "3", "--repairs", "3", "--vocabularies", "1")  # for the time it takes
    line = [sys.executable, "-m", "scripts.data_converter", *options]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(converted) -> list[dict]:
    """All rows of all splits."""
    return [
        json.loads(line)
        for split in SPLITS
        for line in (converted / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def check_with_plain_clingo(folder: Path) -> tuple[dict[str, int], str]:
    """Check the rows of a folder.

    Return the number of rows by kind and of those that `failed`, and the failures.
    """
    line = [sys.executable, "-I", str(PLAIN_CLINGO), str(folder), str(BENCHMARKS)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_plain_clingo_confirms_every_row_of_the_whole_collection(converted, rows):
    counts, failures = check_with_plain_clingo(converted)
    assert counts == Counter(row["meta"]["kind"] for row in rows), failures


def test_the_check_with_plain_clingo_finds_changed_rows(rows, tmp_path):
    """A row of each class with one change fails."""
    changed = []
    for corruption in sorted({row["meta"].get("corruption", "") for row in rows}):
        row = deepcopy(next(row for row in rows if row["meta"].get("corruption", "") == corruption))
        if corruption == "":
            row["messages"][2]["content"] = "extra(1)."
        elif corruption == "unsatisfiable":
            row["meta"]["broken"] = row["meta"]["fixed"]
        else:
            row["meta"]["error"] = row["meta"]["error"].replace("e", "é", 1)
        changed.append(row)
        if corruption:
            unfixed = deepcopy(row)
            unfixed["meta"] |= {"error": row["meta"]["error"].replace("b", "a", 1), "fixed": "still(broken"}
            changed.append(unfixed)
    (tmp_path / "train.jsonl").write_text(to_jsonl(changed))
    counts, failures = check_with_plain_clingo(tmp_path)
    assert counts["failed"] == len(changed), failures


@pytest.mark.parametrize("kind", ["vocabulary", "retelling"])
def test_a_third_of_the_training_rows_is_of_each_kind_of_telling(rows, kind):
    train = [row for row in rows if row["meta"]["split"] == "train"]
    assert len(train) > 2000 and 0.25 < sum(kind in row["meta"] for row in train) / len(train) < 0.4


@pytest.mark.parametrize("split", SPLITS)
def test_every_row_has_the_documented_keys(converted, split):
    common = {"problem", "family", "split", "kind", "style", "naming", "noise"}
    for line in (converted / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert set(row) == {"messages", "meta"}
        meta, messages = row["meta"], row["messages"]
        assert all(set(message) == {"role", "content"} for message in messages)
        assert all(message["content"].strip() for message in messages)
        roles = [message["role"] for message in messages]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)] and len(roles) >= 3
        assert meta["split"] == split
        assert meta["style"] in ("original", *STYLES)
        assert meta["naming"] in ("original", "canonical", "abstract")
        assert isinstance(meta["noise"], bool)
        if meta["kind"] == "conversation":
            assert set(meta) - {"vocabulary", "wordings", "retelling"} == common
            assert messages[0]["content"].startswith(prompts.PERSONA)
        else:
            assert meta["kind"] == "repair" and len(roles) == 3
            assert common | {"corruption", "broken", "error", "fixed", "context"} <= set(meta)
            assert meta["corruption"] in (*CORRUPTIONS, "unsatisfiable", "answer sets differ")
            assert messages[2]["content"] == meta["fixed"].strip()
            assert messages[1]["content"].endswith(f"Code:\n{meta['broken']}\n\nSolver:\n{meta['error']}")
            assert meta["broken"] != meta["fixed"] and meta["error"]


def test_conversations_have_the_steps_of_their_encoding(rows):
    problems = {problem.id: problem for problem in read_problems(BENCHMARKS)}
    seen = Counter()
    for row in rows:
        meta = row["meta"]
        if meta["kind"] == "repair" or "retelling" in meta:
            continue
        problem = problems[f"{meta['family']}/{meta['problem']}"]
        steps = problem.encoding.instructed
        names = meta.get("vocabulary", {})
        instructions = [message["content"] for message in row["messages"] if message["role"] == "user"]
        code = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
        assert len(instructions) == len(code) == len(steps)
        assert (problem.descriptions()[meta["style"]] in row["messages"][0]["content"]) or names
        if meta["naming"] == "original":
            assert code == [
                re.sub(r"#?\w+", lambda word, names=names: names.get(word[0], word[0]), step.code)
                for step in steps
            ]
            if meta["style"] == "original" and not meta["noise"] and not names:
                assert instructions == [step.instruction for step in steps]
                seen[problem.id] += 1
        else:
            new_name = re.compile(r"V\d+|[A-Z]\d*" if meta["naming"] == "canonical" else r"[A-Z]\d*")
            without_strings = re.sub(r'"(?:\\.|[^"\\])*"', "", "\n".join(code))
            variables = re.findall(r"(?<![\w\"'])_*[A-Z][\w']*", without_strings)
            assert all(new_name.fullmatch(name) for name in variables)
        if meta["noise"]:
            text = "\n".join(instructions)
            assert text == text.lower() and not re.search(r"[,;:?()`\"']|(?<!\.)\.(?!\.)", text)
    assert seen == Counter(list(problems))  # each problem once as it is


def test_the_splits_do_not_share_a_problem_and_only_training_data_is_varied(rows):
    splits = read_collection().splits
    for row in rows:
        meta = row["meta"]
        assert splits[f"{meta['family']}/{meta['problem']}"] == meta["split"]
        if meta["split"] != "train":
            assert (meta["style"], meta["naming"], meta["noise"]) == ("original", "original", False)
            assert "vocabulary" not in meta and "retelling" not in meta
    conversations = [row["meta"] for row in rows if row["meta"]["kind"] == "conversation"]
    assert len({(meta["style"], meta["naming"]) for meta in conversations}) == 12
    noise = [meta["noise"] for meta in conversations if meta["split"] == "train"]
    assert 0.1 < sum(noise) / len(noise) < 0.4


def test_repairs_have_all_classes_and_no_two_rows_are_equal(rows):
    repairs = [row for row in rows if row["meta"]["kind"] == "repair"]
    classes = Counter(row["meta"]["corruption"] for row in repairs)
    assert set(classes) == set(CORRUPTIONS) - {"wrong meaning"} | {"unsatisfiable", "answer sets differ"}
    assert max(classes.values()) < 0.35 * len(repairs)
    texts = Counter(json.dumps(row["messages"]) for row in rows)
    assert max(texts.values()) == 1


def test_the_report_counts_every_row(converted, rows):
    report = json.loads((converted / "report.json").read_text(encoding="utf-8"))
    counted = Counter()
    for row in report["rows"]:
        counted[row["split"], row["kind"], row["corruption"]] += row["rows"]
    assert counted == Counter(
        (row["meta"]["split"], row["meta"]["kind"], row["meta"].get("corruption", "")) for row in rows
    )
    repairs = sum(row["meta"]["kind"] == "repair" for row in rows)
    verified = report["proofs"]
    messages = verified["messages reproduced by the solver, fixes accepted"]
    assert messages - report["dropped"].get("repair: exact duplicate", 0) == repairs
    metas = [row["meta"] for row in rows]
    variants = {(meta["problem"], str(meta.get("vocabulary")), meta["naming"]) for meta in metas}
    variable_renamings = sum(naming != "original" for *_, naming in variants)
    assert verified["renamings with the same trees and answer sets"] >= variable_renamings
    predicate_renamings = {(problem, names) for problem, names, _ in variants if names != "None"}
    assert verified["vocabularies with the same answer sets up to the names"] == len(predicate_renamings)
    assert all(reason and count > 0 for reason, count in report["dropped"].items())
    assert report["findings"] == [] or all(finding["line"] > 0 for finding in report["findings"])


def test_the_prompt_of_a_repair_has_every_predicate_of_its_answer(rows):
    for meta in (row["meta"] for row in rows if row["meta"]["kind"] == "repair"):
        fixed = re.sub(r'"(?:\\.|[^"\\])*"', "", meta["fixed"])
        words = set(re.findall(r"\w+", f"{meta['instruction']} {meta['broken']}".lower()))
        words |= set(re.findall(r"\w+(?=\()", meta["error"]))  # atoms only: other words are not names
        singular = {word.removesuffix(ending) for word in words for ending in ("s", "es")}
        singular |= {word.removesuffix("ies") + "y" for word in words}
        singular |= {word.removesuffix("ves") + "f" for word in words}
        assert set(re.findall(r"(?<![#\w])[a-z]\w*(?=\()", fixed)) <= words | singular, meta


def test_no_conversation_asks_for_a_name_that_is_not_in_its_prompt(rows):
    conversations = [row for row in rows if row["meta"]["kind"] == "conversation"]
    assert len(conversations) > 1400
    for row in conversations:
        shown, messages = "", row["messages"]
        for message in messages:
            if message["role"] == "assistant":
                code = re.sub(r'"(?:\\.|[^"\\])*"', "", message["content"])
                names = set(re.findall(r"(?<![#\w])[a-z]\w*(?=\()", code))
                names |= set(re.findall(r"#show (\w+)/", code)) | set(
                    row["meta"].get("vocabulary", {}).values()
                ) & set(re.findall(r"\w+", code))
                assert names <= set(re.findall(r"\w+", shown)), row["meta"]
            shown += f"\n{message['content']}"
