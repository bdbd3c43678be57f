# Builds programs with each available compiler, and prints a line for each check, for test scripts.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import collections
import concurrent.futures
import errno
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wsign-conversion",
            "-Werror"]

Compiler = collections.namedtuple("Compiler", "bits command")
COMPILERS = {
    "gcc": Compiler(64, ["g++", "-O0"]),
    "clang": Compiler(64, ["clang++-19", "-O2", "-DNDEBUG"]),
    "libc++": Compiler(64, ["clang++-19", "-stdlib=libc++", "-O0"]),
    # The kernel headers of a 64-bit system serve both.
    "32-bit": Compiler(32, ["g++", "-m32", "-isystem", "/usr/include/x86_64-linux-gnu", "-O2"]),
}


class Wrong(Exception):
    """The result of a check, with a text for the reader."""


def expect(good, what):
    if not good:
        raise Wrong(what)


class Tally:
    """Prints the result of each check, and in the end the line that test/run.sh reads."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def result(self, what, fault=None):
        print(f"FAIL {what}: {fault}" if fault else f"ok   {what}", flush=True)
        self.failed += bool(fault)
        self.passed += not fault

    def skip(self, what, why):
        print(f"skip {what}: {why}", flush=True)
        self.skipped += 1

    def end(self):
        """The exit status."""
        print(f"{self.passed} passed, {self.failed} failed"
              + (f", {self.skipped} skipped" if self.skipped else ""))
        return 1 if self.failed or not self.passed else 0


def works(compiler):
    """Can it build a program with the standard library, and can that program run? None: not run here,
    by a kernel without 32-bit programs."""
    if shutil.which(compiler.command[0]) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        probe = folder + "/probe"
        run = subprocess.run([*compiler.command, "-x", "c++", "-", "-o", probe],
                             input="#include <vector>\nint main() { return 0; }\n", text=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if run.returncode != 0:
            return False
        try:
            return subprocess.run([probe]).returncode == 0
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                return None
            raise


def available(names, tally):
    """The compilers that work. The others are skipped; in CI (CI=true) they fail, except
    where the kernel cannot run their programs."""
    found = []
    for name in names:
        can = works(COMPILERS[name])
        if can:
            found.append(name)
        elif can is None:
            tally.skip(name, "this kernel runs no such programs")
        elif os.environ.get("CI"):
            tally.result(name, f"{' '.join(COMPILERS[name].command)} does not work")
        else:
            tally.skip(name, f"{' '.join(COMPILERS[name].command)} does not work")
    return found


def build(program, compiler, source, flags=()):
    """Builds a program from one source, unless it is newer than its sources."""
    command = [*COMPILERS[compiler].command, "-std=c++20", *WARNINGS, "-pthread",
               f"-I{ROOT / 'include'}", *flags, str(source), "-o", str(program)]
    stamp = program.with_name(program.name + ".command")
    inputs = [*(ROOT / "include").rglob("*.hpp"), *source.parent.glob("*.[hc]pp")]
    if (program.exists() and stamp.exists() and stamp.read_text() == " ".join(command)
            and program.stat().st_mtime > max(p.stat().st_mtime for p in inputs)):
        return program
    stamp.unlink(missing_ok=True)
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(run.returncode == 0, f"{' '.join(command)}\n{run.stdout}")
    stamp.write_text(" ".join(command))
    return program


def build_all(wanted, tally):
    """Builds {name: arguments of build} side by side; returns {name: program} of those that built."""
    programs = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        building = {name: pool.submit(build, *arguments) for name, arguments in wanted.items()}
        for name, future in building.items():
            try:
                programs[name] = future.result()
                tally.result(f"build {name}")
            except Wrong as fault:
                tally.result(f"build {name}", fault)
    return programs
