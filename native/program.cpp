#include "program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "threads.h"
#include "vector.h"

namespace lehr {

namespace {

constexpr int64_t LARGEST = int64_t(1) << 40;
constexpr size_t LARGE_PAGE = size_t(1) << 21;

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

// Numbers that are added and multiplied here: none of them can overflow.
void counts(std::initializer_list<int64_t> numbers, const char* what) {
  for (int64_t n : numbers) require(n >= 1 && n < int64_t(1) << 30, what);
}
void places(std::initializer_list<int64_t> numbers, const char* what) {
  for (int64_t n : numbers) require(n >= 0 && n < LARGEST, what);
}

struct Times {
  int64_t count, stride;
};

// The last place that nested steps reach; every number is checked before it is used.
int64_t reach(int64_t first, std::initializer_list<Times> steps, int64_t limit, const char* what) {
  __int128 last = first;
  require(first >= 0 && first < LARGEST, what);
  for (const Times& t : steps) {
    require(t.count >= 1 && t.count < LARGEST && t.stride >= 0 && t.stride < LARGEST, what);
    last += __int128(t.count - 1) * t.stride;
  }
  require(last < limit, what);
  return int64_t(last);
}

// No two pixels of an output share a place: so no two threads write to one, and there are no more of them than lines.
void distinct(int64_t channels, int64_t channel, int64_t height, int64_t row, int64_t width) {
  require(height == 1 || row >= width, "rows of an output that overlap");
  require(channels == 1 || channel >= (height - 1) * row + width, "channels of an output that overlap");
}

template <class T>
std::pair<int64_t, int64_t> extremes(const std::vector<T>& values) {
  int64_t low = values.empty() ? 0 : values[0], high = low;
  for (T v : values) {
    low = v < low ? v : low;
    high = v > high ? v : high;
  }
  return {low, high};
}

void check(const Convolution& c, int64_t lines, int64_t most) {
  counts({c.channels, c.height, c.width, c.parts, c.splits, c.tile_width, c.step}, "a convolution");
  places({c.in}, "an input");
  require(c.tile_height == 1 || c.tile_height == 2 || c.tile_height == 4, "a tile's height");
  const int64_t w = c.tile_width;
  require(w >= 1 && w * c.tile_height <= most && (w <= 8 || (c.tile_height == 1 && (w == 13 || w == 16))), "a tile's width");
  require(c.step >= 1 && c.activation >= 0 && c.parts >= 1 && c.splits >= 1, "a convolution");
  require(c.channels >= 1 && int64_t(c.bias.size()) == c.channels, "a bias");
  require(int64_t(c.rows.size()) == c.parts * c.channels + 1 && c.rows.front() == 0 &&
              size_t(c.rows.back()) == c.nonzeros.size(), "rows");
  for (size_t i = 1; i < c.rows.size(); i++) require(c.rows[i] >= c.rows[i - 1], "rows");
  require(int64_t(c.bounds.size()) == c.splits + 1 && c.bounds.front() == 0 && c.bounds.back() == c.channels, "bounds");
  for (size_t i = 1; i < c.bounds.size(); i++) require(c.bounds[i] >= c.bounds[i - 1], "bounds");
  int64_t low = 0, high = 0;
  for (const Nonzero& n : c.nonzeros) {
    low = n.offset < low ? n.offset : low;
    high = n.offset > high ? n.offset : high;
  }
  require(c.in + low >= 0, "an input");
  reach(c.in + high, {{c.height, c.in_row}, {c.width, c.step}}, lines, "an input");
  reach(c.in, {{c.height, c.in_row}, {c.width, c.step}}, lines, "an input");
  reach(c.out, {{c.channels, c.out_channel}, {c.height, c.out_row}, {c.width, 1}}, lines, "an output");
  distinct(c.channels, c.out_channel, c.height, c.out_row, c.width);
  if (c.residual >= 0)
    reach(c.residual, {{c.channels, c.residual_channel}, {c.height, c.residual_row}, {c.width, 1}},
          lines, "a residual");
}

void check(const Dense& d, int64_t lines, int64_t most) {
  counts({d.channels, d.height, d.width, d.tile_width, d.splits, d.step}, "a dense layer");
  places({d.in}, "an input");
  require(d.group == 4 || (d.group == 8 && most >= 8), "a group");
  require(d.tile_width == 1 || d.group * d.tile_width <= most + most / 2, "a tile's width");
  require(d.tile_width >= 1 && d.tile_width <= 6 && d.splits >= 1 && d.activation >= 0 && d.step >= 1, "a dense layer");
  require(d.channels >= 1 && !d.taps.empty(), "a dense layer");
  const int64_t groups = (d.channels + d.group - 1) / d.group;
  require(d.splits <= groups, "a dense layer");
  require(int64_t(d.bias.size()) == groups * d.group, "a bias");
  require(int64_t(d.weights.size()) == groups * d.group * int64_t(d.taps.size()), "weights");
  const auto [low, high] = extremes(d.taps);
  require(d.in + low >= 0, "an input");
  reach(d.in + high, {{d.height, d.in_row}, {d.width, d.step}}, lines, "an input");
  reach(d.out, {{d.channels, d.out_channel}, {d.height, d.out_row}, {d.width, 1}}, lines, "an output");
  distinct(d.channels, d.out_channel, d.height, d.out_row, d.width);
  if (d.residual >= 0)
    reach(d.residual, {{d.channels, d.residual_channel}, {d.height, d.residual_row}, {d.width, 1}},
          lines, "a residual");
}

void check(const Gather& g, int64_t lines, int64_t lanes, int64_t samples, const std::vector<int64_t>& inputs, const std::vector<int64_t>& outputs) {
  require(g.where >= 0 && g.where <= 2 && !g.table.empty(), "a gather");
  places({g.source, g.target}, "a gather");
  const std::vector<int64_t>& arrays = g.where == 2 ? outputs : inputs;
  require(g.where == 0 || (g.array >= 0 && g.array < int64_t(arrays.size())), "an array");
  const int64_t from = g.where == 1 ? samples * arrays[g.array] : lines * lanes;
  const int64_t to = g.where == 2 ? samples * arrays[g.array] : lines * lanes;
  const auto [low, high] = extremes(g.table);
  require(low >= -1, "a table");
  reach(g.source + (high < 0 ? 0 : high), {{g.channels, g.source_channel}}, from, "a source");
  reach(g.target + int64_t(g.table.size()) - 1, {{g.channels, g.target_channel}}, to, "a target");
  distinct(g.channels, g.target_channel, 1, 0, g.table.size());
}

void check(const Transpose& t, int64_t lines, int64_t samples, const std::vector<int64_t>& inputs, const std::vector<int64_t>& outputs) {
  const std::vector<int64_t>& arrays = t.out ? outputs : inputs;
  counts({t.channels, t.channel}, "a transpose");
  require(t.array >= 0 && t.array < int64_t(arrays.size()) && t.channels >= 1 && t.channel >= 1, "a transpose");
  require(int64_t(t.rows.size()) == t.channel * WORDS, "rows");
  const auto [low, high] = extremes(t.rows);
  require(low >= -1, "rows");
  reach(t.place, {{t.channels, t.channel}, {t.channel, 1}}, lines, "an arena's lines");
  reach(t.channels - 1, {{high < 0 ? 1 : high + 1, t.channels}}, samples * arrays[t.array], "a row");
}

void check(const Halo& h, int64_t lines, int64_t lanes) {
  require(!h.lines.empty() && h.sources.size() == h.lines.size() && h.kinds.size() == h.lines.size(), "a halo");
  const auto [low, high] = extremes(h.lines);
  const auto [from, to] = extremes(h.sources);
  const auto [first, last] = extremes(h.kinds);
  const auto [lane, farthest] = extremes(h.moves);
  places({h.base}, "a halo");
  require(low >= 0 && from >= 0 && first >= 0 && lane >= -1 && farthest < lanes, "a halo");
  require(last < int64_t(h.moves.size()) / lanes, "a halo");
  reach(h.base + std::max(high, to), {{h.channels, h.channel}}, lines, "a halo");
  distinct(h.channels, h.channel, 1, 0, high + 1);
}

void check(const Pool& p, int64_t lines) {
  places({p.in}, "an input");
  require(!p.taps.empty() && p.step >= 1, "a pool");
  const auto [low, high] = extremes(p.taps);
  require(p.in + low >= 0, "an input");
  reach(p.in + (high > 0 ? high : 0),
        {{p.channels, p.in_channel}, {p.height, p.in_row}, {p.width, p.step}}, lines, "an input");
  reach(p.out, {{p.channels, p.out_channel}, {p.height, p.out_row}, {p.width, 1}}, lines, "an output");
  distinct(p.channels, p.out_channel, p.height, p.out_row, p.width);
}

void check(const Mean& m, int64_t lines, int64_t lanes) {
  require(!m.lines.empty() && int64_t(m.weights.size()) == int64_t(m.lines.size()) * lanes && int64_t(m.groups.size()) == lanes, "a mean");
  const auto [low, high] = extremes(m.lines);
  const auto [first, last] = extremes(m.groups);
  places({m.in}, "an input");
  require(low >= 0 && first >= 0 && last < lanes, "a mean");
  reach(m.in + high, {{m.channels, m.in_channel}}, lines, "an input");
  reach(m.out, {{m.channels, m.out_channel}}, lines, "an output");
  distinct(m.channels, m.out_channel, 1, 0, 1);
}

void check(const Pointwise& p, int64_t lines) {
  require(p.scale.empty() || int64_t(p.scale.size()) == p.channels, "a scale");
  require(p.shift.empty() || int64_t(p.shift.size()) == p.channels, "a shift");
  reach(p.in, {{p.channels, p.in_channel}, {p.height, p.in_row}, {p.width, 1}}, lines, "an input");
  reach(p.out, {{p.channels, p.out_channel}, {p.height, p.out_row}, {p.width, 1}}, lines, "an output");
  distinct(p.channels, p.out_channel, p.height, p.out_row, p.width);
  if (p.other >= 0)
    reach(p.other, {{p.channels, p.other_channel}, {p.height, p.other_row}, {p.width, 1}}, lines,
          "an input");
}

void check(const LayerNorm& n, int64_t lines) {
  require(int64_t(n.weight.size()) == n.channels && int64_t(n.bias.size()) == n.channels, "a norm");
  reach(n.in, {{n.channels, n.in_channel}, {n.lines, 1}}, lines, "an input");
  reach(n.out, {{n.channels, n.out_channel}, {n.lines, 1}}, lines, "an output");
  distinct(n.channels, n.out_channel, 1, 0, n.lines);
}

void check(const Softmax& s, int64_t lines) {
  reach(s.in, {{s.channels, s.in_channel}, {s.lines, 1}}, lines, "an input");
  reach(s.out, {{s.channels, s.out_channel}, {s.lines, 1}}, lines, "an output");
  distinct(s.channels, s.out_channel, 1, 0, s.lines);
}

void check(const Attention& a, int64_t lines, int64_t workers) {
  counts({a.heads, a.width, a.channel}, "an attention");
  require(!a.places.empty() && a.heads >= 1 && a.width >= 1 && a.channel >= 1, "an attention");
  require(int64_t(a.order.size()) == a.channel * WORDS, "an order");
  const auto [low, high] = extremes(a.places);
  require(low >= 0 && high < a.channel * WORDS, "a token's place");
  const int64_t channels = a.heads * a.width;
  reach(a.query, {{channels, a.channel}, {a.channel, 1}}, lines, "queries");
  reach(a.key, {{channels, a.channel}, {a.channel, 1}}, lines, "keys");
  reach(a.value, {{channels, a.channel}, {a.channel, 1}}, lines, "values");
  reach(a.out, {{channels, a.channel}, {a.channel, 1}}, lines, "an output");
  reach(a.scratch, {{workers, int64_t(a.places.size()) * 4}, {int64_t(a.places.size()) * 4, 1}}, lines, "scores");
}

}  // namespace

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
  std::visit(
      [this](const auto& one) {
        using T = std::decay_t<decltype(one)>;
        constexpr bool tokens = std::is_same_v<T, Transpose> || std::is_same_v<T, LayerNorm> || std::is_same_v<T, Softmax> ||
                                std::is_same_v<T, Attention>;
        require(!tokens || kernels_->lanes == WORDS, "an operation that is fp32 only");
        if constexpr (std::is_same_v<T, Gather>) check(one, lines_, kernels_->lanes, samples_, inputs_, outputs_);
        else if constexpr (std::is_same_v<T, Transpose>) check(one, lines_, samples_, inputs_, outputs_);
        else if constexpr (std::is_same_v<T, Halo> || std::is_same_v<T, Mean>) check(one, lines_, kernels_->lanes);
        else if constexpr (std::is_same_v<T, Attention>) check(one, lines_, chunks());
        else if constexpr (std::is_same_v<T, Convolution> || std::is_same_v<T, Dense>) check(one, lines_, kernels_->most);
        else check(one, lines_);
      },
      operation);
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
