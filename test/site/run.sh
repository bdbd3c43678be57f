#!/bin/sh
# Draws the pictures of the benchmarks again, builds the documentation site, follows its links, and
# reads it in a headless Chromium. What lacks its tools is skipped, with a line that names them: run.sh OUTPUT [--quick] [SCREENSHOTS]
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
cd "$(dirname "$0")/../.." || exit 1
out=$1
shift
passed=0
failed=0
skipped=0

# part COMMAND…: counts by the last line, which it keeps to itself.
part() {
    "$@" >"$out-check.log" 2>&1
    status=$?
    cat "$out-check.log"
    counts=$(tail -n 1 "$out-check.log" |
        awk '/^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { print $1, $3, $5 + 0 }')
    [ -n "$counts" ] || { [ $status = 0 ] && counts="1 0 0" || counts="0 1 0"; }
    # shellcheck disable=SC2086 # three words
    set -- $counts
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    [ $status = 0 ]
}

mkdir -p "$(dirname "$out")" || exit 1
part /usr/bin/python3 test/bench/published.py
if ! command -v doxygen >/dev/null || ! command -v mkdocs >/dev/null; then
    echo "skipped: needs doxygen, mkdocs and mkdocs-material (sh docs/site.sh installs them)"
    skipped=$((skipped + 1))
elif part sh docs/site.sh "$out"; then
    part python3 test/site/links.py "$out"
    if command -v chromium >/dev/null && command -v chromedriver >/dev/null &&
        /usr/bin/python3 -c 'import selenium' 2>/dev/null; then
        part /usr/bin/python3 test/site/browser.py "$out" "$@"
    else
        echo "skipped: needs chromium, chromium-driver and python3-selenium"
        skipped=$((skipped + 1))
    fi
fi
rm -f "$out-check.log"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
