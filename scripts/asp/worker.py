"""The worker process of the solver: it runs one program after another in clingo, and can be killed at any
time.

`scripts/asp/solver.py` starts this file as a process of its own and exchanges frames with it: four bytes with
the length (big endian), then JSON. Before the first program the process sets its limits (see `lock_down`), so
that no program can read a file, write one or open a socket. The file imports nothing of this project: it
starts as fast as clingo does.
"""

import itertools
import json
import os
import signal
import struct
import sys

if __name__ == "__main__":
    sys.path += sys.argv[2:]  # the parent's paths, so that clingo is found

import clingo
import clingo.ast
import clingo.core

try:
    import resource
except ImportError:  # Windows: there only the watchdog of the parent process holds the limits
    resource = None

MESSAGES = 500  # messages of clingo for one program; each atom that no rule derives is one
ERRORS = 3  # errors that are kept; those behind the first are most often its consequences
LINE_LENGTH = 240  # characters of one line of a message; a longer one quotes a statement of that length
MESSAGE_LENGTH = 1_000  # characters of all errors of one program together
SETS_LENGTH = 8 * 2**20  # characters of all answer sets of one program together
COST_LENGTH = 8  # characters that a cost counts for
TOO_LONG = "info: the answer sets have too much text"
"""The note on a program whose answer sets are not too many, but together longer than `SETS_LENGTH`."""


def lock_down(memory: int) -> None:
    """Limit this process to `memory` bytes above its present size, and to the files that it has open.

    On POSIX it can then open no file or socket, write to no file and dump no core.
    """
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":  # macOS accepts RLIMIT_AS and ignores it
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    lowest_free = next(fd for fd in itertools.count() if not is_open(fd))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, lowest_free))


def is_open(fd: int) -> bool:
    """Whether the file descriptor `fd` is open."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def tolerate_stray_bytes() -> None:
    """Make clingo's Python layer accept messages that are not valid UTF-8.

    clingo's lexer reports a character outside ASCII byte by byte. Its Python layer ends the process on half a
    character.
    """
    ffi = clingo.core._ffi
    clingo.core._to_str = lambda text: ffi.string(text).decode(errors="backslashreplace")


def brief(messages: list[str]) -> str:
    """Return the first messages as one text of bounded length.

    clingo repeats a message for each value of a pool. Of messages that say the same of the same place, only
    the first is kept. What a line or the text is longer than allowed is replaced by `…`.
    """
    first: dict[str, str] = {}
    for text in messages:
        first.setdefault(text.partition("\n")[0], text)
    lines = "\n".join(list(first.values())[:ERRORS]).split("\n")
    text = "\n".join(line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]} …" for line in lines)
    return text if len(text) <= MESSAGE_LENGTH else f"{text[:MESSAGE_LENGTH]} …"


class Messages:
    """What clingo prints for one program: errors, and notes (warnings and infos)."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}  # by the first line, which has the place and the kind
        self.notes: list[str] = []

    def log(self, code: clingo.MessageCode, text: str) -> None:
        """Keep one message; clingo calls this."""
        text = text.rstrip("\n")
        if code != clingo.MessageCode.RuntimeError:
            self.notes.append(brief([text]))
        elif len(self.errors) < ERRORS:
            self.errors.setdefault(text.partition("\n")[0], text)

    @property
    def message(self) -> str:
        """The errors as one text."""
        return brief(list(self.errors.values()))


