#!/bin/sh
# Tries each way to get cohold into a program, with one program: consumer.cpp. Conan and vcpkg are
# tried where they are installed. Works in a temporary directory, which it removes.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=$(cd "$here/../.." && pwd)
version=$(awk '/^#define COHOLD_VERSION_[A-Z]+ [0-9]/ { printf "%s%s", dot, $3; dot = "." }' \
    "$root/include/cohold/version.hpp")
CXX=${CXX:-g++}
export CXX
export CMAKE_GENERATOR=Ninja
temporary=$(mktemp -d "${TMPDIR:-/tmp}/cohold-package.XXXXXX") || exit 1
trap 'rm -rf "$temporary"' EXIT
trap 'exit 1' HUP INT TERM
cd "$temporary" || exit 1
passed=0
failed=0
skipped=0

# check NAME COMMAND…
check() {
    name=$1
    shift
    if "$@" >log 2>&1; then
        echo "ok   $name"
        passed=$((passed + 1))
    else
        echo "FAIL $name"
        sed 's/^/     /' log
        failed=$((failed + 1))
    fi
}

skip() {
    echo "skip $1: $2"
    skipped=$((skipped + 1))
}

# The program prints the version that it was built with.
says_version() {
    said=$("$1") && echo "$said" && [ "$said" = "cohold $version" ]
}

install_tree() {
    meson setup installing "$root" --prefix="$temporary/first" -Dtests=disabled \
        -Dexamples=disabled &&
        meson install -C installing &&
        # Moved, because a package must not depend on where it was installed.
        mv first prefix
}

install_compiled() {
    meson setup compiling "$root" --prefix="$temporary/second" --libdir=lib -Dtests=disabled \
        -Dexamples=disabled -Dcompiled=true &&
        meson install -C compiling &&
        mv second compiled
}

same_headers() {
    diff -r "$root/include/cohold" prefix/include/cohold
}

no_stray_files() {
    find prefix -type f ! -path 'prefix/include/cohold/*.[hi]pp' |
        grep -vx prefix/include/cohold/cohold.cppm | sort >found
    printf 'prefix/share/%s\n' cmake/cohold/coholdConfig.cmake \
        cmake/cohold/coholdConfigVersion.cmake pkgconfig/cohold.pc | diff - found
}

# The tool works, and what belongs to it is where it is looked for.
installed_tools() {
    meson setup tooling "$root" --prefix="$temporary/third" -Dtests=disabled -Dexamples=disabled \
        -Dtools=true &&
        meson install -C tooling &&
        third/bin/cohold_inspect --version | grep -qF "cohold_inspect $version," &&
        find third/bin third/share -type f ! -name '*.cmake' ! -name '*.pc' | sort >found &&
        printf 'third/%s\n' bin/cohold_inspect share/bash-completion/completions/cohold_inspect \
            share/gdb/python/gdb/printer/cohold.py share/man/man1/cohold_inspect.1 | diff - found
}

by_pkg_config() {
    # shellcheck disable=SC2046 # flags are words
    [ "$(pkg-config --modversion cohold)" = "$version" ] &&
        "$CXX" -std=c++20 "$here/consumer.cpp" \
            $(pkg-config --define-prefix --cflags --libs cohold) -o by-pkg-config &&
        says_version ./by-pkg-config
}

compiled_by_pkg_config() {
    PKG_CONFIG_PATH=$temporary/compiled/lib/pkgconfig:$temporary/compiled/share/pkgconfig
    # shellcheck disable=SC2046 # flags are words
    "$CXX" -std=c++20 "$here/consumer.cpp" \
        $(pkg-config --define-prefix --cflags --libs cohold-compiled) -o compiled-by-pkg-config &&
        says_version ./compiled-by-pkg-config
}

