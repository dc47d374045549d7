// The LSTM as Python sees it: LSTMTrainer (float32) and LSTMTrainer64 (float64, the same code, for gradient checks).
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <optional>

#include "lstm_trainer.hpp"
#include "python.hpp"
#include "ticker.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace longshort {
namespace {

template <class Enum>
Enum chosen(const std::string& what, const std::string& name,
            std::initializer_list<std::pair<const char*, Enum>> known) {
    std::string names;
    for (const auto& [text, value] : known) {
        if (name == text) return value;
        names += std::string(names.empty() ? "" : ", ") + "'" + text + "'";
    }
    raise_error("InputError", what + " must be one of " + names + "; was '" + name + "'.");
}

void require_range(const std::string& what, double value, double low, bool low_included, double high) {
    const bool inside = (low_included ? value >= low : value > low) && value < high;
    require(inside, what + " must be " + (low_included ? "at least " : "above ") + show(low) +
                        (std::isinf(high) ? "" : " and below " + show(high)) + ", was " + show(value) + ".");
}

void require_units(const std::string& what, const std::vector<int>& units) {
    for (int n : units)
        require(n >= 1 && n <= 65536, what + " must be between 1 and 65536, was " + std::to_string(n) + ".");
}

void check_loss(const Loss& loss, int outputs) {
    const double infinity = std::numeric_limits<double>::infinity();
    require_range("huber_delta", loss.huber_delta, 0, false, infinity);
    require_range("focal", loss.focal, 0, true, infinity);
    auto needs_outputs = [&](const std::string& name, int n) {
        require(outputs == n, "loss '" + name + "' needs n_outputs = " + std::to_string(n) + ", was " +
                                  std::to_string(outputs) + ".");
    };
    require_range("cost", loss.cost, 0, true, infinity);
    require(loss.kind == LossKind::sharpe || loss.cost == 0, "cost belongs to loss 'sharpe' only. Leave it out.");
    if (loss.kind == LossKind::sharpe) needs_outputs("sharpe", 1);
    if (loss.kind == LossKind::rank) needs_outputs("rank", 1);
    const bool quantile = loss.kind == LossKind::quantile, classes = loss.kind == LossKind::cross_entropy;
    require(quantile || loss.levels.empty(), "levels belong to loss 'quantile' only. Leave them out.");
    require(classes || (loss.class_weights.empty() && loss.focal == 0),
            "class_weights and focal belong to loss 'cross_entropy' only. Leave them out.");
    if (quantile) {
        const std::vector<double>& levels = loss.levels;
        require(!levels.empty(), "loss 'quantile' needs levels, for example [0.05, 0.5, 0.95].");
        for (std::size_t k = 0; k < levels.size(); ++k) {
            require_range("levels", levels[k], 0, false, 1);
            require(k == 0 || levels[k] > levels[k - 1], "levels must increase, but " + show(levels[k]) + " follows " +
                                                             show(levels[k - 1]) + ". Sort them, each once.");
        }
        needs_outputs("quantile", static_cast<int>(levels.size()));
    }
    if (loss.kind == LossKind::gaussian) needs_outputs("gaussian", 2);
    if (loss.kind == LossKind::student_t) needs_outputs("student_t", 3);
    if (classes) {
        require(outputs != 2, "loss 'cross_entropy' of two classes needs n_outputs = 1, the logit of class 1; was 2.");
        const std::size_t n = Loss::classes(outputs), found = loss.class_weights.size();
        require(found == 0 || found == n, "class_weights must be one per class: expected " + std::to_string(n) +
                                              ", was " + std::to_string(found) + ".");
        for (double weight : loss.class_weights) require_range("class_weights", weight, 0, true, infinity);
    }
}

TrainingOptions checked(TrainingOptions o) {
    NetworkShape& s = o.shape;
    require_units("n_inputs", {s.inputs});
    require_units("n_outputs", {s.outputs});
    require_units("lookback", {s.lookback});
    require_units("batch_size", {o.batch_size});
    require(s.answers >= 1 && s.answers <= s.lookback,
            "targets_per_window must be between 1 and lookback (" + std::to_string(s.lookback) + "), was " +
                std::to_string(s.answers) + ".");
    require(!s.hidden.empty(), "hidden must name at least one LSTM layer, for example [50, 50]; it was empty.");
    require_units("hidden", s.hidden);
    require_units("head", s.head);
    if (s.dropout.empty()) s.dropout.assign(s.hidden.size(), 0.0);
    require(s.dropout.size() == s.hidden.size(), "dropout needs one rate per LSTM layer: expected " +
                                                     std::to_string(s.hidden.size()) + ", was " +
                                                     std::to_string(s.dropout.size()) + ".");
    for (double rate : s.dropout) require_range("dropout", rate, 0, true, 1);
    const double infinity = std::numeric_limits<double>::infinity();
    require_range("lr", o.learning_rate, 0, true, infinity);
    require_range("beta1", o.beta1, 0, true, 1);
    require_range("beta2", o.beta2, 0, true, 1);
    require_range("eps", o.epsilon, 0, false, infinity);
    require_range("weight_decay", o.weight_decay, 0, true, infinity);
    require_range("clip", o.clip, 0, true, infinity);
    check_loss(o.loss, s.outputs);
    require(s.answers == 1 || !o.loss.of_blocks(),
            "targets_per_window must be 1 for losses of blocks ('sharpe', 'rank'), was " + std::to_string(s.answers) + ".");
    require(o.threads >= 1 && o.threads <= 64,
            "threads must be between 1 and 64, was " + std::to_string(o.threads) + ".");
    return o;
}

template <class T>
class PyTrainer {
public:
    using Data = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
    using States = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

