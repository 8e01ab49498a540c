"""Writing programs with the solver in the loop: the training's own prompts, at most k tries, the best of n, and the command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from scripts.asp.solver import Solver
from scripts.data.conversion import convert
from scripts.data.problems import read_problems
from scripts.inference.attempts import StepRequest, StepResult, check, has_code, is_satisfiable
from scripts.inference.generator import load_generator
from scripts.inference.programs import Task, program_text, write_programs
from scripts.inference.repair_loop import write_steps
from scripts.inference.voting import OTHERS
from scripts.lm import prompts
from scripts.lm.smoke_model import smoke_model
from utils_ft import ROOT, UserError

DESCRIPTION = "Colour the nodes. node(N), edge(N,M) and paint(N,C) are used."
FACTS = "node(1..3). edge(1,2). edge(2,3)."
INSTRUCTIONS = ("Each node has one colour.", "Neighbours differ.", "Show the colours.")
GOLD = ("{ paint(N,(red;green)) } = 1 :- node(N).", ":- edge(N,M), paint(N,C), paint(M,C).", "#show paint/2.")
TASK = Task(DESCRIPTION, INSTRUCTIONS, FACTS)


@dataclass
class Scripted:
    """Gives each instruction's answers one after another, for the first try and the repairs; `drawn` has the samples."""

    answers_to: dict[str, list[str]]
    drawn: dict[str, list[str]] = field(default_factory=dict)
    asked: list[list[prompts.Message]] = field(default_factory=list)
    sampled: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers_to = {instruction: list(texts) for instruction, texts in self.answers_to.items()}

    def generate(
        self, conversations: Sequence[list[prompts.Message]], on_done: Callable[[int], None] | None = None
    ) -> list[str]:
        self.asked += conversations
        return [self.answers_to[instruction_of(messages)].pop(0) for messages in conversations]

    def sample(self, conversations: Sequence[list[prompts.Message]], count: int) -> list[list[str]]:
        self.sampled += [(instruction_of(messages), count) for messages in conversations]
        return [self.drawn[instruction_of(messages)][:count] for messages in conversations]


def instruction_of(messages: list[prompts.Message]) -> str:
    return messages[-1]["content"].removeprefix("Instruction: ").split("\n\nCode:\n")[0]


def scripted(*answers: list[str], drawn: dict[str, list[str]] | None = None) -> Scripted:
    return Scripted(dict(zip(INSTRUCTIONS, answers, strict=True)), drawn or {})


@pytest.fixture(scope="module")
def solver():  # noqa: ANN201
    with Solver() as shared:
        yield shared


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Path:  # noqa: ANN001
    return smoke_model(tmp_path_factory.mktemp("base") / "smoke")


# --- the loop ---------------------------------------------------------------------------------------------------


def test_a_plain_model_gets_each_step_after_its_own_history(solver: Solver) -> None:
    generator = scripted([GOLD[0]], ["wrong"], [GOLD[2]])
    [steps] = write_programs(generator, [TASK], 0, solver)
    assert [len(step.attempts) for step in steps] == [1, 1, 1] and [step.ok for step in steps] == [
        True,
        False,
        True,
    ]
    history = list(zip(INSTRUCTIONS, (GOLD[0], "wrong"), strict=False))
    assert generator.asked[2] == [*prompts.conversation(DESCRIPTION, history), prompts.step(INSTRUCTIONS[2])]
    plain, kept = program_text(TASK, steps, only_accepted=False), program_text(TASK, steps)
    assert "\nwrong\n" in plain and not solver.check(plain).passes
    assert "%! wrong" in kept and "%! <block>" in kept and solver.check(kept).passes
    assert all(f"% {instruction}\n" in kept for instruction in INSTRUCTIONS)


def test_a_repair_asks_in_the_words_of_the_training_data(solver: Solver) -> None:
    """A row of the conversion, and the loop given the same broken step in the same context: one prompt, to the letter."""
    problem = next(problem for problem in read_problems() if problem.family == "graphs")
    rows = convert([problem], {problem.id: "train"}, conversations=0, repairs=8)[0]["train"]
    rows = [row for row in rows if row["meta"]["corruption"] not in ("answer sets differ", "unsatisfiable")]
    assert len(rows) > 3
    for row in rows:
        meta = row["meta"]
        instruction = row["messages"][1]["content"].removeprefix("Instruction: ").split("\n\nCode:\n")[0]
        generator = Scripted({instruction: [meta["broken"], meta["fixed"]]})
        [step] = write_steps(
            generator, [StepRequest([prompts.step(instruction)], instruction, meta["context"])], 1, solver
        )
        assert step.ok and step.code == meta["fixed"]
        if prompts.code_of(meta["broken"])[1]:  # a fence that the loop strips itself: it has nothing to ask
            assert len(generator.asked) == 1
        else:
            assert generator.asked[1] == row["messages"][:-1]


