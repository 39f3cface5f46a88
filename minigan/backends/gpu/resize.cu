// Upsampling by repetition, and pixels from channels. All are copies of runs of numbers that lie side by side.
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
