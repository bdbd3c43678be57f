#!/bin/sh
# Each header compiles alone, and again after itself, and tests no macro that is not defined:
# sh test/headers/run.sh COMPILER [FLAGS…]
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
include=$(cd "$(dirname "$0")/../../include" && pwd) || exit 1
cd "$include" || exit 1

if [ "${1:-}" = --one ]; then
    header=$2
    shift 2
    [ "$header" = cohold/src.hpp ] && set -- "$@" -DCOHOLD_SEPARATE_COMPILATION
    if printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
        "$@" -std=c++20 -fsyntax-only -Werror=undef -I"$include" -x c++ -; then
        echo "ok   $header"
    else
        echo "FAIL $header"
    fi
    exit
fi

result=$(find cohold -name '*.hpp' | sort |
    xargs -P "$(nproc)" -I{} sh "$include/../test/headers/run.sh" --one {} "$@" 2>&1)
passed=$(printf '%s\n' "$result" | grep -c '^ok   ')
failed=$(printf '%s\n' "$result" | grep -c '^FAIL ')
printf '%s\n' "$result" | grep -v '^ok   '
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
