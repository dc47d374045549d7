// A feature program and the interpreter that runs it, over history and per tick alike.
//
// A program is a flat list of instructions in the order of computation. Instruction i owns one row of values, one value
// a symbol; its operands are (instruction, lag) pairs. A row that somebody reads with a lag is kept in a ring of past
// rows. Rows and the carried state of recursive instructions lie in one block of memory per group of symbols:
//
//     memory = [slots][ring of instruction 0][state of 0][ring of instruction 1] ...    each a row of `width` doubles
//
// A row that nobody reads with a lag needs no past: it lies in one of a few slots that such rows take in turns.
//
// `State::step` runs the instructions over the next few bars: one for a tick, a handful at a time over history, each
// instruction finishing its bars before the next begins. That is the same arithmetic in another order of independent
// operations, so the bits are the same; it only spares the interpreter its loop. Nothing else computes a feature.
#pragma once
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace features {

enum Op : int32_t {
    FETCH, CONSTANT, ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATE, ABSOLUTE, LOG, EXP, SQRT, SIGN, FLOOR, SINE, MINIMUM,
    MAXIMUM, LESS, LESS_EQUAL, EQUAL, WHERE, IS_MISSING, MERGE_MEAN, MERGE_COVARIANCE, PAIR_COVARIANCE, EXPONENTIAL_MEAN,
    PRICE_FACTOR, SHARE_FACTOR, FILL_FORWARD, SETTLE, RANK, ZSCORE, DATE_PART, N_OPS
};
constexpr const char* OP_NAMES[N_OPS] = {
    "fetch", "constant", "add", "subtract", "multiply", "divide", "negate", "absolute", "log", "exp", "sqrt", "sign",
    "floor", "sine", "minimum", "maximum", "less", "less_equal", "equal", "where", "is_missing", "merge_mean",
    "merge_covariance", "pair_covariance", "exponential_mean", "price_factor", "share_factor", "fill_forward", "settle",
    "rank", "zscore", "date_part"};

constexpr int MAX_OPERANDS = 6, MAX_PARAMETERS = 3, MAX_CHUNK = 32;

struct Operand {
    int32_t node = -1, lag = 0;
};

struct Instruction {
    Op op;
    int32_t n_operands;
    Operand in[MAX_OPERANDS];
    double p[MAX_PARAMETERS];
    bool paired = false;  // a mean whose variance is the next instruction and is computed along with it
};

struct Program {
    std::vector<Instruction> code;
    std::vector<int32_t> longest;  // the longest lag with which each instruction is read
    std::vector<int32_t> slot;     // where an instruction that nobody reads with a lag keeps its rows; -1: own ring
    std::vector<uint8_t> action;   // a fetch of splits or dividends that nothing but adjustment factors reads
    std::vector<std::pair<int, double>> actions;  // inputs that adjustment factors read, and their value of no action
    bool plain_actions = true;                    // whether these are all that the factors depend on
    std::vector<Operand> outputs;
    int32_t n_slots = 0;
    int64_t rows = 0;  // rows of memory when bars are taken one at a time
    int n_inputs = 0;
    bool crosses_symbols = false;

    void check_symbols(int64_t n_symbols) const;
    Program(const int32_t* ops, const int32_t* operands, const double* parameters, int64_t n, const int32_t* outs,
            int64_t n_outs, int n_inputs);

private:
    void pair_moments();
    void find_actions();
    void share_slots();
};

// One input: a row of values at each bar. `symbol_stride` 0: one value for all symbols.
struct Column {
    const double* data;
    int64_t bar_stride, symbol_stride, bars;
};

// The memory of one group of neighbouring symbols [first, first + count), which takes at most `chunk` bars at a time.
class State {
public:
    State(std::shared_ptr<const Program> program, int64_t first, int64_t count, int64_t chunk);
    void reset();
    // Advance by bars [begin, end) of the columns. `out` is (bars, symbols, outputs) from bar `out_from` on; null: nothing
    // is written. `streams`: past the caches.
    void run(const Column* columns, int64_t begin, int64_t end, int64_t n_symbols, double* out, int64_t out_from,
             bool streams = false);
    double* memory() { return memory_.get(); }
    int64_t size() const { return rows_ * width_; }
    int64_t time() const { return time_; }
    void set_time(int64_t time);

private:
    // Rows of an instruction, bar after bar, round its ring.
    struct Cursor {
        double *begin, *now;
        int32_t left, length;  // rows to the end of the ring, rows in it
        void forward(int64_t bars, int64_t width) {
            now += bars * width;
            left -= int32_t(bars);
            if (left <= 0) {
                now -= length * width;
                left += length;
            }
        }
        double* next(int64_t width) {
            double* row = now;
            forward(1, width);
            return row;
        }
    };
    void step(const Column* columns, int64_t bar, int64_t bars);
    static bool run_on(int64_t width, int64_t bars, Cursor out, Cursor in, double* value, double alpha);
    void fetch(Cursor out, const Column& column, int64_t bar, int64_t bars, int64_t symbol) const;
    bool quiet(const Column* columns, int64_t bar, int64_t bars) const;
    void moments(size_t index, int64_t bars);
    void ask(const Column* columns, int64_t bar) const;
    void write_bar();
    Cursor at_operand(Operand from) const {
        Cursor cursor = rings_[size_t(from.node)];
        cursor.now -= from.lag * width_;
        cursor.left += from.lag;
        if (cursor.left > cursor.length) {
            cursor.now += cursor.length * width_;
            cursor.left -= cursor.length;
        }
        return cursor;
    }
    struct Free {
        void operator()(double* p) const { ::operator delete[](p, std::align_val_t(64)); }
    };
    std::shared_ptr<const Program> program_;
    int64_t first_, count_, width_, chunk_, rows_ = 0, time_ = 0;
    using Memory = std::unique_ptr<double[], Free>;
    static double* allocate(int64_t n) {
        return static_cast<double*>(::operator new[](size_t(n) * sizeof(double) + 64, std::align_val_t(64)));
    }
    Memory memory_, line_;  // line_: one bar of the result, on its way past the caches
    std::vector<Cursor> rings_;    // where each instruction's present row is
    std::vector<double*> states_;  // first row of its carried state
    std::vector<uint8_t> steady_;  // recursive instruction whose symbols are all past their start: the quick path
    std::vector<int32_t> order_;   // scratch of rank
    std::vector<Cursor> outputs_;  // rows of outputs not yet written
    std::vector<const double*> rows_out_;
    int64_t unwritten_ = 0, row_ = 0;  // bars not yet written; numbers in a bar of the result
    double* to_ = nullptr;
};

// The carried state of a program for all symbols: what runs live.
class Stepper {
public:
    Stepper(std::shared_ptr<const Program> program, int64_t n_symbols);
    // One bar: `row` is (inputs, symbols), `out` (symbols, outputs).
    void step(const double* row, double* out) {
        for (size_t k = 0; k < columns_.size(); k++) columns_[k] = {row + int64_t(k) * n_symbols_, 0, 1, 1};
        state_.run(columns_.data(), 0, 1, n_symbols_, out, 0);
    }
    const Program& program() const { return *program_; }
    int64_t n_symbols() const { return n_symbols_; }
    int64_t n_outputs() const { return int64_t(program_->outputs.size()); }
    State& state() { return state_; }

private:
    std::shared_ptr<const Program> program_;
    int64_t n_symbols_;
    State state_;
    std::vector<Column> columns_;
};

}  // namespace features
