#!/usr/bin/env python3
# Gets the public member functions that change shared memory from the compiler's syntax tree, and
# fails if the rig has no operation with that name.
#
#   mutators.py CLANG INCLUDE RIG…   asks the rig's programs with --list
#   mutators.py CLANG INCLUDE        prints the functions
#
# A function counts if it is not const, and has no const overload like an accessor; or if it is
# const but its result may be ignored: segment::construct changes the segment, not the handle.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import re
import subprocess
import sys

# Classes directly in the namespace cohold count, so a new one fails here until it is covered or
# declared harmless: it belongs to one process alone, or the kernel keeps what it changes.
HARMLESS = {
    "const_mapped_region", "const_memory_object", "event_descriptor", "failure_report", "listing",
    "mapped_region", "memory_mapping", "memory_object", "named_semaphore", "offset_ptr",
    "system_v_semaphores", "tmpfs_mount", "type_writer",
}
HARMLESS_FUNCTIONS = {  # they change no byte
    "segment::durable", "shared::durable", "shm_basic_string::copy", "shm_pool::visit_holders",
    # A thread sleeps, as in the functions that wait.
    "shm_event::native_event", "shm_event::watch", "shm_pool::native_event", "shm_pool::watch",
    "shm_queue::native_event", "shm_queue::watch", "shm_semaphore::native_event",
    "shm_semaphore::watch", "shm_service::native_event", "shm_service::watch",
}


def syntax_trees(clang, include):
    run = subprocess.run(
        [clang, "-std=c++20", "-I", include, "-x", "c++", "-fsyntax-only", "-Xclang",
         "-ast-dump=json", "-Xclang", "-ast-dump-filter=cohold", "-"],
        input="#include <cohold/cohold.hpp>\n", capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    decoder = json.JSONDecoder()
    at = 0
    while (start := run.stdout.find("{", at)) >= 0:
        tree, at = decoder.raw_decode(run.stdout, start)
        yield tree


def children(node):
    return node.get("inner", ())


def classes(node, public=True):
    """(record, is it directly in cohold?) of every class that is defined in these namespaces."""
    for child in children(node):
        kind = child["kind"]
        if kind == "NamespaceDecl":
            inner = public and (child.get("isInline", False) or child.get("name") == "cohold")
            yield from classes(child, inner)
        elif kind == "ClassTemplateDecl":
            for record in children(child):
                if record["kind"] == "CXXRecordDecl":
                    yield from classes({"inner": [record]}, public)
        elif kind == "CXXRecordDecl" and child.get("completeDefinition"):
            yield child, public


def functions(record):
    """Public member functions: (name, is it const?, may its result be ignored?)."""
    access = "private" if record.get("tagUsed") == "class" else "public"
    for child in children(record):
        if child["kind"] == "AccessSpecDecl":
            access = child["access"]
            continue
        if child["kind"] == "FunctionTemplateDecl":
            child = next((c for c in children(child) if c["kind"] == "CXXMethodDecl"), child)
        if (access != "public" or child["kind"] != "CXXMethodDecl" or child.get("isImplicit")
                or child.get("explicitlyDeleted") or child.get("storageClass") == "static"):
            continue
        is_const = bool(re.search(r"\)\s*const\b", child["type"]["qualType"]))
        kept = any(c["kind"] == "WarnUnusedResultAttr" for c in children(child))
        yield child["name"], is_const, not kept


def mutators(record, known):
    """Of a class and of what it inherits in public."""
    found = list(functions(record))
    readable = {name for name, is_const, _ in found if is_const}
    names = {name for name, is_const, ignorable in found
             if (ignorable if is_const else name not in readable)}
    for base in record.get("bases", ()):
        if base["access"] == "public":
            name = re.sub(r"<.*", "", base["type"]["qualType"], flags=re.DOTALL).split("::")[-1]
            if name in known:
                names |= mutators(known[name], known)
    return names - {"operator bool"}


def main(clang, include, *rigs):
    known = {}
    public = set()
    for tree in syntax_trees(clang, include):
        for record, is_public in classes({"inner": [tree]}):
            if "name" in record:
                known[record["name"]] = record
                if is_public:
                    public.add(record["name"])
    wanted = {f"{name}::{function}" for name in sorted(public - HARMLESS)
              for function in mutators(known[name], known)} - HARMLESS_FUNCTIONS
    if not rigs:
        print("\n".join(sorted(wanted)))
        return
    if not wanted or HARMLESS - public:
        sys.exit(f"not in the syntax tree: {HARMLESS - public or 'any mutator'}")
    covered = set()
    for rig in rigs:
        run = subprocess.run([rig, "--list"], capture_output=True, text=True, check=True)
        covered |= {line.split("\t")[0] for line in run.stdout.splitlines()}
    missing = sorted(wanted - covered)
    for each in missing:
        print(f"{each} changes what is in shared memory, and no operation of the rig kills it")
    print(f"{len(wanted) - len(missing)} passed, {len(missing)} failed")
    sys.exit(1 if missing else 0)


main(*sys.argv[1:])
