// One network served row by row, with the bits of the trainer's forward pass.
//
// Window mode. A forecast is a function of the last `lookback` rows, from a state of zeros. Instead of running through
// the window at every row, `lookback` slots each carry a state that was started at another one of the last rows. A new
// row completes one slot's window: only that slot needs a step before the answer. `settle` then takes the row into the
// other slots and starts the completed one anew. Carry mode has one slot that never starts anew, except after a gap.
//
// The canonical order of a pre-activation (see lstm_kernel.hpp) takes the hidden state before the input, so `settle`
// can also add up everything of the next answer that does not depend on the row to come.
//
// A step is computed in one of two layouts, each lane doing the same operations in the same order:
// - states in the lanes, as in training: blocks [layer][unit][lane] of slots, or of symbols where there are many;
// - units in the lanes, for the answers of a few symbols: weights transposed, one state at a time.
#pragma once

#include <memory>
#include <new>

#include "lstm_kernel.hpp"

namespace longshort {

// Zeros, aligned for whole vectors.
template <class T>
class VectorArray {
public:
    VectorArray() = default;
    explicit VectorArray(std::size_t n)
        : size_(n), values_(static_cast<T*>(::operator new[](n * sizeof(T), std::align_val_t(64)))) {
        clear();
    }
    void clear() { std::fill_n(values_.get(), size_, T(0)); }
    T* data() const { return values_.get(); }
    T& operator[](std::size_t i) const { return values_.get()[i]; }

private:
    struct Free {
        void operator()(T* p) const { ::operator delete[](p, std::align_val_t(64)); }
    };
    std::size_t size_ = 0;
    std::unique_ptr<T[], Free> values_;
};

// A matrix with rows in the lanes, `parts` matrices below one another: tiles of vectors of rows, each [column][part].
template <class T, int parts>
class RowLanes {
public:
    static constexpr int lanes = simd<T>::lanes;
    static constexpr int most = std::min(8, (wide_file ? 24 : 12) / parts);  // vectors of each part in a tile

    void pack(int rows, int columns, const T* matrix) {  // matrix[part][row][column]
        columns_ = columns;
        vectors_ = (rows + lanes - 1) / lanes;
        values_ = VectorArray<T>(std::size_t(parts) * columns * padded());
        T* out = values_.data();
        balanced_tiles(vectors_, most, [&](int first, int n) {
            for (int k = 0; k < columns; ++k)
                for (int part = 0; part < parts; ++part)
                    for (int r = first * lanes; r < (first + n) * lanes; ++r)
                        *out++ = r < rows ? matrix[(std::size_t(part) * rows + r) * columns + k] : T(0);
        });
    }
    std::size_t padded() const { return std::size_t(vectors_) * lanes; }

    // sums[part][row] = start[part][row] + the matrix times x, by ascending column.
    void multiply(const T* x, const T* start, T* sums) const {
        const T* weights = values_.data();
        balanced_tiles(vectors_, most, [&](int first, int n) {
            with_constant<most>(n, [&](auto count) {
                tile<count.value>(weights, x, start + first * lanes, sums + first * lanes);
            });
            weights += std::size_t(parts) * n * lanes * columns_;
        });
    }

private:
    template <int n>
    void tile(const T* __restrict weights, const T* __restrict x, const T* start, T* sums) const {
        vec<T> sum[parts][n];
#pragma GCC unroll 32
        for (int part = 0; part < parts; ++part)
#pragma GCC unroll 32
            for (int v = 0; v < n; ++v) sum[part][v] = load(start + part * padded() + v * lanes);
        for (int k = 0; k < columns_; ++k) {
            const vec<T> value = in_register(broadcast(x[k]));
#pragma GCC unroll 32
            for (int part = 0; part < parts; ++part)
#pragma GCC unroll 32
                for (int v = 0; v < n; ++v)
                    sum[part][v] = fma(load(weights + (part * n + v) * lanes), value, sum[part][v]);
            weights += parts * n * lanes;
        }
#pragma GCC unroll 32
        for (int part = 0; part < parts; ++part)
#pragma GCC unroll 32
            for (int v = 0; v < n; ++v) store(sums + part * padded() + v * lanes, sum[part][v]);
    }

