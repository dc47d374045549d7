#include "program.hpp"

#include <algorithm>
#include <new>

#include "lanes.hpp"

namespace features {
using namespace lanes;

namespace {

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
    for (int64_t i = 0; i < width; i++) {
        double f = factor[i], c = last[i];
        if (c == c) {
            double ratio = split[i], cash = dividend ? dividend[i] : 0.0;
            if (ratio > 0 && ratio != 1) {
                f *= ratio;
                c /= ratio;
            }
            if (cash > 0 && cash < c) f *= c / (c - cash);
        }
        factor[i] = out[i] = f;
        last[i] = close[i] == close[i] ? close[i] : last[i];
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
    for (int64_t i = 0; i < width; i += LANES) *(vec*)(out + i) = f(*(const vec*)(a + i));
}
template <class F>
inline void map(int64_t width, double* out, const double* a, const double* b, F f) {
    for (int64_t i = 0; i < width; i += LANES) *(vec*)(out + i) = f(*(const vec*)(a + i), *(const vec*)(b + i));
}

// Mean of the first `seed` values after `skip` ignored ones, then v += alpha (x - v). A missing value starts it anew.
void exponential_mean(int64_t width, double* out, const double* x, double* count, double* value, const double* p) {
    const double alpha = p[0], seed = p[1], skip = p[2], share = 1.0 / seed;
    for (int64_t i = 0; i < width; i += LANES) {
        vec now = *(const vec*)(x + i), n = *(vec*)(count + i), v = *(vec*)(value + i);
        n = smaller(n + all(1.0), all(skip + seed + 1.0));
        ivec running = (ivec)(n > all(skip + seed)), seeding = (ivec)(n > all(skip)) & ~running;
        ivec seeded = (ivec)(n == all(skip + seed));
        vec sum = v + now;
        sum = select(seeded, sum * all(share), sum);
        v = select(running, v + all(alpha) * (now - v), select(seeding, sum, v));
        ivec good = finite(now) & finite(v);
        *(vec*)(count + i) = select(good, n, all(0.0));
        *(vec*)(value + i) = select(good, v, all(0.0));
        *(vec*)(out + i) = or_nan(good & (running | seeded), v);
    }
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
        int64_t length = 1;
        while (length <= longest[i]) length *= 2;
        code[i].ring = rows;
        code[i].mask = length - 1;
        code[i].state = rows + length;
        rows += length + n_state_rows(code[i].op);
    }
}

State::State(std::shared_ptr<const Program> program, int64_t first, int64_t count)
    : program_(std::move(program)), first_(first), count_(count), width_((count + 7) / 8 * 8),
      memory_(static_cast<double*>(::operator new[](size_t(size() * 8 + 64), std::align_val_t(64)))) {
    reset();
}

void State::reset() {
    time = 0;
    std::fill(memory(), memory() + size(), NaN);
    for (const Instruction& node : program_->code) {
        double* state = memory() + node.state * width_;
        double* ring = memory() + node.ring * width_;
        if (node.op == CONSTANT) std::fill(ring, ring + (node.mask + 1) * width_, node.p[0]);
        if (node.op == PRICE_FACTOR || node.op == SHARE_FACTOR) std::fill(state, state + width_, 1.0);
        if (node.op == EXPONENTIAL_MEAN) std::fill(state, state + 2 * width_, 0.0);
        if (node.op == SETTLE) std::fill(state, state + width_, 0.0);
        if (node.op == FILL_FORWARD) std::fill(state, state + width_, 0.0);
    }
}

void State::step(const Column* columns, int64_t bar) {
    const int64_t width = width_;
    for (size_t index = 0; index < program_->code.size(); index++) {
        const Instruction& node = program_->code[index];
        if (node.op == CONSTANT) continue;
        double* out = row({int32_t(index), 0});
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
                    std::memcpy(out, from + first_, size_t(count_) * 8);
                    map(width, out, out, [](vec x) { return or_nan(finite(x), x); });
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
                    vec test = *(const vec*)(a + i);
                    vec chosen = select((ivec)(test != all(0.0)), *(const vec*)(b + i), *(const vec*)(c + i));
                    *(vec*)(out + i) = or_nan(number(test), chosen);
                }
                break;
            }
            case IS_MISSING: map(width, out, a, [](vec x) { return ones_where(~number(x)); }); break;
            case MERGE_MEAN: map(width, out, a, b, [p](vec x, vec y) { return x + (y - x) * all(p[0]); }); break;
            case PAIR_COVARIANCE: {
                const double *ya = row(node.in[2]), *yb = row(node.in[3]);
                for (int64_t i = 0; i < width; i += LANES)
                    *(vec*)(out + i) = (*(const vec*)(a + i) - *(const vec*)(b + i)) *
                                       (*(const vec*)(ya + i) - *(const vec*)(yb + i)) * all(p[0]);
                break;
            }
            case MERGE_COVARIANCE: {
                const double *xa = row(node.in[2]), *xb = row(node.in[3]), *ya = row(node.in[4]), *yb = row(node.in[5]);
                for (int64_t i = 0; i < width; i += LANES)
                    *(vec*)(out + i) = (*(const vec*)(a + i) + *(const vec*)(b + i)) +
                                       (*(const vec*)(xa + i) - *(const vec*)(xb + i)) *
                                           (*(const vec*)(ya + i) - *(const vec*)(yb + i)) * all(p[0]);
                break;
            }
            case EXPONENTIAL_MEAN: exponential_mean(width, out, a, state, state + width, p); break;
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
            case SETTLE:  // a value after p[0] good ones in a row
                for (int64_t i = 0; i < width; i += LANES) {
                    vec x = *(const vec*)(a + i), n = *(vec*)(state + i);
                    n = select(finite(x), smaller(n + all(1.0), all(p[0] + 1.0)), all(0.0));
                    *(vec*)(state + i) = n;
                    *(vec*)(out + i) = or_nan((ivec)(n > all(p[0])), x);
                }
                break;
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
            double* to = out + ((bar - out_from) * n_symbols + first_) * n_outputs;
            for (int64_t symbol = 0; symbol < count_; symbol++)
                for (int64_t k = 0; k < n_outputs; k++) *to++ = rows[size_t(k)][symbol];
        }
        time++;
    }
}

}  // namespace features
