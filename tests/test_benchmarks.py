"""The shipped collection keeps every promise, and a person's own folder is told what to mend, with file and line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts.asp.constructs import construct_table, constructs
from scripts.asp.encoding import read_encoding
from scripts.asp.solver import Solver
from scripts.data.checks import check_problem
from scripts.data.problems import STYLES, read_problem, read_problems, split_of
from scripts.data.twins import canonical, twins
from scripts.data.variable_renaming import rename
from utils_ft import BENCHMARKS, UserError, content_hash

ROOT = Path(__file__).resolve().parents[1]
PROBLEMS = read_problems(BENCHMARKS)


@pytest.fixture(scope="module")
def solver():
    with Solver() as pool:
        yield pool


# --- the shipped collection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sorted({problem.family for problem in PROBLEMS}))
def test_every_problem_passes_the_gate_and_every_rule_is_load_bearing(solver, family):
    for problem in PROBLEMS:
        if problem.family == family:
            checked = check_problem(problem, solver)
            assert not checked.faults, "\n".join(map(str, checked.faults))
            assert checked.load_bearing == checked.statements >= 6
            assert all(count <= 2000 for count in checked.answer_sets)


def test_the_collection_is_large_and_complete():
    families = Counter(problem.family for problem in PROBLEMS)
    assert len(PROBLEMS) >= 96 and len(families) >= 12 and min(families.values()) >= 6
    for problem in PROBLEMS:
        assert 2 <= len(problem.instances) <= 4, problem.id
        assert 6 <= len(problem.encoding.steps) <= 14, problem.id
        assert tuple(problem.paraphrases) == STYLES, problem.id
        for style in STYLES:
            text = (problem.folder / "paraphrases" / f"{style}.md").read_text(encoding="utf-8")
            assert text.startswith(f"---\nstyle: {style}\nsource: hand-written\n---\n"), (problem.id, style)
            assert not problem.paraphrases[style].startswith("---")


def test_no_two_problems_are_the_same():
    assert twins(PROBLEMS) == []


def test_every_construct_is_common_enough_to_be_learnt():
    table = construct_table(problem.encoding for problem in PROBLEMS)
    assert len(table) >= 27
    assert not {name: count for name, count in table.items() if count < 8}


def test_the_readme_of_the_collection_tells_the_truth():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    told = {name: int(count) for name, count in re.findall(r"\| ([^|`\d][^|`]*?) \| (\d+) (?=\|)", text)}
    assert told == dict(construct_table(problem.encoding for problem in PROBLEMS))
    statements = sum(len(step.statements) for problem in PROBLEMS for step in problem.encoding.steps)
    instances = sum(len(problem.instances) for problem in PROBLEMS)
    families = Counter(problem.family for problem in PROBLEMS)
    assert (
        f"{len(PROBLEMS)} problems in {len(families)} families, {statements} rules, {instances} instances"
        in text
    )
    sides = Counter(split_of(PROBLEMS, BENCHMARKS).values())
    assert f"{sides['train']} train, {sides['valid']} valid, {sides['test']} test" in text
    for family, count in families.items():
        assert re.search(rf"\| `{family}`: [^|]+ \| {count} \|", text), family


# --- the split ----------------------------------------------------------------------------------------------------


def test_the_split_follows_its_rule():
    fixed = json.loads((BENCHMARKS / "split.json").read_text(encoding="utf-8"))
    splits = split_of(PROBLEMS, BENCHMARKS)
    assert sorted(fixed["test_families"]) == ["configuration", "routing"]
    for family in {problem.family for problem in PROBLEMS}:
        ids = sorted((problem.id for problem in PROBLEMS if problem.family == family), key=content_hash)
        expected = (
            ["test"] * len(ids)
            if family in fixed["test_families"]
            else ["test", "valid", *["train"] * (len(ids) - 2)]
        )
        assert [splits[name] for name in ids] == expected, family


def test_no_text_and_no_encoding_crosses_the_split():
    splits = split_of(PROBLEMS, BENCHMARKS)
    sides: dict[str, set[str]] = {}
    for problem in PROBLEMS:
        for text in (
            canonical(problem.encoding),
            *(re.sub(r"\W+", " ", text).lower() for text in problem.descriptions().values()),
        ):
            sides.setdefault(text, set()).add(splits[problem.id])
    assert all(len(side) == 1 for side in sides.values())


def test_a_split_file_with_a_mistake_is_named(tmp_path):
    problem = copy_of(PROBLEMS[0], tmp_path)
    for text, words in [
        ('{"test": ["a/b"]}', "a/b is not in this folder"),
        ('{"test_families": ["nonsense"]}', "nonsense is not in this folder"),
        ("{,}", "split.json:1: not a split"),
        ("[]", "not a split"),
        (json.dumps({"test": [problem.id], "valid": [problem.id]}), "is both valid and test"),
    ]:
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(UserError, match=re.escape(words)):
            split_of([problem], tmp_path)
    (tmp_path / "split.json").write_text(json.dumps({"valid": [problem.id]}))
    assert split_of([problem], tmp_path) == {problem.id: "valid"}


def test_without_a_file_a_hash_decides_and_all_three_sides_are_filled(tmp_path):
    splits = split_of(PROBLEMS, tmp_path)
    assert Counter(splits.values()).keys() == {"train", "valid", "test"}
    assert splits == split_of(PROBLEMS[::-1], tmp_path)


# --- a person's own folder ----------------------------------------------------------------------------------------

TEXT = """# Colouring

