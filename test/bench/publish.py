#!/usr/bin/env python3
"""Publishes results of benchmarks: publish.py DIRECTORY [--quick] [--boost=VERSION]
[--compiler=TEXT] [NAME=FILE…]

FILE has the lines that the benchmark NAME wrote with --json. Each becomes DIRECTORY/NAME.json, which also
says with what it was measured; then the pictures of all results in DIRECTORY are drawn. Without a
NAME, only that: `publish.py docs/benchmarks` after a change of this program.

The same results make the same pictures, byte for byte, with the same version of Matplotlib. Their text
is text, and their colours follow the reader's scheme, light or dark."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import math
import os
import pathlib
import platform
import re
import subprocess
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot, ticker  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
# By name: the colour in the light scheme, and in the dark one. No two of a column are the same.
COLOURS = {
    "paper": ("#ffffff", "#0d1117"), "ink": ("#1f2328", "#e6edf3"), "soft": ("#57606a", "#9198a1"),
    "grid": ("#d8dee4", "#30363d"), "cohold": ("#0a58ca", "#58a6ff"), "orange": ("#bc4c00", "#f0883e"),
    "green": ("#1a7f37", "#3fb950"), "purple": ("#8250df", "#bc8cff"), "pink": ("#bf3989", "#f778ba"),
    "yellow": ("#9a6700", "#d29922"), "teal": ("#0e7a87", "#39c5cf"), "grey": ("#6e7781", "#8b949e"),
    "red": ("#cf222e", "#f85149"), "amber": ("#e3b341", "#bb8009"), "brown": ("#7d4e57", "#c9a0a8"),
}
LIGHT = {name: pair[0] for name, pair in COLOURS.items()}
OTHERS = ["orange", "green", "purple", "pink", "yellow", "teal", "grey", "red", "brown"]
MARKERS = ["s", "^", "D", "v", "P", "X", "<", ">", "p"]
FONTS = '"DejaVu Sans", Verdana, sans-serif'
CAPTION = "One run on a shared machine: only the ratios of contenders count, which took turns."
INCHES = 780 / 96  # the width of a picture
LINE = 0.19  # inches, of a row of text

matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "cohold", "font.family": "DejaVu Sans", "font.size": 9,
    "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["ink"], "axes.edgecolor": LIGHT["soft"],
    "xtick.color": LIGHT["soft"], "ytick.color": LIGHT["soft"], "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"], "figure.facecolor": LIGHT["paper"],
    "axes.facecolor": LIGHT["paper"], "savefig.facecolor": LIGHT["paper"],
    "grid.color": LIGHT["grid"], "axes.grid": True, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "grid.linewidth": 0.6,
})


# ---- the results

def version_of_package(name):
    found = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True, check=False)
    if found.returncode != 0:
        return ""
    snapshot = re.search(r"\+(git\d+)", found.stdout)  # of what has no releases
    return snapshot[1] if snapshot else re.split(r"[-+]", found.stdout.split(":")[-1])[0]


def versions(boost):
    """Of what the names of contenders begin with; a contender without one is part of this tree."""
    linux = "Linux " + ".".join(platform.release().split(".")[:2])
    libraries = {"boost": boost, "atomic_queue": version_of_package("libatomic-queue-dev"),
                 "readerwriterqueue": version_of_package("libreaderwriterqueue-dev"),
                 "concurrentqueue": version_of_package("libconcurrentqueue-dev"),
                 "ZeroMQ": version_of_package("libzmq3-dev"),
                 "absl": version_of_package("libabsl-dev"), "pthread": "glibc " + platform.libc_ver()[1]}
    kernel = {name: linux for name in ("pipe", "POSIX mq", "unix socket", "raw futex")}
    project = re.search(r"version: '([^']*)'", (ROOT / "meson.build").read_text())[1]
    return {"cohold": project, **{name: each for name, each in libraries.items() if each}, **kernel}


def store(out, name, lines, quick, boost, compiler):
    tables = [json.loads(line) for line in lines.read_text().splitlines()]
    if not tables:
        raise SystemExit(f"publish.py: {name} has written no results")
    result = {"bench": name, "quick": quick, "compiler": compiler,
              "machine": f"{platform.machine()}, {os.cpu_count()} cpus", "versions": versions(boost)}
    # A row is a line, so that one sees in a diff what has changed.
    text = json.dumps(result, ensure_ascii=False, indent=1).removesuffix("\n}") + ',\n "tables": ['
    for i, table in enumerate(tables):
        rows = table.pop("rows")
        text += ("," if i else "") + "\n  " + json.dumps(table, ensure_ascii=False)[:-1] + ', "rows": [\n   '
        text += ",\n   ".join(json.dumps(row, ensure_ascii=False) for row in rows) + "]}"
    (out / f"{name}.json").write_text(text + "]\n}\n")


def table_of(result, title):
    for table in result["tables"]:
        if table["table"] == title:
            return table
    return None


def named(result, contender):
    """The contender with the version of what it is part of."""
    for name, version in result["versions"].items():
        if contender.startswith(name):
            own, *more = re.split(r"(?=, in | \()", contender, maxsplit=1)
            return own + (", " if "Linux" in version else " ") + version + "".join(more)
    return contender


def figure(value):
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f}".replace(",", "\u202f")


# ---- the pictures

class Picture:
    """A figure with a title, a line below it, and the caption; drawn into the space between."""

    def __init__(self, title, below, height, panels=1, heights=None, left=0.0, right=0.0, top=0.8,
                 caption=CAPTION):
        self.title = title
        self.figure, axes = pyplot.subplots(
            panels, 1, figsize=(INCHES, height), squeeze=False,
            gridspec_kw={"height_ratios": heights or [1] * panels})
        self.axes = [row[0] for row in axes]
        self.height = height
        self.figure.text(0.12 / INCHES, 1 - 0.24 / height, title, fontsize=11, fontweight="bold",
                         va="center")
        self.figure.text(0.12 / INCHES, 1 - 0.46 / height, below, color=LIGHT["soft"], va="center")
        self.figure.text(0.12 / INCHES, 0.14 / height, caption, color=LIGHT["soft"], va="center",
                         fontsize=8)
        self.left, self.right, self.top = left / INCHES, 1 - right / INCHES, 1 - top / height

    def save(self, path):
        gap = 0.95 / (self.height / max(len(self.axes), 1))
        self.figure.subplots_adjust(left=self.left, right=self.right, top=self.top,
                                    bottom=0.75 / self.height, hspace=gap)
        self.figure.savefig(path, metadata={"Date": None, "Creator": None})
        pyplot.close(self.figure)
        path.write_text(finished(path.read_text(), self.title))


def finished(svg, title):
    """With a title, without what says nothing, and with colours for the dark scheme."""
    svg = re.sub(r" *<metadata>.*?</metadata>\n", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n? *", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<!DOCTYPE.*?>\n', "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([^;\"]*?)(\d+(?:\.\d+)?px)[^;\"]*", lambda m: f"font: {m[1]}{m[2]} FONTS", svg)
    svg = svg.replace("FONTS", FONTS.replace('"', "'"))
    svg = "\n".join(line.rstrip() for line in svg.split("\n"))
    dark = "".join(
        f'    [style*="{what}: {light}"] {{ {what}: {other} !important; }}\n'
        for light, other in COLOURS.values() for what in ("fill", "stroke")
        if f"{what}: {light}" in svg)
    head = (f' role="img">\n <!-- drawn by Matplotlib {matplotlib.__version__} -->\n'
            f" <title>{title}</title>\n <style>\n"
            f"   @media (prefers-color-scheme: dark) {{\n{dark}   }}\n </style>\n")
    return re.sub(r"(<svg [^>]*)>\n", lambda found: found[1] + head, svg, count=1)


def without_overlaps(places, distance):
    """Moves sorted places apart, each as little as possible; returns them."""
    places = list(places)
    for _ in range(500):
        moved = False
        for i in range(len(places) - 1):
            lack = distance - (places[i + 1] - places[i])
            if lack > 1e-6:
                places[i] -= lack / 2
                places[i + 1] += lack / 2
                moved = True
        if not moved:
            break
    return places


def lines(result, title, rows, heading, below, x_label, y_label, path):
    """Throughput by payload, on two logarithmic axes; names beside the ends of the lines."""
    picture = Picture(heading, below, 4.6, left=0.75, right=2.5)
    axes = picture.axes[0]
    found = {}
    for size, row in rows:
        for contender in row["contenders"]:
            if contender["value"] is not None:
                found.setdefault(contender["name"], []).append((size, *contender["value"]))
    ends = []
    for name, points in found.items():
        mine = name == "cohold"
        colour = LIGHT["cohold" if name.startswith("cohold") else OTHERS[len(ends) % len(OTHERS)]]
        x, low, middle, high = zip(*points)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, middle, color=colour, linewidth=2.4 if mine else 1.3, markersize=6 if mine else 4.5,
                  linestyle="-" if mine or not name.startswith("cohold") else (0, (4, 2)),
                  marker="o" if name.startswith("cohold") else MARKERS[len(ends) % len(MARKERS)],
                  zorder=3 if mine else 2)
        ends.append((math.log10(middle[-1]), x[-1], middle[-1], name, colour))
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    sizes = [size for size, _ in rows]
    axes.set_xticks(sizes, [f"{size} B" if size < 1024 else f"{size // 1024} KiB" for size in sizes])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    low, high = (math.log10(each) for each in axes.get_ylim())
    inches = picture.height - 0.8 - 0.75
    ends.sort()
    places = without_overlaps([end[0] for end in ends], LINE * (high - low) / inches)
    over = max(0.0, places[-1] - high, low - places[0])
    last = max(sizes)
    for place, (_, x, y, name, colour) in zip(places, ends):
        axes.annotate(named(result, name), (x, y), (last * 1.25, 10 ** place), color=colour,
                      va="center", annotation_clip=False,
                      fontweight="bold" if name == "cohold" else "normal",
                      arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1,
                                  "shrinkB": 3, "relpos": (0, 0.5)})
    if over:
        axes.set_ylim(10 ** (low - over), 10 ** (high + over))
    picture.save(path)


def dots(result, panels, heading, below, unit, path):
    """A panel for each row: medians and quartiles on a logarithmic axis, the fastest on top."""
    heights = [len(row["contenders"]) for row in panels]
    picture = Picture(heading, below, 1.55 + 1.3 * LINE * sum(heights) + 0.62 * (len(panels) - 1),
                      len(panels), heights, left=2.35, right=0.75)
    all_values = [value for row in panels for each in row["contenders"]
                  for value in each["value"] or []]
    for axes, row in zip(picture.axes, panels):
        contenders = sorted((each for each in row["contenders"] if each["value"] is not None),
                            key=lambda each: -each["value"][1])
        for y, contender in enumerate(contenders):
            low, middle, high = contender["value"]
            mine = contender["name"] == "cohold"
            colour = LIGHT["cohold" if mine else "grey"]
            axes.plot([low, high], [y, y], color=colour, linewidth=3.5, alpha=0.45, solid_capstyle="butt")
            axes.plot([middle], [y], color=colour, marker="o" if mine else "s", markersize=7 if mine else 5)
            axes.annotate(figure(middle), (high, y), (7, 0), textcoords="offset points",
                          va="center", fontsize=8)
        axes.set_yticks(range(len(contenders)), [named(result, each["name"]) for each in contenders])
        for name, contender in zip(axes.get_yticklabels(), contenders):
            if contender["name"] == "cohold":
                name.set(color=LIGHT["cohold"], fontweight="bold")
        axes.set(xscale="log", xlim=(min(all_values) / 1.5, max(all_values) * 2.2),
                 ylim=(-0.6, len(contenders) - 0.4))
        name = row["name"] + cores(row)
        axes.set_title(re.sub(r"two cpus \(cpus (.*)\)$", r"two cpus \1", name), loc="left", fontsize=9, pad=4)
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: figure_of_axis(x)))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    picture.axes[-1].set_xlabel(unit)
    picture.save(path)


def figure_of_axis(value):
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 1 else f"{value:g}"


CORES = {"SMT": "threads of one core", "CCX": "cpus that share a cache",
         "CCD": "cpus with caches of their own", "far": "cpus far apart"}


def cores(row):
    return f" ({CORES[row['cores']]})" if row.get("cores") else ""


def throughput(result, title, heading, path):
    table = table_of(result, title)
    if table is None:
        return False
    rows = []
    for row in table["rows"]:
        size = re.fullmatch(r"(\d+) (B|KiB)", row["name"])
        if size:
            rows.append((int(size[1]) * (1024 if size[2] == "KiB" else 1), row))
    if not rows:
        return False
    where = cores(rows[0][1]).strip(" ()") or "cpus"
    below = ("Medians and quartiles; higher is better. Two processes, or threads where it says so, "
             f"on two {where}.")
    lines(result, title, rows, heading, below, "size of an element or message, bytes",
          "million a second", path)
    return True


def queues(result, path):
    return throughput(result, "Queue, one producer and one consumer",
                      "Elements through a queue, one producer and one consumer", path)


def messages(result, path):
    return throughput(result, "Messages of any size", "Messages of any size, copied in and out", path)


def panels_of(result, title, heading, below, unit, path):
    table = table_of(result, title)
    if table is None:
        return False
    rows = [row for row in table["rows"] if len(row["contenders"]) > 1]
    dots(result, rows, heading, below, unit, path)
    return True


def round_trips(result, path):
    return panels_of(result, "Round trip through two queues", "Latency: there and back through two queues",
                     "Medians and quartiles; lower is better. 8 bytes, two processes.",
                     "time of a round trip, ns", path)


def life_cycle(result, path):
    return panels_of(result, "Life cycle", "Latency: making and opening a segment",
                     "Medians and quartiles; lower is better.", "time, µs", path)


OUTCOMES = [("unharmed", "went on", "green"), ("damaged", "went on, found damage", "amber"),
            ("hung", "hung", "red"), ("crashed", "crashed", "purple")]


def kills(result, path):
    tables = [table for table in result["tables"] if table["table"].startswith("What a kill does")]
    if not tables:
        return False
    heights = [len(table["rows"]) for table in tables]
    rounds = sum(tables[0]["rows"][0][outcome] for outcome, _, _ in OUTCOMES)
    picture = Picture("Kills survived: a process is killed while it uses a structure; can another one go on?",
                      f"{rounds} kills each, at random moments. Where a lock alone protects data, they may be "
                      "half written: the next owner is told.",
                      2.05 + 1.12 * LINE * sum(heights) + 0.5 * (len(tables) - 1), len(tables), heights,
                      left=3.55, right=0.95, top=1.1,
                      caption="One run: another one kills at other moments, and counts a little differently.")
    names = {"cohold": "cohold", "Boost": "boost", "pthread and hand-written": "pthread"}
    for axes, table in zip(picture.axes, tables):
        rows = table["rows"][::-1]
        for y, row in enumerate(rows):
            begin = 0
            for outcome, _, colour in OUTCOMES:
                share = 100 * row[outcome] / rounds
                if share:
                    axes.barh(y, share, left=begin, height=0.72, color=LIGHT[colour],
                              edgecolor=LIGHT["paper"], linewidth=0.5)
                begin += share
            went_on = row["unharmed"] + row["damaged"]
            axes.annotate(f"{went_on} of {rounds}", (100, y), (4, 0), textcoords="offset points",
                          va="center", fontsize=8, annotation_clip=False)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
        axes.set(xlim=(0, 100), ylim=(-0.5, len(rows) - 0.5))
        who = table["table"].split(": ", 1)[1]
        version = result["versions"].get(names.get(who, ""), "")
        axes.set_title(f"{who} {version}" if who != "pthread and hand-written" else
                       f"pthread ({version}) and hand-written", loc="left", fontsize=9,
                       fontweight="bold", pad=4, color=LIGHT["cohold" if who == "cohold" else "ink"])
        axes.xaxis.set_major_formatter(ticker.PercentFormatter())
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    picture.axes[-1].set_xlabel("survivors; beside the bars: how many went on")
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=LIGHT[colour]) for _, _, colour in OUTCOMES]
    picture.figure.legend(handles, [text for _, text, _ in OUTCOMES], ncols=4, frameon=False,
                          loc="center left", fontsize=8, handlelength=1,
                          bbox_to_anchor=(0.02 / INCHES, 1 - 0.72 / picture.height),
                          bbox_transform=picture.figure.transFigure)
    picture.save(path)
    return True


WAYS = {"headers": "cohold, in headers", "compiled": "cohold, in a compiled library"}


def compile_time(result, path):
    table = table_of(result, "Compile time and code, one unit, -O2")
    if table is None:
        return False
    groups = {}
    for row in table["rows"]:
        bars = groups.setdefault(row["name"].replace("`", ""), {})
        for contender in row["contenders"]:
            way = {"the same, by headers": "headers", "cohold": row["way"]}.get(contender["name"])
            bars.setdefault(WAYS.get(way, contender["name"]), contender)
    groups = {name: bars for name, bars in groups.items() if len(bars) > 1}
    heights = [len(bars) for bars in groups.values()]
    picture = Picture("Compile time of one unit",
                      f"{result['compiler']}, -O2; lower is better. Beside the bars: seconds, and kB of code.",
                      1.7 + 1.2 * LINE * sum(heights) + 0.62 * (len(groups) - 1), len(groups), heights,
                      left=2.75, right=0.95)
    longest = max(each["value"][1] for bars in groups.values() for each in bars.values())
    for axes, (name, bars) in zip(picture.axes, groups.items()):
        first = list(WAYS.values())
        order = sorted(bars.items(), key=lambda bar: -first.index(bar[0]) if bar[0] in first else -9)
        for y, (label, contender) in enumerate(order):
            value = contender["value"][1]
            axes.barh(y, value, height=0.7,
                      color=LIGHT["cohold" if label.startswith("cohold") else "grey"],
                      alpha=0.6 if label == WAYS["compiled"] else 1)
            size = contender["bytes of code"]
            axes.annotate(f"{value:.2f} s" + (f", {size / 1000:.1f} kB" if size else ""), (value, y), (4, 0),
                          textcoords="offset points", va="center", fontsize=8, annotation_clip=False)
        axes.set_yticks(range(len(order)), [wrapped(named(result, label)) for label, _ in order], fontsize=8)
        axes.set(xlim=(0, longest * 1.05), ylim=(-0.55, len(order) - 0.45))
        axes.set_title(name, loc="left", fontsize=9, pad=4)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    picture.axes[-1].set_xlabel("processor time, s")
    picture.save(path)
    return True


def wrapped(label):
    return label.replace(" managed_shared_memory, vector,", " managed_shared_memory,\nvector,").replace(
        "`", "")


# Of which results which picture is drawn. A run without the table, as on one cpu, makes none.
PICTURES = [("queue-throughput", "queue", queues), ("message-throughput", "family", messages),
            ("round-trip", "queue", round_trips), ("life-cycle", "lifecycle", life_cycle),
            ("kills", "kills", kills), ("compile-time", "compile", compile_time)]


def main():
    options = [each for each in sys.argv[1:] if each.startswith("--")]
    out, *new = [each for each in sys.argv[1:] if not each.startswith("--")]
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    given = dict(option.removeprefix("--").partition("=")[::2] for option in options)
    for each in new:
        name, _, file = each.partition("=")
        store(out, name, pathlib.Path(file), "quick" in given, given.get("boost", ""),
              given.get("compiler", ""))
    for name, bench, draw in PICTURES:
        source = out / f"{bench}.json"
        path = out / f"{name}.svg"
        if source.exists() and draw(json.loads(source.read_text()), path):
            print(path)


if __name__ == "__main__":
    main()