# One unit of each way in the same program: each has names of its own, and both work.
both_ways() {
    separate='-DCOHOLD_SEPARATE_COMPILATION -DCOHOLD_HEAP_CHECKS=1'
    printf 'int first();\nint second();\nint main() { return first() + second(); }\n' >both.cpp
    # shellcheck disable=SC2086 # flags are words
    "$CXX" -std=c++20 -I"$root/include" -c -Dmain=first "$here/consumer.cpp" -o first.o &&
        "$CXX" -std=c++20 -I"$root/include" -c -Dmain=second $separate "$here/consumer.cpp" \
            -o second.o &&
        nm -C second.o | grep -q ' U cohold::checked_v1::detail::' &&
        "$CXX" both.cpp first.o second.o compiled/lib/libcohold.a -o both-ways && ./both-ways
}

by_hand() {
    "$CXX" -std=c++20 -I"$1" -DCOHOLD_SEPARATE_COMPILATION "$here/consumer.cpp" \
        "$root/include/src.cpp" -o by-hand && says_version ./by-hand
}

compiled_by_meson() {
    mkdir -p project/subprojects/cohold &&
        cp -R "$here/meson/." "$here/consumer.cpp" project &&
        cp -R "$root/meson.build" "$root/meson_options.txt" "$root/include" \
            project/subprojects/cohold &&
        meson setup --wrap-mode=forcefallback -Dcohold=cohold-compiled -Dcohold:compiled=true \
            project/compiled project && ninja -C project/compiled &&
        says_version project/compiled/consumer
}

# import cohold; with the compiler that can.
by_module() {
    clang++-19 -std=c++20 -Wall -Wextra -Werror -Iprefix/include --precompile -x c++-module \
        prefix/include/cohold/cohold.cppm -o cohold.pcm &&
        clang++-19 -std=c++20 -c cohold.pcm -o cohold-module.o &&
        clang++-19 -std=c++20 -Wall -Wextra -Werror -fmodule-file=cohold=cohold.pcm \
            "$here/importer.cpp" cohold-module.o -o importer && ./importer
}

pkg_config_refuses() {
    pkg-config --exists 'cohold >= 0.1' && ! pkg-config --print-errors --exists 'cohold >= 0.2'
}

# by_cmake DIRECTORY FLAGS…
by_cmake() {
    directory=$1
    shift
    cmake -S "$here/cmake" -B "$directory" "$@" && cmake --build "$directory" &&
        says_version "$directory/consumer"
}

cmake_refuses() {
    if cmake -S "$here/cmake" -B "refused-$1" -DCMAKE_PREFIX_PATH="$temporary/prefix" \
        -DCOHOLD_VERSION="$1" >cmake.log 2>&1; then
        return 1
    fi
    cat cmake.log
    grep -q 'considered but not accepted' cmake.log
}

cmake_accepts() {
    cmake -S "$here/cmake" -B "accepted-$1" -DCMAKE_PREFIX_PATH="$temporary/prefix" \
        -DCOHOLD_VERSION="$1"
}

by_meson() {
    mkdir -p project/subprojects/cohold &&
        cp -R "$here/meson/." "$here/consumer.cpp" project &&
        cp -R "$root/meson.build" "$root/meson_options.txt" "$root/include" \
            project/subprojects/cohold &&
        meson setup --wrap-mode=forcefallback project/build project &&
        ninja -C project/build && says_version project/build/consumer
}

by_single_include() {
    "$CXX" -std=c++20 -I"$root/single_include" "$here/consumer.cpp" -o by-single-include &&
        says_version ./by-single-include
}

by_conan() {
    CONAN_HOME=$temporary/conan
    export CONAN_HOME
    conan profile detect &&
        conan create "$root" --test-folder="$here/cmake" -s compiler.cppstd=20 &&
        conan create "$root" --test-folder="$here/cmake" -s compiler.cppstd=20 -o '&:compiled=True'
}

