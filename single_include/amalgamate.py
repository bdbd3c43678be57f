#!/usr/bin/env python3
# Makes single_include/cohold/cohold.hpp: the umbrella with every header of the library in place of
# its include; beside it inspect.hpp, the same for the second umbrella, with what the first does not
# have; and src.hpp for those who compile the library once. `amalgamate.py` writes the files,
# `amalgamate.py --check` fails if one is out of date.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
OUTPUT = ROOT / "single_include"
UMBRELLAS = ["cohold/cohold.hpp", "cohold/inspect.hpp"]  # each needs those before it
SOURCE = "cohold/src.hpp"  # includes the umbrellas; it is the same here
SPDX = re.compile(r"^(//\n)?(// SPDX-.*\n)+", re.MULTILINE)


def inline(name, reached):
    """The text of a header; a header of cohold that was met before contributes nothing."""
    if name in reached:
        return ""
    reached.add(name)
    text = []
    depth = 0  # of #if; the include guard is the first level
    lines = SPDX.sub("", (INCLUDE / name).read_text(), count=1).splitlines(keepends=True)
    for line in lines:
        depth += bool(re.match(r"\s*#\s*if", line)) - bool(re.match(r"\s*#\s*endif", line))
        include = re.match(r'\s*#\s*include\s*(?:<(cohold/[^>]*)>|("[^"]*"))', line)
        if not include:
            text.append(line)
        elif include[2] or depth != (2 if include[1].endswith(".ipp") else 1):
            sys.exit(f"{name}: {line.strip()}: include <cohold/…> only, and outside of every #if "
                     "(or, an .ipp, in the one that asks whether it is defined here)")
        elif not (INCLUDE / include[1]).exists():
            sys.exit(f"{name}: {line.strip()}: no such header")
        else:
            # The headers of an .ipp stand before the line with #if: others may need them, too.
            text[-1:-1] = [inline(each, reached) for each in headers_of(include[1])]
            text.append(inline(include[1], reached))
    return "".join(text)


def headers_of(name):
    """The headers that an .ipp includes."""
    if not name.endswith(".ipp"):
        return []
    return re.findall(r"#\s*include\s*<(cohold/[^>]*\.hpp)>", (INCLUDE / name).read_text())


def main(check):
    reached = set()
    bodies = {name: inline(name, reached) for name in UMBRELLAS}
    missed = {str(p.relative_to(INCLUDE)) for p in INCLUDE.rglob("*.[hi]pp")} - reached - {SOURCE}
    if missed:
        sys.exit("not reached from an umbrella: " + ", ".join(sorted(missed)))
    licence = "".join(f"// {line}".rstrip() + "\n"
                      for line in (ROOT / "LICENSE").read_text().splitlines())
    version = ".".join(re.findall(r"#define COHOLD_VERSION_\w+ (\d+)", bodies[UMBRELLAS[0]]))
    for number, (name, body) in enumerate(bodies.items()):
        needed = "".join(f"#include <{each}>\n" for each in UMBRELLAS[:number])
        what = "in one file" if number == 0 else f"in one file: <{name}>"
        result = (f"// cohold {version} {what}, made by single_include/amalgamate.py: edit the files "
                  f"in include/ instead.\n//\n{licence}//\n// SPDX-License-Identifier: MIT\n\n"
                  f"{needed}{body}")
        put(OUTPUT / name, result, check)
    put(OUTPUT / SOURCE, (INCLUDE / SOURCE).read_text(), check)


def put(output, text, check):
    if not check:
        output.parent.mkdir(exist_ok=True)
        output.write_text(text)
    elif not output.exists() or output.read_bytes() != text.encode():
        sys.exit(f"{output.relative_to(ROOT)} is out of date: run single_include/amalgamate.py")


main(check=sys.argv[1:] == ["--check"])