    PyTrainer(int n_inputs, std::vector<int> hidden, std::vector<int> head, int n_outputs,
              const std::string& head_activation, std::vector<double> dropout, const std::string& loss,
              double huber_delta, std::vector<double> levels, std::vector<double> class_weights, double focal, double lr,
              double beta1, double beta2, double eps, double weight_decay, double clip, int batch_size, int lookback,
              uint64_t seed, const std::string& init, int threads, int targets_per_window, double cost)
        : trainer_(checked({
              .shape = {n_inputs, std::move(hidden), std::move(head), n_outputs, lookback, std::move(dropout),
                        targets_per_window},
              .head_activation = chosen<Activation>(
                  "head_activation", head_activation,
                  {{"linear", Activation::linear}, {"relu", Activation::relu}, {"tanh", Activation::tanh}}),
              .loss = {.kind = chosen<LossKind>("loss", loss,
                                                {{"mse", LossKind::mse},
                                                 {"mae", LossKind::mae},
                                                 {"huber", LossKind::huber},
                                                 {"quantile", LossKind::quantile},
                                                 {"gaussian", LossKind::gaussian},
                                                 {"student_t", LossKind::student_t},
                                                 {"cross_entropy", LossKind::cross_entropy},
                                                 {"sharpe", LossKind::sharpe},
                                                 {"rank", LossKind::rank}}),
                       .huber_delta = huber_delta,
                       .levels = std::move(levels),
                       .class_weights = std::move(class_weights),
                       .focal = focal,
                       .cost = cost},
              .learning_rate = lr,
              .beta1 = beta1,
              .beta2 = beta2,
              .epsilon = eps,
              .weight_decay = weight_decay,
              .clip = clip,
              .batch_size = batch_size,
              .seed = seed,
              .initialisation = chosen<Initialisation>(
                  "init", init, {{"torch", Initialisation::torch}, {"keras", Initialisation::keras}}),
              .threads = threads,
          })) {}

    void bind(Data data, int64_t time_stride, nb::handle center, nb::handle scale) {
        const auto [c, s] = scaling(center, scale);
        require(time_stride >= 1, "time_stride must be at least 1 element, was " + std::to_string(time_stride) + ".");
        locked([this, &c = c, &s = s] { trainer_.set_scaling(c, s); });
        series_ = {data.data(), data.size(), static_cast<std::ptrdiff_t>(time_stride)};
        data_ = std::move(data);
    }

