// Training and prediction of one stacked LSTM: batches gathered straight from the series, Adam, everything reproducible
// to the last bit from (seed, epoch, step).
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "losses.hpp"
#include "lstm_kernel.hpp"
#include "lstm_network.hpp"
#include "random.hpp"
#include "workers.hpp"
#include "workspace.hpp"

namespace longshort {

struct TrainingOptions {
    NetworkShape shape;
    Activation head_activation = Activation::linear;
    Loss loss;
    double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0;
    double clip = 0.0;  // largest global norm of a batch's gradient; 0 for no limit
    int batch_size = 32;
    uint64_t seed = 0;
    Initialisation initialisation = Initialisation::torch;
    int threads = 1;
};

// The series windows are cut from: step t of the window that starts at element s is x[s + t * time_stride + feature].
struct Series {
    const double* data = nullptr;
    std::size_t size = 0;
    std::ptrdiff_t time_stride = 1;
};

// What samples should answer, (n, answers, n_targets) with NaN where an answer does not count; how much each sample
// counts (null: 1 each); how many of its rows are read (null: all), those up to its last answer; and, for losses of
// blocks, the block of each.
template <class T>
struct Targets {
    const T* values;
    const T* weights;
    const int32_t* rows;
    const int64_t* blocks;
};

struct Diverged : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class T>
class Trainer {
public:
    static constexpr int lanes = simd<T>::lanes;

    explicit Trainer(TrainingOptions options)
        : options_(std::move(options)),
          map_(options_.shape),
          training_layout_(options_.shape, lanes, true),
          inference_layout_(options_.shape, lanes, false),
          parameters_(map_.size()),
          gradient_(map_.size()),
          first_moment_(map_.size()),
          second_moment_(map_.size()),
          packed_(options_.shape.layers()),
          packed_hh_(options_.shape.layers()),
          packed_ih_(options_.shape.layers()),
          center_(options_.shape.inputs, 0.0),
          scale_(options_.shape.inputs, 1.0) {
        initialise(options_.shape, map_, options_.initialisation, options_.seed, parameters_.data());
    }

    const TrainingOptions& options() const { return options_; }
    const NetworkShape& shape() const { return options_.shape; }
    int n_targets() const { return options_.loss.targets(shape().outputs); }
    const ParameterMap& map() const { return map_; }
    std::mutex& mutex() { return mutex_; }

    std::vector<T>& parameters() {  // to be changed only with the mutex held
        packed_valid_ = false;
        return parameters_;
    }
    const std::vector<T>& parameters() const { return parameters_; }
    std::vector<T>& first_moment() { return first_moment_; }
    std::vector<T>& second_moment() { return second_moment_; }
    const std::vector<T>& gradient() const { return gradient_; }
    int64_t step = 0, epoch = 0;

    void set_scaling(std::vector<double> center, std::vector<double> scale) {
        center_ = std::move(center);
        scale_ = std::move(scale);
    }
    void set_learning_rate(double rate) { options_.learning_rate = rate; }

    // One pass over all samples in shuffled order; the mean loss as seen, dropout included.
    double train_epoch(const Series& series, const int64_t* starts, const Targets<T>& targets, std::size_t n) {
        Session session(*this, training_layout_);
        const auto [order, ends] = batches_of(targets.blocks, n, epoch++);
        const std::size_t batches = ends.size();
        const double bound = weight_bound(targets, n);
        double total = 0;
        for (std::size_t batch = 0; batch < batches; ++batch) {
            const std::size_t begin = batch == 0 ? 0 : ends[batch - 1], size = ends[batch] - begin;
            const double loss = accumulate_gradient(session, series, starts, targets, order.data() + begin, size, step);
            const double norm = gradient_norm();
            auto diverged = [&](const std::string& what, const std::string& then) {
                return Diverged(what + " in epoch " + std::to_string(epoch) + ", batch " + std::to_string(batch + 1) +
                                " of " + std::to_string(batches) + then);
            };
            const std::string kept = ". The weights are those before that batch";
            if (!std::isfinite(loss)) throw diverged("the loss was not finite", kept);
            if (!std::isfinite(norm)) throw diverged("the gradient was not finite", kept);
            adam(options_.clip > 0 && norm > options_.clip ? options_.clip / norm : 1.0);
            if (!(largest_weight() <= bound)) throw diverged("a weight went beyond all bounds", "");
            total += loss;
        }
        return total / static_cast<double>(n);
    }

