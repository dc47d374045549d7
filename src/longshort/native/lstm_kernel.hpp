// The inner loops of the LSTM. Samples lie in the lanes of vectors, values as [row][lane]; each contraction keeps a
// tile of accumulators in registers and broadcasts the weights. `nv` vectors of samples (one or two) share each weight;
// `spacing` is the distance between them. Reading whole vectors or broadcasts costs more than multiplying them: weights
// and columns are laid out beforehand in the order of use, and what is read serves several multiplications.
//
// Canonical order of a gate's pre-activation, the same everywhere: b_ih + b_hh, then fused multiply-adds over the
// hidden state, then over the input, both by ascending index.
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "activations.hpp"
#include "lstm_network.hpp"
#include "random.hpp"
#include "simd.hpp"

namespace longshort {

// Call f(std::integral_constant<int, n>) for a run-time n in [1, most].
template <int most, class F>
inline void with_constant(int n, F&& f) {
    [&]<int... k>(std::integer_sequence<int, k...>) {
        (void)((n == k + 1 && (f(std::integral_constant<int, k + 1>{}), true)) || ...);
    }(std::make_integer_sequence<int, most>{});
}

constexpr bool wide_file = vector_registers >= 32;
constexpr int group = wide_file ? 2 : 1;  // vectors of samples worked on together, where there are enough
constexpr int units_per_tile = 3;         // times 4 gates times `group` vectors: the accumulators of a forward tile
constexpr int transposed_columns = 12;    // times `group` vectors: those of a backward tile
constexpr int gradient_rows = wide_file ? 8 : 4;

// ---------------------------------------------------------------------------------------------------------------------
// Forward

// A layer's weights in the order the forward pass reads them: per tile of units first the summed biases, then for each
// k of the hidden state and of the input the weights [unit][gate].
template <class T>
struct PackedLayer {
    int units = 0, inputs = 0;
    std::vector<T> values;

    static std::size_t tile_size(int n, int units, int inputs) { return 4 * n * (1 + std::size_t(units) + inputs); }

