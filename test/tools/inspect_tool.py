#!/usr/bin/env python3
"""Every command of cohold_inspect, on segments that are used, left, damaged and killed:
inspect_tool.py TOOL WORKER HOLDER"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import os
import pathlib
import pty
import random
import re
import shutil
import subprocess
import sys
import tempfile
import termios
import time

OPTIONS = {"posix": [], "system_v": ["--system-v"], "file": ["--file"], "tmpfs": ["--tmpfs"]}


class Segment:
    """A segment, and the programs that look at it and work in it."""

    def __init__(self, tool, worker, mechanism, name, how="make"):
        self.tool, self.worker, self.mechanism, self.name = tool, worker, mechanism, str(name)
        self.do(how)

    def do(self, what):
        done = subprocess.run([self.worker, self.mechanism, self.name, what], timeout=100)
        assert done.returncode == 0, (what, done)

    def start(self, what):
        process = subprocess.Popen([self.worker, self.mechanism, self.name, what],
                                   stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    def run(self, command, *more, status=0):
        return run(self.tool, command, *OPTIONS[self.mechanism], *more, self.name, status=status)

    def json(self, command, *more, status=0):
        return json.loads(self.run(command, "--json", *more, status=status))


def run(tool, *arguments, status=0, **more):
    done = subprocess.run([tool, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=100, **more)
    assert status is None or done.returncode == status, (arguments, done)
    assert b"\x1b" not in done.stdout + done.stderr, (arguments, done)
    return done.stdout.decode()


def check_commands(segment):
    assert "good" in segment.run("check")
    assert segment.json("check")["good"] is True
    text = segment.run("show")
    for part in ("participants", "objects", "heap", "journals", "answer", "i32",
                 'a "name" \\x1b[31m\\xff\\x0a'):
        assert part in text, (part, text)
    found = segment.json("show")
    assert found["standing"] == "unused" and found["participants"] == [], found
    objects = {each["name"]: each for each in found["objects"]}
    assert objects["answer"]["description"] == "i32" and objects["answer"]["bytes"] == 4, objects
    assert 'a "name" \x1b[31m\xff\n' in objects, objects
    assert found["heap"]["bytes_in_use"] == found["heap"]["used"] > 0, found
    assert len(found["heap"]["map"]) == 64 and found["flaws"] == [], found
    assert segment.json("repair")["outcome"] == "good, nothing to do"

    # A process uses it, and is killed.
    user = segment.start("wait")
    found = segment.json("show")
    assert found["standing"] == "in use", found
    assert [each["pid"] for each in found["participants"]] == [user.pid], found
    assert found["participants"][0]["state"] == "alive" and found["good"], found
    assert [each["records"] for each in found["journals"]] == [0], found
    user.kill()
    user.wait()
    assert "repair" in segment.run("check", status=1)
    found = segment.json("check", status=1)
    assert not found["good"] and found["mendable"] and found["standing"] == "abandoned", found
    assert "died" in segment.run("show", status=1)
    repaired = segment.json("repair")
    assert repaired["outcome"] == "repaired" and repaired["recovered"] == 1, repaired
    segment.run("check")
    segment.do("verify")


def check_watch(segment):
    user = segment.start("work")
    lines = run(segment.tool, "watch", *OPTIONS[segment.mechanism], "--json", "--count", "3",
                segment.name, "0.05")
    user.kill()
    user.wait()
    lines = [json.loads(line) for line in lines.splitlines()]
    assert len(lines) == 3, lines
    for line in lines:
        (one,) = line["segments"]
        assert one["participants"] == 1 and one["size"] >= 65536 and one["objects"] >= 2, line
        assert set(one["changed"]) == {"size", "used", "participants", "objects"}, line
    assert segment.name.rpartition("/")[2] in run(
        segment.tool, "watch", *OPTIONS[segment.mechanism], "--count", "1", segment.name, "0.01")
    segment.run("repair")


def check_kills(segment, rounds):
    """Writers are killed in the middle of their work: the command `repair` mends what they have left."""
    undone = 0
    for number in range(rounds):
        workers = [segment.start("work") for _ in range(3)]
        time.sleep(random.Random(number).uniform(0, 0.02))
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()
        before = segment.json("check", status=1)
        assert before["mendable"], before
        repaired = segment.json("repair")
        assert repaired["outcome"] == "repaired" and repaired["recovered"] >= 1, repaired
        undone += repaired["records"]
        assert segment.json("check")["good"]
        segment.do("verify")
    return undone


def check_states(tool, holder, path):
    """What objects say of themselves, and who has something of them, alive and dead."""
    def look(status):
        found = json.loads(run(tool, "show", "--json", "--file", path, status=status))
        return {each["name"]: each for each in found["objects"]}, found

    subprocess.run([holder, path, "make"], check=True, timeout=100)
    with subprocess.Popen([holder, path, "hold"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            end = time.monotonic() + 60
            objects, found = look(None)
            while "consumers wait" not in objects.get("nothing", {"state": ()})["state"]:
                assert time.monotonic() < end, found
                objects, found = look(None)
        finally:
            process.kill()

    def holders(state):
        return [{"what": what, "count": 1, "slot": found["participants"][0]["slot"],
                 "pid": process.pid, "state": state} for what in ("loans", "calls", "lock")]

    assert objects["nothing"]["state"] == {
        "size": 0, "capacity": 3, "closed": 0, "consumers wait": 1}, objects["nothing"]
    assert objects["small"]["state"] == {"size": 10, "capacity": 50, "closed": 0}, objects["small"]
    assert objects["texts"]["state"]["closed"] == 1, objects["texts"]
    assert objects["news"]["state"] == {"published": 10, "capacity": 64, "closed": 0}, objects["news"]
    assert objects["messages"]["state"] == {"size": 10, "capacity": 4000, "closed": 0}
    assert objects["frames"]["state"] == {
        "objects": 4, "available": 3, "least available": 3, "in the segment": 1}, objects["frames"]
    assert objects["service"]["state"] == {
        "waiting": 1, "serving": 1, "capacity": 3, "calls": 2, "closed": 0}, objects["service"]
    assert objects["numbers"]["state"] == {"size": 1000, "capacity": 1024}, objects["numbers"]
    assert [each for name in ("frames", "service", "lock")
            for each in objects[name]["holders"]] == holders("alive"), objects
    # It is dead, and nobody has recovered what it held.
    objects, found = look(1)
    assert [each for name in ("frames", "service", "lock")
            for each in objects[name]["holders"]] == holders("dead"), objects
    text = run(tool, "show", "--file", path, status=1)
    for part in (f"loans: process {process.pid}, dead", "size 10, capacity 50", "consumers wait"):
        assert part in text, (part, text)
    run(tool, "repair", "--file", path)
    objects, _ = look(0)
    assert objects["frames"]["holders"] == [], objects["frames"]
    # The next one who wants the lock or serves the call takes it from a process that is gone.
    assert objects["lock"]["holders"] == [
        {"what": "lock", "count": 1, "slot": 0, "pid": 0, "state": "dead"}], objects["lock"]
    assert "lock: a process that is gone" in run(tool, "show", "--file", path)
    assert objects["frames"]["state"]["available"] == 3, objects["frames"]  # one is in a queue
    os.unlink(path)


def check_list(tool, worker, folder):
    """Existing objects are listed; the remains of dead sessions are removed."""
    stays = Segment(tool, worker, "file", folder / "stays")
    left = Segment(tool, worker, "file", folder / "left", "session")
    (folder / "other").write_bytes(bytes(100000))
    found = json.loads(run(tool, "list", "--file", str(folder), "--json"))
    standings = {each["name"]: each["standing"] for each in found["objects"]}
    assert standings == {stays.name: "unused", left.name: "session over"}, standings
    found = json.loads(run(tool, "list", "--all", "--file", str(folder), "--json"))
    assert len(found["objects"]) == 3, found
    assert "session over" in run(tool, "list", "--file", str(folder))
    assert "remove --stale" in left.run("repair", status=1)
    watched = json.loads(run(tool, "watch", "--file", "--json", "--count", "1", str(folder),
                             "0.01"))
    assert len(watched["segments"]) == 2, watched

    would = json.loads(run(tool, "remove", "--stale", "--dry-run", "--json", "--file",
                           str(folder)))
    assert [each["name"] for each in would["stale"]] == [left.name], would
    assert (folder / "left").exists()
    assert "removed" in run(tool, "remove", "--stale", "--file", str(folder))
    assert not (folder / "left").exists() and (folder / "stays").exists()
    assert run(tool, "remove", "--stale", "--file", str(folder)) == "nothing is stale\n"
    run(tool, "remove", "--stale", "--posix", "--dry-run", "--json")
    run(tool, "remove", "--stale", "--system-v", "--dry-run", "--json")
    for place in ("--posix", "--system-v"):
        json.loads(subprocess.run([tool, "list", place, "--json"], stdout=subprocess.PIPE,
                                  timeout=100).stdout)


def check_doctor(tool, worker, folder):
    """All is well; then one trouble of each kind, each with a remedy."""
    folder.mkdir()
    def doctor(status):
        found = json.loads(run(tool, "doctor", "--json", "--file", str(folder), status=status))
        return {(each["kind"], each["where"]): each for each in found["troubles"]
                if each["kind"] != "limit" and "as in Docker" not in each["what"]}
    sound = Segment(tool, worker, "file", folder / "sound")
    assert doctor(None) == {}
    left = Segment(tool, worker, "file", folder / "it's left", "session")
    used = Segment(tool, worker, "file", folder / "used")
    user = used.start("wait")
    user.kill()
    user.wait()
    cut = Segment(tool, worker, "file", folder / "cut")
    data = pathlib.Path(cut.name).read_bytes()
    pathlib.Path(cut.name).write_bytes(data[:20160] + bytes(16) + data[20176:])
    other = Segment(tool, worker, "file", folder / "other")
    data = bytearray(pathlib.Path(other.name).read_bytes())
    data[100] ^= 1
    pathlib.Path(other.name).write_bytes(data)
    short = Segment(tool, worker, "file", folder / "short")
    os.truncate(short.name, 5000)
    closed = Segment(tool, worker, "file", folder / "closed")
    os.chmod(closed.name, 0o400)
    os.chmod(sound.name, 0o666)
    folder.chmod(0o777)
    found = doctor(1)
    assert set(found) == {("stale", left.name), ("stale", used.name), ("damaged", cut.name),
                          ("damaged", other.name), ("damaged", short.name),
                          ("permission", closed.name), ("permission", sound.name),
                          ("permission", str(folder))}, found
    assert "only read it" in found["permission", closed.name]["what"], found
    # The remedies work as they are printed.
    for each in (found["stale", left.name], found["stale", used.name],
                 found["permission", str(folder)]):
        subprocess.run(["sh", "-c", each["remedy"].replace("cohold_inspect", f"'{tool}'", 1)],
                       check=True, stdout=subprocess.DEVNULL, timeout=100)
    assert {kind for kind, _ in doctor(1)} == {"damaged", "permission"}
    for each in (("damaged", cut.name), ("damaged", other.name), ("damaged", short.name),
                 ("permission", closed.name), ("permission", sound.name)):
        subprocess.run(["sh", "-c", found[each]["remedy"].rpartition(": ")[2].partition(";")[0]],
                       check=True, timeout=100)
    assert doctor(None) == {}
    shown = run(tool, "doctor", "--file", str(folder), status=None)
    assert "nothing to mend" in shown or "as in Docker" in shown or "limit" in shown, shown
    run(tool, "doctor", "--system-v", status=None)
    run(tool, "doctor", status=None)
    shutil.rmtree(folder)


def check_terminal(segment):
    """On a terminal, watch shows all of it until q is pressed, and leaves it as it was."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen([segment.tool, "watch", *OPTIONS[segment.mechanism], segment.name],
                               stdin=theirs, stdout=theirs,
                               env={**os.environ, "TERM": "xterm", "NO_COLOR": ""})
    seen = b""
    while b"PARTICIPANTS" not in seen:
        seen += os.read(ours, 1000)
    os.write(ours, b"q")
    while b"\x1b[?1049l" not in seen:  # its output has to be read, or it waits
        seen += os.read(ours, 1000)
    assert process.wait(timeout=100) == 0
    assert b"1 segment, " in seen and termios.tcgetattr(theirs) == before
    os.close(theirs)
    os.close(ours)


