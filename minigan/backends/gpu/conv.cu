// The convolution family as matrix products whose factors are never stored: implicit GEMM.
//
// Each of the three kernels is one product (rows, depth) x (depth, columns); what differs is where the numbers of a
// tile are read from, which is the business of the loaders below:
//
//                        rows                      depth                     columns
//   conv2d               pixels (n, p, q) of y     (r, s, c)                 k
//   conv2d_input_grad    pixels (n, i, j) of dx    (r, s, k)                 c
//   conv2d_weight_grad   (r, s, c)                 pixels (n, p, q) of dy    k
//
// An input gradient of stride (a, b) falls into a x b phases: the pixels i with the same (i + top) % a meet the same
// taps r of the filter, every a-th one. Each phase is a product of its own, without a single zero inserted.
//
// A product with few tiles but a long depth is cut along its depth: each of `splits` parts writes its sum to `parts`,
// and `sum_parts` adds them in their order, so that the result never depends on who was first.
//
// Settings: SCALAR, PRECISION, BM, BN, WARPS_M, WARPS_N (see product.cuh); VA and VB, how many neighbours of the factors a
// thread may fetch at once.

#include "finish.cuh"
#include "product.cuh"

constexpr int STAGES = 4;  // tiles under way: while one is multiplied the next three arrive

struct Geometry {
    int N, H, W, C, P, Q, K, R, S, stride_h, stride_w, top, left;
};

#define GEOMETRY_ARGUMENTS                                                                                       \
    int N, int H, int W, int C, int P, int Q, int K, int R, int S, int stride_h, int stride_w, int top, int left
#define GEOMETRY Geometry{N, H, W, C, P, Q, K, R, S, stride_h, stride_w, top, left}

// ---------------------------------------------------------------------------------------------- loaders

// One thread's share in copying a tile: the rows, and the places in them, that it copies.
template <int ROWS, int LENGTH, int V>
struct Share {
    static constexpr int ACROSS = LENGTH / V;             // copies that make a row
    static constexpr int AT_ONCE = THREADS / ACROSS;      // rows that all threads copy together
    static constexpr int TIMES = (ROWS + AT_ONCE - 1) / AT_ONCE;

    static __device__ int place() { return threadIdx.x % ACROSS * V; }
    static __device__ int row(int time) { return threadIdx.x / ACROSS + time * AT_ONCE; }
};

// Windows of images: a row is one pixel's window, the depth runs over taps and, inside, channels.
// Tap (y, x) of a window that starts at (from_y, from_x) lies at (from_y + SIGN * y, from_x + SIGN * x).
template <int EXTENT, int V, int SIGN>
struct Windows {
    using Where = Tile<EXTENT, true>;
    using Mine = Share<EXTENT, BK, V>;

    const T* images;
    int height, width, channels, depth;
    Divisor by_channels, by_taps_across;
    Offset image[Mine::TIMES];  // where each row's image begins
    int from_y[Mine::TIMES], from_x[Mine::TIMES];

    __device__ Windows(const T* images, int height, int width, int channels, int taps_down, int taps_across)
        : images(images), height(height), width(width), channels(channels),
          depth(taps_down * taps_across * channels), by_channels(channels),
          by_taps_across(taps_across > 0 ? taps_across : 1) {}

    __device__ void set_row(int time, int n, int y, int x) {
        image[time] = static_cast<Offset>(n) * height * width * channels;
        from_y[time] = y;
        from_x[time] = x;
    }

    // A window beyond the last one lies outside of all images.
    __device__ void set_none(int time) { set_row(time, 0, -SIGN * (1 << 30), 0); }

    __device__ void load(T* tile, int step) const {
        int channel = step * BK + Mine::place();
        const bool inside = channel < depth;
        int x = by_channels.split(channel);
        const int y = by_taps_across.split(x);
#pragma unroll
        for (int time = 0; time < Mine::TIMES; ++time) {
            if (Mine::row(time) >= EXTENT) continue;
            const int at_y = from_y[time] + SIGN * y, at_x = from_x[time] + SIGN * x;
            const bool there = inside && 0 <= at_y && at_y < height && 0 <= at_x && at_x < width;
            const Offset at = there ? image[time] + (static_cast<Offset>(at_y) * width + at_x) * channels + channel : 0;
            copy_async<V * sizeof(T)>(tile + Where::at(Mine::row(time), Mine::place()), images + at, there);
        }
    }
};

