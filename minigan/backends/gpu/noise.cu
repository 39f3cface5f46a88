// Noise, a bias and a LeakyReLU with a gain, and their gradients: the end of a layer of StyleGAN2's synthesis.
//
// Settings: SCALAR, VECTOR (see columns.cuh).

#include "columns.cuh"

// work(i, pixel, channel) for the VECTOR numbers at a place of images; the pixel counts within the noise's.
template <class Work>
__device__ inline void each_number(Offset at, int channels, Offset noise_pixels, const Work& work) {
    Offset pixel = at / channels;
    int channel = static_cast<int>(at - pixel * channels);
    if (pixel >= noise_pixels) pixel %= noise_pixels;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
        work(i, pixel, channel);
        if (++channel < channels) continue;
        channel = 0;
        if (++pixel == noise_pixels) pixel = 0;
    }
}

// y = gain * f(x + strength n + b); f(t) is t above 0 and slope t below.
extern "C" __global__ void __launch_bounds__(256)
noise_leaky_relu(const T* __restrict__ x, PLACE_ARGUMENTS, const T* n, Offset noise_pixels, const T* strength,
                 const T* b, int channels, double slope, double gain, T* __restrict__ y) {
    const Place place(rows, columns, lanes, parts);
    if (!place.inside) return;
    const T left = static_cast<T>(slope), scale = static_cast<T>(gain), strong = *strength;
#pragma unroll 2
    for (Offset row = place.first; row < rows; row += place.step) {
        Vector<VECTOR> here = load<VECTOR>(x + place.at(row));
        each_number(place.at(row), channels, noise_pixels, [&](int i, Offset pixel, int channel) {
            const T t = here.at[i] + strong * n[pixel] + b[channel];
            here.at[i] = (t > 0 ? t : weakened(t, left)) * scale;
        });
        store<VECTOR>(y + place.at(row), here);
    }
}

// dx, and of each channel the sums of dx and of dx n.
extern "C" __global__ void __launch_bounds__(256)
noise_gradients(const T* __restrict__ dy, const T* __restrict__ y, PLACE_ARGUMENTS, const T* n, Offset noise_pixels,
                int channels, double slope, double gain, T* __restrict__ dx, Sums<2>* partials) {
    const Place place(rows, columns, lanes, parts);
    const T left = static_cast<T>(slope), scale = static_cast<T>(gain);
    sum_columns<2>(place, lanes, partials, [=](Offset at, T (&sums)[VECTOR][2]) {
        Vector<VECTOR> here = load<VECTOR>(dy + at);
        const Vector<VECTOR> y_here = load<VECTOR>(y + at);
        each_number(at, channels, noise_pixels, [&](int i, Offset pixel, int) {
            here.at[i] = (y_here.at[i] > 0 ? here.at[i] : weakened(here.at[i], left)) * scale;
            sums[i][0] += here.at[i];
            sums[i][1] += here.at[i] * n[pixel];
        });
        store<VECTOR>(dx + at, here);
    });
}

// db += the sums of dx, a block a channel; dstrength += those of dx n over all channels, the last block.
extern "C" __global__ void __launch_bounds__(256)
add_noise_gradients(const Sums<2>* partials, int rows, int channels, T* dstrength, T* db) {
    const bool is_strength = blockIdx.x == channels;
    const Offset first = is_strength ? 0 : blockIdx.x, step = is_strength ? 1 : channels;
    Sums<2> total[1] = {};
    for (Offset at = first + threadIdx.x * step; at < Offset(rows) * channels; at += blockDim.x * step)
        total[0].add(partials[at]);
    add_rows(total, 1);
    if (threadIdx.x != 0) return;
    T* to = is_strength ? dstrength : db + blockIdx.x;
    *to += static_cast<T>(total[0].of[is_strength]);
}
