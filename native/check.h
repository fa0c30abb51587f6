// What an operation may touch: checked once, when a program is built, so that running it needs no checks.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "operations.h"

namespace lehr {

constexpr int64_t LARGEST = int64_t(1) << 40;  // a number that is counted with here

inline void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

// Where a program's operations work: an arena and the arrays of its samples.
struct Room {
  int64_t lines, lanes, most;      // of the arena; of a line; pixels of the largest tile
  int64_t samples, workers;        // that share the lanes; pieces that an operation is cut into
  const std::vector<int64_t>&inputs, &outputs;  // numbers of each array of one sample
};

// Throws std::invalid_argument where an operation would touch anything outside of its places.
void check(const Operation& operation, const Room& room);

}  // namespace lehr
