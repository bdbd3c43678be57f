#!/bin/sh
# Builds the documentation site: the guide's pages, and a reference of every public name, taken from
# the headers. Installs what is missing (Debian, apt-get).
#
#   sh docs/site.sh [DIRECTORY]    by default build/site
#
# To read it: python3 -m http.server -d build/site, then http://localhost:8000 in a browser.
# Exits with 1 if a name lacks a description, a link leads nowhere, or a tool has warned.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
set -u
case ${1-} in
-*)
    echo "usage: sh docs/site.sh [DIRECTORY]" >&2
    exit 2
    ;;
esac
out=$(realpath -m "${1:-$(dirname "$0")/../build/site}")
cd "$(dirname "$0")/.." || exit 1
build=${BUILD_DIR:-$PWD/build}
mkdir -p "$build" || exit 1
build=$(cd "$build" && pwd)
. test/packages.sh

need python3 python3 --version
need doxygen doxygen --version
need mkdocs mkdocs --version
need mkdocs-material test -d /usr/share/mkdocs/themes/material -o \
    -d /usr/lib/python3/dist-packages/material
install_missing

work=$build/site.work
rm -rf "$work" || exit 1
mkdir -p "$work/pages" || exit 1

# A warning of Doxygen is an error, but for those about specialisations of templates of std, which the
# reference does not show.
(
    cat docs/site/Doxyfile
    printf 'INPUT = "%s"\nSTRIP_FROM_PATH = "%s"\nOUTPUT_DIRECTORY = "%s"\n' \
        "$PWD/include/cohold" "$PWD/include" "$work/doxygen"
) >"$work/Doxyfile"
mkdir -p "$work/doxygen"
if ! doxygen "$work/Doxyfile" >"$work/doxygen.log" 2>&1; then
    cat "$work/doxygen.log" >&2
    exit 1
fi
if grep -v 'scope for class std::.* not found' "$work/doxygen.log" | grep . >&2; then
    exit 1
fi

python3 docs/site/api.py "$work/doxygen/xml" "$work/pages" || exit 1
python3 docs/site/pages.py "$work/pages" || exit 1
# A warning is an error for mkdocs, too: --strict.
if ! mkdocs build --strict --quiet --clean -f "$work/mkdocs.yml" -d "$out" >"$work/mkdocs.log" 2>&1; then
    cat "$work/mkdocs.log" >&2
    exit 1
fi
python3 docs/site/finish.py "$out" || exit 1
echo "$out/index.html"