by_vcpkg() {
    toolchain=${VCPKG_ROOT:-$(dirname "$(command -v vcpkg)")}/scripts/buildsystems/vcpkg.cmake
    vcpkg install 'cohold[compiled]' --classic --overlay-ports="$here/vcpkg/ports" \
        --x-install-root="$temporary/vcpkg" --x-buildtrees-root="$temporary/vcpkg-build" \
        --x-packages-root="$temporary/vcpkg-packages" &&
        by_cmake with-vcpkg -DCMAKE_TOOLCHAIN_FILE="$toolchain" \
            -DVCPKG_INSTALLED_DIR="$temporary/vcpkg" -DVCPKG_MANIFEST_MODE=OFF &&
        by_cmake compiled-with-vcpkg -DCMAKE_TOOLCHAIN_FILE="$toolchain" \
            -DVCPKG_INSTALLED_DIR="$temporary/vcpkg" -DVCPKG_MANIFEST_MODE=OFF \
            -DCOHOLD_TARGET=cohold::compiled
}

# The archive of the commit that is checked out: the same in another checkout, with another umask.
archives() {
    git clone -q "$root" clone || return 1
    (umask 022 && meson setup dist "$root" -Dtests=disabled -Dexamples=disabled &&
        meson dist -C dist --no-tests --allow-dirty) || return 1
    sleep 1 # until the time, in seconds, is another
    (umask 077 && meson setup again clone -Dtests=disabled -Dexamples=disabled &&
        TZ=Asia/Tokyo meson dist -C again --no-tests) || return 1
    cmp "$archive" "again/meson-dist/cohold-$version.tar.xz" &&
        ! tar -tf "$archive" | grep -E '/(debian|\.git|build)(/|$)' &&
        python3 "$root/packaging/release.py" "$archive" "file://$archive" \
            https://example.org/cohold release
}

by_wrap() {
    mkdir -p wrapped/subprojects &&
        cp -R "$here/meson/." "$here/consumer.cpp" wrapped &&
        cp release/cohold.wrap wrapped/subprojects &&
        meson setup --wrap-mode=forcefallback wrapped/build wrapped &&
        ninja -C wrapped/build && says_version wrapped/build/consumer
}

by_recipe() {
    python3 "$here/conan/recipe.py" release/recipes/cohold/all "$version" conan-steps
}

by_port() {
    python3 "$here/vcpkg/manifest.py" release &&
        cmake -DPORT_DIR="$temporary/release/ports/cohold" -DWORK_DIR="$temporary/vcpkg-steps" \
            -DFEATURES='core;compiled;tools' -P "$here/vcpkg/port.cmake" &&
        vcpkg-steps/package/tools/cohold/cohold_inspect --version &&
        by_cmake with-port -DCMAKE_PREFIX_PATH="$temporary/vcpkg-steps/package" \
            -DCOHOLD_TARGET=cohold::compiled
}