- `node(X)`, `edge(X,Y)`: the graph.
- `colour(C)`: red or green.
- `paint(X,C)`: the answer.
"""
ENCODING = """% The colours are red and green.
colour(red;green).

% Paint each node in one colour.
{ paint(X,C) : colour(C) } = 1 :- node(X).

% Neighbours differ.
:- edge(X,Y), paint(X,C), paint(Y,C).

% Show the paint.
#show paint/2.
"""
INSTANCE = "node(1..3).\nedge(1,2).\nedge(2,3).\n"


def write_problem(folder: Path, text: str = TEXT, encoding: str = ENCODING, **instances: str) -> Path:
    (folder / "instances").mkdir(parents=True)
    (folder / "problem.md").write_text(text)
    (folder / "encoding.lp").write_text(encoding)
    for name, facts in (instances or {"path": INSTANCE}).items():
        (folder / "instances" / f"{name}.lp").write_text(facts)
    return folder


def copy_of(problem, root: Path):
    folder = root / problem.family / problem.name
    shutil.copytree(problem.folder, folder)
    return read_problem(folder, problem.family)


def faults(folder: Path, solver: Solver) -> list[tuple[str, int | None, str]]:
    return [
        (fault.where.name, fault.line, fault.what)
        for fault in check_problem(read_problem(folder, "f"), solver).faults
    ]


def test_a_good_problem_has_no_fault(tmp_path, solver):
    folder = write_problem(tmp_path / "f" / "colouring")
    checked = check_problem(read_problem(folder, "f"), solver)
    assert (checked.faults, checked.statements, checked.load_bearing, checked.answer_sets) == ((), 4, 4, (2,))


BAD = [
    (
        "an instruction without a rule",
        {"encoding": ENCODING + "\n% And something more.\n"},
        "encoding.lp",
        13,
        "comment without a statement: And something more.",
    ),
    (
        "a rule without an instruction",
        {"encoding": ENCODING + "\n#show.\n"},
        "encoding.lp",
        13,
        "statement without an instruction: #show.",
    ),
    (
        "two rules for one instruction",
        {"encoding": ENCODING.replace(":- edge", "a :- b.\n:- edge")},
        "encoding.lp",
        8,
        "2 statements share one instruction",
    ),
    (
        "a rule that is switched off",
        {"encoding": "% a(X) :- b(X).\n\n" + ENCODING},
        "encoding.lp",
        1,
        "commented-out code",
    ),
    (
        "a syntax error",
        {"encoding": ENCODING.replace("} = 1 :-", "} = 1 : -")},
        "encoding.lp",
        5,
        "clingo cannot parse it",
    ),
    (
        "an unsafe rule",
        {"encoding": ENCODING.replace(":- edge(X,Y), ", ":- X != Y, not ")},
        "encoding.lp",
        8,
        "'X' is unsafe",
    ),
    (
        "an unsafe rule over several lines",
        {"encoding": ENCODING.replace(":- edge(X,Y),", ":-\n  Z = Z,\n  edge(X,Y),")},
        "encoding.lp",
        8,
        "'Z' is unsafe",
    ),
    (
        "an unsatisfiable instance",
        {"path": INSTANCE, "triangle": INSTANCE + "edge(1,3).\n"},
        "triangle.lp",
        1,
        "the instance has no answer set",
    ),
    (
        "an instance said to be unsatisfiable",
        {"path": INSTANCE, "a_unsat": INSTANCE},
        "a_unsat.lp",
        1,
        "though its name says `unsat`",
    ),
    (
        "too many answer sets",
        {"path": INSTANCE, "islands": "node(1..12). edge(1,2).\n"},
        "islands.lp",
        1,
        "the instance has too many answer sets to enumerate",
    ),
    (
        "an endless instance",
        {"path": INSTANCE, "endless": "node(1). node(X+1) :- node(X). edge(1,2).\n"},
        "endless.lp",
        None,
        "clingo says timeout on instance endless",
    ),
    (
        "a syntax error in an instance",
        {"path": INSTANCE, "typo": INSTANCE + "edge(1,2;.\n"},
        "typo.lp",
        4,
        "clingo says syntax on instance typo",
    ),
    (
        "an instance that reaches outside",
        {"path": INSTANCE, "evil": INSTANCE + '#include "/etc/passwd".\n'},
        "evil.lp",
        4,
        "#include is not allowed",
    ),
    (
        "a predicate that the text never names",
        {"encoding": ENCODING.replace("node", "vertex"), "path": INSTANCE.replace("node", "vertex")},
        "encoding.lp",
        5,
        "the text never names the predicate vertex",
    ),
    (
        "a constant that the text never names",
        {"encoding": ENCODING.replace("(red;green).", '(red;green;"sky blue").')},
        "encoding.lp",
        2,
        "the text never names the constant sky blue",
    ),
    (
        "a rule that nothing tests",
        {"encoding": ENCODING + "\n% A node has no edge to itself.\n:- edge(X,X).\n"},
        "encoding.lp",
        14,
        "no instance tests this statement: :- edge(X,X).",
    ),
]


@pytest.mark.parametrize(
    ("parts", "file", "line", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_each_fault_is_named_with_file_line_and_remedy(tmp_path, solver, parts, file, line, words):
    folder = write_problem(tmp_path / "f" / "colouring", **parts)
    found = faults(folder, solver)
    assert any((name, number) == (file, line) and words in what for name, number, what in found), found
    assert all(fault.remedy for fault in check_problem(read_problem(folder, "f"), solver).faults)


def test_an_error_in_the_encoding_is_reported_once_however_many_instances_meet_it(tmp_path, solver):
    folder = write_problem(
        tmp_path / "f" / "p",
        encoding=ENCODING.replace(":- edge(X,Y), ", ":- Q < 1, "),
        a=INSTANCE,
        b=INSTANCE,
    )
    assert [line for _, line, what in faults(folder, solver) if "unsafe" in what] == [8]


def test_a_problem_without_instances_is_named(tmp_path, solver):
    folder = write_problem(
        tmp_path / "f" / "p", encoding=ENCODING + "\n% A path.\nnode(1..3).\n\n% Its edges.\nedge(1,2). \n"
    )
    shutil.rmtree(folder / "instances")
    assert ("instances", None, "the problem has no instances") in faults(folder, solver)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda root: None, "there is no problem in this folder"),
        (
            lambda root: write_problem(root / "f" / "p").joinpath("problem.md").unlink(),
            "the problem has no problem.md",
        ),
        (
            lambda root: write_problem(root / "f" / "p").joinpath("encoding.lp").unlink(),
            "the problem has no encoding.lp",
        ),
        (
            lambda root: write_problem(root / "f" / "p").joinpath("problem.md").write_bytes(b"a\n\xff"),
            "problem.md:2: not UTF-8 text",
        ),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_message(tmp_path, prepare, words):
    prepare(tmp_path)
    with pytest.raises(UserError, match=re.escape(words)):
        read_problems(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_problems(tmp_path / "nowhere")


def test_two_problems_of_one_name_are_refused(tmp_path):
    for part in ("a", "b"):
        write_problem(tmp_path / part / "graphs" / "paths")
    with pytest.raises(
        UserError, match=r"b/graphs/paths: the problem has the name graphs/paths, as \S*a/graphs/paths has"
    ):
        read_problems(tmp_path)


def test_the_predecessors_layout_is_read_as_well(tmp_path, solver):
    for name in ("ASP.txt", "ASP.lp"):
        folder = tmp_path / name.replace(".", "_") / "graph_colouring"
        folder.mkdir(parents=True)
        (folder / "NL.txt").write_text(TEXT)
        (folder / name).write_text(ENCODING + "\n% The graph.\nnode(1..3). edge(1,2). edge(2,3).\n")
        (problem,) = read_problems(folder.parent)
        assert (problem.name, problem.description, problem.instances) == (
            "graph_colouring",
            TEXT.strip(),
            {"": ""},
        )
        assert len(problem.encoding.instructed) == 5
        checked = check_problem(problem, solver)
        assert checked.answer_sets == (2,)
        assert {fault.what.split(":")[0] for fault in checked.faults} == {
            "3 statements share one instruction",
            "the problem has no instances",
        }


def test_the_command_prints_a_table_and_fails_where_something_is_to_be_mended(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "scripts.benchmarks", *arguments]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)

    write_problem(tmp_path / "f" / "good")
    done = run("check", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 problems, 4 statements, 4 of them load-bearing (100.0%), 0 faults" in done.stdout
    write_problem(tmp_path / "f" / "twin")
    write_problem(tmp_path / "g" / "bad", encoding="% A.\na :- b c.\n")
    done = run("check", str(tmp_path))
    assert done.returncode == 2
    assert re.search(r"g/bad/encoding\.lp:2: clingo cannot parse it\n", done.stdout)
    assert "the same problem as f/good, up to renaming" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    done = run("constructs", str(tmp_path / "f"))
    assert done.returncode == 0 and "2  integrity constraint" in done.stdout
    done = run("check", str(tmp_path / "nowhere"))
    assert (
        (done.returncode, done.stdout) == (2, "")
        and "remedy:" in done.stderr
        and "Traceback" not in done.stderr
    )


# --- twins and constructs -----------------------------------------------------------------------------------------


def renamed_twin(problem, root: Path):
    """The same problem in other names, another order and another layout, under another description."""
    swaps = {
        "paint": "wear",
        "node": "guest",
        "edge": "dislikes",
        "colour": "hat",
        "red": "cap",
        "green": "bonnet",
    }
    steps = [rename("", step.code, "canonical").code.replace(" :- ", ":-") for step in problem.encoding.steps]
    encoding = "\n".join(f"% Rule.\n{code}\n" for code in steps[::-1])
    text = "Another story about hats.\n" + problem.description
    for old, new in swaps.items():
        encoding, text = re.sub(rf"\b{old}\b", new, encoding), re.sub(rf"\b{old}\b", new, text)
    return read_problem(write_problem(root, text=text, encoding=encoding), "f")


def test_twins_are_found_under_other_names_order_and_layout(tmp_path):
    original = read_problem(write_problem(tmp_path / "f" / "colouring"), "f")
    twin = renamed_twin(original, tmp_path / "f" / "hats")
    assert twins([original, twin]) == [(original, twin)]
    other = read_problem(
        write_problem(
            tmp_path / "f" / "other", text="Other.", encoding=ENCODING.replace("paint(Y,C)", "paint(Y,D)")
        ),
        "f",
    )
    assert twins([original, other]) == []
    same_text = read_problem(
        write_problem(tmp_path / "f" / "text", text=TEXT.upper(), encoding="% A.\na.\n"), "f"
    )
    assert twins([original, same_text]) == [(original, same_text)]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("a(1..3).", {"fact", "interval"}),
        ("1 { p(X) : q(X) } 2 :- r.", {"choice rule with bounds"}),
        ("{ p }.", {"choice rule"}),
        ("a | b :- not c.", {"disjunction", "default negation"}),
        (":- a, -b(X).", {"integrity constraint", "strong negation"}),
        ("X < Y :- p(X,Y).", {"comparison in the head", "comparison"}),
        (":- p(X), 1 <= X < 4.", {"integrity constraint", "comparison chain"}),
        ("p(1;2).", {"fact", "pool"}),
        ("n(N) :- N = #count{ X : p(X) }.", {"aggregate assigned to a variable", "#count"}),
        (":- #sum{ W,X : p(X,W) } > 3.", {"integrity constraint", "#sum"}),
        ("1 <= #count{ X : p(X) : q(X) } <= 2.", {"aggregate in the head", "#count"}),
        ("#minimize{ X@2 : p(X) }.", {"#minimize / #maximize", "priority level"}),
        ('#minimize{ X,"@" : p(X) }.', {"#minimize / #maximize"}),
        (":~ p(X). [X]", {"weak constraint"}),
        ("#show p/1.", {"#show"}),
        ("#const n = 3.", {"#const"}),
        ("a :- p(X) : q(X).", {"conditional literal"}),
        ("on(X,T+1) :- on(X,T), not off(X,T).", {"frame axiom", "arithmetic", "default negation"}),
        (
            "-on(X,T) :- -on(X,T-1), not on(X,T).",
            {"frame axiom", "arithmetic", "default negation", "strong negation"},
        ),
        ("on(X,T+1) :- at(X,T), not off(X,T).", {"arithmetic", "default negation"}),
    ],
)
def test_the_constructs_of_a_statement(code, shown):
    (step,) = read_encoding(code).steps
    assert constructs(step.statements[0]) == shown


def test_recursion_and_symmetry_breaking_are_seen_in_the_whole():
    direct = read_encoding("% A.\nr(X,Z) :- r(X,Y), e(Y,Z).")
    mutual = read_encoding("% A.\na :- not b.\n\n% Break the symmetry.\nb :- a.")
    none = read_encoding("% Being near is symmetric.\na(X,Y) :- b(X,Y).")
    assert [dict(construct_table([encoding])).get("recursion", 0) for encoding in (direct, mutual, none)] == [
        1,
        1,
        0,
    ]
    assert [
        dict(construct_table([encoding])).get("symmetry breaking", 0) for encoding in (direct, mutual, none)
    ] == [0, 1, 0]
