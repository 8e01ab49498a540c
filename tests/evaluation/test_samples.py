"""Several samples of each step: pass@k, the ways of choosing, and that they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import pytest

from scripts.asp.solver import Outcome, Request, Solver
from scripts.data.problems import Problem, read_problem
from scripts.evaluation.evaluate import evaluate, evaluate_endpoint, evaluate_once
from scripts.evaluation.grader import Grader
from scripts.evaluation.items import CHOICES, Item, item_from_json
from scripts.evaluation.samples import score_samples
from scripts.evaluation.scores import Figures, pass_at, summary
from scripts.evaluation.settings import EvaluationSettings
from scripts.evaluation.tables import scores_table
from scripts.inference.endpoint_generator import PaidLimits
from scripts.inference.requests import Sampled, TextGenerator
from scripts.lm.endpoint import read_endpoint
from tests.examples import write_problem
from tests.fakes import ScriptedGenerator, instruction_of
from tests.lm.chat_server import ChatServer, smoke_reply

pytestmark = pytest.mark.usefixtures("one_thread")

INSTRUCTION = "Each node has the tint red."
RIGHT, ALSO_RIGHT = "tint(N,red) :- node(N).", "tint(M,red) :- node(M)."
OTHER = "tint(N,red) :- node(N), N < 3."
"""It has the answer sets of `RIGHT` on the first instance, and on no other."""
WRONG, ALSO_WRONG = "tint(N,blue) :- node(N).", "tint(M,blue) :- node(M)."
UNSAFE = "tint(N,C) :- node(N)."


@pytest.fixture(scope="module")
def tints(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """A problem of one step, with two instances that tell `RIGHT` from `OTHER`."""
    folder = write_problem(
        tmp_path_factory.mktemp("set") / "family" / "tints",
        "Each `node(N)` gets a `tint(N, C)`.",
        f"% {INSTRUCTION}\n{RIGHT}\n",
        one="node(1..2).\n",
        three="node(1..3).\n",
        two="node(2..4).\n",
    )
    return read_problem(folder, "family")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[Problem]:
    """Three problems of three steps, each in a family of its own. Nothing tests the last step."""
    encoding = (
        "% A {0} is odd or even.\n{{ odd(X) ; even(X) }} = 1 :- {0}(X).\n\n"
        "% No {0} below 2 is odd.\n:- {0}(X), odd(X), X < 2.\n\n% No {0} is {0}.\n:- {0}(X), not {0}(X).\n"
    )
    description = "Each `{0}(X)` is `odd(X)` or `even(X)`."
    folder = tmp_path_factory.mktemp("small")
    found = []
    for name in ("cat", "dog", "cow"):
        problem = folder / f"family_{name}" / name
        write_problem(problem, description.format(name), encoding.format(name), one=f"{name}(1..3).\n")
        found.append(read_problem(problem, f"family_{name}"))
    return found


def drawing(*texts: str) -> ScriptedGenerator:
    """A generator that draws `texts` for every step."""
    return ScriptedGenerator(lambda _messages, number: texts[number - 1])


def figures_of(problem: Problem, *texts: str) -> Figures:
    """The figures of samples with these texts."""
    return evaluate(drawing(*texts), [problem], EvaluationSettings(("samples",), samples=len(texts)))


def right(figures: Figures) -> dict[str, float]:
    """The share of right answers of each way of choosing."""
    return {name: rates["equivalent"] for name, rates in figures["samples"].items() if name in CHOICES}


@pytest.mark.parametrize(("n", "hits"), [(4, 0), (4, 1), (4, 3), (4, 4), (6, 2)])
@pytest.mark.parametrize("k", [1, 3, 4])
def test_pass_at_k_is_the_share_of_the_choices_of_k_that_have_a_right_one(n: int, hits: int, k: int) -> None:
    chosen = list(combinations([True] * hits + [False] * (n - hits), k))
    assert pass_at(k, n, hits) == pytest.approx(sum(map(any, chosen)) / len(chosen))


def test_pass_at_k_is_estimated_for_all_k_up_to_the_number_of_samples(tints: Problem) -> None:
    figures = figures_of(tints, *[WRONG] * 3, RIGHT, *[WRONG] * 3, UNSAFE)["samples"]
    assert [name for name in figures if name not in CHOICES] == ["pass@1", "pass@4"]
    assert figures["pass@1"]["equivalent"] == 1 / 8 and figures["pass@4"]["equivalent"] == 1 / 2
    assert figures["pass@4"]["n"] == 1 and figures["pass@4"]["n_untested"] == 0
    low, high = figures["pass@4"]["equivalent_ci"]
    assert 0 < low < 0.5 < high < 1


def test_the_checks_and_the_votes_choose_without_gold(tints: Problem) -> None:
    assert right(figures_of(tints, UNSAFE, "tint(", RIGHT)) == dict.fromkeys(
        ("checks", "vote", "vote_instances"), 1.0
    ) | {"first": 0.0}
    agreed = right(figures_of(tints, WRONG, RIGHT, ALSO_RIGHT))
    assert agreed == {"first": 0.0, "checks": 0.0, "vote": 1.0, "vote_instances": 1.0}
    misled = right(figures_of(tints, RIGHT, WRONG, ALSO_WRONG))
    assert misled == {"first": 1.0, "checks": 1.0, "vote": 0.0, "vote_instances": 0.0}


def test_more_instances_tell_more_answers_apart(tints: Problem) -> None:
    figures = figures_of(tints, OTHER, RIGHT, WRONG, ALSO_RIGHT)
    assert right(figures) == {"first": 0.0, "checks": 0.0, "vote": 0.0, "vote_instances": 1.0}
    chosen = [item["chosen_by"] for item in figures["verdicts"]]
    assert chosen == [["first", "checks", "vote"], ["vote_instances"], [], []]


def test_the_most_likely_sample_is_chosen_where_probabilities_are_known(tints: Problem) -> None:
    texts = [Sampled(WRONG, -3.0), Sampled(RIGHT, -1.0), Sampled(UNSAFE, -0.5)]
    figures = figures_of(tints, *texts)
    assert right(figures)["log_probability"] == 0.0 and right(figures)["checks_log_probability"] == 1.0
    assert [item["log_probability"] for item in figures["verdicts"]] == [-3.0, -1.0, -0.5]


def test_equal_samples_are_checked_once(tints: Problem) -> None:
    class CountingSolver(Solver):
        """A solver that counts the programs."""

        programs = 0

        def run(self, requests: Iterable[Request]) -> Iterator[Outcome]:
            every = list(requests)
            self.programs += len(every)
            return super().run(every)

    counts = []
    for times in (1, 8):
        with CountingSolver() as solver:
            items = score_samples(drawing(*[RIGHT, WRONG] * times), [Grader(tints, solver)], 2 * times)
            counts.append(solver.programs)
        assert [item.sample for item in items] == list(range(1, 2 * times + 1))
    assert counts[0] == counts[1]


def test_samples_have_the_verdicts_of_steps_and_count_as_steps_do(small: list[Problem]) -> None:
    gold = {step.instruction: step.code for problem in small for step in problem.encoding.instructed}
    codes = [lambda code: code, lambda code: f"{code} )", lambda _: "zzz(1)."]
    generator = ScriptedGenerator(
        lambda messages, number: codes[max(number - 1, 0)](gold[instruction_of(messages)])
    )
    figures = evaluate(generator, small, EvaluationSettings(("steps", "samples"), samples=3))
    assert figures["samples"]["pass@1"]["equivalent"] == pytest.approx(1 / 3)
    assert figures["samples"]["first"] == figures["steps"]
    for rates in figures["samples"].values():
        assert (rates["n"], rates["n_untested"]) == (6, 3)
    first = [item for item in figures["verdicts"] if item.get("sample") == 1]
    steps = [item for item in figures["verdicts"] if item["part"] == "steps"]
    assert [{name: item[name] for name in steps[0] if name != "part"} for item in first] == [
        {name: item[name] for name in item if name != "part"} for item in steps
    ]
    items = [item_from_json(record) for record in figures["verdicts"]]
    assert [item.as_json() for item in items] == figures["verdicts"]
    halves = summary(items, {"family_cat"})
    assert halves["held_out_families"]["samples"]["pass@1"]["n"] == 2
    titles = ("pass@1", "the first", "checks", "vote", "vote on all instances")
    assert list(scores_table({"": figures})["part"]) == ["steps", *(f"samples: {title}" for title in titles)]


def test_an_interrupted_evaluation_draws_no_sample_twice(
    smoke: Path, tmp_path: Path, small: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EvaluationSettings(("samples",), samples=2, max_new_tokens=4)
    monkeypatch.setattr("scripts.evaluation.evaluate.GROUP", 1)
    whole = evaluate_once(tmp_path / "whole.json", smoke, small, settings)
    assert whole["usage"]["answers"] == len(whole["verdicts"]) == 18
    assert whole["samples"]["log_probability"]["n"] == whole["samples"]["first"]["n"] == 6
    assert all(item["log_probability"] < -4 for item in whole["verdicts"])
    asked: list[str] = []

    def interrupted(generator: TextGenerator, graders: list[Grader], count: int) -> list[Item]:
        asked.append(graders[0].problem.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return score_samples(generator, graders, count)

    monkeypatch.setattr("scripts.evaluation.evaluate.score_samples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate_once(tmp_path / "cut.json", smoke, small, settings)
    resumed = evaluate_once(tmp_path / "cut.json", smoke, small, settings)
    assert asked == ["cat", "dog", "dog", "cow"], "the samples of the first problem are kept"
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}


def test_an_endpoint_has_no_probabilities_and_says_so(
    smoke: Path, tmp_path: Path, tints: Problem, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = EvaluationSettings(("samples",), samples=4, max_new_tokens=8)
    with ChatServer(smoke_reply(smoke)) as server:
        endpoint, paid = read_endpoint(server.url, "smoke"), PaidLimits(answers=tmp_path / "answers")
        result = evaluate_endpoint(tmp_path / "remote.json", endpoint, [tints], settings, paid)
    assert "gives no log-probabilities" in capsys.readouterr().out and server.requests == 4
    assert set(result["samples"]) == {"pass@1", "pass@4", "first", "checks", "vote", "vote_instances"}
    assert {item["log_probability"] for item in result["verdicts"]} == {None}
