"""The solver: every program gets a verdict, no process or memory is left, and outcomes are in order."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from scripts.asp.solver import Limits, Outcome, Request, Solver, Verdict, _Worker, shared_solver
from tests.asp.hostile import CRASH, DEEP, ENDLESS, EXPONENTIAL, GOOD, HUGE, PIGEONS
from utils_ft import ROOT


def child_processes() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE]


def test_an_atom_that_is_shown_twice_is_one_atom(solver):
    plain = "a(0). b."
    twice = "a(0). b. #show a(X) : a(X). #show b : b. #show a/1. #show b/0."
    first, second = solver.run([Request(text, solve=True) for text in (plain, twice)])
    assert first.answer_sets == second.answer_sets == {(("a(0)", "b"), ())}


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
            "<block>:2:1-18: error: unsafe variables in:\n  p(X):-[#inc_base];not q(X).\n"
            "<block>:2:3-4: note: 'X' is unsafe",
        ),
        (
            "&diff{x} > 1.",
            Verdict.UNSAFE,
            "<block>:1:1-13: error: no definition found for theory atom:\n  diff/0",
        ),
        (
            "#const n = 1. #const n = 2.",
            Verdict.SYNTAX,
            "<block>:1:15-28: error: redefinition of constant:\n  #const n=2.\n"
            "<block>:1:1-14: note: constant also defined here",
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
def test_verdict_and_message_of_a_program(solver, program, verdict, message):
    outcome = solver.answer_sets(program)
    assert outcome.verdict is verdict
    assert message is None or outcome.message == message
    assert (outcome.answer_sets is not None) == (verdict in (Verdict.OK, Verdict.UNSATISFIABLE))


def test_position_of_a_message_and_characters_outside_ascii(solver):
    outcome = solver.check(
        'greeting("schön ≠").\na :- b ≠ c.'
    )  # clingo's own Python layer would end the process
    assert outcome.verdict is Verdict.SYNTAX
    assert outcome.position == (2, 8)
    assert "unexpected \\xe2" in outcome.message
    assert solver.answer_sets('p("schön ≠").').answer_sets == {(('p("schön ≠")',), ())}
    assert Outcome(Verdict.OK).position is None


def test_an_error_after_many_notes_is_reported(solver):
    crowd = "".join(f"a{i} :- b{i}.\n" for i in range(600))
    assert len(solver.check(crowd).notes) == 500
    outcome = solver.check(crowd + "p(X).")
    assert outcome.verdict is Verdict.UNSAFE and "'X' is unsafe" in outcome.message


def test_answer_sets_are_projected_on_shown_atoms_and_have_costs(solver):
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
        (CRASH, False, {Verdict.UNSAFE}),
        (DEEP, False, {Verdict.REFUSED}),
        ("p(" + "f(" * 100_000 + "1" + ")" * 100_000 + ").", False, {Verdict.REFUSED}),
        ("p(" + "(" * 100_000, False, {Verdict.REFUSED}),
        ("a. " * 3_000_000, False, {Verdict.REFUSED}),
        ("p(" + "1;" * 2_500_000 + "1).", False, {Verdict.TIMEOUT, Verdict.MEMORY}),
        ("% " + "x" * 5_000_000 + "\na.", False, {Verdict.OK}),
        ("a(X).\n%*" + "x\n" * 2_500_000 + "*%", False, {Verdict.UNSAFE}),
        ("p(X) :- " + ",".join(["q(X)"] * 1_000_000) + " r.", False, {Verdict.SYNTAX, Verdict.TIMEOUT}),
        ("a.\0b.", False, {Verdict.REFUSED}),
        (b"a. \xff\xfe b.".decode(errors="surrogateescape"), False, {Verdict.REFUSED}),
        ("\ufeffa.", False, {Verdict.SYNTAX}),
        ("{p(1..3000)}.", True, {Verdict.TOO_MANY}),
    ],
    ids=range(17),
)
def test_a_hostile_program_gets_a_verdict_and_the_solver_still_works(solver, program, solve, verdicts):
    assert next(iter(solver.run([Request(program, solve)]))).verdict in verdicts
    assert solver.answer_sets(GOOD).answer_sets == {(("in(1)",), ()), (("in(3)",), ())}


def test_a_program_over_the_memory_limit_has_the_verdict_memory():
    with Solver(1, Limits(cpu_seconds=20, memory_bytes=64 * 2**20)) as pool:
        start = time.monotonic()
        assert pool.check(HUGE).verdict is Verdict.MEMORY
        assert time.monotonic() - start < 15
        assert pool.check(GOOD).verdict is Verdict.OK


def test_memory_of_earlier_programs_does_not_count_for_later_ones():
    # clingo never frees the some 20 MB of symbols of each program. None of them needs more than the limit.
    with Solver(1, Limits(cpu_seconds=20, memory_bytes=96 * 2**20)) as pool:
        programs = [f"p({i},1..100000)." for i in range(12)]
        assert {outcome.verdict for outcome in pool.run(map(Request, programs))} == {Verdict.OK}


def test_the_wall_clock_limit_ends_a_program():
    with Solver(1, Limits(cpu_seconds=1000, wall_seconds=0.3)) as pool:
        assert pool.check(ENDLESS).verdict is Verdict.TIMEOUT
        assert pool.check(GOOD).verdict is Verdict.OK


def test_a_request_may_have_its_own_limits(solver):
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


def test_a_thousand_hostile_programs_leak_no_memory_and_no_process():
    quick = [
        (Request(EXPONENTIAL, True), {Verdict.TOO_MANY}),
        (Request("p(X)."), {Verdict.UNSAFE}),
        (Request("#script (python) import os #end."), {Verdict.REFUSED}),
        (Request("{{a}}."), {Verdict.SYNTAX}),
        (Request("a.\0"), {Verdict.REFUSED}),
        (Request("a ≠ b."), {Verdict.SYNTAX}),
        (Request("{p(1..2000)}.", True), {Verdict.TOO_MANY}),
        (Request("&sum{x} > 1."), {Verdict.UNSAFE}),
        (Request(DEEP), {Verdict.REFUSED}),
    ]
    deadly = [
        (Request(ENDLESS), {Verdict.TIMEOUT}),
        (Request(CRASH), {Verdict.UNSAFE}),
        (Request(PIGEONS, True), {Verdict.TIMEOUT}),
        (Request(HUGE), {Verdict.TIMEOUT, Verdict.MEMORY}),
    ]
    hostile = [*quick, deadly[0], deadly[1], *quick, deadly[2], deadly[3]]
    good = Request(GOOD, True)
    limits = Limits(cpu_seconds=0.08, wall_seconds=20, memory_bytes=128 * 2**20, answer_sets=20)
    before = {process.pid for process in child_processes()}

    def rounds(number: int) -> float:
        """Run rounds of hostile programs, a good one after each.

        Return the memory of all processes at the end.
        """
        row = [item for _ in range(number) for pair in hostile for item in (pair, (good, {Verdict.OK}))]
        for (request, verdicts), outcome in zip(row, pool.run(request for request, _ in row), strict=True):
            assert outcome.verdict in verdicts, (request.program[:80], outcome)
            assert request is not good or len(outcome.answer_sets) == 2
        workers = [process for process in child_processes() if process.pid not in before]
        assert len(workers) <= 2
        return sum(process.memory_info().rss for process in [psutil.Process(), *workers])

    with Solver(2, limits) as pool:
        first = rounds(5)
        assert rounds(45) - first < 48 * 2**20
    assert {process.pid for process in child_processes()} <= before


def test_outcomes_are_in_order_although_workers_die(solver):
    requests = [Request(ENDLESS) if i % 29 == 5 else Request(f"p({i}).", True) for i in range(150)]
    for i, outcome in enumerate(solver.run(iter(requests))):
        if i % 29 == 5:
            assert outcome.verdict is Verdict.TIMEOUT
        else:
            assert outcome.answer_sets == {((f"p({i})",), ())}


def test_large_requests_and_large_replies_do_not_block(solver):
    many = "{p(1..6,1..200)} = 1. % " + "x" * 9000  # 1,200 answer sets: more bytes than fit into a pipe
    outcomes = list(solver.run(Request(many, True, answer_sets=1200, cpu_seconds=5) for _ in range(12)))
    assert [len(outcome.answer_sets) for outcome in outcomes] == [1200] * 12


def test_many_threads_share_a_solver(solver):
    def ask(number: int) -> bool:
        if number % 17 == 3:
            return solver.check(ENDLESS).verdict is Verdict.TIMEOUT
        return solver.answer_sets(f"p({number}).").answer_sets == {((f"p({number})",), ())}

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(ask, range(150)))
    assert (
        len(child_processes()) <= 4
    )  # two of this solver, and those of the shared one if another test has started it


def test_an_endless_stream_of_requests_is_read_a_few_batches_ahead(solver):
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


def test_after_an_interrupt_no_program_gets_the_answer_of_another(solver, monkeypatch):
    """After Ctrl-C the answer of a running program is still in the pipe."""
    receive = _Worker.receive

    def interrupted(worker, request):
        monkeypatch.setattr(_Worker, "receive", receive)
        raise KeyboardInterrupt

    monkeypatch.setattr(_Worker, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solver.answer_sets("old.")
    for number in range(4):
        assert solver.answer_sets(f"new({number}).").answer_sets == {((f"new({number})",), ())}


def test_close_ends_running_requests_and_later_ones_raise():
    pool = Solver(2, Limits(cpu_seconds=60, wall_seconds=60))
    results: list[Outcome] = []
    thread = threading.Thread(target=lambda: results.append(pool.check(ENDLESS)))
    thread.start()
    while not any(worker.deadline < float("inf") for worker in pool._alive):  # until the program runs
        time.sleep(0.01)
    start = time.monotonic()
    pool.close()
    thread.join(5)
    assert time.monotonic() - start < 5
    assert [outcome.verdict for outcome in results] == [Verdict.TIMEOUT]
    with pytest.raises(RuntimeError, match="closed"):
        pool.check(GOOD)
    pool.close()


def test_the_shared_solver_ends_with_its_process_without_a_main_guard(tmp_path):
    script = (
        tmp_path / "plain.py"
    )  # without an `if __name__` guard: the solver does not import its main module again
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
