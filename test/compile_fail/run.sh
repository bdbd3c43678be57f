#!/bin/sh
# Checks that the compiler refuses each file here with the message that its first line expects, and
# accepts it without its offending line. A line `// alone` in the file: there must be no other
# error. A line `// clang: FLAGS`: only clang refuses it, with these flags.
#
#     run.sh COMPILER [FLAGS...]
#
# Prints "ok NAME" or "FAIL NAME: why" for each file; the exit status says whether all were ok.
#
# The headers of all files are compiled once, as a file that precedes each of them (missing includes
# do not matter here; test/headers checks those).
#
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
if [ $# -eq 0 ]; then
    echo "usage: $0 COMPILER [FLAGS...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)

# one NAME COMMAND…
one() {
    name=$1
    shift
    file=$here/$name.cpp
    output=$temporary/$name
    expect=$(sed -n '1s,^// expect: ,,p' "$file")
    if [ -z "$expect" ]; then
        echo "FAIL $name: its first line is not '// expect: <regular expression>'"
        return
    fi
    flags=$(sed -n 's,^// clang: ,,p' "$file")
    if [ -n "$flags" ] && ! "$1" --version | grep -q clang; then
        return
    fi
    # Both compilers print the message in the line of the error itself.
    if "$@" -fsyntax-only $flags "$file" >"$output" 2>&1; then
        why="it compiles"
    elif ! grep -E 'error:|fatal' "$output" | grep -Eq "$expect"; then
        why="the message does not match '$expect'"
    elif grep -q '^// alone$' "$file" && [ "$(grep -c 'error:' "$output")" != 1 ]; then
        why="there is more than this one error"
    elif ! "$@" -DCOHOLD_CONTROL -fsyntax-only $flags "$file" >"$output" 2>&1; then
        why="it does not compile without its offending line"
    else
        echo "ok $name"
        return
    fi
    echo "FAIL $name: $why"
    sed 's/^/    /' "$output" | head -n 20
}

if [ "$1" = --one ]; then
    temporary=$2
    shift 2
    one "$@"
    exit
fi

temporary=$(mktemp -d) || exit 2
trap 'rm -rf "$temporary"' EXIT
trap 'exit 2' HUP INT TERM
set -- "$@" -std=c++20 -I "$here/../../include"
sed -n '/^#include </p' "$here"/*.cpp | sort -u >"$temporary/all.hpp"
if ! "$@" -x c++-header "$temporary/all.hpp" -o "$temporary/all.hpp.gch"; then
    echo "FAIL: the headers do not compile"
    exit 1
fi
result=$(cd "$here" && ls ./*.cpp | sed 's,^\./,,; s,\.cpp$,,' |
    xargs -P "$(nproc)" -I{} sh "$here/run.sh" --one "$temporary" {} "$@" -include "$temporary/all.hpp")
# Of an older standard, the compiler says no more than that.
older=$("$@" -std=c++17 -fsyntax-only -x c++ "$here/../../include/cohold/cohold.hpp" 2>&1)
if [ "$(printf '%s\n' "$older" | grep -c 'error:')" = 2 ]; then
    result="$result
ok older_standard"
else
    result="$result
FAIL older_standard: more than two errors, or fewer"
fi
printf '%s\n' "$result"
case $result in
'') echo "FAIL: no files in $here" && exit 1 ;;
*FAIL*) exit 1 ;;
esac
