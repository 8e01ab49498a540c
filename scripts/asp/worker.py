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
import clingo.core

try:
    import resource
except ImportError:  # Windows: there only the watchdog of the parent process holds the limits
    resource = None

MESSAGES = 500  # messages of clingo for one program; each atom that no rule derives is one
MESSAGE_LENGTH = 4_000  # characters of one message; a longer one quotes a statement of that length
SETS_LENGTH = 8 * 2**20  # characters of all answer sets of one program together
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


class Messages:
    """What clingo prints for one program: errors, and notes (warnings and infos)."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.notes: list[str] = []

    def log(self, code: clingo.MessageCode, text: str) -> None:
        """Keep one message; clingo calls this."""
        text = text.rstrip("\n")
        if len(text) > MESSAGE_LENGTH:
            text = text[:MESSAGE_LENGTH] + " …"
        (self.errors if code == clingo.MessageCode.RuntimeError else self.notes).append(text)


def run(program: str, solve: bool, cap: int, first: bool = False) -> dict:
    """Parse and ground `program`. With `solve`, enumerate its (optimal) answer sets as well.

    Arguments:
        program: The text of the program.
        solve: Whether to solve after grounding.
        cap: The largest number of answer sets. With more, the verdict is "too many answer sets".
        first: Stop at the first answer set, optimal or not.

    Returns:
        A dict with `verdict` (see `solver.Verdict`), `errors` and `notes` (clingo's messages), and if all
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
        reply["verdict"] = "memory"
    except RuntimeError as error:
        text = str(error)
        if "bad_alloc" in text or "memory" in text.lower():
            reply["verdict"] = "memory"
        elif stage == "solve":
            reply = {"verdict": "memory", "failure": text}
        else:
            reply["verdict"] = stage
            if not messages.errors:
                messages.errors.append(f"error: {text}")
    return reply | {"errors": messages.errors, "notes": [*messages.notes, *reply.get("notes", ())]}


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
        atoms = tuple(sorted(str(symbol) for symbol in model.symbols(shown=True)))
        sets[(atoms, tuple(model.cost))] = None
        seen += 1
        length += sum(map(len, atoms))
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
            reply = run(request["program"], request["solve"], request["cap"], request["first"])
        except MemoryError:
            reply = {"verdict": "memory", "errors": [], "notes": []}
        if has_timer:
            signal.setitimer(signal.ITIMER_PROF, 0)
        answer(reply)


if __name__ == "__main__":
    main()
