// Batch and group normalization, each with the LeakyReLU that may follow: forward and backward, one pass for the sums
// and one for the result.
//
// The two are one: batch normalization is group normalization of the whole batch taken as one example, with a group for
// each channel. The kernels between the passes make one number a group from the partial sums of the first pass.
//
// Settings: SCALAR, VECTOR (see columns.cuh).

#include "columns.cuh"

// (x - mean) / deviation * gamma + beta: in forward and backward to the last bit the same, so that both find the number
// on the same side of the activation's kink.
struct Affine {
    T mean, scale, shift;

    __device__ T operator()(T x) const { return fma(x - mean, scale, shift); }
};

__device__ inline Affine affine(const Statistics& s, const T* beta, int example, int column) {
    const int channel = s.channel(column), group = s.group(example, column);
    return {s.mean[group], s.gamma[channel] / s.deviation(group), beta[channel]};
}

// ---------------------------------------------------------------------------------------------- sums of a channel

extern "C" __global__ void __launch_bounds__(256)
channel_sums(const T* __restrict__ dy, PLACE_ARGUMENTS, Sums<1>* partials, unsigned* tickets, int channels, T* add_to) {
    const Place place(rows, columns, lanes, parts);
    sum_columns<1>(place, lanes, partials, [=](Offset at, T (&sums)[VECTOR][1]) {
        const Vector<VECTOR> dy_here = load<VECTOR>(dy + at);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) sums[i][0] += dy_here.at[i];
    });
    if (tickets == nullptr) return;
    finish_channels(place, lanes, channels, partials, tickets, [=](int channel, const Sums<1>& total) {
        add_to[channel] += static_cast<T>(total.of[0]);
    });
}

extern "C" __global__ void add_channel_sums(const Sums<1>* partials, int rows, int channels, T* add_to) {
    const auto same = [](const Sums<1>& total, int) { return total; };
    const Sums<1> total = total_of_group(partials, rows, channels, channels, same);
    if (threadIdx.x == 0) add_to[blockIdx.x] += static_cast<T>(total.of[0]);
}

// ---------------------------------------------------------------------------------------------- forward

// E[x^2] - E[x]^2 would lose all digits where the mean is large against the deviation; so a run's numbers are taken as
// differences from its first. Of a batch with `tickets` the last block writes its mean and variance.
extern "C" __global__ void __launch_bounds__(256, 3)
moments(const T* __restrict__ x, PLACE_ARGUMENTS, Moments* partials, unsigned* tickets, int channels, T* mean_of,
        T* variance_of) {
    const Place place(rows, columns, lanes, parts);
    double count = 0, mean[VECTOR] = {}, square[VECTOR] = {};
    for (Offset row = place.first; place.inside && row < rows; row += RUN * place.step) {
        const Vector<VECTOR> shift = load<VECTOR>(x + place.at(row));
        T sums[VECTOR] = {}, squares[VECTOR] = {};
        const int run = place.run(row);
#pragma unroll 4
        for (int i = 1; i < run; ++i) {
            const Vector<VECTOR> x_here = load<VECTOR>(x + place.at(row + i * place.step));
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) {
                const T difference = x_here.at[j] - shift.at[j];
                sums[j] += difference;
                squares[j] += difference * difference;
            }
        }
        const double part = 1.0 / run, share = run / (count + run), weight = count * share;
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {  // as Moments::add, whose divisions are the same for all
            const double sum = sums[j], difference = shift.at[j] + sum * part - mean[j];
            square[j] += squares[j] - sum * sum * part + difference * weight * difference;
            mean[j] += difference * share;
        }
        count += run;
    }
    Moments totals[VECTOR];
#pragma unroll
    for (int j = 0; j < VECTOR; ++j) totals[j] = {count, mean[j], square[j]};
    write_partials(place, lanes, totals, partials);
    if (tickets == nullptr) return;
    finish_channels(place, lanes, channels, partials, tickets, [=](int channel, const Moments& total) {
        mean_of[channel] = static_cast<T>(total.mean);
        variance_of[channel] = static_cast<T>(total.square / total.count);
    });
}

