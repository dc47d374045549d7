// Live forecasts as Python asks for them: a raw row in, features, scaling, networks, one number per symbol out.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>

#include "program.hpp"
#include "python.hpp"
#include "ticker.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace longshort {
namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double worth_releasing = 4e6;  // multiply-adds; below, other threads gain less than the switch costs

struct Member {
    std::shared_ptr<Served> net;
    double center, scale;
};

class Ticker {
public:
    Ticker(nb::object stepper, int n_symbols, int n_features, int lookback, int wait, bool carry, int n_seeds,
           int n_outputs, bool raw, bool floor)
        : stepper_object_(stepper),
          stepper_(stepper.is_none() ? nullptr : nb::cast<features::Stepper*>(stepper)),
          symbols_(n_symbols),
          features_(n_features),
          inputs_(stepper_ ? stepper_->program().n_inputs : n_features),
          rows_kept_(carry ? 0 : lookback),
          wait_(wait),
          outputs_(n_outputs),
          raw_(raw),
          floor_(floor),
          members_(n_seeds) {
        require(n_symbols >= 1 && n_features >= 1 && lookback >= 1 && wait >= 1 && n_seeds >= 1 && n_outputs >= 1,
                "n_symbols, n_features, lookback, wait, n_seeds and n_outputs must be at least 1.");
        require(!stepper_ || (stepper_->n_symbols() == n_symbols && stepper_->n_outputs() == n_features),
                "The stepper must be of the same symbols and features.");
        row_.resize(std::size_t(symbols_) * features_);
        ring_.resize(row_.size() * rows_kept_);
        run_.resize(symbols_);
        good_.resize(symbols_);
        ready_.resize(symbols_);
        said_.resize(std::size_t(n_seeds) * symbols_ * outputs_);
    }

    void add(int seed, std::shared_ptr<Served> net, double center, double scale) {
        const ServedShape& shape = net->shape();
        require(seed >= 0 && seed < static_cast<int>(members_.size()), "seed lies outside the ticker.");
        for (int column : shape.columns)
            require(column >= 0 && column < symbols_, "The network serves column " + std::to_string(column) +
                                                          " of a row of " + std::to_string(symbols_) + " symbols.");
        require(shape.network.inputs == features_ && shape.network.outputs == outputs_ &&
                    shape.carry == (rows_kept_ == 0) && (shape.carry || shape.network.lookback == rows_kept_),
                "The network has other inputs, outputs, lookback or context than the ticker.");
        settle_work_ += net->work();
        answer_work_ += net->work() / std::max(rows_kept_, 1);
        members_[seed].push_back({std::move(net), center, scale});
    }

    // One symbol's row, a number or several; the forecast.
    double tick(nb::handle x) {
        if (symbols_ != 1 || raw_)
            raise_error("InputError", "tick serves one forecast of one symbol, and a row is of " +
                                          std::to_string(symbols_) + ". Use step.");
        Guard guard(*this);
        if (PyFloat_Check(x.ptr()) && inputs_ == 1) {
            const double value = PyFloat_AS_DOUBLE(x.ptr());
            push(&value, nullptr, true);
        } else {
            with_row(x, [&](const double* row) { push(row, nullptr, true); });
        }
        double out;
        write(&out);
        return out;
    }

    // A row (inputs, symbols), the states of its cells or None; the forecasts go into `out`.
    void step(nb::handle x, nb::handle state, nb::handle out) {
        Guard guard(*this);
        View to(out, true);
        const std::size_t wanted = raw_ ? said_.size() : symbols_;
        if (!to.holds("d") || to.size() != wanted)
            raise_error("InputError", "out must be a C-ordered writeable float64 array of " + std::to_string(wanted) +
                                          " numbers.");
        View cells(state);
        const uint8_t* broken = nullptr;
        if (!state.is_none()) {
            if (!cells.holds_bytes() || cells.size() != std::size_t(symbols_))
                raise_error("InputError", "state must be an int8 array of " + std::to_string(symbols_) + " cells.");
            broken = cells.as<const uint8_t>();
        }
        with_row(x, [&](const double* row) {
            released(pending_ ? settle_work_ : answer_work_, [&] {
                push(row, broken, true);
                write(to.as<double>());
            });
        });
    }

    void settle() {
        Guard guard(*this);
        released(pending_ ? settle_work_ : 0, [&] { settle_now(); });
    }

