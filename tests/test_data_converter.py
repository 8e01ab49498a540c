"""Every row is proved again by plain clingo in a process of its own, which imports nothing of this project."""

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
from random import Random

import pytest

from scripts.asp.solver import Solver
from scripts.data.conversion import convert, convert_folder
from scripts.data.corruptions import CORRUPTIONS
from scripts.data.noise import noisy
from scripts.data.problems import read_problems, split_of
from scripts.data.renamed_problems import RenamedProblem
from scripts.data.repairs import RepairMaker
from scripts.data.rows import SPLITS, to_jsonl
from scripts.data.settings import STYLES, ConversionSettings
from scripts.lm import prompts
from utils_ft import BENCHMARKS, UserError

ROOT = Path(__file__).resolve().parents[1]
FEW = (
    "games/counter_heaps",
    "graphs/castle_keys",
    "knowledge/bakery_allergens",
    "packing/stone_floor",
    "logic_puzzles/sled_race",
)


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
def whole(tmp_path_factory) -> Path:
    """The shipped collection, converted by the command with its defaults."""
    folder = tmp_path_factory.mktemp("data")
    done = command("--benchmarks", str(BENCHMARKS), "--out", str(folder), "--seed", "0", "--profile", "full")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(whole) -> list[dict]:
    return [
        json.loads(line)
        for split in SPLITS
        for line in (whole / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("few")
    for name in FEW:
        shutil.copytree(BENCHMARKS / name, root / name)
    return root


# --- the independent re-check -------------------------------------------------------------------------------------

RECHECK = r'''
import json, re, sys
from pathlib import Path
import clingo

data, benchmarks = map(Path, sys.argv[1:])
assert not any(name.split(".")[0] in ("scripts", "utils_ft") for name in sys.modules)


def ground(program):
    """The control, clingo's errors and its notes."""
    errors, notes = [], []
    def log(code, text):
        (errors if code == clingo.MessageCode.RuntimeError else notes).append(text.rstrip("\n"))
    control = clingo.Control(["--opt-mode=optN", "--project=show", "0"], logger=log, message_limit=20)
    try:
        control.add("base", [], program)
        control.ground([("base", [])])
    except RuntimeError:
        return None, errors, notes
    return control, errors, notes


solved = {}
def answer_sets(program):
    """Projected (optimal) answer sets with costs, by another road than the wall's: the solve handle, one model after another."""
    if program not in solved:
        control, errors, _ = ground(program)
        assert control, errors
        found = set()
        with control.solve(yield_=True) as handle:
            for model in handle:
                if not model.cost or model.optimality_proven:
                    found.add((frozenset(map(str, model.symbols(shown=True))), tuple(model.cost)))
        solved[program] = found
    return solved[program]


def true_sentence(sentence, right, wrong):
    """Whether what the row says about the answer sets holds."""
    ever = lambda sets: set().union(*(atoms for atoms, _ in sets)) if sets else set()
    always = lambda sets: set.intersection(*(set(atoms) for atoms, _ in sets)) if sets else set()
    costs = lambda sets: min((cost for _, cost in sets), default=())
    words = lambda cost: " ".join(map(str, cost)) or "none"
    if found := re.fullmatch(r"the atom (.*) is never true, though it should be possible", sentence, re.S):
        return found[1] in ever(right) - ever(wrong)
    if found := re.fullmatch(r"the atom (.*) is possible, though it should never be true", sentence, re.S):
        return found[1] in ever(wrong) - ever(right)
    if found := re.fullmatch(r"the atom (.*) is not in every answer set, though it should be", sentence, re.S):
        return found[1] in always(right) - always(wrong)
    if found := re.fullmatch(r"the atom (.*) is in every answer set, though it should not be", sentence, re.S):
        return found[1] in always(wrong) - always(right)
    if found := re.fullmatch(r"the optimal cost is (.*), though it should be (.*)", sentence):
        return (found[1], found[2]) == (words(costs(wrong)), words(costs(right))) and found[1] != found[2]
    if found := re.fullmatch(r"there are (\d+) answer sets, though there should be (\d+)", sentence):
        return (int(found[1]), int(found[2])) == (len(wrong), len(right)) and found[1] != found[2]
    return sentence in ("the answer sets combine the same atoms in other ways than they should",
                        "SATISFIABLE, though there should be no answer set")


def check_repair(row):
    meta = row["meta"]
    broken, fixed = meta["context"] + meta["broken"], meta["context"] + meta["fixed"]
    control, errors, notes = ground(broken)
    if meta["corruption"] == "unsatisfiable":
        assert meta["error"] == "UNSATISFIABLE" and answer_sets(broken) == set() != answer_sets(fixed)
    elif meta["corruption"] == "answer sets differ":
        opening, _, sentence = meta["error"].partition(", but ")
        assert opening == "clingo accepts this code" and not errors
        right, wrong = answer_sets(fixed), answer_sets(broken)
        assert right != wrong and true_sentence(sentence, right, wrong), sentence
    elif meta["corruption"] == "wrong arity":
        told = meta["error"].split("\n<block>")
        assert control and all(any(part in note for note in notes) for part in told), (meta["error"], notes)
    else:
        assert control is None and "\n".join(errors) == meta["error"], (errors, meta["error"])
    control, errors, notes = ground(fixed)
    assert control and not errors
    if meta["corruption"] == "wrong arity":
        assert not any(note in meta["error"] for note in notes)


def check_conversation(row):
    meta, messages = row["meta"], row["messages"]
    names = meta.get("vocabulary", {})
    told = lambda text: re.sub(r'"(?:\\.|[^"\\])*"|[A-Za-z_]\w*', lambda word: names.get(word[0], word[0]), text)
    assert not names or len(set(names.values()) - set(names)) == len(names)
    given = messages[0]["content"].partition("\n\nThe program already contains:\n")[2]
    program = "\n".join([given, *(message["content"] for message in messages if message["role"] == "assistant")])
    folder = benchmarks / meta["family"] / meta["problem"]
    gold = (folder / "encoding.lp").read_text()
    for instance in sorted((folder / "instances").glob("*.lp")):
        facts = instance.read_text() + "\n"
        expected = {(frozenset(map(told, atoms)), cost) for atoms, cost in answer_sets(facts + gold)}
        assert answer_sets(told(facts) + program) == expected, instance


counts = {}
for file in sorted(data.glob("*.jsonl")):
    for number, line in enumerate(file.read_text().splitlines(), 1):
        row = json.loads(line)
        kind = row["meta"]["kind"]
        try:
            {"repair": check_repair, "conversation": check_conversation}[kind](row)
        except AssertionError as error:
            print(f"{file.name}:{number}: {kind}: {row['meta'].get('corruption')}: {error}", file=sys.stderr)
            counts["failed"] = counts.get("failed", 0) + 1
        counts[kind] = counts.get(kind, 0) + 1
print(json.dumps(counts))
'''


def recheck(folder: Path) -> tuple[dict[str, int], str]:
    """What plain clingo counts and what it complains of, in a process that can import nothing of this project."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", RECHECK, str(folder), str(BENCHMARKS)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_plain_clingo_confirms_every_row_of_the_whole_collection(whole, rows):
    """Errors are reproduced to the letter, fixes are accepted, every conversation has the answer sets of the encoding."""
    counts, complaints = recheck(whole)
    assert counts == Counter(row["meta"]["kind"] for row in rows), complaints


def test_the_recheck_would_notice(rows, tmp_path):
    """One thing changed in a row of each class, and none of them passes."""
    changed = []
    for corruption in sorted({row["meta"].get("corruption", "") for row in rows}):
        row = json.loads(
            json.dumps(next(row for row in rows if row["meta"].get("corruption", "") == corruption))
        )
        if corruption == "":
            row["messages"][2]["content"] = "extra(1)."
        elif corruption == "unsatisfiable":
            row["meta"]["broken"] = row["meta"]["fixed"]
        else:
            row["meta"]["error"] = row["meta"]["error"].replace("e", "é", 1)
        changed.append(row)
        if corruption:
            unfixed = json.loads(json.dumps(row))
            unfixed["meta"] |= {"error": row["meta"]["error"].replace("b", "a", 1), "fixed": "still(broken"}
            changed.append(unfixed)
    (tmp_path / "train.jsonl").write_text(to_jsonl(changed))
    counts, complaints = recheck(tmp_path)
    assert counts["failed"] == len(changed), complaints


# --- the rows -----------------------------------------------------------------------------------------------------


def test_most_of_the_training_rows_are_told_with_other_names(rows):
    train = [row for row in rows if row["meta"]["split"] == "train"]
    assert len(train) > 2000 and 0.5 < sum("vocabulary" in row["meta"] for row in train) / len(train) < 1


def test_every_row_has_the_contracts_shape(whole):
    for split in SPLITS:
        for line in (whole / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            assert set(row) == {"messages", "meta"}
            meta, messages = row["meta"], row["messages"]
            assert all(
                set(message) == {"role", "content"} and message["content"].strip() for message in messages
            )
            roles = [message["role"] for message in messages]
            assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)] and len(roles) >= 3
            assert meta["split"] == split
            assert meta["style"] in ("original", *STYLES) and meta["naming"] in (
                "original",
                "canonical",
                "abstract",
            )
            assert isinstance(meta["noise"], bool)
            common = {"problem", "family", "split", "kind", "style", "naming", "noise"}
            if meta["kind"] == "conversation":
                assert set(meta) - {"vocabulary"} == common
                assert messages[0]["content"].startswith(prompts.PERSONA)
            else:
                assert meta["kind"] == "repair" and len(roles) == 3
                assert common | {"corruption", "broken", "error", "fixed", "context"} <= set(meta)
                assert meta["corruption"] in CORRUPTIONS or meta["corruption"] in (
                    "unsatisfiable",
                    "answer sets differ",
                )
                assert messages[2]["content"] == meta["fixed"].strip()
                assert messages[1]["content"].endswith(f"Code:\n{meta['broken']}\n\nSolver:\n{meta['error']}")
                assert meta["broken"] != meta["fixed"] and meta["error"]


def test_conversations_say_what_the_encodings_say(rows):
    problems = {problem.id: problem for problem in read_problems(BENCHMARKS)}
    seen = Counter()
    for row in rows:
        meta = row["meta"]
        if meta["kind"] == "repair":
            continue
        problem = problems[f"{meta['family']}/{meta['problem']}"]
        steps = problem.encoding.instructed
        names = meta.get("vocabulary", {})
        told = [message["content"] for message in row["messages"] if message["role"] == "user"]
        code = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
        assert len(told) == len(code) == len(steps)
        assert (problem.descriptions()[meta["style"]] in row["messages"][0]["content"]) or names
        if meta["naming"] == "original":
            assert code == [
                re.sub(r"\w+", lambda word, names=names: names.get(word[0], word[0]), step.code)
                for step in steps
            ]
            if meta["style"] == "original" and not meta["noise"] and not names:
                assert told == [step.instruction for step in steps]
                seen[problem.id] += 1
        else:
            names = re.compile(r"V\d+|[A-Z]\d*" if meta["naming"] == "canonical" else r"[A-Z]\d*")
            variables = re.findall(
                r"(?<![\w\"'])_*[A-Z][\w']*", re.sub(r'"(?:\\.|[^"\\])*"', "", "\n".join(code))
            )
            assert all(names.fullmatch(name) for name in variables)
        if meta["noise"]:
            assert all(instruction == noisy(instruction) for instruction in told)
    assert seen == Counter(list(problems))  # each problem once as it stands, and first of all


def test_the_splits_do_not_share_a_problem_and_only_training_data_is_varied(rows):
    splits = split_of(read_problems(BENCHMARKS), BENCHMARKS)
    for row in rows:
        meta = row["meta"]
        assert splits[f"{meta['family']}/{meta['problem']}"] == meta["split"]
        if meta["split"] != "train":
            assert (meta["style"], meta["naming"], meta["noise"]) == (
                "original",
                "original",
                False,
            ) and "vocabulary" not in meta
    shares = Counter(
        (row["meta"]["style"], row["meta"]["naming"]) for row in rows if row["meta"]["kind"] == "conversation"
    )
    assert len(shares) == 12
    noise = [
        row["meta"]["noise"]
        for row in rows
        if row["meta"]["kind"] == "conversation" and row["meta"]["split"] == "train"
    ]
    assert 0.1 < sum(noise) / len(noise) < 0.4


def test_corruptions_come_in_many_classes_and_no_message_twice(rows):
    repairs = [row for row in rows if row["meta"]["kind"] == "repair"]
    classes = Counter(row["meta"]["corruption"] for row in repairs)
    assert set(classes) == set(CORRUPTIONS) - {"wrong meaning"} | {"unsatisfiable", "answer sets differ"}
    assert max(classes.values()) < 0.35 * len(repairs)
    texts = Counter(json.dumps(row["messages"]) for row in rows)
    assert max(texts.values()) == 1


def test_the_report_accounts_for_everything(whole, rows):
    report = json.loads((whole / "report.json").read_text(encoding="utf-8"))
    counted = Counter()
    for row in report["rows"]:
        counted[row["split"], row["kind"], row["corruption"]] += row["rows"]
    assert counted == Counter(
        (row["meta"]["split"], row["meta"]["kind"], row["meta"].get("corruption", "")) for row in rows
    )
    repairs = sum(row["meta"]["kind"] == "repair" for row in rows)
    proved = report["proofs"]["messages reproduced by the solver, fixes accepted"]
    assert proved - report["dropped"].get("repair: exact duplicate", 0) == repairs
    renamed_problems = {
        (meta["problem"], str(meta.get("vocabulary")), meta["naming"])
        for meta in (row["meta"] for row in rows)
    }
    assert report["proofs"]["renamings with the same trees and answer sets"] >= sum(
        naming != "original" for *_, naming in renamed_problems
    )
    retold = {(problem, vocabulary) for problem, vocabulary, _ in renamed_problems if vocabulary != "None"}
    assert report["proofs"]["vocabularies with the same answer sets up to the names"] == len(retold)
    assert all(reason and count > 0 for reason, count in report["dropped"].items())
    assert report["findings"] == [] or all(finding["line"] > 0 for finding in report["findings"])


# --- the same bytes -----------------------------------------------------------------------------------------------


def test_the_same_input_and_seed_give_the_same_bytes(few, tmp_path):
    def converted(name: str, seed: str, hashing: str) -> dict[str, str]:
        done = command(
            "--benchmarks",
            str(few),
            "--out",
            str(tmp_path / name),
            "--seed",
            seed,
            "--profile",
            "full",
            PYTHONHASHSEED=hashing,
        )
        assert done.returncode == 0, done.stderr
        return {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted((tmp_path / name).iterdir())
        }

    first, again, other = converted("a", "0", "1"), converted("b", "0", "2"), converted("c", "1", "1")
    assert sorted(first) == ["report.json", "test.jsonl", "train.jsonl", "valid.jsonl"]
    assert first == again
    assert first["train.jsonl"] != other["train.jsonl"]


def test_a_problems_rows_do_not_depend_on_its_neighbours(few):
    problems = read_problems(few)
    splits = dict.fromkeys((problem.id for problem in problems), "train")
    whole, _ = convert(problems, splits, ConversionSettings(3, 3))
    alone, _ = convert(problems[2:3], splits, ConversionSettings(3, 3))
    assert to_jsonl(alone["train"]) == to_jsonl(
        row for row in whole["train"] if row["meta"]["problem"] == problems[2].name
    )


def test_the_knobs_limit_the_rows_of_each_problem(few, tmp_path):
    summary = convert_folder(few, tmp_path, ConversionSettings(conversations=2, repairs=3, vocabularies=9))
    counts = Counter()
    for row in summary["rows"]:
        counts[row["split"], row["kind"]] += row["rows"]
    assert counts["train", "conversation"] == 2 * summary["problems"]["train"]
    assert sum(count for (_, kind), count in counts.items() if kind == "repair") == 3 * len(FEW)


# --- uncleaned and broken input -----------------------------------------------------------------------------------


def test_code_without_an_instruction_is_given_never_asked_for(few, tmp_path):
    folder = tmp_path / "mine" / "one"
    shutil.copytree(few / FEW[0], folder)
    encoding = folder / "encoding.lp"
    lines = encoding.read_text().split("\n")
    encoding.write_text("\n".join(lines[1:]))  # the first rule loses its instruction
    (problem,) = read_problems(tmp_path)
    rows, report = convert([problem], {problem.id: "train"}, ConversionSettings(4, 4))
    assert [finding["kind"] for finding in report.findings] == ["statement without an instruction"]
    for row in rows["train"]:
        if row["meta"]["kind"] == "conversation":
            assert row["messages"][0]["content"].endswith(
                f"The program already contains:\n{problem.encoding.given}"
            )
            assert lines[1] not in [
                message["content"] for message in row["messages"] if message["role"] == "assistant"
            ]
        else:
            assert problem.encoding.given in row["meta"]["context"]


def test_with_one_wording_there_are_as_many_conversations_each_in_its_vocabulary(few):
    (problem,) = (problem for problem in read_problems(few) if problem.id == FEW[0])
    for styles in ((), STYLES):
        settings = ConversionSettings(10, 0, 9, styles=styles)
        rows = convert([problem], {problem.id: "train"}, settings)[0]["train"]
        assert len(rows) == 10 and len({str(row["meta"].get("vocabulary")) for row in rows}) == 10
        assert sum(row["meta"]["noise"] for row in rows) == 2


def test_paraphrased_instructions_are_told_in_every_vocabulary(few):
    (problem,) = (problem for problem in read_problems(few) if problem.id == FEW[0])
    wording = {step.instruction: f"Please note: {step.instruction}" for step in problem.encoding.instructed}
    wordings = dict.fromkeys(("original", *STYLES), wording)
    settings = ConversionSettings(10, 0, 9)
    rows = convert([problem], {problem.id: "train"}, settings, wordings={problem.id: wordings})[0]["train"]
    for row in rows:
        told = [message["content"] for message in row["messages"] if message["role"] == "user"]
        assert all(text.lower().startswith("please note") for text in told)
        if row["meta"].get("vocabulary"):
            assert not any(f"{name}(" in text for name in row["meta"]["vocabulary"] for text in told)


def test_a_variable_named_like_a_predicate_keeps_its_name_in_a_paraphrased_instruction(few, tmp_path):
    folder = tmp_path / "mine" / "family" / "one"
    shutil.copytree(few / FEW[0], folder)
    instruction, other = "Choose any Node with node(Node).", "Each Node where node(Node) holds may be chosen."
    (folder / "encoding.lp").write_text(
        f"% {instruction}\n{{ pick(Node) : node(Node) }}.\n\n% Show the picks.\n#show pick/1.\n"
    )
    for number, facts in enumerate((folder / "instances").iterdir()):
        facts.write_text(f"node(1..{number + 2}).\n")
    [problem] = read_problems(tmp_path)
    wordings = dict.fromkeys(("original", *STYLES), {instruction: other})
    settings = ConversionSettings(10, 0, 9, noise=0.0)
    rows = convert([problem], {problem.id: "train"}, settings, wordings={problem.id: wordings})[0]["train"]
    assert sum("vocabulary" in row["meta"] for row in rows) > 5
    for row in rows:
        name = row["meta"].get("vocabulary", {}).get("node", "node")
        variable = re.search(r"\((\w+)\) :", row["messages"][2]["content"])[1]
        assert (
            row["messages"][1]["content"] == f"Each {variable} where {name}({variable}) holds may be chosen."
        )


def test_a_fix_needs_nothing_that_is_not_in_view(rows):
    for row in rows:
        if row["meta"]["kind"] == "repair":
            meta = row["meta"]
            fixed = re.sub(r'"(?:\\.|[^"\\])*"', "", meta["fixed"])
            words = set(
                re.findall(r"\w+", f"{meta['instruction']} {meta['broken']}".lower())
            )  # not the solver's: "variables in"
            words |= set(re.findall(r"\w+(?=\()", meta["error"]))
            shown = words | {word.removesuffix(ending) for word in words for ending in ("s", "es")}
            shown |= {word.removesuffix("ies") + "y" for word in words} | {
                word.removesuffix("ves") + "f" for word in words
            }
            assert set(re.findall(r"(?<![#\w])[a-z]\w*(?=\()", fixed)) <= shown, meta


def test_a_predicate_named_like_a_directive_is_converted(few, tmp_path):
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


def test_a_repair_is_dropped_and_counted_where_the_solver_does_not_confirm_it(few):
    (problem,) = (problem for problem in read_problems(few) if problem.id == FEW[0])
    with Solver() as solver:
        maker = RepairMaker(RenamedProblem(problem), solver)
        rows = maker.rows(40, Random(3))
    assert len(rows) >= 25
    assert maker.report.dropped and all(": " in reason for reason in maker.report.dropped)


def test_a_broken_instance_is_named_with_its_line(few, tmp_path):
    shutil.copytree(few / FEW[0], tmp_path / "family" / "one")
    broken = min((tmp_path / "family" / "one" / "instances").iterdir())
    broken.write_text(broken.read_text() + "thing(1) thing(2).\n")
    line = broken.read_text().count("\n")
    with pytest.raises(UserError, match=rf"{re.escape(broken.name)}:{line}: clingo says syntax"):
        convert_folder(tmp_path, tmp_path / "out", ConversionSettings(vocabularies=1))


def test_a_broken_encoding_ends_in_one_message_and_what_was_there_stays(few, tmp_path):
    root = tmp_path / "problems"
    shutil.copytree(few, root)
    out = tmp_path / "out"
    assert (
        command(
            "--benchmarks", str(root), "--out", str(out), "--conversations", "1", "--repairs", "1"
        ).returncode
        == 0
    )
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    encoding = root / FEW[2] / "encoding.lp"
    encoding.write_text(encoding.read_text() + "\n% Broken.\na :- b c.\n")
    line = encoding.read_text().count("\n")
    done = command("--benchmarks", str(root), "--out", str(out), "--conversations", "1", "--repairs", "1")
    assert done.returncode == 2
    assert f"{FEW[2]}/encoding.lp:{line}: clingo cannot parse it" in done.stderr and "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    with pytest.raises(UserError, match="no such folder"):
        convert_folder(tmp_path / "nowhere", out, ConversionSettings())
