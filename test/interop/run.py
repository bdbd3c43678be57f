#!/usr/bin/env python3
# Builds peer.cpp with each available compiler, and has all builds share segments with each other:
#
#     run.py DIRECTORY [COMPILER...]    programs go to DIRECTORY and are reused by the next run
#
# COMPILERs are names of support/builds.py; the default is all of them. One that is not installed is
# skipped, in CI (CI=true) it is a failure. The last line is "N passed, N failed[, N skipped]".
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support.builds import COMPILERS, ROOT, Tally, Wrong, available, build_all, expect

MECHANISMS = {"posix": "session", "system_v": "session", "file": "persistent"}
PATIENCE = 60  # seconds until a peer that does not answer is killed


class Peer:
    """A running program that executes commands."""

    def __init__(self, program):
        self.name = program.name
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)

    def send(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self):
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        expect(line.startswith("ok"), f"{self.name}: {line.strip() or 'no answer'}")
        return line[3:].strip()

    def __call__(self, command):
        self.send(command)
        return self.answer()

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.process.returncode = os.waitstatus_to_exitcode(status)
            raise Wrong(f"{self.name}: ended with {self.process.returncode}")

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        expect(code == 0, f"{self.name}: ended with {code}")

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Still:
    """While this exists, the program is stopped."""

    def __init__(self, peer):
        self.peer = peer

    def __enter__(self):
        self.peer.stop()

    def __exit__(self, *_):
        self.peer.go_on()


def cell(i, j):
    return (i + 1) << 33 | j


def share(first, second, mechanism, name, same_width):
    """One segment: `first` makes it, `second` opens it, both change it in turn."""
    first(f"create {mechanism} {name} {MECHANISMS[mechanism]}")
    second(f"open {mechanism} {name}")
    expect(first("list") == second("list"), "objects() differ")

    # One grows the vectors, and with them the segment, while the other does nothing.
    with Still(second):
        first("grow 400 20")
        first("set 5")
    second("check 400 20")
    second(f"values 5 {cell(5, 5)}")
    with Still(first):
        second("grow 2000 60")
        second("set 9")
    first("check 2000 60")
    first(f"values 9 {cell(5, 5) + cell(9, 9)}")
    sizes = first("sizes")
    expect(sizes == second("sizes"), "sizes differ")
    expect(int(sizes.split()[0]) > 1 << 20, f"the segment did not grow: {sizes}")
    if mechanism == "posix":
        second(f"view {name} 2000")
    with Still(first):
        second("shrink 300")
    first("check 300 60")
    with Still(second):
        first("grow 900 61")
    second("check 900 61")

    # Queues: one pushes, the other pops, in both directions, across the ends of the rings.
    with Still(second):
        first("push 0 90")
    with Still(first):
        second("pop 0 50")
        second("push 90 60")
    first("pop 50 100")
    with Still(first):
        second("push 150 30")
    with Still(second):
        first("pop 150 30")

    # A process that sleeps in pop is woken by the other, even if it was stopped meanwhile.
    for sleeper, waker, value in (first, second, 4), (second, first, 5):
        sleeper("await")
        with Still(sleeper):
            waker(f"wake {value}")
        expect(sleeper.answer() == str(value), "the sleeper got something else")

    # The layouts that really differ are refused by both, with the member's name.
    check_skewed(first("skewed"), True)
    check_skewed(second("skewed"), same_width)

    # Objects made by one are destroyed by the other.
    with Still(first):
        second("destroy")
    expect(first("list") == second("list"), "objects() differ in the end")
    first("close")
    if MECHANISMS[mechanism] == "persistent":
        second("close")
        expect(second(f"remove {mechanism} {name}") == "removed", "the name was gone")
    else:
        second("sizes")
        second("close")
        expect(second(f"remove {mechanism} {name}") == "absent", "the session outlived its users")


SKEWED = {  # what the message must mention
    "skewed": r"\bvalue\b.*\bf64\b",
    "skewed_deep": r"\binner\b",
    "skewed_word": r"\bword\b.*\bu(32|64)\b.*\bu(32|64)\b",
    "skewed_pair": r"\bsecond\b",
    "skewed_optional": r"optional",
    "skewed_vector": r"\bvalue\b.*\bf64\b",
    "skewed_queue": r"\binner\b",
}


def check_skewed(text, same_width):
    verdicts = [v.strip() for v in text.split("|") if v.strip()]
    expect(len(verdicts) == len(SKEWED), f"verdicts: {text}")
    for (name, message), verdict in zip(SKEWED.items(), verdicts):
        if same_width:
            expect(verdict == f"{name} found", verdict)
        else:
            expect(verdict.startswith(f"{name} refused: ") and re.search(message, verdict), verdict)


def race(first, second, name):
    """Both at the same time on one queue and on the heap."""
    count = 6000
    first(f"create posix {name} session")
    second(f"open posix {name}")
    first("warm_up")
    before = first("sizes").split()[2]
    first.send(f"race 0 {count}")
    second.send(f"race 1 {count}")
    first.answer()
    second.answer()
    expect(int(first("word")) == count * (count + 1), "tickets were lost or duplicated")
    expect(second("end_race") == "800", "two objects of one name")
    expect(second("sizes").split()[2] == before, "blocks were lost")
    second("grow 100 10")
    first("check 100 10")
    first("close")
    second("close")


