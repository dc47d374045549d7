// What a forecast costs: the loss of one sample and its slope by each raw output, the same formulas as in the torch
// engine. Mean squared, absolute and Huber errors have one target per output and are computed in the network's own
// arithmetic; the others have one target and are computed in float64.
//
//   quantile       levels q_1 < ... < q_m: Q_1 = o_1, Q_k = Q_(k-1) + softplus(o_k), so quantiles never cross;
//                  mean over k of max(q_k e, (q_k - 1) e) with e = y - Q_k (Koenker and Bassett, 1978)
//   gaussian       -log density of Normal(o_1, sigma), sigma = softplus(o_2) + 1e-6
//   student_t      -log density of Student's t around o_1, sigma = softplus(o_2) + 1e-6, nu = 2.001 + softplus(o_3)
//   cross_entropy  w_c (1 - p_c)^focal (-log p_c) (Lin et al., 2017): one output is the logit of class 1 of {0, 1},
//                  several are the logits of as many classes
//
// Two losses have no value for a single sample, only for a batch of whole blocks, in order:
//
//   sharpe  -mean / standard deviation of p y - cost |p - p before|, p = tanh(o_1) the position; a block is a run of rows
//           of one symbol, and the first row of a block is not charged (Lim, Zohren and Roberts, 2019)
//   rank    minus the mean over blocks (dates) of the correlation of o_1 with the ranks of the targets
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace longshort {

enum class LossKind { mse, mae, huber, quantile, gaussian, student_t, cross_entropy, sharpe, rank };

inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

inline double sigmoid(double x) {
    const double e = std::exp(-std::abs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}

// log Gamma(x) and its derivative for x > 0: Stirling's series after moving x above 10. (std::lgamma writes a global.)
struct LogGamma {
    double value, slope;

    explicit LogGamma(double x) {
        double product = 1, inverses = 0;
        for (; x < 10; x += 1) {
            product *= x;
            inverses += 1 / x;
        }
        const double y = 1 / (x * x), log_x = std::log(x);
        constexpr double terms[] = {1. / 12, -1. / 360, 1. / 1260, -1. / 1680, 1. / 1188, -691. / 360360, 1. / 156};
        double series = 0, slopes = 0;
        for (int k = 6; k >= 0; --k) {
            series = series * y + terms[k];
            slopes = slopes * y + terms[k] * (2 * k + 1);
        }
        value = (x - 0.5) * log_x - x + 0.91893853320467274178 + series / x - std::log(product);
        slope = log_x - 0.5 / x - slopes * y - inverses;
    }
};

struct Loss {
    LossKind kind = LossKind::mse;
    double huber_delta = 1.0;
    std::vector<double> levels;         // of the quantiles
    std::vector<double> class_weights;  // one per class; empty for 1 each
    double focal = 0.0;
    double cost = 0.0;  // of a change of position, in units of the target

    static constexpr double smallest_scale = 1e-6, smallest_freedom = 2.001;

    int targets(int outputs) const { return kind <= LossKind::huber ? outputs : 1; }
    bool of_blocks() const { return kind == LossKind::sharpe || kind == LossKind::rank; }
    static int classes(int outputs) { return outputs == 1 ? 2 : outputs; }

    // The loss of a batch of n samples, one output and one target each; its slope by each output where asked for. The
    // samples of a block are neighbours.
    double of_batch(const double* output, const double* target, const int64_t* block, std::size_t n,
                    double* slope) const {
        return kind == LossKind::sharpe ? sharpe(output, target, block, n, slope) : rank(output, target, block, n, slope);
    }

    // The loss of one sample; its slope by each output where asked for.
    template <class T>
    double operator()(const T* output, const T* target, int outputs, T* slope) const {
        switch (kind) {
            case LossKind::mse:
            case LossKind::mae:
            case LossKind::huber: return of_errors(output, target, outputs, slope);
            case LossKind::quantile: return quantile(output, static_cast<double>(*target), outputs, slope);
            case LossKind::gaussian: return gaussian(output, static_cast<double>(*target), slope);
            case LossKind::student_t: return student_t(output, static_cast<double>(*target), slope);
            case LossKind::cross_entropy: return cross_entropy(output, static_cast<int>(*target), outputs, slope);
            case LossKind::sharpe:
            case LossKind::rank: break;  // see of_batch
        }
        return 0;
    }

private:
    double sharpe(const double* output, const double* target, const int64_t* block, std::size_t n,
                  double* slope) const {
        std::vector<double> position(n), earned(n);
        double mean = 0, variance = 0;
        for (std::size_t i = 0; i < n; ++i) {
            position[i] = std::tanh(output[i]);
            earned[i] = position[i] * target[i];
            if (i > 0 && block[i] == block[i - 1]) earned[i] -= cost * std::abs(position[i] - position[i - 1]);
            mean += earned[i];
        }
        mean /= static_cast<double>(n);
        for (double x : earned) variance += (x - mean) * (x - mean);
        variance /= static_cast<double>(n);
        const double deviation = std::sqrt(variance);
        if (!slope) return -mean / deviation;
        std::fill_n(slope, n, 0.0);
        for (std::size_t i = 0; i < n; ++i) {
            const double by_earned = (mean * (earned[i] - mean) / variance - 1) / (deviation * static_cast<double>(n));
            slope[i] += by_earned * target[i];
            if (i > 0 && block[i] == block[i - 1]) {
                const double change = position[i] - position[i - 1];
                const double charge = cost * (change > 0 ? 1.0 : change < 0 ? -1.0 : 0.0) * by_earned;
                slope[i] -= charge;
                slope[i - 1] += charge;
            }
        }
        for (std::size_t i = 0; i < n; ++i) slope[i] *= 1 - position[i] * position[i];
        return -mean / deviation;
    }

    // Blocks of fewer than two samples say nothing and are left out.
    static double rank(const double* output, const double* target, const int64_t* block, std::size_t n,
                       double* slope) {
        if (slope) std::fill_n(slope, n, 0.0);
        auto end_of = [&](std::size_t begin) {
            std::size_t end = begin + 1;
            while (end < n && block[end] == block[begin]) ++end;
            return end;
        };
        std::size_t counted = 0;
        for (std::size_t begin = 0, end; begin < n; begin = end) counted += (end = end_of(begin)) > begin + 1;
        if (counted == 0) return 0 * output[0];
        double total = 0;
        for (std::size_t begin = 0, end; begin < n; begin = end) {
            end = end_of(begin);
            if (end == begin + 1) continue;
            const double m = static_cast<double>(end - begin);
            double said = 0, ranked = 0, covariance = 0, of_said = 0, of_ranked = 0;
            for (std::size_t i = begin; i < end; ++i) {
                said += output[i] / m;
                ranked += target[i] / m;
            }
            for (std::size_t i = begin; i < end; ++i) {
                const double a = output[i] - said, r = target[i] - ranked;
                covariance += a * r / m;
                of_said += a * a / m;
                of_ranked += r * r / m;
            }
            const double scale = std::sqrt(of_said * of_ranked + 1e-12);
            total += covariance / scale;
            for (std::size_t i = begin; i < end && slope; ++i) {
                const double a = output[i] - said, r = target[i] - ranked;
                slope[i] = (covariance * of_ranked * a / (scale * scale) - r) / (scale * m * counted);
            }
        }
        return -total / static_cast<double>(counted);
    }

    template <class T>
    double of_errors(const T* output, const T* target, int outputs, T* slope) const {
        const T delta = static_cast<T>(huber_delta);
        double sum = 0;
        for (int j = 0; j < outputs; ++j) {
            const T error = output[j] - target[j], size = std::abs(error);
            T loss, by_output;
            if (kind == LossKind::mse) {
                loss = error * error;
                by_output = 2 * error;
            } else if (kind == LossKind::huber && !(size > delta)) {
                loss = T(0.5) * error * error;
                by_output = error;
            } else {
                const T steepness = kind == LossKind::huber ? delta : T(1);
                loss = kind == LossKind::huber ? delta * (size - T(0.5) * delta) : size;
                by_output = error > 0 ? steepness : error < 0 ? -steepness : T(0);
            }
            sum += static_cast<double>(loss);
            if (slope) slope[j] = by_output / outputs;
        }
        return sum / outputs;
    }

    template <class T>
    double quantile(const T* output, double y, int outputs, T* slope) const {
        double q = static_cast<double>(output[0]), sum = 0;
        for (int k = 0; k < outputs; ++k) {
            if (k > 0) q += softplus(static_cast<double>(output[k]));
            const double error = y - q;
            sum += std::max(levels[k] * error, (levels[k] - 1) * error);
            const double by_quantile = y > q ? -levels[k] : y < q ? 1 - levels[k] : 0.5 - levels[k];
            if (slope) slope[k] = static_cast<T>(by_quantile / outputs);
        }
        if (slope) {  // output k moves quantile k and all above it
            double from_here = 0;
            for (int k = outputs - 1; k >= 0; --k) {
                from_here += static_cast<double>(slope[k]);
                slope[k] = static_cast<T>(k > 0 ? from_here * sigmoid(static_cast<double>(output[k])) : from_here);
            }
        }
        return sum / outputs;
    }

    template <class T>
    double gaussian(const T* output, double y, T* slope) const {
        const double raw = static_cast<double>(output[1]), sigma = softplus(raw) + smallest_scale;
        const double z = (y - static_cast<double>(output[0])) / sigma;
        if (slope) {
            slope[0] = static_cast<T>(-z / sigma);
            slope[1] = static_cast<T>((1 - z * z) / sigma * sigmoid(raw));
        }
        return std::log(sigma) + 0.5 * z * z + 0.91893853320467274178;
    }

    template <class T>
    double student_t(const T* output, double y, T* slope) const {
        const double raw_scale = static_cast<double>(output[1]), raw_freedom = static_cast<double>(output[2]);
        const double sigma = softplus(raw_scale) + smallest_scale, nu = softplus(raw_freedom) + smallest_freedom;
        const double z = (y - static_cast<double>(output[0])) / sigma, square = z * z, tail = std::log1p(square / nu);
        const LogGamma half(0.5 * nu), half_more(0.5 * (nu + 1));
        if (slope) {
            const double pull = (nu + 1) / (nu + square);
            const double by_nu = 0.5 * (half.slope - half_more.slope + 1 / nu + tail - pull * square / nu);
            slope[0] = static_cast<T>(-pull * z / sigma);
            slope[1] = static_cast<T>((1 - pull * square) / sigma * sigmoid(raw_scale));
            slope[2] = static_cast<T>(by_nu * sigmoid(raw_freedom));
        }
        return half.value - half_more.value + 0.5 * std::log(3.14159265358979323846 * nu) + std::log(sigma) +
               0.5 * (nu + 1) * tail;
    }

    template <class T>
    double cross_entropy(const T* output, int label, int outputs, T* slope) const {
        const double weight = class_weights.empty() ? 1.0 : class_weights[label];
        double log_p, top = 0, sum = 0;
        if (outputs == 1) {
            log_p = -softplus(label == 1 ? -static_cast<double>(output[0]) : static_cast<double>(output[0]));
        } else {
            top = static_cast<double>(*std::max_element(output, output + outputs));
            for (int j = 0; j < outputs; ++j) sum += std::exp(static_cast<double>(output[j]) - top);
            log_p = static_cast<double>(output[label]) - top - std::log(sum);
        }
        const double miss = -std::expm1(log_p), damping = focal > 0 ? std::pow(miss, focal) : 1.0;
        if (slope) {
            const double bend = focal > 0 && miss > 0 ? focal * log_p * std::exp(log_p) * damping / miss : 0.0;
            const double by_log_p = weight * (bend - damping);
            if (outputs == 1) {
                slope[0] = static_cast<T>(by_log_p * (label == 1 ? miss : -miss));
            } else {
                for (int j = 0; j < outputs; ++j)
                    slope[j] = static_cast<T>(
                        by_log_p * (j == label ? miss : -std::exp(static_cast<double>(output[j]) - top) / sum));
            }
        }
        return weight * damping * -log_p;
    }
};

// Each target's rank within its block, scaled to (-1, 1); ties share the middle.
template <class T>
std::vector<T> ranks_in_blocks(const std::vector<T>& targets, const std::vector<int64_t>& blocks) {
    const std::size_t n = targets.size();
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return blocks[a] != blocks[b] ? blocks[a] < blocks[b] : targets[a] < targets[b];
    });
    std::vector<T> ranks(n);
    for (std::size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin; end < n && blocks[order[end]] == blocks[order[begin]];) ++end;
        const double size = static_cast<double>(end - begin);
        for (std::size_t first = begin, last; first < end; first = last) {
            for (last = first; last < end && targets[order[last]] == targets[order[first]];) ++last;
            const double middle = 0.5 * static_cast<double>((first - begin) + (last - 1 - begin));
            for (std::size_t k = first; k < last; ++k) ranks[order[k]] = static_cast<T>((2 * middle + 1) / size - 1);
        }
    }
    return ranks;
}

}  // namespace longshort
