#!/usr/bin/env python3
# Checks what no compiler checks: that the lists and copies in the tree agree with the tree.
# `tree.py --write` updates the umbrellas, the code in pages and single_include instead.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import re
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
# What each umbrella includes: the rooms, or all but those of the others. Inspection is for few
# units, and would cost the others compile time.
SOURCE = INCLUDE / "cohold/src.hpp"  # what the compiled library is made of
UMBRELLAS = {INCLUDE / "cohold/cohold.hpp": None, INCLUDE / "cohold/inspect.hpp": ["inspect"]}
# Macros that others leave behind (Qt, windows.h, frameworks for tests), and cohold's names among them.
MACROS = ["check", "emit", "fail", "far", "foreach", "forever", "heap", "interface", "max", "min",
          "near", "record", "section", "signals", "slots", "small"]
# The rooms, ground floor first: a header includes its own room's and those below.
ROOMS = ["os", "type", "policy", "engine", "sync", "container", "handle", "inspect"]
INTERNAL = ["os", "engine"]  # and detail/ of the others, which no other room includes
# System calls are made in the rooms for the kernel's objects: the system itself, the mechanisms,
# and the handles of the kernel's own semaphores. A process's questions about itself do not count.
CALLERS = ["os/", "policy/", "handle/named_semaphore", "handle/semaphore_set",
           "handle/system_v_semaphores"]
CALLS = """accept bind brk clock_gettime clock_nanosleep close connect dup2? dup3 fallocate fcntl flock
    fork fstat fstatfs fstatvfs ftruncate getrandom getrlimit ioctl kill link linkat listen lseek lstat
    madvise mbind memfd_create mincore mkdir mlock mlock2 mmap mount mprotect mremap msync munlock
    munmap nanosleep open openat pipe poll ppoll pread prlimit process_vm_readv pwrite read readlink
    readlinkat recvmsg rename renameat renameat2 rmdir sched_yield semctl semget semop semtimedop
    send sendmsg setrlimit shmat shmctl shmdt shmget sigprocmask socket stat statfs statvfs statx
    syscall truncate umount umount2 unlink unlinkat write""".split()
# What costs every unit that includes cohold a tenth of its compile time or more.
COSTLY = ["algorithm", "chrono", "condition_variable", "filesystem", "format", "functional", "future",
          "iostream", "map", "memory", "ostream", "ranges", "regex", "sstream", "thread"]


def headers():
    """Every header but the umbrellas, as it is included, room by room."""
    found = [p.relative_to(INCLUDE) for p in INCLUDE.rglob("*.hpp")
             if p not in UMBRELLAS and p != SOURCE]
    strange = [str(p) for p in found if floor(p) is None]
    if strange:
        raise ValueError("headers outside of the known rooms: " + ", ".join(strange))
    return sorted(found, key=lambda p: (floor(p), p))


def room(header):
    """"" for what stands beside the rooms."""
    return header.parts[1] if len(header.parts) > 2 else ""


def floor(header):
    """Its number, from the ground up; None if it is in no room."""
    inner = list(header.parts[2:-1])
    known = ["", *ROOMS]
    return known.index(room(header)) if room(header) in known and inner in ([], ["detail"]) else None


def is_internal(header):
    """Users include none of these; the public headers include what they need."""
    return (room(header) in INTERNAL or header.parent.name == "detail"
            or declares_details_alone(header))


def declares_details_alone(header):
    """Nothing outside of namespace detail."""
    text = (INCLUDE / header).read_text()
    place = None  # the construct at the left margin to which a line belongs
    for line in text.splitlines():
        opened = re.match(r"namespace (\w+)", line)
        if line == "COHOLD_NAMESPACE_BEGIN" or line.startswith("} // namespace"):
            place = "cohold"
        elif opened:
            place = opened[1]
            if place != "detail":
                return False
        elif place == "cohold" and re.match(r"\w|\[\[", line) and not re.match(
                r"COHOLD_NAMESPACE_END|template <|(class|struct) \w+;", line):
            return False
    return place is not None


def umbrella(path):
    """The text that it should have: its own first lines, and the includes."""
    mine = UMBRELLAS[path]
    others = [each for rooms in UMBRELLAS.values() if rooms for each in rooms]
    purpose = re.match(r"(?://.*\n)+", path.read_text())[0]
    guard = "COHOLD_" + path.stem.upper() + "_HPP"
    lines = [f"{purpose}#ifndef {guard}", f"#define {guard}", "",
             "// Other headers may define these as macros. In cohold they are names.",
             *(f'#pragma push_macro("{each}")' for each in MACROS),
             *(f"#undef {each}" for each in MACROS)]
    last = None
    for header in headers():
        name = room(header)
        if is_internal(header) or (name not in mine if mine else name in others):
            continue
        if name != last:
            lines.append("")
            last = name
        lines.append(f"#include <{header}>")
    lines += ["", *(f'#pragma pop_macro("{each}")' for each in MACROS)]
    return "\n".join(lines + ["", "#endif", ""])


