"""The inside of the wall: a process that lets clingo run one program after another and can be killed at any time.

`asp_solver` starts it and speaks frames with it: four bytes of length (big endian), then JSON. Before the first
program it gives up what a program could abuse: it can open no file and no socket any more (on POSIX the limit on
file descriptors is the number it already holds), write no file, dump no core, and grow only to its memory limit.
It runs alone, outside the package, so that starting it costs clingo's import and nothing else.
"""

import json
import os
import signal
import struct
import sys

import clingo

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
    highest = max(fd for fd in range(64) if is_open(fd)) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def run(program: str, solve: bool, cap: int) -> dict:
    """Parse and ground `program`, and with `solve` enumerate its (optimal) answer sets, `cap` of them at the most.

    Answer sets are projected on what the program shows; each comes as [sorted atoms, costs by descending priority].
    """
    messages: list[tuple[bool, str]] = []

    def log(code: clingo.MessageCode, text: str) -> None:
        messages.append((code == clingo.MessageCode.RuntimeError, text.rstrip("\n")))

    reply: dict = {"verdict": "ok"}
    stage = "syntax"
    try:
        control = clingo.Control(["--opt-mode=optN", "--project=show"], logger=log, message_limit=20)
        control.add("base", [], program)
        stage = "unsafe"
        control.ground([("base", [])])
        if solve:
            stage = "solve"
            sets: dict[tuple, None] = {}
            control.configuration.solve.models = 0
            seen = 0

            def on_model(model: clingo.Model) -> bool:
                nonlocal seen
                if model.cost and not model.optimality_proven:
                    return True
                seen += 1
                atoms = tuple(sorted(str(symbol) for symbol in model.symbols(shown=True)))
                sets[(atoms, tuple(model.cost))] = None
                return seen <= cap

            control.solve(on_model=on_model)
            if seen > cap:
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
    memory, cpu_seconds = int(sys.argv[1]), float(sys.argv[2])
    run("warm(1..2). {a;b} = 1.", True, 10)  # everything that is loaded lazily, before the doors close
    lock_down(memory)
    while len(head := source.read(4)) == 4:
        request = json.loads(source.read(struct.unpack(">I", head)[0]))
        if hasattr(signal, "setitimer"):  # processor time, so that a busy machine changes no verdict
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        try:
            reply = run(request["program"], request["solve"], request["cap"])
        except MemoryError:
            reply = {"verdict": "memory", "errors": [], "notes": []}
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)
        # Symbols stay in clingo's table for the life of the process: the parent replaces one that has grown.
        reply["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if resource else 0
        data = json.dumps(reply).encode()
        sink.write(struct.pack(">I", len(data)) + data)
        sink.flush()


if __name__ == "__main__":
    main()