// The windows of conv2d by tap: a column is (r, s, c), the depth runs over the windows' pixels (n, p, q).
template <int EXTENT, int V>
struct Taps {
    using Where = Tile<EXTENT, false>;
    using Mine = Share<BK, EXTENT, V>;

    const T* images;
    const Geometry g;
    Divisor by_Q, by_P;
    int r, s, c;
    bool inside;

    __device__ Taps(const T* images, const Geometry& g, int first_column) : images(images), g(g), by_Q(g.Q), by_P(g.P) {
        c = first_column + Mine::place();
        inside = c < g.R * g.S * g.C;
        s = Divisor(g.C).split(c);
        r = Divisor(g.S).split(s);
    }

    __device__ void load(T* tile, int step) const {
#pragma unroll
        for (int time = 0; time < Mine::TIMES; ++time) {
            if (Mine::row(time) >= BK) continue;
            int q = step * BK + Mine::row(time);
            int p = by_Q.split(q);
            const int n = by_P.split(p);
            const int y = p * g.stride_h + r - g.top, x = q * g.stride_w + s - g.left;
            const bool there = inside && n < g.N && 0 <= y && y < g.H && 0 <= x && x < g.W;
            const Offset at = there ? ((static_cast<Offset>(n) * g.H + y) * g.W + x) * g.C + c : 0;
            copy_async<V * sizeof(T)>(tile + Where::at(Mine::place(), Mine::row(time)), images + at, there);
        }
    }
};

// A matrix (depth, columns) as it is.
template <int EXTENT, int V>
struct Matrix {
    using Where = Tile<EXTENT, false>;
    using Mine = Share<BK, EXTENT, V>;

    const T* numbers;
    int depth, columns, column;

    __device__ Matrix(const T* numbers, int depth, int columns, int first_column)
        : numbers(numbers), depth(depth), columns(columns), column(first_column + Mine::place()) {}

    __device__ void load(T* tile, int step) const {
#pragma unroll
        for (int time = 0; time < Mine::TIMES; ++time) {
            if (Mine::row(time) >= BK) continue;
            const int d = step * BK + Mine::row(time);
            const bool there = d < depth && column < columns;
            const Offset at = there ? static_cast<Offset>(d) * columns + column : 0;
            copy_async<V * sizeof(T)>(tile + Where::at(Mine::place(), Mine::row(time)), numbers + at, there);
        }
    }
};

// The weights as an input gradient's phase needs them: a row is c, the depth runs over the phase's taps and, inside, k.
template <int EXTENT, int V>
struct PhaseWeights {
    using Where = Tile<EXTENT, true>;
    using Mine = Share<EXTENT, BK, V>;

    const T* w;
    const Geometry g;
    int first_r, first_s, depth, first_row;
    Divisor by_K, by_taps_across;

    __device__ PhaseWeights(const T* w, const Geometry& g, int first_r, int first_s, int taps_down, int taps_across,
                            int first_row)
        : w(w), g(g), first_r(first_r), first_s(first_s), depth(taps_down * taps_across * g.K), first_row(first_row),
          by_K(g.K), by_taps_across(taps_across > 0 ? taps_across : 1) {}

    __device__ void load(T* tile, int step) const {
        int k = step * BK + Mine::place();
        const bool inside = k < depth;
        int s = by_K.split(k);
        const int r = first_r + by_taps_across.split(s) * g.stride_h;
        s = first_s + s * g.stride_w;
#pragma unroll
        for (int time = 0; time < Mine::TIMES; ++time) {
            if (Mine::row(time) >= EXTENT) continue;
            const int c = first_row + Mine::row(time);
            const bool there = inside && c < g.C;
            const Offset at = there ? (static_cast<Offset>(r * g.S + s) * g.C + c) * g.K + k : 0;
            copy_async<V * sizeof(T)>(tile + Where::at(Mine::row(time), Mine::place()), w + at, there);
        }
    }
};

