// Whether an operation stays inside of its places; every number of a stranger's file goes through here.
#include "check.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "vector.h"

namespace lehr {

namespace {

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

// What works across the channels of a token.
void fp32_only(const Room& room) { require(room.lanes == WORDS, "an operation that is fp32 only"); }

template <class T>
std::pair<int64_t, int64_t> extremes(const std::vector<T>& values) {
  int64_t low = values.empty() ? 0 : values[0], high = low;
  for (T v : values) {
    low = v < low ? v : low;
    high = v > high ? v : high;
  }
  return {low, high};
}

// Where a convolution or a dense layer writes, and what it adds.
template <class Layer>
void output(const Layer& one, const Room& room) {
  reach(one.out, {{one.channels, one.out_channel}, {one.height, one.out_row}, {one.width, 1}}, room.lines, "an output");
  distinct(one.channels, one.out_channel, one.height, one.out_row, one.width);
  if (one.residual >= 0)
    reach(one.residual, {{one.channels, one.residual_channel}, {one.height, one.residual_row}, {one.width, 1}}, room.lines,
          "a residual");
}

void check(const Convolution& c, const Room& room) {
  counts({c.channels, c.height, c.width, c.parts, c.splits, c.tile_width, c.step}, "a convolution");
  places({c.in}, "an input");
  require(c.tile_height == 1 || c.tile_height == 2 || c.tile_height == 4, "a tile's height");
  const int64_t w = c.tile_width;
  require(w >= 1 && w * c.tile_height <= room.most && (w <= 8 || (c.tile_height == 1 && (w == 13 || w == 16))), "a tile's width");
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
  reach(c.in + high, {{c.height, c.in_row}, {c.width, c.step}}, room.lines, "an input");
  reach(c.in, {{c.height, c.in_row}, {c.width, c.step}}, room.lines, "an input");
  output(c, room);
}

void check(const Dense& d, const Room& room) {
  counts({d.channels, d.height, d.width, d.tile_width, d.splits, d.step}, "a dense layer");
  places({d.in}, "an input");
  require(d.group == 4 || (d.group == 8 && room.most >= 8), "a group");
  require(d.tile_width == 1 || d.group * d.tile_width <= room.most + room.most / 2, "a tile's width");
  require(d.tile_width >= 1 && d.tile_width <= 6 && d.splits >= 1 && d.activation >= 0 && d.step >= 1, "a dense layer");
  require(d.channels >= 1 && !d.taps.empty(), "a dense layer");
  const int64_t groups = (d.channels + d.group - 1) / d.group;
  require(d.splits <= groups, "a dense layer");
  require(int64_t(d.bias.size()) == groups * d.group, "a bias");
  require(int64_t(d.weights.size()) == groups * d.group * int64_t(d.taps.size()), "weights");
  const auto [low, high] = extremes(d.taps);
  require(d.in + low >= 0, "an input");
  reach(d.in + high, {{d.height, d.in_row}, {d.width, d.step}}, room.lines, "an input");
  output(d, room);
}

void check(const Gather& g, const Room& room) {
  require(g.where >= 0 && g.where <= 2 && !g.table.empty(), "a gather");
  places({g.source, g.target}, "a gather");
  const std::vector<int64_t>& arrays = g.where == 2 ? room.outputs : room.inputs;
  require(g.where == 0 || (g.array >= 0 && g.array < int64_t(arrays.size())), "an array");
  const int64_t from = g.where == 1 ? room.samples * arrays[g.array] : room.lines * room.lanes;
  const int64_t to = g.where == 2 ? room.samples * arrays[g.array] : room.lines * room.lanes;
  const auto [low, high] = extremes(g.table);
  require(low >= -1, "a table");
  reach(g.source + (high < 0 ? 0 : high), {{g.channels, g.source_channel}}, from, "a source");
  reach(g.target + int64_t(g.table.size()) - 1, {{g.channels, g.target_channel}}, to, "a target");
  distinct(g.channels, g.target_channel, 1, 0, g.table.size());
}

void check(const Transpose& t, const Room& room) {
  fp32_only(room);
  const std::vector<int64_t>& arrays = t.out ? room.outputs : room.inputs;
  counts({t.channels, t.channel}, "a transpose");
  require(t.array >= 0 && t.array < int64_t(arrays.size()) && t.channels >= 1 && t.channel >= 1, "a transpose");
  require(int64_t(t.rows.size()) == t.channel * WORDS, "rows");
  const auto [low, high] = extremes(t.rows);
  require(low >= -1, "rows");
  reach(t.place, {{t.channels, t.channel}, {t.channel, 1}}, room.lines, "an arena's lines");
  reach(t.channels - 1, {{high < 0 ? 1 : high + 1, t.channels}}, room.samples * arrays[t.array], "a row");
}

void check(const Halo& h, const Room& room) {
  require(!h.lines.empty() && h.sources.size() == h.lines.size() && h.kinds.size() == h.lines.size(), "a halo");
  const auto [low, high] = extremes(h.lines);
  const auto [from, to] = extremes(h.sources);
  const auto [first, last] = extremes(h.kinds);
  const auto [lane, farthest] = extremes(h.moves);
  places({h.base}, "a halo");
  require(low >= 0 && from >= 0 && first >= 0 && lane >= -1 && farthest < room.lanes, "a halo");
  require(last < int64_t(h.moves.size()) / room.lanes, "a halo");
  reach(h.base + std::max(high, to), {{h.channels, h.channel}}, room.lines, "a halo");
  distinct(h.channels, h.channel, 1, 0, high + 1);
}

void check(const Pool& p, const Room& room) {
  places({p.in}, "an input");
  require(!p.taps.empty() && p.step >= 1, "a pool");
  const auto [low, high] = extremes(p.taps);
  require(p.in + low >= 0, "an input");
  reach(p.in + (high > 0 ? high : 0),
        {{p.channels, p.in_channel}, {p.height, p.in_row}, {p.width, p.step}}, room.lines, "an input");
  reach(p.out, {{p.channels, p.out_channel}, {p.height, p.out_row}, {p.width, 1}}, room.lines, "an output");
  distinct(p.channels, p.out_channel, p.height, p.out_row, p.width);
}

void check(const Mean& m, const Room& room) {
  require(!m.lines.empty() && int64_t(m.weights.size()) == int64_t(m.lines.size()) * room.lanes && int64_t(m.groups.size()) == room.lanes, "a mean");
  const auto [low, high] = extremes(m.lines);
  const auto [first, last] = extremes(m.groups);
  places({m.in}, "an input");
  require(low >= 0 && first >= 0 && last < room.lanes, "a mean");
  reach(m.in + high, {{m.channels, m.in_channel}}, room.lines, "an input");
  reach(m.out, {{m.channels, m.out_channel}}, room.lines, "an output");
  distinct(m.channels, m.out_channel, 1, 0, 1);
}

void check(const Pointwise& p, const Room& room) {
  require(p.scale.empty() || int64_t(p.scale.size()) == p.channels, "a scale");
  require(p.shift.empty() || int64_t(p.shift.size()) == p.channels, "a shift");
  reach(p.in, {{p.channels, p.in_channel}, {p.height, p.in_row}, {p.width, 1}}, room.lines, "an input");
  reach(p.out, {{p.channels, p.out_channel}, {p.height, p.out_row}, {p.width, 1}}, room.lines, "an output");
  distinct(p.channels, p.out_channel, p.height, p.out_row, p.width);
  if (p.other >= 0)
    reach(p.other, {{p.channels, p.other_channel}, {p.height, p.other_row}, {p.width, 1}}, room.lines,
          "an input");
}

void check(const LayerNorm& n, const Room& room) {
  fp32_only(room);
  require(int64_t(n.weight.size()) == n.channels && int64_t(n.bias.size()) == n.channels, "a norm");
  reach(n.in, {{n.channels, n.in_channel}, {n.lines, 1}}, room.lines, "an input");
  reach(n.out, {{n.channels, n.out_channel}, {n.lines, 1}}, room.lines, "an output");
  distinct(n.channels, n.out_channel, 1, 0, n.lines);
}

void check(const Softmax& s, const Room& room) {
  fp32_only(room);
  reach(s.in, {{s.channels, s.in_channel}, {s.lines, 1}}, room.lines, "an input");
  reach(s.out, {{s.channels, s.out_channel}, {s.lines, 1}}, room.lines, "an output");
  distinct(s.channels, s.out_channel, 1, 0, s.lines);
}

void check(const Attention& a, const Room& room) {
  fp32_only(room);
  counts({a.heads, a.width, a.channel}, "an attention");
  require(!a.places.empty() && a.heads >= 1 && a.width >= 1 && a.channel >= 1, "an attention");
  require(int64_t(a.order.size()) == a.channel * WORDS, "an order");
  const auto [low, high] = extremes(a.places);
  require(low >= 0 && high < a.channel * WORDS, "a token's place");
  const int64_t channels = a.heads * a.width;
  reach(a.query, {{channels, a.channel}, {a.channel, 1}}, room.lines, "queries");
  reach(a.key, {{channels, a.channel}, {a.channel, 1}}, room.lines, "keys");
  reach(a.value, {{channels, a.channel}, {a.channel, 1}}, room.lines, "values");
  reach(a.out, {{channels, a.channel}, {a.channel, 1}}, room.lines, "an output");
  reach(a.scratch, {{room.workers, int64_t(a.places.size()) * 4}, {int64_t(a.places.size()) * 4, 1}}, room.lines, "scores");
}

}  // namespace

void check(const Operation& operation, const Room& room) {
  std::visit([&room](const auto& one) { check(one, room); }, operation);
}

}  // namespace lehr
