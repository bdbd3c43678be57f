#!/bin/sh
# Runs an example in namespaces of its own, and compares its output with the quotation on the page:
# sh linux.sh EXPECTED COMMAND…
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
expected=$1
shift
here=$(dirname "$expected")
printed=$(mktemp) || exit 1
trap 'rm -f "$printed"' EXIT
timeout 60 sh "$here/world.sh" "$@" >"$printed"
status=$?
[ "$status" = 77 ] && exit 77 # cannot be shown on this machine
[ "$status" = 0 ] || echo "$*: status $status"
diff "$expected" "$printed" && [ "$status" = 0 ]