    int columns_ = 0, vectors_ = 0;
    VectorArray<T> values_;
};

template <class X>
inline X activated(Activation kind, X x) {
    const X zero{};
    switch (kind) {
        case Activation::relu: return x < zero ? zero : x;
        case Activation::tanh: return tanh_of(x);
        default: return x;
    }
}

struct ServedShape {
    NetworkShape network;
    Activation head_activation = Activation::linear;
    std::vector<double> center, scale;  // of the inputs
    std::vector<int> columns;           // the symbols it serves, as columns of a row
    bool carry = false;
};

class Served {
public:
    virtual ~Served() = default;
    virtual const ServedShape& shape() const = 0;
    // Take a row (symbols, inputs), of which the cells in `good` are to be used, and write the raw outputs of the symbols
    // in `ready` into `out` (symbols, outputs). `settle` must follow before the next row.
    virtual void answer(const double* row, const uint8_t* good, const uint8_t* ready, double* out) = 0;
    virtual void settle() = 0;
    virtual void reset() = 0;
    // Carry mode: hidden and cell states of every layer, symbol by symbol.
    virtual std::size_t carried_size() const = 0;
    virtual void read_carried(double* to) = 0;
    virtual void write_carried(const double* from) = 0;
    virtual double work() const = 0;  // multiply-adds of a row, about
};

template <class T>
class ServedNetwork final : public Served {
public:
    static constexpr int lanes = simd<T>::lanes;

    ServedNetwork(ServedShape shape, const ParameterMap& map, const T* parameters)
        : shape_(std::move(shape)),
          inputs_(shape_.network.inputs),
          symbols_(static_cast<int>(shape_.columns.size())),
          slots_(shape_.carry ? 1 : shape_.network.lookback),
          by_units_(symbols_ <= std::max(1, lanes / 2)),
          good_(symbols_),
          ready_(symbols_) {
        std::size_t size = std::size_t(inputs_) * lanes, state = 0;
        for (int i = 0; i < shape_.network.layers(); ++i) {
            const LayerOffsets& o = map.layers[i];
            Layer layer;
            layer.units = shape_.network.hidden[i];
            layer.inputs = shape_.network.layer_inputs(i);
            layer.packed.pack(layer.units, layer.inputs, parameters + o.weight_ih, parameters + o.weight_hh,
                              parameters + o.bias_ih, parameters + o.bias_hh);
            layer.hidden = size;
            layer.hidden_step = std::size_t(layer.units) * lanes;
            layer.cell = size + 2 * layer.hidden_step;
            size += 3 * layer.hidden_step;
            if (by_units_) prepare_units(layer, parameters, o, state);
            layers_.push_back(std::move(layer));
        }
        block_size_ = size;
        state_size_ = state;
        for (int j = 0; j < shape_.network.dense_layers(); ++j) {
            Dense dense{shape_.network.dense_inputs(j), shape_.network.dense_outputs(j), {}, {}, {}};
            const T *weight = parameters + map.dense[j].weight, *bias = parameters + map.dense[j].bias;
            dense.weight.assign(weight, weight + std::size_t(dense.inputs) * dense.outputs);
            dense.rows.pack(dense.outputs, dense.inputs, weight);
            dense.bias = VectorArray<T>(dense.rows.padded());
            std::copy_n(bias, dense.outputs, dense.bias.data());
            head_size_ = std::max(head_size_, dense.rows.padded() * lanes);
            dense_.push_back(std::move(dense));
        }
        head_ = VectorArray<T>(2 * head_size_);
        blocks_per_ = ((by_units_ ? slots_ : symbols_) + lanes - 1) / lanes;
        const std::size_t groups = by_units_ ? symbols_ : slots_;
        if (!(by_units_ && shape_.carry)) blocks_ = VectorArray<T>(groups * blocks_per_ * block_size_);
        input_ = VectorArray<T>(std::size_t(by_units_ ? symbols_ : blocks_per_ * lanes) * inputs_);
        if (by_units_) states_ = VectorArray<T>(symbols_ * state_size_);
        reset();
    }

    const ServedShape& shape() const override { return shape_; }

    void reset() override {
        time_ = 0;
        blocks_.clear();
        states_.clear();
        if (by_units_)
            for (int s = 0; s < symbols_; ++s) prepare(state_of(s));
    }

