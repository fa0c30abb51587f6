// What a program is made of: plain records with places in the arena, counted in lines of sixteen words. A line has sixteen lanes
// of fp32, or thirty-two of bf16: lane l < 16 is the low half of word l, lane 16 + l its high half. All of one block of samples,
// which share the lanes. Sums are fp32 in both.
#pragma once
#include <cstdint>
#include <variant>
#include <vector>

namespace lehr {

// A weight that is not zero: where its input lies, in lines from the tile's first input, and its value.
struct Nonzero {
  int32_t offset;
  float value;
};

// The same in half the bytes, where it can be: the value in bf16, in the high half, and the offset below it.
typedef uint32_t Short;

// Convolutions and products with a matrix. Activations are [channel][row][column] lines, with halos.
//   out[k][y][x] = act(bias[k] + sum over nonzeros of value * in[offset + y * in_row + x * step] (+ residual[k][y][x]))
struct Convolution {
  int64_t in, out, residual;  // first lines; out and residual at the first pixel inside of the halo; residual < 0: none
  int64_t channels, height, width;  // of the output
  int64_t in_row, step;             // lines from an output pixel's input to that of the next row and of the next column
  int64_t out_channel, out_row, residual_channel, residual_row;
  int64_t tile_height, tile_width, splits, parts;  // splits of the output channels; parts of the input channels, one after the other
  int activation;
  std::vector<int64_t> bounds;   // splits + 1: first output channel of each
  std::vector<int32_t> rows;     // parts * channels + 1: first nonzero of each part of each row
  std::vector<Nonzero> nonzeros;
  std::vector<Short> shorts;     // instead of them
  std::vector<float> bias;
};

// The same with every weight: taps shared by all output channels, weights in groups of `group` output channels.
struct Dense {
  int64_t in, out, residual;
  int64_t channels, height, width;
  int64_t in_row, step;
  int64_t out_channel, out_row, residual_channel, residual_row;
  int64_t tile_width, group, splits;  // group: 4 or 8 output channels at once
  int activation;
  std::vector<int32_t> taps;      // input line of each weight of a row
  std::vector<float> weights;     // [groups][taps][group]
  std::vector<float> bias;        // groups * group
};

// Numbers moved one by one, counted in numbers: target[c * target_channel + i] = source[c * source_channel + table[i]], 0 where the table has -1.
struct Gather {
  int64_t source, target;  // of the arena, or of an input or output array, which are fp32
  int64_t channels, source_channel, target_channel;
  int where;               // 0: arena to arena, 1: from an input array, 2: to an output array
  int64_t array;           // which
  std::vector<int32_t> table;
};

// Tokens in rows of an array, channels side by side, to tokens in lanes of the arena, or back.
struct Transpose {
  int64_t place, channels, channel;  // first line, channels, lines of a channel
  int64_t array;
  bool out;                          // from the arena to an output; else from an input
  std::vector<int32_t> rows;         // lines * 16: the row of each lane, or -1; fp32 only
};

// The border of patches: a line of the same channel with its lanes moved, or a constant at the border of an image.
struct Halo {
  int64_t base, channels, channel;  // lines
  std::vector<int32_t> lines;       // that are written, from the channel's first
  std::vector<int32_t> sources;     // line that each comes from
  std::vector<int32_t> kinds;       // and how its lanes move
  std::vector<int32_t> moves;       // kinds * lanes: the place in the line that each number comes from, or -1 for the constant
  std::vector<int16_t> shorts;      // the same, for lines of bf16
  float fill;
};

struct Pool {
  int64_t in, out, channels, height, width, in_row, step, in_channel, out_channel, out_row;
  bool largest;
  std::vector<int32_t> taps;
  float scale;
  int activation;
};

// out[channel] = scale * sum over pixels and over the lanes of each group (all lanes that hold one sample).
struct Mean {
  int64_t in, out, channels, in_channel, out_channel;
  std::vector<int32_t> lines;    // pixels to add, in lines from the channel's first
  std::vector<float> weights;    // lines * lanes: 1 where the pixel is inside of the image
  std::vector<int32_t> groups;   // lanes: which output lane each lane is added to
  float scale;
};

// y = act(x * scale[channel] + shift[channel] (+ other)); lines of a channel are contiguous.
struct Pointwise {
  int64_t in, other, out, channels, in_channel, other_channel, out_channel, height, width,
      in_row, other_row, out_row;
  bool multiply;  // by the other, instead of adding it
  int activation;
  std::vector<float> scale, shift;  // empty: none
};

// Over the channels of each pixel: (x - mean) / sqrt(var + epsilon) * weight + bias.
struct LayerNorm {
  int64_t in, out, channels, in_channel, out_channel, lines;
  float epsilon;
  std::vector<float> weight, bias;
};

// softmax(scale Q K^T (+ causal)) V for each head; tokens are lanes of [channel][line].
struct Attention {
  int64_t query, key, value, out;
  int64_t heads, width, channel;  // channels of a head; lines of a channel
  int64_t scratch;                // lines of scores, 4 a token, for each chunk of the work
  std::vector<int32_t> places;    // float of each token in a channel
  std::vector<int32_t> order;     // lines * 16: the token that a lane holds, or -1
  bool causal;
  float scale;
};

// Softmax over the channels of each pixel.
struct Softmax {
  int64_t in, out, channels, in_channel, out_channel, lines;
};

// Any of them.
using Operation = std::variant<Convolution, Dense, Gather, Transpose, Halo, Pool, Mean, Pointwise, LayerNorm, Softmax, Attention>;

// One draw for a training pass of so many weights, the first being number `start` of the stream (key, counter).
struct Draw {
  uint64_t key[2], counter[3], start;
  int64_t count;
  int32_t level;             // of 65,536: the chance of weights outside of the target, where there are no probabilities
  const uint8_t* target;     // those inside take part
  const float* probability;  // of each weight; null where all have one of the two
  float *values, *shadow, *factor;
};

}  // namespace lehr