    double epoch(nb::handle starts_, nb::handle targets_, nb::handle sample_weight, nb::handle blocks) {
        const Samples samples = checked_samples(starts_, targets_, sample_weight, blocks);
        const Series series = series_;
        std::string failure;
        double loss = 0;
        locked([&] {
            try {
                loss = trainer_.train_epoch(series, samples.starts.data(), samples.wanted(), samples.size());
            } catch (const Diverged& error) {
                failure = error.what();
            }
        });
        if (!failure.empty())
            raise_error("TrainingError", "Training stopped: " + failure + ". Look for non-finite inputs, lower lr (" +
                                             show(trainer_.options().learning_rate) + ") or set clip.");
        return loss;
    }

    double loss(nb::handle starts_, nb::handle targets_, nb::handle sample_weight, nb::handle blocks,
                std::optional<int64_t> dropout_step) {
        const Samples samples = checked_samples(starts_, targets_, sample_weight, blocks);
        const Series series = series_;
        double loss = 0;
        locked([&] {
            loss = trainer_.mean_loss(series, samples.starts.data(), samples.wanted(), samples.size(), dropout_step);
        });
        return loss;
    }

    nb::dict gradient(nb::handle starts_, nb::handle targets_, nb::handle sample_weight, nb::handle blocks,
                      std::optional<int64_t> dropout_step) {
        const Samples samples = checked_samples(starts_, targets_, sample_weight, blocks);
        const Series series = series_;
        std::vector<T> gradient;
        locked([&] {
            trainer_.mean_gradient(series, samples.starts.data(), samples.wanted(), samples.size(), dropout_step);
            gradient = trainer_.gradient();
        });
        return named(gradient);
    }

    nb::object predict(nb::handle starts_) {
        const auto starts = checked_starts(starts_, series_, true);
        return predict_from(series_, starts.data(), starts.size());
    }

    nb::object predict_windows(nb::handle windows_, nb::handle center, nb::handle scale) {
        const auto windows = to_array<double>(windows_, "windows");
        const NetworkShape& shape = trainer_.shape();
        const std::vector<std::size_t> found = shape_of(windows);
        const std::size_t steps = shape.lookback, inputs = shape.inputs;
        require(found.size() == 3 && found[1] == steps && found[2] == inputs,
                "windows must have shape (n, " + std::to_string(steps) + ", " + std::to_string(inputs) + "), was " +
                    show_shape(found) + ".");
        if (!center.is_none() || !scale.is_none()) {
            const auto [c, s] = scaling(center, scale);
            locked([this, &c = c, &s = s] { trainer_.set_scaling(c, s); });
        }
        std::vector<int64_t> starts(found[0]);
        for (std::size_t i = 0; i < starts.size(); ++i) starts[i] = static_cast<int64_t>(i * steps * inputs);
        return predict_from({windows.data(), windows.size(), static_cast<std::ptrdiff_t>(inputs)}, starts.data(),
                            starts.size());
    }

    nb::object carry_states(int64_t n) const {
        require(n >= 0, "n must be a count of columns, was " + std::to_string(n) + ".");
        const std::size_t size = trainer_.state_size();
        return to_numpy(std::vector<T>(n * size).data(), {static_cast<std::size_t>(n), size});
    }

    nb::object carry(nb::handle starts_, int64_t n_steps, std::optional<States> states) {
        require(n_steps >= 0 && n_steps <= int64_t(UINT32_MAX),
                "n_steps must be a count below 2^32, was " + std::to_string(n_steps) + ".");
        const auto starts = checked_starts(starts_, series_, true, n_steps);
        const std::size_t n = starts.size(), size = trainer_.state_size(), outputs = trainer_.shape().outputs;
        if (states) {
            require(shape_of(*states) == std::vector{n, size},
                    "states must have shape " + show_shape({n, size}) + ", as carry_states(" + std::to_string(n) +
                        ") gives, was " + show_shape(shape_of(*states)) + ".");
            require_finite(states->data(), states->size(), "states");
        }
        std::vector<T> fresh(states ? 0 : n * size);
        T* state = states ? states->data() : fresh.data();
        const std::size_t steps = static_cast<std::size_t>(n_steps);
        std::vector<double> out(steps * n * outputs);
        const Series series = series_;
        if (!out.empty()) locked([&] { trainer_.carry(series, starts.data(), n, steps, state, out.data()); });
        return to_numpy(out.data(), {steps, n, outputs});
    }

