"""The conversion: settings, seeds, and encodings that are incomplete or broken."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts.asp.encoding import read_encoding
from scripts.data.conversion import convert, convert_folder
from scripts.data.predicate_renaming import rename_predicates_in_program
from scripts.data.problems import read_problems
from scripts.data.rows import to_jsonl
from scripts.data.settings import STYLES, ConversionSettings
from tests.examples import shipped_problem, write_problem
from utils_ft import BENCHMARKS, ROOT, UserError

FEW = (
    "games/counter_heaps",
    "graphs/castle_keys",
    "knowledge/bakery_allergens",
    "packing/stone_floor",
    "logic_puzzles/sled_race",
)


FOUR = ("matching/hostel_roommates", "planning/stage_lamps", "games/counter_heaps", "sequences/lock_log")


def contents(row: dict, role: str) -> list[str]:
    """The texts of all messages of a role."""
    return [message["content"] for message in row["messages"] if message["role"] == role]


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "scripts.data_converter", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """A folder with some of the shipped problems."""
    root = tmp_path_factory.mktemp("few")
    for name in FEW:
        shutil.copytree(BENCHMARKS / name, root / name)
    return root


def test_the_same_input_and_seed_give_the_same_bytes(few, tmp_path):
    def converted(name: str, seed: str, hashing: str) -> dict[str, str]:
        folders = ("--benchmarks", str(few), "--out", str(tmp_path / name))
        done = command(*folders, "--seed", seed, "--profile", "full", PYTHONHASHSEED=hashing)
        assert done.returncode == 0, done.stderr
        return {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted((tmp_path / name).glob("[!.]*"))
        }

    first, again, other = converted("a", "0", "1"), converted("b", "0", "2"), converted("c", "1", "1")
    assert sorted(first) == ["report.json", "test.jsonl", "train.jsonl", "valid.jsonl"]
    assert first == again
    assert first["train.jsonl"] != other["train.jsonl"]


def test_the_rows_of_a_problem_do_not_depend_on_the_other_problems(few):
    problems = read_problems(few)
    splits = dict.fromkeys((problem.id for problem in problems), "train")
    together, _ = convert(problems, splits, ConversionSettings(3, 3))
    alone, _ = convert(problems[2:3], splits, ConversionSettings(3, 3))
    rows = [row for row in together["train"] if row["meta"]["problem"] == problems[2].name]
    assert to_jsonl(alone["train"]) == to_jsonl(rows)


def test_the_settings_limit_the_rows_of_each_problem(few, tmp_path):
    summary = convert_folder(few, tmp_path, ConversionSettings(conversations=2, repairs=3, vocabularies=9))
    counts = Counter()
    for row in summary["rows"]:
        counts[row["split"], row["kind"]] += row["rows"]
    assert counts["train", "conversation"] == 2 * summary["problems"]["train"]
    assert sum(count for (_, kind), count in counts.items() if kind == "repair") == 3 * len(FEW)


SEVERAL = """% Any berth may be used, and a used berth is lit.
{ used(X) } :- berth(X).
lit(X) :- used(X), not dark(X).

% 1. broken berths are not used
% 2. at most two berths are used
:- used(X), broken(X).
:- #count { X : used(X) } > 2.

