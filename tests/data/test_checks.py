"""The checks of a problem: each fault has a file, a line and a remedy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.asp.solver import Limits, Solver
from scripts.data.checks import check_problem
from scripts.data.problems import read_problem
from tests.data.colouring import ENCODING, INSTANCE, TEXT, write_colouring
from tests.examples import write_problem
from utils_ft import ROOT, UserError


def faults(folder: Path, solver: Solver) -> list[tuple[str, int | None, str]]:
    return [
        (fault.where.name, fault.line, fault.what)
        for fault in check_problem(read_problem(folder, "f"), solver).faults
    ]


def test_a_good_problem_has_no_fault(tmp_path, solver):
    folder = write_colouring(tmp_path / "f" / "colouring")
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
        "remarks on the parts of a rule",
        {
            "encoding": ENCODING.replace("% Neighbours differ.", "").replace(
                "Y), p", "Y),\n % p is painted\n p", 1
            )
        },
        "encoding.lp",
        9,
        "comments on the parts of a statement",
    ),
    (
        "a rule that is commented out",
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
        "the instance has over 2,000 answer sets, too many to enumerate",
    ),
    (
        "an endless instance",
        {"path": INSTANCE, "endless": "node(1). node(X+1) :- node(X). edge(1,2).\n"},
        "endless.lp",
        1,
        "the instance needs more than the solver's time limit",
    ),
    (
        "a syntax error in an instance",
        {"path": INSTANCE, "typo": INSTANCE + "edge(1,2;.\n"},
        "typo.lp",
        4,
        "clingo cannot parse it",
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
def test_a_fault_has_file_line_and_remedy(tmp_path, solver, parts, file, line, words):
    folder = write_colouring(tmp_path / "f" / "colouring", **parts)
    found = faults(folder, solver)
    assert any((name, number) == (file, line) and words in what for name, number, what in found), found
    assert all(fault.remedy for fault in check_problem(read_problem(folder, "f"), solver).faults)


def test_a_shared_instruction_is_no_fault_and_a_split_is_offered_where_it_has_words_for_each(
    tmp_path, solver
):
    shown = "% Show the paint.\n#show paint/2."
    together = ENCODING.replace(shown, f"{shown}\n#show edge/2.")
    checked = check_problem(
        read_problem(write_colouring(tmp_path / "f" / "p", encoding=together), "f"), solver
    )
    assert (checked.faults, checked.notes) == ((), ())
    apart = together.replace("Show the paint.", "Show the paint. Show each edge, too.")
    checked = check_problem(read_problem(write_colouring(tmp_path / "f" / "q", encoding=apart), "f"), solver)
    assert checked.faults == ()
    [note] = checked.notes
    assert (note.line, note.remedy) == (
        11,
        "to have a step for each, write above line 11: Show the paint.; above line 12: Show each edge, too.",
    )


def test_a_fault_of_the_encoding_is_reported_once(tmp_path, solver):
    folder = write_colouring(
        tmp_path / "f" / "p",
        encoding=ENCODING.replace(":- edge(X,Y), ", ":- Q < 1, "),
        a=INSTANCE,
        b=INSTANCE,
    )
    assert [line for _, line, what in faults(folder, solver) if "unsafe" in what] == [8]


def test_a_problem_without_instances_has_a_fault(tmp_path, solver):
    folder = write_colouring(
        tmp_path / "f" / "p", encoding=ENCODING + "\n% A path.\nnode(1..3).\n\n% Its edges.\nedge(1,2). \n"
    )
    shutil.rmtree(folder / "instances")
    assert ("instances", None, "the problem has no instances") in faults(folder, solver)


def test_the_command_prints_a_table_and_exits_with_2_on_faults(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "scripts.benchmarks", *arguments]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)

    write_colouring(tmp_path / "f" / "good")
    done = run("check", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 problem, 4 statements, 4 of them load-bearing (100.0%), 0 faults" in done.stdout
    assert re.search(r"split: \d train, \d valid, \d test", done.stdout)
    write_colouring(tmp_path / "f" / "twin")
    write_colouring(tmp_path / "g" / "bad", encoding="% A.\na :- b c.\n")
    done = run("check", str(tmp_path))
    assert done.returncode == 2
    assert re.search(r"g/bad/encoding\.lp:2: clingo cannot parse it\n", done.stdout)
    assert (
        "f/twin/encoding.lp: the same description and encoding as f/good, up to names and order"
        in done.stdout
    )
    assert "Traceback" not in done.stdout + done.stderr and done.stdout.count("clingo cannot parse it") == 1
    shutil.rmtree(tmp_path / "g")
    (tmp_path / "split.json").write_text('{"valid": ["twin"], "test": ["f/good"]}')
    done = run("check", str(tmp_path))
    assert done.returncode == 2 and "remedy: write f/twin\n" in done.stdout and "2 faults" in done.stdout
    (tmp_path / "split.json").write_text('{"test": ["f"]}')
    shutil.rmtree(tmp_path / "f" / "twin")
    assert "f is a family" in run("check", str(tmp_path)).stdout
    (tmp_path / "split.json").write_text('{"test": ["f/good"]}')
    done = run("check", str(tmp_path))
    assert done.returncode == 0 and "note: there is no validation problem" in done.stdout
    done = run("constructs", str(tmp_path / "f"))
    assert done.returncode == 0 and "1  integrity constraint" in done.stdout
    done = run("check", str(tmp_path / "nowhere"))
    assert (
        (done.returncode, done.stdout) == (2, "")
        and "remedy:" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.fixture(scope="module")
def impatient() -> Iterator[Solver]:
    """A solver with little time for programs that never end."""
    with Solver(1, Limits(cpu_seconds=0.3)) as solver:
        yield solver


def test_the_number_of_answer_sets_is_never_0_for_a_limit(tmp_path, impatient):
    folder = write_colouring(
        tmp_path / "f" / "p",
        a_path=INSTANCE,
        b_islands="node(1..12). edge(1,2).\n",
        c_endless="node(1). node(X+1) :- node(X). edge(1,2).\n",
    )
    checked = check_problem(read_problem(folder, "f"), impatient)
    assert checked.answer_sets == (2, "over 2,000", "time limit") and checked.load_bearing is None


def test_answer_sets_with_much_text_are_not_said_to_be_many(tmp_path, solver):
    facts = "".join(f'b({number},"{"x" * 30_000}").\n' for number in range(20))
    folder = write_problem(tmp_path / "f" / "p", "a and b", "% One number.\n{ a(1..20) } = 1.\n", much=facts)
    checked = check_problem(read_problem(folder, "f"), solver)
    assert checked.answer_sets == ("too long",)
    assert "has answer sets with too much text" in str([fault.what for fault in checked.faults])


@pytest.mark.parametrize(
    ("addition", "instances", "what"),
    [
        ("\n% Never.\n:- #true.\n", {"a": INSTANCE, "b": INSTANCE}, "every instance has no answer set"),
        (
            "\n% On and on.\nnode(X+1) :- node(X).\n",
            {"a": INSTANCE, "b": INSTANCE},
            "every instance needs more than the solver's time limit",
        ),
        ("\n#program more.\n\n:- edge(X,X).\n", {"a": INSTANCE}, "`#program more.` starts a part"),
        ("\na.\n\nb.\n\nc.\n", {"a": INSTANCE}, "3 statements without an instruction, from a."),
    ],
    ids=["no answer set", "endless", "parts", "no instructions"],
)
def test_one_cause_is_one_fault(tmp_path, impatient, addition, instances, what):
    text = TEXT + "a, b and c"
    folder = write_colouring(tmp_path / "f" / "p", text=text, encoding=ENCODING + addition, **instances)
    found = [
        fault for _, _, fault in faults(folder, impatient) if not fault.startswith("no instance tests this")
    ]
    assert len(found) == 1 and found[0].startswith(what), found


def test_a_statement_that_does_not_end_is_a_fault_of_its_instance(tmp_path, solver):
    folder = write_colouring(tmp_path / "f" / "p", a=INSTANCE + "edge(1,3)\n", b=INSTANCE)
    [(file, line, what)] = faults(folder, solver)
    assert (file, line) == ("a.lp", 5) and what.startswith("clingo cannot parse it")


def test_thousands_of_facts_are_tested_in_few_programs(tmp_path, solver):
    """The facts that matter are in the first of the blocks."""
    facts = "\n".join(f"edge({number},{number + 2000})." for number in range(2000))
    encoding = (
        f"% The edges.\n{facts}\n\n% One of the first is picked.\n{{ pick(X) : edge(X,_), X < 5 }} = 1.\n"
    )
    folder = write_problem(
        tmp_path / "f" / "p", "edge(X,Y) and pick(X).", f"{encoding}\n% It.\n#show pick/1.\n", a="", b="no."
    )
    checked = check_problem(read_problem(folder, "f"), solver)
    assert checked.answer_sets == (5, 5) and checked.statements == 2002
    whats = [fault.what.split(":")[0] for fault in checked.faults]
    assert len(whats) == 1, "a shared instruction is no fault"
    assert re.match(r"no instance tests 1,9\d\d of the facts, from edge\(32,2032\)\.", whats[0])


@pytest.mark.parametrize(
    "instance", ["node(1..2). node(3)", "node(1..2). %* open", "node(1..2). node(", 'p("']
)
def test_an_instance_must_be_complete_by_itself(tmp_path, solver, instance):
    """Otherwise it would change the encoding that follows it."""
    folder = write_colouring(tmp_path / "f" / "colouring")
    (folder / "instances" / "one.lp").write_text(instance)
    found = [fault for fault in faults(folder, solver) if fault[0] == "one.lp"]
    assert len(found) == 1 and "clingo cannot parse it" in found[0][2] and found[0][1] in (1, 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.parametrize("name", ["encoding.lp", "problem.md", "instances/pipe.lp"])
def test_a_pipe_is_refused(tmp_path, name):
    folder = write_colouring(tmp_path / "f" / "colouring")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match="no ordinary file"):
        read_problem(folder, "f")


def test_an_instance_without_its_constant_gets_clingos_note(tmp_path, solver):
    days = "% The days are numbered from 1.\nday(1..n).\n\n% Some day is chosen.\n1 { node(D) : day(D) } 1.\n"
    folder = write_colouring(tmp_path / "f" / "p", encoding=f"{days}\n{ENCODING}")
    (folder / "instances" / "b.lp").write_text("#const n = 2.\n")
    [fault] = [
        f for f in check_problem(read_problem(folder, "f"), solver).faults if "no answer set" in f.what
    ]
    assert "clingo notes: interval undefined: 1..n" in fault.remedy