    // Mean loss; without dropout, or with the masks of training step `dropout_step`.
    double mean_loss(const Series& series, const int64_t* starts, const Targets<T>& targets, std::size_t n,
                     std::optional<int64_t> dropout_step) {
        if (dropout_step) return mean_gradient(series, starts, targets, n, dropout_step);
        if (options_.loss.of_blocks()) return mean_block_loss(series, starts, targets, n);
        double total = 0;
        forward_all(series, starts, targets.rows, n, [&](std::size_t sample, const T* predictions) {
            total += window_loss(predictions, targets, sample, nullptr);
        });
        return total / static_cast<double>(n);
    }

    // The loss of all samples as one batch, without dropout.
    double mean_block_loss(const Series& series, const int64_t* starts, const Targets<T>& targets, std::size_t n) {
        const std::vector<uint32_t> order = by_block(targets.blocks, n);
        std::vector<int64_t> sorted(n);
        for (std::size_t i = 0; i < n; ++i) sorted[i] = starts[order[i]];
        std::vector<double> outputs(n);
        predict(series, sorted.data(), n, outputs.data());
        return block_loss(outputs.data(), targets, order.data(), n, nullptr);
    }

    // Mean loss over all samples as one batch; leaves its gradient in gradient().
    double mean_gradient(const Series& series, const int64_t* starts, const Targets<T>& targets, std::size_t n,
                         std::optional<int64_t> dropout_step) {
        Session session(*this, training_layout_);
        const std::vector<uint32_t> order = by_block(targets.blocks, n);
        return accumulate_gradient(session, series, starts, targets, order.data(), n, dropout_step) /
               static_cast<double>(n);
    }

    // Predictions (n, outputs) at the windows' last steps, without dropout. Each row is a function of its window and the
    // weights alone.
    void predict(const Series& series, const int64_t* starts, std::size_t n, double* out) {
        const int outputs = shape().outputs, last = (shape().answers - 1) * outputs;
        forward_all(series, starts, nullptr, n, [&](std::size_t sample, const T* predictions) {
            for (int j = 0; j < outputs; ++j) out[sample * outputs + j] = static_cast<double>(predictions[last + j]);
        });
    }

    // The scalars of one column's state: h and c of each layer in turn.
    std::size_t state_size() const {
        std::size_t size = 0;
        for (int units : shape().hidden) size += 2 * units;
        return size;
    }

