// Random numbers that are functions of what they are for: (seed, purpose, position). Nothing is stored, nothing depends
// on the order in which they are asked for, so the same seed gives the same bits on any number of threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "simd.hpp"

namespace longshort {

// A good 64-bit mixer: two rounds of multiply and shift.
inline uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

enum class Purpose : uint64_t { initialisation = 1, shuffle = 2, dropout = 3 };

// The key of one stream of numbers.
inline uint64_t stream_key(uint64_t seed, Purpose purpose, uint64_t a = 0, uint64_t b = 0) {
    return mix(mix(mix(mix(seed) ^ static_cast<uint64_t>(purpose)) + a) + b);
}

class Stream {
public:
    explicit Stream(uint64_t key) : key_(key) {}

    uint64_t bits() { return mix(key_ + 0x9e3779b97f4a7c15u * counter_++); }
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)
    double uniform(double low, double high) { return low + (high - low) * uniform(); }
    double normal() {
        const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
        return radius * std::cos(6.283185307179586477 * uniform());
    }
    uint64_t below(uint64_t n) {  // unbiased: the last, incomplete round of n is thrown away
        const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
        uint64_t x = bits();
        while (x >= limit) x = bits();
        return x % n;
    }

private:
    uint64_t key_;
    uint64_t counter_ = 0;
};

template <class Index>
void shuffle(std::vector<Index>& order, uint64_t key) {
    Stream stream(key);
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[stream.below(i)]);
}

// The order in which an epoch (counted from 0) visits n samples.
inline std::vector<uint32_t> epoch_order(std::size_t n, uint64_t seed, int64_t epoch) {
    std::vector<uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0u);
    shuffle(order, stream_key(seed, Purpose::shuffle, static_cast<uint64_t>(epoch)));
    return order;
}

// Inverted dropout as a factor: 0 with probability `rate`, 1 / (1 - rate) otherwise, for the samples `first`,
// `first` + 1, ... of a batch in the lanes of one vector.
template <class T>
struct Dropout {
    uint64_t key;
    int32_t threshold;  // of the mixed counter read as a signed number
    T factor;

    Dropout(double rate, uint64_t key_) : key(key_) {
        threshold = static_cast<int32_t>(static_cast<int64_t>(std::llround(rate * 0x1p32)) - INT64_C(0x80000000));
        factor = static_cast<T>(1.0 / (1.0 - rate));
    }

    vec<T> operator()(uint64_t step_in_time, uint64_t unit, uint32_t first) const {
        using U = typename simd<T>::U32;
        U x;
        for (int l = 0; l < simd<T>::lanes; ++l) x[l] = static_cast<uint32_t>(l);
        x = (x + first) * 0x9e3779b9u + static_cast<uint32_t>(mix(key + (step_in_time << 32) + unit));
        x ^= x >> 16;
        x *= 0x7feb352du;
        x ^= x >> 15;
        x *= 0x846ca68bu;
        const typename simd<T>::I32 keep = (typename simd<T>::I32)x >= threshold;
        const vec<T> zero{};
        return __builtin_convertvector(keep, typename simd<T>::I) ? broadcast(factor) : zero;
    }
};

}  // namespace longshort
