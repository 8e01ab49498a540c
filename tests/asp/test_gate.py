"""The gate: programs that reach outside are refused; strings and comments may contain anything."""

from __future__ import annotations

import contextlib

import clingo.ast
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.asp.gate import code_only, refusal
from scripts.asp.solver import Verdict

ALLOWED = [
    'p("#include").',
    'p("#script (python)").',
    '% #include "x.lp".\na.',
    "a. %* #script (lua) *% b.",
    "a. %* outer %* inner *% #include *% b.",
    "a. #! #include\nb.",
    'p("a % b"). q("\\"#include\\"").',
    '%* % *% #include "x". \n *% a.',
    "include. script. p(include).",
    "asp :- a. a.",
    "%\na.",
]


REFUSED = [
    '#include "x.lp".',
    "a.\n  #include <incmode>.",
    '#include\n%x\n"x.lp".',
    "#script(python)\nx\n#end.",
    "#script (lua) #end.",
    'p("a"). #include "x".',
    'p("\\\\"). #include "x".',
    '%* c *% #include "x".',
    '%* %* *% *% #include "x".',
    '"\\q . #include "x".',  # not a string: clingo knows only three escapes
    'a. #! %*\n#include "x". %*% *%',  # the block comment begins in a line comment
    '%* % %* \n *% #include "x".',  # so does this one
    'asp 1 0 0\n10 %*\n0\n#include "x".\n',
    "a. \ud800",
    "\0",
]


@pytest.mark.parametrize("program", ALLOWED)
def test_strings_and_comments_may_contain_anything(solver, program):
    assert refusal(program) == ""
    assert solver.check(program).verdict is Verdict.OK


@pytest.mark.parametrize("program", REFUSED)
def test_programs_that_reach_outside_are_refused_with_a_position(solver, program):
    outcome = solver.check(program)
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.position
    assert solver.check("ok.").verdict is Verdict.OK


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                '"',
                "\\",
                '\\"',
                "\\n",
                "q",
                "%",
                "*",
                "%*",
                "*%",
                "\n",
                ".",
                " ",
                "#!",
                "#",
                "a.",
                "é",
                "&a{",
                "}",
                "asp 1 0 0\n",
                "0\n",
                "10 ",
                "\r",
                "\t",
                '#include "reached.lp".',
                '#include "reached.lp"',
                "#include",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_no_program_that_passes_the_gate_makes_clingo_open_a_file(text):
    """The gate and clingo's lexer agree on what is a string or a comment, in any mixture of the two."""
    program = text + '#include "reached.lp".'
    reached = []

    def log(_, message):
        reached.append("could not be opened" in message)

    if refusal(program) == "" and program.isascii():
        with contextlib.suppress(RuntimeError):
            clingo.ast.parse_string(program, lambda _: None, logger=log)
        assert not any(reached)
    assert len(code_only(program)) == len(program)