// ---------------------------------------------------------------------------------------------- the product

// Adds the steps [first, last) of the depth to the product: tiles arrive while earlier ones are multiplied.
template <class A, class B>
__device__ void accumulate(Product& product, const A& a, const B& b, int first, int last) {
    constexpr int SIZE = A::Where::SIZE + B::Where::SIZE;
    T* shared = reinterpret_cast<T*>(shared_bytes());
    const auto fetch = [&](int step) {
        if (step < last) {
            T* stage = shared + (step - first) % STAGES * SIZE;
            a.load(stage, step);
            b.load(stage + A::Where::SIZE, step);
        }
        close_copies();  // also an empty group, so that waiting counts alike in every step
    };
    for (int step = first; step < first + STAGES - 1; ++step) fetch(step);
    for (int step = first; step < last; ++step) {
        await_copies<STAGES - 2>();
        __syncthreads();  // the tile is there for all, and the one before it is no longer read
        fetch(step + STAGES - 1);
        const T* stage = shared + (step - first) % STAGES * SIZE;
        product.add<typename A::Where, typename B::Where>(stage, stage + A::Where::SIZE);
    }
}

#define FINISH_ARGUMENTS T *y, const T *bias, int biases, double slope, int add, int splits, T *parts

// The parts of a cut product are plain sums, each in an array like y.
__device__ inline Finish finish_of(FINISH_ARGUMENTS, int split, Offset size) {
    if (splits > 1) return Finish{parts + split * size, nullptr, 0, T(1), false};
    return Finish{y, bias, biases, static_cast<T>(slope), add != 0};
}

// The steps of the depth that one of `splits` has to do.
struct Steps {
    int first, last;

    __device__ Steps(int depth, int split, int splits) {
        const long long steps = (depth + BK - 1) / BK;
        first = static_cast<int>(steps * split / splits);
        last = static_cast<int>(steps * (split + 1) / splits);
    }
};

// The rows of a result that is a plain matrix (rows, columns).
struct Rows {
    Finish finish;
    int rows, columns, first_row, first_column;

    __device__ Offset row(int m) const {
        return first_row + m < rows ? static_cast<Offset>(first_row + m) * columns : -1;
    }

    __device__ void operator()(Offset row, int n, T sum) const {
        if (row >= 0 && first_column + n < columns) finish(row + first_column + n, first_column + n, sum);
    }
};

// The pixels of an image that belong to one phase: every stride-th from the first, and the window's start at each.
struct Phase {
    int first_tap, taps, first_pixel, pixels, first_window;

    __device__ Phase(int phase, int extent, int stride, int pad, int filter) {
        first_tap = phase;
        taps = phase < filter ? (filter - phase + stride - 1) / stride : 0;
        first_window = pad > phase ? (pad - phase + stride - 1) / stride : 0;  // of the smallest pixel >= 0
        first_pixel = first_window * stride + phase - pad;
        pixels = first_pixel < extent ? (extent - first_pixel + stride - 1) / stride : 0;
    }
};

// The rows of dx that are pixels of one phase.
struct PhaseRows {
    Finish finish;
    const Geometry g;
    const Phase vertical, horizontal;
    int first_row, first_column;
    Divisor by_width, by_height;

    __device__ Offset row(int m) const {
        int j = first_row + m;
        int i = by_width.split(j);
        const int n = by_height.split(i);
        if (n >= g.N) return -1;
        i = vertical.first_pixel + i * g.stride_h;
        j = horizontal.first_pixel + j * g.stride_w;
        return ((static_cast<Offset>(n) * g.H + i) * g.W + j) * g.C;
    }

    __device__ void operator()(Offset row, int n, T sum) const {
        if (row >= 0 && first_column + n < g.C) finish(row + first_column + n, first_column + n, sum);
    }
};

