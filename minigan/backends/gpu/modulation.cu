// Scales of each image's channels: the two ends of a modulated convolution, and their gradients.
//
// Settings: SCALAR, VECTOR (see columns.cuh).

#include "columns.cuh"

// The scales of a thread's columns; s (N, channels).
__device__ inline Vector<VECTOR> scales_of(const Place& place, const T* s, int channels) {
    Vector<VECTOR> scales;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
        const int column = place.column + i;
        scales.at[i] = s[Offset(place.example) * channels + (column < channels ? column : column % channels)];
    }
    return scales;
}

__device__ inline void write_scaled(T* to, Vector<VECTOR> numbers, const Vector<VECTOR>& scales) {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) numbers.at[i] *= scales.at[i];
    store<VECTOR>(to, numbers);
}

// y = s x.
extern "C" __global__ void __launch_bounds__(256)
scale_channels(const T* __restrict__ x, PLACE_ARGUMENTS, const T* s, int channels, T* __restrict__ y) {
    const Place place(rows, columns, lanes, parts);
    if (!place.inside) return;
    const Vector<VECTOR> scales = scales_of(place, s, channels);
#pragma unroll 4
    for (Offset row = place.first; row < rows; row += place.step)
        write_scaled(y + place.at(row), load<VECTOR>(x + place.at(row)), scales);
}

// dx = s dy, unless dx is null, and the sums over pixels of dy x.
extern "C" __global__ void __launch_bounds__(256)
scale_gradients(const T* __restrict__ dy, const T* __restrict__ x, PLACE_ARGUMENTS, const T* s, int channels,
                T* __restrict__ dx, Sums<1>* partials) {
    const Place place(rows, columns, lanes, parts);
    Vector<VECTOR> scales = {};
    if (place.inside && dx != nullptr) scales = scales_of(place, s, channels);
    sum_columns<1>(place, lanes, partials, [=](Offset at, T (&sums)[VECTOR][1]) {
        const Vector<VECTOR> gradient = load<VECTOR>(dy + at), x_here = load<VECTOR>(x + at);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) sums[i][0] += gradient.at[i] * x_here.at[i];
        if (dx != nullptr) write_scaled(dx + at, gradient, scales);
    });
}

// ds (N, channels) from `rows` rows of partial sums for each example, in their order. A thread a number.
extern "C" __global__ void __launch_bounds__(256)
add_scale_gradients(const Sums<1>* partials, Offset size, int rows, int channels, T* ds) {
    const Offset step = Offset(gridDim.x) * blockDim.x;
    for (Offset at = Offset(blockIdx.x) * blockDim.x + threadIdx.x; at < size; at += step) {
        const Offset example = at / channels, channel = at - example * channels;
        Sums<1> total = {};
#pragma unroll 4
        for (int row = 0; row < rows; ++row) total.add(partials[(example * rows + row) * channels + channel]);
        ds[at] = static_cast<T>(total.of[0]);
    }
}