    std::shared_ptr<Served> serve(std::vector<int> columns, nb::handle center, nb::handle scale, bool carry) {
        auto [c, s] = scaling(center, scale);
        std::shared_ptr<Served> served;
        locked([&, &c = c, &s = s] {
            served = std::make_shared<ServedNetwork<T>>(
                ServedShape{trainer_.shape(), trainer_.options().head_activation, c, s, columns, carry}, trainer_.map(),
                std::as_const(trainer_).parameters().data());
        });
        return served;
    }

    nb::dict weights() {
        std::vector<T> values;
        locked([&] { values = std::as_const(trainer_).parameters(); });
        return named(values);
    }

    void set_weights(nb::dict given) {
        std::vector<T> values(trainer_.map().size());
        std::size_t known = 0;
        for (const Parameter& p : trainer_.map().named) {
            require(given.contains(p.name.c_str()),
                    "weights lacks '" + p.name + "' of shape " + show_shape(p.shape) + ".");
            const auto array = to_array<T>(given[p.name.c_str()], p.name);
            require(shape_of(array) == p.shape,
                    p.name + " must have shape " + show_shape(p.shape) + ", was " + show_shape(shape_of(array)) + ".");
            require_finite(array.data(), array.size(), p.name);
            std::copy_n(array.data(), array.size(), values.begin() + static_cast<std::ptrdiff_t>(p.offset));
            ++known;
        }
        if (given.size() != known)
            for (auto [key, value] : given) {
                const std::string name = nb::cast<std::string>(nb::str(key));
                bool found = false;
                for (const Parameter& p : trainer_.map().named) found |= p.name == name;
                if (!found) raise_error("UnknownName", "weights has '" + name + "', which this network does not.");
            }
        locked([&] { trainer_.parameters() = values; });
    }

    // Everything that training goes on from: resuming gives the bits of never having stopped.
    nb::dict state() {
        nb::dict out;
        std::vector<T> weights, first, second;
        int64_t counters[2] = {};
        locked([&] {
            weights = std::as_const(trainer_).parameters();
            first = trainer_.first_moment();
            second = trainer_.second_moment();
            counters[0] = trainer_.step;
            counters[1] = trainer_.epoch;
        });
        out["weights"] = to_numpy(weights.data(), {weights.size()});
        out["first_moment"] = to_numpy(first.data(), {first.size()});
        out["second_moment"] = to_numpy(second.data(), {second.size()});
        out["step"] = to_numpy(&counters[0], {1});
        out["epoch"] = to_numpy(&counters[1], {1});
        return out;
    }

    void set_state(nb::dict given) {
        const std::size_t n = trainer_.map().size();
        auto vector_of = [&](const char* key) {
            require(given.contains(key), "state lacks '" + std::string(key) + "'.");
            const auto array = to_array<T>(given[key], key);
            require(array.size() == n, "state's " + std::string(key) + " must hold " + std::to_string(n) +
                                           " numbers, was " + std::to_string(array.size()) + ".");
            require_finite(array.data(), n, key);
            return std::vector<T>(array.data(), array.data() + n);
        };
        auto counter_of = [&](const char* key) {
            require(given.contains(key), "state lacks '" + std::string(key) + "'.");
            const auto array = to_array<int64_t>(given[key], key);
            require(array.size() == 1 && array.data()[0] >= 0, "state's " + std::string(key) + " must be one count.");
            return array.data()[0];
        };
        const auto weights = vector_of("weights"), first = vector_of("first_moment");
        const auto second = vector_of("second_moment");
        const int64_t step = counter_of("step"), epoch = counter_of("epoch");
        locked([&] {
            trainer_.parameters() = weights;
            trainer_.first_moment() = first;
            trainer_.second_moment() = second;
            trainer_.step = step;
            trainer_.epoch = epoch;
        });
    }

