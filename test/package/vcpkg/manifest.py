#!/usr/bin/env python3
# Checks what packaging/release.py has made for a registry of vcpkg, as `vcpkg format-manifest` and
# `vcpkg x-add-version` would.
#
#     manifest.py FOLDER
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import pathlib
import re
import subprocess
import sys

folder = pathlib.Path(sys.argv[1])
port = folder / "ports/cohold"
text = (port / "vcpkg.json").read_text()
manifest = json.loads(text)
# The order and the indentation that format-manifest gives.
order = ["name", "version", "description", "homepage", "license", "supports", "dependencies",
         "features"]
assert list(manifest) == order, list(manifest)
assert text == json.dumps(manifest, indent=2) + "\n"
word = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
assert word.fullmatch(manifest["name"]) and re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
names = [each["name"] for each in manifest["dependencies"]]
assert names == sorted(names) and all(word.fullmatch(each) for each in names)
assert all(set(each) == {"name", "host"} for each in manifest["dependencies"])
assert list(manifest["features"]) == sorted(manifest["features"])
for name, feature in manifest["features"].items():
    assert word.fullmatch(name) and list(feature) == ["description"]
    assert not feature["description"].endswith(".")
# Every feature is one that the port acts on, and every function one that the port asks for.
script = (port / "portfile.cmake").read_text()
assert all(name in script for name in manifest["features"])
assert "vcpkg_cmake_config_fixup" in script and "vcpkg-cmake-config" in names
assert "vcpkg_configure_meson" in script and "vcpkg-tool-meson" in names
assert "CURRENT_PORT_DIR" not in script, "takes the sources from this tree"

# The registry: the newest version is the port that lies there.
(version,) = json.loads((folder / "versions/c-/cohold.json").read_text())["versions"]
assert version["version"] == manifest["version"] and version["port-version"] == 0
baseline = json.loads((folder / "versions/baseline.json").read_text())["default"]["cohold"]
assert baseline == {"baseline": manifest["version"], "port-version": 0}
git = ["git", "--git-dir=registry", "--work-tree=."]
for command in ["init", "--quiet"], ["add", "ports"]:
    subprocess.run([*git, *command], check=True, cwd=folder)
tree = subprocess.run([*git, "write-tree", "--prefix=ports/cohold/"], check=True, cwd=folder,
                      capture_output=True, text=True).stdout.strip()
assert tree == version["git-tree"], f"git calls the port {tree}"
