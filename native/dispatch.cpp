#include <cstring>

#include "kernels.h"

namespace lehr {

static bool runs(const char* name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!std::strcmp(name, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
  if (!std::strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return !std::strcmp(name, "portable");
}

const Kernels* kernels_named(const char* name, bool half) {
  if (!runs(name)) return nullptr;
#if defined(__x86_64__)
  if (!std::strcmp(name, "avx512")) return half ? &avx512::bf16 : &avx512::fp32;
  if (!std::strcmp(name, "avx2")) return half ? &avx2::bf16 : &avx2::fp32;
#endif
  return half ? &portable::bf16 : &portable::fp32;
}

const char* best_kernels() {
  for (const char* name : {"avx512", "avx2"})
    if (runs(name)) return name;
  return "portable";
}

}  // namespace lehr