    std::size_t n_parameters() const { return trainer_.map().size(); }
    int n_targets() const { return trainer_.n_targets(); }
    int64_t epochs_done() const { return trainer_.epoch; }
    int64_t steps_done() const { return trainer_.step; }
    double learning_rate() const { return trainer_.options().learning_rate; }
    void set_learning_rate(double rate) {
        require_range("lr", rate, 0, true, std::numeric_limits<double>::infinity());
        locked([&] { trainer_.set_learning_rate(rate); });
    }

private:
    // Run with the interpreter released and the trainer to ourselves.
    template <class F>
    void locked(F&& f) {
        nb::gil_scoped_release release;
        std::lock_guard lock(trainer_.mutex());
        f();
    }

    std::pair<std::vector<double>, std::vector<double>> scaling(nb::handle center_, nb::handle scale_) const {
        const std::size_t inputs = trainer_.shape().inputs;
        const auto center = to_array<double>(center_, "center"), scale = to_array<double>(scale_, "scale");
        require(center.size() == inputs && scale.size() == inputs,
                "center and scale need " + std::to_string(inputs) + " numbers each, one per input, was " +
                    std::to_string(center.size()) + " and " + std::to_string(scale.size()) + ".");
        require_finite(center.data(), inputs, "center");
        require_finite(scale.data(), inputs, "scale");
        for (std::size_t i = 0; i < inputs; ++i)
            require(scale.data()[i] > 0, "scale must be positive, but input " + std::to_string(i) + " has " +
                                             show(scale.data()[i]) + ". Drop constant inputs or give them scale 1.");
        return {{center.data(), center.data() + inputs}, {scale.data(), scale.data() + inputs}};
    }

    std::vector<int64_t> checked_starts(nb::handle starts_, const Series& series, bool may_be_empty = false,
                                        std::optional<int64_t> steps = std::nullopt) const {
        require(series.data != nullptr, "Call bind(data, ...) first: there is no series to cut windows from.");
        const auto starts = to_array<int64_t>(starts_, "starts");
        require(starts.ndim() == 1,
                "starts must be one-dimensional, was of shape " + show_shape(shape_of(starts)) + ".");
        const std::size_t n = starts.size();
        require(may_be_empty || n > 0, "starts must name at least one window; it was empty.");
        require(n < UINT32_MAX, "starts must hold fewer than 2^32 windows, was " + std::to_string(n) + ".");
        const int64_t rows = std::max<int64_t>(steps.value_or(trainer_.shape().lookback), 1);
        for (std::size_t i = 0; i < n; ++i) check_start(i, starts.data()[i], series, rows);
        return {starts.data(), starts.data() + n};
    }

    void check_start(std::size_t i, int64_t start, const Series& series, int64_t rows) const {
        const int64_t reach = (rows - 1) * static_cast<int64_t>(series.time_stride) + trainer_.shape().inputs;
        if (start < 0 || start > static_cast<int64_t>(series.size) - reach)
            raise_error("InputError", "starts[" + std::to_string(i) + "] = " + std::to_string(start) +
                                          " is outside the series: a window reaches over " + std::to_string(reach) +
                                          " of its " + std::to_string(series.size) + " elements.");
    }

    struct Samples {
        std::vector<int64_t> starts;
        std::vector<T> targets, weights;
        std::vector<int32_t> rows;
        std::vector<int64_t> blocks;

        std::size_t size() const { return starts.size(); }
        Targets<T> wanted() const {
            return {targets.data(), weights.empty() ? nullptr : weights.data(), rows.empty() ? nullptr : rows.data(),
                    blocks.empty() ? nullptr : blocks.data()};
        }
    };

    Samples checked_samples(nb::handle starts, nb::handle targets, nb::handle sample_weight, nb::handle blocks) const {
        Samples samples;
        const int answers = trainer_.shape().answers, burn_in = trainer_.shape().lookback - answers;
        samples.starts = checked_starts(starts, series_, false, burn_in + 1);
        samples.targets = checked_targets(targets, samples.size());
        if (answers > 1) {
            samples.rows = rows_read(samples.targets, samples.size());
            for (std::size_t i = 0; i < samples.size(); ++i)
                check_start(i, samples.starts[i], series_, samples.rows[i]);
        }
        if (!sample_weight.is_none()) {
            const auto weights = to_array<T>(sample_weight, "sample_weight");
            require(shape_of(weights) == std::vector{samples.size()},
                    "sample_weight must have shape " + show_shape({samples.size()}) + ", was " +
                        show_shape(shape_of(weights)) + ".");
            require_finite(weights.data(), weights.size(), "sample_weight");
            for (std::size_t i = 0; i < weights.size(); ++i)
                require(weights.data()[i] >= 0, "sample_weight must not be negative, but element " +
                                                    std::to_string(i) + " was " + show(weights.data()[i]) + ".");
            samples.weights.assign(weights.data(), weights.data() + weights.size());
        }
        check_blocks(samples, blocks);
        return samples;
    }

