# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import os

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain
from conan.tools.files import copy

required_conan_version = ">=2.0"


class Cohold(ConanFile):
    name = "cohold"
    version = "0.1.0"
    license = "MIT"
    description = "Typed data, queues and containers in shared memory, for C++20 on Linux"
    topics = ("shared-memory", "ipc", "containers", "header-only")
    settings = "os", "arch", "compiler", "build_type"
    options = {"compiled": [True, False]}
    default_options = {"compiled": False}
    exports_sources = "include/*", "CMakeLists.txt", "LICENSE"
    no_copy_source = True

    def validate(self):
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration("cohold is for Linux")
        check_min_cppstd(self, 20)

    def configure(self):
        self.package_type = "static-library" if self.options.compiled else "header-library"

    def package_id(self):
        if not self.info.options.compiled:
            self.info.clear()

    def generate(self):
        if self.options.compiled:
            CMakeToolchain(self).generate()

    def build(self):
        if self.options.compiled:
            cmake = CMake(self)
            cmake.configure()
            cmake.build(target="cohold_compiled")

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        for pattern in "*.hpp", "*.ipp":
            copy(self, pattern, os.path.join(self.source_folder, "include"),
                 os.path.join(self.package_folder, "include"))
        copy(self, "*.a", self.build_folder, os.path.join(self.package_folder, "lib"),
             keep_path=False)

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "cohold")
        # Not the names that the components have.
        self.cpp_info.set_property("cmake_target_name", "cohold::all")
        self.cpp_info.set_property("pkg_config_name", "cohold-all")
        headers = self.cpp_info.components["headers"]
        headers.bindirs = []
        headers.libdirs = []
        headers.system_libs = ["pthread"]
        headers.set_property("cmake_target_name", "cohold::cohold")
        headers.set_property("pkg_config_name", "cohold")
        if self.options.compiled:
            checks = int(self.settings.build_type == "Debug")
            compiled = self.cpp_info.components["compiled"]
            compiled.bindirs = []
            compiled.libs = ["cohold_compiled"]
            compiled.requires = ["headers"]
            compiled.defines = ["COHOLD_SEPARATE_COMPILATION", f"COHOLD_HEAP_CHECKS={checks}"]
            compiled.set_property("cmake_target_name", "cohold::compiled")
            compiled.set_property("pkg_config_name", "cohold-compiled")