    // Predictions (n_steps, n, outputs) along n columns of the series, each step going on from the state that the one
    // before it left; `states` (n, state_size) is where they begin and holds where they end. A row with an input that is
    // not finite has no prediction, and its column starts anew after it.
    void carry(const Series& series, const int64_t* starts, std::size_t n, std::size_t n_steps, T* states,
               double* out) {
        constexpr std::size_t most_steps = 32;  // at once; even, so that each block finds h where the one before left it
        const std::size_t block = std::min(most_steps, n_steps);
        NetworkShape stretch = shape();
        stretch.lookback = stretch.answers = static_cast<int>(block);
        BatchLayout layout(stretch, lanes, false);
        const std::size_t kept = layout.extend(block * lanes);
        Session session(*this, layout);
        const std::size_t together = group * lanes;
        std::atomic<std::size_t> next{0};
        workers_->run([&](int worker) {
            T* base = session.vector(group * worker);
            for (std::size_t first; (first = together * next.fetch_add(1)) < n;) {
                const int columns = static_cast<int>(std::min(together, n - first));
                move_states(layout, columns, states + first * state_size(), base, true, 0);
                for (std::size_t t = 0; t < n_steps; t += block) {
                    const int steps = static_cast<int>(std::min(block, n_steps - t));
                    const Series later{series.data + t * series.time_stride, series.size, series.time_stride};
                    carry_block(later, starts + first, columns, steps, layout, kept, base);
                    give_out(layout, columns, steps, kept, base, out + (t * n + first) * shape().outputs, n);
                }
                move_states(layout, columns, states + first * state_size(), base, false, n_steps % 2);
            }
        });
    }

private:
    // The samples block by block, in the order given inside each; as they are where there are no blocks.
    static std::vector<uint32_t> by_block(const int64_t* blocks, std::size_t n) {
        std::vector<uint32_t> order(n);
        std::iota(order.begin(), order.end(), 0u);
        if (blocks)
            std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return blocks[a] < blocks[b]; });
        return order;
    }

    // An epoch's samples in the order they are visited, and where each batch ends: `batch_size` samples each, or whole
    // blocks, shuffled, until there are at least as many; blocks left over that make no half batch join the last one.
    std::pair<std::vector<uint32_t>, std::vector<std::size_t>> batches_of(const int64_t* blocks, std::size_t n,
                                                                          int64_t epoch) const {
        const std::size_t size = options_.batch_size;
        std::vector<std::size_t> ends;
        if (!blocks) {
            for (std::size_t end = size; end < n; end += size) ends.push_back(end);
            ends.push_back(n);
            return {epoch_order(n, options_.seed, epoch), ends};
        }
        const std::vector<uint32_t> sorted = by_block(blocks, n);
        std::vector<std::size_t> firsts;  // of each block in `sorted`, and the end
        for (std::size_t i = 0; i < n; ++i)
            if (i == 0 || blocks[sorted[i]] != blocks[sorted[i - 1]]) firsts.push_back(i);
        firsts.push_back(n);
        std::vector<uint32_t> order;
        for (uint32_t b : epoch_order(firsts.size() - 1, options_.seed, epoch)) {
            order.insert(order.end(), sorted.begin() + firsts[b], sorted.begin() + firsts[b + 1]);
            if (order.size() - (ends.empty() ? 0 : ends.back()) >= size) ends.push_back(order.size());
        }
        if (!ends.empty() && 2 * (n - ends.back()) < size) ends.pop_back();
        if (ends.empty() || ends.back() < n) ends.push_back(n);
        return {std::move(order), std::move(ends)};
    }

    // What one call needs: scratch memory, packed weights, workers.
    struct Session {
        Session(Trainer& trainer, const BatchLayout& layout_)
            : layout(layout_),
              vectors(group * trainer.options_.threads),
              workspace(vectors * layout.size() * sizeof(T)) {
            trainer.pack();
            if (!trainer.workers_) trainer.workers_ = std::make_unique<Workers>(trainer.options_.threads);
        }
        T* vector(int v) const { return workspace.as<T>() + v * layout.size(); }

        const BatchLayout& layout;
        int vectors;  // of samples that are worked on together
        Workspace workspace;
    };

    void pack() {
        if (packed_valid_) return;
        for (int i = 0; i < shape().layers(); ++i) {
            const LayerOffsets& o = map_.layers[i];
            const T* p = parameters_.data();
            packed_[i].pack(shape().hidden[i], shape().layer_inputs(i), p + o.weight_ih, p + o.weight_hh, p + o.bias_ih,
                            p + o.bias_hh);
        }
        packed_valid_ = true;
    }

    void pack_backward() {
        for (int i = 0; i < shape().layers(); ++i) {
            const LayerOffsets& o = map_.layers[i];
            const int units = shape().hidden[i];
            packed_hh_[i].pack(parameters_.data() + o.weight_hh, 4 * units, units);
            if (i > 0) packed_ih_[i].pack(parameters_.data() + o.weight_ih, 4 * units, shape().layer_inputs(i));
        }
    }

    // ----------------------------------------------------------------------------------------------------------------
    // Forward

    // Scaled windows of up to `lanes` samples; lanes without a sample and rows past a sample's own stay zero.
    template <class StartOf, class RowsOf>
    void gather(const Series& series, const BatchLayout& layout, int count, int steps, StartOf start_of,
                RowsOf rows_of, T* base) const {
        const int inputs = shape().inputs;
        T* out = base + layout.window;
        if (count < lanes) std::fill_n(out, steps * layout.window_step, T(0));
        for (int l = 0; l < count; ++l) {
            const double* x = series.data + start_of(l);
            T* to = out + l;
            const int rows = rows_of(l);
            for (int t = 0; t < rows; ++t, x += series.time_stride)
                for (int f = 0; f < inputs; ++f, to += lanes) *to = static_cast<T>((x[f] - center_[f]) / scale_[f]);
            for (int k = rows * inputs; k < steps * inputs; ++k, to += lanes) *to = T(0);
        }
        const std::vector<PanelColumn>& panel = layout.layers[0].input_panel;  // empty where nothing is trained
        for (std::size_t f = 0; f < panel.size(); ++f)
            for (int t = 0; t < steps; ++t)
                store(base + panel[f].start + t * panel[f].step, load(out + t * layout.window_step + f * lanes));
    }

    template <int nv, Pass pass>
    void forward(const BatchLayout& layout, int steps, std::optional<int64_t> dropout_step, uint32_t first_sample,
                 T* base, std::size_t kept = 0) const {
        const std::size_t spacing = layout.size();
        for (int i = 0; i < shape().layers(); ++i) {
            const std::optional<Dropout<T>> dropout = dropout_of(i, dropout_step);
            const LayerBuffers* above = i + 1 < shape().layers() ? &layout.layers[i + 1] : nullptr;
            forward_layer<T, nv, pass>(packed_[i], layout.layers[i], above, steps, dropout ? &*dropout : nullptr,
                                       first_sample, base, spacing, kept);
        }
        const int answers = steps - layout.layers.back().first_output;
        for (int v = 0; v < nv; ++v) forward_head<pass == Pass::training>(layout, answers, base + v * spacing);
    }

    template <bool training>
    void forward_head(const BatchLayout& layout, int answers, T* base) const {
        for (int j = 0; j < shape().dense_layers(); ++j) {
            const T* weight = parameters_.data() + map_.dense[j].weight;
            const T* bias = parameters_.data() + map_.dense[j].bias;
            const DenseBuffers& b = layout.dense[j];
            const int in = shape().dense_inputs(j), out = shape().dense_outputs(j);
            const bool hidden = j + 1 < shape().dense_layers();
            for (int s = 0; s < answers; ++s) {
                const T* x = base + b.input + s * b.input_step;
                for (int r = 0; r < out; ++r) {
                    vec<T> sum = broadcast(bias[r]);
                    for (int k = 0; k < in; ++k) sum = fma(broadcast(weight[r * in + k]), load(x + k * lanes), sum);
                    if (hidden) sum = activate(sum);
                    store(base + b.output + s * b.step + r * lanes, sum);
                }
                if (training && answers > 1)
                    for (int k = 0; k < in; ++k)
                        store(base + b.input_panel[k].start + s * b.input_panel[k].step, load(x + k * lanes));
            }
        }
    }

    vec<T> activate(vec<T> x) const {
        const vec<T> zero{};
        switch (options_.head_activation) {
            case Activation::relu: return x < zero ? zero : x;
            case Activation::tanh: return tanh_of(x);
            default: return x;
        }
    }

    // d * activation'(x), from y = activation(x).
    vec<T> activate_backward(vec<T> d, vec<T> y) const {
        const vec<T> zero{};
        switch (options_.head_activation) {
            case Activation::relu: return y > zero ? d : zero;
            case Activation::tanh: return d * (T(1) - y * y);
            default: return d;
        }
    }

    std::optional<Dropout<T>> dropout_of(int layer, std::optional<int64_t> dropout_step) const {
        if (!dropout_step || shape().dropout[layer] <= 0) return std::nullopt;
        return Dropout<T>(shape().dropout[layer],
                          stream_key(options_.seed, Purpose::dropout, static_cast<uint64_t>(*dropout_step), layer));
    }

    // each(sample, predictions (answers, outputs)) in order, for all samples without dropout.
    template <class Each>
    void forward_all(const Series& series, const int64_t* starts, const int32_t* rows, std::size_t n, Each each) {
        Session session(*this, inference_layout_);
        const BatchLayout& layout = session.layout;
        const std::size_t together = std::size_t(session.vectors) * lanes;
        const int steps = shape().lookback;
        std::vector<T> predictions(shape().answers * shape().outputs);
        for (std::size_t begin = 0; begin < n; begin += together) {
            const std::size_t count = std::min(together, n - begin);
            workers_->run([&](int worker) {
                const std::size_t mine = begin + std::size_t(worker) * group * lanes;
                if (mine >= begin + count) return;
                const int samples = static_cast<int>(std::min<std::size_t>(group * lanes, begin + count - mine));
                T* base = session.vector(group * worker);
                for (int v = 0; v * lanes < samples; ++v)
                    gather(series, layout, std::min(lanes, samples - v * lanes), steps,
                           [&](int l) { return starts[mine + v * lanes + l]; },
                           [&](int l) { return rows ? rows[mine + v * lanes + l] : steps; },
                           session.vector(group * worker + v));
                if (samples > lanes)
                    forward<group, Pass::window>(layout, steps, std::nullopt, 0, base);
                else
                    forward<1, Pass::window>(layout, steps, std::nullopt, 0, base);
            });
            for (std::size_t i = 0; i < count; ++i) {
                read_predictions(layout, session.vector(static_cast<int>(i / lanes)), i % lanes, predictions.data());
                each(begin + i, predictions.data());
            }
        }
    }

    // The answers of one lane as (answers, outputs).
    void read_predictions(const BatchLayout& layout, const T* base, std::size_t lane, T* predictions) const {
        const DenseBuffers& b = layout.dense.back();
        for (int s = 0; s < shape().answers; ++s)
            for (int j = 0; j < shape().outputs; ++j) *predictions++ = base[b.output + s * b.step + j * lanes + lane];
    }

    // ----------------------------------------------------------------------------------------------------------------
    // Carried state

    void carry_block(const Series& series, const int64_t* starts, int columns, int steps, const BatchLayout& layout,
                     std::size_t kept, T* base) const {
        for (int v = 0; v * lanes < columns; ++v) {
            T* mine = base + v * layout.size();
            const int count = std::min(lanes, columns - v * lanes);
            gather(series, layout, count, steps, [&](int l) { return starts[v * lanes + l]; },
                   [steps](int) { return steps; }, mine);
            for (int t = 0; t < steps; ++t)
                for (int l = 0; l < lanes; ++l) {
                    const T* x = mine + layout.window + t * layout.window_step + l;
                    bool finite = true;
                    for (int f = 0; f < shape().inputs; ++f) finite = finite && std::isfinite(x[f * lanes]);
                    mine[kept + t * lanes + l] = finite ? T(1) : T(0);
                }
        }
        if (columns > lanes)
            forward<group, Pass::carried>(layout, steps, std::nullopt, 0, base, kept);
        else
            forward<1, Pass::carried>(layout, steps, std::nullopt, 0, base, kept);
    }

    // Into the lanes (those without a column stay zero) or back out of them; `slot` says in which of its two places h is.
    void move_states(const BatchLayout& layout, int columns, T* states, T* base, bool in, int slot) const {
        for (int v = 0; v * lanes < columns && in; ++v)
            for (const LayerBuffers& b : layout.layers) {
                std::fill_n(base + v * layout.size() + b.hidden, b.hidden_step, T(0));
                std::fill_n(base + v * layout.size() + b.cell, b.hidden_step, T(0));
            }
        for (int column = 0; column < columns; ++column) {
            T* lane = base + column / lanes * layout.size() + column % lanes;
            for (const LayerBuffers& b : layout.layers)
                for (std::size_t place : {b.hidden + slot * b.hidden_step, b.cell})
                    for (int u = 0; u < b.units; ++u, ++states) {
                        T& value = lane[place + std::size_t(u) * lanes];
                        if (in)
                            value = *states;
                        else
                            *states = value;
                    }
        }
    }

    void give_out(const BatchLayout& layout, int columns, int steps, std::size_t kept, const T* base, double* out,
                  std::size_t all_columns) const {
        const DenseBuffers& b = layout.dense.back();
        const int outputs = shape().outputs;
        for (int t = 0; t < steps; ++t)
            for (int column = 0; column < columns; ++column) {
                const T* lane = base + column / lanes * layout.size() + column % lanes;
                const bool known = lane[kept + t * lanes] != 0;
                for (int j = 0; j < outputs; ++j)
                    out[(t * all_columns + column) * outputs + j] =
                        known ? static_cast<double>(lane[b.output + t * b.step + j * lanes])
                              : std::numeric_limits<double>::quiet_NaN();
            }
    }

    // ----------------------------------------------------------------------------------------------------------------
    // Loss

    // The mean loss of the answers of one window that have targets; its slope by each output where asked for.
    double window_loss(const T* predictions, const Targets<T>& targets, std::size_t sample, T* slopes) const {
        const int outputs = shape().outputs, answers = shape().answers, each = n_targets();
        const T* wanted = targets.values + sample * answers * each;
        auto counts = [&](int s) {
            return std::none_of(wanted + s * each, wanted + (s + 1) * each, [](T y) { return std::isnan(y); });
        };
        int counted = 0;
        double sum = 0;
        for (int s = 0; s < answers; ++s) {
            T* slope = slopes ? slopes + s * outputs : nullptr;
            if (counts(s)) {
                sum += options_.loss(predictions + s * outputs, wanted + s * each, outputs, slope);
                ++counted;
            } else if (slope) {
                std::fill_n(slope, outputs, T(0));
            }
        }
        const T weight = targets.weights ? targets.weights[sample] : T(1);
        if (slopes)
            for (int j = 0; j < answers * outputs; ++j) slopes[j] = slopes[j] * weight / static_cast<T>(counted);
        return sum * static_cast<double>(weight) / counted;
    }

    // The loss of a batch of whole blocks, from the outputs of its samples in order.
    double block_loss(const double* outputs, const Targets<T>& targets, const uint32_t* samples, std::size_t n,
                      double* slopes) const {
        std::vector<double> wanted(n);
        std::vector<int64_t> blocks(n);
        for (std::size_t i = 0; i < n; ++i) {
            wanted[i] = static_cast<double>(targets.values[samples[i]]);
            blocks[i] = targets.blocks[samples[i]];
        }
        return options_.loss.of_batch(outputs, wanted.data(), blocks.data(), n, slopes);
    }

    // Weights that answer targets of this size are of order one, the last bias of the order of the targets: what goes
    // far beyond both has left every useful region for good.
    double weight_bound(const Targets<T>& targets, std::size_t n) const {
        double largest = 1;
        for (std::size_t i = 0; i < n * shape().answers * n_targets(); ++i)
            largest = std::max(largest, std::abs(static_cast<double>(targets.values[i])));  // passes over NaN
        for (T x : parameters_) largest = std::max(largest, std::abs(static_cast<double>(x)));
        return 1000 * largest;
    }

    double largest_weight() const {  // the bits of magnitudes sort as these do, with NaN above all
        using I = typename lane_of<T>::integer;
        constexpr int chains = 16;
        I largest[chains] = {};
        const std::size_t n = parameters_.size();
        for (std::size_t k = 0; k + chains <= n; k += chains)
            for (int l = 0; l < chains; ++l)
                largest[l] = std::max(largest[l], bits_as<I>(std::abs(parameters_[k + l])));
        for (std::size_t k = n / chains * chains; k < n; ++k)
            largest[0] = std::max(largest[0], bits_as<I>(std::abs(parameters_[k])));
        return static_cast<double>(bits_as<T>(*std::max_element(largest, largest + chains)));
    }

    // ----------------------------------------------------------------------------------------------------------------
    // Gradient

    // Forward and backward over one batch: gradient_ becomes that of its mean loss, returned is n times that loss.
    double accumulate_gradient(Session& session, const Series& series, const int64_t* starts, const Targets<T>& targets,
                               const uint32_t* samples, std::size_t n, std::optional<int64_t> dropout_step) {
        pack();
        pack_backward();
        std::fill(gradient_.begin(), gradient_.end(), T(0));
        const BatchLayout& layout = session.layout;
        std::vector<double> values(n);
        if (!options_.loss.of_blocks()) {
            sweep<true>(session, series, starts, targets.rows, samples, n, dropout_step,
                        [&](T* base, std::size_t first, int count) {
                            loss_and_head_gradient(layout, count, samples + first, targets, n, base,
                                                   values.data() + first);
                        });
            double total = 0;
            for (double loss : values) total += loss;
            return total;
        }
        const DenseBuffers& b = layout.dense.back();
        sweep<false>(session, series, starts, targets.rows, samples, n, dropout_step,
                     [&](const T* base, std::size_t first, int count) {
                         for (int l = 0; l < count; ++l) values[first + l] = static_cast<double>(base[b.output + l]);
                     });
        std::vector<double> slopes(n);
        const double loss = block_loss(values.data(), targets, samples, n, slopes.data());
        sweep<true>(session, series, starts, targets.rows, samples, n, dropout_step,
                    [&](T* base, std::size_t first, int count) {
                        std::fill_n(base + b.gradient, lanes, T(0));
                        for (int l = 0; l < count; ++l) base[b.gradient + l] = static_cast<T>(slopes[first + l]);
                    });
        return loss * static_cast<double>(n);
    }

    // The training pass over one batch, a few vectors of samples at a time: forward, then differentiate(base, first,
    // count) for each vector, which leaves the gradients of its outputs, then `backward` and its weight gradients.
    template <bool backward, class F>
    void sweep(Session& session, const Series& series, const int64_t* starts, const int32_t* rows,
               const uint32_t* samples, std::size_t n, std::optional<int64_t> dropout_step, F differentiate) {
        const BatchLayout& layout = session.layout;
        const int steps = shape().lookback;
        const std::size_t together = std::size_t(session.vectors) * lanes;
        for (std::size_t begin = 0; begin < n; begin += together) {
            const int count = static_cast<int>(std::min(together, n - begin));
            const int vectors = (count + lanes - 1) / lanes, threads = workers_->count();
            const int each = (vectors + threads - 1) / threads;  // vectors per worker, one or `group`
            auto samples_of = [&](int v) { return std::min(lanes, count - v * lanes); };
            auto prepare = [&](int v) {
                const uint32_t* mine = samples + begin + std::size_t(v) * lanes;
                gather(series, layout, samples_of(v), steps, [&](int l) { return starts[mine[l]]; },
                       [&](int l) { return rows ? rows[mine[l]] : steps; }, session.vector(v));
            };
            auto finish = [&](int v) {
                differentiate(session.vector(v), begin + std::size_t(v) * lanes, samples_of(v));
            };
            workers_->run([&](int worker) {
                const int v = worker * each;
                if (v >= vectors) return;
                T* base = session.vector(v);
                const uint32_t first = static_cast<uint32_t>(begin) + v * lanes;
                if (v + each <= vectors && each == group && group > 1) {
                    prepare(v);
                    prepare(v + 1);
                    forward<group, Pass::training>(layout, steps, dropout_step, first, base);
                    finish(v);
                    finish(v + 1);
                    if constexpr (backward) this->template backward_pass<group>(layout, dropout_step, first, base);
                } else {
                    prepare(v);
                    forward<1, Pass::training>(layout, steps, dropout_step, first, base);
                    finish(v);
                    if constexpr (backward) this->template backward_pass<1>(layout, dropout_step, first, base);
                }
            });
            if constexpr (!backward) continue;
            std::atomic<int> next_task{0};
            workers_->run([&](int) { weight_gradients(session, layout, vectors, next_task); });
        }
    }

    void loss_and_head_gradient(const BatchLayout& layout, int count, const uint32_t* samples,
                                const Targets<T>& targets, std::size_t n, T* base, double* losses) const {
        const int outputs = shape().outputs, answers = shape().answers;
        const DenseBuffers& b = layout.dense.back();
        std::vector<T> predictions(answers * outputs), slopes(answers * outputs);
        std::fill_n(base + b.gradient, answers * b.step, T(0));
        for (int l = 0; l < count; ++l) {
            read_predictions(layout, base, l, predictions.data());
            losses[l] = window_loss(predictions.data(), targets, samples[l], slopes.data());
            for (int s = 0; s < answers; ++s)
                for (int j = 0; j < outputs; ++j)
                    base[b.gradient + s * b.step + j * lanes + l] = slopes[s * outputs + j] / static_cast<T>(n);
        }
    }

    // From the gradient of the outputs down to every gate.
    template <int nv>
    void backward_pass(const BatchLayout& layout, std::optional<int64_t> dropout_step, uint32_t first_sample,
                       T* base) const {
        const std::size_t spacing = layout.size();
        const int layers = shape().layers(), steps = shape().lookback;
        const auto dropout = dropout_of(layers - 1, dropout_step);
        for (int v = 0; v < nv; ++v)
            backward_head(layout, dropout ? &*dropout : nullptr, first_sample + v * lanes, base + v * spacing);
        for (int i = layers - 1; i >= 0; --i) {
            const auto below = i > 0 ? dropout_of(i - 1, dropout_step) : std::nullopt;
            backward_layer<T, nv>(packed_ih_[i], packed_hh_[i], layout.layers[i], layout, steps, i == 0,
                                  below ? &*below : nullptr, first_sample, base, spacing);
        }
    }

    void backward_head(const BatchLayout& layout, const Dropout<T>* dropout, uint32_t first_sample, T* base) const {
        const int first = shape().lookback - shape().answers;
        for (int j = shape().dense_layers() - 1; j >= 0; --j) {
            const T* weight = parameters_.data() + map_.dense[j].weight;
            const DenseBuffers& b = layout.dense[j];
            const int in = shape().dense_inputs(j), out = shape().dense_outputs(j);
            for (int s = 0; s < shape().answers; ++s) {
                const T* d_out = base + b.gradient + s * b.step;
                for (int k = 0; k < in; ++k) {
                    vec<T> d{};
                    for (int r = 0; r < out; ++r) d = fma(broadcast(weight[r * in + k]), load(d_out + r * lanes), d);
                    if (j > 0) {
                        const vec<T> y = load(base + b.input + s * b.input_step + k * lanes);
                        const DenseBuffers& below = layout.dense[j - 1];
                        store(base + below.gradient + s * below.step + k * lanes, activate_backward(d, y));
                    } else {
                        if (dropout) d *= (*dropout)(first + s, k, first_sample);
                        store(base + layout.above + (first + s) * layout.above_step + k * lanes, d);
                    }
                }
            }
        }
    }

    // Weight gradients by blocks of rows. Each block is worked on by whoever is free and sums over the vectors of
    // samples in order, so the result does not depend on the number of workers.
    void weight_gradients(const Session& session, const BatchLayout& layout, int vectors, std::atomic<int>& next_task) {
        const int steps = shape().lookback;
        int number = 0, mine = next_task.fetch_add(1);
        auto is_mine = [&] {
            if (number++ != mine) return false;
            mine = next_task.fetch_add(1);
            return true;
        };
        T* g = gradient_.data();
        for (int i = 0; i < shape().layers(); ++i) {
            const LayerBuffers& b = layout.layers[i];
            const LayerOffsets& o = map_.layers[i];
            for (int row = 0; row < 4 * b.units; row += gradient_rows) {
                if (!is_mine()) continue;
                const int rows = std::min(gradient_rows, 4 * b.units - row);
                for (int v = 0; v < vectors; ++v) {
                    const T* base = session.vector(v);
                    const T* a = base + b.gates + row * lanes;
                    const T* next = v + 1 < vectors ? session.vector(v + 1) + b.gates + row * lanes
                                    : row + rows < 4 * b.units ? session.vector(0) + b.gates + (row + rows) * lanes
                                                               : nullptr;
                    row_sums(a, b.gates_step, rows, steps, g + o.bias_ih + row);
                    gradient_block(a, b.gates_step, rows, base + b.panels, b.units, steps,
                                   g + o.weight_hh + std::size_t(row) * b.units, next);
                    gradient_block<T>(a, b.gates_step, rows, base + b.panels + std::size_t(steps) * b.units * lanes,
                                      b.inputs, steps, g + o.weight_ih + std::size_t(row) * b.inputs, nullptr);
                }
                std::copy_n(g + o.bias_ih + row, rows, g + o.bias_hh + row);
            }
        }
        for (int j = 0; j < shape().dense_layers(); ++j) {
            const int in = shape().dense_inputs(j), out = shape().dense_outputs(j);
            for (int row = 0; row < out; row += gradient_rows) {
                if (!is_mine()) continue;
                const int rows = std::min(gradient_rows, out - row);
                for (int v = 0; v < vectors; ++v) {
                    const T* base = session.vector(v);
                    const DenseBuffers& b = layout.dense[j];
                    const T* a = base + b.gradient + row * lanes;
                    row_sums(a, b.step, rows, shape().answers, g + map_.dense[j].bias + row);
                    gradient_block<T>(a, b.step, rows, base + b.panels, in, shape().answers,
                                      g + map_.dense[j].weight + std::size_t(row) * in, nullptr);
                }
            }
        }
    }

    double gradient_norm() const {
        double sum[8] = {};
        const std::size_t n = gradient_.size(), whole = n / 8 * 8;
        for (std::size_t k = 0; k < whole; k += 8)
            for (int l = 0; l < 8; ++l) {
                const double x = gradient_[k + l];
                sum[l] += x * x;
            }
        for (std::size_t k = whole; k < n; ++k) sum[0] += double(gradient_[k]) * gradient_[k];
        return std::sqrt(((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])));
    }

    // Adam as in torch; weight decay, if any, is decoupled (AdamW).
    void adam(double gradient_factor) {
        ++step;
        const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(step));
        const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(step));
        const T keep = static_cast<T>(1 - options_.learning_rate * options_.weight_decay);
        const T rate = static_cast<T>(options_.learning_rate / correction1);
        const T root = static_cast<T>(std::sqrt(correction2));
        const T beta2 = static_cast<T>(options_.beta2), epsilon = static_cast<T>(options_.epsilon);
        const T gain1 = static_cast<T>(1 - options_.beta1), gain2 = static_cast<T>(1 - options_.beta2);
        const T factor = static_cast<T>(gradient_factor);
        T* __restrict p = parameters_.data();
        T* __restrict m = first_moment_.data();
        T* __restrict s = second_moment_.data();
        const T* __restrict gradient = gradient_.data();
        for (std::size_t k = 0; k < parameters_.size(); ++k) {
            const T g = gradient[k] * factor;
            m[k] += gain1 * (g - m[k]);
            s[k] = beta2 * s[k] + gain2 * g * g;
            p[k] = keep * p[k] - rate * m[k] / (std::sqrt(s[k]) / root + epsilon);
        }
        packed_valid_ = false;
    }

    TrainingOptions options_;
    ParameterMap map_;
    BatchLayout training_layout_, inference_layout_;
    std::vector<T> parameters_, gradient_, first_moment_, second_moment_;
    std::vector<PackedLayer<T>> packed_;                  // for the forward pass
    std::vector<PackedColumns<T>> packed_hh_, packed_ih_;  // for the backward pass
    bool packed_valid_ = false;
    std::vector<double> center_, scale_;
    std::unique_ptr<Workers> workers_;
    std::mutex mutex_;
};

}  // namespace longshort
