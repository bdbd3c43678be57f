#!/bin/sh
# Builds the documentation site, follows its links, and reads it in a headless Chromium. What lacks its
# tools is skipped, with a line that names them: run.sh OUTPUT [--quick] [SCREENSHOTS]
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
    counts=$(tail -n 1 "$out-check.log" | awk '/^[0-9]+ passed, [0-9]+ failed$/ { print $1, $3 }')
    [ -n "$counts" ] || { [ $status = 0 ] && counts="1 0" || counts="0 1"; }
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    [ $status = 0 ]
}

if ! command -v doxygen >/dev/null || ! command -v mkdocs >/dev/null; then
    echo "skipped: needs doxygen, mkdocs and mkdocs-material (sh docs/site.sh installs them)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
if part sh docs/site.sh "$out"; then
    part python3 test/site/links.py "$out"
    if command -v chromium >/dev/null && command -v chromedriver >/dev/null &&
        /usr/bin/python3 -c 'import selenium' 2>/dev/null; then
        part /usr/bin/python3 test/site/browser.py "$out" "$@"
    else
        echo "skipped: needs chromium, chromium-driver and python3-selenium"
        skipped=1
    fi
fi
rm -f "$out-check.log"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