def run(program: str, solve: bool, cap: int, first: bool = False) -> dict:
    """Parse and ground `program`. With `solve`, enumerate its (optimal) answer sets as well.

    Arguments:
        program: The text of the program.
        solve: Whether to solve after grounding.
        cap: The largest number of answer sets. With more, the verdict is "too many answer sets".
        first: Stop at the first answer set, optimal or not.

    Returns:
        A dict with `verdict` (see `solver.Verdict`), `message` (clingo's first errors), `notes`, and if all
        answer sets were found `answer_sets`: a list of [sorted shown atoms, costs by descending priority].
    """
    messages = Messages()
    reply: dict = {"verdict": "ok"}
    stage = "syntax"
    try:
        mode = "ignore" if first else "optN"
        options = [f"--opt-mode={mode}", "--project=show"]
        control = clingo.Control(options, logger=messages.log, message_limit=MESSAGES)
        control.add("base", [], program)
        stage = "unsafe"
        control.ground([("base", [])])
        if solve:
            stage = "solve"
            reply = enumerate_answer_sets(control, cap, first)
    except MemoryError:
        reply = {"verdict": "memory"}
    except RuntimeError as error:
        reply = failure(stage, str(error), messages)
    notes = [*messages.notes, *reply.get("notes", ())]
    return {"message": messages.message} | reply | {"notes": notes}


def failure(stage: str, error: str, messages: Messages) -> dict:
    """Return the verdict and the message for an exception of clingo in one stage of `run`."""
    if stage == "solve" or "bad_alloc" in error or "memory" in error.lower():
        return {"verdict": "memory", "message": "error: out of memory"}
    return {"verdict": stage, "message": messages.message or brief([f"error: {error}"])}


def parse(program: str) -> dict:
    """Parse `program` as `syntax.parse` does, and keep nothing. Returns a dict as `run` does."""
    messages = Messages()
    try:
        clingo.ast.parse_string(program, lambda _: None, logger=messages.log, message_limit=MESSAGES)
    except RuntimeError as error:
        return failure("syntax", str(error), messages) | {"notes": []}
    return {"verdict": "ok", "message": "", "notes": []}


def enumerate_answer_sets(control: clingo.Control, cap: int, first: bool) -> dict:
    """Return the verdict and, if there are at most `cap`, the answer sets of a ground program; arguments as
    in `run`.
    """
    control.configuration.solve.models = int(first)
    sets: dict[tuple, None] = {}
    seen = length = 0

    def on_model(model: clingo.Model) -> bool:
        nonlocal seen, length
        if model.cost and not model.optimality_proven and not first:
            return True
        # An atom is shown twice if a predicate and a term of `#show` both show it.
        atoms = tuple(sorted({str(symbol) for symbol in model.symbols(shown=True)}))
        cost = tuple(model.cost)
        sets[(atoms, cost)] = None
        seen += 1
        length += sum(map(len, atoms)) + COST_LENGTH * len(cost)
        return seen <= cap and length <= SETS_LENGTH

    control.solve(on_model=on_model)
    if seen > cap or length > SETS_LENGTH:
        return {"verdict": "too many answer sets", "notes": [] if seen > cap else [TOO_LONG]}
    return {"verdict": "ok" if sets else "unsatisfiable", "answer_sets": list(sets)}


def main() -> None:
    """Answer requests from standard input until it ends."""
    source, sink = os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what clingo prints must not get between the frames
    has_timer = hasattr(signal, "setitimer")

    def answer(reply: dict) -> None:
        data = json.dumps(reply).encode()
        sink.write(struct.pack(">I", len(data)) + data)
        sink.flush()

    tolerate_stray_bytes()
    run("warm(1..2). {a;b} = 1.", True, 10)  # load what clingo loads lazily, before the limits are set
    lock_down(int(sys.argv[1]))
    answer({"verdict": "ok"})
    while len(head := source.read(4)) == 4:
        request = json.loads(source.read(struct.unpack(">I", head)[0]))
        if has_timer:  # a limit on processor time: a busy machine changes no verdict
            signal.setitimer(signal.ITIMER_PROF, request["cpu_seconds"])
        try:
            if request["parse"]:
                reply = parse(request["program"])
            else:
                reply = run(request["program"], request["solve"], request["cap"], request["first"])
        except MemoryError:
            reply = {"verdict": "memory", "message": "error: out of memory", "notes": []}
        if has_timer:
            signal.setitimer(signal.ITIMER_PROF, 0)
        answer(reply)


if __name__ == "__main__":
    main()