def check_damage(tool, worker, folder):
    """Nothing in a segment harms the tool, and damage is left as it is."""
    segment = Segment(tool, worker, "file", folder / "damaged")
    path = folder / "damaged"
    sound = path.read_bytes()
    noise = random.Random(7)
    for number in range(40):
        data = bytearray(sound)
        for _ in range(noise.randrange(1, 6)):
            at = noise.choice([0, 4096, 8256, 8600, 15936, 16000, 20160]) + 8 * noise.randrange(64)
            value = noise.choice([0, 2 ** 64 - 1, at, len(sound), noise.getrandbits(64)])
            data[at:at + 8] = value.to_bytes(8, sys.byteorder)
        path.write_bytes(data if number % 8 else data[:noise.randrange(len(data))])
        for command in ("show", "check", "repair"):
            for output in ([], ["--json"]):
                done = subprocess.run([tool, command, "--file", *output, str(path)], timeout=100,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                assert done.returncode in (0, 1, 2), (number, command, done)
                if output:
                    json.loads(done.stdout)
    path.write_bytes(sound[:20160] + bytes(16) + sound[20176:])
    assert "impossible size" in segment.run("check", status=1)
    assert "has not been tried" in segment.run("repair", status=1)
    assert path.read_bytes() == sound[:20160] + bytes(16) + sound[20176:]
    path.write_bytes(b"no segment")
    assert segment.json("check", status=1)["problem"] != ""


def check_colours(segment):
    """Colours on a terminal, unless they are turned off."""
    def on_terminal(**environment):
        ours, theirs = pty.openpty()
        subprocess.run([segment.tool, "check", *OPTIONS[segment.mechanism], segment.name],
                       stdout=theirs, timeout=100, check=True,
                       env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment})
        os.close(theirs)
        output = os.read(ours, 1000)
        os.close(ours)
        return output
    assert b"\x1b[" in on_terminal()
    assert b"\x1b" not in on_terminal(NO_COLOR="1")
    assert b"\x1b" not in on_terminal(TERM="dumb")


