// The arithmetic of accounts and decisions: one call for all symbols where numpy needs several, which is most of what a
// row of a few symbols costs. Each function has the bits of the numpy formula that its documentation gives.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "python.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace longshort {
namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double micro = 1e6;
constexpr double most_micro = 4611686018427387904.0;  // 2**62, as in units.py
constexpr double hair = 1e-12;                        // as in units.py

bool is_int64(const View& view) { return view.holds("l") || view.holds("q"); }

// One number of each symbol to read: the object's own memory, or a copy where that is of another type or layout.
class Column {
public:
    Column(nb::handle object, const char* what) : view_(object) {
        if (view_.holds("d") && view_.ndim() == 1) {
            values_ = view_.as<double>();
            size_ = view_.size();
        } else {
            copy_ = to_array<double>(object, what);
            values_ = copy_.data();
            size_ = copy_.ndim() == 1 ? copy_.size() : 0;
        }
    }
    Column(nb::handle object, const char* what, std::size_t n) : Column(object, what) {
        if (size_ != n)
            raise_error("InputError", std::string(what) + " must have one number for each of " + std::to_string(n) +
                                          " symbols, had " + std::to_string(size_) + ".");
    }
    std::size_t size() const { return size_; }
    double operator[](std::size_t j) const { return values_[j]; }

private:
    View view_;
    nb::ndarray<const double, nb::c_contig, nb::device::cpu> copy_;
    const double* values_;
    std::size_t size_;
};

// Memory that is ours: an array of the account or the trader that is changed in place, or about to be handed out.
template <class X>
class Own {
public:
    Own(nb::handle object, bool writeable) : view_(object, writeable) {
        const bool right = std::is_same_v<X, double> ? view_.holds("d") : is_int64(view_);
        if (!right || view_.ndim() != 1) raise_error("InputError", "An array of another type or layout was given.");
    }
    std::size_t size() const { return view_.size(); }
    X& operator[](std::size_t j) const { return view_.template as<X>()[j]; }

private:
    View view_;
};

void take_prices(nb::handle prices, nb::handle close) {
    const Own<double> mark(prices, true);
    const Column now(close, "close", mark.size());
    for (std::size_t j = 0; j < mark.size(); ++j)
        if (now[j] > 0 && std::isfinite(now[j])) mark[j] = now[j];
}

nb::tuple worth(nb::handle lots, nb::handle sizes, nb::handle prices, nb::handle values) {
    const Own<int64_t> held(lots, false);
    const std::size_t n = held.size();
    const Column size(sizes, "sizes", n), price(prices, "prices", n);
    const Own<double> value(values, true);
    require(value.size() == n, "values must have room for every symbol.");
    double gross = 0;
    bool plain = true;
    for (std::size_t j = 0; j < n; ++j) {
        plain = plain && size[j] == 1.0;
        value[j] = static_cast<double>(held[j]) * size[j] * price[j];
        gross += std::abs(value[j]);
    }
    if (!plain || !(gross < most_micro / micro)) return nb::make_tuple(gross, nb::none());
    int64_t sum = 0;
    for (std::size_t j = 0; j < n; ++j)
        if (held[j]) sum += held[j] * static_cast<int64_t>(std::nearbyint(price[j] * micro));
    return nb::make_tuple(gross, sum);
}

void lots_toward(nb::handle weights, double equity, nb::handle prices, nb::handle sizes, nb::handle lots,
                 nb::handle state, nb::handle change) {
    const Own<double> out(change, true);
    const std::size_t n = out.size();
    const Column weight(weights, "weights", n), price(prices, "prices", n), size(sizes, "sizes", n);
    const Own<int64_t> held(lots, false);
    const View cell(state);
    require(held.size() == n && cell.holds_bytes() && cell.size() == n, "lots and state must be of every symbol.");
    for (std::size_t j = 0; j < n; ++j)
        out[j] = cell.as<uint8_t>()[j] ? not_a_number
                                       : std::trunc(weight[j] * equity / (price[j] * size[j]) * (1.0 + hair)) -
                                             static_cast<double>(held[j]);
}

nb::list where_some(nb::handle change) {
    const Own<double> lots(change, false);
    nb::list found;
    for (std::size_t j = 0; j < lots.size(); ++j)
        if (std::abs(lots[j]) >= 1.0 && std::isfinite(lots[j])) found.append(j);
    return found;
}

template <class Test>
bool any(nb::handle values, Test test) {
    const Column column(values, "values");
    for (std::size_t j = 0; j < column.size(); ++j)
        if (test(column[j])) return true;
    return false;
}

}  // namespace
}  // namespace longshort

void bind_holdings(nb::module_& m) {
    using namespace longshort;
    m.def("take_prices", &take_prices, "prices"_a, "close"_a,
          "Put what is finite and above zero of `close` in place of `prices`.");
    m.def("worth", &worth, "lots"_a, "sizes"_a, "prices"_a, "values"_a,
          "Write lots * sizes * prices to `values`; return their gross sum, from first to last, and the net sum in\n"
          "millionths, lots @ rint(prices * 1e6), where every size is 1 and the gross sum within the ledger, else None.");
    m.def("lots_toward", &lots_toward, "weights"_a, "equity"_a, "prices"_a, "sizes"_a, "lots"_a, "state"_a, "change"_a,
          "Write steps_of(weights * equity / (prices * sizes), 1.0) - lots to `change`, NaN where `state` is not 0 (OK).");
    m.def("where_some", &where_some, "change"_a, "Return the columns of at least one lot: 1 <= abs(change) < inf.");
    m.def("any_nan", [](nb::handle v) { return any(v, [](double x) { return x != x; }); }, "values"_a,
          "Return whether any number is NaN.");
    m.def("all_finite", [](nb::handle v) { return !any(v, [](double x) { return !std::isfinite(x); }); }, "values"_a,
          "Return whether every number is finite.");
}
