#include "program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "check.h"
#include "threads.h"
#include "vector.h"

namespace lehr {

constexpr size_t LARGE_PAGE = size_t(1) << 21;

Program::Program(int64_t lines, std::vector<int64_t> inputs, std::vector<int64_t> outputs, int64_t samples, int64_t workers,
                 const char* kernels, bool half)
    : lines_(lines), samples_(samples), workers_(workers), inputs_(std::move(inputs)), outputs_(std::move(outputs)),
      kernels_(kernels_named(kernels, half)) {
  require(lines >= 1 && lines < LARGEST / 64 && !inputs_.empty() && !outputs_.empty(), "an arena");
  for (const auto* sizes : {&inputs_, &outputs_})
    for (int64_t size : *sizes) require(size >= 1 && size < LARGEST, "an array");
  require(workers >= 1 && workers <= 1024, "workers");
  require(kernels_ != nullptr, "this processor does not run these kernels");
  require(samples >= 1 && samples <= kernels_->lanes, "samples");
}

void Program::constant(int64_t line, std::vector<float> words) {
  require(line >= 0 && line < lines_ && !words.empty() && int64_t(words.size()) <= (lines_ - line) * WORDS, "a constant");
  constants_.emplace_back(line, std::move(words));
}

// In bf16 weights are bf16 too; most lie within 65,536 lines of the tile's first input.
static void shorten(Convolution& c) {
  for (const Nonzero& n : c.nonzeros) {
    uint32_t bits;
    std::memcpy(&bits, &n.value, sizeof bits);
    if (n.offset < 0 || n.offset > 0xffff || (bits & 0xffffu)) return c.shorts.clear();
    c.shorts.push_back(bits | uint32_t(n.offset));
  }
  c.nonzeros = {};
}

void Program::add(Operation operation) {
  check(operation, {lines_, kernels_->lanes, kernels_->most, samples_, chunks(), inputs_, outputs_});
  if (auto* c = std::get_if<Convolution>(&operation); c && kernels_->lanes > WORDS) shorten(*c);
  operations_.push_back(std::move(operation));
}

Program::Arena Program::take() const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!arenas_.empty()) {
      Arena arena = std::move(arenas_.back());
      arenas_.pop_back();
      return arena;
    }
  }
  const size_t bytes = size_t(lines_) * WORDS * sizeof(float);
  // A tile reads a few lines of every channel, each on another page: with large pages they stay known to the processor.
  const size_t page = bytes < LARGE_PAGE / 4 ? 4096 : LARGE_PAGE, whole = (bytes + page - 1) / page * page;
  auto* memory = static_cast<float*>(std::aligned_alloc(page, whole));
  if (!memory) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (page == LARGE_PAGE) madvise(memory, whole, MADV_HUGEPAGE);  // a wish: nothing is lost where it is not granted
#endif
  std::memset(memory, 0, bytes);
  for (const auto& [line, words] : constants_) std::memcpy(memory + line * WORDS, words.data(), words.size() * sizeof(float));
  return Arena(memory);
}

void Program::give(Arena arena) const {
  std::lock_guard<std::mutex> lock(mutex_);
  arenas_.push_back(std::move(arena));
}

void Program::step(const Operation& operation, const Arrays& arrays, float* arena, int64_t worker, int64_t workers) const {
  std::visit(
      [&](const auto& one) {
        using T = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<T, Convolution>) kernels_->convolution(one, arena, worker, workers);
        else if constexpr (std::is_same_v<T, Dense>) kernels_->dense(one, arena, worker, workers);
        else if constexpr (std::is_same_v<T, Gather>)
          kernels_->gather(one, one.where == 1 ? arrays.inputs[one.array] : arena, one.where == 2 ? arrays.outputs[one.array] : arena,
                           worker, workers);
        else if constexpr (std::is_same_v<T, Transpose>)
          kernels_->transpose(one, arena, one.out ? nullptr : arrays.inputs[one.array], one.out ? arrays.outputs[one.array] : nullptr,
                              worker, workers);
        else if constexpr (std::is_same_v<T, Halo>) kernels_->halo(one, arena, worker, workers);
        else if constexpr (std::is_same_v<T, Pool>) kernels_->pool(one, arena, worker, workers);
        else if constexpr (std::is_same_v<T, Mean>) kernels_->mean(one, arena, worker, workers);
        else if constexpr (std::is_same_v<T, Pointwise>) kernels_->pointwise(one, arena, worker, workers);
        else if constexpr (std::is_same_v<T, LayerNorm>) kernels_->layer_norm(one, arena, worker, workers);
        else if constexpr (std::is_same_v<T, Softmax>) kernels_->softmax(one, arena, worker, workers);
        else kernels_->attention(one, arena, worker, workers);
      },
      operation);
}

