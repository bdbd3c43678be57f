#!/bin/sh
# Runs a command in a world of its own: sh world.sh COMMAND…
# It has mounts and System V objects of its own and an empty /dev/shm of 64 MiB, as a container of
# Docker has. It may mount. When it ends, all of that is gone. Nobody needs privileges for it where
# user namespaces are allowed.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
if [ "$(id -u)" = 0 ]; then user=; else user="--user --map-root-user"; fi
# shellcheck disable=SC2086 # two words or none
exec unshare $user --mount --ipc -- sh -c '
    mount -t tmpfs -o size=64m,mode=1777 shm /dev/shm && exec "$@"' world "$@"
