"""Whole programs: what each step sees of the steps before it, and how a step that failed is shown."""

from __future__ import annotations

from dataclasses import replace

from scripts.asp.solver import Solver
from scripts.inference.programs import program_text, write_programs
from scripts.inference.repair_loop import LoopSettings
from scripts.lm import prompts
from tests.asp.hostile import MEMORY
from tests.inference.colouring import DESCRIPTION, FACTS, GOLD, INSTRUCTIONS, TASK, scripted


def test_the_plain_model_sees_all_its_own_steps(solver: Solver) -> None:
    generator = scripted([GOLD[0]], ["wrong"], [GOLD[2]])
    [steps] = write_programs(generator, [TASK], LoopSettings(0), solver)
    assert [len(step.attempts) for step in steps] == [1, 1, 1]
    assert [step.ok for step in steps] == [True, False, True]
    history = list(zip(INSTRUCTIONS, (GOLD[0], "wrong"), strict=False))
    assert generator.asked[2] == [*prompts.conversation(DESCRIPTION, history), prompts.step(INSTRUCTIONS[2])]


def test_a_failed_step_stands_in_the_program_as_a_comment(solver: Solver) -> None:
    [steps] = write_programs(scripted([GOLD[0]], ["wrong"], [GOLD[2]]), [TASK], LoopSettings(0), solver)
    plain, accepted = program_text(TASK, steps, only_accepted=False), program_text(TASK, steps)
    assert "\nwrong\n" in plain and not solver.check(plain).passes
    assert "%! wrong" in accepted and "%! <block>" in accepted and solver.check(accepted).passes
    assert all(f"% {instruction}\n" in accepted for instruction in INSTRUCTIONS)


def test_with_repairs_a_failed_step_is_not_shown_to_later_steps(solver: Solver) -> None:
    generator = scripted([GOLD[0]], ["p(X) :- ", "p(Y) :- ", "p(Z) :- "], [GOLD[2]])
    [steps] = write_programs(generator, [TASK], LoopSettings(2), solver)
    assert [step.ok for step in steps] == [True, False, True]
    history = [(INSTRUCTIONS[0], GOLD[0])]
    assert generator.asked[-1] == [*prompts.conversation(DESCRIPTION, history), prompts.step(INSTRUCTIONS[2])]


def test_control_characters_of_a_failed_step_do_not_break_the_program(solver: Solver) -> None:
    generator = scripted([GOLD[0]], ["p(\x00\x07 :-\r\u0085x"], [GOLD[2]])
    [steps] = write_programs(generator, [TASK], LoopSettings(0), solver)
    text = program_text(TASK, steps)
    assert "%! p(" in text and solver.check(text).passes


def test_a_step_that_leaves_no_answer_set_is_rejected(solver: Solver) -> None:
    never = ":- paint(N,C)."
    generator = scripted([GOLD[0]], [never, GOLD[1]], [GOLD[2]])
    [steps] = write_programs(generator, [TASK], LoopSettings(1), solver)
    assert [attempt.message for attempt in steps[1].attempts] == ["UNSATISFIABLE", ""]
    assert steps[1].code == GOLD[1]
    assert generator.asked[2] == prompts.repair(INSTRUCTIONS[1], never, "UNSATISFIABLE")


def test_without_facts_a_program_needs_no_answer_set(solver: Solver) -> None:
    generator = scripted([GOLD[0]], [":- paint(N,C)."], [GOLD[2]])
    [steps] = write_programs(generator, [replace(TASK, facts="")], LoopSettings(0), solver)
    assert all(step.ok for step in steps)


def test_only_a_program_with_an_answer_set_can_lose_it(solver: Solver) -> None:
    task = replace(TASK, facts=FACTS + " :- node(1).")
    [steps] = write_programs(scripted(*([code] for code in GOLD)), [task], LoopSettings(0), solver)
    assert all(step.ok for step in steps)
    assert {step.best.satisfiable for step in steps} == {None}


def test_each_step_of_a_program_is_put_to_the_vote(solver: Solver) -> None:
    samples = dict(zip(INSTRUCTIONS, ([GOLD[0]] * 2, [GOLD[1], "p(X)."], [GOLD[2]] * 2), strict=True))
    generator = scripted(["paint(N,red) :- node(N)."], ["p("], ["#show node/1."], samples=samples)
    [steps] = write_programs(generator, [TASK], LoopSettings(0, samples=3), solver)
    assert tuple(step.code for step in steps) == GOLD
    assert [count for _, count in generator.sampled] == [2, 2, 2]


def test_a_step_that_meets_a_limit_is_left_out_and_hides_no_later_error(solver: Solver) -> None:
    """Before, it counted as accepted, and every later step ran out of memory unseen."""
    generator = scripted([MEMORY], ["garbage("], ["x(Y) :- not z."])
    [steps] = write_programs(generator, [TASK], LoopSettings(0), solver)
    assert [step.ok for step in steps] == [False, False, False]
    assert solver.check(program_text(TASK, steps)).passes


def test_a_step_cannot_start_a_part_that_is_never_grounded(solver: Solver) -> None:
    """Before, all later steps were accepted, whatever they were."""
    generator = scripted(["#program check."], [":- #true."], ["nonsense(1)."])
    [steps] = write_programs(generator, [TASK], LoopSettings(0), solver)
    assert [step.ok for step in steps] == [False, False, True]
    assert "#program is not allowed" in steps[0].best.message


def test_a_step_cannot_change_the_statement_before_it(solver: Solver) -> None:
    generator = scripted(["#external a."], ["[true]"], [GOLD[2]])
    [steps] = write_programs(generator, [replace(TASK, facts="")], LoopSettings(0), solver)
    assert [step.ok for step in steps] == [True, False, True]
