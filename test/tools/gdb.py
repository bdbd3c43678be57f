#!/usr/bin/env python3
"""gdb prints containers, locks and segments, of a live process and in its core dump:
gdb.py PROGRAM PRINTERS"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

SKIPPED = 77  # Meson's
NAMES = ["numbers", "people", "wide", "ages", "squares", "primes", "halves", "paths", "seen", "unique",
         "row", "shared", "third", "list", "recent", "guarded", "passed", "locks", "segment", "empty"]
HERE = r"process (\d+) \(this one\)"


def gdb(*commands, program):
    arguments = ["gdb", "--nx", "--quiet", "--batch"]
    for command in ["set confirm off", "set pagination off", "set width 0", "set style enabled off",
                    "set print elements 5000", *commands]:
        arguments += ["-ex", command]
    done = subprocess.run([*arguments, *program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return done.stdout


def printing():
    """Commands that print each variable of main between marks."""
    for name in NAMES:
        yield f"echo <{name}>\\n"
        yield f"print {name}"
    yield "echo <end>\\n"


def printed(output):
    """One dictionary for each time that all were printed."""
    found = []
    for part in re.findall(r"^<numbers>$.*?^<end>$", output, re.DOTALL | re.MULTILINE):
        found.append({name: re.sub(r"^\$\d+ = ", "", value.strip(), flags=re.MULTILINE)
                      for name, value in re.findall(
                          r"^<(\w+)>\n(.*?)(?=^<\w+>$)", part, re.DOTALL | re.MULTILINE)})
    return found


def check_contents(found):
    assert found["numbers"] == "shm_vector of length 5, capacity 8 = {0, 1, 4, 9, 16}", found
    people = found["people"]
    assert 'name = "Ada", path = shm_vector of length 1, capacity 1 = {{x = 1, y = 2}}' in people
    assert '"Blaise, whose name is longer than 22 characters"' in people, people
    assert found["wide"] == 'u"sechzehn"', found
    assert found["ages"] == 'shm_map of 2 elements = {["Ada"] = 36, ["Grace"] = 85}', found
    squares = ", ".join(f"[{i}] = {i * i}" for i in range(40))
    assert found["squares"] == f"shm_multimap of 40 elements = {{{squares}}}", found
    assert found["primes"] == "shm_set of 3 elements = {3, 5, 7}", found
    assert found["halves"].startswith("shm_hash_map of 1000 elements"), found["halves"][:100]
    halves = re.findall(r"\[(\d+)\] = ([\d.]+)", found["halves"])
    assert sorted((int(i), float(x)) for i, x in halves) == [(i, i / 2) for i in range(1000)]
    assert found["paths"] == 'shm_hash_map of 1 element = {["/tmp"] = -1}', found
    assert found["seen"] == "shm_hash_set of 1 element = {9}", found
    assert re.fullmatch(r"\(.*point \*\) 0x[0-9a-f]+", found["unique"]), found
    assert re.fullmatch(r"\(int \*\) 0x[0-9a-f]+", found["row"]), found
    assert re.search(r"point \*\) 0x\w+, referred to from the segment 1 times", found["shared"])
    assert re.fullmatch(r"\(int \*\) 0x[0-9a-f]+", found["third"]), found
    assert found["list"] == 'shm_list of 2 elements = {"one", "two"}', found
    assert found["recent"] == "shm_deque of 3 elements = {297, 298, 299}", found
    locks = found["locks"]
    assert re.search(rf"mine = locked by {HERE}, thread \d+,", locks), locks
    assert re.search(rf"again = locked by {HERE}, thread \d+, 2 times", locks), locks
    assert re.search(rf"read = not locked; read by {HERE}", locks), locks
    assert "free = not locked" in locks and "semaphore = 3 permits" in locks, locks
    assert "event = not set, manual" in locks and "latch = 2 left" in locks, locks
    assert "2 of 2 still to come" in locks and "at most 0 waiting" in locks, locks
    assert found["empty"] == "an empty handle", found
    assert re.match(r'segment "segment" at 0x\w+: size 262144, reserve 262144; '
                    rf"participants: {HERE}", found["segment"]), found["segment"]
    assert re.search(r"numbers = shm_vector<i32>, 32 bytes at 0x\w+", found["segment"]), found
    assert "guarded = shm_guarded<" in found["segment"], found
    assert "value = {x = " in found["guarded"], found


def check_messaging(text, other):
    """What processes pass to each other; `other` is the one that holds some of it, in words."""
    theirs = r"process \d+" + other
    for part in (
            r"small = shm_queue of 3 elements, capacity 10 = \{22, 23, 24\}",
            r"large = shm_queue of 1 element, capacity 2, closed = \{\{_M_elems = \{7, 7, 0",
            r"waited = shm_queue of 0 elements, capacity 2",
            r"corner = shm_latest, version 1 = \{value = \{x = 8, y = 9\}\}",
            r"row = shm_latest, version 1 = \{value = \{_M_elems = \{5, 0 <repeats 19 times>\}\}\}",
            r"news = shm_broadcast, 25 published, capacity 4 = \{21, 22, 23, 24\}",
            r"messages = shm_message_queue of 3 messages, 11 of 1000 bytes = \{"
            rf"\[0, priority 9, held by {theirs}\] = \"high\", "
            r"\[1, priority 9\] = \"gone\", \[2, priority 0\] = \"low\"\}",
            r"pool = shm_pool of 3 objects, 1 available, 1 at the least = \{",
            rf"\[\d\] = held by {theirs}", r"\[\d\] = 1 loan in the segment",
            r"calls = shm_service of 4 places, 1 calls made",
            rf"\[call 0\] = serving, from {theirs}, by {theirs}",
            r"kept = \([^()]*\*\) 0x\w+, 1 loan in the segment"):
        assert re.search(part, text), (part, text)


def dumped_by_kernel(program, segment, folder, which):
    """The core dump of the program, killed while it looks; None if the kernel writes it elsewhere.
    `which` is for coredump_filter."""
    def dump_all():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        pathlib.Path("/proc/self/coredump_filter").write_text(which)

    folder /= which
    folder.mkdir()
    with subprocess.Popen([program, segment, "wait"], cwd=folder, preexec_fn=dump_all,
                          stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"looking\n"
        process.send_signal(signal.SIGABRT)
    segment.unlink()
    return next(folder.iterdir(), None)


def main(program, printers):
    if shutil.which("gdb") is None:
        print("skipped: gdb is not installed")
        return SKIPPED
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        segment, core = folder / "segment", folder / "core"
        program = pathlib.Path(program).resolve()
        load = f"source {printers}"
        # Shared mappings of files, because this segment has a name.
        dump = ["python open('/proc/%d/coredump_filter' % gdb.selected_inferior().pid, 'w')"
                ".write('0x3b')", f"gcore {core}"]
        look = ["up", *printing(), "down", "continue"]
        output = gdb(load, "break -qualified look_here", f"run {segment}", *dump, *look, *look, *look,
                     program=[program])
        if "ptrace: Operation not permitted" in output:
            print("skipped: this process may not trace others")
            return SKIPPED
        found = printed(output)
        assert len(found) == 3, output
        for each in found:
            check_contents(each)
        assert re.search(r"theirs = locked by process \d+, which is alive", found[0]["locks"])
        assert re.search(r"theirs = locked by process \d+, which is dead", found[1]["locks"])
        check_messaging(found[0]["passed"], ", which is alive")
        check_messaging(found[1]["passed"], ", which is dead")
        assert "held by process" not in found[2]["passed"], found[2]["passed"]  # back in the pool
        assert "dead" in found[1]["segment"] and "dead" not in found[2]["segment"], found
        assert "theirs = locked by a process that is dead, and was recovered" in found[2]["locks"]
        assert "exited normally" in output, output

        # The dumps alone: the process and the segment are gone.
        segment.unlink()
        (found,) = printed(gdb(load, "up", *printing(), program=[program, core]))
        check_contents(found)
        assert re.search(r"theirs = locked by process \d+, thread", found["locks"]), found["locks"]
        check_messaging(found["passed"], "")
        core = dumped_by_kernel(program, segment, folder, "0x3b")
        if core is None:
            print("this kernel puts its core dumps elsewhere: only gdb's own was read")
        else:
            (found,) = printed(gdb(load, "frame function main", *printing(),
                                   program=[program, core]))
            check_contents(found)
            check_messaging(found["passed"], "")
            core = dumped_by_kernel(program, segment, folder, "0x33")  # the default: without it
            (found,) = printed(gdb(load, "frame function main", *printing(),
                                   program=[program, core]))
            for name in ("numbers", "list", "recent", "passed"):
                assert "left out of this core dump" in found[name], found
            assert "whose memory is not here" in found["segment"], found

        # Damage does not hang it: sizes and links of all bits.
        output = gdb(load, "set print elements 20", "break -qualified look_here", f"run {segment}", "up",
                     "set var *(unsigned long*)((char*)&numbers + 8) = -1",
                     "set var *(unsigned long*)((char*)&ages + 8) = -1",
                     "set var *(unsigned long*)((char*)&halves + 8) = -1",
                     "set var *(unsigned long*)&people[0].name = -1",
                     "set var *(unsigned long*)((char*)&list + 8) = -1",
                     "set var *(unsigned long*)((char*)&recent + 24) = -1",
                     "set var *(unsigned*)((char*)&passed.small + 16) = -1",
                     "set var *(unsigned long*)&passed.large = -1",
                     "set var *(unsigned long*)((char*)&passed.news + 24) = -1",
                     "set var *(unsigned*)((char*)&passed.messages + 232) = 7",
                     "set var *(unsigned long*)((char*)&passed.pool + 40) = -1",
                     "set var *(unsigned*)((char*)&passed.calls + 20) = -1",
                     *printing(), "kill", program=[program])
        (found,) = printed(output)
        assert found["numbers"].startswith("shm_vector of length 18446744073709551615"), found
        assert "memory" in found["ages"] and "memory" in found["halves"], found
    print("ok")
    return 0


sys.exit(main(*sys.argv[1:]))
