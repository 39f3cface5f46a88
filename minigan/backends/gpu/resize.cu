// Upsampling by repetition, pixels from channels, and padding by reflection: copies and sums of runs of numbers that lie
// side by side.
//
// Settings: SCALAR, VECTOR, WIDE (see vector.cuh); VECTOR divides the length of the runs.

#include "vector.cuh"

// The indices of a number in an image (rows, width, run).
struct Spot {
    Index row, column, place;

    __device__ Spot(Offset at, int width, int run) {
        const Index pixel = static_cast<Index>(at) / run;
        place = static_cast<Index>(at) - pixel * run;
        row = pixel / width;
        column = pixel - row * width;
    }
};

// y (N H a, W b, C) from x (N H, W, C); `size` is y's, `width` W.
extern "C" __global__ void upsample_nearest(const T* x, T* y, Offset size, int width, int C, int a, int b) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        const Spot to(at, width * b, C);
        store<N>(y + at, load<N>(x + (Offset(to.row / a) * width + to.column / b) * C + to.place));
    });
}

// dx (N H, W, C) from dy (N H a, W b, C); `size` is dx's.
extern "C" __global__ void upsample_nearest_grad(const T* dy, T* dx, Offset size, int width, int C, int a, int b) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        const Spot to(at, width, C);
        Vector<N> sum = {};
        for (int r = 0; r < a; ++r)
            for (int s = 0; s < b; ++s) {
                const Offset row = Offset(to.row) * a + r, column = Offset(to.column) * b + s;
                const Vector<N> part = load<N>(dy + (row * width * b + column) * C + to.place);
#pragma unroll
                for (int i = 0; i < N; ++i) sum.at[i] += part.at[i];
            }
        store<N>(dx + at, sum);
    });
}

// Where y's number `at`, y being (N H, a, W, b C), lies in x (N H, W, a, b C): in both b C numbers lie side by side.
__device__ inline Offset in_depth(Offset at, int width, int run, int a) {
    const Spot in_space(at, width, run);
    const Index row = in_space.row / a, r = in_space.row - row * a;
    return ((Offset(row) * width + in_space.column) * a + r) * run + in_space.place;
}

extern "C" __global__ void depth_to_space(const T* x, T* y, Offset size, int width, int run, int a) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        store<N>(y + at, load<N>(x + in_depth(at, width, run, a)));
    });
}

extern "C" __global__ void space_to_depth(const T* y, T* x, Offset size, int width, int run, int a) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        store<N>(x + in_depth(at, width, run, a), load<N>(y + at));
    });
}

// The place in a side of a place in the padded side.
__device__ inline int mirrored(int place, int before, int side) {
    const int at = place < before ? before - place : place - before;
    return at < side ? at : 2 * (side - 1) - at;
}

// y (N, top + H + bottom, left + W + right, C) from x (N, H, W, C); `size` is y's.
extern "C" __global__ void reflect_pad(
    const T* x, T* y, Offset size, int H, int W, int C, int top, int bottom, int left, int right) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        const Spot to(at, left + W + right, C);
        const Index tall = top + H + bottom, image = to.row / tall;
        const Offset row = Offset(image) * H + mirrored(int(to.row - image * tall), top, H);
        store<N>(y + at, load<N>(x + (row * W + mirrored(int(to.column), left, W)) * C + to.place));
    });
}

// The k-th place, of at most three, in a padded side that shows a place of the side; -1 if there is none.
__device__ inline int shown(int k, int place, int before, int side, int after) {
    if (k == 0) return before + place;
    if (k == 1) return place > 0 && place <= before ? before - place : -1;
    const int distance = side - 1 - place;
    return distance > 0 && distance <= after ? before + side - 1 + distance : -1;
}

// dx (N, H, W, C) from dy (N, top + H + bottom, left + W + right, C); `size` is dx's.
extern "C" __global__ void reflect_pad_grad(
    const T* dy, T* dx, Offset size, int H, int W, int C, int top, int bottom, int left, int right) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        const Spot to(at, W, C);
        const Index image = to.row / H;
        Vector<N> sum = {};
        for (int k = 0; k < 3; ++k) {
            const int i = shown(k, int(to.row - image * H), top, H, bottom);
            if (i < 0) continue;
            for (int l = 0; l < 3; ++l) {
                const int j = shown(l, int(to.column), left, W, right);
                if (j < 0) continue;
                const Offset row = Offset(image) * (top + H + bottom) + i;
                const Vector<N> part = load<N>(dy + (row * (left + W + right) + j) * C + to.place);
#pragma unroll
                for (int n = 0; n < N; ++n) sum.at[n] += part.at[n];
            }
        }
        store<N>(dx + at, sum);
    });
}
