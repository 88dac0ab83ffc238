# The target `hwy`, whichever way Highway >= 1.2 can be had: one that the surrounding project has already made,
# the source named by FETCHCONTENT_SOURCE_DIR_HIGHWAY, or the pinned release from the internet.
if(TARGET hwy)
  return()
endif()
include(FetchContent)
foreach(part CONTRIB EXAMPLES INSTALL TESTS)  # only the library itself
  set(HWY_ENABLE_${part} OFF CACHE BOOL "")
endforeach()
FetchContent_Declare(highway DOWNLOAD_EXTRACT_TIMESTAMP ON
                     URL https://github.com/google/highway/archive/refs/tags/1.3.0.tar.gz)
FetchContent_MakeAvailable(highway)
