#!/usr/bin/env python3
# What test/meson.build compiles:
#
#     tests.py unit | process          the files
#     tests.py together FILE…          these in groups, one a line, that become one file each by
#     tests.py one_file OUTPUT FILE…
#
# Tests that are compiled together each become a namespace, below the headers of all, so that the
# compiler reads these a few times instead of a hundred times. Those that cannot be put into a
# namespace, or define macros for the headers, stay separate. A missing include in a test does not
# show in such a build; it does when every file is compiled separately.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent
LINES = 1500  # of a file: enough to share the headers, few enough to keep each processor busy
INCLUDE = re.compile(r'^#include (<.*>|".*")$', re.MULTILINE)
ALONE = re.compile(r"^(namespace (cohold|std)\b|COHOLD_NAMESPACE|template <>)"
                   r"|^#(define|undef|if)(?s:.)*^#include", re.MULTILINE)


def one_file(tests):
    """The text of the file that contains all of the tests."""
    includes = []
    for test in tests:
        for name in INCLUDE.findall((TESTS / test).read_text()):
            beside = (TESTS / test).parent / name.strip('"')
            if name[0] == '"' and beside.exists():
                name = f'"{beside.relative_to(TESTS)}"'
            if name not in includes:
                includes.append(name)
    text = "".join(f"#include {name}\n" for name in includes)
    for test in tests:
        name = re.sub(r"\W", "_", test.removesuffix(".cpp"))
        text += f'\nnamespace {name} {{\n#include "{test}"\n}} // namespace {name}\n'
    return text


def together(tests):
    """The tests in groups."""
    groups = [[]]
    lines = 0
    for test in tests:
        text = (TESTS / test).read_text()
        if ALONE.search(text):
            groups.insert(0, [test])
            continue
        if lines >= LINES:
            groups.append([])
            lines = 0
        groups[-1].append(test)
        lines += text.count("\n")
    return [group for group in groups if group]


def files(folder):
    return sorted(str(path.relative_to(TESTS)) for path in (TESTS / folder).rglob("*.cpp"))


match sys.argv[1:]:
    case ["together", *tests]:
        print("\n".join(" ".join(group) for group in together(tests)))
    case ["one_file", path, *tests]:
        pathlib.Path(path).write_text(one_file(tests))
    case [folder]:
        print("\n".join(files(folder)))
