// What a line of the arena holds: sixteen lanes of fp32, or thirty-two of bf16 of which one load gives two vectors of fp32.
#pragma once
#include <cstdint>
#include <cstring>

#include "vector.h"

namespace lehr {

LEHR_INLINE Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
LEHR_INLINE void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }

typedef uint32_t Bits __attribute__((vector_size(64), aligned(64)));

struct Fp32 {
  static constexpr int VECS = 1;  // vectors of a line
  typedef float Number;
  LEHR_INLINE void get(const float* line, Vec* v) { v[0] = load(line); }
  LEHR_INLINE void put(float* line, const Vec* v) { store(line, v[0]); }
  LEHR_INLINE float widen(Number x) { return x; }
  LEHR_INLINE Number narrow(float x) { return x; }
};

struct Bf16 {
  static constexpr int VECS = 2;
  typedef uint16_t Number;
  LEHR_INLINE void get(const float* line, Vec* v) {
    const Bits bits = (Bits)load(line);
    v[0] = (Vec)(bits << 16);
    v[1] = (Vec)(bits & 0xffff0000u);
  }
  // To the nearest, ties to even.
  LEHR_INLINE void put(float* line, const Vec* v) {
    Bits half[2];
    for (int n = 0; n < 2; n++) {
      const Bits bits = (Bits)v[n], whole = bits + 0x7fffu + ((bits >> 16) & 1u);
      half[n] = (Bits)(v[n] == v[n] ? (Vec)whole : (Vec)(bits | 0x400000u));
    }
    store(line, (Vec)((half[0] >> 16) | (half[1] & 0xffff0000u)));
  }
  LEHR_INLINE float widen(Number x) {
    const uint32_t bits = uint32_t(x) << 16;
    float y;
    std::memcpy(&y, &bits, sizeof y);
    return y;
  }
  LEHR_INLINE Number narrow(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return Number(x == x ? (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16 : (bits | 0x400000u) >> 16);
  }
};

}  // namespace lehr
