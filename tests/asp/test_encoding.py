"""The reader of encodings: each statement gets its instruction, and no statement or comment is lost."""

from __future__ import annotations

import re

import pytest
from clingo.ast import ASTType
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scripts.asp.encoding import read_encoding
from scripts.asp.syntax import parse, trees_of
from scripts.data.problems import read_problems
from tests.asp_programs import SLOW, accepted, programs
from utils_ft import BENCHMARKS, UserError

TABLE = [
    ("one comment a rule", "% A.\na.\n\n% B.\nb :- a.", [("A.", "a."), ("B.", "b :- a.")]),
    ("no blank lines", "% A.\na.\n% B.\nb.", [("A.", "a."), ("B.", "b.")]),
    ("several lines of comment", "% First\n%   and second.\na.", [("First and second.", "a.")]),
    ("a block comment", "%* Over\n   two lines. *%\na.", [("Over two lines.", "a.")]),
    ("a starred block comment", "%**\n * Starred\n * lines.\n **%\na.", [("Starred lines.", "a.")]),
    ("nested block comments", "%* outer %* inner *% still. *%\na.", [("outer inner still.", "a.")]),
    ("a comment behind", "a. % A.\nb. % B.", [("A.", "a."), ("B.", "b.")]),
    ("above and behind", "% A.\na. % and more", [("A. and more", "a.")]),
    (
        "inside",
        "% A.\na :- % when it\n  b, %* and it *%\n  c.\nb.",
        [("A. when it and it", "a :-\n  b,\n  c.\nb.")],
    ),
    ("a shared instruction", "% Both.\na.\nb.\n\nc.", [("Both.", "a.\nb."), ("", "c.")]),
    ("two on a line", "% Both.\na. b.", [("Both.", "a.\nb.")]),
    ("code before the first comment", "a.\nb.\n\n% C.\nc.", [("", "a."), ("", "b."), ("C.", "c.")]),
    (
        "a rule over several lines",
        "% A.\na(X) :-\n    b(X),\n    c(X).",
        [("A.", "a(X) :-\n    b(X),\n    c(X).")],
    ),
    (
        "percent and period in a string",
        '% A.\na("50 % of a.b, %* no comment *%").',
        [("A.", 'a("50 % of a.b, %* no comment *%").')],
    ),
    ("an escaped quote", '% A.\na("\\"%"). % B.', [("A. B.", 'a("\\"%").')]),
    ("intervals and decimals in prose", "% From 1.5 to 2.\na(1..2).", [("From 1.5 to 2.", "a(1..2).")]),
    ("a weak constraint", "% W.\n:~ a(X). [X@2, X]\n% V.\nb.", [("W.", ":~ a(X). [X@2, X]"), ("V.", "b.")]),
    (
        "minimize with several elements",
        "% M.\n#minimize { 1@2,x : a; % the inner\n  2 : b }. % the other\n% B.\nb.",
        [("M. the inner the other", "#minimize { 1@2,x : a;\n  2 : b }."), ("B.", "b.")],
    ),
    (
        "minimize with a trap in a string",
        '% M.\n#minimise{ 1,"#minimize" : a; 2,"}." : b }.\n% B.\nb.',
        [("M.", '#minimise{ 1,"#minimize" : a; 2,"}." : b }.'), ("B.", "b.")],
    ),
    (
        "two optimisations on a line",
        "#minimize{1 : a}. #maximize{2 : b; 3 : c}.",
        [("", "#minimize{1 : a}."), ("", "#maximize{2 : b; 3 : c}.")],
    ),
    (
        "directives",
        "% C.\n#const n = 3.\n% S.\n#show a/1.\n% T.\n#show X : a(X).\n% E.\n#external e.\n"
        "% P.\n#program p(t).\n"
        "% D.\n#defined d/0.",
        [
            ("C.", "#const n = 3."),
            ("S.", "#show a/1."),
            ("T.", "#show X : a(X)."),
            ("E.", "#external e."),
            ("P.", "#program p(t)."),
            ("D.", "#defined d/0."),
        ],
    ),
    (
        "edges and heuristics",
        "% E.\n#edge (1,2;3,4) : a.\n% H.\n#heuristic a. [1@2,true]",
        [("E.", "#edge (1,2;3,4) : a."), ("H.", "#heuristic a. [1@2,true]")],
    ),
    (
        "a theory",
        "% T.\n#theory t { u { - : 1, unary }; &d/0 : u, body }.\n% A.\na :- &d { x - y } .",
        [("T.", "#theory t { u { - : 1, unary }; &d/0 : u, body }."), ("A.", "a :- &d { x - y } .")],
    ),
    (
        "letters outside ASCII",
        '% Größe ≥ 1 für „x“.\na("größe"). b. % naïve.',
        [("Größe ≥ 1 für „x“.", 'a("größe").'), ("naïve.", "b.")],
    ),
    (
        "a byte order mark and Windows lines",
        "\ufeff% A.\r\na :-\r\n  b.\r\n% B.\r\nb.",
        [("A.", "a :-\n  b."), ("B.", "b.")],
    ),
    ("an interpreter line", "#!/usr/bin/clingo\n\n% A.\na.", [("A.", "a.")]),
    ("no end of line", "% A.\na.", [("A.", "a.")]),
    (
        "a comment that makes clingo read a term",
        "% S.\n#show % p by one\np/1.",
        [("S. p by one", "#show % p by one\np/1.")],
    ),
    ("nothing", "", []),
    ("comments only", "% A.\n\n%* B *%", []),
]


