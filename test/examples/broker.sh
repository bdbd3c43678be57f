#!/bin/sh
# A broker and two clients that meet in a segment, and leave nothing behind: sh broker.sh PROGRAM
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
work=$(mktemp -d) || exit 1
directory=$work/broker
trap 'kill "$broker" 2>/dev/null; rm -rf "$work"' EXIT
"$1" serve "$directory" &
broker=$!

fail() {
    echo "FAIL $*"
    exit 1
}

for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S "$directory/socket" ] && "$1" get "$directory" first >"$work/out" 2>/dev/null && break
    sleep 0.2
done
[ "$(cat "$work/out")" = 0 ] || fail "a new segment"
[ "$(stat -c %a "$directory")" = 700 ] || fail "the mode of the directory"
"$1" set "$directory" first 42 || fail "set"
"$1" set "$directory" second 7 || fail "set another one"
[ "$("$1" get "$directory" first)" = 42 ] || fail "two clients do not have the same segment"
[ "$("$1" get "$directory" second)" = 7 ] || fail "two names are not two segments"
"$1" stop "$directory" || fail "stop"
wait "$broker" || fail "the broker's status"
[ ! -e "$directory" ] || fail "left behind: $directory"
