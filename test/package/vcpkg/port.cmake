# Builds a port as vcpkg does, with vcpkg's functions as far as ports of cohold call them:
#
#     cmake -DPORT_DIR=… -DWORK_DIR=… -DFEATURES="core;…" -P port.cmake
#
# The package comes to WORK_DIR/package, moved from where it was built.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
cmake_minimum_required(VERSION 3.20)
set(PORT cohold)
set(TARGET_TRIPLET x64-linux)
set(CURRENT_PORT_DIR "${PORT_DIR}")
set(CURRENT_BUILDTREES_DIR "${WORK_DIR}/build")
set(CURRENT_PACKAGES_DIR "${WORK_DIR}/building")

function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_download_distfile variable)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "FILENAME;SHA512" "URLS")
    set(file "${WORK_DIR}/${arg_FILENAME}")
    file(DOWNLOAD ${arg_URLS} "${file}" EXPECTED_HASH SHA512=${arg_SHA512})
    set(${variable} "${file}" PARENT_SCOPE)
endfunction()

function(vcpkg_extract_source_archive variable)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "ARCHIVE" "")
    file(ARCHIVE_EXTRACT INPUT "${arg_ARCHIVE}" DESTINATION "${CURRENT_BUILDTREES_DIR}/source")
    file(GLOB content "${CURRENT_BUILDTREES_DIR}/source/*")
    list(LENGTH content count)
    if(NOT count EQUAL 1) # vcpkg removes the topmost directory, of which there must be one
        message(FATAL_ERROR "not one directory: ${content}")
    endif()
    set(${variable} "${content}" PARENT_SCOPE)
endfunction()

function(vcpkg_configure_meson)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
    if(NOT VCPKG_BUILD_TYPE STREQUAL release)
        message(FATAL_ERROR "there are no debug variants")
    endif()
    run(meson setup ${arg_OPTIONS} --buildtype release --backend ninja --wrap-mode nodownload
        --default-library static --prefix "${CURRENT_PACKAGES_DIR}" --libdir lib
        "${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-rel" "${arg_SOURCE_PATH}")
endfunction()

function(vcpkg_install_meson)
    run(ninja -C "${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-rel" install)
endfunction()

# Its checks: files in share/ may not link, and what they name exists.
function(vcpkg_fixup_pkgconfig)
    file(GLOB found "${CURRENT_PACKAGES_DIR}/share/pkgconfig/*.pc")
    foreach(each IN LISTS found)
        file(STRINGS "${each}" links REGEX "^Libs: *[^ ]")
        if(links)
            message(FATAL_ERROR "${each} should be in lib/pkgconfig: ${links}")
        endif()
    endforeach()
    file(GLOB all "${CURRENT_PACKAGES_DIR}/*/pkgconfig/*.pc")
    foreach(each IN LISTS all)
        file(READ "${each}" text)
        string(REGEX REPLACE "prefix=[^\n]*" "prefix=\${pcfiledir}/../.." text "${text}")
        file(WRITE "${each}" "${text}")
        get_filename_component(name "${each}" NAME_WE)
        run(${CMAKE_COMMAND} -E env
            "PKG_CONFIG_PATH=${CURRENT_PACKAGES_DIR}/lib/pkgconfig:${CURRENT_PACKAGES_DIR}/share/pkgconfig"
            pkg-config --print-errors --exists ${name})
    endforeach()
endfunction()

function(vcpkg_cmake_config_fixup)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
    file(RENAME "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" "${CURRENT_PACKAGES_DIR}/share/${PORT}")
    file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/cmake")
    file(GLOB found "${CURRENT_PACKAGES_DIR}/share/${PORT}/*.cmake")
    foreach(each IN LISTS found) # one directory less to climb
        file(READ "${each}" text)
        string(REGEX REPLACE "(PACKAGE_PREFIX_DIR \"\\\${CMAKE_CURRENT_LIST_DIR})(/\\.\\.)+/?\""
               "\\1/../../\"" text "${text}")
        file(WRITE "${each}" "${text}")
    endforeach()
endfunction()

function(vcpkg_copy_tools)
    cmake_parse_arguments(PARSE_ARGV 0 arg "AUTO_CLEAN" "" "TOOL_NAMES")
    foreach(each IN LISTS arg_TOOL_NAMES)
        file(COPY "${CURRENT_PACKAGES_DIR}/bin/${each}"
             DESTINATION "${CURRENT_PACKAGES_DIR}/tools/${PORT}")
        if(arg_AUTO_CLEAN)
            file(REMOVE "${CURRENT_PACKAGES_DIR}/bin/${each}")
        endif()
    endforeach()
    file(GLOB rest "${CURRENT_PACKAGES_DIR}/bin/*")
    if(arg_AUTO_CLEAN AND NOT rest)
        file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/bin")
    endif()
endfunction()

function(vcpkg_install_copyright)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
    file(COPY_FILE "${arg_FILE_LIST}" "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright")
endfunction()

# CURRENT_INSTALLED_DIR and others that no port of cohold uses are not set.
cmake_policy(SET CMP0057 NEW)
set(CMAKE_CURRENT_LIST_DIR "${PORT_DIR}")
include("${PORT_DIR}/portfile.cmake")

# vcpkg's checks of the package.
foreach(each copyright usage)
    if(NOT EXISTS "${CURRENT_PACKAGES_DIR}/share/${PORT}/${each}")
        message(FATAL_ERROR "no share/${PORT}/${each}")
    endif()
endforeach()
foreach(each bin debug lib/cmake lib/pkgconfig/cohold.pc share/cmake)
    if(EXISTS "${CURRENT_PACKAGES_DIR}/${each}")
        message(FATAL_ERROR "the package has ${each}")
    endif()
endforeach()
file(GLOB_RECURSE text_files "${CURRENT_PACKAGES_DIR}/*.cmake" "${CURRENT_PACKAGES_DIR}/*.pc")
foreach(each IN LISTS text_files)
    file(STRINGS "${each}" paths REGEX "${WORK_DIR}")
    if(paths)
        message(FATAL_ERROR "${each} contains a path of this build: ${paths}")
    endif()
endforeach()
file(RENAME "${CURRENT_PACKAGES_DIR}" "${WORK_DIR}/package")