    void pack(int units_, int inputs_, const T* weight_ih, const T* weight_hh, const T* bias_ih, const T* bias_hh) {
        units = units_;
        inputs = inputs_;
        values.resize(tile_size(1, units, inputs) * units);
        T* out = values.data();
        for (int first = 0; first < units; first += units_per_tile) {
            const int n = std::min(units_per_tile, units - first);
            auto row = [&](int u, int gate) { return std::size_t(gate) * units + first + u; };
            for (int u = 0; u < n; ++u)
                for (int gate = 0; gate < 4; ++gate) *out++ = bias_ih[row(u, gate)] + bias_hh[row(u, gate)];
            for (int k = 0; k < units; ++k)
                for (int u = 0; u < n; ++u)
                    for (int gate = 0; gate < 4; ++gate) *out++ = weight_hh[row(u, gate) * units + k];
            for (int k = 0; k < inputs; ++k)
                for (int u = 0; u < n; ++u)
                    for (int gate = 0; gate < 4; ++gate) *out++ = weight_ih[row(u, gate) * inputs + k];
        }
    }
};

// Pre-activations of `nt` neighbouring tiles of `nu` units for `nv` vectors of samples: out[tile][unit][gate][vector].
template <class T, int nt, int nu, int nv>
inline void forward_tile(const T* __restrict weights, int units, int inputs, const T* __restrict hidden,
                         const T* __restrict input, std::size_t spacing, vec<T>* __restrict out) {
    constexpr int lanes = simd<T>::lanes, nw = 4 * nu;
    const std::size_t tile = PackedLayer<T>::tile_size(nu, units, inputs);
    vec<T> sum[nt][nw][nv];
#pragma GCC unroll 16
    for (int t = 0; t < nt; ++t)
#pragma GCC unroll 16
        for (int w = 0; w < nw; ++w)
#pragma GCC unroll 16
            for (int v = 0; v < nv; ++v) sum[t][w][v] = broadcast(weights[t * tile + w]);
    auto contract = [&](const T* __restrict x, int n) __attribute__((always_inline)) {
        for (int k = 0; k < n; ++k) {
            weights += nw;
            vec<T> value[nv];
#pragma GCC unroll 16
            for (int v = 0; v < nv; ++v) value[v] = load(x + v * spacing);
            x += lanes;
#pragma GCC unroll 16
            for (int t = 0; t < nt; ++t)
#pragma GCC unroll 16
                for (int w = 0; w < nw; ++w) {
                    const vec<T> weight = broadcast(weights[t * tile + w]);
#pragma GCC unroll 16
                    for (int v = 0; v < nv; ++v) sum[t][w][v] = fma(weight, value[v], sum[t][w][v]);
                }
        }
    };
    contract(hidden, units);
    contract(input, inputs);
#pragma GCC unroll 16
    for (int t = 0; t < nt; ++t)
#pragma GCC unroll 16
        for (int w = 0; w < nw; ++w)
#pragma GCC unroll 16
            for (int v = 0; v < nv; ++v) out[(t * nw + w) * nv + v] = sum[t][w][v];
}

// What a forward pass is for. `training` keeps every gate for the backward pass and lays out the hidden states and the
// outputs for the weight gradients of this layer and of the one above (`above`, null for the top). `carried` goes on
// from the state it finds, and afterwards forgets it in every lane whose row of `kept` is 0.
enum class Pass { training, window, carried };

// One layer over all time steps.
template <class T, int nv, Pass pass>
void forward_layer(const PackedLayer<T>& packed, const LayerBuffers& b, const LayerBuffers* above, int steps,
                   const Dropout<T>* dropout, uint32_t first_sample, T* base, std::size_t spacing,
                   std::size_t kept = 0) {
    constexpr bool training = pass == Pass::training;
    constexpr int lanes = simd<T>::lanes, nu = units_per_tile, pair = group / nv;
    const int units = b.units, inputs = b.inputs;
    for (int v = 0; v < nv && pass != Pass::carried; ++v) {
        T* mine = base + v * spacing;
        std::fill_n(mine + b.hidden, units * lanes, T(0));
        std::fill_n(mine + b.cell, units * lanes, T(0));
        if constexpr (training)
            for (const PanelColumn& column : b.hidden_panel) store(mine + column.start, vec<T>{});
    }
    vec<T> sums[pair * nu * 4 * nv];
    for (int t = 0; t < steps; ++t) {
        const T* hidden = base + b.hidden + (t % 2) * b.hidden_step;
        T* hidden_after = base + b.hidden + ((t + 1) % 2) * b.hidden_step;
        const T* input = base + b.input + t * b.input_step;
        const bool later = t + 1 < steps;
        auto finish = [&](int first, int n) {
            for (int u = first; u < first + n; ++u)
                for (int v = 0; v < nv; ++v) {
                    T* mine = base + v * spacing;
                    const std::size_t at = std::size_t(u) * lanes;
                    const vec<T>* a = sums + (u - first) * 4 * nv + v;
                    auto r = lstm_cell(a[0], a[nv], a[2 * nv], a[3 * nv],
                                       load(mine + b.cell + t * b.cell_step + at));
                    if constexpr (pass == Pass::carried) {
                        const vec<T> keep = load(mine + kept + t * lanes), zero{};
                        r.c = keep == zero ? zero : r.c;
                        r.h = keep == zero ? zero : r.h;
                    }
                    store(mine + b.cell + (t + 1) * b.cell_step + at, r.c);
                    store(hidden_after + v * spacing + at, r.h);
                    if constexpr (training) {
                        T* gates = mine + b.gates + t * b.gates_step + at;
                        const std::size_t gate = std::size_t(units) * lanes;
                        store(gates, r.i);
                        store(gates + gate, r.f);
                        store(gates + 2 * gate, r.g);
                        store(gates + 3 * gate, r.o);
                        store(mine + b.tanh_cell + t * b.tanh_step + at, r.tanh_c);
                        if (later) store(mine + b.hidden_panel[u].start + (t + 1) * b.hidden_panel[u].step, r.h);
                    }
                    if (t >= b.first_output) {
                        const vec<T> out = dropout ? r.h * (*dropout)(t, u, first_sample + v * lanes) : r.h;
                        store(mine + b.output + (t - b.first_output) * b.output_step + at, out);
                        if constexpr (training)
                            if (above) store(mine + above->input_panel[u].start + t * above->input_panel[u].step, out);
                    }
                }
        };
        const T* weights = packed.values.data();
        const std::size_t tile = PackedLayer<T>::tile_size(nu, units, inputs);
        int unit = 0;
        for (; unit + pair * nu <= units; unit += pair * nu, weights += pair * tile) {
            forward_tile<T, pair, nu, nv>(weights, units, inputs, hidden, input, spacing, sums);
            finish(unit, pair * nu);
        }
        for (; unit < units; unit += nu, weights += tile) {
            const int n = std::min(nu, units - unit);
            with_constant<nu>(n, [&](auto count) {
                forward_tile<T, 1, count.value, nv>(weights, units, inputs, hidden, input, spacing, sums);
            });
            finish(unit, n);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Backward

// A matrix of `columns` columns in the order the backward pass reads it: tiles of columns, each [row][column].
template <class T>
struct PackedColumns {
    std::vector<T> values;

    void pack(const T* matrix, int rows, int columns) {
        values.resize(std::size_t(rows) * columns);
        T* out = values.data();
        balanced_tiles(columns, transposed_columns, [&](int first, int n) {
            const T* from = matrix + first;
            for (int r = 0; r < rows; ++r, from += columns, out += n)
                for (int j = 0; j < n; ++j) out[j] = from[j];
        });
    }
};

// out[n][nv] = sum over r of weights[r][n] * x[r].
template <class T, int n, int nv>
inline void transposed_tile(const T* __restrict weights, int rows, const T* __restrict x, std::size_t spacing,
                            vec<T>* __restrict out) {
    vec<T> sum[n][nv];
#pragma GCC unroll 32
    for (int j = 0; j < n; ++j)
#pragma GCC unroll 32
        for (int v = 0; v < nv; ++v) sum[j][v] = vec<T>{};
    for (int r = 0; r < rows; ++r) {
        vec<T> value[nv];
#pragma GCC unroll 32
        for (int v = 0; v < nv; ++v) value[v] = load(x + v * spacing);
#pragma GCC unroll 32
        for (int j = 0; j < n; ++j) {
            const vec<T> weight = broadcast(weights[j]);
#pragma GCC unroll 32
            for (int v = 0; v < nv; ++v) sum[j][v] = fma(weight, value[v], sum[j][v]);
        }
        weights += n;
        x += simd<T>::lanes;
    }
#pragma GCC unroll 32
    for (int j = 0; j < n; ++j)
#pragma GCC unroll 32
        for (int v = 0; v < nv; ++v) out[j * nv + v] = sum[j][v];
}

// f(column, sums[nv]) for every column of matrix^T x.
template <class T, int nv, class F>
inline void transposed_product(const PackedColumns<T>& matrix, int rows, int columns, const T* x, std::size_t spacing,
                               F&& f) {
    balanced_tiles(columns, transposed_columns, [&](int first, int n) {
        vec<T> sums[transposed_columns * nv];
        const T* weights = matrix.values.data() + std::size_t(first) * rows;
        with_constant<transposed_columns>(
            n, [&](auto count) { transposed_tile<T, count.value, nv>(weights, rows, x, spacing, sums); });
        for (int j = 0; j < n; ++j) f(first + j, sums + j * nv);
    });
}

// Back through one layer: turns the stored gates into gradients of the pre-activations, reads `above` (the gradient of
// each step's output after dropout has been undone) and, unless it is the lowest, leaves there the lower layer's.
template <class T, int nv>
void backward_layer(const PackedColumns<T>& weight_ih, const PackedColumns<T>& weight_hh,
                    const LayerBuffers& b, const BatchLayout& layout, int steps, bool lowest,
                    const Dropout<T>* dropout_below, uint32_t first_sample, T* base, std::size_t spacing) {
    constexpr int lanes = simd<T>::lanes;
    const int units = b.units;
    const std::size_t gate = std::size_t(units) * lanes;
    const T one = 1;
    for (int v = 0; v < nv; ++v) std::fill_n(base + v * spacing + layout.carry, units * lanes, T(0));
    for (int t = steps - 1; t >= 0; --t) {
        auto cell_backward = [&](int unit, const vec<T>* recurrent) {
            for (int v = 0; v < nv; ++v) {
                const std::size_t at = std::size_t(unit) * lanes + v * spacing;
                T* gates = base + b.gates + t * b.gates_step + at;
                vec<T> d_h = recurrent[v];
                if (t >= b.first_output) d_h += load(base + layout.above + t * layout.above_step + at);
                const vec<T> i = load(gates), f = load(gates + gate), g = load(gates + 2 * gate),
                             o = load(gates + 3 * gate);
                const vec<T> tanh_c = load(base + b.tanh_cell + t * b.tanh_step + at);
                const vec<T> c_before = load(base + b.cell + t * b.cell_step + at);
                T* carry = base + layout.carry + at;
                const vec<T> d_c = load(carry) + d_h * o * (one - tanh_c * tanh_c);
                store(carry, d_c * f);
                store(gates, d_c * g * (i * (one - i)));
                store(gates + gate, d_c * c_before * (f * (one - f)));
                store(gates + 2 * gate, d_c * i * (one - g * g));
                store(gates + 3 * gate, d_h * tanh_c * (o * (one - o)));
            }
        };
        if (t == steps - 1) {
            const vec<T> zero[nv] = {};
            for (int unit = 0; unit < units; ++unit) cell_backward(unit, zero);
        } else {
            transposed_product<T, nv>(weight_hh, 4 * units, units, base + b.gates + (t + 1) * b.gates_step, spacing,
                                      cell_backward);
        }
        if (!lowest)
            transposed_product<T, nv>(
                weight_ih, 4 * units, b.inputs, base + b.gates + t * b.gates_step, spacing,
                [&](int unit, const vec<T>* d_input) {
                    for (int v = 0; v < nv; ++v) {
                        vec<T> d = d_input[v];
                        if (dropout_below) d *= (*dropout_below)(t, unit, first_sample + v * lanes);
                        store(base + layout.above + t * layout.above_step + std::size_t(unit) * lanes + v * spacing, d);
                    }
                });
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Weight gradients: gradient[r][c] += sum over time and lanes of a[t][r] * b[t][c], for one vector of samples. The
// columns b lie in panels (see PanelColumn); a block of rows stays in the first-level cache while all panels pass by.

template <class T, int nr, int nc>
inline void gradient_tile(const T* __restrict a, std::size_t a_step, const T* __restrict panel, int steps,
                          T* __restrict gradient, std::size_t columns) {
    constexpr int lanes = simd<T>::lanes;
    vec<T> sum[nr][nc];
#pragma GCC unroll 32
    for (int r = 0; r < nr; ++r)
#pragma GCC unroll 32
        for (int c = 0; c < nc; ++c) sum[r][c] = vec<T>{};
    for (int t = 0; t < steps; ++t) {
        vec<T> right[nc];
#pragma GCC unroll 32
        for (int c = 0; c < nc; ++c) right[c] = load(panel + c * lanes);
#pragma GCC unroll 32
        for (int c = 0; c < nc; ++c) __builtin_prefetch(panel + (c + 8 * nc) * lanes);
#pragma GCC unroll 32
        for (int r = 0; r < nr; ++r) {
            const vec<T> left = in_register(load(a + r * lanes));
#pragma GCC unroll 32
            for (int c = 0; c < nc; ++c) sum[r][c] = fma(left, right[c], sum[r][c]);
        }
        a += a_step;
        panel += nc * lanes;
    }
    vec<T> flat[nr * nc];
#pragma GCC unroll 32
    for (int r = 0; r < nr; ++r)
#pragma GCC unroll 32
        for (int c = 0; c < nc; ++c) flat[r * nc + c] = sum[r][c];
    sum_lanes<T, nr * nc>(flat);
    T totals[(nr * nc + lanes - 1) / lanes * lanes];
    std::memcpy(totals, flat, sizeof totals);
#pragma GCC unroll 32
    for (int r = 0; r < nr; ++r)
#pragma GCC unroll 32
        for (int c = 0; c < nc; ++c) gradient[r * columns + c] += totals[r * nc + c];
}

// One block of rows against all panels of one matrix; `next` is a block that will follow and is fetched meanwhile.
template <class T>
void gradient_block(const T* a, std::size_t a_step, int rows, const T* panels, int columns, int steps, T* gradient,
                    const T* next) {
    constexpr int lanes = simd<T>::lanes;
    with_constant<gradient_rows>(rows, [&](auto nr) {
        int fetched = 0;
        balanced_tiles(columns, gradient_columns, [&](int first, int n) {
            const int until = next ? (first + n) * steps / columns : 0;
            for (; fetched < until; ++fetched)
                for (int r = 0; r < gradient_rows; ++r) __builtin_prefetch(next + fetched * a_step + r * lanes, 0, 2);
            with_constant<gradient_columns>(n, [&](auto nc) {
                gradient_tile<T, nr.value, nc.value>(a, a_step, panels + std::size_t(first) * steps * lanes, steps,
                                                     gradient + first, columns);
            });
        });
    });
}

// gradient[r] += sum over time and lanes of a[t][r].
template <class T>
void row_sums(const T* a, std::size_t a_step, int rows, int steps, T* gradient) {
    with_constant<gradient_rows>(rows, [&](auto nr) {
        vec<T> sum[nr.value] = {};
        for (int t = 0; t < steps; ++t)
#pragma GCC unroll 32
            for (int r = 0; r < nr.value; ++r) sum[r] += load(a + t * a_step + r * simd<T>::lanes);
        sum_lanes<T, nr.value>(sum);
        T totals[(nr.value + simd<T>::lanes - 1) / simd<T>::lanes * simd<T>::lanes];
        std::memcpy(totals, sum, sizeof totals);
        for (int r = 0; r < nr.value; ++r) gradient[r] += totals[r];
    });
}

}  // namespace longshort