    void answer(const double* row, const uint8_t* good, const uint8_t* ready, double* out) override {
        for (int s = 0; s < symbols_; ++s) {
            const int column = shape_.columns[s];
            const double* x = row + std::size_t(column) * inputs_;
            good_[s] = good[column];
            ready_[s] = ready[column];
            T* to = by_units_ ? input_.data() + s * inputs_
                              : input_.data() + std::size_t(s / lanes) * inputs_ * lanes + s % lanes;
            const int step = by_units_ ? 1 : lanes;
            bool finite = true;
            for (int f = 0; f < inputs_; ++f) {
                to[f * step] = good_[s] ? static_cast<T>((x[f] - shape_.center[f]) / shape_.scale[f]) : T(0);
                finite = finite && std::isfinite(to[f * step]);
            }
            if (shape_.carry && !finite) {  // too large for T: it would never leave a state that is carried for ever
                good_[s] = ready_[s] = 0;
                for (int f = 0; f < inputs_; ++f) to[f * step] = T(0);
            }
        }
        if (by_units_)
            answer_by_units(out);
        else
            answer_by_symbols(out);
    }

    void settle() override {
        if (by_units_)
            settle_by_units();
        else
            settle_by_symbols();
        ++time_;
    }

    std::size_t carried_size() const override {
        std::size_t units = 0;
        for (const Layer& layer : layers_) units += layer.units;
        return 2 * units * symbols_;
    }

    void read_carried(double* to) override {
        each_carried([&](T& value) { *to++ = static_cast<double>(value); });
    }
    void write_carried(const double* from) override {
        each_carried([&](T& value) { value = static_cast<T>(*from++); });
        if (by_units_)
            for (int s = 0; s < symbols_; ++s) prepare(state_of(s));
    }

    double work() const override {
        double step = 0;
        for (const Layer& layer : layers_) step += 4.0 * layer.units * (layer.units + layer.inputs);
        return step * slots_ * symbols_;
    }

private:
    struct Layer {
        int units = 0, inputs = 0;
        PackedLayer<T> packed;
        std::size_t hidden = 0, hidden_step = 0, cell = 0;  // in a block; hidden states before and after a step, in turn
        RowLanes<T, 4> weight_ih, weight_hh;
        VectorArray<T> bias;
        std::size_t h = 0, c = 0, sums = 0;  // in a state with units in the lanes; sums: bias and hidden state's share
    };
    struct Dense {
        int inputs, outputs;
        std::vector<T> weight;
        RowLanes<T, 1> rows;
        VectorArray<T> bias;
    };

    void prepare_units(Layer& layer, const T* parameters, const LayerOffsets& o, std::size_t& state) {
        layer.weight_ih.pack(layer.units, layer.inputs, parameters + o.weight_ih);
        layer.weight_hh.pack(layer.units, layer.units, parameters + o.weight_hh);
        const std::size_t padded = layer.weight_hh.padded();
        layer.bias = VectorArray<T>(4 * padded);
        for (int gate = 0; gate < 4; ++gate)
            for (int u = 0; u < layer.units; ++u) {
                const std::size_t row = std::size_t(gate) * layer.units + u;
                layer.bias[gate * padded + u] = parameters[o.bias_ih + row] + parameters[o.bias_hh + row];
            }
        layer.h = state;
        layer.c = state + padded;
        layer.sums = state + 2 * padded;
        state += 6 * padded;
    }

    int parity() const { return static_cast<int>(time_ % 2); }
    int due() const { return static_cast<int>((time_ + 1) % slots_); }  // the slot whose window this row completes
    int live() const { return static_cast<int>(std::min<int64_t>(time_ + 1, slots_)); }  // slots that were ever started
    T* state_of(int symbol) { return states_.data() + symbol * state_size_; }
    T* block(std::size_t group, std::size_t b) { return blocks_.data() + (group * blocks_per_ + b) * block_size_; }

    // ----------------------------------------------------------------------------------------------------------------
    // Units in the lanes

    // Add up what the next step of a state takes from its past.
    void prepare(T* state) {
        for (const Layer& layer : layers_)
            layer.weight_hh.multiply(state + layer.h, layer.bias.data(), state + layer.sums);
    }

