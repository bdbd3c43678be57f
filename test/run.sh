#!/bin/sh
# Installs what is missing (Debian, apt-get), builds, and runs the tests:
#
#   sh test/run.sh            with the machine's g++
#   CI=true sh test/run.sh    the whole matrix of compilers, sanitizers, libraries and packagings
#   … sh test/run.sh STEP…    only these steps
#
# Builds go to build/ (or $BUILD_DIR) and are reused by the next run. The last line is
# `N passed, N failed[, N skipped]`.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
build=${BUILD_DIR:-$root/build}
wanted=" $* "
ci=${CI:-}
# Compilers other than those of CI have other warnings, which need not stop a build.
[ -n "$ci" ] && werror=true || werror=false
# The unit tests are compiled together, in few files (each header is compiled alone, too). Most link
# the compiled library; the rig, single_include and the sanitizers are header-only.
passed=0
failed=0
skipped=0
ran=0
mkdir -p "$build" || exit 1
build=$(cd "$build" && pwd)

. "$root/test/packages.sh"

# step NAME COMMAND…: one line if it succeeds, its log if it fails. Counts by the last line of the
# log if that is `N passed, N failed[, N skipped]`, else as one.
step() {
    name=$1
    shift
    case $wanted in "  " | *" $name "*) ;; *) return 0 ;; esac
    ran=$((ran + 1))
    started=$(date +%s)
    log=$build/$name.log
    "$@" >"$log" 2>&1
    status=$?
    counts=$(tail -n 1 "$log" |
        awk '/^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ { print $1, $3, $5 + 0 }')
    if [ -z "$counts" ]; then
        [ $status = 0 ] && counts="1 0 0" || counts="0 1 0"
    fi
    # shellcheck disable=SC2086 # three words
    set -- $counts
    if [ $status != 0 ] && [ "$2" = 0 ]; then
        set -- "$1" 1 "$3"
    fi
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    if [ $status = 0 ]; then
        result=ok
    else
        result=FAIL
        cat "$log"
    fi
    printf '%-4s %-16s %5d passed, %d failed, %d skipped, %d s\n' "$result" "$name" \
        "$1" "$2" "$3" $(($(date +%s) - started))
}

# configuration NAME SUITES COMPILER MESON_OPTIONS…: builds in a directory of its own and runs tests.
configuration() {
    directory=$build/$1
    suites=$2
    compiler=$3
    shift 3
    reconfigure=
    [ -f "$directory/build.ninja" ] && reconfigure=--reconfigure
    case " $suites " in *" examples "*) examples=enabled ;; *) examples=disabled ;; esac
    case " $suites " in *" crash "*) targets=crash ;; *) targets=all ;; esac
    CXX=$compiler meson setup $reconfigure "$directory" -Dwerror="$werror" -Dtests=enabled \
        -Dexamples=$examples "$@" &&
        ninja -C "$directory" "$targets" || return 1
    selection=
    for suite in $suites; do
        selection="$selection --suite $suite"
    done
    rm -f "$directory/meson-logs/testlog.json"
    # shellcheck disable=SC2086 # one word a suite
    meson test -C "$directory" --no-rebuild $selection >"$directory/test.log" 2>&1
    if [ ! -f "$directory/meson-logs/testlog.json" ]; then
        cat "$directory/test.log"
        return 1
    fi
    python3 test/count.py "$directory/meson-logs/testlog.json"
}

format() {
    find include test docs tools -name '*.[hic]pp' -not -path '*/build*' -print0 |
        xargs -0 clang-format-19 --dry-run --Werror
}

# What the tests may have left behind: objects in /dev/shm and System V, files in /tmp.
leftovers() {
    ls -A /dev/shm
    awk 'NR > 1 { print "shmid", $2 }' /proc/sysvipc/shm
    awk 'NR > 1 { print "semid", $2 }' /proc/sysvipc/sem
    find /tmp -maxdepth 1 -name '*cohold*'
}

nothing_left() {
    leftovers | diff "$build/leftovers" -
}

# The tests that use threads, as Meson takes a list.
threaded() {
    # two_mappings: the sanitizer identifies locks by their addresses, and there each has two. Tests
    # with namespaces of their own cannot have it: unshare(2) fails because of the sanitizer's
    # thread.
    (cd test && grep -lrE 'std::j?thread' unit process |
        grep -vE 'two_mappings|participants|few_slots|inspect_fuzz') | tr '\n' ',' | sed 's/,$//'
}

