#!/bin/sh
# The main job: one program sends the lines of a file through a queue in shared memory, a second one
# counts them in a vector there, a third one, started afterwards, prints the counts. Then wc(1) must
# have counted the same. Installs what is missing (Debian, apt-get) and builds the programs first.
#
#   sh docs/examples/run.sh [--mechanism NAME] [FILE]   NAME: posix (the default), system_v, file,
#                                                       tmpfs, anonymous or memfd
#   sh docs/examples/run.sh --all [FILE]                with each of them
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u

usage() {
    sed -n 's/^#   sh/usage: sh/p; s/^#    */                                            /p' "$0" >&2
    exit 2
}

mechanisms=posix
file=
while [ $# -gt 0 ]; do
    case $1 in
    --all) mechanisms="posix system_v file tmpfs anonymous memfd" ;;
    --mechanism | --mechanism=*)
        mechanisms=${1#--mechanism=}
        if [ "$1" = --mechanism ]; then
            mechanisms=${2-}
            [ $# -lt 2 ] || shift
        fi
        case $mechanisms in
        posix | system_v | file | tmpfs | anonymous | memfd) ;;
        *) usage ;;
        esac
        ;;
    -*) usage ;;
    *)
        [ -z "$file" ] || usage
        file=$1
        ;;
    esac
    shift
done
[ -n "$file" ] || file=/usr/share/common-licenses/GPL-3 # every Debian has it
case $file in /*) ;; *) file=$PWD/$file ;; esac
if ! [ -f "$file" ] || ! [ -r "$file" ]; then
    echo "$file is no file that can be read" >&2
    exit 2
fi

cd "$(dirname "$0")/../.." || exit 1
root=$PWD
build=${BUILD_DIR:-$root/build}
programs=${PROGRAMS:-} # where they are already, for the tests
. "$root/test/packages.sh"

# Quiet, unless something is wrong.
build_programs() {
    if ! {
        { [ -f "$build/examples/build.ninja" ] ||
            meson setup "$build/examples" -Dtests=disabled -Dexamples=enabled; } &&
            ninja -C "$build/examples" docs/examples/producer docs/examples/consumer \
                docs/examples/report docs/examples/forked
    } >"$build/examples.log" 2>&1; then
        cat "$build/examples.log" >&2
        exit 1
    fi
    programs=$build/examples/docs/examples
}

work=
mechanism=
segment=
running=

# Leaves nothing behind, also after Ctrl-C.
clean_up() {
    trap '' HUP INT TERM
    for process in $running; do
        # Again and again: a signal is lost if it finds the shell's child before that is the program.
        while kill "$process" 2>/dev/null; do
            sleep 0.05
        done
        wait "$process" 2>/dev/null
    done
    running=
    if [ -n "$segment" ]; then
        "$programs/report" --mechanism "$mechanism" --remove "$segment" 2>/dev/null
        segment=
    fi
    [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Words are what stands between white space. wc(1) has its own view of bytes that do not print, which
# depends on its version: it gets an x for each.
count_by_wc() {
    LC_ALL=C tr -c '[:space:]' x <"$file" | wc | awk '{ print $1, $2, $3 }'
}

# Three programs meet in a segment that has a name.
run_named() {
    case $mechanism in
    file) segment=$work/segment ;;
    tmpfs) segment=/dev/shm/cohold-example-tmpfs-$$ ;;
    *) segment=cohold-example-$$ ;;
    esac
    "$programs/consumer" --mechanism "$mechanism" "$segment" &
    consumer=$!
    running=$consumer
    "$programs/producer" --mechanism "$mechanism" "$segment" "$file" &
    producer=$!
    running="$running $producer"
    wait "$producer" || return 1 # the consumer is stopped by clean_up
    running=$consumer
    wait "$consumer" || return 1
    running=
    "$programs/report" --mechanism "$mechanism" "$segment" || return 1
    "$programs/report" --mechanism "$mechanism" --remove "$segment" || return 1
    segment=
}

# Memory without a name comes by fork: one program with three children.
run_unnamed() {
    "$programs/forked" --mechanism "$mechanism" "$file" &
    running=$!
    wait "$running" || return 1
    running=
}

if [ -z "$programs" ]; then
    mkdir -p "$build" || exit 1
    build=$(cd "$build" && pwd)
    need_build_tools
    install_missing
    build_programs
fi
work=$(mktemp -d) || exit 1

expected=
echo "file: $file"
for mechanism in $mechanisms; do
    case $mechanism in
    anonymous | memfd) run=run_unnamed ;;
    *) run=run_named ;;
    esac
    printf '\nmechanism: %s\n' "$mechanism"
    if ! $run >"$work/table"; then
        echo "the job failed" >&2
        exit 1
    fi
    cat "$work/table"
    [ -n "$expected" ] || expected=$(count_by_wc)
    counted=$(awk '$1 == "total" { print $2, $3, $4 }' "$work/table")
    # shellcheck disable=SC2086 # three words
    printf '%16s %10s %10s %12s\n' "wc" $expected
    if [ "$counted" != "$expected" ]; then
        echo "wc does NOT agree: $expected expected, $counted counted" >&2
        exit 1
    fi
    echo "wc agrees: lines, words and bytes are the same"
done
