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

# The target lutra_threads: what Highway's thread pool needs beyond hwy. Highway's own hwy_contrib where there is one;
# else three of its files (the whole of it, a sorting library, takes minutes to compile).
if(TARGET hwy_contrib OR TARGET hwy::hwy_contrib)
  add_library(lutra_threads INTERFACE)
  target_link_libraries(lutra_threads INTERFACE $<IF:$<TARGET_EXISTS:hwy::hwy_contrib>,hwy::hwy_contrib,hwy_contrib>)
elseif(NOT TARGET hwy)
  message(STATUS "lutra: this Highway is installed without its contrib, so lutra/thread_pool.h will not link")
  add_library(lutra_threads INTERFACE)
else()
  find_package(Threads REQUIRED)
  get_target_property(highway_SOURCE_DIR hwy SOURCE_DIR)
  add_library(lutra_threads STATIC ${highway_SOURCE_DIR}/hwy/contrib/thread_pool/topology.cc
              ${highway_SOURCE_DIR}/hwy/contrib/sort/vqsort.cc ${highway_SOURCE_DIR}/hwy/contrib/sort/vqsort_f64a.cc)
  # Sorts a hundred timings while the pool tunes itself: one target is enough.
  set_source_files_properties(${highway_SOURCE_DIR}/hwy/contrib/sort/vqsort_f64a.cc PROPERTIES
                              COMPILE_DEFINITIONS HWY_COMPILE_ONLY_STATIC)
  set_target_properties(lutra_threads PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_features(lutra_threads PRIVATE cxx_std_17)
  target_link_libraries(lutra_threads PUBLIC hwy::hwy Threads::Threads)
endif()