// ---------------------------------------------------------------------------------------------- kernels

// Grid: tiles of rows, tiles of columns, splits. y (N, P, Q, K).
extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv2d(const T* x, const T* w, GEOMETRY_ARGUMENTS, FINISH_ARGUMENTS) {
    const int rows = N * P * Q, first_row = blockIdx.x * BM, first_column = blockIdx.y * BN;
    using Images = Windows<BM, VA, +1>;
    Images a(x, H, W, C, R, S);
    const Divisor by_Q(Q), by_P(P);
    for (int time = 0; time < Images::Mine::TIMES; ++time) {
        int q = first_row + Images::Mine::row(time);
        if (q >= rows) {
            a.set_none(time);
            continue;
        }
        int p = by_Q.split(q);
        const int n = by_P.split(p);
        a.set_row(time, n, p * stride_h - top, q * stride_w - left);
    }
    const Matrix<BN, VB> b(w, a.depth, K, first_column);
    const Steps steps(a.depth, blockIdx.z, splits);
    Product product;
    accumulate(product, a, b, steps.first, steps.last);
    const Finish finish = finish_of(y, bias, biases, slope, add, splits, parts, blockIdx.z, Offset(rows) * K);
    product.each(Rows{finish, rows, K, first_row, first_column});
}

// Grid: tiles of a phase's pixels, tiles of columns, phases x splits. y (N, H, W, C) is dx; x (N, P, Q, K) is dy.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv2d_input_grad(const T* x, const T* w, GEOMETRY_ARGUMENTS, FINISH_ARGUMENTS) {
    const Geometry g = GEOMETRY;
    const int split = blockIdx.z % splits, phase = blockIdx.z / splits;
    const Phase vertical(phase / stride_w, H, stride_h, top, R), horizontal(phase % stride_w, W, stride_w, left, S);
    const int rows = N * vertical.pixels * horizontal.pixels, first_row = blockIdx.x * BM;
    if (first_row >= rows) return;  // phases differ in their pixels
    const Divisor by_width(horizontal.pixels), by_height(vertical.pixels);
    using Images = Windows<BM, VA, -1>;
    Images a(x, P, Q, K, vertical.taps, horizontal.taps);
    for (int time = 0; time < Images::Mine::TIMES; ++time) {
        int j = first_row + Images::Mine::row(time);
        if (j >= rows) {
            a.set_none(time);
            continue;
        }
        int i = by_width.split(j);
        const int n = by_height.split(i);
        a.set_row(time, n, vertical.first_window + i, horizontal.first_window + j);
    }
    const int first_column = blockIdx.y * BN;
    const PhaseWeights<BN, VB> b(w, g, vertical.first_tap, horizontal.first_tap, vertical.taps, horizontal.taps,
                                 first_column);
    const Steps steps(a.depth, split, splits);
    Product product;
    accumulate(product, a, b, steps.first, steps.last);
    const Finish finish = finish_of(y, bias, biases, slope, add, splits, parts, split, Offset(N) * H * W * C);
    product.each(PhaseRows{finish, g, vertical, horizontal, first_row, first_column, by_width, by_height});
}

// Grid: tiles of (r, s, c), tiles of k, splits. y (R, S, C, K) is dw; dy (N, P, Q, K) stands in for w.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv2d_weight_grad(const T* x, const T* w, GEOMETRY_ARGUMENTS, FINISH_ARGUMENTS) {
    const Geometry g = GEOMETRY;
    const int rows = R * S * C, depth = N * P * Q, first_row = blockIdx.x * BM, first_column = blockIdx.y * BN;
    const Taps<BM, VA> a(x, g, first_row);
    const Matrix<BN, VB> b(w, depth, K, first_column);
    const Steps steps(depth, blockIdx.z, splits);
    Product product;
    accumulate(product, a, b, steps.first, steps.last);
    const Finish finish = finish_of(y, bias, biases, slope, add, splits, parts, blockIdx.z, Offset(rows) * K);
    product.each(Rows{finish, rows, K, first_row, first_column});
}
