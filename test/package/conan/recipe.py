#!/usr/bin/env python3
# Runs a recipe of Conan where there is no Conan: what Conan calls, in its order, with the functions
# that recipes of cohold import from it. Then builds the consumer with what the recipe says of the
# package.
#
#     recipe.py FOLDER VERSION WORK_FOLDER        FOLDER has conanfile.py, and perhaps conandata.yml
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import ast
import fnmatch
import hashlib
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import types
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
COMPILER = os.environ.get("CXX", "g++")


class Values(types.SimpleNamespace):
    """Settings and options, which are attributes."""


class Described:
    """cpp_info, or one of its components."""

    def __init__(self):
        self.bindirs, self.libdirs, self.includedirs = ["bin"], ["lib"], ["include"]
        self.libs, self.system_libs, self.defines, self.requires = [], [], [], []
        self.properties = {}

    def set_property(self, name, value):
        self.properties[name] = value


class Components(dict):
    def __missing__(self, name):
        self[name] = Described()
        return self[name]


class Info:
    """What identifies a package: without its settings, all are the same."""

    def __init__(self, options):
        self.options = options
        self.cleared = False

    def clear(self):
        self.cleared = True


class Invalid(Exception):
    pass


def get(recipe, url, sha256, strip_root):
    assert strip_root
    archive = recipe.work / "downloaded.tar.xz"
    with urllib.request.urlopen(url) as content:
        archive.write_bytes(content.read())
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == sha256, "another archive"
    with tarfile.open(archive) as opened:
        opened.extractall(recipe.work / "unpacked")
    (root,) = (recipe.work / "unpacked").iterdir()
    shutil.copytree(root, recipe.source_folder, dirs_exist_ok=True)


