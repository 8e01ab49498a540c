"""Programs that use too much time or memory, and small limits for them."""

from __future__ import annotations

from scripts.asp.solver import Limits

QUICK = Limits(cpu_seconds=0.15, wall_seconds=10, memory_bytes=256 * 2**20, answer_sets=100)

GOOD = "{in(1..3)} = 1. :- in(2)."
ENDLESS = "p(0). p(X+1) :- p(X)."
HUGE = "p(1..1000000000)."
EXPONENTIAL = "{p(1..40)}."
PIGEONS = "{p(X,1..12)} = 1 :- X = 1..13. :- p(X,H), p(Y,H), X < Y."
DEEP = f"a({'-' * 30_000}1)."  # clingo's recursion over it would overflow the stack
CRASH = "a((-2147483647-1)/(-1))."  # the division ends clingo's process
MEMORY = f"p({','.join(['(1;2;3)'] * 16)})."
UNSAFE_POOLS = f"p(X,{','.join(['(1;2)'] * 9)})."  # clingo repeats the statement 512 times
