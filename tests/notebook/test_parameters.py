"""Parameters of the notebooks: a value of the wrong kind is one message before anything runs."""

import papermill
import pytest

from scripts.notebook import runner, setup
from scripts.notebook.parameters import KINDS, check, parse
from scripts.run_notebooks import main
from utils_ft import BENCHMARKS, ROOT, UserError

WRONG = {
    "BENCHMARKS": ["", "no/such/folder"],
    "CHECKPOINT": ["best", "0", "-1", "1.5"],
    "CONVERSATIONS": ["many", "-1", "1.0", "True"],
    "GENERATED": ["-1", "2.5", "[]"],
    "INSTRUCTIONS": ["yes", "1"],
    "LEARNING_RATE": ["abc", "0", "-1e-4", "NaN", "Infinity", "True", '"1e-4"'],
    "MAX_CALLS": ["0", "-5", "many"],
    "MAX_STEPS": ["abc", "0", "-1", "1.5", "1e3", "true", "[20]", "{}", "", "9" * 5000],
    "MODEL": ["", " "],
    "MODEL_TYPE": ["", "no_such_model", "3"],
    "PROVIDER": ["openai", "1", "[]"],
    "QLORA": ["maybe", "1", "yes", '"True"'],
    "RANK": ["0", "-4", "x"],
    "REPAIRS": ["-1", "x"],
    "SEED": ["-1", "x", "4294967296", "0.5"],
    "STYLES": ["natural", "[]", '["formal"]', "{}", "3", "[[]]"],
    "TEST_PROBLEMS": ["0", "-1", "x"],
    "TOP_LAYERS": ["1.5", "0", "x"],
    "VALID_PROBLEMS": ["0", "-1", "x"],
    "VOCABULARIES": ["-1", "x"],
}
RIGHT = {
    "BENCHMARKS": str(BENCHMARKS),
    "CONVERSATIONS": "0",
    "INSTRUCTIONS": "true",
    "LEARNING_RATE": "1e-3",
    "MAX_STEPS": "20",
    "MODEL": "3",
    "MODEL_TYPE": "smoke",
    "PROVIDER": "auto",
    "QLORA": "False",
    "SEED": "0",
    "STYLES": '["natural", "academic"]',
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_is_one_message_before_a_notebook_starts(monkeypatch, tmp_path, name, text):
    monkeypatch.setattr(runner, "_execute", lambda *_: pytest.fail("a notebook started"))
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    with pytest.raises(UserError) as error:
        main("smoke", p=[f"{name}={text}"])
    assert name in str(error.value) or text in str(error.value)
    assert "remedy: " in str(error.value) and not (tmp_path / "runs").exists()


def test_right_values_and_none_are_taken():
    check({name: parse(name, text) for name, text in RIGHT.items()})
    check({name: parse(name, "None") for name in KINDS})
    assert (
        parse("MODEL", "3") == "3" and parse("MODEL_TYPE", '"smoke"') == "smoke" and parse("RANK", "3") == 3
    )


def test_every_parameter_of_the_notebooks_has_a_kind_that_takes_its_default():
    for name in runner.NOTEBOOKS:
        found = papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))
        assert set(found) - {"PROFILE"} <= set(KINDS)
        check({one: parse(one, about["default"].replace("'", '"')) for one, about in found.items()})
    assert set(WRONG) == set(KINDS)


@pytest.mark.parametrize(
    "wrong", [{"max_steps": "abc"}, {"qlora": "maybe"}, {"test_problems": -1}, {"rank": 1.5}]
)
def test_a_wrong_value_in_the_first_cell_is_one_message(wrong):
    with pytest.raises(UserError, match=f"{[*wrong][0].upper()} must be "):
        setup.training("pytorch", "smoke", **wrong)
