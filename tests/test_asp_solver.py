"""The wall: every hostile program gets its verdict, nothing leaks, and equal means equal."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clingo.ast
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.asp import solver as asp_solver
from scripts.asp.comparison import Relation, compare, evidence
from scripts.asp.gate import code_only, refusal
from scripts.asp.solver import Limits, Outcome, Request, Solver, Verdict, _Worker, shared_solver

ROOT = Path(__file__).resolve().parents[1]
QUICK = Limits(cpu_seconds=0.15, wall_seconds=10, memory_bytes=256 * 2**20, answer_sets=100)

GOOD = "{in(1..3)} = 1. :- in(2)."
ENDLESS = "p(0). p(X+1) :- p(X)."
HUGE = "p(1..1000000000)."
EXPONENTIAL = "{p(1..40)}."
PIGEONS = "{p(X,1..12)} = 1 :- X = 1..13. :- p(X,H), p(Y,H), X < Y."
CRASH = f"a({'-' * 30_000}1)."  # clingo's recursion overflows its stack


@pytest.fixture(scope="module")
def solver():
    with Solver(2, QUICK) as pool:
        yield pool


def children() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE]


# --- verdicts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "verdict", "message"),
    [
        ("a. b :- a.", Verdict.OK, ""),
        ("", Verdict.OK, ""),
        ("a. :- a.", Verdict.UNSATISFIABLE, ""),
        ("a :- b c.", Verdict.SYNTAX, "<block>:1:8-9: error: syntax error, unexpected <IDENTIFIER>"),
        ("a.\n:- p(X), q(Y)", Verdict.SYNTAX, "<block>:3:1-2: error: syntax error, unexpected EOF"),
        (
            "q(1).\np(X) :- not q(X).",
            Verdict.UNSAFE,
            "<block>:2:1-18: error: unsafe variables in:\n  p(X):-[#inc_base];not q(X).\n<block>:2:3-4: note: 'X' is unsafe",
        ),
        (
            "&diff{x} > 1.",
            Verdict.UNSAFE,
            "<block>:1:1-13: error: no definition found for theory atom:\n  diff/0",
        ),
        (
            "#const n = 1. #const n = 2.",
            Verdict.SYNTAX,
            "<block>:1:15-28: error: redefinition of constant:\n  #const n=2.\n<block>:1:1-14: note: constant also defined here",
        ),
        ("```\na.\n```", Verdict.SYNTAX, None),
        (
            '#include "x.lp".',
            Verdict.REFUSED,
            "<block>:1:1-2: error: #include is not allowed, a program may not reach outside itself",
        ),
        (EXPONENTIAL, Verdict.TOO_MANY, ""),
    ],
)
def test_each_program_has_its_verdict_and_clingos_own_words(solver, program, verdict, message):
    outcome = solver.answer_sets(program)
    assert outcome.verdict is verdict
    assert message is None or outcome.message == message
    assert (outcome.answer_sets is not None) == (verdict in (Verdict.OK, Verdict.UNSATISFIABLE))


def test_a_message_has_its_position_and_a_character_outside_ascii_does_no_harm(solver):
    outcome = solver.check('greeting("schön ≠").\na :- b ≠ c.')  # clingo's own Python layer aborts on this
    assert outcome.verdict is Verdict.SYNTAX
    assert outcome.position == (2, 8)
    assert "unexpected \\xe2" in outcome.message
    assert solver.answer_sets('p("schön ≠").').answer_sets == {(('p("schön ≠")',), ())}
    assert Outcome(Verdict.OK).position is None


def test_an_error_is_not_lost_behind_a_crowd_of_notes(solver):
    crowd = "".join(f"a{i} :- b{i}.\n" for i in range(600))
    assert len(solver.check(crowd).notes) == 500
    outcome = solver.check(crowd + "p(X).")
    assert outcome.verdict is Verdict.UNSAFE and "'X' is unsafe" in outcome.message


def test_answer_sets_are_projected_on_what_is_shown_and_carry_their_costs(solver):
    sets = {
        "{a; b}. #show a/0.": {((), ()), (("a",), ())},
        "{p(1..40)}. #show t : p(1). #show.": {((), ()), (("t",), ())},
        "{a; b} = 1. #minimize{2 : a; 3 : b}.": {(("a",), (2,))},
        "{a}. {b}. #maximize{1@3,a : a; 1@1,b : b}.": {(("a", "b"), (-1, -1))},
        "{a; b; c}. #show a/0. #minimize{1 : b}.": {((), (0,)), (("a",), (0,))},
        "-a. {b}.": {(("-a",), ()), (("-a", "b"), ())},
    }
    for program, expected in sets.items():
        assert solver.answer_sets(program).answer_sets == expected, program


@pytest.mark.parametrize(
    ("program", "solve", "verdicts"),
    [
        (ENDLESS, False, {Verdict.TIMEOUT}),
        (HUGE, False, {Verdict.TIMEOUT, Verdict.MEMORY}),
        (PIGEONS, True, {Verdict.TIMEOUT}),
        (EXPONENTIAL, True, {Verdict.TOO_MANY}),
        (CRASH, False, {Verdict.MEMORY}),
        ("p(" + "f(" * 100_000 + "1" + ")" * 100_000 + ").", False, {Verdict.MEMORY, Verdict.TIMEOUT}),
        ("p(" + "(" * 100_000, False, {Verdict.SYNTAX}),
        ("p(" + "1;" * 2_500_000 + "1).", False, {Verdict.TIMEOUT, Verdict.MEMORY}),
        ("% " + "x" * 5_000_000 + "\na.", False, {Verdict.OK}),
        ("a(X).\n%*" + "x\n" * 2_500_000 + "*%", False, {Verdict.UNSAFE}),
        ("p(X) :- " + ",".join(["q(X)"] * 1_000_000) + " r.", False, {Verdict.SYNTAX, Verdict.TIMEOUT}),
        ("a.\0b.", False, {Verdict.REFUSED}),
        (b"a. \xff\xfe b.".decode(errors="surrogateescape"), False, {Verdict.REFUSED}),
        ("\ufeffa.", False, {Verdict.SYNTAX}),
        ("{p(1..3000)}.", True, {Verdict.TOO_MANY}),
    ],
    ids=range(15),
)
def test_hostile_programs_end_in_a_verdict(solver, program, solve, verdicts):
    assert next(iter(solver.run([Request(program, solve)]))).verdict in verdicts
    assert solver.answer_sets(GOOD).answer_sets == {(("in(1)",), ()), (("in(3)",), ())}


def test_memory_is_limited_and_named():
    with Solver(1, Limits(cpu_seconds=20, memory_bytes=64 * 2**20)) as pool:
        start = time.monotonic()
        assert pool.check(HUGE).verdict is Verdict.MEMORY
        assert time.monotonic() - start < 15
        assert pool.check(GOOD).verdict is Verdict.OK


def test_what_one_program_leaves_behind_is_not_blamed_on_the_next():
    # Each of these keeps some 20 MB of symbols in its process for ever; none needs more than the limit.
    with Solver(1, Limits(cpu_seconds=20, memory_bytes=96 * 2**20)) as pool:
        programs = [f"p({i},1..100000)." for i in range(12)]
        assert {outcome.verdict for outcome in pool.run(map(Request, programs))} == {Verdict.OK}


def test_the_wall_clock_ends_what_the_processor_time_does_not():
    with Solver(1, Limits(cpu_seconds=1000, wall_seconds=0.3)) as pool:
        assert pool.check(ENDLESS).verdict is Verdict.TIMEOUT
        assert pool.check(GOOD).verdict is Verdict.OK


def test_a_request_may_carry_limits_of_its_own(solver):
    requests = [
        Request("{p(1..7)}.", True),
        Request("{p(1..7)}.", True, answer_sets=128),
        Request("{p(1..3)}.", True, answer_sets=4),
        Request(ENDLESS, cpu_seconds=0.02),
    ]
    assert [outcome.verdict for outcome in solver.run(requests)] == [
        Verdict.TOO_MANY,
        Verdict.OK,
        Verdict.TOO_MANY,
        Verdict.TIMEOUT,
    ]


def test_a_thousand_hostile_programs_in_a_row_leave_no_trace():
    quick = [
        (Request(EXPONENTIAL, True), {Verdict.TOO_MANY}),
        (Request("p(X)."), {Verdict.UNSAFE}),
        (Request("#script (python) import os #end."), {Verdict.REFUSED}),
        (Request("{{a}}."), {Verdict.SYNTAX}),
        (Request("a.\0"), {Verdict.REFUSED}),
        (Request("a ≠ b."), {Verdict.SYNTAX}),
        (Request("{p(1..2000)}.", True), {Verdict.TOO_MANY}),
        (Request("&sum{x} > 1."), {Verdict.UNSAFE}),
    ]
    deadly = [
        (Request(ENDLESS), {Verdict.TIMEOUT}),
        (Request(CRASH), {Verdict.MEMORY}),
        (Request(PIGEONS, True), {Verdict.TIMEOUT}),
        (Request(HUGE), {Verdict.TIMEOUT, Verdict.MEMORY}),
    ]
    hostile = [*quick, deadly[0], deadly[1], *quick, deadly[2], deadly[3]]
    good = Request(GOOD, True)
    limits = Limits(cpu_seconds=0.08, wall_seconds=20, memory_bytes=128 * 2**20, answer_sets=20)
    before = {process.pid for process in children()}

    def rounds(number: int) -> float:
        """Run `number` rounds of hostile programs with a good one after each; bytes held at the end, workers' too."""
        row = [item for _ in range(number) for pair in hostile for item in (pair, (good, {Verdict.OK}))]
        for (request, verdicts), outcome in zip(row, pool.run(request for request, _ in row), strict=True):
            assert outcome.verdict in verdicts, (request.program[:80], outcome)
            assert request is not good or len(outcome.answer_sets) == 2
        workers = [process for process in children() if process.pid not in before]
        assert len(workers) <= 2
        return sum(process.memory_info().rss for process in [psutil.Process(), *workers])

    with Solver(2, limits) as pool:
        first = rounds(5)
        assert rounds(45) - first < 48 * 2**20
    assert {process.pid for process in children()} <= before


