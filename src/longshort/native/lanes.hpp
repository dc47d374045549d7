// Arithmetic over a few symbols at once: one SIMD register of doubles, with its own log, exp and sine.
//
// Every operation works on each lane alone and uses only IEEE add, subtract, multiply, divide and square root, never a
// fused multiply-add and never the C library. So a symbol gets the same bits whatever register width, block, thread
// count or instruction-set level it is computed with, in history and per tick.
#pragma once
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace lanes {

#if defined(__AVX512F__)
constexpr int LANES = 8;
#elif defined(__AVX__)
constexpr int LANES = 4;
#else
constexpr int LANES = 2;
#endif

typedef double vec __attribute__((vector_size(LANES * 8)));
typedef int64_t ivec __attribute__((vector_size(LANES * 8)));
typedef uint64_t uvec __attribute__((vector_size(LANES * 8)));

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();

inline vec all(double x) { return x - (vec){}; }
inline ivec alli(int64_t x) { return x - (ivec){}; }
inline vec select(ivec mask, vec yes, vec no) { return mask ? yes : no; }
inline vec ones_where(ivec mask) { return (vec)((ivec)all(1.0) & mask); }
inline ivec finite(vec x) { return (ivec)(x - x == all(0.0)); }
inline ivec number(vec x) { return (ivec)(x == x); }
inline vec or_nan(ivec mask, vec x) { return select(mask, x, all(NaN)); }
inline vec absolute(vec x) { return (vec)((ivec)x & alli(0x7fffffffffffffffLL)); }
// NaN wins, so that a missing bar stays visible.
inline vec smaller(vec a, vec b) { return select((ivec)(a < b) | ~number(a), a, b); }
inline vec larger(vec a, vec b) { return select((ivec)(a > b) | ~number(a), a, b); }
inline vec sign(vec x) {
    return or_nan(number(x), ones_where((ivec)(x > all(0.0))) - ones_where((ivec)(x < all(0.0))));
}
inline vec divide(vec a, vec b, double otherwise) {
    vec q = a / b;
    q = or_nan(finite(q), q);
    ivec zero = (ivec)(b == all(0.0)) & finite(a);
    return select(zero, all(otherwise), q);
}
// Whether all lanes are positive, normal and finite.
inline bool normal(vec x) {
#if defined(__AVX512F__)
    __m512i above = _mm512_sub_epi64((__m512i)x, _mm512_set1_epi64(0x0010000000000000LL));
    return _mm512_cmplt_epu64_mask(above, _mm512_set1_epi64(0x7fe0000000000000LL)) == 0xff;
#elif defined(__AVX__)
    ivec good = (ivec)(x >= all(2.2250738585072014e-308)) & (ivec)(x <= all(1.7976931348623157e308));
    return _mm256_movemask_pd((__m256d)good) == 0xf;
#else
    ivec good = (ivec)(x >= all(2.2250738585072014e-308)) & (ivec)(x <= all(1.7976931348623157e308));
    int64_t every = -1;
    for (int i = 0; i < LANES; i++) every &= good[i];
    return every != 0;
#endif
}
inline bool any(ivec mask) {
    int64_t found = 0;
    for (int i = 0; i < LANES; i++) found |= mask[i];
    return found != 0;
}

inline vec square_root(vec x) {
    vec root;
    for (int i = 0; i < LANES; i++) root[i] = __builtin_sqrt(x[i] >= 0 ? x[i] : 0.0);
    return or_nan((ivec)(x >= all(0.0)), root);
}

constexpr double MAGIC = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer and leaves it in the low bits
inline vec to_double(ivec small) { return (vec)(small + (ivec)all(MAGIC)) - all(MAGIC); }
inline vec nearest(vec x) { return (x + all(MAGIC)) - all(MAGIC); }  // |x| < 2^51
inline vec floored(vec x) {
    vec near = nearest(x);
    vec down = select((ivec)(near > x), near - all(1.0), near);
    return select((ivec)(absolute(x) < all(2251799813685248.0)), down, x);
}

constexpr double LN2_HIGH = 6.93147180369123816490e-01;  // 33 bits of ln 2: its products with an exponent are exact
constexpr double LN2_LOW = 1.90821492927058770002e-10;

// ln(x) = k ln 2 + ln(1 + f) with 1 + f in [sqrt(1/2), sqrt 2); with s = f / (2 + f), ln(1 + f) = 2 artanh(s), whose
// series is summed to s^23. Below one unit in the last place. x <= 0, infinite or NaN: NaN.
inline vec logarithm_of_normal(vec x, ivec k);
inline vec logarithm(vec x) {
    if (normal(x)) return logarithm_of_normal(x, alli(-1023));  // the same without its exceptions
    ivec valid = (ivec)(x > all(0.0)) & finite(x);
    x = select(valid, x, all(1.0));
    ivec tiny = (ivec)(x < all(2.2250738585072014e-308));
    x = select(tiny, x * all(18014398509481984.0), x);  // 2^54
    return or_nan(valid, logarithm_of_normal(x, alli(-1023) - (alli(54) & tiny)));
}
inline vec logarithm_of_normal(vec x, ivec k) {
    k += (ivec)((uvec)x >> 52);
    vec m = (vec)(((ivec)x & alli(0x000fffffffffffffLL)) | alli(0x3ff0000000000000LL));
    ivec high = (ivec)(m > all(1.4142135623730951));
    m = select(high, m * all(0.5), m);
    k -= high;  // a true lane is -1
    vec f = m - all(1.0), s = f / (all(2.0) + f), z = s * s;
    vec r = all(2.0 / 23);
    constexpr double series[] = {2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3};
    for (double c : series) r = r * z + all(c);
    r = r * z;
    vec half = all(0.5) * f * f, kd = to_double(k);
    return kd * all(LN2_HIGH) - ((half - (s * (half + r) + kd * all(LN2_LOW))) - f);
}

// e^x = 2^k e^r with |r| <= ln 2 / 2, the series of e^r summed to r^13. Above 709: NaN; below -708: 0.
inline vec exponential(vec x) {
    ivec valid = (ivec)(x <= all(709.0)), underflow = (ivec)(x < all(-708.0));
    vec safe = select(valid & ~underflow, x, all(0.0));
    vec kd = nearest(safe * all(1.4426950408889634));
    vec r = (safe - kd * all(LN2_HIGH)) - kd * all(LN2_LOW);
    vec p = all(1.0 / 6227020800.0);
    constexpr double inverse_factorials[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                             1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5};
    for (double c : inverse_factorials) p = p * r + all(c);
    p = all(1.0) + (r + r * r * p);
    ivec k = (ivec)(kd + all(MAGIC)) - (ivec)all(MAGIC);
    vec y = p * (vec)((k + alli(1023)) << 52);
    y = select(underflow, all(0.0), y);
    return or_nan(valid, y);
}

// Sine of x turns (1 turn = 2 pi).
inline vec sine(vec x) {
    vec u = x - nearest(x);
    u = select((ivec)(u > all(0.25)), all(0.5) - u, u);
    u = select((ivec)(u < all(-0.25)), all(-0.5) - u, u);
    vec y = u * all(6.283185307179586), z = y * y;
    vec p = all(1.0);
    for (int k = 10; k >= 1; k--) p = all(1.0) - p * z / all(2.0 * k * (2.0 * k + 1.0));
    return y * p;
}

// Stores that go past the caches, to whole registers' places in memory. `stream_end`: before others read them.
#if defined(__AVX512F__)
constexpr bool CAN_STREAM = true;
inline void stream(double* to, vec x) { _mm512_stream_pd(to, (__m512d)x); }
inline void stream_end() { _mm_sfence(); }
#elif defined(__AVX__)
constexpr bool CAN_STREAM = true;
inline void stream(double* to, vec x) { _mm256_stream_pd(to, (__m256d)x); }
inline void stream_end() { _mm_sfence(); }
#else
constexpr bool CAN_STREAM = false;
inline void stream(double* to, vec x) { std::memcpy(to, &x, sizeof x); }
inline void stream_end() {}
#endif

// Turn LANES rows into LANES columns.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define LONGSHORT_SHUFFLE 1
#endif
#endif
#if LONGSHORT_SHUFFLE
inline void transpose(vec (&x)[LANES]) {
#if defined(__AVX512F__)
    vec y[8];
    for (int i = 0; i < 8; i += 2) {
        y[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        y[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            x[i + j] = __builtin_shufflevector(y[i + j], y[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            x[i + j + 2] = __builtin_shufflevector(y[i + j], y[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int j = 0; j < 4; j++) {
        y[j] = __builtin_shufflevector(x[j], x[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        y[j + 4] = __builtin_shufflevector(x[j], x[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int j = 0; j < 8; j++) x[j] = y[j];
#elif defined(__AVX__)
    vec a = __builtin_shufflevector(x[0], x[1], 0, 4, 2, 6), b = __builtin_shufflevector(x[0], x[1], 1, 5, 3, 7);
    vec c = __builtin_shufflevector(x[2], x[3], 0, 4, 2, 6), d = __builtin_shufflevector(x[2], x[3], 1, 5, 3, 7);
    x[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    x[2] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    x[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
#else
    vec a = __builtin_shufflevector(x[0], x[1], 0, 2);
    x[1] = __builtin_shufflevector(x[0], x[1], 1, 3);
    x[0] = a;
#endif
}
#else
inline void transpose(vec (&x)[LANES]) {
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < i; j++) {
            double kept = x[i][j];
            x[i][j] = x[j][i];
            x[j][i] = kept;
        }
}
#endif

}  // namespace lanes