extern "C" __global__ void finish_moments(const Moments* partials, int rows, int channels, int groups, T* mean,
                                          T* var) {
    const auto same = [](const Moments& total, int) { return total; };
    const Moments total = total_of_group(partials, rows, channels, groups, same);
    if (threadIdx.x != 0) return;
    mean[blockIdx.x] = static_cast<T>(total.mean);
    var[blockIdx.x] = static_cast<T>(total.square / total.count);
}

extern "C" __global__ void __launch_bounds__(256)
normalize(const T* __restrict__ x, PLACE_ARGUMENTS, STATISTICS_ARGUMENTS, const T* __restrict__ beta, double slope,
          T* __restrict__ y) {
    const Place place(rows, columns, lanes, parts);
    if (!place.inside) return;
    const T left = static_cast<T>(slope);
    Affine to_y[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) to_y[i] = affine(STATISTICS, beta, place.example, place.column + i);
#pragma unroll 4
    for (Offset row = place.first; row < rows; row += place.step) {
        Vector<VECTOR> here = load<VECTOR>(x + place.at(row));
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const T t = to_y[i](here.at[i]);
            here.at[i] = t > 0 ? t : weakened(t, left);
        }
        store<VECTOR>(y + place.at(row), here);
    }
}

// Folds a batch's statistics into the running ones; `unbias` makes its variance the unbiased one. A thread a channel.
extern "C" __global__ void move_statistics(T* running_mean, T* running_var, const T* mean, const T* var, int channels,
                                           double momentum, double unbias) {
    const T keep = static_cast<T>(momentum), rest = static_cast<T>(1 - momentum), scale = static_cast<T>(unbias);
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < channels; c += gridDim.x * blockDim.x) {
        running_mean[c] = keep * running_mean[c] + rest * mean[c];
        running_var[c] = keep * running_var[c] + rest * (var[c] * scale);
    }
}

// ---------------------------------------------------------------------------------------------- backward

// The end of a gradient's sums of g and of g d, over `count` numbers of a group. With d = x - mean and g for dy, or for
// gamma dy: means[0] = mean(g) and means[1] = mean(g d) / deviation^2 for each group. Where a group is one channel it may
// add to dgamma and dbeta too.
struct Gradient {
    Offset count;
    const T* var;
    double eps;
    T *means, *dgamma, *dbeta;

    __device__ void finish(int group, int groups, const Sums<2>& total) const {
        const double variance = double(var[group]) + eps;
        if (means != nullptr) {
            means[group] = static_cast<T>(total.of[0] / count);
            means[groups + group] = static_cast<T>(total.of[1] / count / variance);
        }
        if (dgamma != nullptr) {
            dgamma[group] += static_cast<T>(total.of[1] / sqrt(variance));
            dbeta[group] += static_cast<T>(total.of[0]);
        }
    }
};

#define GRADIENT_ARGUMENTS Offset count, T *means, T *dgamma, T *dbeta

// Partial sums of dy and of dy (x - mean), dy being taken back through the activation. Of a batch with `tickets` the
// last block finishes the gradient.
extern "C" __global__ void __launch_bounds__(256, 3)
gradient_sums(const T* __restrict__ dy, const T* __restrict__ x, PLACE_ARGUMENTS, STATISTICS_ARGUMENTS,
              const T* __restrict__ beta, double slope, Sums<2>* partials, unsigned* tickets, GRADIENT_ARGUMENTS) {
    const Place place(rows, columns, lanes, parts);
    const T left = static_cast<T>(slope);
    Affine to_y[VECTOR] = {};
    if (place.inside)
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) to_y[i] = affine(STATISTICS, beta, place.example, place.column + i);
    sum_columns<2>(place, lanes, partials, [&](Offset at, T (&sums)[VECTOR][2]) {
        const Vector<VECTOR> dy_here = load<VECTOR>(dy + at), x_here = load<VECTOR>(x + at);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const T g = to_y[i](x_here.at[i]) > 0 ? dy_here.at[i] : weakened(dy_here.at[i], left);
            sums[i][0] += g;
            sums[i][1] += g * (x_here.at[i] - to_y[i].mean);
        }
    });
    if (tickets == nullptr) return;
    const Gradient gradient{count, var, eps, means, dgamma, dbeta};
    finish_channels(place, lanes, channels, partials, tickets, [=](int channel, const Sums<2>& total) {
        gradient.finish(channel, channels, total);
    });
}