# --- order, threads, life -----------------------------------------------------------------------------------------


def test_results_come_back_in_order_whatever_dies_between(solver):
    requests = [Request(ENDLESS) if i % 29 == 5 else Request(f"p({i}).", True) for i in range(150)]
    for i, outcome in enumerate(solver.run(iter(requests))):
        if i % 29 == 5:
            assert outcome.verdict is Verdict.TIMEOUT
        else:
            assert outcome.answer_sets == {((f"p({i})",), ())}


def test_large_requests_and_large_replies_do_not_wait_for_each_other(solver):
    many = "{p(1..6,1..200)} = 1. % " + "x" * 9000  # 1,200 answer sets, in more bytes than a pipe holds
    outcomes = list(solver.run(Request(many, True, answer_sets=1200, cpu_seconds=5) for _ in range(12)))
    assert [len(outcome.answer_sets) for outcome in outcomes] == [1200] * 12


def test_a_solver_serves_many_threads_at_once(solver):
    def ask(number: int) -> bool:
        if number % 17 == 3:
            return solver.check(ENDLESS).verdict is Verdict.TIMEOUT
        return solver.answer_sets(f"p({number}).").answer_sets == {((f"p({number})",), ())}

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(ask, range(150)))
    assert len(children()) <= 4  # this solver's two, and the shared one's where another test started it


