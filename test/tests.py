#!/usr/bin/env python3
# What test/meson.build compiles:
#
#     tests.py unit | process           the files
#     tests.py together DIRECTORY FILE… the few files, made in DIRECTORY, that hold these
#
# Of tests that are compiled together each becomes a namespace, below the headers of all, which the
# compiler so reads a few times and not a hundred times. Those that cannot be put into a namespace, or
# define macros for the headers, stay by themselves. An include that a test forgot does not show in such
# a build; it does in one of every file by itself.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent
LINES = 1500  # a file: enough to share the headers, few enough to leave work for each processor
INCLUDE = re.compile(r'^#include (<.*>|".*")$', re.MULTILINE)
ALONE = re.compile(r"^(namespace (cohold|std)\b|COHOLD_NAMESPACE|template <>)"
                   r"|^#(define|undef|if)(?s:.)*^#include", re.MULTILINE)


def one_file(tests):
    """Its text."""
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


def together(directory, tests):
    directory.mkdir(parents=True, exist_ok=True)
    groups = [[]]
    lines = 0
    for test in tests:
        text = (TESTS / test).read_text()
        if ALONE.search(text):
            yield test
            continue
        groups[-1].append(test)
        lines += text.count("\n")
        if lines >= LINES:
            groups.append([])
            lines = 0
    for number, group in enumerate(groups):
        if group:
            path = directory / f"tests_{number}.cpp"
            text = one_file(group)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
            yield str(path)


def files(folder):
    return sorted(str(path.relative_to(TESTS)) for path in (TESTS / folder).rglob("*.cpp"))


if sys.argv[1] == "together":
    print("\n".join(together(pathlib.Path(sys.argv[2]), sys.argv[3:])))
else:
    print("\n".join(files(sys.argv[1])))