def check_umbrella():
    for path in UMBRELLAS:
        if path.read_text() != umbrella(path):
            yield f"{path.relative_to(ROOT)} does not include what there is: run test/tree.py --write"


MODULE = INCLUDE / "cohold/cohold.cppm"
TYPE = re.compile(r"(?:class|struct|enum class|concept|using) (?:\[\[.*?\]\] )?(?:alignas\(.*?\) )?"
                  r"(\w+)(?![\w:]| final ?;|;)")


def declared_types():
    """The types and concepts of each public namespace, from which `tree.py --write` adds those that
    the module does not export. Functions and constants are added to it by hand."""
    found = {}
    for header in headers():
        if is_internal(header) or room(header) == "inspect":
            continue
        place = []
        for line in (INCLUDE / header).read_text().splitlines():
            if line == "COHOLD_NAMESPACE_BEGIN":
                place = ["cohold"]
            elif line == "COHOLD_NAMESPACE_END":
                place = []
            elif opened := re.match(r"(?:inline )?namespace (\w+)? ?{", line):
                place.append(opened[1] or "")
            elif line.startswith("} // namespace"):
                place.pop()
            elif place[:1] == ["cohold"] and not {"detail", "", "std"} & set(place):
                if name := TYPE.match(line):
                    found.setdefault("::".join(place), set()).add(name[1])
    return found


def module():
    """The text that the module's unit should have."""
    text = MODULE.read_text()
    head = text[:text.index("export namespace")]
    exported = {}
    for space, name in re.findall(r"^using (cohold(?:::\w+)*)::(.+);$", text, re.MULTILINE):
        exported.setdefault(space, set()).add(name)
    for space, names in declared_types().items():
        exported.setdefault(space, set()).update(names)
    words = set(re.findall(r"\w+", "".join((INCLUDE / each).read_text() for each in headers())))
    parts = []
    for space in sorted(exported):
        names = sorted(each for each in exported[space]
                       if each in words or each.startswith("operator"))
        parts.append(f"export namespace {space} {{\n"
                     + "".join(f"using {space}::{name};\n" for name in names)
                     + f"}} // namespace {space}\n")
    return head + "\n".join(parts)


def check_module():
    if MODULE.read_text() != module():
        yield f"{MODULE.relative_to(ROOT)} does not export what there is: run test/tree.py --write"


def check_mirror():
    """Every public header has a unit test at the same relative path."""
    tested = {p.relative_to(ROOT / "test/unit").with_suffix(".hpp")
              for p in (ROOT / "test/unit").rglob("*.cpp")}
    for header in headers():
        if header.relative_to("cohold") not in tested and not is_internal(header):
            unit = header.relative_to("cohold").with_suffix(".cpp")
            yield f"include/{header} has no test/unit/{unit}"


def definitions():
    """The files beside headers that contain the definitions."""
    return sorted(p.relative_to(INCLUDE) for p in INCLUDE.rglob("*.ipp"))


def check_definitions():
    """Each .ipp is what its header includes last."""
    for file in definitions():
        header = (INCLUDE / file).with_suffix(".hpp")
        ending = f"\n#if COHOLD_DEFINED_HERE\n#include <{file}>\n#endif\n\n#endif\n"
        if not header.exists() or not header.read_text().endswith(ending):
            yield f"include/{file} is not included by its header, at the end"


def check_rooms():
    """No include runs up, or into the details of another room."""
    for header in [*headers(), *definitions()]:
        for target in re.findall(r"^ *#include <(cohold/.*)>", (INCLUDE / header).read_text(),
                                 re.MULTILINE):
            target = pathlib.PurePath(target)
            if room(header) and target.suffix == ".hpp" and floor(target) > floor(header):
                yield f"include/{header} includes {target}, of a room above its own"
            if room(target) != room(header) and target.parent.name == "detail":
                yield f"include/{header} includes {target}, a detail of another room"


def check_system_calls():
    call = re.compile(r"(?<![\w>])::(?:" + "|".join(CALLS) + r")\(")
    for header in [*headers(), *definitions()]:
        if not str(header.relative_to("cohold")).startswith(tuple(CALLERS)):
            for line in (INCLUDE / header).read_text().splitlines():
                if call.search(line):
                    yield f"include/{header} makes a system call: {line.strip()}"


