"""The evaluator, with a writer whose answers are known: right is right, wrong is wrong, and no limit is a pass."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from scripts.asp.comparison import Relation, compare
from scripts.asp.solver import Limits, Outcome, Request, Solver, Verdict
from scripts.data.problems import Problem, held_out_families, problems_of_split, read_problems
from scripts.evaluate import main as evaluate_main
from scripts.evaluation import tables
from scripts.evaluation.evaluate import _is_changed, evaluate, evaluate_once, score_checkpoints
from scripts.evaluation.grader import Grader, Item, graders_of
from scripts.evaluation.results import SCORING_VERSION
from scripts.evaluation.scores import interval, summary
from scripts.inference.attempts import Attempt
from scripts.inference.generator import load_generator
from scripts.lm import prompts
from scripts.lm.smoke_model import smoke_model
from scripts.notebook import plots
from scripts.training import checkpoints
from utils_ft import BENCHMARKS, ROOT, UserError

FAMILIES = {"graphs": 2, "scheduling": 2, "planning": 1}


@dataclass
class Scripted:
    """A writer that answers by a function of the instruction; `asked` keeps every conversation."""

    says: Callable[[str], str]
    repairs: Callable[[str], str] | None = None
    asked: list[list[prompts.Message]] = field(default_factory=list)

    def generate(
        self, conversations: Sequence[list[prompts.Message]], on_done: Callable[[int], None] | None = None
    ) -> list[str]:
        self.asked += conversations
        if on_done:
            on_done(len(conversations))
        return [self._answer(messages) for messages in conversations]

    def sample(self, conversations: Sequence[list[prompts.Message]], count: int) -> list[list[str]]:
        return [[text] * count for text in self.generate(conversations)]

    def _answer(self, messages: list[prompts.Message]) -> str:
        text = messages[-1]["content"]
        if messages[0]["content"] == prompts.REPAIR_PERSONA:
            instruction = text.removeprefix("Instruction: ").split("\n\nCode:\n")[0]
            return (self.repairs or self.says)(instruction)
        return self.says(text)


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    """Some problems of some families."""
    every = read_problems()
    return [
        problem
        for family, number in FAMILIES.items()
        for problem in [p for p in every if p.family == family][:number]
    ]


@pytest.fixture(scope="module")
def gold(problems: list[Problem]) -> dict[str, str]:
    """Instruction → gold code."""
    steps = [step for problem in problems for step in problem.encoding.instructed]
    assert len({step.instruction.strip() for step in steps}) == len(steps)
    return {step.instruction.strip(): step.code for step in steps}


@pytest.fixture(scope="module")
def perfect(problems: list[Problem], gold: dict[str, str]) -> dict:
    return evaluate(Scripted(gold.__getitem__), problems)


@pytest.fixture(scope="module")
def solver():  # noqa: ANN201
    with Solver() as shared:
        yield shared


def folder_of(root: Path, encoding: str, text: str = "Say a(X) for some X.", **instances: str) -> Path:
    """A folder with one problem in it."""
    problem = root / "family" / "problem"
    (problem / "instances").mkdir(parents=True)
    (problem / "problem.md").write_text(text)
    (problem / "encoding.lp").write_text(encoding)
    for name, facts in instances.items():
        (problem / "instances" / f"{name}.lp").write_text(facts)
    return root


# --- what is right ----------------------------------------------------------------------------------------------


def test_gold_scores_one_on_everything(perfect: dict, gold: dict[str, str], problems: list[Problem]) -> None:
    assert perfect["steps"]["n"] == len(gold) and perfect["repair"]["n"] >= len(problems)
    assert set(perfect["programs"]) == {"k0", "k3"} and set(perfect["loop"]) == {"k3"}
    for part, names in {
        "steps": ("parse", "ground", "equivalent"),
        "repair": ("fixed", "equivalent"),
    }.items():
        assert [perfect[part][name] for name in names] == [1.0] * len(names)
    for rates in perfect["programs"].values():
        assert rates["n"] == len(problems) and rates["parse"] == rates["equivalent"] == 1.0
    assert perfect["loop"]["k3"]["equivalent"] == 1.0
    assert {item["verdict"] for item in perfect["verdicts"]} == {"equal"}
    assert {item["tries"] for item in perfect["verdicts"] if item["part"] in ("steps", "loop k3")} == {1}


def test_rates_come_by_family_construct_and_verdict_with_intervals(
    perfect: dict, gold: dict[str, str]
) -> None:
    assert set(perfect["per_family"]) == set(FAMILIES)
    assert sum(rates["n"] for rates in perfect["per_family"].values()) == len(gold)
    assert {"integrity constraint", "#show", "choice rule with bounds"} <= set(perfect["per_construct"])
    assert perfect["per_verdict"]["steps"] == {"equal": len(gold)}
    low, high = perfect["steps"]["equivalent_ci"]
    assert 0.9 < low < high == 1.0


def test_the_json_has_the_shape_of_the_contract(perfect: dict) -> None:
    kept = json.loads(json.dumps(perfect))
    assert kept == perfect
    assert {"n", "parse", "ground", "equivalent"} <= set(kept["steps"]) and {
        "n",
        "fixed",
        "equivalent",
    } <= set(kept["repair"])
    assert all({"n", "parse", "equivalent"} <= set(rates) for rates in kept["programs"].values())
    item = kept["verdicts"][0]
    assert {
        "part",
        "problem",
        "family",
        "prompt",
        "output",
        "code",
        "gold",
        "verdict",
        "evidence",
        "fenced",
    } <= set(item)


def test_an_equivalent_rule_in_other_words_is_right(problems: list[Problem], solver: Solver) -> None:
    grader = Grader(problems[0], solver)
    for index, step in enumerate(grader.steps):
        item = grader.step_item(
            "steps", index, "", f"{step.code}\n% that is all\nzzz_unused :- not zzz_unused2, #false."
        )
        assert item.verdict == "equal"


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (47, 100, 0.3751, 0.5671),
        (0, 0, 0.0, 1.0),
    ],
)
def test_intervals_are_wilsons(successes: int, n: int, low: float, high: float) -> None:
    assert interval(successes, n) == pytest.approx((low, high), abs=2e-4)


# --- what is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", ["", "  \n", "% a comment only", "%* no\ncode *%", "```\n```"])
def test_an_empty_answer_is_no_statement(problems: list[Problem], solver: Solver, nothing: str) -> None:
    grader = Grader(problems[0], solver)
    for item in (
        grader.step_item("steps", 0, "", nothing),
        grader.program_item("programs k0", prompts.code_of(nothing)[0], 1),
    ):
        assert (item.parse, item.ground, item.equivalent, item.verdict) == (False, False, False, "syntax")
        assert item.evidence == "error: there is no code"


def test_empty_answers_score_nothing(problems: list[Problem]) -> None:
    result = evaluate(Scripted(lambda _: ""), problems[:2], ("steps", "loop", "programs"), ks=(0, 1))
    for rates in (result["steps"], result["loop"]["k1"], *result["programs"].values()):
        assert rates["n"] and rates["parse"] == rates["equivalent"] == 0.0
    assert set(result["per_verdict"]["steps"]) == {"syntax"}


def test_a_wrong_but_valid_answer_is_never_equivalent(problems: list[Problem]) -> None:
    result = evaluate(Scripted(lambda _: "zzz_unrelated(1)."), problems, ks=(0,))
    for rates in (result["steps"], *result["programs"].values()):
        assert rates["parse"] == 1.0 and rates["equivalent"] == 0.0
    assert result["steps"]["ground"] == 1.0 and not {"equal", "syntax", "unsafe"} & set(
        result["per_verdict"]["steps"]
    )
    repairs = [item for item in result["verdicts"] if item["part"] == "repair"]
    differ = [item for item in repairs if item["constructs"] == ["answer sets differ"]]
    fixed = [item["ground"] for item in repairs if item not in differ]
    assert differ and not any(item["ground"] for item in differ), (
        "clingo's silence is not enough where answer sets were wrong"
    )
    assert sum(fixed) > 0.9 * len(fixed) > 9 and result["repair"]["equivalent"] == 0.0
    assert result["loop"] == {}, "k0 without samples is what the steps show already"
    assert all(item["evidence"] for item in result["verdicts"])


def test_two_programs_that_fail_are_not_equal(tmp_path: Path, solver: Solver) -> None:
    for program in ("a :- b", "p(X).", "p(0). p(X+1) :- p(X)."):
        outcomes = list(solver.run([Request(program, solve=True, cpu_seconds=0.3)]))
        assert compare(outcomes, outcomes).relation is not Relation.EQUAL
    broken = read_problems(folder_of(tmp_path, "% Everything is a.\na(X)."))
    with pytest.raises(UserError, match=r"encoding\.lp:\d+: clingo says unsafe on instance"):
        graders_of(broken, solver)


def test_an_endless_program_is_a_timeout(tmp_path: Path) -> None:
    found = read_problems(folder_of(tmp_path, "% Say a(1).\na(1).", one="b(1)."))
    endless = "a(0). a(X+1) :- a(X)."
    with Solver(1, Limits(cpu_seconds=0.3)) as impatient:
        grader = Grader(found[0], impatient)
        items = [grader.step_item("steps", 0, "", endless), grader.program_item("programs k0", endless, 1)]
    assert [(item.verdict, item.parse, item.ground, item.equivalent) for item in items] == [
        ("timeout", True, False, False)
    ] * 2
    result = evaluate(Scripted(lambda _: endless), found, ("steps",))
    assert result["per_verdict"] == {"steps": {"timeout": 1}}


def test_every_verdict_has_its_name(tmp_path: Path, solver: Solver) -> None:
    encoding = "% Choose.\n{ a(X) : b(X) }.\n\n% Not both.\n:- a(1), a(2).\n\n% Show it.\n#show a/1."
    grader = Grader(read_problems(folder_of(tmp_path, encoding, one="b(1..2)."))[0], solver)
    for index, code, verdict in [
        (0, "{ a(X) : b(X) }.", "equal"),
        (0, "{ a(X) } :- b(X).", "equal"),
        (0, "a(X) :- b(X).", "unsatisfiable"),
        (0, "{ a(X) ; b(X) }.", "unsafe"),
        (0, "{ a(X) : b(X) }", "syntax"),
        (0, "a(1).", "wrong"),
        (0, '#include "x".', "refused"),
        (0, "{ a(1..2); c(1..20) }.", "equal"),
        (2, "#show a/1. {c(1..20)}. #show c/1.", "undecided"),
        (1, ":- a(1), a(2). :- not a(1), not a(2).", "wrong"),
        (1, ":- a(1), a(2), ", "syntax"),
        (2, "#show.", "wrong"),
        (0, "{ a(X) : b(X) }. #program other.", "wrong"),
        (2, "%* not closed", "syntax"),
        (1, ":- a(1), a(2). %* not closed", "syntax"),
    ]:
        item = grader.step_item("steps", index, "", code)
        assert (item.verdict, item.equivalent) == (verdict, verdict == "equal"), (code, item.evidence)


# --- how an answer is cleaned -----------------------------------------------------------------------------------


def test_a_fence_is_stripped_and_counted_and_prose_is_not(
    problems: list[Problem], gold: dict[str, str]
) -> None:
    styles = [
        lambda code: f"```prolog\n{code}\n```",
        lambda code: f"Here you are:\n```\n{code}\n```\nThat is it.",
        lambda code: f"Sure! {code}",
        lambda code: code,
    ]
    order = {instruction: index for index, instruction in enumerate(gold)}
    result = evaluate(Scripted(lambda text: styles[order[text] % 4](gold[text])), problems, ("steps",))
    for index, item in enumerate(result["verdicts"]):
        assert item["fenced"] == (index % 4 < 2)
        assert item["verdict"] == ("syntax" if index % 4 == 2 else "equal")
    assert result["steps"]["fenced"] == sum(index % 4 < 2 for index in range(len(gold)))


@pytest.mark.parametrize(
    ("output", "code", "fenced"),
    [
        ("a :- b.", "a :- b.", False),
        ("```asp\na :- b.\n```", "a :- b.", True),
        ("```\na :- b.", "a :- b.", True),
        ("a :- b.\n```", "a :- b.", True),
        ("```a :- b.```", "a :- b.", True),
        ("```clingo4 code\na.\n```\nDone.", "a.", True),
        ("So:\n```lp\na.\n```", "a.", True),
        ("```\n```", "", True),
    ],
)
def test_of_a_fenced_output_the_code_is_kept_to_the_letter(output: str, code: str, fenced: bool) -> None:
    assert prompts.code_of(output) == (code, fenced)


def test_a_repair_that_repeats_the_broken_code_is_none(problems: list[Problem]) -> None:
    """Not even where a fence was all that was wrong with it: stripping that is our work."""
    kept: list[str] = []

    def echo(messages: list[prompts.Message]) -> str:
        kept.append(messages[-1]["content"])
        return messages[-1]["content"].split("\n\nCode:\n")[1].split("\n\nSolver:\n")[0]

    generator = Scripted(lambda _: "")
    generator._answer = echo
    for seed in range(4):  # other repairs each time: a fence is rare among them
        asked = len(kept)
        result = evaluate(generator, problems, ("repair",), seed=seed)
        assert result["repair"]["n"] == len(kept) - asked > 10
        assert result["repair"]["fixed"] == result["repair"]["equivalent"] == 0.0
    assert any("```" in text for text in kept)


@pytest.mark.parametrize(
    ("broken", "output", "changed"),
    [
        ("```asp\na :- b.\n```", "```\na :- b.\n```", False),  # another fence
        ("```asp\na :- b.\n```", "a :- b.", True),
        ("a :- b", "```\na :- b\n```", False),
        ("a :- b", "a :- b.", True),
        ("a :- b", "a :- b", False),
    ],
)
def test_another_fence_mends_nothing(broken: str, output: str, changed: bool) -> None:
    assert _is_changed(broken, Attempt(output, *prompts.code_of(output), Outcome(Verdict.OK), "")) == changed


def test_a_repair_of_wrong_answer_sets_has_to_find_the_right_ones(problems: list[Problem]) -> None:
    items = evaluate(Scripted(lambda _: "zzz_unrelated(1)."), problems, ("repair",))["verdicts"]
    differ = [item for item in items if "answer sets differ" in item["constructs"]]
    assert differ and not any(item["ground"] for item in differ)


def test_code_that_cannot_stand_first_is_left_out_and_said(tmp_path: Path, solver: Solver, capsys) -> None:  # noqa: ANN001
    """Moved to the front, `#program` would put every step into a part that is never grounded, and all would seem equal."""
    folder = folder_of(tmp_path, "% X is an a.\na(X) :- n(X).\n\n#program extra.\nb.\n", one="n(1).")
    with pytest.raises(UserError, match="no step to ask for"):
        graders_of(read_problems(folder), solver)
    assert "cannot stand before the rest" in capsys.readouterr().out


# --- the loop ---------------------------------------------------------------------------------------------------


def test_the_loop_mends_what_the_plain_model_gets_wrong(
    problems: list[Problem], gold: dict[str, str]
) -> None:
    generator = Scripted(lambda text: gold[text][:-1], repairs=gold.__getitem__)
    result = evaluate(generator, problems[:2], ("steps", "loop", "programs"), ks=(0, 1, 3))
    assert result["steps"]["parse"] == 0.0
    assert result["loop"].keys() == {"k1", "k3"} and result["loop"]["k1"]["equivalent"] == 1.0
    assert {name: rates["equivalent"] for name, rates in result["programs"].items()} == {
        "k0": 0.0,
        "k1": 1.0,
        "k3": 1.0,
    }
    assert {item["tries"] for item in result["verdicts"] if item["part"].startswith("loop")} == {2}
    repairs = [messages for messages in generator.asked if messages[0]["content"] == prompts.REPAIR_PERSONA]
    assert all("error: syntax error" in messages[-1]["content"] for messages in repairs)


def test_the_gold_history_stands_before_each_step(problems: list[Problem], gold: dict[str, str]) -> None:
    generator = Scripted(lambda _: "zzz(1).")
    evaluate(generator, problems[:1], ("steps",))
    steps = problems[0].encoding.instructed
    for number, messages in enumerate(generator.asked):
        description = prompts.describe(problems[0].description, problems[0].encoding.given)
        assert messages[:-1] == prompts.conversation(
            description, [(step.instruction, step.code) for step in steps[:number]]
        )


# --- any folder -------------------------------------------------------------------------------------------------


def predecessor(root: Path) -> Path:
    """A folder in the predecessor's layout; the program carries its own facts."""
    folder = root / "Colouring"
    folder.mkdir(parents=True)
    (folder / "NL.txt").write_text("Colour the nodes. node(N), edge(N,M) and paint(N,C) are used.")
    (folder / "ASP.lp").write_text(
        "node(1..3). edge(1,2).\n\n% Each node has one colour.\n{ paint(N,(red;green)) } = 1 :- node(N).\n\n"
        "% Neighbours differ.\n:- edge(N,M), paint(N,C), paint(M,C).\n"
    )
    return root


