#!/usr/bin/env python3
# Has hosts load plug-ins (RTLD_LOCAL) that the same compiler or the other one built:
#
#     run.py DIRECTORY    programs go to DIRECTORY and are reused by the next run
#
# A compiler that is not installed is skipped, in CI (CI=true) it is a failure. The last line is
# "N passed, N failed[, N skipped]".
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support.builds import ROOT, Tally, available, build_all

HIDDEN = ["-fvisibility=hidden"]
# The host's symbols can replace the plug-in's.
OPEN = ["-fvisibility=default"]


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    wanted = {}
    for compiler in available(["gcc", "clang"], tally):
        for kind, flags in ("hidden", HIDDEN), ("open", OPEN):
            if kind == "open" and compiler != "gcc":
                continue
            wanted[f"{compiler} {kind} host"] = (
                folder / f"host-{compiler}-{kind}", compiler, ROOT / "test/plugin/host.cpp",
                [*flags, *(["-rdynamic"] if kind == "open" else []), "-ldl"])
            wanted[f"{compiler} {kind} plug-in"] = (
                folder / f"plugin-{compiler}-{kind}.so", compiler, ROOT / "test/plugin/plugin.cpp",
                [*flags, "-fPIC", "-shared"])
    programs = build_all(wanted, tally)
    for host in (name for name in programs if name.endswith("host")):
        for plugin in (name for name in programs if name.endswith("plug-in")):
            # g++ makes some visible symbols unique, and such a plug-in is never unloaded.
            unloads = ["unloads"] if "hidden" in plugin else []
            try:
                run = subprocess.run([programs[host], programs[plugin], *unloads], timeout=120,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                good = run.returncode == 0 and re.search(r"^\d+ passed, 0 failed$", run.stdout,
                                                         re.MULTILINE)
                fault = None if good else f"ended with {run.returncode}\n{run.stdout}"
            except subprocess.TimeoutExpired as late:
                fault = late
            tally.result(f"{host} with {plugin}", fault)
    return tally.end()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY")
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