def test_a_reader_may_stop_early_and_an_endless_stream_is_read_in_step(solver):
    read = 0

    def stream():
        nonlocal read
        while True:
            read += 1
            yield Request("a.")

    outcomes = solver.run(stream())
    assert [next(outcomes).verdict for _ in range(50)] == [Verdict.OK] * 50
    assert read < 250
    outcomes.close()
    assert solver.check(GOOD).verdict is Verdict.OK


def test_an_interrupt_leaves_no_answer_to_the_next_question(solver, monkeypatch):
    """A Ctrl-C while a worker computes must not let its answer pass for that of the next program."""
    receive = _Worker.receive

    def interrupted(worker, request):
        monkeypatch.setattr(_Worker, "receive", receive)
        raise KeyboardInterrupt

    monkeypatch.setattr(_Worker, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solver.answer_sets("old.")
    for number in range(4):
        assert solver.answer_sets(f"new({number}).").answer_sets == {((f"new({number})",), ())}


def test_closing_ends_what_runs_and_refuses_what_comes_later():
    pool = Solver(2, Limits(cpu_seconds=60, wall_seconds=60))
    results: list[Outcome] = []
    thread = threading.Thread(target=lambda: results.append(pool.check(ENDLESS)))
    thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    pool.close()
    thread.join(5)
    assert time.monotonic() - start < 5
    assert [outcome.verdict for outcome in results] == [Verdict.TIMEOUT]
    with pytest.raises(RuntimeError, match="closed"):
        pool.check(GOOD)
    pool.close()


def test_the_shared_solver_ends_with_its_process_and_without_a_main_guard(tmp_path):
    script = tmp_path / "plain.py"  # no `if __name__` guard: nothing is imported twice, on any platform
    script.write_text(
        "from scripts.asp.solver import shared_solver\nprint(shared_solver().check('a.').verdict)\n"
        "print(*(worker.process.pid for worker in shared_solver()._alive))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    verdict, pids = done.stdout.strip().split("\n")
    assert (verdict, done.stderr, done.returncode) == ("ok", "", 0)
    assert not any(psutil.pid_exists(int(pid)) for pid in pids.split())
    assert shared_solver() is shared_solver()


# --- refusals and the sandbox -------------------------------------------------------------------------------------

ALLOWED = [
    'p("#include").',
    'p("#script (python)").',
    '% #include "x.lp".\na.',
    "a. %* #script (lua) *% b.",
    "a. %* outer %* inner *% #include *% b.",
    "a. #! #include\nb.",
    'p("a % b"). q("\\"#include\\"").',
    '%* % *% #include "x". \n *% a.',
    "include. script. p(include).",
    "asp :- a. a.",
    "%\na.",
]
REFUSED = [
    '#include "x.lp".',
    "a.\n  #include <incmode>.",
    '#include\n%x\n"x.lp".',
    "#script(python)\nx\n#end.",
    "#script (lua) #end.",
    'p("a"). #include "x".',
    'p("\\\\"). #include "x".',
    '%* c *% #include "x".',
    '%* %* *% *% #include "x".',
    '"\\q . #include "x".',  # no string for clingo, which knows three escapes
    'a. #! %*\n#include "x". %*% *%',  # the block comment stands in a line comment
    '%* % %* \n *% #include "x".',  # and here
    'asp 1 0 0\n10 %*\n0\n#include "x".\n',
    "a. \ud800",
    "\0",
]


@pytest.mark.parametrize("program", ALLOWED)
def test_strings_and_comments_may_say_anything(solver, program):
    assert refusal(program) == ""
    assert solver.check(program).verdict is Verdict.OK


@pytest.mark.parametrize("program", REFUSED)
def test_programs_that_reach_outside_are_refused_with_a_position(solver, program):
    outcome = solver.check(program)
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.position
    assert solver.check("ok.").verdict is Verdict.OK


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                '"',
                "\\",
                '\\"',
                "\\n",
                "q",
                "%",
                "*",
                "%*",
                "*%",
                "\n",
                ".",
                " ",
                "#!",
                "#",
                "a.",
                "é",
                "&a{",
                "}",
                "asp 1 0 0\n",
                "0\n",
                "10 ",
                "\r",
                "\t",
                '#include "reached.lp".',
                '#include "reached.lp"',
                "#include",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_nothing_that_passes_makes_clingo_open_a_file(text):
    """The scanner and clingo's lexer agree on what is a string or a comment, however they are mixed."""
    program = text + '#include "reached.lp".'
    reached = []

    def log(_, message):
        reached.append("could not be opened" in message)

    if refusal(program) == "" and program.isascii():
        with contextlib.suppress(RuntimeError):
            clingo.ast.parse_string(program, lambda _: None, logger=log)
        assert not any(reached)
    assert len(code_only(program)) == len(program)


def test_a_worker_cannot_open_a_file_even_where_the_refusal_is_bypassed(tmp_path):
    secret = tmp_path / "secret.lp"
    secret.write_text("secret(42).\n")
    worker = _Worker(QUICK)
    try:
        for program in (f'#include "{secret}".', '#include "/etc/passwd".', '#include "/dev/stdin".'):
            request = Request(program, solve=True)
            worker.send(worker.frame(request))
            outcome = worker.receive(request)
            assert outcome.verdict is Verdict.SYNTAX
            assert "could not be opened" in outcome.message
        for language in ("python", "lua"):
            request = Request(f"#script ({language})\nimport os\n#end.\na.")
            worker.send(worker.frame(request))
            assert worker.receive(request).verdict is not Verdict.OK
    finally:
        worker.end()


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no such limits; the refusal stands alone there"
)
def test_a_locked_down_process_opens_no_file_and_no_socket_and_writes_nothing(tmp_path):
    code = """
import importlib.util, os, socket, sys
spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
worker = importlib.util.module_from_spec(spec); spec.loader.exec_module(worker)
held = open(sys.argv[2], "w"); hole = os.open("/dev/null", os.O_RDONLY); high = os.dup2(hole, 40); os.close(hole)
worker.lock_down(256 * 2**20)
for name, attempt in {
    "read": lambda: open(sys.argv[1]), "write": lambda: open(sys.argv[2] + ".new", "w"),
    "socket": socket.socket, "pair": socket.socketpair, "pipe": os.pipe,
    "held": lambda: (held.write("x"), held.flush()), "memory": lambda: bytearray(2**30),
}.items():
    try:
        attempt(); print(name, "is possible")
    except (OSError, MemoryError) as error:
        print(name, type(error).__name__)
"""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + code,
            str(Path(asp_solver.__file__).with_name("worker.py")),
            str(tmp_path / "held"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "possible" not in done.stdout.replace(
        "memory is possible" if sys.platform == "darwin" else "-", ""
    )
    assert len(done.stdout.strip().split("\n")) == 7, done.stderr


def test_the_worker_stands_alone():
    """It is started as a file of its own: importing it pulls in clingo and the standard library only."""
    spec = importlib.util.find_spec("scripts.asp.worker")
    assert "scripts" not in Path(spec.origin).read_text().split('"""', 2)[2]


# --- equivalence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "candidate", "relation"),
    [
        ("{a; b} = 1.", "a :- not b. b :- not a.", Relation.EQUAL),
        ("{a; b} = 1. #show a/0.", "{a}. #show a/0.", Relation.EQUAL),
        ("{a; b}. #minimize{1 : a}.", "{a; b}. :~ a. [1]", Relation.EQUAL),
        ("a. :- a.", "b. :- b.", Relation.EQUAL),
        ("{a; b} = 1.", "a ; b. {c} 0.", Relation.EQUAL),
        ("{a; b}. #minimize{1 : a}.", "{b}.", Relation.DIFFERENT),  # the same sets, but nothing is optimised
        ("{a; b}. #minimize{1 : a}.", "{a; b}. #minimize{1 : b}.", Relation.DIFFERENT),
        ("{a; b} = 1. #minimize{2 : a; 3 : b}.", "{a; b} = 1. #minimize{1 : a; 3 : b}.", Relation.DIFFERENT),
        ("{a; b} = 1.", "{a; b}.", Relation.DIFFERENT),
        ("a.", "", Relation.DIFFERENT),
        ("a.", "a. :- a.", Relation.DIFFERENT),
        ("a.", "p(X).", Relation.DIFFERENT),
        ("p(X).", "p(X).", Relation.DIFFERENT),  # two programs that both fail are not equal
        ("a b", "a b", Relation.DIFFERENT),
        ("{p(1..20)}.", "{p(1..20)}.", Relation.UNDECIDED),  # over the cap on both sides
        ("{a}.", "{p(1..20)}. {a}.", Relation.UNDECIDED),
        (ENDLESS, ENDLESS, Relation.UNDECIDED),
        ("a.", ENDLESS, Relation.UNDECIDED),
        (CRASH, CRASH, Relation.UNDECIDED),
        ("p(X).", "a.", Relation.UNDECIDED),
    ],
)
def test_equivalence_is_over_all_answer_sets_with_costs_and_never_by_default(
    solver, gold, candidate, relation
):
    comparison = compare([solver.answer_sets(gold)], [solver.answer_sets(candidate)])
    assert comparison.relation is relation
    assert bool(comparison.evidence) == (relation is Relation.DIFFERENT or "error" in comparison.evidence)


def test_one_instance_that_differs_decides_whatever_the_others_say(solver):
    a, b, endless, none = (solver.answer_sets(program) for program in ("a.", "b.", ENDLESS, "a. :- a."))
    assert compare([a, a], [endless, b]).relation is Relation.DIFFERENT
    assert compare([a, endless], [a, a]).relation is Relation.UNDECIDED
    assert compare([a, none], [a, none]).relation is Relation.EQUAL
    with pytest.raises(ValueError, match="instance"):
        compare([], [])
    with pytest.raises(ValueError, match="instance"):
        compare([a], [a, a])


@pytest.mark.parametrize(
    ("gold", "candidate", "sentence"),
    [
        ("a.", "a. :- a.", "UNSATISFIABLE, though there should be an answer set"),
        ("a. :- a.", "a.", "SATISFIABLE, though there should be no answer set"),
        ("{long(1); b}.", "{long(1)}.", "the atom b is never true, though it should be possible"),
        ("{a}.", "{a}. c :- a.", "the atom c is possible, though it should never be true"),
        ("a. {b}.", "{a; b}.", "the atom a is not in every answer set, though it should be"),
        ("{a; b}.", "a. {b}.", "the atom a is in every answer set, though it should not be"),
        ("a. #minimize{2 : a}.", "a. #minimize{5 : a}.", "the optimal cost is 5, though it should be 2"),
        ("a. #minimize{2 : a}.", "a.", "the optimal cost is none, though it should be 2"),
        ("{a; b}.", "{a; b}. :- a, b.", "there are 3 answer sets, though there should be 4"),
        (
            "{a; b} = 1. {c} = 1 :- a. :- c, b.",
            "{a; b} = 1. {c} = 1 :- b. :- c, a.",
            "the answer sets combine the same atoms in other ways than they should",
        ),
    ],
)
def test_the_evidence_is_one_true_sentence(solver, gold, candidate, sentence):
    outcomes = [solver.answer_sets(program).answer_sets for program in (gold, candidate)]
    assert evidence(*outcomes) == sentence
