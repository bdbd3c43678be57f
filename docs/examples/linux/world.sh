#!/bin/sh
# Runs a command in isolation: sh world.sh COMMAND…
# The command has its own mounts and System V objects and an empty /dev/shm of 64 MiB, like a Docker
# container. It may mount. When it ends, all of that disappears. No privileges are needed where
# user namespaces are allowed.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
if [ "$(id -u)" = 0 ]; then user=; else user="--user --map-root-user"; fi
# shellcheck disable=SC2086 # two words or none
exec unshare $user --mount --ipc -- sh -c '
    mount -t tmpfs -o size=64m,mode=1777 shm /dev/shm && exec "$@"' world "$@"
