// One vector type per scalar, as wide as the processor's registers: 64 bytes (AVX-512), 32 (AVX2) or 16 (everything
// else, arm64 included). Arithmetic is the compilers' vector extension; only fused multiply-add, minimum and maximum
// need a word of the processor's own. Every lane computes the same thing whatever stands in the other lanes: this is
// what makes a forecast independent of its neighbours in the batch.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace longshort {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
inline constexpr int vector_registers = 32;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
inline constexpr int vector_registers = 16;
#elif defined(__aarch64__)
inline constexpr int vector_bytes = 16;
inline constexpr int vector_registers = 32;
#else
inline constexpr int vector_bytes = 16;
inline constexpr int vector_registers = 16;
#endif

template <class T>
struct simd;

template <>
struct simd<float> {
    static constexpr int lanes = vector_bytes / 4;
    typedef float V __attribute__((vector_size(vector_bytes)));
    typedef int32_t I __attribute__((vector_size(vector_bytes)));
    typedef uint32_t U32 __attribute__((vector_size(vector_bytes)));  // as many 32-bit counters as lanes
    typedef int32_t I32 __attribute__((vector_size(vector_bytes)));
};

template <>
struct simd<double> {
    static constexpr int lanes = vector_bytes / 8;
    typedef double V __attribute__((vector_size(vector_bytes)));
    typedef int64_t I __attribute__((vector_size(vector_bytes)));
    typedef uint32_t U32 __attribute__((vector_size(vector_bytes / 2)));
    typedef int32_t I32 __attribute__((vector_size(vector_bytes / 2)));
};

template <class T>
using vec = typename simd<T>::V;

template <class T>
inline vec<T> load(const T* p) {
    return *reinterpret_cast<const vec<T>*>(p);
}
template <class T>
inline void store(T* p, vec<T> v) {
    *reinterpret_cast<vec<T>*>(p) = v;
}
template <class T>
inline vec<T> broadcast(T x) {
    return x - vec<T>{};  // x - 0 is x for every x, -0 and NaN included
}

// Keep a value that several instructions use in a register: compilers like to read it from memory again for each, and
// reading whole vectors is what the processor has least of.
template <class V>
inline V in_register(V v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));
#elif defined(__AVX2__)
    asm("" : "+x"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
    return v;
}

// a * b + c with one rounding.
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
#if defined(__AVX512F__)
inline vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return (vec<float>)_mm512_fmadd_ps(a, b, c); }
inline vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return (vec<double>)_mm512_fmadd_pd(a, b, c); }
#elif defined(__AVX2__)
inline vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return (vec<float>)_mm256_fmadd_ps(a, b, c); }
inline vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return (vec<double>)_mm256_fmadd_pd(a, b, c); }
#elif defined(__aarch64__)
inline vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
    return (vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
inline vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
    return (vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
template <class V>
inline V fma(V a, V b, V c) {
    for (std::size_t l = 0; l < sizeof(V) / sizeof(a[0]); ++l) c[l] = fma(a[l], b[l], c[l]);
    return c;
}
#endif

// x held inside [-bound, bound]; NaN stays NaN.
template <class T>
inline T clamp_scalar(T x, T bound) {
    x = x < -bound ? -bound : x;
    return x > bound ? bound : x;
}
inline float clamp(float x, float bound) { return clamp_scalar(x, bound); }
inline double clamp(double x, double bound) { return clamp_scalar(x, bound); }
#if defined(__AVX512F__)  // of two operands, one NaN, these instructions return the second (masked forms, as GCC
                          // warns about the plain ones)
inline vec<float> clamp(vec<float> x, float bound) {
    const __m512 above = _mm512_maskz_max_ps((__mmask16)-1, _mm512_set1_ps(-bound), x);
    return (vec<float>)_mm512_maskz_min_ps((__mmask16)-1, _mm512_set1_ps(bound), above);
}
inline vec<double> clamp(vec<double> x, double bound) {
    const __m512d above = _mm512_maskz_max_pd((__mmask8)-1, _mm512_set1_pd(-bound), x);
    return (vec<double>)_mm512_maskz_min_pd((__mmask8)-1, _mm512_set1_pd(bound), above);
}
#elif defined(__AVX2__)
inline vec<float> clamp(vec<float> x, float bound) {
    return (vec<float>)_mm256_min_ps(_mm256_set1_ps(bound), _mm256_max_ps(_mm256_set1_ps(-bound), x));
}
inline vec<double> clamp(vec<double> x, double bound) {
    return (vec<double>)_mm256_min_pd(_mm256_set1_pd(bound), _mm256_max_pd(_mm256_set1_pd(-bound), x));
}
#else
inline vec<float> clamp(vec<float> x, float bound) {
    const vec<float> top = broadcast(bound), bottom = broadcast(-bound);
    x = x < bottom ? bottom : x;
    return x > top ? top : x;
}
inline vec<double> clamp(vec<double> x, double bound) {
    const vec<double> top = broadcast(bound), bottom = broadcast(-bound);
    x = x < bottom ? bottom : x;
    return x > top ? top : x;
}
#endif

// The bits of a float as an integer and back, for scalars and vectors alike.
template <class To, class From>
inline To bits_as(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}

// Adds the two halves of every block of 2 * half lanes in x and in y, x's results first.
template <class T, int half, int... p>
inline vec<T> add_halves(vec<T> x, vec<T> y, std::integer_sequence<int, p...>) {
    return __builtin_shufflevector(x, y, (p / half * 2 * half + p % half)...) +
           __builtin_shufflevector(x, y, (p / half * 2 * half + half + p % half)...);
}

// The sums over the lanes of n vectors, left as the first n scalars of `v`; the order of the additions is fixed.
template <class T, int n, int half = simd<T>::lanes / 2>
inline void sum_lanes(vec<T>* v) {
    if constexpr (half > 0) {
        constexpr int pairs = (n + 1) / 2;
#pragma GCC unroll 32
        for (int j = 0; j < pairs; ++j)
            v[j] = add_halves<T, half>(v[2 * j], v[2 * j + 1 < n ? 2 * j + 1 : 2 * j],
                                       std::make_integer_sequence<int, simd<T>::lanes>{});
        sum_lanes<T, pairs, half / 2>(v);
    }
}

}  // namespace longshort
