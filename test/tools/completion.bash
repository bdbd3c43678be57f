#!/bin/bash
# Completion knows what the tool knows, and the manual has every command and option:
# completion.bash COMPLETION MANUAL TOOL
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
# shellcheck disable=SC1090 # the file under test
source "$1" || exit 1

completes() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _cohold_inspect 2>/dev/null
    echo "${COMPREPLY[*]}"
}

fail() {
    echo "FAIL $*"
    exit 1
}

commands=$(completes cohold_inspect "")
help=$("$3" --help)
for each in $commands; do
    grep -qE "^  $each( |$)" <<<"$help" || fail "the tool has no command $each"
    grep -qE "^\.(B|BI|BR) $each" "$2" || fail "the manual has no command $each"
done
for each in $(grep -oE '^  [a-z]+' <<<"$help"); do
    [[ " $commands " == *" $each "* || $each == where ]] || fail "$each is not completed"
done
[ "$(completes cohold_inspect re)" = "repair remove" ] || fail "beginnings"
for each in $(grep -oE -- '--[a-z-]+' <<<"$help" | sort -u); do
    found=
    for command in "" list watch remove; do
        # shellcheck disable=SC2086 # no word if there is no command
        [[ " $(completes cohold_inspect $command --) " == *" $each "* ]] && found=yes
    done
    [ -n "$found" ] || fail "$each is not completed"
    grep -qF -- "${each//-/\\-}" "$2" || fail "the manual has no $each"
done
name=cohold-test-completion.$$
: >"/dev/shm/$name" || fail "no /dev/shm"
found=$(completes cohold_inspect show "cohold-test-completion.$$")
rm -f "/dev/shm/$name"
[ "$found" = "$name" ] || fail "names of segments: $found"
case $(completes cohold_inspect show --file /et) in */etc*) ;; *) fail "paths" ;; esac
if command -v man >/dev/null; then
    faults=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$2" \
        2>&1 >/dev/null)
    [ -z "$faults" ] || fail "$faults"
fi
echo ok