# Debian's packages, built as Debian builds them.
debian_packages() {
    mkdir debian && cp "$archive" "debian/cohold_$version.orig.tar.xz" &&
        tar -C debian -xf "$archive" && cp -R "$root/debian" "debian/cohold-$version" || return 1
    changelog=$(dpkg-parsechangelog -l "$root/debian/changelog" -S Version) &&
        [ "${changelog%-*}" = "$version" ] || return 1
    (cd "debian/cohold-$version" && DEB_BUILD_OPTIONS='nocheck noautodbgsym' \
        dpkg-buildpackage -us -uc --build-profiles=nocheck) || return 1
    # --allow-root: it warns of being run by root.
    lintian --allow-root --info --fail-on error,warning,info --display-info debian/*.changes
}

# The packages, installed below a root of their own.
by_debian_packages() {
    installed=$temporary/debian/root
    mkdir -p "$installed/var/lib/dpkg/updates" "$installed/var/lib/dpkg/info" \
        "$installed/var/log" && : >"$installed/var/lib/dpkg/status" &&
        dpkg --root="$installed" --force-depends --force-not-root --install debian/*.deb &&
        dpkg --root="$installed" --verify || return 1
    "$installed/usr/bin/cohold_inspect" --version | grep -F "cohold_inspect $version," &&
        man --local-file -P cat "$installed/usr/share/man/man1/cohold_inspect.1.gz" |
        grep -q 'cohold_inspect COMMAND' &&
        [ -f "$installed/usr/share/gdb/python/gdb/printer/cohold.py" ] &&
        [ -f "$installed/usr/share/bash-completion/completions/cohold_inspect" ] || return 1
    # shellcheck disable=SC2046 # flags are words
    "$CXX" -std=c++20 "$here/consumer.cpp" $(PKG_CONFIG_PATH='' PKG_CONFIG_SYSROOT_DIR=$installed \
        PKG_CONFIG_LIBDIR=$installed/usr/share/pkgconfig pkg-config --cflags --libs cohold) \
        -o debian/consumer && says_version debian/consumer &&
        by_cmake with-debian -DCMAKE_PREFIX_PATH="$installed/usr" &&
        dpkg --root="$installed" --force-not-root --purge libcohold-dev cohold-tools &&
        [ -z "$(find "$installed/usr" ! -type d)" ]
}

archive=$temporary/dist/meson-dist/cohold-$version.tar.xz

check "meson install" install_tree
PKG_CONFIG_PATH=$temporary/prefix/share/pkgconfig
export PKG_CONFIG_PATH
check "the installed headers are those of include/" same_headers
check "nothing else is installed" no_stray_files
check "meson install of the tools" installed_tools
check "pkg-config" by_pkg_config
check "pkg-config refuses a newer version" pkg_config_refuses
check "CMake, find_package" by_cmake with-find-package -DCMAKE_PREFIX_PATH="$temporary/prefix"
for wrong in 0.0 0.2 1 1.0 0.1.99; do
    check "CMake refuses version $wrong" cmake_refuses "$wrong"
done
for right in 0.1.0 0.1...0.9; do
    check "CMake accepts version $right" cmake_accepts "$right"
done
check "CMake, FetchContent" by_cmake with-fetch-content -DCOHOLD_SOURCE="$root"
check "Meson subproject" by_meson
check "single header" by_single_include
if command -v clang++-19 >/dev/null; then
    check "module" by_module
else
    skip "module" "clang++-19 is not installed"
fi
check "compiled: meson install" install_compiled
check "compiled: pkg-config" compiled_by_pkg_config
check "compiled: CMake, find_package" by_cmake compiled-find-package \
    -DCMAKE_PREFIX_PATH="$temporary/compiled" -DCOHOLD_TARGET=cohold::compiled
check "compiled: CMake, FetchContent" by_cmake compiled-fetch-content -DCOHOLD_SOURCE="$root" \
    -DCOHOLD_TARGET=cohold::compiled
check "compiled: Meson subproject" compiled_by_meson
check "compiled: <cohold/src.hpp>" by_hand "$root/include"
check "compiled: <cohold/src.hpp> of the single header" by_hand "$root/single_include"
check "compiled and header-only units in one program" both_ways
if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
    check "meson dist makes the same archive twice" archives
    check "Meson, wrap file" by_wrap
    check "the steps of Conan's index" by_recipe
    check "the steps of vcpkg" by_port
    if command -v dpkg-buildpackage >/dev/null && command -v lintian >/dev/null; then
        check "Debian's packages" debian_packages
        check "Debian's packages, installed" by_debian_packages
    else
        skip "Debian's packages" "dpkg-buildpackage or lintian is not installed"
    fi
else
    skip "meson dist and what is made of it" "this is no checkout of git"
fi
if command -v conan >/dev/null; then
    check "Conan" by_conan
else
    skip "Conan" "conan is not installed"
fi
if command -v vcpkg >/dev/null; then
    check "vcpkg" by_vcpkg
else
    skip "vcpkg" "vcpkg is not installed"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
