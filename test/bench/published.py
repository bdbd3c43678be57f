#!/usr/bin/env python3
"""Are the published results and pictures of the benchmarks as they should be? published.py

Runs a benchmark for a few seconds and publishes what it says; draws the pictures of docs/benchmarks
again, which must come out as they are there. The last line is `N passed, N failed[, N skipped]`."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "test/bench"
PUBLISHED = ROOT / "docs/benchmarks"
SVG = "{http://www.w3.org/2000/svg}"
faults = []
checks = 0


def check(right, text):
    global checks
    checks += 1
    if not right:
        faults.append(text)
        print("FAIL", text)


def load(path):
    spec = importlib.util.spec_from_file_location("publish", path)
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(module)
    return module


def run_one(out):
    """Life cycle, which takes a second and needs one cpu."""
    run = subprocess.run(["sh", "test/bench/run.sh", "lifecycle", "--quick", f"--publish={out}"],
                         cwd=ROOT, env={**os.environ, "BENCH_BOOST": "installed"},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    check(run.returncode == 0, f"the benchmark fails:\n{run.stdout}")
    check("### Life cycle" in run.stdout, f"no table:\n{run.stdout}")
    if run.returncode != 0:
        return
    result = json.loads((out / "lifecycle.json").read_text())
    check(result["quick"] is True and result["versions"]["boost"], f"{result}")
    table, = result["tables"]
    check(table["table"] == "Life cycle" and table["unit"] == "µs" and len(table["rows"]) == 3, f"{table}")
    for row in table["rows"]:
        first, *peers = row["contenders"]
        check(first["name"] == "cohold" and first["ratio"] == [1, 1, 1] and peers, f"{row}")
        for each in row["contenders"]:
            low, middle, high = each["value"]
            check(0 < low <= middle <= high < 1e6, f"{each}")
            check(f"| {row['name']} |" in run.stdout, f"{row['name']} is not in the table")
        for goal in row["goals"]:
            check(goal["met"] == (goal["reached"][1] <= goal["limit"]), f"{goal}")
            check(goal["peer"] in [each["name"] for each in peers], f"{goal}")
    check_picture(out / "life-cycle.svg", ["cohold", "boost managed", "time, µs"])


def check_picture(path, texts):
    text = path.read_text()
    drawn = xml.etree.ElementTree.fromstring(text)
    said = "\n".join("".join(each.itertext()) for each in drawn.iter(f"{SVG}text"))
    for each in texts:
        check(each in said, f"{path.name}: '{each}' is not text in it")
    title = drawn.find(f"{SVG}title")
    check(title is not None and title.text, f"{path.name} has no title")
    check(not re.search(r"20\d\d-\d\d-\d\d|<metadata", text), f"{path.name} has a date")
    known = {light for light, _ in PUBLISH.COLOURS.values()}
    for what, colour in set(re.findall(r"(fill|stroke): (#\w+)", text.split("</style>", 1)[1])):
        check(colour in known and f'[style*="{what}: {colour}"]' in text,
              f"{path.name}: {what} {colour} stays in the dark scheme")
    check(len(text) < 100_000, f"{path.name} has {len(text)} bytes")


def draw_again(out):
    """Twice; where this is the version of Matplotlib that has drawn them, they are also the same."""
    for result in PUBLISHED.glob("*.json"):
        shutil.copy(result, out)
    draw = [sys.executable, str(HERE / "publish.py"), str(out)]
    names = sorted(path.name for path in PUBLISHED.glob("*.svg"))
    subprocess.run(draw, check=True, stdout=subprocess.DEVNULL)
    first = {path.name: path.read_text() for path in out.glob("*.svg")}
    check(sorted(first) == names, f"published are {names}, but drawn {sorted(first)}")
    subprocess.run(draw, check=True, stdout=subprocess.DEVNULL)
    page = (ROOT / "docs/performance.md").read_text()
    for name, text in first.items():
        check((out / name).read_text() == text, f"{name} is different the second time")
        before = (PUBLISHED / name).read_text() if name in names else ""
        drawn_by = re.search(r"<!-- .* -->", text)[0]
        check(text == before or drawn_by not in before,
              f"{name} is out of date: test/bench/publish.py docs/benchmarks")
        check(f"(benchmarks/{name})" in page, f"docs/performance.md does not show {name}")
        check_picture(out / name, ["cohold", "One run"])
    for path in PUBLISHED.iterdir():
        check(path.suffix in (".svg", ".json"), f"what is {path}?")
        if path.suffix == ".json":
            result = json.loads(path.read_text())
            check(result["bench"] == path.stem and all(table["rows"] for table in result["tables"]),
                  f"{path.name} lacks results")
            check(f"(benchmarks/{path.name})" in page, f"docs/performance.md has no link to {path.name}")


try:
    PUBLISH = load(HERE / "publish.py")
except ImportError as error:
    print(f"skipped: needs python3-matplotlib ({error})")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)
with tempfile.TemporaryDirectory(prefix="published-") as directory:
    for name in ("new", "again"):
        (pathlib.Path(directory) / name).mkdir()
    draw_again(pathlib.Path(directory) / "again")
    run_one(pathlib.Path(directory) / "new")
print(f"{checks - len(faults)} passed, {len(faults)} failed")
sys.exit(1 if faults else 0)
