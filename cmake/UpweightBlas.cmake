# SPDX-License-Identifier: BSD-3-Clause
# One target, upweight_blas, whichever BLAS stands behind it: the wheel scipy-openblas32
# (symbols prefixed scipy_, copied into the package) or, when asked, the system's.
option(UPWEIGHT_SYSTEM_BLAS "Link the BLAS/LAPACK that find_package finds" OFF)
add_library(upweight_blas INTERFACE)
if(UPWEIGHT_SYSTEM_BLAS)
  find_package(LAPACK REQUIRED)
  target_link_libraries(upweight_blas INTERFACE LAPACK::LAPACK)
  set(UPWEIGHT_BLAS_LIBRARY "${LAPACK_LIBRARIES}")
else()
  find_package(Python 3.11 REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "import scipy_openblas32 as b; print(b.get_lib_dir(), b.get_library(), sep=';')"
    OUTPUT_VARIABLE UPWEIGHT_OPENBLAS OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "scipy-openblas32 is not importable by ${Python_EXECUTABLE}: "
      "pip install scipy-openblas32, or configure with -DUPWEIGHT_SYSTEM_BLAS=ON")
  endif()
  list(GET UPWEIGHT_OPENBLAS 0 UPWEIGHT_OPENBLAS_DIR)
  list(GET UPWEIGHT_OPENBLAS 1 UPWEIGHT_OPENBLAS_NAME)
  find_library(UPWEIGHT_BLAS_LIBRARY "${UPWEIGHT_OPENBLAS_NAME}"
    PATHS "${UPWEIGHT_OPENBLAS_DIR}" NO_DEFAULT_PATH REQUIRED NO_CACHE)
  target_link_libraries(upweight_blas INTERFACE "${UPWEIGHT_BLAS_LIBRARY}")
  target_compile_definitions(upweight_blas INTERFACE UPWEIGHT_SCIPY_OPENBLAS)
endif()
