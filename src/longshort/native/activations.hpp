// The LSTM cell: own exponential, sigmoid and tanh, written once for scalars and vectors so that training, prediction
// and ticks get the same bits.
//
//   i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)     g = tanh(a_g)
//   c' = f c + i g                                         h' = o tanh(c')
//
// sigmoid(x) = 1 / (1 + exp(-x)) and tanh(x) = (1 - exp(-2x)) / (1 + exp(-2x)); the four gates share one division.
#pragma once

#include "simd.hpp"

namespace longshort {

template <class T>
struct Exponential;

// 2^f on [-0.5, 0.5] as a polynomial of least relative error (7.5e-8 and 3.1e-18; found by Remez exchange). `magic`
// rounds to an integer when added, and leaves the biased exponent of 2^n in the lowest bits.
template <>
struct Exponential<float> {
    static constexpr int degree = 5;
    static constexpr float coefficient[] = {1.000000072e+00f, 6.931469669e-01f, 2.402211951e-01f,
                                            5.550713394e-02f, 9.675552744e-03f, 1.327646077e-03f};
    static constexpr float magic = 12582912.0f + 127.0f;  // 1.5 * 2^23 + exponent bias
    static constexpr int mantissa_bits = 23;
    static constexpr float saturation = 20.0f;  // sigmoid(20) is 1 to the last bit; e^20 to the 4th is finite
};
template <>
struct Exponential<double> {
    static constexpr int degree = 11;
    static constexpr double coefficient[] = {
        1.0,
        6.93147180559945286e-01,
        2.40226506959101554e-01,
        5.55041086648199178e-02,
        9.61812910758830242e-03,
        1.33335581467902394e-03,
        1.54035304625558866e-04,
        1.52527334897726181e-05,
        1.32154330682039793e-06,
        1.01781980780751823e-07,
        7.07410945229280106e-09,
        4.43527889698021460e-10,
    };
    static constexpr double magic = 6755399441055744.0 + 1023.0;  // 1.5 * 2^52 + exponent bias
    static constexpr int mantissa_bits = 52;
    static constexpr double saturation = 40.0;
};

template <class X>
struct lane_of;  // the scalar inside X, and the integer of X's shape
template <>
struct lane_of<float> {
    using scalar = float;
    using integer = int32_t;
};
template <>
struct lane_of<double> {
    using scalar = double;
    using integer = int64_t;
};
template <>
struct lane_of<vec<float>> {
    using scalar = float;
    using integer = simd<float>::I;
};
template <>
struct lane_of<vec<double>> {
    using scalar = double;
    using integer = simd<double>::I;
};

template <class X>
inline X constant(typename lane_of<X>::scalar value) {
    return value - X{};
}

// exp(-scale * x), scale 1 or 2, the exponent held inside +-saturation.
template <int scale, class X>
inline X exp_minus(X x) {
    using T = typename lane_of<X>::scalar;
    using E = Exponential<T>;
    using I = typename lane_of<X>::integer;
    const X to_base_2 = constant<X>(T(-1.4426950408889634074 * scale));
    x = clamp(x, E::saturation / scale);
    const X shifted = fma(x, to_base_2, constant<X>(E::magic));
    const X fraction = fma(x, to_base_2, E::magic - shifted);
    X power = constant<X>(E::coefficient[E::degree]);
#pragma GCC unroll 16
    for (int j = E::degree - 1; j >= 0; --j) power = fma(power, fraction, constant<X>(E::coefficient[j]));
    return power * bits_as<X>(I(bits_as<I>(shifted) << E::mantissa_bits));
}

template <class X>
inline X tanh_of(X x) {
    const X e = exp_minus<2>(x);
    return (1 - e) / (1 + e);
}

template <class X>
struct CellResult {
    X i, f, g, o, c, tanh_c, h;
};

template <class X>
inline CellResult<X> lstm_cell(X a_i, X a_f, X a_g, X a_o, X c) {
    using T = typename lane_of<X>::scalar;
    const T one = 1;
    const X e_g = exp_minus<2>(a_g);
    const X d_i = one + exp_minus<1>(a_i), d_f = one + exp_minus<1>(a_f);
    const X d_g = one + e_g, d_o = one + exp_minus<1>(a_o);
    const X d_if = d_i * d_f, d_go = d_g * d_o;
    const X inverse = one / (d_if * d_go);
    const X inverse_if = inverse * d_go, inverse_go = inverse * d_if;
    CellResult<X> r;
    r.i = inverse_if * d_f;
    r.f = inverse_if * d_i;
    r.g = (one - e_g) * (inverse_go * d_o);
    r.o = inverse_go * d_g;
    r.c = fma(r.f, c, r.i * r.g);
    r.tanh_c = tanh_of(r.c);
    r.h = r.o * r.tanh_c;
    return r;
}

}  // namespace longshort