@pytest.mark.parametrize(("text", "steps"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_each_statement_gets_its_instruction(text, steps):
    encoding = read_encoding(text)
    assert [(step.instruction, step.code) for step in encoding.steps] == steps
    assert_nothing_is_lost(text, encoding)


FINDINGS = [
    ("% A.\na.\n", []),
    ("% ------\n% A.\na.", [(1, "banner")]),
    ("% All of it\n\n% A.\na.", [(1, "heading, instructs no statement")]),
    ("% A.\na.\n% the tail", [(3, "comment without a statement")]),
    ("a.", [(1, "statement without an instruction")]),
    ("% A.\na.\nb.", [(2, "2 statements share one instruction")]),
    ("% b :- a.\n\n% A.\na.", [(1, "commented-out code")]),
    ("% A.\na. % B.", [(2, "comment behind a statement, joined to its instruction")]),
    ("% A.\na :- % B.\n b.", [(2, "comment inside a statement, joined to its instruction")]),
    ("% A.\na.\n#minimize{}.", [(3, "no trace in the syntax tree, left out")]),
]


@pytest.mark.parametrize(("text", "findings"), FINDINGS)
def test_findings_have_a_line_and_a_kind(text, findings):
    assert [(finding.line, finding.kind) for finding in read_encoding(text).findings] == findings


def test_lines_of_statements_are_lines_of_the_file():
    encoding = read_encoding("%* x\ny *%\na.\n\n\n% B.\nb :-\n c.\n#minimize{\n 1 : a }.")
    assert [statement.line for step in encoding.steps for statement in step.statements] == [3, 7, 9]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a.\nb :- c d.\n", 2, "syntax error, unexpected <IDENTIFIER>"),
        ('a.\n\n#include "x.lp".', 3, "#include is not allowed"),
        ("a.\nb \u2260 c.", 2, "lexer error"),
        ("a.\n%* open", 3, "lexer error"),
        ("a.\n\0", 2, "NUL byte"),
        ("a. \udcff", 1, "not valid UTF-8"),
        ("a.\nb(" + "f(" * 300 + "1" + ")" * 300 + ").", 2, "levels deep"),
        ("a.\nb(" + "-" * 300_000 + "1).", 2, "operators and parentheses in one statement"),
        ("```\na.\n```", 1, "lexer error"),
    ],
)
def test_a_program_that_does_not_parse_is_a_user_error_with_file_and_line(text, line, words):
    with pytest.raises(UserError, match=re.escape(words)) as error:
        read_encoding(text, "family/problem/encoding.lp")
    assert f"family/problem/encoding.lp:{line}: " in str(error.value)
    assert "remedy:" in str(error.value)


def test_no_statement_or_comment_of_a_shipped_encoding_is_lost():
    for problem in read_problems(BENCHMARKS):
        text = problem.encoding_file.read_text(encoding="utf-8")
        assert_nothing_is_lost(text, problem.encoding)


def assert_nothing_is_lost(text: str, encoding) -> None:
    """The steps have the trees of the text, and every comment is in an instruction or in the findings."""
    text = text.removeprefix("\ufeff")
    whole = trees_of(text)
    statements = [statement for step in encoding.steps for statement in step.statements]
    assert [tree for statement in statements for tree in statement.trees] == whole
    assert trees_of(encoding.program) == whole
    for statement in statements:
        assert tuple(trees_of(statement.code)) == statement.trees
    said = "\n".join(
        [*(step.instruction for step in encoding.steps), *(finding.text for finding in encoding.findings)]
    )
    for node in parse(text):
        if node.ast_type == ASTType.Comment:
            for word in re.findall(r"[^\W_]{3,}", node.value):
                assert word in said, (word, said)


@settings(max_examples=400, deadline=None, suppress_health_check=SLOW)
@given(programs())
def test_no_statement_or_comment_of_a_generated_program_is_lost(text):
    assume(accepted(text))
    assert_nothing_is_lost(text, read_encoding(text))


CHARACTERS = st.sampled_from(
    [
        *"abXY_01 \n\t.,;:-~{}()[]|<>=!+*/\\@&#\"'%`?^$é≠\r\0\ud800",
        ":-",
        "%*",
        "*%",
        "#minimize{",
        "..",
        "not ",
        "#show ",
        "#!",
        "asp 1 0 0\n",
        "#script(lua)",
        ":~ ",
        "#count{",
        "}.",
        "). ",
        "\ufeff",
    ]
)


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW)
@given(st.one_of(st.lists(CHARACTERS, max_size=60).map("".join), st.text(max_size=60)))
def test_any_text_gives_an_encoding_or_a_user_error(text):
    try:
        assert_nothing_is_lost(text.replace("\r\n", "\n"), read_encoding(text))
    except UserError as error:
        assert "remedy" in str(error)


SHIPPED = [problem.encoding_file.read_text(encoding="utf-8") for problem in read_problems(BENCHMARKS)[::9]]


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(
    st.sampled_from(SHIPPED), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), CHARACTERS), max_size=4)
)
def test_a_damaged_encoding_gives_an_encoding_or_a_user_error(text, damages):
    for place, length, insert in damages:
        position = int(place * len(text))
        text = text[:position] + insert + text[position + length :]
    try:
        assert_nothing_is_lost(text.replace("\r\n", "\n"), read_encoding(text))
    except UserError as error:
        assert "remedy" in str(error)
