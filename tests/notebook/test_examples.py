"""Examples for cells: which problem a notebook repairs, and a stored run."""

import re
from hashlib import sha256
from types import SimpleNamespace

from scripts.data.paraphrase.augmentor import tasks_of
from scripts.data.paraphrase.faithfulness import faithfulness_errors
from scripts.notebook.examples import problem_with_fewest_errors, stored_paraphrase_run


def test_the_example_for_the_repair_loop_has_few_errors_but_not_none():
    problems = [SimpleNamespace(id=name) for name in ("none", "two", "one")]
    wrong = [{"problem": name, "part": "steps", "ground": False} for name in ("two", "two", "one")]
    right = [{"problem": name, "part": "steps", "ground": True} for name in ("none", "two", "one")]
    assert problem_with_fewest_errors({"verdicts": wrong + right}, problems).id == "one"
    assert problem_with_fewest_errors({"verdicts": right}, problems[:1]).id == "none"


def test_the_stored_paraphrase_run_has_the_errors_that_the_check_finds(problems):
    run = stored_paraphrase_run()
    [problem] = [problem for problem in problems if problem.id == run["problem"]]
    [task] = [task for task in tasks_of(problem, [run["style"]], False) if task.kind == "description"]
    assert run["original"] == problem.description and len(run["tries"]) == 2
    for one in run["tries"]:
        assert one["errors"] == faithfulness_errors(run["original"], one["text"], task.names[0])
    first, second = run["tries"]
    assert first["errors"] and run["status"] == ("dropped" if second["errors"] else "made")
    assert sha256(task.prompt(run["original"]).encode()).hexdigest() == first["prompt_sha256"]
    assert not re.search(r"/(home|root|Users|work|tmp)/|AIza|hf_\w{20}", str(run))
