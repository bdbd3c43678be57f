#!/usr/bin/env python3
"""The relay between two network namespaces: nothing is lost, whichever side is killed, and a
consumer that does not come holds up the producer: relay.py PROGRAM PYTHON_PACKAGE"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, sys.argv[2])
import cohold  # pylint: disable=wrong-import-position

SKIPPED = 77  # Meson's
COUNT = 30000


def run(*command):
    subprocess.run(command, check=True, timeout=60)


class Machine:
    """A network namespace, and a segment that only its programs use."""

    def __init__(self, program, folder, name):
        self.program, self.segment, self.running = program, folder / name, {}
        # It stays as long as this process, which the programs of the machine are started beside.
        self.world = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 1000"],
                                      stdout=subprocess.PIPE)
        self.world.stdout.readline()

    def enter(self, *command):
        return ["nsenter", "-t", str(self.world.pid), "-n", *command]

    def start(self, what, *arguments):
        self.running[what] = subprocess.Popen(
            self.enter(self.program, what, str(self.segment), *arguments), stdout=subprocess.PIPE,
            text=True)  # nsenter becomes the program

    def kill(self, what):
        process = self.running.pop(what)
        process.kill()
        process.wait()

    def finish(self, what):
        process = self.running.pop(what)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, (what, process.returncode)
        return output

    def stop(self):
        for what in list(self.running):
            self.kill(what)
        self.world.kill()
        self.world.wait()


def connect(first, second):
    run("ip", "link", "add", "one", "netns", str(first.world.pid), "type", "veth", "peer", "two", "netns",
        str(second.world.pid))
    for machine, device, address in ((first, "one", "10.9.8.1/24"), (second, "two", "10.9.8.2/24")):
        run(*machine.enter("ip", "address", "add", address, "dev", device))
        run(*machine.enter("ip", "link", "set", device, "up"))


def state(machine):
    """Of the queue."""
    try:
        with cohold.open(machine.segment) as segment:
            return segment.state("readings", patience=0.1)
    except (OSError, KeyError, cohold.Damaged, cohold.Unsettled):
        return {"size": -1}  # not there yet


def wait_for(what, machine, **expected):
    end = time.monotonic() + 60
    while not expected.items() <= state(machine).items():
        assert time.monotonic() < end, (what, state(machine))
        time.sleep(0.01)


def check(program, folder):
    noise = random.Random(3)
    with contextlib.ExitStack() as machines:
        here, there = Machine(program, folder, "here"), Machine(program, folder, "there")
        for each in (here, there):
            machines.callback(each.stop)
        connect(here, there)
        here.start("produce", str(COUNT))
        here.start("send", "tcp://10.9.8.2:5555")
        there.start("receive", "tcp://*:5555")

        # Nobody consumes: both queues fill up, and the producer waits, however long it takes.
        full = {"size": 100, "producers wait": True}
        wait_for("receiver", there, **full)
        wait_for("producer", here, **full)
        assert here.running["produce"].poll() is None

        there.start("consume")
        kills = 0
        while here.running["produce"].poll() is None and kills < 12:
            time.sleep(noise.uniform(0.01, 0.1))
            machine, what, address = ((here, "send", "tcp://10.9.8.2:5555"),
                                      (there, "receive", "tcp://*:5555"))[kills % 2]
            machine.kill(what)
            machine.start(what, address)
            kills += 1
            if kills == 6:  # and the cable is pulled
                run(*here.enter("ip", "link", "set", "one", "down"))
                time.sleep(0.1)
                run(*here.enter("ip", "link", "set", "one", "up"))
        assert kills >= 4, kills
        here.finish("produce")
        here.finish("send")
        output = there.finish("consume")
        found = re.fullmatch(r"(\d+) readings, (\d+) of them twice\n", output)
        assert found and int(found[1]) == COUNT, output
        assert int(found[2]) <= 2 * kills, output  # at most one for each kill that cuts in between
        print(f"{kills} kills, {output}", end="")


def main(program):
    inside = os.environ.get("COHOLD_IN_NAMESPACE") == "1"
    if not inside:
        for tool in ("unshare", "nsenter", "ip"):
            if shutil.which(tool) is None:
                print(f"skipped: {tool} is not installed")
                return SKIPPED
        if subprocess.run(["unshare", "-Urn", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            print("skipped: this user may not make namespaces")
            return SKIPPED
        os.environ["COHOLD_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-Urnp", "--fork", "--kill-child", "--mount-proc", sys.executable,
                              *sys.argv])
    with tempfile.TemporaryDirectory() as name:
        check(program, pathlib.Path(name))
    return 0


sys.exit(main(sys.argv[1]))