def check_usage(tool):
    for wrong in ([], ["nonsense"], ["show"], ["show", "a", "b"], ["remove"], ["list", "x"], ["doctor", "x"],
                  ["show", "--nonsense", "a"], ["check", "--posix", "--file", "a"],
                  ["watch", "--count"], ["watch", "--count", "x"], ["watch", "a", "b", "c"],
                  ["watch", "cohold-there-is-none", "1"],
                  ["check", "cohold-there-is-none"], ["repair", "cohold-there-is-none"],
                  ["show", "--file", "/nowhere/at/all"], ["list", "--file", "/nowhere/at/all"],
                  ["show", "--json", "--system-v", "cohold-there-is-none"]):
        run(tool, *wrong, status=2)
    assert "exit status" in run(tool, "--help")
    assert re.fullmatch(r"cohold_inspect \d+\.\d+\.\d+, layout version \d+\n", run(tool, "--version"))


def main(tool, worker, holder):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = pathlib.Path(name)
        own = f"cohold-test-tool-{os.getpid()}"
        check_usage(tool)
        undone = 0
        for mechanism, place in (("posix", own), ("system_v", own), ("file", folder / "one"),
                                 ("tmpfs", folder / "two")):
            segment = Segment(tool, worker, mechanism, place)
            try:
                check_commands(segment)
                check_watch(segment)
                undone += check_kills(segment, 5)
                if mechanism == "posix":
                    check_colours(segment)
                    check_terminal(segment)
            finally:
                segment.do("remove")
        assert undone > 0, "nobody was killed in the middle of anything"
        check_states(tool, holder, str(folder / "states"))
        check_doctor(tool, worker, folder / "doctor")
        check_damage(tool, worker, folder)
        (folder / "damaged").unlink()
        check_list(tool, worker, folder)
    print("ok")


main(*sys.argv[1:])
