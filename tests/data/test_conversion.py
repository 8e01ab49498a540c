"""The conversion: settings, seeds, and encodings that are incomplete or broken."""

from __future__ import annotations

import hashlib
import json
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
from scripts.data.rows import SPLITS, to_jsonl
from scripts.data.settings import STYLES, ConversionSettings
from tests.examples import shipped_problem, write_problem
from utils_ft import BENCHMARKS, ROOT, UserError, evenly_spaced

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
        settings = ConversionSettings(10, 0, 9, styles=styles, retellings=False)
        rows = convert([problem], {problem.id: "train"}, settings)[0]["train"]
        assert len(rows) == 10 and len({str(row["meta"].get("vocabulary")) for row in rows}) == 10
        assert sum(row["meta"]["noise"] for row in rows) == 2


def test_paraphrased_instructions_get_the_renamed_predicates():
    problem = shipped_problem(FEW[0])
    wording = {step.instruction: f"Please note: {step.instruction}" for step in problem.encoding.instructed}
    wordings = dict.fromkeys(("original", *STYLES), wording)
    settings = ConversionSettings(10, 0, 9, retellings=False)
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
    (folder / "problem.md").write_text("node(X): X is a node. pick(X): it is picked.")
    shutil.rmtree(folder / "paraphrases")
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
    (folder / "problem.md").write_text("thing(X): X is a thing. count(N): their number.")
    shutil.rmtree(folder / "paraphrases")
    for number, facts in enumerate((folder / "instances").iterdir()):
        facts.write_text(f"thing(1..{number + 2}).\n")
    (problem,) = read_problems(tmp_path)
    rows = convert([problem], {problem.id: "train"}, ConversionSettings(4, 2, 3))[0]["train"]
    assert sum("vocabulary" in row["meta"] for row in rows) >= 3


def write_planks(folder: Path) -> Path:
    """Write a small problem."""
    return write_problem(
        folder,
        "plank(X): X is a plank. cut(X): it is cut.",
        "% Any plank may be cut.\n{ cut(X) } :- plank(X).\n\n% Not all of them.\n:- cut(X) : plank(X).\n",
        a="plank(1..3).\n",
    )


BAD = {
    "no_description": (
        lambda folder: (folder / "problem.md").unlink(),
        r"no_description: the problem has no problem\.md",
    ),
    "not_utf8": (lambda folder: (folder / "problem.md").write_bytes(b"a\n\xff"), r"problem\.md:2: not UTF-8"),
    "broken_encoding": (
        lambda folder: (folder / "encoding.lp").write_text("% A.\na :- b c.\n"),
        r"broken_encoding/encoding\.lp:2: clingo cannot parse it",
    ),
    "broken_instance": (
        lambda folder: (folder / "instances" / "a.lp").write_text("plank(1)\n"),
        r"broken_instance/instances/a\.lp:2: clingo cannot parse it",
    ),
    "unsafe_rule": (
        lambda folder: (folder / "encoding.lp").write_text("% A.\nplank(X) :- not cut(X).\n"),
        r"unsafe_rule/encoding\.lp:2: clingo says unsafe",
    ),
    "no_instructions": (
        lambda folder: (folder / "encoding.lp").write_text("plank(1).\n"),
        r"no_instructions/encoding\.lp:1: no statement has an instruction",
    ),
    "parts": (
        lambda folder: (folder / "encoding.lp").write_text(
            "% A.\nplank(1).\n\n#program step(t).\n\n% B.\nplank(t).\n"
        ),
        r"parts/encoding\.lp:4: `#program step\(t\)\.` starts a part",
    ),
    "too_many": (
        lambda folder: (folder / "instances" / "a.lp").write_text("plank(1..12).\n"),
        r"too_many/instances/a\.lp:1: the instance has over 2,000 answer sets",
    ),
    "outside": (
        lambda folder: (folder / "instances" / "a.lp").write_text('#include "/etc/passwd".\n'),
        r"outside/instances/a\.lp:1: clingo cannot parse it",
    ),
    "unnamed": (
        lambda folder: (folder / "encoding.lp").write_text("% Take some.\n{ taken(X) } :- plank(X).\n"),
        r"unnamed/encoding\.lp:2: no row can be made: no text before this rule names its predicate taken",
    ),
}


def test_ten_kinds_of_bad_problems_among_forty_good_ones_give_one_report(problems, tmp_path):
    root, out = tmp_path / "problems", tmp_path / "out"
    for problem in evenly_spaced(problems, 40):
        shutil.copytree(problem.folder, root / problem.id)
    for name, (spoil, _) in BAD.items():
        spoil(write_planks(root / "bad" / name))
    options = ("--benchmarks", str(root), "--out", str(out), "--conversations", "1", "--repairs", "0")
    done = command(*options, "--vocabularies", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(BAD)} problems left out:" in done.stdout and "Traceback" not in done.stderr
    report = json.loads((out / "report.json").read_text())
    assert {entry["problem"] for entry in report["left_out"]} == {f"bad/{name}" for name in BAD}
    assert all(entry["file"] and entry["what"] and entry["remedy"] for entry in report["left_out"])
    for name, (_, words) in BAD.items():
        assert re.search(words, done.stdout), name
    assert sum(report["problems"].values()) == 40
    rows = [
        json.loads(line) for split in SPLITS for line in (out / f"{split}.jsonl").read_text().splitlines()
    ]
    assert len({row["meta"]["problem"] for row in rows}) == 40
    strict = command(*options, "--vocabularies", "0", "--strict")
    assert strict.returncode == 2 and f"{len(BAD)} problems left out:" in strict.stdout


