# The target hwy::hwy, whichever way Highway >= 1.2 can be had, in this order:
#   a target that the surrounding project has already made,
#   the source named by FETCHCONTENT_SOURCE_DIR_HIGHWAY, or left by tools/setup in .deps/highway,
#   an installed Highway (CMAKE_PREFIX_PATH), or the pinned release from the internet.
if(NOT TARGET hwy AND NOT TARGET hwy::hwy AND NOT FETCHCONTENT_SOURCE_DIR_HIGHWAY)
  if(EXISTS ${PROJECT_SOURCE_DIR}/.deps/highway/CMakeLists.txt)
    set(FETCHCONTENT_SOURCE_DIR_HIGHWAY ${PROJECT_SOURCE_DIR}/.deps/highway)
  else()
    find_package(hwy 1.2 CONFIG QUIET)
  endif()
endif()

if(NOT TARGET hwy AND NOT TARGET hwy::hwy)
  include(FetchContent)
  foreach(part CONTRIB EXAMPLES TESTS)  # only the library itself
    set(HWY_ENABLE_${part} OFF CACHE BOOL "")
  endforeach()
  set(HWY_ENABLE_INSTALL ${LUTRA_INSTALL} CACHE BOOL "")  # an installed lutra brings the Highway it was built with
  FetchContent_Declare(highway DOWNLOAD_EXTRACT_TIMESTAMP ON
                       URL https://github.com/google/highway/archive/refs/tags/1.3.0.tar.gz
                       URL_HASH SHA256=07b3c1ba2c1096878a85a31a5b9b3757427af963b1141ca904db2f9f4afe0bc2)
  FetchContent_MakeAvailable(highway)
  target_include_directories(hwy SYSTEM INTERFACE $<BUILD_INTERFACE:${highway_SOURCE_DIR}>)  # no warnings from there
  foreach(extra hwy_test hwy_list_targets)
    if(TARGET ${extra})
      set_target_properties(${extra} PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
  endforeach()
  if(LUTRA_INSTALL)
    include(GNUInstallDirs)
    install(DIRECTORY ${highway_SOURCE_DIR}/hwy/contrib DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/hwy
            FILES_MATCHING PATTERN "*.h")
  endif()
endif()
if(TARGET hwy AND NOT TARGET hwy::hwy)
  add_library(hwy::hwy ALIAS hwy)
endif()