% What is used and what is lit is shown.
#show used/1.
#show lit/1.
"""


def test_a_step_of_several_statements_gives_rows_and_is_counted(tmp_path):
    text = "`berth(X)`, `broken(X)` and `dark(X)` are given, `used(X)` and `lit(X)` are to be found."
    facts = {"one": "berth(1..4). broken(1). dark(2).", "two": "berth(1..3). broken(3). dark(3)."}
    write_problem(tmp_path / "mine" / "berths", text, SEVERAL, **facts)
    (problem,) = read_problems(tmp_path)
    rows, report = convert([problem], {problem.id: "train"}, ConversionSettings(10, 12, vocabularies=2))
    assert report.steps == {"of several statements": 3, "of several statements, can be split": 1}
    conversations = [row for row in rows["train"] if row["meta"]["kind"] == "conversation"]
    repairs = [row for row in rows["train"] if row["meta"]["kind"] == "repair"]
    assert len(conversations) >= 8 and len(repairs) >= 6
    for row in conversations:
        assert len(contents(row, "assistant")) == 3
        assert all(code.count("\n") >= 1 for code in contents(row, "assistant"))
    assert {row["meta"]["fixed"].count("\n") for row in repairs} == {1}


def test_code_without_an_instruction_is_given_code(few, tmp_path):
    folder = tmp_path / "mine" / "one"
    shutil.copytree(few / FEW[0], folder)
    encoding = folder / "encoding.lp"
    lines = encoding.read_text().split("\n")
    encoding.write_text("\n".join(lines[1:]))  # without the instruction of the first rule
    (problem,) = read_problems(tmp_path)
    rows, report = convert([problem], {problem.id: "train"}, ConversionSettings(4, 4))
    assert [finding["kind"] for finding in report.findings] == ["statement without an instruction"]
    for row in rows["train"]:
        if row["meta"]["kind"] == "conversation":
            assert row["messages"][0]["content"].endswith(
                f"The program already contains:\n{problem.encoding.given}"
            )
            assert lines[1] not in contents(row, "assistant")
        else:
            assert problem.encoding.given in row["meta"]["context"]


def test_with_one_style_there_are_as_many_conversations():
    problem = shipped_problem(FEW[0])
    for styles in ((), STYLES):
        settings = ConversionSettings(10, 0, 9, styles=styles)
        rows = convert([problem], {problem.id: "train"}, settings)[0]["train"]
        assert len(rows) == 10 and len({str(row["meta"].get("vocabulary")) for row in rows}) == 10
        assert sum(row["meta"]["noise"] for row in rows) == 2


def test_paraphrased_instructions_get_the_renamed_predicates():
    problem = shipped_problem(FEW[0])
    wording = {step.instruction: f"Please note: {step.instruction}" for step in problem.encoding.instructed}
    wordings = dict.fromkeys(("original", *STYLES), wording)
    settings = ConversionSettings(10, 0, 9)
    rows = convert([problem], {problem.id: "train"}, settings, wordings={problem.id: wordings})[0]["train"]
    for row in rows:
        instructions = contents(row, "user")
        assert all(text.lower().startswith("please note") for text in instructions)
        for name in row["meta"].get("vocabulary", {}):
            assert not any(f"{name}(" in text for text in instructions)


def test_a_variable_with_the_name_of_a_predicate_is_not_renamed(few, tmp_path):
    folder = tmp_path / "mine" / "family" / "one"
    shutil.copytree(few / FEW[0], folder)
    instruction = "Choose any Node with node(Node)."
    paraphrase = "Each Node where node(Node) holds may be chosen."
    (folder / "encoding.lp").write_text(
        f"% {instruction}\n{{ pick(Node) : node(Node) }}.\n\n% Show the picks.\n#show pick/1.\n"
    )
    for number, facts in enumerate((folder / "instances").iterdir()):
        facts.write_text(f"node(1..{number + 2}).\n")
    [problem] = read_problems(tmp_path)
    wordings = dict.fromkeys(("original", *STYLES), {instruction: paraphrase})
    settings = ConversionSettings(10, 0, 9, noise=0.0)
    rows = convert([problem], {problem.id: "train"}, settings, wordings={problem.id: wordings})[0]["train"]
    assert sum("vocabulary" in row["meta"] for row in rows) > 5
    for row in rows:
        name = row["meta"].get("vocabulary", {}).get("node", "node")
        variable = re.search(r"\((\w+)\) :", row["messages"][2]["content"])[1]
        expected = f"Each {variable} where {name}({variable}) holds may be chosen."
        assert row["messages"][1]["content"] == expected


def test_a_predicate_with_the_name_of_a_directive_is_converted(few, tmp_path):
    folder = tmp_path / "mine" / "one"
    shutil.copytree(few / FEW[0], folder)
    (folder / "encoding.lp").write_text(
        "% The count of things.\ncount(N) :- N = #count { X : thing(X) }.\n\n% Show it.\n#show count/1.\n"
    )
    for number, facts in enumerate((folder / "instances").iterdir()):
        facts.write_text(f"thing(1..{number + 2}).\n")
    (problem,) = read_problems(tmp_path)
    rows = convert([problem], {problem.id: "train"}, ConversionSettings(4, 2, 3))[0]["train"]
    assert sum("vocabulary" in row["meta"] for row in rows) >= 3


def test_a_broken_instance_is_a_user_error_with_its_line(few, tmp_path):
    shutil.copytree(few / FEW[0], tmp_path / "family" / "one")
    broken = min((tmp_path / "family" / "one" / "instances").iterdir())
    broken.write_text(broken.read_text() + "thing(1) thing(2).\n")
    line = broken.read_text().count("\n")
    with pytest.raises(UserError, match=rf"{re.escape(broken.name)}:{line}: clingo says syntax"):
        convert_folder(tmp_path, tmp_path / "out", ConversionSettings(vocabularies=1))


def test_a_broken_encoding_is_a_user_error_and_older_files_stay(few, tmp_path):
    root = tmp_path / "problems"
    shutil.copytree(few, root)
    out = tmp_path / "out"
    options = ("--benchmarks", str(root), "--out", str(out), "--conversations", "1", "--repairs", "1")
    assert command(*options).returncode == 0
    before = {file.name: file.read_bytes() for file in out.glob("[!.]*")}
    encoding = root / FEW[2] / "encoding.lp"
    encoding.write_text(encoding.read_text() + "\n% Broken.\na :- b c.\n")
    line = encoding.read_text().count("\n")
    done = command(*options)
    assert done.returncode == 2
    assert f"{FEW[2]}/encoding.lp:{line}: clingo cannot parse it" in done.stderr and "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
    assert {file.name: file.read_bytes() for file in out.glob("[!.]*")} == before
    with pytest.raises(UserError, match="no such folder"):
        convert_folder(tmp_path / "nowhere", out, ConversionSettings())


def test_only_training_rows_have_renamed_predicates():
    problems = [shipped_problem(name) for name in FOUR]
    splits = dict(zip(FOUR, ("train", "train", "valid", "test"), strict=True))
    rows, _ = convert(problems, splits, ConversionSettings(6, 3, 2))
    assert not [row for split in ("valid", "test") for row in rows[split] if "vocabulary" in row["meta"]]
    renamed = [row for row in rows["train"] if "vocabulary" in row["meta"]]
    assert len(rows["train"]) == 18 and len({str(row["meta"]["vocabulary"]) for row in renamed}) == 4
    for row in renamed:
        if row["meta"]["kind"] == "conversation" and row["meta"]["naming"] == "original":
            source = next(p for p in problems if p.name == row["meta"]["problem"])
            code = "\n".join(contents(row, "assistant"))
            expected = "\n".join(
                rename_predicates_in_program(step.code, row["meta"]["vocabulary"])
                for step in source.encoding.instructed
            )
            assert read_encoding(code).program == read_encoding(expected).program


def test_each_predicate_renaming_gets_conversations_and_repairs():
    """Ten conversations with ten sets of names have all styles and namings, and some have noise."""
    problem = shipped_problem(FOUR[0])
    rows = convert([problem], {problem.id: "train"}, ConversionSettings(10, 8, 9))[0]["train"]
    metas = [row["meta"] for row in rows]
    conversations = [meta for meta in metas if meta["kind"] == "conversation"]
    assert len(conversations) == 10 and len({str(meta.get("vocabulary")) for meta in conversations}) == 10
    first = conversations[0]
    assert first["style"] == first["naming"] == "original" and "vocabulary" not in first
    assert len({meta["style"] for meta in conversations}) > 2
    assert len({meta["naming"] for meta in conversations}) == 3
    assert 1 <= sum(meta["noise"] for meta in conversations) <= 3
    repairs = [meta for meta in metas if meta["kind"] == "repair"]
    assert len(repairs) > 5 and len({str(meta.get("vocabulary")) for meta in repairs}) == len(repairs)
    first_instructions = {
        row["messages"][1]["content"] for row in rows if row["meta"]["kind"] == "conversation"
    }
    assert len(first_instructions) == 10
