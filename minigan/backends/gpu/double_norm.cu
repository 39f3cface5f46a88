// The double backward of batch and group normalization: one pass for the sums, one for both results, which are sums of
// multiples of v, dy, d = x - mean and 1. The formulas are derived in reference/norm.py and reference/group_norm.py.
//
// Settings: SCALAR, VECTOR (see columns.cuh).

#include "columns.cuh"

enum { SUM_V, SUM_VD, SUM_DY, SUM_DYD, SUM_VDY, SUMS };  // of `double_sums`
enum { DY_V, DY_D, DY_1, DX_V, DX_DY, DX_D, DX_1, FACTORS };  // of each channel and example

// Partial sums of v, v d, dy, dy d and v dy.
extern "C" __global__ void __launch_bounds__(256)
double_sums(const T* __restrict__ v, const T* __restrict__ dy, const T* __restrict__ x, PLACE_ARGUMENTS,
            STATISTICS_ARGUMENTS, Sums<SUMS>* partials) {
    const Place place(rows, columns, lanes, parts);
    T mean_here[VECTOR] = {};
    if (place.inside)
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) mean_here[i] = mean[STATISTICS.group(place.example, place.column + i)];
    sum_columns<SUMS>(place, lanes, partials, [&](Offset at, T (&sums)[VECTOR][SUMS]) {
        const Vector<VECTOR> v_here = load<VECTOR>(v + at), dy_here = load<VECTOR>(dy + at);
        const Vector<VECTOR> x_here = load<VECTOR>(x + at);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const T d = x_here.at[i] - mean_here[i];
            sums[i][SUM_V] += v_here.at[i];
            sums[i][SUM_VD] += v_here.at[i] * d;
            sums[i][SUM_DY] += dy_here.at[i];
            sums[i][SUM_DYD] += dy_here.at[i] * d;
            sums[i][SUM_VDY] += v_here.at[i] * dy_here.at[i];
        }
    });
}

// The factors (FACTORS, examples, channels) of a group's channels, from sums of v and g = gamma dy; and, for dgamma,
// means (2, examples * groups): mean(v) and mean(v d) / deviation^2. A block a group.
extern "C" __global__ void double_factors(const Sums<SUMS>* partials, int partial_rows, Offset count,
                                          STATISTICS_ARGUMENTS, T* factors, double* means) {
    Sums<SUMS> total =
        total_of_group(partials, partial_rows, channels, groups, [=](Sums<SUMS> part, int channel) {
            for (int q : {SUM_DY, SUM_DYD, SUM_VDY}) part.of[q] *= gamma[channel];
            return part;
        });
    Sums<SUMS>* shared = reinterpret_cast<Sums<SUMS>*>(shared_bytes());  // add_rows has left thread 0's total in it
    __syncthreads();
    total = shared[0];
    const int group = blockIdx.x, deep = channels / groups, example = group / groups;
    const double inv_std = 1 / sqrt(double(var[group]) + eps), inv_var = inv_std * inv_std;
    const double mean_v = total.of[SUM_V] / count, mean_g = total.of[SUM_DY] / count;
    const double a = total.of[SUM_VD] / count * inv_std, c = total.of[SUM_DYD] / count * inv_std;
    const double q = total.of[SUM_VDY] / count - mean_v * mean_g - a * c;
    if (threadIdx.x == 0) {
        means[group] = mean_v;
        means[gridDim.x + group] = a * inv_std;
    }
    const Offset all_channels = Offset(gridDim.x / groups) * channels;
    for (int channel = group % groups * deep + threadIdx.x, last = (group % groups + 1) * deep; channel < last;
         channel += blockDim.x) {
        const double scale = gamma[channel];
        T* to = factors + Offset(example) * channels + channel;
        to[DY_V * all_channels] = static_cast<T>(scale * inv_std);
        to[DY_D * all_channels] = static_cast<T>(-scale * a * inv_var);
        to[DY_1 * all_channels] = static_cast<T>(-scale * mean_v * inv_std);
        to[DX_V * all_channels] = static_cast<T>(-c * inv_var);
        to[DX_DY * all_channels] = static_cast<T>(-scale * a * inv_var);
        to[DX_D * all_channels] = static_cast<T>((2 * a * c - q) * inv_var * inv_std);
        to[DX_1 * all_channels] = static_cast<T>((c * mean_v + a * mean_g) * inv_var);
    }
}

// add_to += the sum of dy proj(v) / deviation over all examples. A block a channel.
extern "C" __global__ void add_double_weight_gradient(const Sums<SUMS>* partials, int examples, int partial_rows,
                                                      STATISTICS_ARGUMENTS, const double* means, T* add_to) {
    const Statistics statistics = STATISTICS;
    const int channel = blockIdx.x, all_groups = examples * groups;
    Sums<1> total[1] = {};
    for (Offset row = threadIdx.x; row < Offset(examples) * partial_rows; row += blockDim.x) {
        const Sums<SUMS> part = partials[row * channels + channel];
        const int group = statistics.group(static_cast<int>(row / partial_rows), channel);
        const double projected = part.of[SUM_VDY] - means[group] * part.of[SUM_DY]
                                 - means[all_groups + group] * part.of[SUM_DYD];
        total[0].of[0] += projected / sqrt(double(var[group]) + eps);
    }
    add_rows(total, 1);
    if (threadIdx.x == 0) add_to[channel] += static_cast<T>(total[0].of[0]);
}

extern "C" __global__ void __launch_bounds__(256)
double_gradients(const T* __restrict__ v, const T* __restrict__ dy, const T* __restrict__ x, PLACE_ARGUMENTS,
                 STATISTICS_ARGUMENTS, const T* __restrict__ factors, T* __restrict__ ddy, T* __restrict__ ddx) {
    const Place place(rows, columns, lanes, parts);
    if (!place.inside) return;
    const Statistics statistics = STATISTICS;
    const Offset all_channels = Offset(gridDim.x / parts) * channels;
    T mean_here[VECTOR], f[VECTOR][FACTORS];
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
        mean_here[i] = mean[statistics.group(place.example, place.column + i)];
        const T* from = factors + Offset(place.example) * channels + statistics.channel(place.column + i);
#pragma unroll
        for (int k = 0; k < FACTORS; ++k) f[i][k] = from[k * all_channels];
    }
    for (Offset row = place.first; row < rows; row += place.step) {
        const Offset at = place.at(row);
        const Vector<VECTOR> v_here = load<VECTOR>(v + at), dy_here = load<VECTOR>(dy + at);
        const Vector<VECTOR> x_here = load<VECTOR>(x + at);
        Vector<VECTOR> ddy_here, ddx_here;
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const T d = x_here.at[i] - mean_here[i];
            ddy_here.at[i] = f[i][DY_V] * v_here.at[i] + f[i][DY_D] * d + f[i][DY_1];
            ddx_here.at[i] = f[i][DX_V] * v_here.at[i] + f[i][DX_DY] * dy_here.at[i] + f[i][DX_D] * d + f[i][DX_1];
        }
        store<VECTOR>(ddy + at, ddy_here);
        store<VECTOR>(ddx + at, ddx_here);
    }
}
