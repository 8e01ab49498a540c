"""Examples for cells: which problem a notebook repairs."""

from types import SimpleNamespace

from scripts.notebook.examples import problem_with_fewest_errors


def test_the_example_for_the_repair_loop_has_few_errors_but_not_none():
    problems = [SimpleNamespace(id=name) for name in ("none", "two", "one")]
    wrong = [{"problem": name, "part": "steps", "ground": False} for name in ("two", "two", "one")]
    right = [{"problem": name, "part": "steps", "ground": True} for name in ("none", "two", "one")]
    assert problem_with_fewest_errors({"verdicts": wrong + right}, problems).id == "one"
    assert problem_with_fewest_errors({"verdicts": right}, problems[:1]).id == "none"
