// SPDX-License-Identifier: BSD-3-Clause
#include "simd/kernels.hpp"

#include <cstdlib>
#include <string_view>

namespace upweight::cpu {

namespace baseline {
extern const Kernels table;
}
#if defined(UPWEIGHT_X86_KERNELS)
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
#endif

static const Kernels& choose() {
#if defined(UPWEIGHT_X86_KERNELS)
  // UPWEIGHT_ISA asks for a narrower set, to test or to compare; it cannot widen
  const char* asked = std::getenv("UPWEIGHT_ISA");
  const std::string_view limit = asked ? asked : "avx512";
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw");
  if (has_avx512 && limit == "avx512")
    return avx512::table;
  if (has_avx2 && limit != "baseline")
    return avx2::table;
#endif
  return baseline::table;
}

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace upweight::cpu
