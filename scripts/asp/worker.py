"""The inside of the wall: a process that lets clingo run one program after another and can be killed at any time.

`asp_solver` starts it and speaks frames with it: four bytes of length (big endian), then JSON. Before the first
program it gives up what a program could abuse: it can open no file and no socket any more (on POSIX the limit on
file descriptors is the number it already holds), write no file, dump no core, and grow only to its memory limit.
It runs alone, outside the package, so that starting it costs clingo's import and nothing else.
"""

import itertools
import json
import os
import signal
import struct
import sys

if __name__ == "__main__":
    sys.path += sys.argv[2:]  # wherever the parent finds clingo

import clingo
import clingo.core

try:
    import resource
except ImportError:  # Windows: the parent's watchdog holds the limits alone
    resource = None


def lock_down(memory: int) -> None:
    """Limit this process to `memory` bytes above what it holds now, and to the files it has open."""
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
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def tolerate_stray_bytes() -> None:
    """Keep clingo's messages about characters outside ASCII from ending the process.

    Its lexer complains of such a character byte by byte, and its Python layer aborts on half a character.
    """
    ffi = clingo.core._ffi
    clingo.core._to_str = lambda text: ffi.string(text).decode(errors="backslashreplace")


MESSAGES = 500  # each atom that no rule derives is one
MESSAGE_LENGTH = 4_000  # characters; more than that is a statement of that length, quoted
SETS_LENGTH = 8 * 2**20  # characters of all answer sets together


def run(program: str, solve: bool, cap: int, first: bool = False) -> dict:
    """Parse and ground `program`, and with `solve` enumerate its (optimal) answer sets, `cap` of them at the most.

    With `first` any one answer set is enough, optimal or not.

    Answer sets are projected on what the program shows; each comes as [sorted atoms, costs by descending priority].
    """
    messages: list[tuple[bool, str]] = []

    def log(code: clingo.MessageCode, text: str) -> None:
        text = text.rstrip("\n")
        if len(text) > MESSAGE_LENGTH:
            text = text[:MESSAGE_LENGTH] + " …"
        messages.append((code == clingo.MessageCode.RuntimeError, text))

    reply: dict = {"verdict": "ok"}
    stage = "syntax"
    try:
        mode = "ignore" if first else "optN"
        control = clingo.Control([f"--opt-mode={mode}", "--project=show"], logger=log, message_limit=MESSAGES)
        control.add("base", [], program)
        stage = "unsafe"
        control.ground([("base", [])])
        if solve:
            stage = "solve"
            sets: dict[tuple, None] = {}
            control.configuration.solve.models = int(first)
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
                reply["verdict"] = "too many answer sets"
            else:
                reply["answer_sets"] = list(sets)
                if not sets:
                    reply["verdict"] = "unsatisfiable"
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
            if not any(is_error for is_error, _ in messages):
                messages.append((True, f"error: {text}"))
    reply["errors"] = [text for is_error, text in messages if is_error]
    reply["notes"] = [text for is_error, text in messages if not is_error]
    return reply


def main() -> None:
    source, sink = os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing that clingo prints may reach the frames
    has_timer = hasattr(signal, "setitimer")

    def answer(reply: dict) -> None:
        data = json.dumps(reply).encode()
        sink.write(struct.pack(">I", len(data)) + data)
        sink.flush()

    tolerate_stray_bytes()
    run("warm(1..2). {a;b} = 1.", True, 10)  # everything that is loaded lazily, before the doors close
    lock_down(int(sys.argv[1]))
    answer({"verdict": "ok"})
    while len(head := source.read(4)) == 4:
        request = json.loads(source.read(struct.unpack(">I", head)[0]))
        if has_timer:  # processor time, so that a busy machine changes no verdict
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