// The same for each group, from all its channels' partial sums; with `gamma_inside` g is gamma dy. A block a group.
extern "C" __global__ void finish_gradient(const Sums<2>* partials, int partial_rows, STATISTICS_ARGUMENTS,
                                           int gamma_inside, GRADIENT_ARGUMENTS) {
    const Sums<2> total = total_of_group(partials, partial_rows, channels, groups, [=](Sums<2> part, int channel) {
        if (gamma_inside)
            for (double& sum : part.of) sum *= gamma[channel];
        return part;
    });
    if (threadIdx.x == 0) Gradient{count, var, eps, means, dgamma, dbeta}.finish(blockIdx.x, gridDim.x, total);
}

// dx = gamma / deviation (dy - means[0] - d means[1]); with `gamma_inside` (gamma dy - ...) / deviation.
extern "C" __global__ void __launch_bounds__(256)
input_gradient(const T* __restrict__ dy, const T* __restrict__ x, PLACE_ARGUMENTS, STATISTICS_ARGUMENTS,
               const T* __restrict__ beta, double slope, int gamma_inside, const T* __restrict__ means,
               T* __restrict__ dx) {
    const Place place(rows, columns, lanes, parts);
    if (!place.inside) return;
    const Statistics statistics = STATISTICS;
    const T left = static_cast<T>(slope);
    const int all_groups = gridDim.x / parts * groups;
    Affine to_y[VECTOR];
    T inner[VECTOR], outer[VECTOR], mean_g[VECTOR], weight[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
        const int group = statistics.group(place.example, place.column + i);
        to_y[i] = affine(statistics, beta, place.example, place.column + i);
        inner[i] = gamma_inside ? gamma[statistics.channel(place.column + i)] : T(1);
        outer[i] = gamma_inside ? 1 / statistics.deviation(group) : to_y[i].scale;
        mean_g[i] = means[group];
        weight[i] = means[all_groups + group];
    }
#pragma unroll 2
    for (Offset row = place.first; row < rows; row += place.step) {
        const Vector<VECTOR> x_here = load<VECTOR>(x + place.at(row));
        Vector<VECTOR> here = load<VECTOR>(dy + place.at(row));
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const T g = to_y[i](x_here.at[i]) > 0 ? here.at[i] : weakened(here.at[i], left);
            here.at[i] = outer[i] * (inner[i] * g - mean_g[i] - (x_here.at[i] - to_y[i].mean) * weight[i]);
        }
        store<VECTOR>(dx + place.at(row), here);
    }
}

// With statistics that are constants: dx = dy gamma / deviation.
extern "C" __global__ void __launch_bounds__(256)
frozen_gradient(const T* __restrict__ dy, PLACE_ARGUMENTS, STATISTICS_ARGUMENTS, T* __restrict__ dx) {
    const Place place(rows, columns, lanes, parts);
    if (!place.inside) return;
    T scale[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) scale[i] = affine(STATISTICS, gamma, place.example, place.column + i).scale;
#pragma unroll 4
    for (Offset row = place.first; row < rows; row += place.step) {
        Vector<VECTOR> here = load<VECTOR>(dy + place.at(row));
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) here.at[i] *= scale[i];
        store<VECTOR>(dx + place.at(row), here);
    }
}
