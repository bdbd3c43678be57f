#!/bin/sh
# Installs what is missing (Debian, apt-get), builds with -O2, and prints tables of ratios in
# Markdown: cohold against the standard library, Boost and hand-written limits, side by side.
#
#   sh test/bench/run.sh [vector|strings|maps|ordered|heap|names|queue|family|lifecycle|locks|kills|huge|compile|paths]… [--quick] [--publish[=DIRECTORY]]
#
# --publish writes the results to docs/benchmarks/ (or DIRECTORY), too: a file of JSON for each
# benchmark that has run, and the pictures that docs/performance.md shows.
#
# maps is all containers but vectors and queues: it includes ordered and strings. The Boost to compare
# with is the newest that Debian has; it is unpacked in the build directory, not installed.
#
# Queue, family and locks use two cpus, with real-time priority where that is allowed. Exits with 1 if
# something could not be built or computed something wrong; no figure decides anything.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD_DIR:-$PWD/build}
mkdir -p "$build" || exit 1
build=$(cd "$build" && pwd)
. test/packages.sh

# optional PACKAGE HEADER: installs the package, if that is possible, or says that its rows are missing.
optional() {
    if ! compiles "#include $2" g++ -c -std=c++20 2>/dev/null; then
        (missing=$1 && install_missing) >&2 || echo "not compared with, because it is not there: $1"
    fi
}

all="vector maps ordered strings heap names queue family lifecycle locks kills huge compile paths"
wanted=
quick=
publish=
for argument in "$@"; do
    case $argument in
    --quick) quick=--quick ;;
    --publish) publish=docs/benchmarks ;;
    --publish=?*) publish=${argument#--publish=} ;;
    maps) wanted="$wanted maps ordered strings" ;;
    *)
        case " $all " in
        *" $argument "*) wanted="$wanted $argument" ;;
        *)
            echo "usage: sh test/bench/run.sh [$(echo "$all" | tr ' ' '|')]... [--quick]" \
                "[--publish[=DIRECTORY]]" >&2
            exit 2
            ;;
        esac
        ;;
    esac
done
[ -n "$wanted" ] || wanted=$all

need_build_tools
need_boost
need python3 python3 --version
[ -z "$publish" ] || need python3-matplotlib /usr/bin/python3 -c 'import matplotlib'
case " $wanted " in
*' queue '* | *' family '*)
    # Peers that Debian has. Where they cannot be installed, they are left out.
    optional libzmq3-dev '<zmq.h>'
    optional libatomic-queue-dev '<atomic_queue/atomic_queue.h>'
    optional libreaderwriterqueue-dev '<readerwriterqueue/readerwriterqueue.h>'
    optional libconcurrentqueue-dev '<concurrentqueue/concurrentqueue.h>'
    ;;
esac
case " $wanted " in
*' heap '*) # allocators to compare with, which are not needed to build
    library() { ldconfig -p | grep -q "$1"; }
    need libmimalloc2.0 library libmimalloc.so.2
    need libjemalloc2 library libjemalloc.so.2
    # jemalloc is loaded into the running benchmark.
    export GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384
    ;;
esac
case " $wanted " in
*' maps '*)
    need pkg-config pkg-config --version
    need libabsl-dev pkg-config --exists absl_flat_hash_map
    ;;
esac
install_missing >&2

# The newest Boost: prints its include directory, or nothing if only the installed one can be had, or
# is wanted: BENCH_BOOST=installed.
newest_boost() {
    [ "${BENCH_BOOST:-}" != installed ] || return 0
    newest=$(apt-cache search --names-only '^libboost1\.[0-9]*-dev$' 2>/dev/null |
        cut -d ' ' -f 1 | sort -V | tail -n 1)
    [ -n "$newest" ] || return 0
    if [ ! -d "$build/$newest/usr/include/boost" ]; then
        rm -rf "${build:?}/$newest"
        mkdir "$build/$newest" || return 0
        (cd "$build/$newest" && apt-get download "$newest" && dpkg -x ./*.deb . && rm ./*.deb) \
            >>"$build/apt.log" 2>&1 || return 0
    fi
    echo "$build/$newest/usr/include"
}

boost_directory=$(newest_boost)
flags=${boost_directory:+-isystem$boost_directory}
[ -z "$boost_directory" ] || export CPLUS_INCLUDE_PATH="$boost_directory" # for compile
directory=$build/bench
reconfigure=
[ -f "$directory/build.ninja" ] && reconfigure=--reconfigure
targets=
for name in $wanted; do
    [ -f "test/bench/$name.py" ] || targets="$targets test/bench/bench-$name"
done
if [ -n "$targets" ]; then
    # shellcheck disable=SC2086 # one word an argument
    if ! { meson setup $reconfigure "$directory" -Dbuildtype=plain -Doptimization=2 \
        -Db_ndebug=true "-Dcpp_args=$flags" -Dbenchmarks=enabled -Dtests=disabled \
        -Dexamples=disabled && ninja -C "$directory" $targets; } >"$build/bench.log" 2>&1; then
        cat "$build/bench.log" >&2
        exit 1
    fi
fi

compiler=$(${CXX:-g++} --version | head -n 1)
# shellcheck disable=SC2086 # one word or none
boost=$(printf '#include <boost/version.hpp>\nBOOST_LIB_VERSION\n' |
    g++ -E -P $flags -x c++ - | tail -n 1 | tr -d '"')
echo "$compiler; Boost $(echo "$boost" | tr _ .); Linux $(uname -r) $(uname -m); $(nproc) cpus"

status=0
measured=
results=$build/bench-results
rm -rf "$results"
mkdir "$results" || exit 1
for name in $wanted; do
    # Words: none, one or two options.
    options="$quick${publish:+ --json=$results/$name}"
    if [ -f "test/bench/$name.py" ]; then
        # shellcheck disable=SC2086 # words
        timeout 600 python3 "test/bench/$name.py" include $options
    else
        # shellcheck disable=SC2086 # words
        timeout 600 "$directory/test/bench/bench-$name" $options
    fi || { status=1 && continue; }
    measured="$measured $name=$results/$name"
done
if [ -n "$publish" ] && [ -n "$measured" ]; then
    echo
    # shellcheck disable=SC2086 # one word a benchmark
    /usr/bin/python3 test/bench/publish.py "$publish" $quick "--boost=$(echo "$boost" | tr _ .)" \
        "--compiler=$compiler" $measured || status=1
fi
rm -rf "$results"
exit $status
