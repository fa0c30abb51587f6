// lehr.runtime._native: programs are built from dictionaries of numbers and arrays, and run on arrays.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>

#include "program.h"
#include "threads.h"

namespace nb = nanobind;
using namespace lehr;

namespace {

template <class T>
using Array = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

struct Values {
  const nb::dict& values;

  int64_t number(const char* name) const { return nb::cast<int64_t>(values[name]); }
  float real(const char* name) const { return float(nb::cast<double>(values[name])); }
  bool truth(const char* name) const { return nb::cast<bool>(values[name]); }
  template <class T>
  std::vector<T> array(const char* name) const {
    const auto a = nb::cast<Array<T>>(values[name]);
    return std::vector<T>(a.data(), a.data() + a.size());
  }
};

Operation operation(const std::string& kind, const nb::dict& given) {
  const Values v{given};
#define N(field) o.field = v.number(#field)
  if (kind == "convolution") {
    Convolution o;
    N(in), N(out), N(residual), N(channels), N(height), N(width);
    N(in_row), N(step), N(out_channel), N(out_row), N(residual_channel), N(residual_row), N(tile_height), N(tile_width);
    N(splits), N(parts), N(activation);
    o.bounds = v.array<int64_t>("bounds");
    o.rows = v.array<int32_t>("rows");
    o.bias = v.array<float>("bias");
    const auto offsets = v.array<int32_t>("offsets");
    const auto values = v.array<float>("values");
    if (offsets.size() != values.size()) throw std::invalid_argument("offsets and values");
    o.nonzeros.resize(offsets.size());
    for (size_t i = 0; i < offsets.size(); i++) o.nonzeros[i] = {offsets[i], values[i]};
    return o;
  }
  if (kind == "dense") {
    Dense o;
    N(in), N(out), N(residual), N(channels), N(height), N(width);
    N(in_row), N(step), N(out_channel), N(out_row), N(residual_channel), N(residual_row), N(tile_width), N(group), N(splits);
    N(activation);
    o.taps = v.array<int32_t>("taps");
    o.weights = v.array<float>("weights");
    o.bias = v.array<float>("bias");
    return o;
  }
  if (kind == "gather") {
    Gather o;
    N(source), N(target), N(channels), N(source_channel), N(target_channel), N(where), N(array);
    o.table = v.array<int32_t>("table");
    return o;
  }
  if (kind == "transpose") {
    Transpose o;
    N(place), N(channels), N(channel), N(array);
    o.out = v.truth("out");
    o.rows = v.array<int32_t>("rows");
    return o;
  }
  if (kind == "halo") {
    Halo o;
    N(base), N(channels), N(channel);
    o.lines = v.array<int32_t>("lines");
    o.sources = v.array<int32_t>("sources");
    o.kinds = v.array<int32_t>("kinds");
    o.moves = v.array<int32_t>("moves");
    o.shorts.assign(o.moves.begin(), o.moves.end());
    o.fill = v.real("fill");
    return o;
  }
  if (kind == "pool") {
    Pool o;
    N(in), N(out), N(channels), N(height), N(width), N(in_row), N(step), N(in_channel);
    N(out_channel), N(out_row), N(activation);
    o.largest = v.truth("largest");
    o.scale = v.real("scale");
    o.taps = v.array<int32_t>("taps");
    return o;
  }
  if (kind == "mean") {
    Mean o;
    N(in), N(out), N(channels), N(in_channel), N(out_channel);
    o.lines = v.array<int32_t>("lines");
    o.weights = v.array<float>("weights");
    o.groups = v.array<int32_t>("groups");
    o.scale = v.real("scale");
    return o;
  }
  if (kind == "pointwise") {
    Pointwise o;
    N(in), N(other), N(out), N(channels), N(in_channel), N(other_channel);
    N(out_channel), N(height), N(width), N(in_row), N(other_row), N(out_row), N(activation);
    o.multiply = v.truth("multiply");
    o.scale = v.array<float>("scale");
    o.shift = v.array<float>("shift");
    return o;
  }
  if (kind == "layer_norm") {
    LayerNorm o;
    N(in), N(out), N(channels), N(in_channel), N(out_channel), N(lines);
    o.epsilon = v.real("epsilon");
    o.weight = v.array<float>("weight");
    o.bias = v.array<float>("bias");
    return o;
  }
  if (kind == "softmax") {
    Softmax o;
    N(in), N(out), N(channels), N(in_channel), N(out_channel), N(lines);
    return o;
  }
  if (kind == "attention") {
    Attention o;
    N(query), N(key), N(value), N(out), N(heads), N(width);
    N(channel), N(scratch);
    o.places = v.array<int32_t>("places");
    o.order = v.array<int32_t>("order");
    o.causal = v.truth("causal");
    o.scale = v.real("scale");
    return o;
  }
#undef N
  throw std::invalid_argument("there is no such operation");
}

using Input = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

// How many samples the arrays hold, each at its size of one.
template <class A>
int64_t samples_in(const std::vector<A>& arrays, const std::vector<int64_t>& sizes, int64_t count) {
  if (arrays.size() != sizes.size()) throw std::invalid_argument("the program has another number of arrays");
  for (size_t i = 0; i < arrays.size(); i++) {
    if (count < 0) count = int64_t(arrays[i].size()) / sizes[i];
    if (int64_t(arrays[i].size()) != count * sizes[i]) throw std::invalid_argument("the arrays are not of the program's sizes");
  }
  return count;
}

using Flags = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// See the Python side for what is drawn; arrays of one length.
void draw(const std::vector<uint64_t>& key, const std::vector<uint64_t>& counter, uint64_t start, int64_t level,
          std::optional<Flags> target, std::optional<Array<float>> probability, Floats values, Floats shadow, Floats factor,
          nb::ndarray<uint8_t, nb::shape<1>, nb::device::cpu> done, int64_t workers) {
  const size_t count = values.size();
  if (key.size() != 2 || counter.size() != 3 || workers < 1 || workers > 1024) throw std::invalid_argument("a draw");
  if (shadow.size() != count || factor.size() != count || (target && target->size() != count) ||
      (probability && probability->size() != count) || !target == !probability)
    throw std::invalid_argument("arrays of different lengths");
  Draw d{{key[0], key[1]}, {counter[0], counter[1], counter[2]}, start, int64_t(count),
         int32_t(level < 0 ? 0 : level > 65536 ? 65536 : level), target ? target->data() : nullptr,
         probability ? probability->data() : nullptr, values.data(), shadow.data(), factor.data()};
  nb::gil_scoped_release release;
  constexpr int64_t PIECE = 1 << 15;
  const Kernels* kernels = kernels_named(best_kernels(), false);
  std::atomic<int64_t> next{0};
  const std::function<void()> work = [&] {
    for (int64_t from; (from = next.fetch_add(PIECE)) < d.count;) kernels->draw(d, from, from + PIECE < d.count ? from + PIECE : d.count);
  };
  threads().run(d.count <= 2 * PIECE ? 0 : workers - 1, work);
  done.data()[0] = 1;
}

// Programs of one thread each on the same samples.
void run_beside_of(const std::vector<const Program*>& programs, const std::vector<Input>& inputs,
                   const std::vector<std::vector<Output>>& outputs, int64_t workers) {
  if (programs.size() != outputs.size() || workers < 1 || workers > 1024) throw std::invalid_argument("programs beside each other");
  std::vector<std::vector<float*>> to(programs.size());
  int64_t count = -1;
  for (size_t i = 0; i < programs.size(); i++) {
    if (!programs[i] || programs[i]->workers() != 1) throw std::invalid_argument("a program of several threads beside others");
    count = samples_in(outputs[i], programs[i]->outputs(), samples_in(inputs, programs[i]->inputs(), count));
    for (const Output& output : outputs[i]) to[i].push_back(output.data());
  }
  std::vector<const float*> from;
  for (const Input& input : inputs) from.push_back(input.data());
  nb::gil_scoped_release release;
  run_beside(programs, from, to, count, workers);
}

}  // namespace

