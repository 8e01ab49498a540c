"""What a reader stumbled over in generated instructions, one test for each kind."""

import re
from dataclasses import replace
from random import Random

import pytest

from scripts.asp.syntax import Statement as ParsedStatement
from scripts.asp.syntax import trees_of
from scripts.data.generator import phrases
from scripts.data.generator.description import entry
from scripts.data.generator.domains import COLUMN, ROW, TIME, Predicate, load_domains
from scripts.data.generator.problem import Program
from scripts.data.generator.reading import read_statement
from scripts.data.generator.rules import Compare, Const, Define, Rule, Var
from scripts.data.generator.wording import Speaker
from scripts.data.generator.world import World

RATE = "number:coins"
PREDICATES = (
    Predicate("open", ("berth",), "{0} [be] open"),
    Predicate("lit", ("berth",), "{0} [be] lit"),
    Predicate("knows", ("pilot", "berth"), "{0} [know] {1}"),
    Predicate("fee", ("berth", RATE), "the fee of {0} [be] {1}", attribute="fee"),
    Predicate(
        "guests", ("berth", RATE, TIME), "the number of guests of {0} [be] {1} at {2}", (1, 5), "guests"
    ),
    Predicate("chosen", ("number",), "the number {0} [be] chosen"),
    Predicate("marks", ("berth", "number", "number"), "{0} [have] the marks {1} and {2}"),
    Predicate("square", (COLUMN, ROW), "there [be] a {0,1}"),
    Predicate("spot", (COLUMN, ROW), "{0,1} [be] dry"),
    Predicate("late", ("ferry", TIME), "{0} [be] late at {1}"),
)
TYPES = {
    "B": "berth",
    "C": "berth",
    "P": "pilot",
    "N": RATE,
    "M": RATE,
    "F": "ferry",
    "T": TIME,
    "U": TIME,
    "X": COLUMN,
    "Y": ROW,
}


@pytest.fixture(scope="module")
def harbour():
    return replace(next(one for one in load_domains() if one.name == "harbour"), cell="square")


@pytest.fixture
def sentences(harbour):
    """The sentences in which a rule is said, in small letters."""

    def say(code):
        statement = read_statement(ParsedStatement(code, 1, tuple(trees_of(code))))
        speakers = (Speaker(World(harbour, Random(0), 1), Random(seed)) for seed in range(60))
        said = {speaker.instruction(statement, TYPES, PREDICATES) for speaker in speakers}
        return sorted(text.lower() for text in said if text is not None)

    return say


def test_a_number_is_said_where_only_the_time_is_anonymous(sentences):
    for text in sentences("chosen(N) :- guests(B,N,_), open(B)."):
        assert "some guests" not in text
        assert re.search(r"has n guests|is n at some tide", text), text


def test_no_condition_says_any_thing(sentences):
    for text in sentences("lit(B) :- open(B), not knows(P,B) : late(P,1)."):
        assert not re.search(r"for any pilot", text), text


def test_a_condition_without_variables_of_its_own_is_no_case(sentences):
    for text in sentences("lit(B) :- knows(P,B), open(B) : lit(P)."):
        assert "case such that" not in text
        assert "at least" in text


def test_something_that_is_known_not_to_be_so_of_some_thing_is_not_said_of_any(sentences):
    for code in ("open(B) :- lit(B), -knows(_,B).", "lit(B) :- open(B), -fee(B,_)."):
        said = sentences(code)
        assert said and all(
            "known that" in text and " any " not in text and " no " not in text for text in said
        )
    assert not sentences("open(B) :- lit(B), not -knows(_,B).")


def test_any_thing_is_not_the_subject_of_a_denial(sentences):
    said = sentences("chosen(N) :- guests(B,N,1), not fee(_,N).")
    assert said and not any(re.search(r"any berth (is|does|has)? ?not", text) for text in said)
    assert all("it is not the case" in text or "no berth" in text for text in said)


