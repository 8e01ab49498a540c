"""Importers: files in the formats of other sets, written here, become problems that can be scored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.asp.solver import Solver
from scripts.data.gold import gold_outcomes
from scripts.data.importers.aspuzzle import read_aspuzzle
from scripts.data.importers.layout import ImportedProblem, write_collection
from scripts.data.importers.savanty import read_savanty
from scripts.data.problems import read_problems
from utils_ft import ROOT, UserError

LANTERNS = {
    "puzzle_type": "Lanterns",
    "grid_type": "RectangularGrid",
    "grid": [".2", "X."],
    "row_clues": [1, None],
    "star_count": 3,
    "grid_params": {"rows": 2},
    "solutions": [{"lit/2": ['lit(loc=cell(row=1, col=2), dir="n")'], "dark/1": []}],
}
PROGRAM = """% Lanterns solver

% ===== grid =====

% Define cells in the grid
cell(R, C) :- R = 1..2, C = 1..2.


% ===== Clues =====

% Lanterns
clue(cell(1, 2), 2).


% ===== Rules =====

% A lantern is lit on its cell
lit(C, "n") :- clue(C, 2), cell(R, C1), C = cell(R, C1).

#show.
#show lit/2.
"""
SHIRTS = {
    "id": "shirts",
    "nl_description": "Two people wear different shirts, and red is dear.",
    "variables": ["ann", "bob"],
    "domains": {"ann": ["red", "blue"], "bob": ["red", "blue"]},
    "constraints": [{"type": "not_equal", "a": "ann", "b": "bob"}],
    "objective": {"sense": "max", "weights": {"ann": {"red": 5, "blue": 2}, "bob": {"red": 3, "blue": 1}}},
    "feasible": True,
    "optimal_value": 6.0,
    "_reference_witness": {"ann": "red", "bob": "blue"},
}


@pytest.fixture
def lanterns(tmp_path: Path) -> Path:
    """A checkout with one puzzle in the format of aspuzzle."""
    source = tmp_path / "aspuzzle"
    for folder in ("puzzles", "rules", "solver_scripts"):
        (source / folder).mkdir(parents=True)
    (source / "puzzles" / "lanterns.json").write_text(json.dumps(LANTERNS))
    (source / "puzzles" / "unruly.json").write_text(json.dumps(LANTERNS | {"puzzle_type": "Unruly"}))
    rules = "# Lanterns\n\nLight each.\n\n## Example\n\n| picture |\n\n## Variations\n\n* none\n"
    (source / "rules" / "lanterns.md").write_text(rules)
    (source / "solver_scripts" / "lanterns.lp").write_text(PROGRAM)
    return source


def test_a_puzzle_becomes_a_problem_with_facts_and_expected_answer_sets(
    lanterns: Path, tmp_path: Path, solver: Solver, capsys: pytest.CaptureFixture
) -> None:
    write_collection(read_aspuzzle(lanterns), tmp_path / "out")
    assert "left out, it has no rules/unruly.md" in capsys.readouterr().out
    whole, steps = read_problems(tmp_path / "out")
    assert (whole.id, steps.id) == ("aspuzzle/lanterns", "aspuzzle_steps/lanterns")
    facts = set(whole.instances["lanterns"].split())
    assert facts >= {"grid(1,2,2).", 'grid(2,1,"X").', "row_clues(1,1).", "star_count(3).", "rows(2)."}
    assert "row_clues(2" not in whole.instances["lanterns"]
    found = whole.expected["lanterns"]
    assert found.answer_sets == {('lit(cell(1,2),"n")',)} and found.shown == ("dark/1", "lit/2")
    assert "lit(cell(ROW, COL), DIR)" in whole.description and "picture" not in whole.description
    assert (
        steps.instances["lanterns"].strip().endswith("clue(cell(1, 2), 2).")
        and "clue(cell" not in steps.source
    )
    assert [step.instruction for step in steps.encoding.instructed][:2] == [
        "Define cells in the grid",
        "A lantern is lit on its cell",
    ]
    [outcome] = gold_outcomes(steps, solver)
    assert outcome.answer_sets == {(('lit(cell(1,2),"n")',), ())}


CONSTRAINTS = [
    ({"type": "equal", "a": "ann", "b": "bob"}, 2),
    ({"type": "all_different", "vars": ["ann", "bob"]}, 2),
    ({"type": "forbidden", "var": "ann", "value": "red"}, 2),
    ({"type": "required", "var": "ann", "value": "red"}, 2),
    ({"type": "capacity", "value": "red", "max": 1}, 3),
    ({"type": "min_count", "value": "red", "min": 1, "vars": ["ann", "bob"]}, 3),
    ({"type": "exact_count", "value": "red", "count": 1}, 2),
    ({"type": "weighted_capacity", "weights": {"ann": 3, "bob": 4}, "selected_value": "red", "bound": 4}, 3),
]


@pytest.mark.parametrize(("constraint", "number"), CONSTRAINTS, ids=[c["type"] for c, _ in CONSTRAINTS])
def test_each_constraint_of_savanty_has_its_meaning(
    constraint: dict, number: int, tmp_path: Path, solver: Solver
) -> None:
    content = SHIRTS | {"constraints": [constraint], "objective": None, "_reference_witness": None}
    (tmp_path / "a.json").write_text(json.dumps(content))
    [problem] = read_savanty(tmp_path, solver)
    assert len(problem.expected["only"].answer_sets) == number


def test_the_best_value_and_the_reference_solution_are_verified(
    tmp_path: Path, solver: Solver, capsys: pytest.CaptureFixture
) -> None:
    plain = {"objective": None, "optimal_value": None}
    bad = {"constraints": [{"type": "required", "var": "ann", "value": name} for name in ("red", "blue")]}
    many = [f"v{number}" for number in range(12)]
    contents = {
        "best": {},
        "unsat": plain | bad | {"feasible": False, "_reference_witness": None},
        "wrong_value": {"optimal_value": 7},
        "wrong_witness": plain | {"_reference_witness": {"ann": "red", "bob": "red"}},
        "wrong_feasible": plain | {"feasible": False},
        "other_kind": {"constraints": [{"type": "circuit"}]},
        "no_constant": {"variables": ["Ann"]},
        "many": plain | {"variables": many, "domains": {n: ["x", "y"] for n in many}, "constraints": []},
    }
    for name, changes in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(SHIRTS | {"id": name} | changes))
    problems = {problem.id: problem for problem in read_savanty(tmp_path, solver)}
    assert set(problems) == {"savanty/best", "savanty/unsat"}
    assert problems["savanty/best"].expected["only"].answer_sets == {("assign(ann,red)", "assign(bob,blue)")}
    assert problems["savanty/unsat"].expected["unsat_only"].answer_sets == frozenset()
    said = capsys.readouterr().out
    assert said.count("left out") == 6 and "the best value is 6, and the file says 7" in said
    write_collection(list(problems.values()), tmp_path / "out")
    assert {problem.id for problem in read_problems(tmp_path / "out")} == set(problems)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"solutions": [1]}, "cannot be read"),
        ({"solutions": 5}, "cannot be read"),
        ({"solutions": [{"lit/2": [5]}]}, "cannot be read"),
        ({"solutions": [{"lit/2": ["lit(1/0)"]}]}, "cannot be read"),
        ({"grid": [5]}, "cannot be read"),
        ({'x). #include "/etc/passwd". y(': 1}, "is no predicate"),
        ({"puzzle_type": "../rules/lanterns"}, "is no kind of puzzle"),
        ({"puzzle_type": None}, "has no rules/none.md"),
    ],
)
def test_a_puzzle_that_cannot_be_read_is_left_out(
    lanterns: Path, changes: dict, words: str, capsys: pytest.CaptureFixture
) -> None:
    (lanterns / "puzzles" / "odd.json").write_text(json.dumps(LANTERNS | changes))
    assert len(read_aspuzzle(lanterns)) == 2
    assert words in capsys.readouterr().out
    (lanterns / "puzzles" / "lanterns.json").unlink()
    with pytest.raises(UserError, match="no puzzle of this folder can be read"):
        read_aspuzzle(lanterns)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped", "", ".", "a\nb", "a\0"])
def test_no_problem_is_written_outside_of_the_folder(name: str, tmp_path: Path) -> None:
    problem = ImportedProblem(f"savanty/{name}", "Text.")
    with pytest.raises(UserError, match="cannot be the name of a problem"):
        write_collection([problem], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_problems_that_were_not_imported_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "out" / "mine" / "one" / "problem.md"
    file.parent.mkdir(parents=True)
    file.write_text("Mine.")
    with pytest.raises(UserError, match="would be lost"):
        write_collection([ImportedProblem("savanty/one", "Text.")], tmp_path / "out")
    assert file.read_text() == "Mine."


def test_the_command_writes_a_folder_and_names_what_is_wrong(lanterns: Path, tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "scripts.import_problems", *map(str, words)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = run("aspuzzle", lanterns, "--out", tmp_path / "out")
    assert done.returncode == 0 and "2 problems" in done.stdout
    assert len(read_problems(tmp_path / "out")) == 2
    done = run("savanty", tmp_path, "--out", tmp_path / "none")
    assert done.returncode == 2 and "there is no JSON file" in done.stderr and "Traceback" not in done.stderr
    (lanterns / "puzzles" / "broken.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_aspuzzle(lanterns)
