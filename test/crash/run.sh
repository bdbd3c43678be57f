#!/bin/sh
# The rig in full (sh test/run.sh crash runs a selection):
#
#   sh test/crash/run.sh table [--quick]   a table in Markdown; docs/reliability.md has the quick one
#   sh test/crash/run.sh complete   every state, every instruction: hours
#   sh test/crash/run.sh seeded     all bugs that it must find
#   sh test/crash/run.sh soak [N]   N seconds of random kills, and 100,000 times the same crash
#   sh test/crash/run.sh soak_all [N [SEED]]   N seconds of everything at once
#
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD_DIR:-$PWD/build}/crash
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" -Dtests=enabled -Dcrash=true -Dexamples=disabled -Dbuildtype=plain >&2
fi
ninja -C "$build" crash >&2
rig=$build/test/crash
parts='vector strings maps sequences queue objects heap guarded signals pointers hash_map messaging messages'
case ${1:-} in
table)
    echo "| operation | setups | instructions | states | killed recovering | schedules |" \
        "before / after / other | illegal | stuck | leaked |"
    echo "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|"
    rows=$(mktemp -d)
    trap 'rm -rf "$rows"' EXIT
    # shellcheck disable=SC2016,SC2086 # the shell of each part expands it; a word a part
    printf '%s\n' $parts |
        xargs -P "$(nproc)" -I{} sh -c '"$1/crash_$2" --table $3 >"$4/$2" || echo "$2: failed" >&2' \
            - "$rig" {} "${2:-}" "$rows"
    for part in $parts; do
        cat "$rows/$part"
    done
    ;;
complete)
    for part in $parts; do
        "$rig/crash_$part" --complete
    done
    "$rig/crash_threads" 1000000
    "$rig/crash_kill" 200
    "$rig/crash_waits"
    "$rig/crash_model" --complete
    ;;
seeded)
    python3 test/crash/seeded.py --all "$rig/seeded" "${CXX:-g++}"
    ;;
soak)
    "$rig/crash_soak" "${2:-3600}"
    "$rig/crash_soak" repeat
    ;;
soak_all)
    "$rig/crash_soak_all" "${2:-600}" ${3:+"$3"}
    ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
