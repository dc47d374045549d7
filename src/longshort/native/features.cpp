// Python's door to feature programs: a Program, and a Stepper that carries the state of all symbols.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <thread>

#include "pages.hpp"
#include "program.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace features;

namespace {

using Doubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using Row = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;

struct Compiled {
    std::shared_ptr<const Program> program;
};

// Columns of history: (n_bars, n_symbols) or, for what all symbols share, (n_bars,).
std::vector<Column> columns_of(const Program& program, const std::vector<Doubles>& inputs, int64_t n_bars,
                               int64_t n_symbols) {
    if (int(inputs.size()) != program.n_inputs) throw std::invalid_argument("feature program: wrong number of inputs");
    std::vector<Column> columns;
    for (const Doubles& input : inputs) {
        bool shared = input.ndim() == 1;
        bool fits = int64_t(input.shape(0)) == n_bars && (shared || (input.ndim() == 2 && int64_t(input.shape(1)) == n_symbols));
        if (!fits) throw std::invalid_argument("feature program: an input has the wrong shape");
        columns.push_back({input.data(), shared ? 1 : n_symbols, shared ? 0 : 1, n_bars});
    }
    return columns;
}

// Symbols that share a state, and bars they take at a time: enough to hide the interpreter, few enough for the caches.
// After a stretch of bars memory is asked for ahead.
constexpr int64_t BLOCK = 64, CHUNK = 16, STRETCH = 64;

// Numbers in a result from which on it goes past the caches, so as not to be read before it is written.
constexpr int64_t LARGE = int64_t(1) << 21;

nb::object large_result(int64_t size) {
    longshort::Block* block = longshort::take_block(size_t(size) * sizeof(double));
    nb::capsule owner(block, [](void* p) noexcept { longshort::give_block(static_cast<longshort::Block*>(p)); });
    const size_t shape[] = {size_t(size)};
    return nb::cast(nb::ndarray<nb::numpy, double>(block->begin, 1, shape, owner));
}

// All of history. Blocks of symbols go to threads; each block is the loop of State::step. `ours`: `out` is a
// large_result.
void run_history(const Compiled& compiled, const std::vector<Doubles>& inputs, int64_t n_bars, int64_t n_symbols,
                 Result out, int64_t out_from, int threads, bool ours) {
    const Program& program = *compiled.program;
    std::vector<Column> columns = columns_of(program, inputs, n_bars, n_symbols);
    program.check_symbols(n_symbols);
    if (out_from < 0 || out_from > n_bars ||
        int64_t(out.size()) != (n_bars - out_from) * n_symbols * int64_t(program.outputs.size()))
        throw std::invalid_argument("feature program: the output has the wrong shape");
    double* to = out.data();
    nb::gil_scoped_release release;
    const int64_t block = program.crosses_symbols ? std::max<int64_t>(n_symbols, 1) : BLOCK;
    const int64_t n_blocks = (n_symbols + block - 1) / block;
    std::atomic<int64_t> next{0};
    const int64_t n_threads = std::min<int64_t>(threads, n_blocks);
    const int64_t row = n_symbols * int64_t(program.outputs.size());
    const bool streams = int64_t(out.size()) >= LARGE;
    longshort::NewPages pages(to, ours ? int64_t(out.size()) : 0);
    auto work = [&] {
        for (int64_t i; (i = next++) < n_blocks;) {
            State state(compiled.program, i * block, std::min(block, n_symbols - i * block), CHUNK);
            for (int64_t bar = 0, stop; bar < n_bars; bar = stop) {
                stop = std::min(bar + STRETCH, n_bars);
                if (stop > out_from) pages.ask(to + (stop - out_from) * row);
                state.run(columns.data(), bar, stop, n_symbols, to, out_from, streams);
            }
        }
    };
    std::vector<std::thread> helpers;
    for (int64_t i = 1; i < n_threads; i++) helpers.emplace_back(work);
    work();
    for (std::thread& helper : helpers) helper.join();
}

void step(Stepper& stepper, Row row, Result out) {
    if (int(row.shape(0)) != stepper.program().n_inputs || int64_t(row.shape(1)) != stepper.n_symbols() ||
        int64_t(out.size()) != stepper.n_symbols() * stepper.n_outputs())
        throw std::invalid_argument("feature program: the row has the wrong shape");
    stepper.step(row.data(), out.data());
}

void run(Stepper& stepper, const std::vector<Doubles>& inputs, int64_t n_bars, nb::object out) {
    std::vector<Column> columns = columns_of(stepper.program(), inputs, n_bars, stepper.n_symbols());
    double* to = nullptr;
    if (!out.is_none()) {
        Result result = nb::cast<Result>(out);
        if (int64_t(result.size()) != n_bars * stepper.n_symbols() * stepper.n_outputs())
            throw std::invalid_argument("feature program: the output has the wrong shape");
        to = result.data();
    }
    nb::gil_scoped_release release;
    stepper.state().run(columns.data(), 0, n_bars, stepper.n_symbols(), to, 0);
}

nb::bytes snapshot(Stepper& stepper) {
    State& state = stepper.state();
    std::string bytes(8 + size_t(state.size()) * 8, '\0');
    int64_t time = state.time();
    std::memcpy(bytes.data(), &time, 8);
    std::memcpy(bytes.data() + 8, state.memory(), size_t(state.size()) * 8);
    return nb::bytes(bytes.data(), bytes.size());
}

void restore(Stepper& stepper, nb::bytes bytes) {
    State& state = stepper.state();
    if (int64_t(bytes.size()) != 8 + state.size() * 8)
        throw std::invalid_argument("feature program: the snapshot has the wrong size");
    int64_t time;
    std::memcpy(&time, bytes.c_str(), 8);
    if (time < 0) throw std::invalid_argument("feature program: the snapshot is damaged");
    state.set_time(time);
    std::memcpy(state.memory(), bytes.c_str() + 8, size_t(state.size()) * 8);
}

Compiled compile(Integers ops, Integers operands, Doubles parameters, Integers outputs, int n_inputs) {
    const int64_t n = int64_t(ops.size());
    if (int64_t(operands.size()) != n * MAX_OPERANDS * 2 || int64_t(parameters.size()) != n * MAX_PARAMETERS ||
        outputs.size() % 2 != 0)
        throw std::invalid_argument("feature program: tables of different lengths");
    return {std::make_shared<const Program>(ops.data(), operands.data(), parameters.data(), n, outputs.data(),
                                            int64_t(outputs.size()) / 2, n_inputs)};
}

}  // namespace