def test_a_distance_is_absolute_and_no_point_in_time(sentences):
    for text in sentences("late(F,T) :- late(F,U), late(F,T), |T-U| <= 1."):
        assert "absolute difference" in text
        assert not re.search(r"earlier|later than|no later|before|after", text)


def test_two_bounds_have_no_denial_in_them(sentences):
    for text in sentences("chosen(N) :- fee(B,N), 0 <= N < 3."):
        assert not re.search(r"not (below|above)|is not", text), text


def test_a_cell_with_exchanged_coordinates_is_said(sentences):
    plain = set(sentences("{ spot(X,Y) : square(X,Y) }."))
    assert plain and not plain & set(sentences("{ spot(X,Y) : square(Y,X) }."))


def test_names_in_an_order_that_has_no_words_are_left_out(sentences):
    assert sentences("lit(B) :- knows(P,B), knows(P,C), B < C.")
    assert not sentences("lit(B) :- knows(P,B), knows(P,C), B <= C.")


def test_a_pool_has_an_or(sentences):
    assert all("2 or 3" in text for text in sentences("open(B) :- fee(B,N), N = (2;3)."))


def test_cases_are_counted_in_the_right_number(sentences):
    assert all(
        re.search(r"there is .* 1 case in which", text) for text in sentences(":- { open(B) : lit(B) } >= 1.")
    )
    assert all(
        re.search(r"there are .* 2 cases in which", t) for t in sentences(":- { open(B) : lit(B) } >= 2.")
    )


def test_two_anonymous_numbers_are_some_marks(sentences):
    assert all("has some marks" in text for text in sentences("open(B) :- marks(B,_,_)."))


def test_no_two_numbers_stand_side_by_side_in_a_cost(sentences):
    for code in ("#minimize{ 1@1 : open(B) }.", "#maximize{ 3@2,B : open(B) }."):
        assert not any(re.search(r"\d \d", text) for text in sentences(code))


def test_a_cost_of_a_number_is_paid_once_whatever_the_case(sentences):
    assert not any("amount" in text for text in sentences(":~ open(B). [3]"))


def test_a_sum_of_values_alone_counts_equal_ones_once(sentences):
    assert all("different values" in text for text in sentences("#sum{ N : chosen(N) : fee(B,N) } <= 3."))


def test_articles_verbs_and_plurals_agree():
    domains = {domain.name: domain for domain in load_domains()}
    bakery, dungeon = domains["bakery"], domains["dungeon"]
    ordered = next(predicate for predicate in bakery.facts if predicate.name == "ordered")
    assert entry(ordered, World(bakery, Random(0), 1)).endswith(
        "N pieces of loaf L are ordered for morning T."
    )
    assert ordered.clause("not").startswith("{0} pieces of {1} are not ordered")
    assert dungeon.plurals["hero"] == "heroes"
    for domain in domains.values():
        world = World(domain, Random(0), 1)
        for type_ in (*domain.things, TIME):
            line = entry(domain.type_predicate(type_), world)
            assert not re.search(r"\ba (hour|[aeio])|\ban (?!hour)[^aeiou]", line), line
        for predicate in (*domain.facts, *domain.derived):
            assert not re.search(r"the number of \w*ss ", predicate.text), predicate
    assert [phrases.article(noun) for noun in ("hour", "user", "usher", "oven", "hall")] == [
        "an hour",
        "a user",
        "an usher",
        "an oven",
        "a hall",
    ]


def test_a_statement_with_a_constant_that_nothing_defines_is_dropped(harbour):
    program = Program(Random(0), 1, None, [], [])
    program.world.constants["limit"] = 3
    rule = Rule((), (Compare((Var("N"), Const("limit")), (">",)),))
    program.statements = [rule]
    assert program._undefined() == [0]
    program.statements = [Define("limit", 3), rule]
    assert program._undefined() == []
