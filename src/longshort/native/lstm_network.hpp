// What a network is: its shape, and where every parameter and every intermediate value of a batch lies in memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "random.hpp"
#include "simd.hpp"

namespace longshort {

enum class Activation { linear, relu, tanh };
enum class Initialisation { torch, keras };

struct NetworkShape {
    int inputs = 1;
    std::vector<int> hidden;    // units of each LSTM layer
    std::vector<int> head;      // units of each dense layer before the last
    int outputs = 1;
    int lookback = 1;
    std::vector<double> dropout;  // after each LSTM layer
    int answers = 1;              // how many of a window's last steps the head answers, each for itself

    int layers() const { return static_cast<int>(hidden.size()); }
    int layer_inputs(int layer) const { return layer == 0 ? inputs : hidden[layer - 1]; }
    int dense_layers() const { return static_cast<int>(head.size()) + 1; }
    int dense_inputs(int j) const { return j == 0 ? hidden.back() : head[j - 1]; }
    int dense_outputs(int j) const { return j == static_cast<int>(head.size()) ? outputs : head[j]; }
    int widest() const {
        return std::max(inputs, *std::max_element(hidden.begin(), hidden.end()));
    }
};

// One named array inside the flat vector of all parameters, in torch's names, shapes and gate order (i, f, g, o).
struct Parameter {
    std::string name;
    std::vector<std::size_t> shape;
    std::size_t offset;
    std::size_t size;
};

struct LayerOffsets {
    std::size_t weight_ih, weight_hh, bias_ih, bias_hh;
};
struct DenseOffsets {
    std::size_t weight, bias;
};

class ParameterMap {
public:
    explicit ParameterMap(const NetworkShape& shape) {
        for (int i = 0; i < shape.layers(); ++i) {
            const std::string prefix = "lstm." + std::to_string(i) + ".";
            const std::size_t rows = 4 * static_cast<std::size_t>(shape.hidden[i]), in = shape.layer_inputs(i);
            LayerOffsets o;
            o.weight_ih = add(prefix + "weight_ih_l0", {rows, in});
            o.weight_hh = add(prefix + "weight_hh_l0", {rows, rows / 4});
            o.bias_ih = add(prefix + "bias_ih_l0", {rows});
            o.bias_hh = add(prefix + "bias_hh_l0", {rows});
            layers.push_back(o);
        }
        for (int j = 0; j < shape.dense_layers(); ++j) {
            const std::string prefix = "head." + std::to_string(j) + ".";
            const std::size_t out = shape.dense_outputs(j), in = shape.dense_inputs(j);
            DenseOffsets o;
            o.weight = add(prefix + "weight", {out, in});
            o.bias = add(prefix + "bias", {out});
            dense.push_back(o);
        }
    }

    std::size_t size() const { return size_; }

    std::vector<Parameter> named;
    std::vector<LayerOffsets> layers;
    std::vector<DenseOffsets> dense;

private:
    std::size_t add(std::string name, std::vector<std::size_t> shape) {
        std::size_t size = 1;
        for (std::size_t extent : shape) size *= extent;
        named.push_back({std::move(name), std::move(shape), size_, size});
        size_ += size;
        return size_ - size;
    }
    std::size_t size_ = 0;
};

// Starting weights. `torch`: U(-1/sqrt(H), 1/sqrt(H)) in the LSTM, U(-1/sqrt(in), 1/sqrt(in)) in dense layers.
// `keras`: Glorot uniform kernels, orthogonal recurrent kernel, biases 0 but the forget gate's 1 (in bias_ih).
template <class T>
void initialise(const NetworkShape& shape, const ParameterMap& map, Initialisation kind, uint64_t seed, T* parameters) {
    uint64_t number = 0;
    auto uniform = [&](std::size_t offset, std::size_t size, double bound) {
        Stream stream(stream_key(seed, Purpose::initialisation, number++));
        for (std::size_t k = 0; k < size; ++k) parameters[offset + k] = static_cast<T>(stream.uniform(-bound, bound));
    };
    auto orthogonal = [&](std::size_t offset, std::size_t rows, std::size_t columns) {  // orthonormal columns
        Stream stream(stream_key(seed, Purpose::initialisation, number++));
        std::vector<double> q(rows * columns);  // by column
        for (double& x : q) x = stream.normal();
        for (std::size_t k = 0; k < columns; ++k) {
            double* column = &q[k * rows];
            for (int pass = 0; pass < 2; ++pass)  // Gram-Schmidt, twice for orthogonality to the last bits
                for (std::size_t j = 0; j < k; ++j) {
                    const double* other = &q[j * rows];
                    double dot = 0;
                    for (std::size_t r = 0; r < rows; ++r) dot += column[r] * other[r];
                    for (std::size_t r = 0; r < rows; ++r) column[r] -= dot * other[r];
                }
            double square = 0;
            for (std::size_t r = 0; r < rows; ++r) square += column[r] * column[r];
            for (std::size_t r = 0; r < rows; ++r) column[r] /= std::sqrt(square);
        }
        for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t k = 0; k < columns; ++k)
                parameters[offset + r * columns + k] = static_cast<T>(q[k * rows + r]);
    };
    auto glorot = [](std::size_t in, std::size_t out) { return std::sqrt(6.0 / static_cast<double>(in + out)); };