    void answer_by_units(double* out) {
        for (int s = 0; s < symbols_; ++s) {
            if (!(shape_.carry ? good_[s] : ready_[s])) continue;
            T* state = state_of(s);
            const T* x = input_.data() + s * inputs_;
            for (const Layer& layer : layers_) {
                const std::size_t padded = layer.weight_ih.padded();
                T* sums = state + layer.sums;
                layer.weight_ih.multiply(x, sums, sums);
                for (std::size_t u = 0; u < padded; u += lanes) {
                    const auto r = lstm_cell(load(sums + u), load(sums + padded + u), load(sums + 2 * padded + u),
                                             load(sums + 3 * padded + u), load(state + layer.c + u));
                    store(state + layer.c + u, r.c);
                    store(state + layer.h + u, r.h);
                }
                x = state + layer.h;
            }
            if (!ready_[s]) continue;
            T* y = head_.data();
            for (std::size_t j = 0; j < dense_.size(); ++j) {
                const std::size_t padded = dense_[j].rows.padded();
                dense_[j].rows.multiply(x, dense_[j].bias.data(), y);
                if (j + 1 < dense_.size())
                    for (std::size_t r = 0; r < padded; r += lanes)
                        store(y + r, activated(shape_.head_activation, load(y + r)));
                x = y;
                y = x == head_.data() ? head_.data() + head_size_ : head_.data();
            }
            write_outputs(out, s, x, 1);
        }
    }

    void settle_by_units() {
        if (shape_.carry) {
            for (int s = 0; s < symbols_; ++s) {
                if (!good_[s]) std::fill_n(state_of(s), state_size_, T(0));
                prepare(state_of(s));
            }
            return;
        }
        const int completed = due(), next = static_cast<int>((time_ + 2) % slots_), blocks = (live() + lanes - 1) / lanes;
        for (int s = 0; s < symbols_; ++s) {
            const T* x = input_.data() + s * inputs_;
            for (int b = 0; b < blocks; ++b)
                for (int f = 0; f < inputs_; ++f) store(block(s, b) + f * lanes, broadcast(x[f]));
            advance(block(s, 0), blocks);
            clear_lane(block(s, completed / lanes), completed % lanes);
            T* state = state_of(s);
            const T* from = block(s, next / lanes) + next % lanes;
            for (const Layer& layer : layers_)
                for (int u = 0; u < layer.units; ++u) {
                    state[layer.h + u] = from[layer.hidden + (1 - parity()) * layer.hidden_step + std::size_t(u) * lanes];
                    state[layer.c + u] = from[layer.cell + std::size_t(u) * lanes];
                }
            prepare(state);
        }
    }

    // ----------------------------------------------------------------------------------------------------------------
    // Symbols in the lanes

    void answer_by_symbols(double* out) {
        const int slot = shape_.carry ? 0 : due();
        if (!shape_.carry && std::none_of(ready_.begin(), ready_.end(), [](uint8_t r) { return r != 0; })) return;
        enter(slot, slot + 1);
        for (int b = 0; b < blocks_per_; ++b) {
            const T* x = block(slot, b) + layers_.back().hidden + (1 - parity()) * layers_.back().hidden_step;
            const T* y = head_by_lanes(x);
            for (int s = b * lanes; s < std::min(symbols_, (b + 1) * lanes); ++s)
                if (ready_[s]) write_outputs(out, s, y + s % lanes, lanes);
        }
    }

    void settle_by_symbols() {
        if (shape_.carry) {
            for (int s = 0; s < symbols_; ++s)
                if (!good_[s]) clear_lane(block(0, s / lanes), s % lanes);
            return;
        }
        const int completed = due();
        enter(0, std::min(completed, live()));
        enter(completed + 1, live());
        for (int b = 0; b < blocks_per_; ++b)
            for (int l = 0; l < lanes; ++l) clear_lane(block(completed, b), l);
    }

    // Take the row into slots [first, last).
    void enter(int first, int last) {
        if (first >= last) return;
        for (int slot = first; slot < last; ++slot)
            for (int b = 0; b < blocks_per_; ++b) {
                const std::size_t n = std::size_t(inputs_) * lanes;
                std::copy_n(input_.data() + b * n, n, block(slot, b));
            }
        advance(block(first, 0), (last - first) * blocks_per_);
    }

    const T* head_by_lanes(const T* x) {
        T* y = head_.data();
        for (std::size_t j = 0; j < dense_.size(); ++j) {
            const Dense& dense = dense_[j];
            for (int r = 0; r < dense.outputs; ++r) {
                vec<T> sum = broadcast(dense.bias[r]);
                const T* weight = dense.weight.data() + std::size_t(r) * dense.inputs;
                for (int k = 0; k < dense.inputs; ++k) sum = fma(broadcast(weight[k]), load(x + k * lanes), sum);
                if (j + 1 < dense_.size()) sum = activated(shape_.head_activation, sum);
                store(y + r * lanes, sum);
            }
            x = y;
            y = x == head_.data() ? head_.data() + head_size_ : head_.data();
        }
        return x;
    }

