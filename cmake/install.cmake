# find_package(lutra) after `cmake --install`: headers, the compiled library, and the package files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lutra)

target_include_directories(lutra INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_include_directories(lutra_thread_pool INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_include_directories(lutra_compiled PUBLIC $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS lutra lutra_compiled lutra_thread_pool lutra_threads EXPORT lutra_targets)
install(DIRECTORY include/lutra DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT lutra_targets NAMESPACE lutra:: DESTINATION ${package_dir})

configure_file(cmake/lutra-config.cmake.in lutra-config.cmake @ONLY)
write_basic_package_version_file(lutra-config-version.cmake COMPATIBILITY SameMinorVersion)  # 0.x: minors may break
install(FILES ${PROJECT_BINARY_DIR}/lutra-config.cmake ${PROJECT_BINARY_DIR}/lutra-config-version.cmake
        DESTINATION ${package_dir})