    std::fill(parameters, parameters + map.size(), T(0));
    for (int i = 0; i < shape.layers(); ++i) {
        const LayerOffsets& o = map.layers[i];
        const std::size_t units = shape.hidden[i], rows = 4 * units, in = shape.layer_inputs(i);
        if (kind == Initialisation::torch) {
            const double bound = 1 / std::sqrt(static_cast<double>(units));
            uniform(o.weight_ih, rows * in, bound);
            uniform(o.weight_hh, rows * units, bound);
            uniform(o.bias_ih, rows, bound);
            uniform(o.bias_hh, rows, bound);
        } else {
            uniform(o.weight_ih, rows * in, glorot(in, rows));
            orthogonal(o.weight_hh, rows, units);
            std::fill_n(parameters + o.bias_ih + units, units, T(1));
        }
    }
    for (int j = 0; j < shape.dense_layers(); ++j) {
        const DenseOffsets& o = map.dense[j];
        const std::size_t in = shape.dense_inputs(j), out = shape.dense_outputs(j);
        if (kind == Initialisation::torch) {
            const double bound = 1 / std::sqrt(static_cast<double>(in));
            uniform(o.weight, out * in, bound);
            uniform(o.bias, out, bound);
        } else {
            uniform(o.weight, out * in, glorot(in, out));
        }
    }
}

// Divide `total` rows into as few tiles of at most `most` rows as possible, as equal as possible.
template <class F>
inline void balanced_tiles(int total, int most, F&& f) {
    const int tiles = (total + most - 1) / most;
    for (int tile = 0, begin = 0; tile < tiles; ++tile) {
        const int n = total / tiles + (tile < total % tiles);
        f(begin, n);
        begin += n;
    }
}

// The weight gradient reads the columns of a matrix (hidden states, inputs) in panels: tiles of a few columns, each
// [time][column][lane]. The value of a column at time t lies at start + t * step.
constexpr int gradient_columns = 3;

struct PanelColumn {
    std::size_t start, step;
};

inline std::vector<PanelColumn> panel_columns(std::size_t begin, int columns, int steps, std::size_t lanes) {
    std::vector<PanelColumn> places;
    balanced_tiles(columns, gradient_columns, [&](int first, int n) {
        for (int c = 0; c < n; ++c) places.push_back({begin + (std::size_t(first) * steps + c) * lanes, n * lanes});
    });
    return places;
}