    // ----------------------------------------------------------------------------------------------------------------
    // Blocks: states in the lanes

    void advance(T* first, int count) {
        int b = 0;
        if constexpr (group > 1)
            for (; b + group <= count; b += group) advance_group<group>(first + b * block_size_);
        for (; b < count; ++b) advance_group<1>(first + b * block_size_);
    }

    // One step of `nv` blocks, whose inputs lie at their beginnings.
    template <int nv>
    void advance_group(T* base) {
        constexpr int nu = units_per_tile, pair = group / nv;
        const T* input = base;
        vec<T> sums[pair * nu * 4 * nv];
        for (const Layer& layer : layers_) {
            const T* hidden = base + layer.hidden + parity() * layer.hidden_step;
            T* after = base + layer.hidden + (1 - parity()) * layer.hidden_step;
            auto finish = [&](int from, int n) {
                for (int u = from; u < from + n; ++u)
                    for (int v = 0; v < nv; ++v) {
                        const std::size_t at = v * block_size_ + std::size_t(u) * lanes;
                        const vec<T>* a = sums + (u - from) * 4 * nv + v;
                        const auto r = lstm_cell(a[0], a[nv], a[2 * nv], a[3 * nv], load(base + layer.cell + at));
                        store(base + layer.cell + at, r.c);
                        store(after + at, r.h);
                    }
            };
            const int units = layer.units, inputs = layer.inputs;
            const T* weights = layer.packed.values.data();
            const std::size_t tile = PackedLayer<T>::tile_size(nu, units, inputs);
            int unit = 0;
            for (; unit + pair * nu <= units; unit += pair * nu, weights += pair * tile) {
                forward_tile<T, pair, nu, nv>(weights, units, inputs, hidden, input, block_size_, sums);
                finish(unit, pair * nu);
            }
            for (; unit < units; unit += nu, weights += tile) {
                const int n = std::min(nu, units - unit);
                with_constant<nu>(n, [&](auto count) {
                    forward_tile<T, 1, count.value, nv>(weights, units, inputs, hidden, input, block_size_, sums);
                });
                finish(unit, n);
            }
            input = after;
        }
    }

    void clear_lane(T* base, int lane) {  // as it will be read at the next row
        for (const Layer& layer : layers_)
            for (int u = 0; u < layer.units; ++u) {
                base[layer.hidden + (1 - parity()) * layer.hidden_step + std::size_t(u) * lanes + lane] = T(0);
                base[layer.cell + std::size_t(u) * lanes + lane] = T(0);
            }
    }

    void write_outputs(double* out, int s, const T* y, int step) const {
        const int n = shape_.network.outputs;
        for (int j = 0; j < n; ++j) out[std::size_t(shape_.columns[s]) * n + j] = static_cast<double>(y[j * step]);
    }

    template <class F>
    void each_carried(F&& f) {
        for (int s = 0; s < symbols_; ++s)
            for (const Layer& layer : layers_)
                for (int part = 0; part < 2; ++part)
                    for (int u = 0; u < layer.units; ++u)
                        if (by_units_)
                            f(state_of(s)[(part ? layer.c : layer.h) + u]);
                        else
                            f(block(0, s / lanes)[(part ? layer.cell : layer.hidden + parity() * layer.hidden_step) +
                                                  std::size_t(u) * lanes + s % lanes]);
    }

    ServedShape shape_;
    int inputs_, symbols_, slots_;
    bool by_units_;
    std::vector<uint8_t> good_, ready_;
    std::vector<Layer> layers_;
    std::vector<Dense> dense_;
    std::size_t block_size_ = 0, state_size_ = 0, head_size_ = 0;
    int blocks_per_ = 0;     // blocks of a symbol's slots, or of a slot's symbols
    VectorArray<T> blocks_;  // [symbol or slot][block]: input, then hidden and cell states of each layer
    VectorArray<T> states_;  // units in the lanes: the states that answer next
    VectorArray<T> input_;   // the scaled row: [symbol][input], or [block][input][lane]
    VectorArray<T> head_;    // outputs of two dense layers
    int64_t time_ = 0;       // rows taken and settled
};

}  // namespace longshort
