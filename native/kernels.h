// One instruction set's kernels. Each does its share, worker of workers, of one operation.
#pragma once
#include "operations.h"

namespace lehr {

struct Kernels {
  int64_t lanes;  // numbers in a line: 16 of fp32 or 32 of bf16
  int64_t most;   // pixels of a tile; a dense one has group * width up to 3/2 of it, or width 1
  void (*convolution)(const Convolution&, float* arena, int64_t worker, int64_t workers);
  void (*dense)(const Dense&, float* arena, int64_t worker, int64_t workers);
  void (*gather)(const Gather&, const void* source, void* target, int64_t worker, int64_t workers);
  void (*halo)(const Halo&, float* arena, int64_t worker, int64_t workers);
  void (*pool)(const Pool&, float* arena, int64_t worker, int64_t workers);
  void (*mean)(const Mean&, float* arena, int64_t worker, int64_t workers);
  void (*pointwise)(const Pointwise&, float* arena, int64_t worker, int64_t workers);
  // Those for tokens are fp32 only, and null otherwise.
  void (*transpose)(const Transpose&, float* arena, const float* source, float* target, int64_t worker, int64_t workers);
  void (*layer_norm)(const LayerNorm&, float* arena, int64_t worker, int64_t workers);
  void (*softmax)(const Softmax&, float* arena, int64_t worker, int64_t workers);
  void (*attention)(const Attention&, float* arena, int64_t worker, int64_t workers);
  void (*draw)(const Draw&, int64_t from, int64_t to);
};

namespace portable { extern const Kernels fp32, bf16; }
#if defined(__x86_64__)
namespace avx2 { extern const Kernels fp32, bf16; }
namespace avx512 { extern const Kernels fp32, bf16; }
#endif

// The best that this processor runs, or the one named: "avx512", "avx2", "portable". nullptr: it does not run it.
const Kernels* kernels_named(const char* name, bool half);
const char* best_kernels();

}  // namespace lehr