def test_where_nothing_is_left_it_is_an_error_and_older_files_stay(few, tmp_path):
    root, out = tmp_path / "problems", tmp_path / "out"
    shutil.copytree(few / FEW[0], root / "family" / "one")
    options = ("--benchmarks", str(root), "--out", str(out), "--conversations", "1", "--repairs", "1")
    assert command(*options).returncode == 0
    before = {file.name: file.read_bytes() for file in out.glob("[!.]*")}
    encoding = root / "family" / "one" / "encoding.lp"
    encoding.write_text(encoding.read_text() + "\n% Broken.\na :- b c.\n")
    line = encoding.read_text().count("\n")
    done = command(*options)
    assert done.returncode == 2
    assert f"one/encoding.lp:{line}: clingo cannot parse it" in done.stderr and "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
    assert {file.name: file.read_bytes() for file in out.glob("[!.]*")} == before
    with pytest.raises(UserError, match="no such folder"):
        convert_folder(tmp_path / "nowhere", out, ConversionSettings())


def test_paraphrases_that_cannot_be_read_are_left_out_and_the_problem_stays(few, tmp_path):
    root = tmp_path / "problems"
    shutil.copytree(few / FEW[0], root / FEW[0])
    broken = tmp_path / "paraphrases" / FEW[0] / "natural.instructions.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{,}")
    summary = convert_folder(
        root, tmp_path / "out", ConversionSettings(1, 0), paraphrases=tmp_path / "paraphrases"
    )
    assert [Path(entry["file"]).name for entry in summary["left_out"]] == [broken.name]
    assert sum(summary["problems"].values()) == 1


def test_conversion_says_which_problems_are_twins(tmp_path):
    for name in ("one", "two"):
        write_planks(tmp_path / "problems" / "yard" / name)
    summary = convert_folder(tmp_path / "problems", tmp_path / "out", ConversionSettings(1, 1))
    [group] = summary["twins"]
    assert group["problems"] == ["yard/one", "yard/two"] and group["split"] in SPLITS
    (tmp_path / "problems" / "split.json").write_text('{"test": ["yard/two"]}')
    with pytest.raises(UserError, match="the split separates twins"):
        convert_folder(tmp_path / "problems", tmp_path / "out", ConversionSettings(1, 1))


def test_without_answer_sets_nothing_counts_as_verified_by_them(tmp_path):
    text = "left(X), right(X)."
    encoding = "% One of the gates opens.\n1 { left(X); right(X) } 1 :- gate(X).\n\n% Never.\n:- left(X).\n"
    encoding = encoding.replace("gate(X)", "left(X)") + "\n% Never right.\n:- not left(1).\n"
    folder = write_problem(tmp_path / "shipyard" / "locks", text, encoding, i="water.\n")
    [problem] = read_problems(folder.parent.parent)
    _, report = convert([problem], {problem.id: "train"}, ConversionSettings(6, 0, 3))
    assert not [what for what in report.verified if "answer sets" in what], report.verified
    assert report.verified["renamings with the same trees"] > 0
    assert report.dropped["vocabulary: no answer set to compare"] == 3
    assert "no instance has an answer set, so no answer sets are compared" in {
        finding["kind"] for finding in report.findings
    }


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
    rows = convert([problem], {problem.id: "train"}, ConversionSettings(10, 8, 9, retellings=False))[0][
        "train"
    ]
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


def test_generated_problems_are_added_to_training_and_told_once(few: Path, tmp_path: Path):
    made = tmp_path / "made"
    line = [sys.executable, "-m", "scripts.data_generator", "--out", made, "--problems", "3", "--level", "1"]
    subprocess.run(list(map(str, line)), cwd=ROOT, check=True, capture_output=True)
    settings = ConversionSettings(conversations=2, repairs=2)
    plain = convert_folder(few, tmp_path / "plain", settings)
    mixed = convert_folder(few, tmp_path / "mixed", settings, generated=made)
    assert (plain["generated"], mixed["generated"]) == (0, 3)
    rows, before = ((tmp_path / name / "train.jsonl").read_text().splitlines() for name in ("mixed", "plain"))
    added = [json.loads(row)["meta"] for row in rows[len(before) :]]
    assert rows[: len(before)] == before
    assert Counter(meta["kind"] for meta in added) == {"conversation": 3, "repair": 3}
    assert all(meta["family"].startswith("generated_") and meta["split"] == "train" for meta in added)
    for split in ("valid", "test"):
        texts = [(tmp_path / name / f"{split}.jsonl").read_bytes() for name in ("plain", "mixed")]
        assert texts[0] == texts[1]
    with pytest.raises(UserError, match="the problem has the name"):
        convert_folder(few, tmp_path / "twice", settings, generated=few)
