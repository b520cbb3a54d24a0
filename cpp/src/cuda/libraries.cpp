// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/libraries.hpp"

#include <dlfcn.h>
#include <mutex>
#include <utility>

namespace upweight::cuda {

namespace {

std::mutex folders_mutex;
std::vector<std::string> extra_folders;

/// A library of one of the versions that we know, newest first: one that is loaded
/// already, one of the folders', the system's.
void* open_library(const std::string& name, std::string& found) {
  std::vector<std::string> folders;
  {
    const std::lock_guard lock(folders_mutex);
    folders = extra_folders;
  }
  const std::string versions[] = {"13", "12"};
  for (const std::string& version : versions) {
    found = name + ".so." + version;
    if (void* loaded = dlopen(found.c_str(), RTLD_NOW | RTLD_NOLOAD))
      return loaded;
  }
  for (const std::string& folder : folders)
    for (const std::string& version : versions) {
      found = folder + "/" + name + ".so." + version;
      if (void* loaded = dlopen(found.c_str(), RTLD_NOW | RTLD_LOCAL))
        return loaded;
    }
  for (const std::string& version : versions) {
    found = name + ".so." + version;
    if (void* loaded = dlopen(found.c_str(), RTLD_NOW | RTLD_LOCAL))
      return loaded;
  }
  return nullptr;
}

/// Looks up functions of one library; what is missing is remembered.
class Finder {
public:
  Finder(const std::string& library, const std::string& remedy, Libraries& to)
      : to_(to), handle_(open_library(library, path_)) {
    if (handle_ == nullptr && to_.absent.empty())
      to_.absent = library + " was not found: " + remedy;
    if (handle_ != nullptr)
      to_.versions += (to_.versions.empty() ? "" : ", ") + path_;
  }
  template <class F>
  void operator()(F& function, const char* symbol) {
    if (handle_ == nullptr)
      return;
    function = reinterpret_cast<F>(dlsym(handle_, symbol));
    if (function == nullptr && to_.absent.empty())
      to_.absent = path_ + " has no " + symbol;
  }

private:
  Libraries& to_;
  std::string path_;
  void* handle_;
};

Libraries find() {
  Libraries found;
  const std::string remedy = "pip install nvidia-cublas nvidia-cusolver, or CuPy";
  // cuSOLVER depends on cuBLAS, so this order loads both from one place
  Finder blas("libcublas", remedy, found);
  blas(found.blas_create, "cublasCreate_v2");
  blas(found.blas_destroy, "cublasDestroy_v2");
  blas(found.blas_stream, "cublasSetStream_v2");
  blas(found.blas_math, "cublasSetMathMode");
  blas(found.of_double.gemm, "cublasDgemm_v2");
  blas(found.of_double.gemm_stack, "cublasDgemmStridedBatched");
  blas(found.of_double.syrk, "cublasDsyrk_v2");
  blas(found.of_double.symm, "cublasDsymm_v2");
  blas(found.of_double.trsm, "cublasDtrsm_v2");
  blas(found.of_float.gemm, "cublasSgemm_v2");
  blas(found.of_float.gemm_stack, "cublasSgemmStridedBatched");
  blas(found.of_float.syrk, "cublasSsyrk_v2");
  blas(found.of_float.symm, "cublasSsymm_v2");
  blas(found.of_float.trsm, "cublasStrsm_v2");
  Finder solver("libcusolver", remedy, found);
  solver(found.solver_create, "cusolverDnCreate");
  solver(found.solver_destroy, "cusolverDnDestroy");
  solver(found.solver_stream, "cusolverDnSetStream");
  solver(found.of_double.potrf_size, "cusolverDnDpotrf_bufferSize");
  solver(found.of_double.potrf, "cusolverDnDpotrf");
  solver(found.of_float.potrf_size, "cusolverDnSpotrf_bufferSize");
  solver(found.of_float.potrf, "cusolverDnSpotrf");
  solver(found.syevd_size, "cusolverDnDsyevd_bufferSize");
  solver(found.syevd, "cusolverDnDsyevd");
  return found;
}

}  // namespace

const Libraries& libraries() {
  static const Libraries found = find();
  return found;
}

void library_folders(std::vector<std::string> folders) {
  const std::lock_guard lock(folders_mutex);
  extra_folders = std::move(folders);
}

}  // namespace upweight::cuda
