#!/usr/bin/env python3
"""The main job counts what wc(1) counts, on every mechanism and whatever the file contains, and leaves
nothing behind, even when it fails or is interrupted: main_job.py RUN.SH PROGRAMS"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

MECHANISMS = ["posix", "system_v", "file", "tmpfs", "anonymous", "memfd"]
PIECE = 254  # bytes; a longer line takes several pieces


def files(folder):
    """Files that are hard to count."""
    noise = random.Random(1)
    contents = {
        "empty": b"",
        "newline": b"\n",
        "no-newline-at-end": b"one\ntwo three",
        "zeros": bytes(1000),
        "binary": noise.randbytes(300000),
        "white": b" \t\v\f\r \n  x\f y\r\n",
        "not-ascii": "\u00fcber \u4e2d\u6587\n".encode() * 100,
        "full-pieces": b"".join(b"x" * (n * PIECE + extra) + b"\n"
                                for n in (1, 2, 3) for extra in (-1, 0, 1)),
        "long-line": b"word " * 200000 + b"\nshort\n",
    }
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        yield path


class Job:
    def __init__(self, script, programs, folder):
        self.script, self.programs = script, programs
        self.scratch = folder / "scratch"  # where the script makes its temporary files
        self.scratch.mkdir(exist_ok=True)

    def with_programs(self, programs):
        return Job(self.script, str(programs), self.scratch.parent)

    def start(self, *arguments):
        environment = dict(os.environ, PROGRAMS=self.programs, TMPDIR=str(self.scratch))
        return subprocess.Popen(["sh", self.script, *arguments], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                start_new_session=True)

    def segments(self, process):
        """The script's objects in the places for segments."""
        found = [str(p) for p in pathlib.Path("/dev/shm").glob(f"cohold-example*-{process.pid}")]
        found += [str(p) for p in self.scratch.rglob("*")]
        with open("/proc/sysvipc/shm") as table:
            rows = [line.split() for line in table][1:]
        ours = members(process.pid)
        return found + ["System V " + row[1] for row in rows if int(row[4]) in ours]

    def run(self, *arguments):
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=120)
        left = self.segments(process)
        assert not left, left
        return process.returncode, output


def members(session):
    """The processes of a session."""
    found = set()
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def wait_until(condition, what):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain until " + what)


def check_interrupted(job, mechanism, endless, how):
    """Interrupted in the middle: its status says so, and everything is gone."""
    process = job.start("--mechanism", mechanism, str(endless))
    wait_until(lambda: len(members(process.pid)) >= 3, "the programs run")
    if mechanism not in ("anonymous", "memfd"):
        wait_until(lambda: job.segments(process), "there is a segment")
    ours = members(process.pid)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # like Ctrl-C
    else:
        process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + how, (process.returncode, output)
    wait_until(lambda: not members(process.pid), "the programs have ended")
    left = job.segments(process)
    with open("/proc/sysvipc/shm") as table:
        left += [line for line in list(table)[1:] if int(line.split()[4]) in ours]
    assert not left, left


def main(script, programs):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        job = Job(script, programs, folder)
        status, output = job.run("--all")
        assert status == 0 and output.count("wc agrees") == 6, output
        for mechanism in MECHANISMS:
            status, output = job.run("--mechanism", mechanism)
            assert status == 0 and output.count("wc agrees") == 1, output

        for number, path in enumerate(files(folder)):
            mechanism = MECHANISMS[number % len(MECHANISMS)]
            status, output = job.run("--mechanism", mechanism, str(path))
            assert status == 0 and "wc agrees" in output, (path, output)

        status, output = job.run(str(folder / "binary"), "--mechanism=memfd")
        assert status == 0 and "wc agrees" in output, output
        for wrong in (["--mechanism", "pigeon"], ["--mechanism"], ["--mechanism="], ["--nonsense"], [str(folder)],
                      [str(folder / "missing")], ["a", "b"]):
            status, output = job.run(*wrong)
            assert status == 2, (wrong, status, output)

        # A program that fails, or miscounts, is noticed.
        broken = folder / "programs"
        broken.mkdir()
        for program in ("producer", "consumer", "report", "forked"):
            (broken / program).symlink_to(pathlib.Path(programs) / program)
        for program, mechanism in (("producer", "posix"), ("consumer", "file"),
                                   ("forked", "memfd")):
            (broken / program).unlink()
            (broken / program).symlink_to("/bin/false")
            failing = job.with_programs(broken)
            status, output = failing.run("--mechanism", mechanism)
            assert status == 1 and "wc agrees" not in output, output
            (broken / program).unlink()
            (broken / program).symlink_to(pathlib.Path(programs) / program)
        failing = job.with_programs(broken)
        (broken / "report").unlink()
        (broken / "report").write_text(f"""#!/bin/sh
            "{programs}/report" "$@" | sed 's/total   /total  1/'""")
        (broken / "report").chmod(0o700)
        status, output = failing.run()
        assert status == 1 and "NOT agree" in output, output

        endless = folder / "endless"
        with open(endless, "wb") as file:
            file.truncate(1 << 40)  # all holes
        for mechanism in MECHANISMS:
            check_interrupted(job, mechanism, endless, signal.SIGTERM)
        check_interrupted(job, "posix", endless, signal.SIGINT)
        check_interrupted(job, "memfd", endless, signal.SIGINT)
    print("ok")


main(*sys.argv[1:])
