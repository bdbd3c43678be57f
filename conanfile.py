# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import os

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy

required_conan_version = ">=2.0"


class Cohold(ConanFile):
    name = "cohold"
    version = "0.1.0"
    license = "MIT"
    description = "Typed data, queues and containers in shared memory, for C++20 on Linux"
    topics = ("shared-memory", "ipc", "containers", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    exports_sources = "include/cohold/*", "LICENSE"
    no_copy_source = True

    def validate(self):
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration("cohold is for Linux")
        check_min_cppstd(self, 20)

    def package_id(self):
        self.info.clear()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"),
             os.path.join(self.package_folder, "include"))

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.system_libs = ["pthread"]
        self.cpp_info.set_property("cmake_file_name", "cohold")
        self.cpp_info.set_property("cmake_target_name", "cohold::cohold")
        self.cpp_info.set_property("pkg_config_name", "cohold")