def test_at_most_k_repairs_and_the_last_try_stands(solver: Solver) -> None:
    broken = ["a :- b", "a :- c", "a :- d", "a :- e"]
    for k in (0, 1, 3):
        generator = Scripted({"Do.": [*broken, "a."]})
        [step] = write_steps(generator, [StepRequest([prompts.step("Do.")], "Do.", "")], k, solver)
        assert (
            [found.code for found in step.attempts] == broken[: k + 1]
            and not step.ok
            and step.code == broken[k]
        )
        assert len(generator.asked) == k + 1
    generator = Scripted({"Do.": [*broken[:2], "a.", "b."]})
    [step] = write_steps(generator, [StepRequest([prompts.step("Do.")], "Do.", "")], 3, solver)
    assert step.ok and step.code == "a." and len(step.attempts) == 3 and len(generator.asked) == 3
    assert [step.after(k).code for k in range(5)] == ["a :- b", "a :- c", "a.", "a.", "a."]
    generator = Scripted({"Do.": ["a(X).", "a :- b", "a(Y).", "a :- c"]})
    [step] = write_steps(generator, [StepRequest([prompts.step("Do.")], "Do.", "")], 3, solver)
    assert [step.after(k).code for k in range(5)] == ["a(X).", "a(X).", "a(Y).", "a(Y).", "a(Y)."], (
        "no repair makes it worse"
    )


def test_a_repair_that_changes_nothing_is_drawn_and_the_same_again_ends_it(solver: Solver) -> None:
    def write(*drawn: str) -> StepResult:
        generator = Scripted(
            {"Do.": ["a :- b", "a :- c", "a :- c", "a :- d", "a :- d", "b."]}, {"Do.": list(drawn)}
        )
        [step] = write_steps(generator, [StepRequest([prompts.step("Do.")], "Do.", "")], 9, solver)
        assert set(generator.sampled) == {("Do.", OTHERS)}, "drawn only where the greedy answer is no news"
        return step

    repaired = write("a.")
    assert repaired.ok and [found.code for found in repaired.attempts] == ["a :- b", "a :- c", "a."]
    stuck = write("a :- c")
    assert not stuck.ok and [found.code for found in stuck.attempts] == ["a :- b", "a :- c", "a :- c"]
    other = write("a :- x")
    assert [found.code for found in other.attempts] == [
        "a :- b",
        "a :- c",
        "a :- x",
        "a :- d",
        "a :- x",
        "b.",
    ], "as bad, but no repetition"


def test_a_failed_step_spoils_no_later_one(solver: Solver) -> None:
    generator = scripted([GOLD[0]], ["p(X) :- ", "p(Y) :- ", "p(Z) :- "], [GOLD[2]])
    [steps] = write_programs(generator, [TASK], 2, solver)
    assert [step.ok for step in steps] == [True, False, True]
    history = [(INSTRUCTIONS[0], GOLD[0])]
    assert generator.asked[-1] == [
        *prompts.conversation(DESCRIPTION, history),
        prompts.step(INSTRUCTIONS[2]),
    ], "nor is it in view"


@pytest.mark.parametrize("answer", ["", "% nothing to do", "```\n```", "%* nothing *%"])
def test_no_code_is_a_complaint(solver: Solver, answer: str) -> None:
    [found] = check([StepRequest([], "", "")], [answer], solver)
    assert found.message == "error: there is no code" and not has_code(found.code)


def test_several_statements_and_comments_are_code(solver: Solver) -> None:
    attempts = check(
        [StepRequest([], "", "")] * 3, ["a. b :- a.", "% first\na. % then\n", '% "x\na("%").'], solver
    )
    assert not any(found.message for found in attempts)


def test_control_characters_of_a_failed_step_do_not_spoil_the_program(solver: Solver) -> None:
    [steps] = write_programs(scripted([GOLD[0]], ["p(\x00\x07 :-\r\u0085x"], [GOLD[2]]), [TASK], 0, solver)
    text = program_text(TASK, steps)
    assert "%! p(" in text and solver.check(text).passes


