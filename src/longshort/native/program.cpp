#include "program.hpp"

#include <algorithm>
#include <new>
#include <type_traits>

#include "lanes.hpp"

namespace features {
using namespace lanes;

namespace {

inline vec& at(double* row, int64_t i) { return *(vec*)(row + i); }
inline const vec& at(const double* row, int64_t i) { return *(const vec*)(row + i); }

inline double finite_or_nan(double x) { return x - x == 0 ? x : NaN; }

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
                  double* factor, double* last, bool quiet) {
    ivec acted{};
    for (int64_t i = 0; !quiet && i < width; i += LANES) {
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
    const double alpha = p[0];
    const double seed = p[1], skip = p[2], share = 1.0 / seed;
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

// The last value before a gap of at most `limit` bars.
void fill_forward(int64_t width, double* out, const double* x, double* age, double* value, double limit) {
    for (int64_t i = 0; i < width; i++) {
        bool here = x[i] == x[i];
        age[i] = here ? 0.0 : std::min(age[i] + 1.0, limit + 1.0);
        if (here) value[i] = x[i];
        out[i] = age[i] <= limit ? value[i] : NaN;
    }
}

// A value after `wait` good ones in a row.
void settle(int64_t width, double* out, const double* x, double* count, double wait, uint8_t& steady) {
    ivec waiting{};
    for (int64_t i = 0; i < width; i += LANES) {
        vec n = select(finite(at(x, i)), smaller(at(count, i) + all(1.0), all(wait + 1.0)), all(0.0));
        at(count, i) = n;
        at(out, i) = or_nan((ivec)(n > all(wait)), at(x, i));
        waiting |= ~(ivec)(n > all(wait));
    }
    steady = !any(waiting);
}

inline bool same(Operand a, Operand b) { return a.node == b.node && a.lag == b.lag; }

// f(rows, i) over all lanes i of K rows, results first, as many bars at once as lie in one piece.
template <int K, class Cursor, class F>
inline void zip(int64_t width, int64_t bars, const Cursor* from, F f) {
    Cursor at[K];
    for (int k = 0; k < K; k++) at[k] = from[k];
    for (int64_t b = 0, n; b < bars; b += n) {
        n = bars - b;
        double* rows[K];
        for (int k = 0; k < K; k++) {
            n = std::min<int64_t>(n, at[k].left);
            rows[k] = at[k].now;
        }
        for (int64_t i = 0; i < n * width; i += LANES) f(rows, i);
        for (int k = 0; k < K; k++) at[k].forward(n, width);
    }
}

// Rows of outputs, one number a symbol, to rows of symbols, one number an output. Nothing infinite leaves. With `SPILL`
// there is room for LANES numbers more behind the last.
template <bool SPILL>
void turn(double* to, const double* const* rows, int64_t n_symbols, int64_t n_outputs) {
    const int64_t whole = n_outputs / LANES * LANES;
    int64_t symbol = 0;
    auto tile = [&](int64_t k) {
        vec x[LANES];
        for (int i = 0; i < LANES; i++) {
            x[i] = at(rows[SPILL ? std::min(k + i, n_outputs - 1) : k + i], symbol);
            x[i] = or_nan(finite(x[i]), x[i]);
        }
        transpose(x);
        for (int i = 0; i < LANES; i++) std::memcpy(to + (symbol + i) * n_outputs + k, &x[i], sizeof(vec));
    };
    for (; symbol + LANES <= n_symbols; symbol += LANES) {
        // The last columns first: what they spill lies where later ones go.
        if (SPILL && whole < n_outputs) tile(whole);
        for (int64_t k = 0; k < whole; k += LANES) tile(k);
        for (int64_t k = SPILL ? n_outputs : whole; k < n_outputs; k++)
            for (int i = 0; i < LANES; i++) to[(symbol + i) * n_outputs + k] = finite_or_nan(rows[k][symbol + i]);
    }
    for (; symbol < n_symbols; symbol++)
        for (int64_t k = 0; k < n_outputs; k++) to[symbol * n_outputs + k] = finite_or_nan(rows[k][symbol]);
}

// Past the caches, in whole lines of memory; the ends, whose lines belong to others too, the ordinary way.
constexpr int64_t LINE = 64 / sizeof(double);
int64_t place_in_line(const double* p) { return int64_t(uintptr_t(p) / sizeof(double) % LINE); }
void send(double* to, const double* from, int64_t n) {
    const int64_t head = std::min(n, (LINE - place_in_line(to)) % LINE), end = head + (n - head) / LINE * LINE;
    std::memcpy(to, from, size_t(head) * sizeof(double));
    for (int64_t i = head; i < end; i += LANES) stream(to + i, at(from, i));
    std::memcpy(to + end, from + end, size_t(n - end) * sizeof(double));
}

}  // namespace

Program::Program(const int32_t* ops, const int32_t* operands, const double* parameters, int64_t n, const int32_t* outs,
                 int64_t n_outs, int inputs)
    : n_inputs(inputs) {
    longest.assign(size_t(n), 0);
    auto check = [&](int64_t node, int32_t lag, int64_t before) {
        if (node < 0 || node >= before || lag < 0 || lag > (1 << 30))
            throw std::invalid_argument("feature program: an operand must be an earlier instruction with a lag >= 0");
        longest[size_t(node)] = std::max(longest[size_t(node)], lag);
    };
    for (int64_t i = 0; i < n; i++) {
        if (ops[i] < 0 || ops[i] >= N_OPS) throw std::invalid_argument("feature program: unknown instruction");
        Instruction instruction{};
        instruction.op = Op(ops[i]);
        for (int k = 0; k < MAX_PARAMETERS; k++) instruction.p[k] = parameters[i * MAX_PARAMETERS + k];
        instruction.n_operands = n_operands(instruction.op);
        for (int k = 0; k < instruction.n_operands; k++) {
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
    pair_moments();
    find_actions();
    share_slots();
    for (size_t i = 0; i < code.size(); i++) rows += (slot[i] < 0 ? longest[i] + 1 : 0) + n_state_rows(code[i].op);
    rows += n_slots;
}

// A rolling variance reads the rows that its mean is made of. Side by side they are computed in one pass over these.
void Program::pair_moments() {
    const int32_t n = int32_t(code.size());
    std::vector<int32_t> order, place(size_t(n), -1);
    auto put = [&](int32_t i) {
        place[size_t(i)] = int32_t(order.size());
        order.push_back(i);
    };
    auto is_variance = [&](const Instruction& node, int32_t mean) {
        const int k = node.op == PAIR_COVARIANCE ? 0 : node.op == MERGE_COVARIANCE ? 2 : -1;
        const Operand* pair = code[size_t(mean)].in;
        if (k < 0 || !same(node.in[k], pair[0]) || !same(node.in[k + 1], pair[1]) || !same(node.in[k + 2], pair[0]) ||
            !same(node.in[k + 3], pair[1]))
            return false;
        return std::all_of(node.in, node.in + node.n_operands,
                           [&](Operand from) { return from.node != mean && place[size_t(from.node)] >= 0; });
    };
    for (int32_t i = 0; i < n; i++) {
        if (place[size_t(i)] >= 0) continue;
        put(i);
        for (int32_t j = i + 1; code[size_t(i)].op == MERGE_MEAN && j < n; j++) {
            if (place[size_t(j)] >= 0 || !is_variance(code[size_t(j)], i)) continue;
            code[size_t(i)].paired = true;
            put(j);
            break;
        }
    }
    std::vector<Instruction> moved;
    std::vector<int32_t> lags;
    for (int32_t i : order) {
        moved.push_back(code[size_t(i)]);
        lags.push_back(longest[size_t(i)]);
        for (int k = 0; k < moved.back().n_operands; k++) moved.back().in[k].node = place[size_t(moved.back().in[k].node)];
    }
    for (Operand& output : outputs) output.node = place[size_t(output.node)];
    code.swap(moved);
    longest.swap(lags);
}

void Program::find_actions() {
    action.assign(code.size(), 0);
    auto mark = [&](bool factors) {
        for (const Instruction& node : code) {
            const bool factor = node.op == PRICE_FACTOR || node.op == SHARE_FACTOR;
            for (int k = 0; k < node.n_operands; k++)
                if ((factor && k > 0) == factors) action[size_t(node.in[k].node)] = factors;
        }
    };
    mark(true);
    mark(false);
    for (Operand output : outputs) action[size_t(output.node)] = 0;
    for (const Instruction& node : code) {
        for (int k = 1; (node.op == PRICE_FACTOR || node.op == SHARE_FACTOR) && k < node.n_operands; k++) {
            const Instruction& from = code[size_t(node.in[k].node)];
            if (from.op == FETCH && node.in[k].lag == 0) actions.push_back({int(from.p[0]), k == 1 ? 1.0 : 0.0});
            else plain_actions = false;
        }
    }
}

void Program::check_symbols(int64_t n_symbols) const {
    for (const Instruction& node : code)
        if (node.op == FETCH && node.p[1] >= double(n_symbols))
            throw std::invalid_argument("feature program: a fetched symbol lies outside the panel");
}

// A row that nobody reads with a lag is free again after its last reader, so such rows take turns in a few slots, which
// stay in the nearest cache. An instruction never writes where one of its operands lies.
void Program::share_slots() {
    const int32_t n = int32_t(code.size());
    std::vector<int32_t> last(size_t(n), 0), unused;
    for (int32_t i = 0; i < n; i++)
        for (int k = 0; k < code[size_t(i)].n_operands; k++) last[size_t(code[size_t(i)].in[k].node)] = i;
    for (Operand output : outputs) last[size_t(output.node)] = n;
    slot.assign(size_t(n), -1);
    for (int32_t i = 0; i < n; i++) {
        const Instruction& node = code[size_t(i)];
        if (longest[size_t(i)] == 0 && node.op != CONSTANT) {
            if (unused.empty()) unused.push_back(n_slots++);
            slot[size_t(i)] = unused.back();
            unused.pop_back();
            if (last[size_t(i)] == 0) unused.push_back(slot[size_t(i)]);  // nobody reads it
        }
        if (node.paired) continue;  // both of the pair write before either's operands are free
        for (int32_t reader = i > 0 && code[size_t(i) - 1].paired ? i - 1 : i; reader <= i; reader++) {
            for (int k = 0; k < code[size_t(reader)].n_operands; k++) {
                const int32_t from = code[size_t(reader)].in[k].node;
                if (slot[size_t(from)] < 0 || last[size_t(from)] < reader || last[size_t(from)] > i) continue;
                last[size_t(from)] = -1;  // an operand may appear twice
                unused.push_back(slot[size_t(from)]);
            }
        }
    }
}

State::State(std::shared_ptr<const Program> program, int64_t first, int64_t count, int64_t chunk)
    : program_(std::move(program)), first_(first), count_(count), width_((count + 7) / 8 * 8), chunk_(chunk) {
    const size_t n = program_->code.size();
    std::vector<int64_t> waiting(n, 0);  // bars of an output that are written while the next ones are computed
    for (Operand output : program_->outputs) waiting[size_t(output.node)] = chunk > 1 ? chunk : 0;
    auto in_slot = [&](size_t i) { return program_->slot[i] >= 0 && waiting[i] == 0; };
    // A ring is a whole number of chunks long, so that a chunk is written in one piece.
    auto length = [&](size_t i) {
        return in_slot(i) ? chunk : (program_->longest[i] + waiting[i] + 2 * chunk - 1) / chunk * chunk;
    };
    outputs_.resize(program_->outputs.size());
    rows_out_.resize(program_->outputs.size());
    rows_ = program_->n_slots * chunk;
    for (size_t i = 0; i < n; i++) rows_ += (in_slot(i) ? 0 : length(i)) + n_state_rows(program_->code[i].op);
    memory_.reset(allocate(size()));
    double* next = memory() + program_->n_slots * chunk * width_;
    for (size_t i = 0; i < n; i++) {
        double* ring = in_slot(i) ? memory() + program_->slot[i] * chunk * width_ : next;
        if (!in_slot(i)) next += length(i) * width_;
        rings_.push_back({ring, ring, int32_t(length(i)), int32_t(length(i))});
        states_.push_back(next);
        next += n_state_rows(program_->code[i].op) * width_;
    }
    reset();
}

void State::reset() {
    set_time(0);
    std::fill(memory(), memory() + size(), NaN);
    for (size_t i = 0; i < program_->code.size(); i++) {
        const Instruction& node = program_->code[i];
        double* state = states_[i];
        if (node.op == CONSTANT) std::fill(rings_[i].begin, rings_[i].begin + rings_[i].length * width_, node.p[0]);
        if (node.op == PRICE_FACTOR || node.op == SHARE_FACTOR) std::fill(state, state + width_, 1.0);
        if (node.op == EXPONENTIAL_MEAN) std::fill(state, state + 2 * width_, 0.0);
        if (node.op == SETTLE || node.op == FILL_FORWARD) std::fill(state, state + width_, 0.0);
    }
}

void State::set_time(int64_t time) {
    time_ = time;
    steady_.assign(program_->code.size(), 0);
    for (Cursor& ring : rings_) {
        int64_t row = time % ring.length;
        ring.now = ring.begin + row * width_;
        ring.left = ring.length - int32_t(row);
    }
}

void State::fetch(Cursor out, const Column& column, int64_t bar, int64_t bars, int64_t symbol) const {
    for (int64_t b = bar; b < bar + bars; b++) {
        double* to = out.next(width_);
        const double* from = column.data + b * column.bar_stride;
        if (symbol >= 0 || column.symbol_stride == 0) {  // one value for all
            std::fill(to, to + width_, finite_or_nan(from[symbol >= 0 ? symbol * column.symbol_stride : 0]));
            continue;
        }
        from += first_;
        int64_t i = 0;
        for (vec x; i + LANES <= count_; i += LANES) {
            std::memcpy(&x, from + i, sizeof x);
            at(to, i) = or_nan(finite(x), x);
        }
        for (; i < count_; i++) to[i] = finite_or_nan(from[i]);
        for (; i < width_; i++) to[i] = to[count_ - 1];  // lanes beyond the last symbol repeat it, so as not to stand out
    }
}

// Bring a bar of the next chunk near: the same symbols lie far apart from bar to bar, which no hardware foresees.
// Inline, as GCC drops calls of functions that do nothing but this.
[[gnu::always_inline]] inline void State::ask(const Column* columns, int64_t bar) const {
    for (int c = 0; c < program_->n_inputs; c++) {
        const Column& column = columns[c];
        if (column.symbol_stride == 0 || bar >= column.bars) continue;
        const double* from = column.data + bar * column.bar_stride + first_;
        for (int64_t k = 0; k < count_; k += LINE) __builtin_prefetch(from + k);
        __builtin_prefetch(from + count_ - 1);
    }
}

// The exponential mean of symbols that all run: v += alpha (x - v), bar after bar with v in registers. False, with the
// state as it was, when a value is missing.
bool State::run_on(int64_t width, int64_t bars, Cursor out, Cursor in, double* value, double alpha) {
    double* to[MAX_CHUNK];
    const double* x[MAX_CHUNK];
    for (int64_t b = 0; b < bars; b++) {
        to[b] = out.next(width);
        x[b] = in.next(width);
    }
    ivec bad{};
    auto run = [&]<int N>(int64_t i, std::integral_constant<int, N>) {  // N registers at once hide the latency
        vec v[N];
        for (int k = 0; k < N; k++) v[k] = at(value, i + k * LANES);
        for (int64_t b = 0; b < bars; b++) {
            const double* from = x[b] + i;
            double* into = to[b] + i;
            for (int k = 0; k < N; k++) {
                v[k] = v[k] + all(alpha) * (at(from, k * LANES) - v[k]);
                at(into, k * LANES) = v[k];
            }
        }
        for (int k = 0; k < N; k++) bad |= ~finite(v[k]);  // once missing, always missing
    };
    int64_t i = 0;
    for (; i + 4 * LANES <= width; i += 4 * LANES) run(i, std::integral_constant<int, 4>{});
    for (; i < width; i += LANES) run(i, std::integral_constant<int, 1>{});
    if (any(bad)) return false;
    std::memcpy(value, to[bars - 1], size_t(width) * 8);
    return true;
}

// Whether no symbol has a split or a dividend in these bars, where that can be told at a glance.
bool State::quiet(const Column* columns, int64_t bar, int64_t bars) const {
    if (chunk_ == 1 || !program_->plain_actions) return false;
    for (auto [input, none] : program_->actions) {
        const Column& column = columns[input];
        if (column.symbol_stride != 0) return false;
        for (int64_t b = bar; b < bar + bars; b++)
            if (column.data[b * column.bar_stride] != none) return false;
    }
    return true;
}

// A mean and the variance after it, of two windows side by side; each as the instruction alone would have it.
void State::moments(size_t index, int64_t bars) {
    const Instruction &mean = program_->code[index], &variance = program_->code[index + 1];
    const vec share = all(mean.p[0]), weight = all(variance.p[0]);
    const Cursor out = rings_[index], squares = rings_[index + 1], x = at_operand(mean.in[0]), y = at_operand(mean.in[1]);
    auto both = [&](double* const* rows, int64_t i) {
        vec a = at(rows[2], i), b = at(rows[3], i), d = a - b;
        at(rows[0], i) = a + (b - a) * share;
        return d * d * weight;
    };
    if (variance.op == PAIR_COVARIANCE) {
        const Cursor rows[] = {out, squares, x, y};
        return zip<4>(width_, bars, rows, [&](double* const* rows, int64_t i) { at(rows[1], i) = both(rows, i); });
    }
    const Cursor rows[] = {out, squares, x, y, at_operand(variance.in[0]), at_operand(variance.in[1])};
    zip<6>(width_, bars, rows, [&](double* const* rows, int64_t i) {
        at(rows[1], i) = (at(rows[4], i) + at(rows[5], i)) + both(rows, i);
    });
}

void State::step(const Column* columns, int64_t bar, int64_t bars) {
    const int64_t width = width_;
    const bool still = quiet(columns, bar, bars);
    int64_t asked = chunk_ > 1 ? 0 : chunk_;
    for (size_t index = 0; index < program_->code.size(); index++) {
        const Instruction& node = program_->code[index];
        const double p0 = node.p[0];
        if (asked < chunk_) ask(columns, bar + chunk_ + asked++);
        if (unwritten_ > 0) write_bar();
        if (node.paired) {
            moments(index++, bars);
            continue;
        }
        Cursor rows[1 + MAX_OPERANDS], &out = rows[0], *in = rows + 1;
        out = rings_[index];
        for (int k = 0; k < node.n_operands; k++) in[k] = at_operand(node.in[k]);
        double* state = states_[index];
        auto unary = [&](auto f) {  // as many bars at once as lie in one piece
            if (bars == 1) return map(width, out.now, in[0].now, f);
            Cursor to = out, x = in[0];
            for (int64_t b = 0, n; b < bars; b += n) {
                n = std::min<int64_t>({bars - b, to.left, x.left});
                map(n * width, to.now, x.now, f);
                to.forward(n, width);
                x.forward(n, width);
            }
        };
        auto binary = [&](auto f) {
            const Instruction& second = program_->code[size_t(node.in[1].node)];
            if (second.op == CONSTANT) {
                const vec y = all(second.p[0]);
                return unary([f, y](vec x) { return f(x, y); });
            }
            if (bars == 1) return map(width, out.now, in[0].now, in[1].now, f);
            Cursor to = out, x = in[0], y = in[1];
            for (int64_t b = 0, n; b < bars; b += n) {
                n = std::min<int64_t>({bars - b, to.left, x.left, y.left});
                map(n * width, to.now, x.now, y.now, f);
                to.forward(n, width);
                x.forward(n, width);
                y.forward(n, width);
            }
        };
        auto each = [&](auto f) {  // f(out row, first operand's row)
            for (int64_t b = 0; b < bars; b++) {
                double* to = out.next(width);
                f(to, in[0].next(width));
            }
        };
        switch (node.op) {
            case FETCH:
                if (!(still && program_->action[index])) fetch(out, columns[int(p0)], bar, bars, int64_t(node.p[1]));
                break;
            case ADD: binary([](vec x, vec y) { return x + y; }); break;
            case SUBTRACT: binary([](vec x, vec y) { return x - y; }); break;
            case MULTIPLY: binary([](vec x, vec y) { return x * y; }); break;
            case DIVIDE: binary([p0](vec x, vec y) { return divide(x, y, p0); }); break;
            case NEGATE: unary([](vec x) { return -x; }); break;
            case ABSOLUTE: unary([](vec x) { return absolute(x); }); break;
            case LOG: unary([](vec x) { return logarithm(x); }); break;
            case EXP: unary([](vec x) { return exponential(x); }); break;
            case SQRT: unary([](vec x) { return square_root(x); }); break;
            case SIGN: unary([](vec x) { return sign(x); }); break;
            case FLOOR: unary([](vec x) { return floored(x); }); break;
            case SINE: unary([](vec x) { return sine(x); }); break;
            case MINIMUM: binary([](vec x, vec y) { return smaller(x, y); }); break;
            case MAXIMUM: binary([](vec x, vec y) { return larger(x, y); }); break;
            case LESS: binary([](vec x, vec y) { return or_nan(number(x) & number(y), ones_where((ivec)(x < y))); }); break;
            case LESS_EQUAL:
                binary([](vec x, vec y) { return or_nan(number(x) & number(y), ones_where((ivec)(x <= y))); });
                break;
            case EQUAL:
                binary([](vec x, vec y) { return or_nan(number(x) & number(y), ones_where((ivec)(x == y))); });
                break;
            case WHERE:
                each([&](double* to, const double* test) {
                    const double *yes = in[1].next(width), *no = in[2].next(width);
                    for (int64_t i = 0; i < width; i += LANES) {
                        vec chosen = select((ivec)(at(test, i) != all(0.0)), at(yes, i), at(no, i));
                        at(to, i) = or_nan(number(at(test, i)), chosen);
                    }
                });
                break;
            case IS_MISSING: unary([](vec x) { return ones_where(~number(x)); }); break;
            case MERGE_MEAN: binary([p0](vec x, vec y) { return x + (y - x) * all(p0); }); break;
            case PAIR_COVARIANCE:
                zip<5>(width, bars, rows, [p0](double* const* x, int64_t i) {
                    at(x[0], i) = (at(x[1], i) - at(x[2], i)) * (at(x[3], i) - at(x[4], i)) * all(p0);
                });
                break;
            case MERGE_COVARIANCE:
                zip<7>(width, bars, rows, [p0](double* const* x, int64_t i) {
                    at(x[0], i) = (at(x[1], i) + at(x[2], i)) +
                                  (at(x[3], i) - at(x[4], i)) * (at(x[5], i) - at(x[6], i)) * all(p0);
                });
                break;
            case EXPONENTIAL_MEAN:
                if (steady_[index] && run_on(width, bars, out, in[0], state + width, p0)) break;
                each([&](double* to, const double* x) {
                    exponential_mean(width, to, x, state, state + width, node.p, steady_[index]);
                });
                break;
            case PRICE_FACTOR:
                each([&](double* to, const double* close) {
                    const double *split = in[1].next(width), *dividend = in[2].next(width);
                    price_factor(width, to, close, split, dividend, state, state + width, still);
                });
                break;
            case SHARE_FACTOR:
                each([&](double* to, const double* close) {
                    price_factor(width, to, close, in[1].next(width), nullptr, state, state + width, still);
                });
                break;
            case FILL_FORWARD:
                each([&](double* to, const double* x) { fill_forward(width, to, x, state, state + width, p0); });
                break;
            case SETTLE:
                if (steady_[index]) {  // x - x is 0, all bits clear, unless x is missing
                    ivec bad{};
                    unary([&bad](vec now) {
                        bad |= (ivec)(now - now);
                        return now;
                    });
                    if (!any(bad)) break;
                }
                each([&](double* to, const double* x) { settle(width, to, x, state, p0, steady_[index]); });
                break;
            case RANK: each([&](double* to, const double* x) { rank(count_, width, to, x, order_); }); break;
            case ZSCORE: each([&](double* to, const double* x) { zscore(count_, width, to, x); }); break;
            case DATE_PART:
                each([&](double* to, const double* day) {
                    for (int64_t i = 0; i < width; i++)
                        to[i] = i > 0 && day[i] == day[i - 1] ? to[i - 1] : date_part(day[i], int(p0));
                });
                break;
            default: break;  // a constant stands in its ring already
        }
    }
}

void State::run(const Column* columns, int64_t begin, int64_t end, int64_t n_symbols, double* out, int64_t out_from,
                bool streams) {
    const int64_t n_outputs = int64_t(program_->outputs.size());
    row_ = n_symbols * n_outputs;
    if (streams && CAN_STREAM && !line_) line_.reset(allocate(count_ * n_outputs + 2 * LINE));
    for (int64_t bar = begin, bars; bar < end; bar += bars) {
        bars = std::min(chunk_, end - bar);
        step(columns, bar, bars);
        while (unwritten_ > 0) write_bar();
        if (out && bar + bars > out_from) {
            const int64_t before = std::max<int64_t>(out_from - bar, 0);
            for (size_t k = 0; k < outputs_.size(); k++) {
                outputs_[k] = at_operand(program_->outputs[k]);
                outputs_[k].forward(before, width_);
            }
            unwritten_ = bars - before;
            to_ = out + (bar + before - out_from) * row_ + first_ * n_outputs;
        }
        if (chunk_ == 1 && unwritten_ > 0) write_bar();
        time_ += bars;
        for (Cursor& ring : rings_) ring.forward(bars, width_);
    }
    while (unwritten_ > 0) write_bar();
    if (line_) stream_end();
}

// Write the first bar that is computed and not yet in the result. Each has its turn between two instructions on the
// bars after it, so that memory and processor work at the same time.
void State::write_bar() {
    const int64_t n_outputs = int64_t(outputs_.size());
    for (size_t k = 0; k < outputs_.size(); k++) rows_out_[k] = outputs_[k].next(width_);
    if (line_) {
        double* line = line_.get() + place_in_line(to_);
        turn<true>(line, rows_out_.data(), count_, n_outputs);
        send(to_, line, count_ * n_outputs);
    } else {
        turn<false>(to_, rows_out_.data(), count_, n_outputs);
    }
    to_ += row_;
    unwritten_--;
}

Stepper::Stepper(std::shared_ptr<const Program> program, int64_t n_symbols)
    : program_(std::move(program)), n_symbols_(n_symbols), state_(program_, 0, n_symbols, 1),
      columns_(size_t(program_->n_inputs)) {
    program_->check_symbols(n_symbols);
}

}  // namespace features
