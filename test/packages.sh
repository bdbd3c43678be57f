# Finds out by trying what a script needs, and installs what is missing (Debian, apt-get). To be
# sourced; the caller has set $build, for the probes and for apt-get's log.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
missing=

# need PACKAGE COMMAND…: has install_missing install the package, unless the command succeeds. Other
# packages may do as well: another version of Boost, a compiler built from source.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

# compiles TEXT COMPILER ARGUMENT…: does TEXT compile, to a program or with -c?
compiles() {
    text=$1
    shift
    printf '%b\nint main() {}\n' "$text" | "$@" -x c++ - -o "$build/needed" &&
        rm -f "$build/needed"
}

# The needs of every build.
need_build_tools() {
    need g++ compiles '#include <concepts>' g++ -std=c++20
    need meson meson --version
    need ninja-build ninja --version
}

need_boost() {
    need libboost-dev compiles '#include <boost/container/vector.hpp>' g++ -c
}

need_asio() {
    need libasio-dev compiles '#include <asio.hpp>' g++ -std=c++20 -fsyntax-only
}

install_missing() {
    [ -n "$missing" ] || return 0
    echo "installing$missing"
    if ! command -v apt-get >/dev/null; then
        echo "missing, by the names that Debian's packages have:$missing" >&2
        exit 1
    fi
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
    missing=
}
