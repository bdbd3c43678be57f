#!/bin/sh
# Runs examples one after the other while no others run on this machine, because their code contains
# the names of their segments; checks that they succeed and leave nothing behind: sh alone.sh
# PROGRAM…
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
if [ "$1" != --locked ]; then
    exec flock --close /dev/shm sh "$0" --locked "$@"
fi
shift

left_behind() {
    find /dev/shm -maxdepth 1 -name 'example[-.]*'
}

clean_up() {
    left_behind | while read -r object; do
        rm -f "$object"
    done
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

for program in "$@"; do
    timeout 60 "$program" || {
        echo "$program: status $?"
        exit 1
    }
done
if [ -n "$(left_behind)" ]; then
    echo "left behind:" "$(left_behind)"
    exit 1
fi