def reserve(first, second, name, bits):
    """A reserve that does not fit the address space of a 32-bit process is refused, with the remedy."""
    for size in 1 << 30, 5 << 30, (4 << 30) + (1 << 20):
        first(f"reserve {name} {size}")
        answer = second(f"too_large {name}")
        if bits == 64 or size == 1 << 30:
            expect(answer == "opened", answer)
        else:
            expect(f"{size} bytes" in answer and "smaller segment_options::reserve" in answer,
                   answer)
        first(f"remove posix {name}")


def strangers(peer, stranger, name):
    """Programs of different configurations open each other's segments."""
    def run(what, expected):
        done = subprocess.run([stranger, what, name], stdout=subprocess.PIPE, text=True,
                              timeout=PATIENCE)
        expect(expected in done.stdout, f"stranger: {done.stdout}")

    peer(f"create posix {name} persistent")
    run("open", "done with 1 numbers")
    run("open", "done with 2 numbers")
    peer("grow 100 10")
    peer("close")
    expect(peer(f"remove posix {name}") == "removed", "the segment has gone")
    run("create", "done with 1 numbers")
    run("create", "already exists")
    peer.send(f"open posix {name}")
    answer = peer.process.stdout.readline()
    expect("table at 0" in answer, answer)  # opened: but the object that it wants is not there
    run("open", "done with 2 numbers")
    expect(peer(f"remove posix {name}") == "removed", "the stranger's segment has gone")


def types(first, second):
    for one, other in zip(first("types").split(), second("types").split(), strict=True):
        expect(one == other, f"types differ: {one}, {other}")


def root(first, second, name):
    first(f"root create {name}")
    second(f"root open {name}")


def pair(programs, one, other, scratch):
    """All tests of two builds together: a list of the test's name and its failure or None."""
    name = f"cohold-interop-{os.getpid()}-{one}-{other}"
    same_width = COMPILERS[one].bits == COMPILERS[other].bits
    tasks = {"types": lambda a, b: types(a, b),
             "root": lambda a, b: root(a, b, name + ".root"),
             "race": lambda a, b: race(a, b, name + ".race")}
    if COMPILERS[one].bits == 64:
        tasks["reserve"] = lambda a, b: reserve(a, b, name + ".reserve", COMPILERS[other].bits)
    for mechanism in MECHANISMS:
        path = f"{scratch}/{name}" if mechanism == "file" else name
        tasks[mechanism] = lambda a, b, m=mechanism, p=path: share(a, b, m, p, same_width)
    results = []
    for task, run in tasks.items():
        fault = fault_of(run, programs[one], programs[other])
        if fault:
            clean(programs[one], name, scratch)
        results.append((f"{one} and {other}: {task}", fault))
    return results


def fault_of(run, *programs):
    """The failure of the function with a peer of each program, or None."""
    peers = []
    try:
        for program in programs:
            peers.append(Peer(program))
        run(*peers)
        for peer in peers:
            peer.end()
    except (Wrong, OSError, subprocess.TimeoutExpired) as error:
        return error
    finally:
        for peer in peers:
            peer.kill()
    return None


def clean(program, name, scratch):
    """Removes what a failed test has left."""
    for target in ([f"posix {name}{end}" for end in ("", ".root", ".race", ".reserve")]
                   + [f"system_v {name}", f"file {scratch}/{name}"]):
        peer = Peer(program)
        try:
            peer(f"remove {target}")
        except (Wrong, OSError):
            pass
        finally:
            peer.kill()


def main(folder, wanted):
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    compilers = available(wanted, tally)
    sources = ROOT / "test/interop"
    jobs = {name: (folder / f"peer-{name}", name, sources / "peer.cpp") for name in compilers}
    for name in compilers[:1]:
        jobs["stranger"] = (folder / "stranger", name, sources / "stranger.cpp",
                            ["-DCOHOLD_MAX_PARTICIPANTS=128"])
    programs = build_all(jobs, tally)
    stranger = programs.pop("stranger", None)
    with (tempfile.TemporaryDirectory(prefix="cohold-interop-") as scratch,
          concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool):
        pairs = [pool.submit(pair, programs, one, other, scratch)
                 for one in programs for other in programs if one != other or len(programs) == 1]
        for one in programs if stranger else ():
            name = f"cohold-interop-{os.getpid()}-stranger"
            fault = fault_of(lambda peer, n=name: strangers(peer, stranger, n), programs[one])
            if fault:
                clean(programs[one], name, scratch)
            tally.result(f"{one} and another configuration", fault)
        for future in pairs:
            for what, fault in future.result():
                tally.result(what, fault)
    return tally.end()


if __name__ == "__main__":
    if len(sys.argv) < 2 or any(name not in COMPILERS for name in sys.argv[2:]):
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY [{' '.join(COMPILERS)}]...")
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:] or list(COMPILERS)))
