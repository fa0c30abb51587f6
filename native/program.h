// A network as a list of operations on one arena; checked when it is built, so that running it needs no checks.
#pragma once
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.h"
#include "threads.h"

namespace lehr {

class Program {
 public:
  // lines of the arena, numbers of each input and of each output of one sample, samples that share the lanes, threads, the
  // kernels by name, and whether activations are bf16.
  Program(int64_t lines, std::vector<int64_t> inputs, std::vector<int64_t> outputs, int64_t samples, int64_t workers,
          const char* kernels, bool half);

  // Words that are in the arena from the start.
  void constant(int64_t line, std::vector<float> words);

  // Throws std::invalid_argument where an operation would touch anything outside of its places.
  void add(Operation operation);

  // Whether a block that is not shared out is left to the calling thread: waking another takes longer than some networks.
  void alone(bool value) { alone_ = value; }

  // `count` samples, one after the other in every array. May be called from several threads at once.
  void run(const std::vector<const float*>& inputs, const std::vector<float*>& outputs, int64_t count) const;

  // The seconds that each operation took on one block with all threads, the least of so many runs.
  std::vector<double> times(int64_t repeats) const;

  const std::vector<int64_t>& inputs() const { return inputs_; }
  const std::vector<int64_t>& outputs() const { return outputs_; }
  int64_t lines() const { return lines_; }
  int64_t workers() const { return workers_; }
  size_t size() const { return operations_.size(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  using Arena = std::unique_ptr<float[], Free>;
  Arena take() const;
  void give(Arena arena) const;
  struct Arrays {
    std::vector<const float*> inputs;
    std::vector<float*> outputs;
  };
  void step(const Operation&, const Arrays&, float* arena, int64_t worker, int64_t workers) const;
  // Into how many pieces an operation is cut.
  int64_t chunks() const { return workers_ == 1 ? 1 : 2 * workers_; }

  int64_t lines_, samples_, workers_;
  bool alone_ = false;
  std::vector<int64_t> inputs_, outputs_;
  std::vector<std::pair<int64_t, std::vector<float>>> constants_;
  const Kernels* kernels_;
  std::vector<Operation> operations_;
  mutable std::mutex mutex_;
  mutable std::vector<Arena> arenas_;  // of runs that have ended
};

// Programs of one thread each beside each other on so many threads, all on the same samples; outputs by program.
void run_beside(const std::vector<const Program*>& programs, const std::vector<const float*>& inputs,
                const std::vector<std::vector<float*>>& outputs, int64_t count, int64_t workers);

}  // namespace lehr