    // Losses of blocks, and no others, are told the block of each sample; `rank` learns from ranks inside it.
    void check_blocks(Samples& samples, nb::handle blocks_) const {
        const Loss& loss = trainer_.options().loss;
        require(loss.of_blocks() != blocks_.is_none(),
                loss.of_blocks() ? "This loss needs the block of each sample: pass blocks."
                                 : "blocks belong to loss 'sharpe' or 'rank' only. Leave them out.");
        if (!loss.of_blocks()) return;
        require(samples.weights.empty(), "Losses of blocks take no sample_weight. Leave it out.");
        const auto blocks = to_array<int64_t>(blocks_, "blocks");
        require(shape_of(blocks) == std::vector{samples.size()}, "blocks must have shape " +
                                                                     show_shape({samples.size()}) + ", was " +
                                                                     show_shape(shape_of(blocks)) + ".");
        samples.blocks.assign(blocks.data(), blocks.data() + blocks.size());
        if (loss.kind == LossKind::rank) samples.targets = ranks_in_blocks(samples.targets, samples.blocks);
    }

    std::vector<T> checked_targets(nb::handle targets_, std::size_t n) const {
        const auto targets = to_array<T>(targets_, "targets");
        const std::size_t each = trainer_.n_targets(), answers = trainer_.shape().answers;
        const std::vector<std::size_t> found = shape_of(targets);
        const std::vector<std::size_t> flat{n, answers * each}, full{n, answers, each};
        require(found == flat || found == full || (each * answers == 1 && found == std::vector{n}),
                "targets must have shape " + show_shape(answers > 1 ? full : flat) + ", was " + show_shape(found) + ".");
        if (answers == 1) require_finite(targets.data(), targets.size(), "targets");
        else check_present(targets.data(), n, answers, each);
        if (trainer_.options().loss.kind == LossKind::cross_entropy) check_classes(targets.data(), targets.size());
        return {targets.data(), targets.data() + targets.size()};
    }

    // Up to the last target; a short sequence may end where the series does.
    std::vector<int32_t> rows_read(const std::vector<T>& targets, std::size_t n) const {
        const int answers = trainer_.shape().answers, each = trainer_.n_targets();
        std::vector<int32_t> rows(n);
        for (std::size_t i = 0; i < n; ++i) {
            int last = answers * each - 1;
            while (std::isnan(targets[i * answers * each + last])) --last;  // there is one, see check_present
            rows[i] = trainer_.shape().lookback - answers + last / each + 1;
        }
        return rows;
    }

    // Each window needs a step whose targets are all there; no target may be infinite.
    static void check_present(const T* targets, std::size_t n, std::size_t answers, std::size_t each) {
        for (std::size_t i = 0; i < n; ++i) {
            bool any = false;
            for (std::size_t s = 0; s < answers; ++s) {
                bool all = true;
                for (std::size_t j = 0; j < each; ++j) {
                    const T y = targets[(i * answers + s) * each + j];
                    require(!std::isinf(y), "targets must be finite or NaN (no target), but window " +
                                                std::to_string(i) + " has " + show(static_cast<double>(y)) + ".");
                    all = all && !std::isnan(y);
                }
                any = any || all;
            }
            require(any, "Each window needs a target at one of its last " + std::to_string(answers) +
                             " steps, but window " + std::to_string(i) + " has none. Leave it out.");
        }
    }

