# Has Debian's packages installed. To be sourced; the caller has set $build, where apt-get's log goes.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Has Debian's packages installed; asks apt-get only for those that are missing.
packages() {
    command -v dpkg-query >/dev/null || return 0 # not Debian: what is missing will tell
    missing=
    for package in "$@"; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "installing$missing"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        echo "run this as root: apt-get install$missing" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # one word a package
    if ! $as_root apt-get update >"$build/apt.log" 2>&1 ||
        ! $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $missing >>"$build/apt.log" 2>&1; then
        tail -n 20 "$build/apt.log"
        echo "could not install$missing" >&2
        exit 1
    fi
}
