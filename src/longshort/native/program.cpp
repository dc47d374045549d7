#include "program.hpp"

#include <algorithm>
#include <new>

#include "lanes.hpp"

namespace features {
using namespace lanes;

namespace {

inline vec& at(double* row, int64_t i) { return *(vec*)(row + i); }
inline const vec& at(const double* row, int64_t i) { return *(const vec*)(row + i); }

int n_operands(Op op) {
    switch (op) {
        case FETCH: case CONSTANT: return 0;
        case ADD: case SUBTRACT: case MULTIPLY: case DIVIDE: case MINIMUM: case MAXIMUM: case LESS: case LESS_EQUAL:
        case EQUAL: case MERGE_MEAN: case SHARE_FACTOR: return 2;
        case WHERE: case PRICE_FACTOR: return 3;
        case PAIR_COVARIANCE: return 4;
        case MERGE_COVARIANCE: return 6;
        default: return 1;
    }
}

int n_state_rows(Op op) {
    switch (op) {
        case EXPONENTIAL_MEAN: case PRICE_FACTOR: case SHARE_FACTOR: case FILL_FORWARD: return 2;
        case SETTLE: return 1;
        default: return 0;
    }
}

// The adjustment factors. They start at 1 with the first close; a split multiplies by its ratio, a cash dividend by
// C / (C - D), where C is the last raw close in today's shares. An action before any close changes nothing.
void price_factor(int64_t width, double* out, const double* close, const double* split, const double* dividend,
                  double* factor, double* last) {
    ivec acted{};
    for (int64_t i = 0; i < width; i += LANES) {
        acted |= (ivec)(at(split, i) != all(1.0));
        if (dividend) acted |= (ivec)(at(dividend, i) > all(0.0));
    }
    if (any(acted)) {
        for (int64_t i = 0; i < width; i++) {
            double c = last[i], ratio = split[i], cash = dividend ? dividend[i] : 0.0;
            if (c != c) continue;
            if (ratio > 0 && ratio != 1) {
                factor[i] *= ratio;
                c /= ratio;
            }
            if (cash > 0 && cash < c) factor[i] *= c / (c - cash);
        }
    }
    for (int64_t i = 0; i < width; i += LANES) {
        at(out, i) = at(factor, i);
        at(last, i) = select(number(at(close, i)), at(close, i), at(last, i));
    }
}

// Proleptic Gregorian calendar from days since 1970-01-01, in years that begin in March.
struct Date {
    int64_t year, month, day, days_in_month;
};
Date date_of(int64_t days) {
    int64_t z = days + 719468;  // since 0000-03-01
    int64_t era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t m = (5 * of_year + 2) / 153, day = of_year - (153 * m + 2) / 5 + 1;
    int64_t month = m < 10 ? m + 3 : m - 9;
    int64_t y = year + era * 400 + (month <= 2);
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return {y, month, day, month == 2 && leap ? 29 : lengths[month - 1]};
}

double date_part(double days, int part) {
    if (!(days > -1e8 && days < 1e8)) return NaN;
    Date date = date_of(int64_t(days));
    switch (part) {
        case 0: return double(date.month);
        case 1: return double(date.day);
        case 2: return double(date.days_in_month - date.day);
        default: return double(date.year);
    }
}

void rank(int64_t n, int64_t width, double* out, const double* x, std::vector<int32_t>& order) {
    order.clear();
    for (int64_t i = 0; i < n; i++)
        if (x[i] == x[i]) order.push_back(int32_t(i));
    for (int64_t i = 0; i < width; i++) out[i] = NaN;
    std::sort(order.begin(), order.end(), [x](int32_t a, int32_t b) { return x[a] < x[b]; });
    size_t total = order.size();
    for (size_t i = 0, j = 0; i < total; i = j) {
        while (j < total && x[order[j]] == x[order[i]]) j++;
        double shared = (0.5 * double(i + j)) / double(total);
        for (size_t k = i; k < j; k++) out[order[k]] = shared;
    }
}

void zscore(int64_t n, int64_t width, double* out, const double* x) {
    double sum = 0, squares = 0, count = 0, low = 0, high = 0;
    for (int64_t i = 0; i < n; i++)
        if (x[i] == x[i]) {
            low = count ? std::min(low, x[i]) : x[i];
            high = count ? std::max(high, x[i]) : x[i];
            sum += x[i];
            count++;
        }
    double mean = sum / count;
    for (int64_t i = 0; i < n; i++)
        if (x[i] == x[i]) squares += (x[i] - mean) * (x[i] - mean);
    double scale = __builtin_sqrt(squares / count);
    bool spread = low < high && scale > 0;
    for (int64_t i = 0; i < width; i++) out[i] = i < n && x[i] == x[i] ? (spread ? (x[i] - mean) / scale : 0.0) : NaN;
}

template <class F>
inline void map(int64_t width, double* out, const double* a, F f) {
    for (int64_t i = 0; i < width; i += LANES) at(out, i) = f(at(a, i));
}
template <class F>
inline void map(int64_t width, double* out, const double* a, const double* b, F f) {
    for (int64_t i = 0; i < width; i += LANES) at(out, i) = f(at(a, i), at(b, i));
}

// Mean of the first `seed` values after `skip` ignored ones, then v += alpha (x - v). A missing value starts it anew.
void exponential_mean(int64_t width, double* out, const double* x, double* count, double* value, const double* p,
                      uint8_t& steady) {
    const double alpha = p[0], seed = p[1], skip = p[2], share = 1.0 / seed;
    if (steady) {  // all symbols run: the same arithmetic without the bookkeeping
        ivec bad{};
        for (int64_t i = 0; i < width; i += LANES) {
            vec v = at(value, i) + all(alpha) * (at(x, i) - at(value, i));
            bad |= ~finite(v);
            at(out, i) = v;
        }
        if (!any(bad)) {
            std::memcpy(value, out, size_t(width) * 8);
            return;
        }
    }
    ivec waiting{};
    for (int64_t i = 0; i < width; i += LANES) {
        vec now = at(x, i), n = at(count, i), v = at(value, i);
        n = smaller(n + all(1.0), all(skip + seed + 1.0));
        ivec running = (ivec)(n > all(skip + seed)), seeding = (ivec)(n > all(skip)) & ~running;
        ivec seeded = (ivec)(n == all(skip + seed));
        vec sum = v + now;
        sum = select(seeded, sum * all(share), sum);
        v = select(running, v + all(alpha) * (now - v), select(seeding, sum, v));
        ivec good = finite(now) & finite(v);
        at(count, i) = select(good, n, all(0.0));
        at(value, i) = select(good, v, all(0.0));
        at(out, i) = or_nan(good & (running | seeded), v);
        waiting |= ~(good & (running | seeded));
    }
    steady = !any(waiting);
}

// A value after `wait` good ones in a row.
void settle(int64_t width, double* out, const double* x, double* count, double wait, uint8_t& steady) {
    if (steady) {
        ivec bad{};
        for (int64_t i = 0; i < width; i += LANES) {
            bad |= ~finite(at(x, i));
            at(out, i) = at(x, i);
        }
        if (!any(bad)) return;
    }
    ivec waiting{};
    for (int64_t i = 0; i < width; i += LANES) {
        vec n = select(finite(at(x, i)), smaller(at(count, i) + all(1.0), all(wait + 1.0)), all(0.0));
        at(count, i) = n;
        at(out, i) = or_nan((ivec)(n > all(wait)), at(x, i));
        waiting |= ~(ivec)(n > all(wait));
    }
    steady = !any(waiting);
}

// Rows of outputs, one number a symbol, to rows of symbols, one number an output.
void write(double* to, const double* const* rows, int64_t n_symbols, int64_t n_outputs) {
    int64_t k = 0;
    for (; k + LANES <= n_outputs; k += LANES) {
        int64_t symbol = 0;
        for (; symbol + LANES <= n_symbols; symbol += LANES) {
            vec tile[LANES];
            for (int i = 0; i < LANES; i++) tile[i] = at(rows[k + i], symbol);
            transpose(tile);
            for (int i = 0; i < LANES; i++) std::memcpy(to + (symbol + i) * n_outputs + k, &tile[i], sizeof(vec));
        }
        for (; symbol < n_symbols; symbol++)
            for (int i = 0; i < LANES; i++) to[symbol * n_outputs + k + i] = rows[k + i][symbol];
    }
    for (; k < n_outputs; k++)
        for (int64_t symbol = 0; symbol < n_symbols; symbol++) to[symbol * n_outputs + k] = rows[k][symbol];
}

}  // namespace

Program::Program(const int32_t* ops, const int32_t* operands, const double* parameters, int64_t n, const int32_t* outs,
                 int64_t n_outs, int inputs)
    : n_inputs(inputs) {
    std::vector<int64_t> longest(n, 0);
    auto check = [&](int64_t node, int64_t lag, int64_t before) {
        if (node < 0 || node >= before || lag < 0 || lag > (int64_t(1) << 30))
            throw std::invalid_argument("feature program: an operand must be an earlier instruction with a lag >= 0");
        longest[node] = std::max(longest[node], lag);
    };
    for (int64_t i = 0; i < n; i++) {
        if (ops[i] < 0 || ops[i] >= N_OPS) throw std::invalid_argument("feature program: unknown instruction");
        Instruction instruction{};
        instruction.op = Op(ops[i]);
        for (int k = 0; k < MAX_PARAMETERS; k++) instruction.p[k] = parameters[i * MAX_PARAMETERS + k];
        for (int k = 0; k < n_operands(instruction.op); k++) {
            const int32_t* pair = operands + (i * MAX_OPERANDS + k) * 2;
            check(pair[0], pair[1], i);
            instruction.in[k] = {pair[0], pair[1]};
        }
        if (instruction.op == FETCH && !(instruction.p[0] >= 0 && instruction.p[0] < n_inputs))
            throw std::invalid_argument("feature program: unknown input");
        if (instruction.op == RANK || instruction.op == ZSCORE) crosses_symbols = true;
        code.push_back(instruction);
    }
    for (int64_t k = 0; k < n_outs; k++) {
        check(outs[2 * k], outs[2 * k + 1], n);
        outputs.push_back({outs[2 * k], outs[2 * k + 1]});
    }
    for (int64_t i = 0; i < n; i++) {
        lengths.push_back(int32_t(longest[i] + 1));
        code[i].ring = rows;
        code[i].state = rows + lengths.back();
        rows += lengths.back() + n_state_rows(code[i].op);
    }
}

State::State(std::shared_ptr<const Program> program, int64_t first, int64_t count)
    : program_(std::move(program)), first_(first), count_(count), width_((count + 7) / 8 * 8),
      memory_(static_cast<double*>(::operator new[](size_t(size() * 8 + 64), std::align_val_t(64)))) {
    reset();
}

void State::reset() {
    set_time(0);
    std::fill(memory(), memory() + size(), NaN);
    for (size_t i = 0; i < program_->code.size(); i++) {
        const Instruction& node = program_->code[i];
        double* state = memory() + node.state * width_;
        double* ring = memory() + node.ring * width_;
        if (node.op == CONSTANT) std::fill(ring, ring + program_->lengths[i] * width_, node.p[0]);
        if (node.op == PRICE_FACTOR || node.op == SHARE_FACTOR) std::fill(state, state + width_, 1.0);
        if (node.op == EXPONENTIAL_MEAN) std::fill(state, state + 2 * width_, 0.0);
        if (node.op == SETTLE) std::fill(state, state + width_, 0.0);
        if (node.op == FILL_FORWARD) std::fill(state, state + width_, 0.0);
    }
}

void State::set_time(int64_t time) {
    time_ = time;
    rings_.resize(program_->code.size());
    steady_.assign(program_->code.size(), 0);
    for (size_t i = 0; i < rings_.size(); i++) {
        double* begin = memory() + program_->code[i].ring * width_;
        rings_[i] = {begin, begin + program_->lengths[i] * width_, begin + time % program_->lengths[i] * width_};
    }
}

void State::step(const Column* columns, int64_t bar) {
    const int64_t width = width_;
    for (size_t index = 0; index < program_->code.size(); index++) {
        const Instruction& node = program_->code[index];
        if (node.op == CONSTANT) continue;
        double* out = rings_[index].now;
        double* state = memory() + node.state * width;
        const double* p = node.p;
        const double* a = node.in[0].node >= 0 ? row(node.in[0]) : nullptr;
        const double* b = node.in[1].node >= 0 ? row(node.in[1]) : nullptr;
        switch (node.op) {
            case FETCH: {
                const Column& column = columns[int(p[0])];
                const double* from = column.data + bar * column.bar_stride;
                const bool one = p[1] >= 0 || column.symbol_stride == 0;
                if (one) {
                    double value = from[p[1] >= 0 ? int64_t(p[1]) * column.symbol_stride : 0];
                    std::fill(out, out + width, value - value == 0 ? value : NaN);
                } else {
                    from += first_;
                    int64_t i = 0;
                    for (vec x; i + LANES <= count_; i += LANES) {
                        std::memcpy(&x, from + i, sizeof x);
                        at(out, i) = or_nan(finite(x), x);
                    }
                    for (; i < count_; i++) out[i] = from[i] - from[i] == 0 ? from[i] : NaN;
                    for (; i < width; i++) out[i] = 1.0;  // lanes beyond the last symbol hold a quiet market
                }
                break;
            }
            case ADD: map(width, out, a, b, [](vec x, vec y) { return x + y; }); break;
            case SUBTRACT: map(width, out, a, b, [](vec x, vec y) { return x - y; }); break;
            case MULTIPLY: map(width, out, a, b, [](vec x, vec y) { return x * y; }); break;
            case DIVIDE: map(width, out, a, b, [p](vec x, vec y) { return divide(x, y, p[0]); }); break;
            case NEGATE: map(width, out, a, [](vec x) { return -x; }); break;
            case ABSOLUTE: map(width, out, a, [](vec x) { return absolute(x); }); break;
            case LOG: map(width, out, a, [](vec x) { return logarithm(x); }); break;
            case EXP: map(width, out, a, [](vec x) { return exponential(x); }); break;
            case SQRT: map(width, out, a, [](vec x) { return square_root(x); }); break;
            case FLOOR: map(width, out, a, [](vec x) { return floored(x); }); break;
            case SINE: map(width, out, a, [](vec x) { return sine(x); }); break;
            case SIGN:
                map(width, out, a, [](vec x) {
                    return or_nan(number(x), ones_where((ivec)(x > all(0.0))) - ones_where((ivec)(x < all(0.0))));
                });
                break;
            case MINIMUM: map(width, out, a, b, [](vec x, vec y) { return smaller(x, y); }); break;
            case MAXIMUM: map(width, out, a, b, [](vec x, vec y) { return larger(x, y); }); break;
            case LESS:
                map(width, out, a, b, [](vec x, vec y) { return or_nan(number(x) & number(y), ones_where((ivec)(x < y))); });
                break;
            case LESS_EQUAL:
                map(width, out, a, b, [](vec x, vec y) { return or_nan(number(x) & number(y), ones_where((ivec)(x <= y))); });
                break;
            case EQUAL:
                map(width, out, a, b, [](vec x, vec y) { return or_nan(number(x) & number(y), ones_where((ivec)(x == y))); });
                break;
            case WHERE: {
                const double* c = row(node.in[2]);
                for (int64_t i = 0; i < width; i += LANES) {
                    vec test = at(a, i);
                    vec chosen = select((ivec)(test != all(0.0)), at(b, i), at(c, i));
                    at(out, i) = or_nan(number(test), chosen);
                }
                break;
            }
            case IS_MISSING: map(width, out, a, [](vec x) { return ones_where(~number(x)); }); break;
            case MERGE_MEAN: map(width, out, a, b, [p](vec x, vec y) { return x + (y - x) * all(p[0]); }); break;
            case PAIR_COVARIANCE: {
                const double *ya = row(node.in[2]), *yb = row(node.in[3]);
                for (int64_t i = 0; i < width; i += LANES)
                    at(out, i) = (at(a, i) - at(b, i)) *
                                       (at(ya, i) - at(yb, i)) * all(p[0]);
                break;
            }
            case MERGE_COVARIANCE: {
                const double *xa = row(node.in[2]), *xb = row(node.in[3]), *ya = row(node.in[4]), *yb = row(node.in[5]);
                for (int64_t i = 0; i < width; i += LANES)
                    at(out, i) = (at(a, i) + at(b, i)) +
                                       (at(xa, i) - at(xb, i)) *
                                           (at(ya, i) - at(yb, i)) * all(p[0]);
                break;
            }
            case EXPONENTIAL_MEAN: exponential_mean(width, out, a, state, state + width, p, steady_[index]); break;
            case PRICE_FACTOR: price_factor(width, out, a, b, row(node.in[2]), state, state + width); break;
            case SHARE_FACTOR: price_factor(width, out, a, b, nullptr, state, state + width); break;
            case FILL_FORWARD:  // state: age of the last value, the value
                for (int64_t i = 0; i < width; i++) {
                    bool here = a[i] == a[i];
                    state[i] = here ? 0.0 : std::min(state[i] + 1.0, p[0] + 1.0);
                    if (here) state[width + i] = a[i];
                    out[i] = state[i] <= p[0] ? state[width + i] : NaN;
                }
                break;
            case FINITE: map(width, out, a, [](vec x) { return or_nan(finite(x), x); }); break;
            case SETTLE: settle(width, out, a, state, p[0], steady_[index]); break;
            case RANK: rank(count_, width, out, a, order_); break;
            case ZSCORE: zscore(count_, width, out, a); break;
            case DATE_PART:
                for (int64_t i = 0; i < width; i++)
                    out[i] = i > 0 && a[i] == a[i - 1] ? out[i - 1] : date_part(a[i], int(p[0]));
                break;
            default: break;
        }
    }
}

void State::run(const Column* columns, int64_t begin, int64_t end, int64_t n_symbols, double* out, int64_t out_from) {
    const int64_t n_outputs = int64_t(program_->outputs.size());
    std::vector<const double*> rows(static_cast<size_t>(n_outputs));
    for (int64_t bar = begin; bar < end; bar++) {
        step(columns, bar);
        if (out && bar >= out_from) {
            for (int64_t k = 0; k < n_outputs; k++) rows[size_t(k)] = row(program_->outputs[size_t(k)]);
            write(out + ((bar - out_from) * n_symbols + first_) * n_outputs, rows.data(), count_, n_outputs);
        }
        time_++;
        for (Ring& ring : rings_) {
            ring.now += width_;
            if (ring.now == ring.end) ring.now = ring.begin;
        }
    }
}

}  // namespace features
