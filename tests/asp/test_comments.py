"""Comments as people write them: what each of them instructs, and what it is reported as."""

from __future__ import annotations

import pytest

from scripts.asp.comments import Kind
from scripts.asp.encoding import read_encoding

# name → text of a file, instruction and code of its instructed steps, kinds of the findings (but not those of
# statements without an instruction)
FILES: dict[str, tuple[str, list[tuple[str, str]], list[str]]] = {
    "a directive that is switched off": (
        "% #show in/1.\n#show out/1.",
        [],
        [Kind.CODE],
    ),
    "the syntax of gringo 3, switched off": (
        "% total(T) :- T = #sum [ x(C,N) = N ].\ntotal(T) :- T = #sum { N,C : x(C,N) }.",
        [],
        [Kind.CODE],
    ),
    "a comment that goes on beside the next line": (
        "{ in(X) } :- v(X).   % choose any subset\n"
        "                     % of the vertices\n"
        ":- in(X), in(Y), e(X,Y).   % no edge inside",
        [
            ("choose any subset of the vertices", "{ in(X) } :- v(X)."),
            ("no edge inside", ":- in(X), in(Y), e(X,Y)."),
        ],
        [Kind.BEHIND, Kind.BEHIND],
    ),
    "comments below their rules": (
        "{ in(X) } :- v(X).\n% Any subset of the vertices may be chosen.\n\n"
        ":- in(X), in(Y), e(X,Y).\n% No edge lies inside.\n",
        [
            ("Any subset of the vertices may be chosen.", "{ in(X) } :- v(X)."),
            ("No edge lies inside.", ":- in(X), in(Y), e(X,Y)."),
        ],
        [Kind.BELOW],
    ),
    "a banner that closes a part": (
        "% ---- end of generate ----\n:- in(X), heavy(X).",
        [],
        [Kind.CLOSING],
    ),
    "an exclamation mark of a documentation comment": (
        "%*! val(V): the values *%\nval(1..3).",
        [("val(V): the values", "val(1..3).")],
        [],
    ),
    "a closing per cent": (
        "% EACH VERTEX IS CHOSEN OR NOT %\n{ in(X) } :- v(X).",
        [("EACH VERTEX IS CHOSEN OR NOT", "{ in(X) } :- v(X).")],
        [],
    ),
    "a licence that opens the file": (
        "% Copyright (c) 2021 Jo Example <jo@example.org>\n\n{ used(X) } :- b(X).",
        [],
        [Kind.LICENCE],
    ),
    "a licence directly above the first rule": (
        "% MIT License\n% Permission is hereby granted, free of charge.\n{ used(X) } :- b(X).",
        [],
        [Kind.LICENCE, Kind.LICENCE],
    ),
    "an author": (
        "% Berths in a harbour\n% Author: Jo Example\n{ used(X) } :- b(X).",
        [],
        [Kind.AUTHOR, Kind.AUTHOR],
    ),
    "an address": ("% Ask jo@example.org how it is used.\n{ used(X) } :- b(X).", [], [Kind.AUTHOR]),
    "a description that opens the file": (
        "% Which berths are in use?\n\n{ used(X) } :- b(X).\n\n"
        "% No broken berth is in use.\n:- used(X), broken(X).",
        [("No broken berth is in use.", ":- used(X), broken(X).")],
        [Kind.HEADING],
    ),
    "the title of the file directly above the first rule": (
        "% Graph colouring\nnode(1..6).\n\n% Each node gets a colour.\n{ c(N,C) : col(C) } = 1 :- node(N).",
        [("Each node gets a colour.", "{ c(N,C) : col(C) } = 1 :- node(N).")],
        [Kind.HEADING],
    ),
    "a short instruction above the first rule": (
        "% any crane may run\n{ on(X) } :- c(X).",
        [("any crane may run", "{ on(X) } :- c(X).")],
        [],
    ),
    "this program": (
        "% This program colours a graph.\nnode(1..6).",
        [],
        [Kind.HEADER],
    ),
    "lines for editors, shells and the author": (
        "#!/usr/bin/env clingo\n% -*- mode: clingo -*-\n% vim: ft=clingo\n% clingo berths.lp i.lp -n 0\n"
        "% TODO: is this right?\n\n% Any berth may be used.\n{ used(X) } :- b(X).",
        [("Any berth may be used.", "{ used(X) } :- b(X).")],
        [Kind.EDITOR, Kind.EDITOR, Kind.EDITOR, Kind.EDITOR, Kind.TO_DO],
    ),
    "a statement of several lines, switched off": (
        "% No edge inside.\n:- e(X,Y), in(X), in(Y).\n\n"
        "% No triangle.\n% :- e(X,Y),\n%    e(Y,Z),\n%    e(X,Z).\n\n"
        "% All are named.\n:- v(X), not named(X).",
        [("No edge inside.", ":- e(X,Y), in(X), in(Y)."), ("All are named.", ":- v(X), not named(X).")],
        [Kind.ABOVE_CODE, Kind.CODE, Kind.CODE, Kind.CODE],
    ),
    "a block comment with a statement": (
        "%*\nin(X) :- v(X),\n  not out(X).\n*%\n% Any vertex may be in.\n{ in(X) } :- v(X).",
        [("Any vertex may be in.", "{ in(X) } :- v(X).")],
        [Kind.CODE, Kind.CODE],
    ),
    "words between switched-off code and a rule": (
        "% The old way:\n% in(X) :- v(X), not out(X).\n% Any vertex may be in.\n{ in(X) } :- v(X).",
        [("Any vertex may be in.", "{ in(X) } :- v(X).")],
        [Kind.ABOVE_CODE, Kind.CODE],
    ),
    "a boxed heading above several rules": (
        "%%%%%%%%%%%%%%%%%%%%%%%%\n% The shape of the tour %\n%%%%%%%%%%%%%%%%%%%%%%%%\n"
        "{ c(X,Y) } :- e(X,Y).\n\n:- c(X,Y), c(X,Z), Y < Z.",
        [],
        [Kind.BANNER, Kind.HEADING, Kind.BANNER],
    ),
    "a boxed instruction": (
        "%-----------------------\n% No vertex is isolated.\n%-----------------------\n:- v(X), not c(X,_).",
        [("No vertex is isolated.", ":- v(X), not c(X,_).")],
        [Kind.BANNER, Kind.BANNER],
    ),
    "a heading over an instruction": (
        "% The shape of the tour\n% ---------------------\n% No vertex is isolated.\n:- v(X), not c(X,_).",
        [("No vertex is isolated.", ":- v(X), not c(X,_).")],
        [Kind.HEADING, Kind.BANNER],
    ),
    "names of parts": (
        "% Generate\n{ in(X) } :- v(X).\n\n% Integrity constraints:\n:- in(X), bad(X).\n\n"
        "%%% Display %%%\n#show in/1.",
        [],
        [Kind.NO_WORDS, Kind.HEADING, Kind.NO_WORDS],
    ),
    "a heading above rules with comments of their own": (
        "% The colours of the map\nred(X) :- a(X).   % a is always red\nblue(X) :- b(X).  % b is always blue",
        [("a is always red", "red(X) :- a(X)."), ("b is always blue", "blue(X) :- b(X).")],
        [Kind.HEADING, Kind.BEHIND, Kind.BEHIND],
    ),
    "a remark below a rule": (
        "% Any vertex may be in.\n{ in(X) } :- v(X).\n% So far there are many answer sets.\n\n"
        "% No edge inside.\n:- e(X,Y), in(X), in(Y).\n\n% Vertices are shown.\n#show in/1.",
        [
            ("Any vertex may be in.", "{ in(X) } :- v(X)."),
            ("No edge inside.", ":- e(X,Y), in(X), in(Y)."),
            ("Vertices are shown.", "#show in/1."),
        ],
        [Kind.REMARK],
    ),
    "above some rules and below others": (
        "a(1).\n\n% Any vertex may be in.\n{ in(X) } :- v(X).\n\n"
        ":- e(X,Y), in(X), in(Y).\n% No edge inside.\n\n"
        "b(1).\n% Is it b, or is it c?\nc(1).",
        [("Any vertex may be in.", "{ in(X) } :- v(X).")],
        [Kind.REMARK, Kind.UNCLEAR],
    ),
    "a blank line below each comment": (
        "% Sets of vertices\n\n{ in(X) } :- v(X).\n\n% No edge inside.\n\n:- e(X,Y), in(X), in(Y).\n\n"
        "% Vertices are shown.\n\n#show in/1.",
        [("No edge inside.", ":- e(X,Y), in(X), in(Y)."), ("Vertices are shown.", "#show in/1.")],
        [Kind.HEADING],
    ),
    "remarks on the parts of a rule": (
        "ok(X) :- a(X),   \n  b(X),  % it has a b\n  c(X).  % and it has a c",
        [],
        [Kind.PART, Kind.PART],
    ),
    "one comment behind two statements": (
        "row(1..9). col(1..9).  % rows and columns of the board",
        [("rows and columns of the board", "row(1..9).\ncol(1..9).")],
        [Kind.BEHIND, "2 statements share one instruction"],
    ),
    "names and numbers only": (
        "% reach(X,Y)\nreach(X,Y) :- e(X,Y).\n% (1)\nreach(X,Z) :- reach(X,Y), e(Y,Z).  % reach/2",
        [],
        [Kind.NO_WORDS, Kind.NO_WORDS, Kind.NO_WORDS],
    ),
    "no letters of ours": (
        "% 每个顶点都可以被选中\n{ in(X) } :- v(X).",
        [("每个顶点都可以被选中", "{ in(X) } :- v(X).")],
        [],
    ),
    "a share in per cent": (
        "% The share of each is at most 50 %\n:- share(X,S), S > 50.",
        [("The share of each is at most 50 %", ":- share(X,S), S > 50.")],
        [],
    ),
    "a comment behind a statement is not for the next line": (
        "{ in(X) } :- v(X).  % any vertex may be in\n:- in(X), bad(X).",
        [("any vertex may be in", "{ in(X) } :- v(X).")],
        [Kind.BEHIND],
    ),
    "a question of the author": ("% But why not?\n:- in(X), bad(X).", [], [Kind.TO_DO]),
    "a part of a list": ("% ann, bea, cat;\nship(bea).", [], [Kind.CODE]),
    "parts of names": ("% max_size min_size\nsize(1..9).", [], [Kind.NO_WORDS]),
    "a comment behind the last fact of a list": (
        "ship(ann).\nship(bea).\nship(cat).  % the ships in the harbour",
        [],
        [Kind.UNCLEAR],
    ),
    "comments above, with a blank line on the wrong side": (
        "vertex(1..9).\n% Any vertex may be chosen.\n\n{ chosen(X) } :- vertex(X).\n% No edge is inside.\n\n"
        ":- edge(X,Y), chosen(X), chosen(Y).\n% Each hole is named.\n\nnamed(X) :- hole(X).",
        [],
        [Kind.REMARK, Kind.REMARK, Kind.REMARK],
    ),
    "a constraint, and below it what is minimized and shown": (
        "% No edge is inside.\n:- e(X,Y), in(X), in(Y).\n#minimize { 1,X : in(X) }.\n#show in/1.",
        [("No edge is inside.", ":- e(X,Y), in(X), in(Y).")],
        [],
    ),
    "words for what is minimized and shown": (
        "% As few vertices as possible are in; they are shown.\n"
        "{ in(X) } :- v(X).\n#minimize { 1,X : in(X) }.\n#show in/1.",
        [
            (
                "As few vertices as possible are in; they are shown.",
                "{ in(X) } :- v(X).\n#minimize { 1,X : in(X) }.\n#show in/1.",
            )
        ],
        ["3 statements share one instruction"],
    ),
    "documentation of a block in a block": (
        "%**\n@block Rooms {\n  Rooms are booked.\n*%\n"
        "%**\n@block Lunch {\n  No room is booked at noon.\n*%\n:- booked(R,12).",
        [("No room is booked at noon.", ":- booked(R,12).")],
        [Kind.HEADING, Kind.HEADING, Kind.HEADING],
    ),
    "a remark on whether a rule is needed": (
        "% This rule is redundant, but it helps.\n:- in(X), bad(X).",
        [],
        [Kind.TO_DO],
    ),
    "the number of answer sets that are left": (
        ":- not in(a).  % down to 8\n:- in(b).  % only 3",
        [],
        [Kind.NO_WORDS, Kind.NO_WORDS],
    ),
    "the name of a part above rules of which one has a comment": (
        "% Port constraints\n:- at(P), not port(P).\n:- at(P), closed(P).  % no ship is at a closed port",
        [("no ship is at a closed port", ":- at(P), closed(P).")],
        [Kind.HEADING, Kind.BEHIND],
    ),
    "the problem above the first rule": (
        "% Find a set of vertices that is as large as possible.\n{ in(X) } :- v(X).",
        [],
        [Kind.HEADER],
    ),
    "a choice below a constraint": (
        "% No broken berth is in use.\n:- used(X), broken(X).\n{ used(X) } :- b(X).",
        [("No broken berth is in use.", ":- used(X), broken(X).")],
        [],
    ),
    "the name of the file above the first rule": (
        "% berths.lp, quick to solve\nused(1..9).",
        [],
        [Kind.HEADER],
    ),
    "facts of one line with words above and behind": (
        "q(1).\n\n% Pairs of numbers\np(1,2). p(2,3).  % in their order",
        [("Pairs of numbers in their order", "p(1,2).\np(2,3).")],
        [Kind.BEHIND, "2 statements share one instruction"],
    ),
    "a few words above several runs of rules for one predicate": (
        "% Effects of moves\nat(X,T+1) :- to(X,T).\n\nat(X,T+1) :- at(X,T), idle(T).",
        [],
        [Kind.HEADING],
    ),
    "notes on what the author did": (
        "% Like what I did last week\nb(X) :- a(X).\nc(X) :- b(X).  % changed: no d",
        [],
        [Kind.TO_DO, Kind.TO_DO],
    ),
    "a comment behind the first fact of a list": (
        "ship(ann, 3).  % (name, berth)\nship(bea, 4).\nship(cat, 7).",
        [],
        [Kind.UNCLEAR],
    ),
    "what the input has": (
        "% n is in the input\n% ship(X, B) in input\nberth(1..n).\n"
        "% open/1 comes from the instance\nship(9).",
        [],
        [Kind.INPUT, Kind.INPUT, Kind.INPUT],
    ),
    "what a rule is for": ("% for safety\nship(X) :- at(X,_).", [], [Kind.TO_DO]),
}


