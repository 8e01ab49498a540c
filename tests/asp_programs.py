"""Random programs for property tests: all constructs of the language, and comments at all places."""

from __future__ import annotations

from hypothesis import HealthCheck
from hypothesis import strategies as st

from scripts.asp.syntax import parse

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def seq(*parts) -> st.SearchStrategy[list[str]]:
    """The tokens of all parts, in order. A part is a token, or a strategy for lists of tokens."""
    lists = [st.just([part]) if isinstance(part, str) else part for part in parts]
    return st.tuples(*lists).map(lambda drawn: [token for tokens in drawn for token in tokens])


def joined(element, separator: str, least: int = 1, most: int = 3) -> st.SearchStrategy[list[str]]:
    """The tokens of `least` to `most` elements, with a separator between them."""

    def join(elements: list[list[str]]) -> list[str]:
        tokens = elements[0] if elements else []
        for element in elements[1:]:
            tokens = [*tokens, separator, *element]
        return tokens

    return st.lists(element, min_size=least, max_size=most).map(join)


def token(*words: str) -> st.SearchStrategy[list[str]]:
    """One of these tokens."""
    return st.sampled_from(words).map(lambda word: [word])


VARIABLE = token("X", "Y", "Zed", "_Q", "_", "V1", "X'")
CONSTANT = token("a", "b", "n", "1", "0", "23", '"s"', '"a.b % c"', '"%* \\" *%"', '"Größe"', "#sup", "#inf")
TERM = st.recursive(
    VARIABLE | CONSTANT,
    lambda term: st.one_of(
        seq("f", "(", joined(term, ","), ")"),
        seq("(", term, ",", ")"),
        seq("(", term, ",", term, ")"),
        seq(term, token("+", "-", "*", "/", "\\", "**", "&", "?", "^", ".."), term),
        seq("-", term),
        seq("|", term, "|"),
        seq("(", joined(term, ";", 2), ")"),
        seq("@", "g", "(", term, ")"),
    ),
    max_leaves=4,
)
ATOM = st.one_of(
    seq(token("p", "q", "-r"), "(", joined(joined(TERM, ",", 1, 2), ";", 1, 2), ")"),
    token("a", "b", "-c", "#true", "#false"),
)
COMPARISON = seq(TERM, token("<", "<=", "=", "!=", ">", ">="), TERM) | seq(TERM, "<", TERM, "<=", TERM)
LITERAL = st.one_of(ATOM, seq("not ", ATOM), seq("not ", "not ", ATOM), COMPARISON)
CONDITION = seq(LITERAL, ":", joined(LITERAL, ",", 0, 2))
GUARD = st.one_of(st.just([]), seq(TERM, token("<", "<=", "=", "!=", ">")))
AGGREGATE = seq(
    st.one_of(st.just([]), token("not ")),
    GUARD,
    token("#count", "#sum", "#sum+", "#min", "#max"),
    "{",
    joined(seq(joined(TERM, ",", 1, 2), ":", joined(LITERAL, ",", 0, 2)), ";", 0, 2),
    "}",
    st.one_of(st.just([]), seq(token("<", ">=", "!="), TERM)),
)
THEORY = seq(
    "&",
    token("diff", "sum"),
    "{",
    joined(token("x", "y-z", "1+2"), ";", 0, 2),
    "}",
    st.one_of(st.just([]), seq("<= ", token("3", "x"))),
)
BODY = joined(st.one_of(LITERAL, LITERAL, CONDITION, AGGREGATE, THEORY), ";", 1, 3)
CHOICE = seq(
    GUARD, "{", joined(st.one_of(ATOM, CONDITION), ";", 0, 3), "}", st.one_of(st.just([]), seq("=", TERM))
)
HEAD = st.one_of(LITERAL, CHOICE, joined(LITERAL, ";", 2), joined(CONDITION, ";", 1, 2), AGGREGATE, THEORY)
WEIGHT = seq(TERM, st.one_of(st.just([]), seq("@", TERM)), st.one_of(st.just([]), seq(",", TERM)))
STATEMENT = st.one_of(
    seq(HEAD, "."),
    seq(HEAD, ":-", BODY, "."),
    seq(":-", BODY, "."),
    seq(":~", BODY, ".", "[", WEIGHT, "]"),
    seq(
        token("#minimize", "#maximise"),
        "{",
        joined(seq(WEIGHT, ":", joined(LITERAL, ",")), ";", 0, 3),
        "}",
        ".",
    ),
    seq("#show ", token("p/1", "-q/2", "a/0"), "."),
    seq("#show ", TERM, ":", BODY, "."),
    token("#show."),
    seq("#const ", "n", "=", CONSTANT, "."),
    seq("#external ", ATOM, ":", joined(ATOM, ","), ".", "[", "true", "]"),
    seq("#edge", "(", "1", ",", "X", ";", "Y", ",", "2", ")", ":", "p", "(", "X", ",", "Y", ")", "."),
    seq("#heuristic ", ATOM, ".", "[", "1", ",", "true", "]"),
    token("#defined p/3.", "#program base.", "#project a/0.", "#project b."),
)
NOTE = st.sampled_from(
    [
        "% note one\n",
        "%* note two *%",
        "%* over\n % half *% of\n lines *%",
        "% a :- b.\n",
        "%-----\n",
        '% 50 "percent\n',
        "%%\n",
        "\n",
        "\n\n",
        " ",
        " ",
        "  ",
        "\n  ",
        "% größer ≥ klein\n",
    ]
)


@st.composite
def programs(draw) -> str:
    """A program with comments, spaces and line breaks between its statements and within them."""
    pieces: list[str] = []
    for tokens in draw(st.lists(STATEMENT, min_size=1, max_size=4)):
        pieces.append(draw(NOTE))
        inside = draw(st.dictionaries(st.integers(1, max(1, len(tokens) - 1)), NOTE, max_size=2))
        pieces += [inside.get(index, "") + word for index, word in enumerate(tokens)]
        pieces += [draw(NOTE), draw(NOTE)]
    return "".join(pieces)


def accepted(text: str) -> bool:
    """Whether clingo parses `text`."""
    try:
        parse(text)
    except RuntimeError:
        return False
    return True