    // Rows of features (n, symbols, features), without answers: NaN where a window breaks.
    void feed(nb::handle rows_) {
        const auto rows = to_array<double>(rows_, "rows");
        const std::vector<std::size_t> found = shape_of(rows);
        require(found.size() == 3 && found[1] == std::size_t(symbols_) && found[2] == std::size_t(features_),
                "rows must have shape (n, " + std::to_string(symbols_) + ", " + std::to_string(features_) + "), was " +
                    show_shape(found) + ".");
        Guard guard(*this);
        released(settle_work_, [&] {
            for (std::size_t i = 0; i < found[0]; ++i) {
                if (pending_) settle_now();
                std::copy_n(rows.data() + i * row_.size(), row_.size(), row_.begin());
                take(nullptr, false);
            }
            if (pending_) settle_now();
        });
    }

    nb::object rows() {
        Guard guard(*this);
        const std::size_t n = static_cast<std::size_t>(std::min<int64_t>(time_, rows_kept_)), size = row_.size();
        std::vector<double> out(n * size);
        for (std::size_t i = 0; i < n; ++i)
            std::copy_n(ring_.begin() + (time_ - n + i) % rows_kept_ * size, size, out.begin() + i * size);
        return to_numpy(out.data(), {n, std::size_t(symbols_), std::size_t(features_)});
    }

    void reset() {
        Guard guard(*this);
        time_ = 0;
        pending_ = false;
        std::fill(run_.begin(), run_.end(), 0);
        for (auto& seed : members_)
            for (Member& member : seed) member.net->reset();
    }

    // Carry mode: good rows in a row of each symbol, then the states of every network.
    nb::object carried() {
        Guard guard(*this);
        if (pending_) settle_now();
        std::vector<double> out(carried_size());
        double* to = std::copy(run_.begin(), run_.end(), out.data());
        for (auto& seed : members_)
            for (Member& member : seed) {
                member.net->read_carried(to);
                to += member.net->carried_size();
            }
        return to_numpy(out.data(), {out.size()});
    }

    void set_carried(nb::handle values_) {
        const auto values = to_array<double>(values_, "carried");
        require(values.size() == carried_size(), "carried must hold " + std::to_string(carried_size()) +
                                                     " numbers, was " + std::to_string(values.size()) + ".");
        require_finite(values.data(), values.size(), "carried");
        reset();
        Guard guard(*this);
        const double* from = values.data();
        for (int& run : run_) run = static_cast<int>(std::clamp(*from++, 0.0, double(wait_)));
        for (auto& seed : members_)
            for (Member& member : seed) {
                member.net->write_carried(from);
                from += member.net->carried_size();
            }
    }

private:
    // One call at a time, other interpreter threads running on while it waits.
    struct Guard {
        explicit Guard(Ticker& ticker) : lock(ticker.mutex_, std::try_to_lock) {
            if (lock.owns_lock()) return;
            nb::gil_scoped_release release;
            lock.lock();
        }
        std::unique_lock<std::mutex> lock;
    };

    // Run with the interpreter released where the work is worth it.
    template <class F>
    void released(double work, F&& f) {
        if (work < worth_releasing) return f();
        nb::gil_scoped_release release;
        f();
    }

    // Rows are (inputs, symbols) when they go through the stepper, (symbols, features) when they are features already.
    template <class Array>
    bool fits(const Array& row) const {
        const std::size_t first = stepper_ ? inputs_ : symbols_, second = stepper_ ? symbols_ : inputs_;
        if (row.ndim() == 2) return row.shape(0) == first && row.shape(1) == second;
        return row.ndim() == 1 && row.size() == first * second && (first == 1 || second == 1);
    }

    template <class F>
    void with_row(nb::handle x, F&& f) {
        const View view(x);
        if (view.holds("d") && fits(view)) return f(view.as<const double>());
        const auto row = to_array<double>(x, "A row");
        const bool one_number = row.ndim() == 0 && inputs_ == 1 && symbols_ == 1;
        require(one_number || fits(row), "A row must hold " + std::to_string(inputs_) + " inputs of " +
                                             std::to_string(symbols_) + " symbols, was of shape " +
                                             show_shape(shape_of(row)) + ".");
        f(row.data());
    }