    void check_classes(const T* labels, std::size_t n) const {
        const int classes = Loss::classes(trainer_.shape().outputs);
        for (std::size_t i = 0; i < n; ++i) {
            const T label = labels[i];
            require(std::isnan(label) || (label >= 0 && label < T(classes) && label == std::floor(label)),
                    "targets must be classes 0 to " + std::to_string(classes - 1) + ", but element " +
                        std::to_string(i) + " was " + show(static_cast<double>(label)) + ".");
        }
    }

    nb::object predict_from(const Series& series, const int64_t* starts, std::size_t n) {
        const std::size_t outputs = trainer_.shape().outputs;
        std::vector<double> out(n * outputs);
        locked([&] { trainer_.predict(series, starts, n, out.data()); });
        return to_numpy(out.data(), {n, outputs});
    }

    nb::dict named(const std::vector<T>& flat) const {
        nb::dict out;
        for (const Parameter& p : trainer_.map().named) out[p.name.c_str()] = to_numpy(flat.data() + p.offset, p.shape);
        return out;
    }

    Trainer<T> trainer_;
    Series series_;
    Data data_;  // keeps the series alive
};

template <class T>
void bind_trainer(nb::module_& m, const char* name, const char* doc) {
    using P = PyTrainer<T>;
    nb::class_<P>(m, name, doc)
        .def(nb::init<int, std::vector<int>, std::vector<int>, int, const std::string&, std::vector<double>,
                      const std::string&, double, std::vector<double>, std::vector<double>, double, double, double,
                      double, double, double, double, int, int, uint64_t, const std::string&, int, int, double>(),
             "n_inputs"_a, "hidden"_a, "head"_a = std::vector<int>{}, "n_outputs"_a = 1, "head_activation"_a = "linear",
             "dropout"_a = std::vector<double>{}, "loss"_a = "mse", "huber_delta"_a = 1.0,
             "levels"_a = std::vector<double>{}, "class_weights"_a = std::vector<double>{}, "focal"_a = 0.0,
             "lr"_a = 1e-3, "beta1"_a = 0.9, "beta2"_a = 0.999, "eps"_a = 1e-8, "weight_decay"_a = 0.0, "clip"_a = 0.0,
             "batch_size"_a = 32, "lookback"_a = 60, "seed"_a = 0, "init"_a = "torch", "threads"_a = 1,
             "targets_per_window"_a = 1, "cost"_a = 0.0)
        .def("bind", &P::bind, nb::arg("data").noconvert(), "time_stride"_a, "center"_a, "scale"_a,
             "Cut windows from this float64 C-contiguous array from now on. It is kept alive, never copied;\n"
             "inputs are (x - center) / scale, computed in float64.")
        .def("epoch", &P::epoch, "starts"_a, "targets"_a, "sample_weight"_a = nb::none(),
             "blocks"_a = nb::none(),
             "Train on every window once, in shuffled order; return the mean loss as seen, dropout included.\n"
             "Targets are (n, n_targets); with `targets_per_window` = S > 1 they are (n, S, n_targets), one for each of\n"
             "a window's last S steps, NaN where there is none, and a window's loss is the mean over those it has\n"
             "(no row after the last of them is read).\n"
             "With the losses 'sharpe' and 'rank', `blocks` (n,) says which samples belong together, and a batch is\n"
             "whole blocks, shuffled, until there are at least `batch_size` samples.\n"
             "`sample_weight` (n,) multiplies each sample's loss (the mean is over n).")
        .def("loss", &P::loss, "starts"_a, "targets"_a, "sample_weight"_a = nb::none(), "blocks"_a = nb::none(),
             "dropout_step"_a = nb::none(),
             "Mean loss over the windows, without dropout (or with the masks of training step `dropout_step`).")
        .def("predict", &P::predict, "starts"_a,
             "Outputs (n, n_outputs) after the windows' last steps. A row depends on its window and the weights only, to the bit.")
        .def("predict_windows", &P::predict_windows, "windows"_a, "center"_a = nb::none(), "scale"_a = nb::none(),
             "Outputs for windows (n, lookback, n_inputs) given as such: the bits of `predict` on the same data.")
        .def("serve", &P::serve, "columns"_a, "center"_a, "scale"_a, "carry"_a = false,
             "The network as it is now, for a Ticker; it serves these columns of a row.")
        .def("gradient", &P::gradient, "starts"_a, "targets"_a, "sample_weight"_a = nb::none(),
             "blocks"_a = nb::none(), "dropout_step"_a = nb::none(), "Gradient of the mean loss by name.")
        .def("carry_states", &P::carry_states, "n"_a,
             "Fresh states (n, 2 * sum(hidden)) for `carry`: all zero.")
        .def("carry", &P::carry, "starts"_a, "n_steps"_a, nb::arg("states").noconvert() = nb::none(),
             "Outputs (n_steps, n, n_outputs) along n columns of the series, the first row of each at its element of\n"
             "`starts`. The state is carried from row to row, from `states` on, which is left as the last row leaves\n"
             "it (None: from zero). A row with an input that is not finite answers NaN, and its column starts anew\n"
             "after it. Row by row or all at once, the bits are the same.")
        .def("weights", &P::weights, "Weights by torch's names, as copies.")
        .def("set_weights", &P::set_weights, "weights"_a, "Replace all weights; names and shapes must fit exactly.")
        .def("state", &P::state, "Weights, Adam's moments and counters: everything training goes on from.")
        .def("set_state", &P::set_state, "state"_a, "Go on from `state()`, bit for bit.")
        .def_prop_ro("n_parameters", &P::n_parameters, "Count of all weights, both biases of a layer included.")
        .def_prop_ro("n_targets", &P::n_targets, "Targets of one sample: n_outputs for mse, mae and huber, else 1.")
        .def_prop_ro("epochs_done", &P::epochs_done)
        .def_prop_ro("steps_done", &P::steps_done)
        .def_prop_rw("lr", &P::learning_rate, &P::set_learning_rate);
}

nb::object shuffled(int64_t n, uint64_t seed, int64_t epoch) {
    require(n >= 0 && n < int64_t(UINT32_MAX), "n must be a count below 2^32, was " + std::to_string(n) + ".");
    require(epoch >= 0, "epoch counts from 0, was " + std::to_string(epoch) + ".");
    const std::vector<uint32_t> order = epoch_order(static_cast<std::size_t>(n), seed, epoch);
    return to_numpy(order.data(), {order.size()});
}

// The rate of fused multiply-adds one core reaches on registers alone, in GFLOP/s: the floor benchmarks refer to.
double fma_peak(double seconds) {
    constexpr int chains = vector_registers >= 32 ? 24 : 12;
    using Clock = std::chrono::steady_clock;
    double best = 0;
    nb::gil_scoped_release release;
    const auto begin = Clock::now();
    while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds) {
        vec<float> x[chains];
#pragma GCC unroll 32
        for (int c = 0; c < chains; ++c) x[c] = broadcast(0.001f * static_cast<float>(c));
        const vec<float> a = in_register(broadcast(0.999f));
        constexpr int rounds = 100000;
        const auto start = Clock::now();
        for (int k = 0; k < rounds; ++k) {
#pragma GCC unroll 32
            for (int c = 0; c < chains; ++c) x[c] = fma(x[c], a, a);
        }
        const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
        vec<float> sum{};
#pragma GCC unroll 32
        for (int c = 0; c < chains; ++c) sum += x[c];
        asm volatile("" : "+m"(sum));
        best = std::max(best, 2.0 * simd<float>::lanes * chains * rounds / elapsed * 1e-9);
    }
    return best;
}

}  // namespace
}  // namespace longshort

void bind_lstm(nb::module_& m) {
    longshort::bind_trainer<float>(m, "LSTMTrainer", "A stacked LSTM with a dense head, trained by Adam, in float32.");
    longshort::bind_trainer<double>(m, "LSTMTrainer64", "LSTMTrainer in float64: the same code, for checks.");
    m.def("shuffled", &longshort::shuffled, "n"_a, "seed"_a, "epoch"_a,
          "The order, uint32 (n,), in which `LSTMTrainer.epoch` of this seed visits n windows in its epoch `epoch`,\n"
          "counted from 0; each `batch_size` of them are one batch.");
    m.def("fma_peak", &longshort::fma_peak, "seconds"_a = 0.2,
          "Measured peak of one core's float32 fused multiply-adds, in GFLOP/s.");
}