# --- satisfiability ---------------------------------------------------------------------------------------------


def test_a_step_that_leaves_no_answer_set_is_refused(solver: Solver) -> None:
    never = ":- paint(N,C)."
    generator = scripted([GOLD[0]], [never, GOLD[1]], [GOLD[2]])
    [steps] = write_programs(generator, [TASK], 1, solver)
    assert [found.message for found in steps[1].attempts] == ["UNSATISFIABLE", ""] and steps[1].code == GOLD[
        1
    ]
    assert generator.asked[2] == prompts.repair(INSTRUCTIONS[1], never, "UNSATISFIABLE")
    [unknown] = write_programs(scripted([GOLD[0]], [never], [GOLD[2]]), [replace(TASK, facts="")], 0, solver)
    assert all(step.ok for step in unknown), (
        "without facts nobody knows whether there should be an answer set"
    )


def test_only_a_satisfiable_program_can_lose_its_answer_sets(solver: Solver) -> None:
    task = replace(TASK, facts=FACTS + " :- node(1).")
    [steps] = write_programs(scripted(*([code] for code in GOLD)), [task], 0, solver)
    assert all(step.ok for step in steps)
    assert {step.last.satisfiable for step in steps} == {None}


def test_an_answer_set_is_enough_and_need_not_be_the_best(solver: Solver) -> None:
    """Proving the optimum of these soft pigeons takes longer than anyone waits; that there is an answer set is plain."""
    soft = "{ in(P,H) : H = 1..11 } = 1 :- P = 1..12. #minimize { 1,P,Q : in(P,H), in(Q,H), P < Q }."
    assert is_satisfiable([soft, "a. :- a.", "{ a }."], solver) == [True, False, True]


def test_what_takes_too_long_to_solve_is_no_complaint(solver: Solver) -> None:
    pigeons = "{ in(P,H) : H = 1..11 } = 1 :- P = 1..12. :- in(P,H), in(Q,H), P < Q."
    [found] = check([StepRequest([], "", "a.\n", solve=True)], [pigeons], solver)
    assert not found.message and found.satisfiable is None


# --- best of n --------------------------------------------------------------------------------------------------


def test_the_solver_ranks_the_samples(solver: Solver) -> None:
    unsafe, wrong_syntax, good, unsatisfiable = (
        "p(X).",
        "p(",
        "paint(N,red) :- node(N).",
        "paint(N,red) :- node(N). :- node(1).",
    )
    ask = StepRequest([prompts.step("Do.")], "Do.", FACTS + "\n", solve=True)

    def best(greedy: str, *drawn: str) -> str:
        generator = Scripted({"Do.": [greedy]}, {"Do.": list(drawn)})
        return write_steps(generator, [ask], 0, solver, samples=1 + len(drawn))[0].code

    assert best(wrong_syntax, wrong_syntax, unsafe, good) == good
    assert best(wrong_syntax, wrong_syntax, unsafe) == unsafe
    assert best(unsafe, wrong_syntax, unsatisfiable) == unsatisfiable
    assert best(unsatisfiable, good) == good
    assert best(unsafe, "p(Y).", wrong_syntax) == unsafe, "the greedy one stays where none is better"
    assert best(wrong_syntax, "% I am sorry", "") == wrong_syntax, "no code at all is the worst"


def test_of_samples_that_pass_the_meaning_that_most_share_wins(solver: Solver) -> None:
    ask = StepRequest([prompts.step("Do.")], "Do.", FACTS + "\n", solve=True)
    red, also_red, green = (
        "paint(N,red) :- node(N).",
        "paint(M,red) :- node(M).",
        "paint(N,green) :- node(N).",
    )

    def best(greedy: str, *drawn: str) -> str:
        generator = Scripted({"Do.": [greedy]}, {"Do.": list(drawn)})
        return write_steps(generator, [ask], 0, solver, samples=1 + len(drawn))[0].code

    assert best(green, red, also_red) == red, "two texts, one meaning"
    assert best(green, red, "p(X).", "p(") == green, "one vote each: the greedy one"
    assert best("p(", red, green, also_red) == red
    many, twice = (
        "{ a(1..20) }.",
        "{ a(1..10) ; a(11..20) }.",
    )  # more answer sets than are compared: the text has to do
    assert best(many, red, also_red, twice) == red


