#!/usr/bin/env python3
# Sums up a run of `meson test`: count.py meson-logs/testlog.json prints the logs of failed tests,
# and how many cases passed: doctest and scripts report theirs (in a summary or with a line for
# each); other tests count as one.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import re
import sys

passed = failed = skipped = 0
for line in open(sys.argv[1], encoding="utf-8"):
    test = json.loads(line)
    output = test.get("stdout", "")
    cases = re.findall(r"test cases: *\d+ \| *(\d+) passed \| *(\d+) failed \| *(\d+) skipped", output)
    # doctest's filtered cases are not skipped checks: they were not asked for
    counts = [(int(p), int(f), 0) for p, f, _ in cases[-1:]]
    if not counts:
        lines = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", output, re.MULTILINE)
        counts = [(int(p), int(f), int(s or 0)) for p, f, s in lines[-1:]]
    if not counts and re.search(r"^(ok|FAIL) ", output, re.MULTILINE):
        counts = [tuple(len(re.findall(rf"^{word} ", output, re.MULTILINE))
                        for word in ("ok", "FAIL", "skip"))]
    good = test["result"] in ("OK", "SKIP")
    if test["result"] == "SKIP":
        counts = [(0, 0, 1)]
    elif not counts:
        counts = [(1, 0, 0)] if good else [(0, 1, 0)]
    elif not good and counts[0][1] == 0:
        counts = [(counts[0][0], 1, 0)]  # crashed, or ran out of time
    elif good and counts[0][0] == 0:
        counts = [(0, 1, 0)]
        good = False
        output += "\nno test case ran\n"
    passed, failed, skipped = (a + b for a, b in zip((passed, failed, skipped), counts[0]))
    if not good:
        print(f"--- {test['name']}: {test['result']}\n{output}{test.get('stderr', '')}")
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or not passed else 0)
