#!/usr/bin/env python3
"""The tables in docs/ say what the headers say: docs.py COMBINATIONS

COMBINATIONS prints which naming fits which mechanism. (That code in pages is code of the examples, and
that links lead somewhere, is checked by tree.py.)"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def header(name):
    return (ROOT / "include/cohold" / name).read_text()


def rows(page, first_cell, cells):
    """The first cells of those table rows in a page whose first cell matches the pattern."""
    found = []
    for line in (ROOT / "docs" / page).read_text().splitlines():
        row = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and re.fullmatch(first_cell, row[0]):
            found.append(tuple(row[:cells]))
    return found


def equal(what, page, code):
    if page == code:
        return []
    return [f"{what}: the page has {sorted(set(page) - set(code))}, the code "
            f"{sorted(set(code) - set(page))}, or the order differs"]


def check_errors():
    body = re.search(r"enum class errc : int \{(.*?)\}", header("error.hpp"), re.DOTALL)[1]
    listed = re.findall(r"(\w+)(?: = 1)?,", body)
    conditions = dict(re.findall(r"\{errc::(\w+), std::errc::(\w+),", header("error.hpp")))
    code = [(f"`{name}`", f"`{conditions[name]}`") for name in listed]
    return equal("errors.md", rows("errors.md", r"`(?!errc)\w+`", 2), code)


def check_header():
    """Offsets of the header, as layout.hpp asserts them."""
    code = re.findall(r"offsetof\(segment_header, (\w+)\) == (\d+)", header("engine/header.hpp"))
    heap = ["row_map", "column_maps", "used", "first", "end", "heads", "log_size", "log",
            "slabs"]
    page = [(row[2].strip("`"), row[0]) for row in rows("layout.md", r"\d+", 3)
            if len(row) == 3 and row[2].startswith("`") and row[2].strip("`") not in heap]
    return equal("layout.md", page, [("magic", "0"), *code])


def check_macros():
    public = {name for file in ("config.hpp", "version.hpp")
              for name in re.findall(r"^ *# *define (COHOLD_\w+)", header(file), re.MULTILINE)}
    public -= {"COHOLD_ABI_NAME", "COHOLD_ABI_PREFIX", "COHOLD_DEFINED_HERE", "COHOLD_INLINE", "COHOLD_CONCAT", "COHOLD_CONCAT_EXPANDED", "COHOLD_CONFIG_HPP",
               "COHOLD_LIFETIMEBOUND", "COHOLD_TEXT", "COHOLD_TEXT_EXPANDED", "COHOLD_VERSION_HPP"}
    public |= {"COHOLD_SEPARATE_COMPILATION"}  # which users define, or not
    page = set(re.findall(r"`(COHOLD_\w+)`", (ROOT / "docs/configuration.md").read_text()))
    return equal("configuration.md", sorted(page), sorted(public))


def check_defaults():
    text = header("config.hpp") + header("version.hpp")
    for name, default in [row for row in rows("configuration.md", r"`COHOLD_\w+`", 2)
                          if re.match(r"\d", row[1])]:
        found = re.findall(rf"#define {name.strip('`')} (\w+)", text)
        if sorted(found) != sorted(re.findall(r"\d+", default)):
            yield f"configuration.md: the default of {name} is {found}, not {default}"


def check_options():
    code = re.findall(r"^option\('(\w+)', type: '\w+', value: '?(\w+)'?",
                      (ROOT / "meson_options.txt").read_text(), re.MULTILINE)
    page = [(row[0].strip("`"), row[1].strip("`"))
            for row in rows("configuration.md", r"`[a-z]\w+`", 2)]
    return equal("configuration.md", page, code)


def check_combinations():
    printed = subprocess.run([sys.argv[1]], stdout=subprocess.PIPE, text=True, check=True,
                             timeout=60).stdout
    if f"\n\n{printed}\n" not in (ROOT / "docs/policies.md").read_text():
        yield "policies.md: the table of mechanisms and namings should be\n" + printed


def check_requirements():
    """Every expression of the policies' own tables, in their headers, is in policies.md."""
    page = (ROOT / "docs/policies.md").read_text()
    for name in ("mechanism", "naming", "permission"):
        for expression in re.findall(r"^/// \| `(\w)::(\w+)", header(f"policy/{name}.hpp"),
                                     re.MULTILINE):
            if "`" + "::".join(expression) not in page:
                yield f"policies.md: {'::'.join(expression)} is missing"
    if len(re.findall(r"^/// \| `\w::", header("policy/mechanism.hpp"), re.MULTILINE)) < 10:
        yield "policy/mechanism.hpp has no table any more"


def check_linux():
    """Each program about Linux is run, and what it prints is on the page."""
    place = ROOT / "docs/examples/linux"
    page = (ROOT / "docs/linux-shared-memory.md").read_text()
    listed = re.findall(r"'(\w+)'", (place / "meson.build").read_text())
    for program in [*place.glob("*.cpp"), *place.glob("*.sh")]:
        if program.stem != "world" and (
                f"<!-- docs/examples/linux/{program.stem}.expected -->" not in page
                or program.stem not in listed):
            yield f"{program.name} is not run, or the page does not quote {program.stem}.expected"


failed = 0
for check in (check_errors, check_header, check_macros, check_defaults, check_options,
              check_combinations, check_requirements, check_linux):
    faults = list(check())
    print(("FAIL " if faults else "ok   ") + check.__name__.removeprefix("check_"))
    for fault in faults:
        print("     " + fault)
        failed += 1
sys.exit(1 if failed else 0)