void bind_features(nb::module_& m) {
    nb::list names;
    for (const char* name : OP_NAMES) names.append(name);
    m.attr("FEATURE_OPS") = nb::tuple(names);
    m.attr("LARGE_RESULT") = LARGE;
    m.def("large_result", &large_result, "size"_a, "Uninitialised numbers; the memory of the last such array that died.");
    nb::class_<Compiled>(m, "FeatureProgram", "A flat list of instructions; see program.hpp.")
        .def_static("compile", &compile, "ops"_a, "operands"_a, "parameters"_a, "outputs"_a, "n_inputs"_a)
        .def("run", &run_history, "inputs"_a, "n_bars"_a, "n_symbols"_a, "out"_a.noconvert(), "out_from"_a = 0, "threads"_a = 1,
             "ours"_a = false)
        .def_prop_ro("rows", [](const Compiled& c) { return c.program->rows; })
        .def_prop_ro("size", [](const Compiled& c) { return c.program->code.size(); });
    nb::class_<Stepper>(m, "FeatureStepper", "The carried state of a program for all symbols.")
        .def("__init__", [](Stepper* self, const Compiled& compiled, int64_t n_symbols) {
            new (self) Stepper(compiled.program, n_symbols);
        }, "program"_a, "n_symbols"_a)
        .def("step", &step, "row"_a.noconvert(), "out"_a.noconvert())
        .def("run", &run, "inputs"_a, "n_bars"_a, "out"_a.none())
        .def("snapshot", &snapshot)
        .def("restore", &restore, "snapshot"_a)
        .def("reset", [](Stepper& stepper) { stepper.state().reset(); })
        .def_prop_ro("time", [](Stepper& stepper) { return stepper.state().time(); });
}