// Where the values of one vector of samples (as many as a register has lanes) lie, counted in scalars. Each value is
// an array [time][row][lane]; the gates, which the weight gradient reads in blocks, are spaced so that successive steps
// do not fall on the same cache sets.
struct LayerBuffers {
    int units = 0, inputs = 0;
    std::size_t gates = 0, gates_step = 0;    // i, f, g, o; after the backward pass their pre-activation gradients
    std::size_t cell = 0, cell_step = 0;      // lookback + 1 steps, the first zero; one place where nothing is trained
    std::size_t tanh_cell = 0, tanh_step = 0;
    std::size_t hidden = 0, hidden_step = 0;  // before and after a step, in turn
    std::size_t output = 0, output_step = 0;  // hidden after dropout, from `first_output` on
    int first_output = 0;                     // of the top layer: the first step that is answered
    std::size_t input = 0, input_step = 0;    // the window or the output of the layer below
    std::size_t panels = 0;                   // hidden states before each step, then inputs
    std::vector<PanelColumn> hidden_panel, input_panel;
};

// The same for a dense layer; one step per answer.
struct DenseBuffers {
    std::size_t input = 0, input_step = 0;
    std::size_t output = 0, gradient = 0, step = 0;
    std::size_t panels = 0;  // the inputs once more; a single step is a panel as it is
    std::vector<PanelColumn> input_panel;
};

class BatchLayout {
public:
    BatchLayout(const NetworkShape& shape, int lanes, bool training) : lanes_(lanes) {
        const std::size_t steps = shape.lookback;
        window_step = rows(shape.inputs);
        window = take(steps * window_step);
        std::size_t below = window, below_step = window_step;
        for (int i = 0; i < shape.layers(); ++i) {
            const bool top = i + 1 == shape.layers();
            LayerBuffers b;
            b.units = shape.hidden[i];
            b.inputs = shape.layer_inputs(i);
            b.input = below;
            b.input_step = below_step;
            b.hidden_step = rows(b.units);
            b.hidden = take(2 * b.hidden_step);
            b.first_output = top ? shape.lookback - shape.answers : 0;
            b.output_step = rows(b.units);
            b.output = take((steps - b.first_output) * b.output_step);
            b.cell_step = training ? rows(b.units) : 0;
            b.cell = take(training ? (steps + 1) * b.cell_step : rows(b.units));
            if (training) {
                b.gates_step = rows(4 * b.units / 16 * 16 + (4 * b.units % 16 <= 8 ? 8 : 24));
                b.gates = take(steps * b.gates_step);
                b.tanh_step = rows(b.units);
                b.tanh_cell = take(steps * b.tanh_step);
                b.panels = take(steps * rows(b.units + b.inputs));
                b.hidden_panel = panel_columns(b.panels, b.units, shape.lookback, lanes_);
                b.input_panel = panel_columns(b.panels + steps * rows(b.units), b.inputs, shape.lookback, lanes_);
            }
            below = b.output;
            below_step = b.output_step;
            layers.push_back(std::move(b));
        }
        for (int j = 0; j < shape.dense_layers(); ++j) {
            DenseBuffers d;
            d.input = j == 0 ? below : dense.back().output;
            d.input_step = j == 0 ? below_step : dense.back().step;
            d.step = rows(shape.dense_outputs(j));
            d.output = take(shape.answers * d.step);
            if (training) {
                d.gradient = take(shape.answers * d.step);
                d.panels = shape.answers == 1 ? d.input : take(shape.answers * d.input_step);
                d.input_panel = panel_columns(d.panels, shape.dense_inputs(j), shape.answers, lanes_);
            }
            dense.push_back(std::move(d));
        }
        if (training) {
            above_step = rows(*std::max_element(shape.hidden.begin(), shape.hidden.end()));
            above = take(steps * above_step);
            carry = take(above_step);
        }
    }

    std::size_t size() const { return size_; }
    std::size_t extend(std::size_t n) { return take(n); }  // by room for something else

    std::vector<LayerBuffers> layers;
    std::vector<DenseBuffers> dense;
    std::size_t window = 0, window_step = 0;
    std::size_t above = 0, above_step = 0;  // gradient of each step's output, from the layer above
    std::size_t carry = 0;                  // gradient of the cell state, carried back in time

private:
    std::size_t rows(std::size_t n) const { return n * lanes_; }
    std::size_t take(std::size_t n) {
        size_ += n;
        return size_ - n;
    }
    std::size_t lanes_;
    std::size_t size_ = 0;
};

}  // namespace longshort
