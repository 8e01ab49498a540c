"""Generated problems: the same for a seed, verified, and with instructions that determine their rules."""

import re
import shutil
from random import Random

import pytest

from scripts.data.checks import check_problem
from scripts.data.generator import templates
from scripts.data.generator.compositions import compose
from scripts.data.generator.domains import NUMBER, load_domains
from scripts.data.generator.folder import generate_folder
from scripts.data.generator.phrases import PHRASES
from scripts.data.generator.problem import generate, grow
from scripts.data.problems import read_problems
from scripts.data.shapes import shape, statements_of
from scripts.data.twins import twins
from tools.wording_check import ambiguous
from utils_ft import BENCHMARKS, UserError

CONSTRUCTS = (
    "definition",
    "constraint",
    "implication",
    "required",
    "free",
    "pick",
    "cases",
    "cost",
    "show",
    "show term",
)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A folder with two families of problems, whose rules are read quickly."""
    root = tmp_path_factory.mktemp("few")
    for family in ("graphs", "packing"):
        shutil.copytree(BENCHMARKS / family, root / family)
    (root / "split.json").write_text("{}")
    return root


@pytest.fixture(scope="module", autouse=True)
def small_deck():
    """Fewer compositions, so that the templates are made in a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "COMPOSED", 4000)
        templates.templates_by_level.cache_clear()
        yield
    templates.templates_by_level.cache_clear()


@pytest.fixture(scope="module")
def generated(few, tmp_path_factory):
    """A folder with six generated problems, of levels 1 to 5."""
    out = tmp_path_factory.mktemp("generated")
    written = generate_folder(out, 6, seed=1, benchmarks=few)
    assert len(written.problems) == 6 and not written.failed
    return out


def files(folder):
    """The text of each file of a folder, by path."""
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*.*p")} | {
        file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*.md")
    }


def test_an_item_is_the_same_for_any_number_of_problems(generated, few, solver):
    alone = generate(1, 4, 5, solver, (few,))
    folder = generated / alone.family / alone.name
    assert (folder / "encoding.lp").read_text() == alone.encoding
    assert (folder / "problem.md").read_text() == alone.description
    assert {file.stem: file.read_text() for file in (folder / "instances").iterdir()} == alone.instances


def test_another_seed_and_another_level_give_other_problems(few, solver):
    first = generate(1, 0, 1, solver, (few,))
    assert first.encoding != generate(2, 0, 1, solver, (few,)).encoding
    assert first.encoding != generate(1, 0, 2, solver, (few,)).encoding


def test_generated_problems_have_no_fault_and_no_twins(generated, solver):
    problems = read_problems(generated)
    for problem in problems:
        checked = check_problem(problem, solver)
        assert not checked.faults, "\n".join(map(str, checked.faults))
        assert checked.load_bearing == checked.statements
    assert not twins(problems)


def test_the_family_of_a_generated_problem_names_its_domain(generated):
    domains = {domain.name for domain in load_domains()}
    for problem in read_problems(generated):
        assert problem.family.removeprefix("generated_") in domains


def test_a_run_goes_on_where_it_ended(generated, few, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(generated, out)
    before = files(out)
    lost = read_problems(out)[0].folder
    others = {file: file.stat().st_mtime_ns for file in out.rglob("*.lp") if lost not in file.parents}
    shutil.rmtree(lost)
    written = generate_folder(out, 6, seed=1, benchmarks=few)
    assert (written.kept, len(written.problems)) == (5, 1)
    assert files(out) == before
    assert all(file.stat().st_mtime_ns == time for file, time in others.items())


def test_what_is_there_already_is_not_generated_again(generated, few):
    written = generate_folder(generated, 6, seed=1, benchmarks=few)
    assert (written.kept, written.problems, written.rules) == (6, [], 0)


@pytest.mark.parametrize(
    ("number", "level", "message"),
    [
        (3, 0, "there is no level 0"),
        (3, 6, "there is no level 6"),
        (3, -1, "there is no level -1"),
        (0, None, "0 problems cannot be written"),
    ],
)
def test_impossible_wishes_are_one_message(tmp_path, number, level, message):
    with pytest.raises(UserError, match=message):
        generate_folder(tmp_path / "out", number, level=level)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        generate_folder(tmp_path / "file", 1)


def test_no_two_rules_of_different_meaning_share_an_instruction(few, solver):
    rules = 0
    for index in range(5):
        program = grow(7, index, index % 5 + 1, solver, (few,))
        rules += len(program.statements)
        assert not ambiguous(program, solver)
    assert rules > 40


def test_the_templates_have_more_shapes_than_its_training_rules(few):
    by_level = templates.templates_by_level((few,), 0)
    shapes = {
        templates.sketch(line) for level in by_level.values() for code in level for line in code.split("\n")
    }
    training = {templates.sketch(code) for code in templates.training_rules([few])}
    assert len(shapes - training) > 1000
    assert sorted(by_level) == [1, 2, 3, 4, 5]


def test_every_composition_is_a_program_that_clingo_parses():
    rng = Random(0)
    read = [templates.read_template(compose(rng)) for _ in range(1500)]
    assert sum(template is None for template in read) < 15


def test_the_domains_are_many_and_their_words_are_told_apart():
    domains = load_domains()
    assert len(domains) >= 60
    for domain in domains:
        predicates = (*domain.facts, *domain.choices, *domain.derived)
        names = [predicate.name for predicate in predicates]
        constants = [name for names_ in domain.things.values() for name in names_]
        assert len(set(names)) == len(names), domain.name
        assert len(set(constants)) == len(constants), domain.name
        assert not set(names) & {*domain.things, domain.time_noun, domain.cell, *constants}, domain.name
        assert len(domain.things) >= 2 and all(len(values) >= 3 for values in domain.things.values())
        for predicate in predicates:
            assert predicate.arity and "[" in predicate.text, f"{domain.name}: {predicate.name}"
            assert predicate.clause("is") != predicate.clause("not")
            places = {
                int(place)
                for slot in re.findall(r"\{([\d,]+)\}", predicate.text)
                for place in slot.split(",")
            }
            assert places == set(range(predicate.arity))
        units = [type_ for p in domain.facts if p.attribute for type_ in p.args if type_.startswith(NUMBER)]
        assert len(set(units)) < len(units), f"{domain.name}: no two numbers can be compared"


def test_each_construct_has_ten_wordings():
    for construct in CONSTRUCTS:
        assert len(set(PHRASES[construct])) >= 10, construct


def test_problems_of_high_levels_show_more_shapes(generated):
    rules = {problem.name[-1]: statements_of([problem]) for problem in read_problems(generated)}
    assert len(rules["5"]) > len(rules["1"])
    assert len(set(map(shape, rules["5"]))) >= 8
