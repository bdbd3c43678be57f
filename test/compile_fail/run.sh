#!/bin/sh
# Checks that each file here is refused by the compiler with the message that its first line
# expects, and accepted once its offending line is switched off. A line `// alone` in the file: there
# is no other error. A line `// clang: FLAGS`: only clang refuses it, with these flags.
#
#     run.sh COMPILER [FLAGS...]
#
# Prints "ok NAME" or "FAIL NAME: why" a file; the exit status says whether all were ok.
#
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
if [ $# -eq 0 ]; then
    echo "usage: $0 COMPILER [FLAGS...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
output=$(mktemp) || exit 2
trap 'rm -f "$output"' EXIT
trap 'exit 2' HUP INT TERM
status=0
count=0

fail() {
    echo "FAIL $name: $1"
    sed 's/^/    /' "$output" | head -n 20
    status=1
}

for file in "$here"/*.cpp; do
    name=$(basename "$file" .cpp)
    count=$((count + 1))
    expect=$(sed -n '1s,^// expect: ,,p' "$file")
    if [ -z "$expect" ]; then
        echo "FAIL $name: its first line is not '// expect: <regular expression>'"
        status=1
        continue
    fi
    flags=$(sed -n 's,^// clang: ,,p' "$file")
    if [ -n "$flags" ] && ! "$1" --version | grep -q clang; then
        continue
    fi
    # Messages stand in the line of the error itself, with both compilers.
    if "$@" -std=c++20 -I "$here/../../include" -fsyntax-only $flags "$file" >"$output" 2>&1; then
        fail "it compiles"
    elif ! grep -E 'error:|fatal' "$output" | grep -Eq "$expect"; then
        fail "the message does not match '$expect'"
    elif grep -q '^// alone$' "$file" && [ "$(grep -c 'error:' "$output")" != 1 ]; then
        fail "there is more than this one error"
    elif ! "$@" -std=c++20 -I "$here/../../include" -DCOHOLD_CONTROL -fsyntax-only $flags "$file" \
        >"$output" 2>&1; then
        fail "it does not compile without its offending line"
    else
        echo "ok $name"
    fi
done

if [ "$count" -eq 0 ]; then
    echo "FAIL: no files in $here"
    status=1
fi
exit $status