def test_each_step_of_a_program_is_put_to_the_vote(solver: Solver) -> None:
    drawn = dict(zip(INSTRUCTIONS, ([GOLD[0]] * 2, [GOLD[1], "p(X)."], [GOLD[2]] * 2), strict=True))
    generator = scripted(["paint(N,red) :- node(N)."], ["p("], ["#show node/1."], drawn=drawn)
    [steps] = write_programs(generator, [TASK], 0, solver, samples=3)
    assert tuple(step.code for step in steps) == GOLD and [count for _, count in generator.sampled] == [
        2,
        2,
        2,
    ]


def test_samples_depend_on_the_seed_and_the_conversation_alone(smoke: Path) -> None:
    generator = load_generator(smoke, max_new_tokens=8)
    conversations = [[prompts.step(text)] for text in ("Say a.", "Say b.", "Say c.")]
    first = generator.sample(conversations, 3)
    assert len({text for texts in first for text in texts}) == 9
    assert generator.sample(conversations[1:2], 3) == [first[1]]
    assert generator.sample(conversations, 2) == [texts[:2] for texts in first]
    assert replace(generator, seed=1).sample(conversations, 3) != first
    cold = replace(generator, temperature=1e-4)
    assert cold.sample(conversations, 2) == [[text] * 2 for text in generator.generate(conversations)]


# --- the model --------------------------------------------------------------------------------------------------


def test_the_writer_says_what_transformers_generate_says(smoke: Path) -> None:
    import torch

    from scripts.lm import chat

    generator = load_generator(smoke, max_new_tokens=12)
    conversations = [[prompts.step(text)] for text in ("Say a.", "Say b, please.")]
    for messages, text in zip(conversations, generator.generate(conversations), strict=True):
        ids = torch.tensor([chat.encode_prompt(generator.tokenizer, messages)])
        written = generator.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
        )
        assert text == generator.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load_generator(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: the model cannot be loaded"):
        load_generator(tmp_path / "empty")


# --- the command ------------------------------------------------------------------------------------------------


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "scripts.generate", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"FT_WORKDIR": str(folder), "OMP_NUM_THREADS": "1"},
    )


def test_the_command_lists_the_steps_that_failed_and_exits_with_1(
    smoke: Path, tmp_path: Path, solver: Solver
) -> None:
    (tmp_path / "problem.md").write_text(DESCRIPTION)
    (tmp_path / "steps.txt").write_text("\n\n".join(INSTRUCTIONS[:2]) + "\n")
    (tmp_path / "facts.lp").write_text(FACTS)
    words = [
        "--model",
        str(smoke),
        "--problem",
        str(tmp_path / "problem.md"),
        "--steps",
        str(tmp_path / "steps.txt"),
        "--out",
        str(tmp_path / "out.lp"),
        "--instance",
        str(tmp_path / "facts.lp"),
        "--k",
        "1",
    ]
    done = run(tmp_path, *words)
    assert done.returncode == 1, done.stderr
    assert "0 of 2 steps accepted" in done.stdout
    for number, instruction in enumerate(INSTRUCTIONS[:2], 1):
        assert f"step {number} failed after 2 tries: {instruction}" in done.stdout
    assert len(re.findall(r"^(?:<block>:.*: )?error: ", done.stdout, re.MULTILINE)) >= 2, "clingo's words"
    text = (tmp_path / "out.lp").read_text()
    assert solver.check(text).passes and all(instruction in text for instruction in INSTRUCTIONS[:2])


def test_a_persons_mistake_ends_in_one_message_and_exit_code_2(smoke: Path, tmp_path: Path) -> None:
    (tmp_path / "problem.md").write_text(DESCRIPTION)
    (tmp_path / "steps.txt").write_text("\n")
    words = [
        "--model",
        str(smoke),
        "--problem",
        str(tmp_path / "problem.md"),
        "--out",
        str(tmp_path / "out.lp"),
    ]
    for more, told in [
        (["--steps", str(tmp_path / "steps.txt")], "no instruction"),
        (["--steps", str(tmp_path / "none.txt")], "none.txt: no such file"),
        (["--steps", str(tmp_path / "problem.md"), "--k", "-1"], "--k"),
        (
            ["--steps", str(tmp_path / "problem.md"), "--model", str(tmp_path / "none")],
            "no such model folder",
        ),
    ]:
        done = run(tmp_path, *words, *more)
        assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.lp").exists()
