#!/usr/bin/env python3
# Makes what registries of packages want of a release, from its archive and the address where that
# is downloaded from:
#
#     release.py ARCHIVE URL HOMEPAGE OUTPUT
#
# writes to OUTPUT
#
#     cohold.wrap              for subprojects/ of Meson projects
#     recipes/cohold/          for Conan's index: config.yml and all/
#     ports/, versions/        for a registry of vcpkg
#     watch                    for debian/watch
#
# ARCHIVE is what `meson dist` makes. The recipes are those in this tree, which take cohold from the
# tree; only the places that say so are replaced.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PORT = ROOT / "test/package/vcpkg/ports/cohold"


def replaced(text, *changes):
    for old, new in changes:
        if text.count(old) != 1:
            raise SystemExit(f"release.py: {text.count(old)} times, not once: {old}")
        text = text.replace(old, new)
    return text


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_wrap(output, release):
    text = (ROOT / "packaging/cohold.wrap").read_text()
    for name, value in release.items():
        text = text.replace(f"@{name}@", value)
    write(output / "cohold.wrap", text)


def write_conan(output, release):
    recipe = output / "recipes/cohold"
    version = release["version"]
    write(recipe / "config.yml", f'versions:\n  "{version}":\n    folder: all\n')
    write(recipe / "all/conandata.yml", f"""sources:
  "{version}":
    url: "{release["url"]}"
    sha256: "{release["sha256"]}"
""")
    text = (ROOT / "conanfile.py").read_text()
    exported = re.search(r"^    exports_sources = .*\n", text, re.MULTILINE)
    write(recipe / "all/conanfile.py", replaced(
        text,
        (f'    version = "{version}"\n',
         '    url = "https://github.com/conan-io/conan-center-index"\n'
         f'    homepage = "{release["homepage"]}"\n'),
        (exported[0], ""),
        ("import copy\n", "import copy, get\nfrom conan.tools.layout import basic_layout\n"),
        ("    def package_id(self):", """    def layout(self):
        basic_layout(self, src_folder="src")

    def source(self):
        get(self, **self.conan_data["sources"][self.version], strip_root=True)

    def package_id(self):""")))
    tested = recipe / "all/test_package"
    shutil.copytree(ROOT / "packaging/test_package", tested, dirs_exist_ok=True)
    shutil.copy(ROOT / "test/package/consumer.cpp", tested / "test_package.cpp")
    write(tested / "conanfile.py",
          (ROOT / "test/package/cmake/conanfile.py").read_text()
          .replace("consumer", "test_package").replace("Consumer", "TestPackage")
          .replace("# The test_package program", "# The test program"))


def git_tree(folder):
    """What git calls a folder's contents, by which a registry of vcpkg names a version of a port."""
    with tempfile.TemporaryDirectory() as scratch:
        def git(*arguments):
            return subprocess.run(["git", "--git-dir", scratch, "--work-tree", folder, *arguments],
                                  check=True, capture_output=True, text=True).stdout.strip()
        git("init", "--quiet")
        git("add", "--force", "--all", ".")
        return git("write-tree")


def write_vcpkg(output, release):
    port = output / "ports/cohold"
    text = (PORT / "portfile.cmake").read_text()
    local = re.search(r"\A(?:#.*\n)+get_filename_component\(SOURCE_PATH .*\n", text)
    write(port / "portfile.cmake", replaced(text, (local[0], f"""vcpkg_download_distfile(ARCHIVE
    URLS "{release["url"]}"
    FILENAME "cohold-{release["version"]}.tar.xz"
    SHA512 {release["sha512"]}
)
vcpkg_extract_source_archive(SOURCE_PATH ARCHIVE "${{ARCHIVE}}")
""")))
    manifest = {}
    for key, value in json.loads((PORT / "vcpkg.json").read_text()).items():
        manifest[key] = value
        if key == "description":
            manifest["homepage"] = release["homepage"]
    write(port / "vcpkg.json", json.dumps(manifest, indent=2) + "\n")
    shutil.copy(PORT / "usage", port / "usage")
    version = {"version": release["version"], "port-version": 0}
    write(output / "versions/c-/cohold.json", json.dumps(
        {"versions": [{"git-tree": git_tree(port), **version}]}, indent=2) + "\n")
    write(output / "versions/baseline.json", json.dumps(
        {"default": {"cohold": {"baseline": release["version"], "port-version": 0}}},
        indent=2) + "\n")


def write_watch(output, release):
    folder = release["url"].rsplit("/", 1)[0].replace(release["version"], "@ANY_VERSION@")
    write(output / "watch", f"version=4\n{release['homepage']} \\\n"
          f"    {folder}/cohold-@ANY_VERSION@@ARCHIVE_EXT@\n")


def main(archive, url, homepage, output):
    content = pathlib.Path(archive).read_bytes()
    version = re.fullmatch(r"cohold-(\d+\.\d+\.\d+)\.tar\.xz", os.path.basename(archive))
    if not version:
        raise SystemExit(f"release.py: {archive} is not named as `meson dist` names it")
    release = {"version": version[1], "url": url, "homepage": homepage,
               "sha256": hashlib.sha256(content).hexdigest(),
               "sha512": hashlib.sha512(content).hexdigest()}
    for each in write_wrap, write_conan, write_vcpkg, write_watch:
        each(pathlib.Path(output), release)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit("usage: release.py ARCHIVE URL HOMEPAGE OUTPUT")
    main(*sys.argv[1:])