@pytest.mark.parametrize(("text", "steps", "kinds"), FILES.values(), ids=FILES.keys())
def test_a_comment_instructs_what_it_belongs_to_or_is_reported(
    text: str, steps: list[tuple[str, str]], kinds: list[str]
) -> None:
    encoding = read_encoding(text)
    assert [(step.instruction, step.code) for step in encoding.instructed] == steps
    found = [finding.kind for finding in encoding.findings]
    assert [kind for kind in found if kind != Kind.ALONE] == kinds
    assert all(1 <= finding.line <= text.count("\n") + 1 for finding in encoding.findings)


SWITCHED_OFF = [
    "in(X) :- v(X).",
    "{ in(X) } 1 :- v(X), not out(X).",
    ":- in(X), in(Y)",
    "a v b :- c.",
    "#hide.",
    "#hide p/2. #show q/1.",
    "const n = 3.",
    "hide p(_).",
    "1 { q(X,Y) : col(Y) } 1 :- row(X).",
    "#minimize [ x(C,N) = N @ 2 ].",
    "compute 1 { not bad }.",
    ":~ a(X). [X:1]",
    '#include "other.lp".',
    "#script (lua)",
    "edge(1,2). edge(2,3).",
    "in(X) :- v(X). was too slow",
    "old: in(X) :- v(X), w(X).",
    "in(X) :- v(X), % for all\n   w(X).",
]
PROSE = [
    "Choose any subset of the vertices.",
    "in(X) holds if out(X) does not.",
    "in(X): X is chosen",
    "Show in/1.",
    "If a :- b then c is needed.",
    "Hide all atoms.",
    "Publish in(X).",
    "1. Choose a vertex.",
    "The sum #sum is at most 3.",
    "X, Y and Z differ.",
]


@pytest.mark.parametrize("code", SWITCHED_OFF)
def test_code_in_a_comment_never_instructs(code: str) -> None:
    comment = "\n".join(f"% {line}" for line in code.split("\n"))
    encoding = read_encoding(f"{comment}\nb.\n%*\n{code}\n*%\nc.")
    assert not encoding.instructed
    assert {finding.kind for finding in encoding.findings} == {Kind.CODE, Kind.ALONE}


@pytest.mark.parametrize("text", PROSE)
def test_prose_about_code_instructs(text: str) -> None:
    assert [step.instruction for step in read_encoding(f"a.\n\n% {text}\nb.").instructed] == [text]


def test_a_long_comment_is_read_in_linear_time() -> None:
    text = "".join(f"% in(X,{number}),\n" for number in range(5_000)) + "a.\n" + "% a" * 50_000
    assert not read_encoding(text).instructed