def test_the_layout_of_the_predecessor_is_an_evaluation_set(tmp_path: Path) -> None:
    found = read_problems(predecessor(tmp_path))
    steps = {step.instruction: step.code for step in found[0].encoding.instructed}
    result = evaluate(Scripted(steps.__getitem__), found)
    assert (
        result["steps"]["n"] == 2 and result["steps"]["equivalent"] == result["repair"]["equivalent"] == 1.0
    )
    assert result["programs"]["k0"]["equivalent"] == result["programs"]["k3"]["equivalent"] == 1.0
    wrong = evaluate(Scripted(lambda _: "zzz(1)."), found, ("steps", "programs"), ks=(0,))
    assert wrong["steps"]["equivalent"] == wrong["programs"]["k0"]["equivalent"] == 0.0


def test_a_problem_without_instructions_is_left_out_aloud(tmp_path: Path, capsys, solver: Solver) -> None:  # noqa: ANN001
    folder = folder_of(predecessor(tmp_path), "a(1).")
    assert len(graders_of(read_problems(folder), solver)) == 1
    assert "left out" in capsys.readouterr().out
    with pytest.raises(UserError, match="no step to ask for"):
        graders_of(read_problems(folder / "family"), solver)


def test_the_command_scores_a_folder_once(tmp_path: Path) -> None:
    model, folder, out = (
        smoke_model(tmp_path / "smoke"),
        predecessor(tmp_path / "set"),
        tmp_path / "scores.json",
    )
    words = [
        sys.executable,
        "-m",
        "scripts.evaluate",
        "--model",
        str(model),
        "--benchmarks",
        str(folder),
        "--out",
        str(out),
        "--k",
        "0",
    ]

    def run(*more: str) -> subprocess.CompletedProcess:
        settings = os.environ | {"FT_WORKDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
        return subprocess.run([*words, *more], cwd=ROOT, env=settings, capture_output=True, text=True)

    done = run("--samples", "2", "--grammar", "--parts", "steps,loop")
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["steps"]["n"] == 2 and set(result["loop"]) == {"k0n2"} and result["programs"] == {}
    assert (
        result["settings"]["grammar"]
        and result["settings"]["samples"] == 2
        and result["settings"]["k"] == [0]
    )
    for words_wrong in (
        ["--k", "x"],
        ["--parts", "stps"],
        ["--benchmarks", str(tmp_path / "none")],
        ["--temperature", "0"],
    ):
        wrong = run(*words_wrong)
        assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and "remedy" in wrong.stderr


def test_the_same_model_and_problems_are_not_scored_twice(tmp_path: Path, capsys) -> None:  # noqa: ANN001
    model, out = smoke_model(tmp_path / "smoke"), tmp_path / "scores.json"
    found = read_problems(predecessor(tmp_path / "set"))
    first = evaluate_once(out, model, found, ("steps",), max_new_tokens=3)
    assert json.loads(out.read_text()) == first and "already" not in capsys.readouterr().out
    assert evaluate_once(out, model, found, ("steps",), max_new_tokens=3) == first
    assert "already scored" in capsys.readouterr().out
    evaluate_once(out, model, found, ("steps",), max_new_tokens=4)
    assert "already scored" not in capsys.readouterr().out
    out.write_text("{half")
    evaluate_once(out, model, found, ("steps",), max_new_tokens=3)
    assert json.loads(out.read_text())["steps"] == first["steps"]


def test_scores_outlive_an_edit_of_the_code_and_fall_with_their_version(
    tmp_path: Path, capsys, monkeypatch
) -> None:  # noqa: ANN001
    model, folder, out = (
        smoke_model(tmp_path / "smoke"),
        predecessor(tmp_path / "set"),
        tmp_path / "scores.json",
    )
    found = read_problems(folder)
    first = evaluate_once(out, model, found, ("steps",), max_new_tokens=3)
    code = tmp_path / "code"
    shutil.copytree(ROOT / "scripts", code / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "utils_ft.py", code)
    for file in (code / "scripts").glob("*.py"):  # another docstring where there is one, and a comment
        file.write_text(
            file.read_text(encoding="utf-8").replace('"""', '"""Said otherwise: ', 1) + "# the end\n",
            encoding="utf-8",
        )
    words = [
        "--model",
        str(model),
        "--benchmarks",
        str(folder),
        "--out",
        str(out),
        "--parts",
        "steps",
        "--max-new-tokens",
        "3",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.evaluate", *words],
        cwd=code,
        capture_output=True,
        text=True,
        env=os.environ | {"FT_WORKDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "already scored" in done.stdout and json.loads(out.read_text()) == first

    capsys.readouterr()
    monkeypatch.setattr("scripts.evaluation.results.SCORING_VERSION", SCORING_VERSION + 1)
    second = evaluate_once(out, model, found, ("steps",), max_new_tokens=3)
    assert "already scored" not in capsys.readouterr().out
    assert (
        second["identity"] != first["identity"]
        and second["asked"] != first["asked"]
        and second["verdicts"] == first["verdicts"]
    )


def test_an_interrupted_evaluation_goes_on_with_the_part_that_it_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, found = smoke_model(tmp_path / "smoke"), read_problems(predecessor(tmp_path / "set"))
    asked = {"parts": ("steps", "loop", "programs"), "max_new_tokens": 4, "ks": (0, 1)}
    whole = evaluate_once(tmp_path / "whole.json", model, found, **asked)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("scripts.evaluation.evaluate.score_programs", cut)
        evaluate_once(tmp_path / "cut.json", model, found, **asked)
    assert not (tmp_path / "cut.json").exists()
    monkeypatch.setattr("scripts.evaluation.evaluate.score_steps", cut)
    monkeypatch.setattr("scripts.evaluation.evaluate.score_loop", cut)
    resumed = evaluate_once(tmp_path / "cut.json", model, found, **asked)
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0} and resumed["seconds"].keys() == whole[
        "seconds"
    ].keys()
    assert sorted(path.name for path in tmp_path.iterdir() if "json" in path.name) == [
        "cut.json",
        "whole.json",
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"parts": "loop", "k": "0"}, "is the plain model"),
        ({"split": "tests"}, "no split 'tests'"),
        ({"k": "3,x"}, "list of numbers"),
    ],
)
def test_what_would_score_nothing_is_refused_before_the_model_is_loaded(
    tmp_path: Path, options: dict, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        evaluate_main(model=tmp_path / "none", out=tmp_path / "out.json", **options)


def test_an_adapter_folder_without_an_adapter_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter in this folder\n.*checkpoint-60"):
        load_generator(smoke_model(tmp_path / "smoke"), tmp_path)


def test_a_part_of_a_split_is_spread_over_its_families() -> None:
    every = problems_of_split(BENCHMARKS, "valid")
    some = problems_of_split(BENCHMARKS, "valid", 4)
    assert len({problem.family for problem in some}) == len(some) == 4 and {p.id for p in some} <= {
        p.id for p in every
    }


# --- checkpoints ------------------------------------------------------------------------------------------------


def a_run(root: Path, model: Path) -> Path:
    """A training run of the smoke model with two checkpoints of random adapters that change what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    run = root / "smoke_pytorch"
    for step in (2, 4):
        base = AutoModelForCausalLM.from_pretrained(model)
        adapter = get_peft_model(
            base, LoraConfig(r=2, target_modules=["o_proj", "down_proj"], init_lora_weights=False)
        )
        for weight in (weight for name, weight in adapter.named_parameters() if "lora_" in name):
            weight.data.normal_(0, 1.5, generator=torch.Generator().manual_seed(step))
        adapter.save_pretrained(run / f"checkpoint-{step}")
        checkpoints.mark_complete(run / f"checkpoint-{step}")
    empty = dict.fromkeys(checkpoints.COLUMNS)
    checkpoints.write_log(run, [empty | {"step": step, "loss": 1.0, "eval_loss": 1.0} for step in (2, 4)])
    return run


def test_each_checkpoint_of_a_run_is_scored_into_the_run(tmp_path: Path) -> None:
    model = smoke_model(tmp_path / "smoke")
    run = a_run(tmp_path, model)
    found = read_problems(predecessor(tmp_path / "set"))
    results = score_checkpoints(run, found, max_new_tokens=4)
    assert sorted(results) == [2, 4]
    for step, result in results.items():
        assert json.loads((run / f"scores-{step}.json").read_text()) == result
        assert result["settings"]["parts"] == ["steps"] and result["steps"]["n"] == 2
    table = checkpoints.table(run)
    assert list(table["step equivalence"]) == [result["steps"]["equivalent"] for result in results.values()]
    base = evaluate_once(tmp_path / "base.json", model, found, ("steps",), max_new_tokens=4)
    said = [[item["output"] for item in result["verdicts"]] for result in (base, *results.values())]
    assert said[0] != said[1] != said[2] != said[0], "each adapter is in use"
    assert len(plots.checkpoint_scores(table).axes) == 2
    intervals = [result["steps"]["equivalent_ci"] for result in results.values()]
    wide = table.assign(low=[low for low, _ in intervals], high=[high for _, high in intervals])
    assert len(plots.checkpoint_scores(wide).axes[1].collections) == 1, "whiskers"
    assert len(plots.checkpoint_scores(table.assign(**{"step equivalence": None})).axes) == 1
    with pytest.raises(UserError, match="no whole checkpoint"):
        score_checkpoints(tmp_path / "none", found)


@pytest.mark.parametrize(
    "other",
    [{"k": "1"}, {"grammar": True}, {"parts": "loop"}, {"split": "test"}, {"out": Path("scores.json")}],
)
def test_what_a_run_is_not_scored_by_is_not_passed_over(tmp_path: Path, other: dict) -> None:
    with pytest.raises(
        UserError, match="greedily, on validation problems, and nothing else\n  remedy: leave out --[a-z]+$"
    ):
        evaluate_main(run=tmp_path, **other)


def test_mlx_checkpoints_are_scored_as_well(tmp_path: Path) -> None:
    from scripts.training.adapter_formats import to_mlx

    model = smoke_model(tmp_path / "smoke")
    run, folder = a_run(tmp_path, model), tmp_path / "smoke_mlx"
    converted = to_mlx(run / "checkpoint-2", tmp_path / "converted", model)
    folder.mkdir()
    (converted / "adapters.safetensors").rename(folder / "0000002_adapters.safetensors")
    (converted / "adapter_config.json").rename(folder / "adapter_config.json")
    found = read_problems(predecessor(tmp_path / "set"))
    mlx, peft = (score_checkpoints(path, found, max_new_tokens=6)[2] for path in (folder, run))
    assert [item["output"] for item in mlx["verdicts"]] == [item["output"] for item in peft["verdicts"]]
    assert len({item["output"] for item in mlx["verdicts"]}) > 1, "the outputs tell something"
    assert checkpoints.checkpoints(folder)[0].score == mlx["steps"]["equivalent"]


# --- what people look at ----------------------------------------------------------------------------------------


def test_figures_and_tables_show_every_part(perfect: dict, problems: list[Problem]) -> None:
    wrong = evaluate(Scripted(lambda _: ""), problems, ("steps",))
    results = {"base": wrong, "fine-tuned": perfect}
    table = tables.scores(results)
    assert list(table["part"]) == ["steps", "steps", "steps, loop k3", "repair", "programs k0", "programs k3"]
    assert table["same answer sets"][0].startswith("0.0 % (0–") and table["same answer sets"][1].startswith(
        "100.0 %"
    )
    bars = plots.before_after(results)
    assert {text.get_text() for text in bars.axes[0].get_legend().get_texts()} == {
        "base",
        "fine-tuned",
        "with the loop",
    }
    for figure in (plots.by_family({"fine-tuned": perfect}), plots.verdicts(results)):
        assert figure.axes


def test_families_that_training_never_saw_are_scored_apart(problems: list[Problem], perfect: dict) -> None:
    assert held_out_families(problems) == set(
        json.loads((BENCHMARKS / "split.json").read_text())["test_families"]
    )
    assert not {"seen_families", "held_out_families"} & set(perfect), "none of these families is held out"
    items = [Item(**item) for item in perfect["verdicts"]]
    items = [replace(item, equivalent=item.family == "graphs") for item in items]
    found = summary(items, {"graphs"})
    assert (
        found["held_out_families"]["steps"]["equivalent"] == 1.0
        and found["seen_families"]["steps"]["equivalent"] == 0.0
    )
    for part in ("steps", "repair"):
        assert found[part]["n"] == sum(
            found[half][part]["n"] for half in ("seen_families", "held_out_families")
        )
    table = tables.scores({"": found})
    assert table["held-out families"][0].startswith("100.0 %") and table["seen families"][0].startswith(
        "0.0 %"
    )


def test_no_items_are_no_error() -> None:
    empty = summary([])
    assert empty["steps"]["n"] == empty["repair"]["n"] == 0 and empty["programs"] == empty["loop"] == {}