def check_single_include():
    run = subprocess.run([sys.executable, ROOT / "single_include/amalgamate.py", "--check"],
                         stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        yield run.stderr.strip()


def check_first_lines():
    """Purpose, licence and include guard."""
    for header in [*headers(), *definitions()]:
        guard = "COHOLD_" + re.sub(r"\W", "_", str(header.relative_to("cohold"))).upper()
        text = (INCLUDE / header).read_text()
        if not re.match(r"(// .*\n)+(//\n)?// SPDX-FileCopyrightText: The cohold authors\n"
                        r"// SPDX-License-Identifier: MIT\n"
                        rf"#ifndef {guard}\n#define {guard}\n", text):
            yield f"include/{header} does not begin with its purpose, the SPDX lines and {guard}"


def check_includes():
    """The umbrella that most units include avoids headers that take long to compile."""
    for header in re.findall(r"#include <(.+)>", umbrella(INCLUDE / "cohold/cohold.hpp")):
        text = (INCLUDE / header).read_text()
        for costly in re.findall(rf"#include <({'|'.join(COSTLY)})>", text):
            yield f"include/{header} includes <{costly}>, which takes long to compile"


def check_versions():
    numbers = re.findall(r"#define COHOLD_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)",
                         (INCLUDE / "cohold/version.hpp").read_text())
    version = ".".join(numbers)
    if len(numbers) != 3:
        yield "version.hpp does not define the three parts of the version"
    for file, pattern in {"meson.build": r"^    version: '(.*)',$",
                          "CMakeLists.txt": r"^project\(cohold VERSION (\S+)",
                          "conanfile.py": r'^    version = "(.*)"$',
                          "test/package/vcpkg/ports/cohold/vcpkg.json": r'^  "version": "(.*)",$',
                          "debian/changelog": r"^cohold \(([\d.]+)-\d+\)",
                          "python/pyproject.toml": r'^version = "(.*)"$',
                          "CHANGELOG.md": r"^## \[(\d.*?)\]"}.items():
        found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
        if not found or found[1] != version:
            yield f"{file}: version {found[1] if found else 'missing'}, version.hpp has {version}"


def pages():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


QUOTE = re.compile(r"^<!-- ([\w./-]+\.\w+)(?:#(\w+))? -->\n(```\w*\n)(.*?)^```$",
                   re.MULTILINE | re.DOTALL)


def quoted(path, region):
    """A file, or the lines between `#region NAME` and `#endregion NAME` in it, without indent."""
    text = (ROOT / path).read_text()
    if not region:
        return text
    part = re.search(rf"^ *(?://|#) #region {region}\n(.*?)^ *(?://|#) #endregion {region}$", text,
                     re.MULTILINE | re.DOTALL)
    return textwrap.dedent(part[1]).strip("\n") + "\n" if part else ""


def with_quotes(text):
    return QUOTE.sub(lambda found: found[0].replace(
        found[3] + found[4], found[3] + quoted(found[1], found[2])), text)


def check_snippets():
    """Code in a page that names its file, `<!-- path -->` or `<!-- path#region -->`, is that code;
    and C++ and Python of more than a line do name one, which is compiled and run."""
    for page in pages():
        text = page.read_text()
        for path, region, _, code in QUOTE.findall(text):
            if not code or quoted(path, region) != code:
                yield (f"{page.relative_to(ROOT)}: the code is not that of {path} {region}".rstrip()
                       + ": run test/tree.py --write")
        unnamed = re.findall(r"^```(?:cpp|c\+\+|python)\n.*\n.*\n", QUOTE.sub("", text), re.MULTILINE)
        for code in unnamed:
            if "```" not in code.splitlines()[2]:
                yield f"{page.relative_to(ROOT)}: this code is of no file: {code.splitlines()[1]}"


FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page):
    """What a link into a page may name, as GitHub makes it of the headings."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)}


def check_links():
    """Links from a page to a file of the tree, or to a heading in it, are valid."""
    for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]:
        for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text())):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if "://" in link:
                continue
            if not target.exists():
                yield f"{page.relative_to(ROOT)}: {path} does not exist"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                yield f"{page.relative_to(ROOT)}: {path} has no heading #{anchor}"


def write():
    for path in UMBRELLAS:
        path.write_text(umbrella(path))
    MODULE.write_text(module())
    for page in pages():
        page.write_text(with_quotes(page.read_text()))
    subprocess.run([sys.executable, ROOT / "single_include/amalgamate.py"], check=True)


def check():
    passed = failed = 0
    for run in [check_umbrella, check_module, check_mirror, check_rooms, check_definitions, check_system_calls,
                check_single_include, check_first_lines, check_includes, check_versions, check_snippets, check_links]:
        faults = list(run())
        print(("FAIL " if faults else "ok   ") + run.__name__.removeprefix("check_").replace("_", " "))
        for fault in faults:
            print("     " + fault)
        passed += not faults
        failed += bool(faults)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if sys.argv[1:] == ["--write"]:
    write()
else:
    sys.exit(check())