void Program::run(const std::vector<const float*>& inputs, const std::vector<float*>& outputs, int64_t count) const {
  const int64_t blocks = (count + samples_ - 1) / samples_, whole = count / samples_, left = count - whole * samples_;
  // The last block, where samples are missing, is done on copies.
  std::vector<std::vector<float>> copies;
  std::vector<Arrays> arrays(blocks, Arrays{inputs, outputs});
  for (int64_t b = 0; b < whole; b++) {
    for (size_t i = 0; i < inputs.size(); i++) arrays[b].inputs[i] += b * samples_ * inputs_[i];
    for (size_t i = 0; i < outputs.size(); i++) arrays[b].outputs[i] += b * samples_ * outputs_[i];
  }
  if (left) {
    for (size_t i = 0; i < inputs.size(); i++) {
      copies.emplace_back(samples_ * inputs_[i]);
      std::memcpy(copies.back().data(), inputs[i] + whole * samples_ * inputs_[i], left * inputs_[i] * sizeof(float));
      arrays[whole].inputs[i] = copies.back().data();
    }
    for (size_t i = 0; i < outputs.size(); i++) {
      copies.emplace_back(samples_ * outputs_[i]);
      arrays[whole].outputs[i] = copies.back().data();
    }
  }
  // Every output is the work of one thread in one order, so that neither way changes a bit of it.
  if (blocks >= workers_) {
    std::vector<Arena> arenas;
    for (int64_t i = 0; i < workers_; i++) arenas.push_back(take());
    std::atomic<int64_t> next{0}, entered{0};
    const std::function<void()> work = [&] {
      const int64_t own = entered.fetch_add(1);
      for (int64_t b; (b = next.fetch_add(1)) < blocks;)
        for (const Operation& operation : operations_) step(operation, arrays[b], arenas[own].get(), 0, 1);
    };
    threads().run(workers_ - 1, work);
    for (Arena& arena : arenas) give(std::move(arena));
  } else {
    Arena arena = take();
    for (int64_t b = 0; b < blocks; b++) {
      Tasks tasks(operations_.size(), chunks());
      threads().run(alone_ ? 0 : workers_ - 1, [&] {
        tasks.help([&](int64_t task, int64_t chunk, int64_t chunks) {
          step(operations_[task], arrays[b], arena.get(), chunk, chunks);
        });
      });
    }
    give(std::move(arena));
  }
  for (size_t i = 0; left && i < outputs.size(); i++)
    std::memcpy(outputs[i] + whole * samples_ * outputs_[i], arrays[whole].outputs[i], left * outputs_[i] * sizeof(float));
}

std::vector<double> Program::times(int64_t repeats) const {
  std::vector<std::vector<float>> copies;
  Arrays arrays;
  for (int64_t size : inputs_) arrays.inputs.push_back(copies.emplace_back(samples_ * size).data());
  for (int64_t size : outputs_) arrays.outputs.push_back(copies.emplace_back(samples_ * size).data());
  std::vector<double> best(operations_.size(), 1e30);
  Arena arena = take();
  for (int64_t repeat = 0; repeat < repeats; repeat++) {
    Tasks tasks(operations_.size(), chunks());
    std::vector<std::atomic<int64_t>> begun(operations_.size() + 1);
    const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
    threads().run(workers_ - 1, [&] {
      tasks.help([&](int64_t task, int64_t chunk, int64_t chunks) {
        int64_t none = 0;
        begun[task].compare_exchange_strong(none, now());
        step(operations_[task], arrays, arena.get(), chunk, chunks);
      });
    });
    begun.back() = now();
    for (size_t i = 0; i < operations_.size(); i++) {
      const std::chrono::steady_clock::duration took(begun[i + 1] - begun[i]);
      best[i] = std::min(best[i], std::chrono::duration<double>(took).count());
    }
  }
  give(std::move(arena));
  return best;
}

void run_beside(const std::vector<const Program*>& programs, const std::vector<const float*>& inputs,
                const std::vector<std::vector<float*>>& outputs, int64_t count, int64_t workers) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failed;
  const std::function<void()> work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < programs.size();) {
      try {
        programs[i]->run(inputs, outputs[i], count);
      } catch (...) {  // no memory: nobody would catch it in a thread of ours
        std::lock_guard<std::mutex> lock(mutex);
        failed = std::current_exception();
      }
    }
  };
  threads().run(workers - 1, work);
  if (failed) std::rethrow_exception(failed);
}

}  // namespace lehr