# All unit tests and these process tests, as Meson takes a list: those that another compiler, word
# size or sanitizer may see differently. The first build runs everything.
selected() {
    (
        cd test && find unit -name '*.cpp'
        for each in "$@"; do
            echo "process/$each.cpp"
        done
    ) | tr '\n' ',' | sed 's/,$//'
}

# The unit tests of containers, handles and locks, as Meson takes a list.
public_units() {
    (cd test && find unit/main.cpp unit/container unit/handle unit/sync -maxdepth 1 -name '*.cpp') |
        tr '\n' ',' | sed 's/,$//'
}

# Some kernels run only 64-bit programs.
runs_32_bit() {
    echo 'int main() {}' | g++ -m32 -x c++ - -o "$build/probe32" && "$build/probe32" 2>/dev/null
}

# clang must find that words are aligned, or the programs would need libatomic.
linked_by_clang_32_bit() {
    for each in test/no_exceptions docs/examples/hash_map docs/examples/shared_ownership; do
        case $each in test/*) without="-fno-exceptions -fno-rtti" ;; *) without= ;; esac
        # shellcheck disable=SC2086 # two words
        clang++-19 -m32 -isystem /usr/include/x86_64-linux-gnu -std=c++20 -Wall -Wextra -Werror \
            $without -I include "$each.cpp" -pthread -o "$build/clang32" || return 1
        "$build/clang32" || return 1
    done
}

only_compiled_32_bit() {
    find test/unit -name '*.cpp' -print0 |
        xargs -0 -n 8 -P 2 g++ -m32 -isystem /usr/include/x86_64-linux-gnu -std=c++20 -Wall -Wextra \
            -Werror -DDOCTEST_CONFIG_USE_STD_HEADERS -I include -I test -fsyntax-only || return 1
    echo "this kernel runs no 32-bit programs"
    echo "1 passed, 0 failed, 1 skipped"
}

# With the headers of another C library; Debian has no C++ library that could be linked with it.
compiled_with_musl() {
    mkdir -p "$build/musl" &&
        ln -sfn /usr/include/linux "$build/musl/linux" &&
        ln -sfn /usr/include/asm-generic "$build/musl/asm-generic" &&
        ln -sfn "/usr/include/$(g++ -dumpmachine)/asm" "$build/musl/asm" &&
        printf '#include <cohold/%s.hpp>\n' cohold inspect |
        clang++-19 --target=x86_64-linux-musl -nostdinc -D_LIBCPP_HAS_MUSL_LIBC=1 -D_GNU_SOURCE \
            -isystem "$(dirname "$(readlink -f "$(command -v clang++-19)")")/../include/c++/v1" \
            -isystem "$(clang++-19 -print-resource-dir)/include" \
            -isystem /usr/include/x86_64-linux-musl -isystem "$build/musl" \
            -std=c++20 -Wall -Wextra -Werror -Wno-sign-compare -I include -fsyntax-only -x c++ -
}

# Unit tests for other processors, run by qemu: of what depends on the order of memory accesses, on the
# instructions for atomic operations and on how types are laid out. On a processor with a strong
# order qemu shows what the compiler has reordered, but not what the other processor would.
cross() {
    chosen=unit/main.cpp
    for each in type/offset_ptr container/shm_vector container/shm_string \
        container/shm_hash_map_shared container/shm_queue container/shm_queue_many \
        container/shm_latest container/shm_broadcast engine/heap engine/journal \
        engine/robust_lock; do
        chosen=$chosen,unit/$each.cpp
    done
    excluded=$(grep -v '^#' test/cross/excluded | paste -sd ,)
    : >"$build/cross.json"
    for processor in aarch64 riscv64; do
        directory=$build/$processor
        reconfigure=
        [ -f "$directory/build.ninja" ] && reconfigure=--reconfigure
        meson setup $reconfigure "$directory" --cross-file test/cross/$processor.ini \
            -Dwerror="$werror" -Dtests=enabled -Dexamples=disabled -Dbuildtype=plain \
            -Doptimization=1 -Dtogether=true -Dcompiled=true -Donly="$chosen" &&
            ninja -C "$directory" test/unit || return 1
        rm -f "$directory/meson-logs/testlog.json"
        meson test -C "$directory" --no-rebuild --suite unit --timeout-multiplier=2 \
            --test-args="'--test-case-exclude=$excluded'"
        cat "$directory/meson-logs/testlog.json" >>"$build/cross.json" || return 1
    done
    python3 test/count.py "$build/cross.json"
}

# Programs of several compilers together. Outside of CI, those that are missing are skipped.
interop() {
    step interop python3 test/interop/run.py "$build/interop"
    step plugin python3 test/plugin/run.py "$build/plugin"
}

if [ -n "$ci" ]; then
    leftovers >"$build/leftovers"
fi

need_build_tools
need_boost
need_asio
need doctest-dev compiles '#include <doctest/doctest.h>' g++ -c
need python3 python3 --version
need gdb gdb --version
need python3-numpy /usr/bin/python3 -c 'import numpy'
need "libzmq3-dev cppzmq-dev" compiles '#include <zmq.hpp>' g++ -c
need iproute2 ip -V
install_missing
step tree python3 test/tree.py
step gcc configuration gcc "unit process link compile examples" g++ -Dbuildtype=plain \
    -Dtogether=true -Dcompiled=true
step crash configuration crash "crash" g++ -Dbuildtype=plain -Dcrash=true
if [ -z "$ci" ]; then
    interop
    step site sh test/site/run.sh "$build/site"
fi

if [ -n "$ci" ]; then
    need clang-19 clang++-19 --version
    need clang-format-19 clang-format-19 --version
    need libclang-rt-19-dev compiles '' clang++-19 -fsanitize=address
    need "libc++-19-dev libc++abi-19-dev" compiles '#include <vector>' clang++-19 -stdlib=libc++
    need cmake cmake --version
    need musl-dev test -f /usr/include/x86_64-linux-musl/stdio.h
    need pkgconf pkg-config --version
    need "debhelper dpkg-dev" sh -c "dh --help && dpkg-buildpackage --version"
    need lintian lintian --version
    need man-db man --version
    need "g++-$(g++ -dumpversion)-multilib" compiles '#include <vector>' g++ -m32 \
        -isystem /usr/include/x86_64-linux-gnu
    need g++-aarch64-linux-gnu compiles '#include <vector>' aarch64-linux-gnu-g++
    need g++-riscv64-linux-gnu compiles '#include <vector>' riscv64-linux-gnu-g++
    need qemu-user qemu-riscv64 --version
    need python3-matplotlib /usr/bin/python3 -c 'import matplotlib'
    need doxygen doxygen --version
    need "mkdocs mkdocs-material" mkdocs --version
    if command -v chromium >/dev/null; then # a hundred megabytes, otherwise
        need "chromium-driver python3-selenium" chromedriver --version
    fi
    install_missing
    interop
    step site sh test/site/run.sh "$build/site" --quick
    step format format
    case $wanted in *" crash_clang "*) # only if asked for by name: it takes minutes
        step crash_clang configuration crash_clang "crash" clang++-19 -Dbuildtype=plain -Dcrash=true ;;
    esac
    # Optimised, without the run-time checks, and from the one file.
    step single_include configuration single_include "unit link" g++ -Dbuildtype=plain \
        -Db_ndebug=true -Dsingle_include=true -Dcpp_args=-O2 -Dtogether=true \
        -Donly="$(public_units)"
    step libc++ configuration libc++ "unit process link compile" clang++-19 -Dbuildtype=plain \
        -Dcpp_args=-stdlib=libc++ -Dcpp_link_args=-stdlib=libc++ -Dtogether=true \
        -Dcompiled=true \
        -Donly="$(selected fork participants kill_queue)"
    if runs_32_bit; then
        step 32-bit configuration 32-bit "unit process link" \
            "g++ -m32 -isystem /usr/include/x86_64-linux-gnu" -Dbuildtype=plain -Dtogether=true \
            -Dcompiled=true -Donly="$(selected bad_input fork full_tmpfs liveness native_event participants kill_queue sync_killed two_mappings)"
        step clang_32-bit linked_by_clang_32_bit
    else
        step 32-bit only_compiled_32_bit
    fi
    step sanitizers configuration sanitizers "unit process" clang++-19 -Dbuildtype=plain \
        -Db_sanitize=address,undefined -Db_lundef=false \
        -Dcpp_args="-g1 -fno-sanitize-recover=all" -Dtogether=true \
        -Donly="$(selected bad_input contract_unnamed fork native_event participants kill_queue sync_killed listing inspect_fuzz passing two_mappings)"
    step threads configuration threads "unit process" clang++-19 -Dbuildtype=plain \
        -Db_sanitize=thread -Db_lundef=false -Dcpp_args=-g1 -Dtogether=true -Donly="$(threaded)"
    step musl compiled_with_musl
    step cross cross
    step package sh test/package/run.sh
    step nothing_left nothing_left
fi

if [ "$ran" = 0 ]; then
    echo "no such step:$wanted" >&2
    failed=1
fi
if [ "$skipped" = 0 ]; then
    echo "$passed passed, $failed failed"
else
    echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" = 0 ]
