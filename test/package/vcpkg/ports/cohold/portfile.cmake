# An overlay port: it packages the checkout that it lies in. In a registry, vcpkg_from_github takes
# the place of this line.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../../../.." ABSOLUTE)

set(VCPKG_BUILD_TYPE release) # header-only; and the compiled library tells units how it was built
foreach(feature compiled tools)
    set(${feature} false)
    if(feature IN_LIST FEATURES)
        set(${feature} true)
    endif()
endforeach()

vcpkg_configure_meson(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS -Dtests=disabled -Dexamples=disabled -Dcompiled=${compiled} -Dtools=${tools}
)
vcpkg_install_meson()
vcpkg_fixup_pkgconfig()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/cohold)
if(tools)
    vcpkg_copy_tools(TOOL_NAMES cohold_inspect AUTO_CLEAN)
endif()

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
