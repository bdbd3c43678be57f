#!/bin/sh
# The example of README.md does what the page says, whichever side starts: sh prices.sh PROGRAM
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
program=$1
object=/dev/shm/prices # the example's name is in its code
output=$(mktemp) || exit 1
consumer=
trap '[ -z "$consumer" ] || kill "$consumer" 2>/dev/null; rm -f "$output" "$object"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0

if [ -e "$object" ]; then
    trap - EXIT
    rm -f "$output"
    echo "$object is somebody else's: this test needs the name" >&2
    exit 1
fi

# The consumer never ends by itself: waits, up to 30 s, until it has printed that many lines.
consumed() {
    turns=0
    until [ "$(wc -l <"$output")" -ge "$1" ]; do
        turns=$((turns + 1))
        [ $turns -lt 300 ] || break
        sleep 0.1
    done
}

check() {
    if [ "$(cat "$output")" = "$2" ]; then
        echo "ok   $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1: printed:"
        cat "$output"
        failed=$((failed + 1))
    fi
}

"$program" 2.50 0.80
stdbuf -oL "$program" >"$output" &
consumer=$!
consumed 2
check "the producer starts" "$(printf '2.50\n0.80')"
"$program" 4.20
consumed 3
check "the consumer starts" "$(printf '2.50\n0.80\n4.20')"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
