// Sixteen floats. The compiler makes of them one register (AVX-512), two (AVX2) or four (NEON, SSE).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace lehr {

constexpr int WORDS = 16;  // of 32 bits in a line of the arena
typedef float Vec __attribute__((vector_size(64), aligned(64)));
typedef int32_t IVec __attribute__((vector_size(64), aligned(64)));

#define LEHR_INLINE static inline __attribute__((always_inline))

LEHR_INLINE Vec all(float x) { return Vec{} + x; }
// Where a is not a number, so is the result.
LEHR_INLINE Vec max_of(Vec a, Vec b) { return a < b ? b : a; }
LEHR_INLINE Vec min_of(Vec a, Vec b) { return a > b ? b : a; }

// exp(x), relative error below 2e-7: 2^n * p(r), r = x - n ln 2 in [-0.35, 0.35].
LEHR_INLINE Vec exp_of(Vec x) {
  x = min_of(max_of(x, all(-87.0f)), all(88.0f));
  Vec n = x * 1.44269504088896341f;
  IVec whole = __builtin_convertvector(n + (n < 0.0f ? all(-0.5f) : all(0.5f)), IVec);
  n = __builtin_convertvector(whole, Vec);
  Vec r = x - n * 0.693359375f - n * -2.12194440e-4f;
  Vec p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  IVec bits = (whole + 127) << 23;
  Vec scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

// erf(x), absolute error below 3e-7: x p(x^2) / q(x^2) on [-4, 4], the coefficients of Eigen's.
LEHR_INLINE Vec erf_of(Vec x) {
  x = min_of(max_of(x, all(-4.0f)), all(4.0f));
  const Vec s = x * x;
  Vec p = all(-2.72614225801306e-10f);
  p = p * s + 2.77068142495902e-08f;
  p = p * s - 2.10102402082508e-06f;
  p = p * s - 5.69250639462346e-05f;
  p = p * s - 7.34990630326855e-04f;
  p = p * s - 2.95459980854025e-03f;
  p = p * s - 1.60960333262415e-02f;
  Vec q = all(-1.45660718464996e-05f);
  q = q * s - 2.13374055278905e-04f;
  q = q * s - 1.68282697438203e-03f;
  q = q * s - 7.37332916720468e-03f;
  q = q * s - 1.42647390514189e-02f;
  return x * p / q;
}

enum Activation : int { NONE = 0, RELU = 1, GELU = 2, SILU = 3, SIGMOID = 4, TANH = 5, GELU_TANH = 6, RELU6 = 7, HARDSWISH = 8 };

LEHR_INLINE Vec activated(Vec x, int kind) {
  switch (kind) {
    case RELU: return max_of(x, Vec{});
    case GELU: return 0.5f * x * (1.0f + erf_of(x * 0.70710678118654752f));
    case SILU: return x * (1.0f / (1.0f + exp_of(-x)));
    case SIGMOID: return 1.0f / (1.0f + exp_of(-x));
    case TANH: {
      const Vec square = x * x, far = 1.0f - 2.0f / (1.0f + exp_of(2.0f * x));
      const Vec near = x * (1.0f + square * (-0.33333333f + square * (0.13333333f - square * 0.05396825f)));
      return square < 0.01f ? near : far;
    }
    case GELU_TANH: {
      Vec inner = 0.79788456080286536f * (x + 0.044715f * x * x * x);
      return x * (1.0f - 1.0f / (1.0f + exp_of(2.0f * inner)));
    }
    case RELU6: return min_of(max_of(x, Vec{}), all(6.0f));
    case HARDSWISH: return x * min_of(max_of(x + 3.0f, Vec{}), all(6.0f)) * (1.0f / 6.0f);
    default: return x;
  }
}

}  // namespace lehr