    void push(const double* row, const uint8_t* state, bool answers) {
        if (pending_) settle_now();
        if (stepper_)
            stepper_->step(row, row_.data());
        else
            std::copy_n(row, row_.size(), row_.begin());
        take(state, answers);
    }

    // Take the features in `row_`.
    void take(const uint8_t* state, bool answers) {
        constexpr uint8_t missing = 1, halted = 2;  // bars.State
        for (int s = 0; s < symbols_; ++s) {
            double* x = row_.data() + std::size_t(s) * features_;
            bool good = !state || (state[s] != missing && state[s] != halted);
            for (int f = 0; f < features_; ++f) good = good && std::isfinite(x[f]);
            if (!good) std::fill_n(x, features_, not_a_number);
            run_[s] = good ? std::min(run_[s] + 1, wait_) : 0;
            good_[s] = good;
            ready_[s] = answers && run_[s] == wait_;
        }
        if (rows_kept_) std::copy(row_.begin(), row_.end(), ring_.begin() + time_ % rows_kept_ * row_.size());
        std::fill(said_.begin(), said_.end(), not_a_number);
        for (std::size_t seed = 0; seed < members_.size(); ++seed)
            for (Member& member : members_[seed])
                member.net->answer(row_.data(), good_.data(), ready_.data(),
                                   said_.data() + seed * symbols_ * outputs_);
        ++time_;
        pending_ = true;
    }

    void write(double* out) {
        if (raw_) {
            std::copy(said_.begin(), said_.end(), out);
            return;
        }
        std::fill_n(out, symbols_, 0.0);
        for (std::size_t seed = 0; seed < members_.size(); ++seed)
            for (const Member& member : members_[seed])
                for (int s : member.net->shape().columns) {
                    const double value = said_[(seed * symbols_ + s) * outputs_] * member.scale + member.center;
                    out[s] += floor_ && value < 0 ? 0.0 : value;
                }
        for (int s = 0; s < symbols_; ++s) out[s] /= static_cast<double>(members_.size());
    }

    void settle_now() {
        if (!pending_) return;
        for (auto& seed : members_)
            for (Member& member : seed) member.net->settle();
        pending_ = false;
    }

    std::size_t carried_size() const {
        std::size_t n = run_.size();
        for (const auto& seed : members_)
            for (const Member& member : seed) n += member.net->carried_size();
        return n;
    }

    nb::object stepper_object_;  // keeps the stepper alive
    features::Stepper* stepper_;
    int symbols_, features_, inputs_, rows_kept_, wait_, outputs_;
    bool raw_, floor_, pending_ = false;
    std::vector<std::vector<Member>> members_;  // by seed
    double settle_work_ = 0, answer_work_ = 0;
    int64_t time_ = 0;
    std::vector<double> row_, ring_, said_;  // features of a row; rows kept; raw outputs [seed][symbol][output]
    std::vector<int> run_;                   // good rows in a row, at most `wait_`
    std::vector<uint8_t> good_, ready_;
    std::mutex mutex_;
};

}  // namespace
}  // namespace longshort

void bind_ticker(nb::module_& m) {
    using longshort::Ticker;
    nb::class_<longshort::Served>(m, "Served", "One network's live states; made by a trainer's `serve`.");
    nb::class_<Ticker>(m, "Ticker", "Raw rows in, forecasts out; see ticker.hpp.")
        .def(nb::init<nb::object, int, int, int, int, bool, int, int, bool, bool>(), "stepper"_a.none(), "n_symbols"_a,
             "n_features"_a, "lookback"_a, "wait"_a, "carry"_a = false, "n_seeds"_a = 1, "n_outputs"_a = 1,
             "raw"_a = false, "floor"_a = false)
        .def("add", &Ticker::add, "seed"_a, "net"_a, "center"_a = 0.0, "scale"_a = 1.0)
        .def("tick", &Ticker::tick, "x"_a, "The forecast after one more row of one symbol, NaN without a full window.")
        .def("step", &Ticker::step, "row"_a, "state"_a.none(), "out"_a)
        .def("settle", &Ticker::settle, "Do now what the next row would have to wait for.")
        .def("feed", &Ticker::feed, "rows"_a)
        .def("rows", &Ticker::rows)
        .def("reset", &Ticker::reset)
        .def("carried", &Ticker::carried)
        .def("set_carried", &Ticker::set_carried, "values"_a);
}
