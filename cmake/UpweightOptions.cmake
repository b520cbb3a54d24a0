# SPDX-License-Identifier: BSD-3-Clause
# Compile options shared by every target, as the interface target upweight_options.
add_library(upweight_options INTERFACE)
target_compile_features(upweight_options INTERFACE cxx_std_20)
target_compile_options(upweight_options INTERFACE
  $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>:-Wall -Wextra -Wconversion -Wshadow -fno-math-errno>)
if(UPWEIGHT_WARNINGS_AS_ERRORS)
  target_compile_options(upweight_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
endif()
if(UPWEIGHT_SANITIZE)
  target_compile_options(upweight_options INTERFACE
    -fsanitize=${UPWEIGHT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(upweight_options INTERFACE -fsanitize=${UPWEIGHT_SANITIZE})
endif()

# The kernels of cpp/src/cpu/simd are compiled once for each of these and chosen at run
# time; the rest of the library is compiled for the baseline alone.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(UPWEIGHT_ISA_LIST baseline avx2 avx512)
  set(UPWEIGHT_ISA_FLAGS_baseline "")
  set(UPWEIGHT_ISA_FLAGS_avx2 -mavx2 -mfma)
  set(UPWEIGHT_ISA_FLAGS_avx512
    -mavx2 -mfma -mavx512f -mavx512dq -mavx512vl -mavx512bw -mprefer-vector-width=512)
else()
  set(UPWEIGHT_ISA_LIST baseline)
  set(UPWEIGHT_ISA_FLAGS_baseline "")
endif()
