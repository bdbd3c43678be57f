#!/usr/bin/env python3
# Makes single_include/cohold/cohold.hpp: the umbrella with every header of the library in place of
# its include. `amalgamate.py` writes the file, `amalgamate.py --check` fails if it is out of date.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
OUTPUT = ROOT / "single_include/cohold/cohold.hpp"
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
        elif include[2] or depth != 1:
            sys.exit(f"{name}: {line.strip()}: include <cohold/…> only, and outside of every #if")
        elif not (INCLUDE / include[1]).exists():
            sys.exit(f"{name}: {line.strip()}: no such header")
        else:
            text.append(inline(include[1], reached))
    return "".join(text)


def main(check):
    reached = set()
    body = inline("cohold/cohold.hpp", reached)
    missed = {str(p.relative_to(INCLUDE)) for p in INCLUDE.rglob("*.hpp")} - reached
    if missed:
        sys.exit("not reached from cohold/cohold.hpp: " + ", ".join(sorted(missed)))
    licence = "".join(f"// {line}".rstrip() + "\n"
                      for line in (ROOT / "LICENSE").read_text().splitlines())
    version = ".".join(re.findall(r"#define COHOLD_VERSION_\w+ (\d+)", body))
    result = (f"// cohold {version} in one file, made by single_include/amalgamate.py: edit the files "
              f"in include/ instead.\n//\n{licence}//\n// SPDX-License-Identifier: MIT\n\n{body}")
    if not check:
        OUTPUT.parent.mkdir(exist_ok=True)
        OUTPUT.write_text(result)
    elif not OUTPUT.exists() or OUTPUT.read_bytes() != result.encode():
        sys.exit(f"{OUTPUT.relative_to(ROOT)} is out of date: run single_include/amalgamate.py")


main(check=sys.argv[1:] == ["--check"])