def copy(recipe, pattern, source, target, keep_path=True):
    for path in sorted(pathlib.Path(source).rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and fnmatch.fnmatch(str(relative), pattern):
            to = pathlib.Path(target) / (relative if keep_path else relative.name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def check_min_cppstd(recipe, least):
    if int(recipe.settings.cppstd) < least:
        raise Invalid(f"C++{recipe.settings.cppstd}")


def basic_layout(recipe, src_folder):
    recipe.source_folder = str(recipe.work / src_folder)


class CMake:
    def __init__(self, recipe):
        self.recipe = recipe

    def configure(self):
        subprocess.run(["cmake", "-G", "Ninja", "-S", self.recipe.source_folder, "-B",
                        self.recipe.build_folder,
                        f"-DCMAKE_BUILD_TYPE={self.recipe.settings.build_type}"], check=True)

    def build(self, target):
        subprocess.run(["cmake", "--build", self.recipe.build_folder, "--target", target],
                       check=True)


class CMakeToolchain:
    def __init__(self, recipe):
        pass

    def generate(self):
        pass


def module(name, **content):
    made = types.ModuleType(name)
    made.__dict__.update(content)
    sys.modules[name] = made


def stand_in():
    module("conan", ConanFile=type("ConanFile", (), {}))
    module("conan.errors", ConanInvalidConfiguration=Invalid)
    module("conan.tools")
    module("conan.tools.build", check_min_cppstd=check_min_cppstd)
    module("conan.tools.cmake", CMake=CMake, CMakeToolchain=CMakeToolchain)
    module("conan.tools.files", copy=copy, get=get)
    module("conan.tools.layout", basic_layout=basic_layout)


def read_conandata(folder):
    """conandata.yml, of which the test needs these lines, as YAML has them."""
    file = folder / "conandata.yml"
    if not file.exists():
        return None
    found = re.fullmatch(r'sources:\n  "([\d.]+)":\n    url: "(.*)"\n    sha256: "([0-9a-f]{64})"\n',
                         file.read_text())
    assert found, "conandata.yml has another form"
    return {"sources": {found[1]: {"url": found[2], "sha256": found[3]}}}


def load(folder):
    spec = importlib.util.spec_from_file_location("conanfile", folder / "conanfile.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    (recipe,) = [each for each in vars(loaded).values()
                 if isinstance(each, type) and each.__module__ == "conanfile"]
    return recipe


def described(kind, version, folder, work, compiled, **settings):
    """A recipe in a folder of its own, with the attributes that Conan gives it."""
    recipe = kind()
    recipe.work = work
    work.mkdir(parents=True)
    recipe.settings = Values(**{"os": "Linux", "build_type": "Release", "cppstd": "20"} | settings)
    recipe.options = Values(compiled=compiled)
    recipe.info = Info(recipe.options)
    recipe.version = getattr(recipe, "version", version)
    recipe.conan_data = read_conandata(folder)
    for name in "source", "build", "package":
        setattr(recipe, f"{name}_folder", str(work / name))
    recipe.cpp_info = Described()
    recipe.cpp_info.components = Components()
    return recipe


def call(recipe, *names):
    for name in names:
        getattr(recipe, name, lambda: None)()


def refuses(kind, version, folder, work, **settings):
    try:
        call(described(kind, version, folder, work, False, **settings), "configure", "validate")
    except Invalid:
        return
    raise AssertionError(f"accepts {settings}")


def exported(recipe, folder):
    """What `conan create` copies of a recipe's own folder."""
    for pattern in recipe.exports_sources:
        for path in folder.glob(pattern.replace("/*", "/**/*")):
            if path.is_file():
                to = pathlib.Path(recipe.source_folder) / path.relative_to(folder)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)


def package(kind, version, folder, work, compiled):
    recipe = described(kind, version, folder, work, compiled)
    call(recipe, "configure", "layout", "validate", "package_id", "source")
    if recipe.conan_data is None:
        exported(recipe, folder)
    before = sorted(pathlib.Path(recipe.source_folder).rglob("*"))
    call(recipe, "generate", "build", "package", "package_info")
    assert before == sorted(pathlib.Path(recipe.source_folder).rglob("*")), "changes its source"
    wanted = "static-library" if compiled else "header-library"
    assert recipe.package_type == wanted and recipe.info.cleared != compiled
    assert (pathlib.Path(recipe.package_folder) / "licenses/LICENSE").stat().st_size > 500
    return recipe


def consumer(recipe, name, component):
    """The consumer's program, with the flags that generators take from a component."""
    parts = recipe.cpp_info.components
    needed = [parts[component], *(parts[each] for each in parts[component].requires)]
    root = pathlib.Path(recipe.package_folder)
    flags = [f"-I{root / folder}" for each in needed for folder in each.includedirs]
    flags += [f"-D{each}" for part in needed for each in part.defines]
    flags += [f"-L{root / folder}" for part in needed for folder in part.libdirs]
    flags += [f"-l{each}" for part in needed for each in part.libs + part.system_libs]
    program = recipe.work / name
    subprocess.run([COMPILER, "-std=c++20", HERE.parent / "consumer.cpp", *flags, "-o", program],
                   check=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout.strip()
    assert said == f"cohold {recipe.version}", said


def main(folder, version, work):
    ast.parse((folder / "conanfile.py").read_text(), feature_version=(3, 6)) # Conan's oldest
    stand_in()
    kind = load(folder)
    for setting in {"os": "Windows"}, {"os": "Macos"}, {"cppstd": "17"}:
        refuses(kind, version, folder, work / "-".join(setting.values()), **setting)
    plain = package(kind, version, folder, work / "plain", False)
    assert not (pathlib.Path(plain.package_folder) / "lib").exists()
    consumer(plain, "consumer", "headers")
    consumer(package(kind, version, folder, work / "compiled", True), "consumer", "compiled")
    for each in "name", "description", "license", "topics", "settings", "options":
        assert getattr(kind, each), each
    if plain.conan_data: # as the index has it
        assert kind.homepage and kind.url and not hasattr(kind, "exports_sources")
        assert "version" not in vars(kind)
        config = (folder.parent / "config.yml").read_text()
        assert config == f'versions:\n  "{version}":\n    folder: all\n', config
        tested = folder / "test_package"
        ast.parse((tested / "conanfile.py").read_text())
        assert (tested / "CMakeLists.txt").exists() and (tested / "test_package.cpp").exists()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], pathlib.Path(sys.argv[3]).resolve())