NB_MODULE(_native, m) {
  nb::set_leak_warnings(false);
  m.def("best_kernels", [] { return std::string(best_kernels()); });
  m.def("has_kernels", [](const std::string& name) { return kernels_named(name.c_str(), false) != nullptr; });
  m.def("most_pixels", [](const std::string& name, bool half) {
    const Kernels* kernels = kernels_named(name.c_str(), half);
    return kernels ? kernels->most : 0;
  });
  m.def("draw", &draw, nb::arg("key"), nb::arg("counter"), nb::arg("start"), nb::arg("level"), nb::arg("target").none(),
        nb::arg("probability").none(), nb::arg("values"), nb::arg("shadow"), nb::arg("factor"), nb::arg("done"), nb::arg("workers"));
  m.def("run_beside", &run_beside_of, nb::arg("programs"), nb::arg("inputs"), nb::arg("outputs"), nb::arg("workers"));
  nb::class_<Program>(m, "Program")
      .def("__init__",
           [](Program* self, int64_t lines, std::vector<int64_t> inputs, std::vector<int64_t> outputs, int64_t samples,
              int64_t workers, const std::string& kernels, bool half) {
             new (self) Program(lines, std::move(inputs), std::move(outputs), samples, workers, kernels.c_str(), half);
           },
           nb::arg("lines"), nb::arg("inputs"), nb::arg("outputs"), nb::arg("samples"), nb::arg("workers"), nb::arg("kernels"),
           nb::arg("half"))
      .def("add", [](Program& self, const std::string& kind, const nb::dict& given) { self.add(operation(kind, given)); })
      .def("alone", &Program::alone)
      .def("constant",
           [](Program& self, int64_t line, Array<float> words) {
             self.constant(line, std::vector<float>(words.data(), words.data() + words.size()));
           })
      .def("run",
           [](const Program& self, const std::vector<Input>& inputs, const std::vector<Output>& outputs) {
             const int64_t count = samples_in(outputs, self.outputs(), samples_in(inputs, self.inputs(), -1));
             std::vector<const float*> from;
             std::vector<float*> to;
             for (const Input& input : inputs) from.push_back(input.data());
             for (const Output& output : outputs) to.push_back(output.data());
             nb::gil_scoped_release release;
             self.run(from, to, count);
           })
      .def("times",
           [](const Program& self, int64_t repeats) {
             nb::gil_scoped_release release;
             return self.times(repeats);
           })
      .def("__len__", &Program::size)
      .def_prop_ro("lines", &Program::lines);
}
