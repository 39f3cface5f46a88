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
// A launch may do many products of one shape: `next_x`, `next_w` and `next_y` lead from each to the next. Such are the
// groups of a convolution, with C and K the channels and filters of each: then a group's channels lie between those of
// the others, `across(channels, groups)` from pixel to pixel.
//
// Settings: SCALAR, PRECISION, BM, BN, WARPS_M, WARPS_N, BK (see product.cuh); STAGES, tiles under way; BLOCKS, that a
// multiprocessor runs at a time; VA and VB, how many neighbors of the factors a thread may fetch at once; GROUPED,
// whether the products are groups.

#include "finish.cuh"
#include "product.cuh"

#ifndef GROUPED
#define GROUPED 0
#endif

struct Geometry {
    int N, H, W, C, P, Q, K, R, S, stride_h, stride_w, top, left, groups;
};

#define GEOMETRY_ARGUMENTS                                                                                        \
    int N, int H, int W, int C, int P, int Q, int K, int R, int S, int stride_h, int stride_w, int top, int left, \
        int groups
#define GEOMETRY Geometry{N, H, W, C, P, Q, K, R, S, stride_h, stride_w, top, left, groups}

// Numbers from one pixel, or row of a matrix, to the next, of which one group has so many.
__device__ inline int across(int channels, int groups) { return GROUPED ? channels * groups : channels; }

// ---------------------------------------------------------------------------------------------- loaders

constexpr int FAR = 1 << 30;  // a coordinate outside of every image

// One thread's share in a tile: the V numbers that it copies at each of TIMES times.
//
// Neighboring threads copy neighboring numbers of a row of memory: the whole depth of the tile, or a LINE of 32
// columns. Of such lines it then takes the next in the same row before it goes on to the next row.
template <int EXTENT, bool DEPTH_INNER, int V>
struct Share {
    using Where = Tile<EXTENT, DEPTH_INNER>;
    static constexpr int ROWS = DEPTH_INNER ? EXTENT : BK;
    static constexpr int LINE = DEPTH_INNER ? BK : EXTENT < 32 ? EXTENT : 32;
    static constexpr int LINES = DEPTH_INNER ? 1 : EXTENT / LINE;  // in a row
    static constexpr int ACROSS = LINE / V;                        // copies that make a line
    static constexpr int AT_ONCE = THREADS / ACROSS;               // rows that all threads copy from together
    static constexpr int TIMES = (ROWS + AT_ONCE - 1) / AT_ONCE * LINES;
    static_assert(THREADS % ACROSS == 0, "threads share rows evenly");

    static __device__ int place(int time) { return threadIdx.x % ACROSS * V + time % LINES * LINE; }
    static __device__ int row(int time) { return threadIdx.x / ACROSS + time / LINES * AT_ONCE; }
    // The times of one of PARTS shares of a step's copies.
    template <int PARTS>
    static __device__ constexpr bool is_in(int part, int time) { return time * PARTS / TIMES == part; }
    static __device__ bool exists(int time) { return ROWS % AT_ONCE == 0 || row(time) < ROWS; }
    static __device__ int at(int time) {
        return DEPTH_INNER ? Where::at(row(time), place(time)) : Where::at(place(time), row(time));
    }
};

// Windows of images: a row is one pixel's window, the depth runs over taps and, inside, channels.
// Tap (y, x) of a window that starts at (from_y, from_x) lies at (from_y + SIGN * y, from_x + SIGN * x).
template <int EXTENT, int V, int SIGN>
struct Windows {
    using Mine = Share<EXTENT, true, V>;

    const T* images;
    int height, width, pitch, depth;
    Divisor by_channels, by_taps_across;
    const T* start[Mine::TIMES];  // of each row's window: perhaps outside of the image, and not to be read then
    int from_y[Mine::TIMES], from_x[Mine::TIMES];

    __device__ Windows(const T* images, int height, int width, int channels, int groups, int taps_down, int taps_across)
        : images(images), height(height), width(width), pitch(across(channels, groups)),
          depth(taps_down * taps_across * channels), by_channels(channels),
          by_taps_across(taps_across > 0 ? taps_across : 1) {}

    __device__ void set_row(int time, int n, int y, int x) {
        start[time] = images + ((static_cast<Offset>(n) * height + y) * width + x) * pitch;
        from_y[time] = y;
        from_x[time] = x;
    }

    // A window beyond the last one lies outside of all images.
    __device__ void set_none(int time) {
        start[time] = images;
        from_y[time] = FAR;
        from_x[time] = 0;
    }

    template <int PARTS, class Copy>
    __device__ void each(int step, int part, const Copy& copy) const {
        int channel = step * BK + Mine::place(0);
        const bool inside = channel < depth;
        int x = by_channels.split(channel);
        const int y = by_taps_across.split(x);
        const Offset tap = SIGN * (static_cast<Offset>(y) * width + x) * pitch + channel;
        const unsigned down = SIGN * (inside ? y : FAR), across = SIGN * x;
#pragma unroll
        for (int time = 0; time < Mine::TIMES; ++time)
            if (Mine::template is_in<PARTS>(part, time))
                copy(time, start[time] + tap, from_y[time] + down < height && from_x[time] + across < width);
    }
};

// The windows of conv2d by tap: a column is (r, s, c), the depth runs over the windows' pixels (n, p, q).
template <int EXTENT, int V>
struct Taps {
    using Mine = Share<EXTENT, false, V>;

    const T* images;
    const Geometry g;
    int depth;
    Divisor by_Q, by_P;
    int r[Mine::LINES], s[Mine::LINES], tap[Mine::LINES];  // of each column, and where it lies from the window's start

    __device__ Taps(const T* images, const Geometry& g, int first_column)
        : images(images), g(g), depth(g.N * g.P * g.Q), by_Q(g.Q), by_P(g.P) {
        const Divisor by_C(g.C), by_S(g.S);
#pragma unroll
        for (int line = 0; line < Mine::LINES; ++line) {
            const int column = first_column + Mine::place(line);
            int c = column;
            s[line] = by_C.split(c);
            r[line] = by_S.split(s[line]);
            tap[line] = (r[line] * g.W + s[line]) * across(g.C, g.groups) + c;
            if (column >= g.R * g.S * g.C) r[line] = FAR;
        }
    }

    template <int PARTS, class Copy>
    __device__ void each(int step, int part, const Copy& copy) const {
#pragma unroll
        for (int time = 0; time < Mine::TIMES; time += Mine::LINES) {
            int q = step * BK + Mine::row(time);
            const bool inside = q < depth;
            int p = by_Q.split(q);
            const int n = by_P.split(p);
            const int from_y = p * g.stride_h - g.top, from_x = q * g.stride_w - g.left;
            const T* start = images + ((static_cast<Offset>(n) * g.H + from_y) * g.W + from_x) * across(g.C, g.groups);
            const unsigned y = inside ? from_y : FAR, x = from_x;
#pragma unroll
            for (int line = 0; line < Mine::LINES; ++line)
                if (Mine::template is_in<PARTS>(part, time + line))
                    copy(time + line, start + tap[line], y + r[line] < g.H && x + s[line] < g.W);
        }
    }
};

// A matrix (depth, columns) as it is, or a group's columns of one.
template <int EXTENT, int V>
struct Matrix {
    using Mine = Share<EXTENT, false, V>;

    const T* numbers;
    int depth, columns, pitch, first_column;

    __device__ Matrix(const T* numbers, int depth, int columns, int groups, int first_column)
        : numbers(numbers + first_column), depth(depth), columns(columns), pitch(across(columns, groups)),
          first_column(first_column) {}

    template <int PARTS, class Copy>
    __device__ void each(int step, int part, const Copy& copy) const {
#pragma unroll
        for (int time = 0; time < Mine::TIMES; ++time) {
            if (!Mine::template is_in<PARTS>(part, time)) continue;
            const int d = step * BK + Mine::row(time), place = Mine::place(time);
            copy(time, numbers + (static_cast<Offset>(d) * pitch + place), d < depth && first_column + place < columns);
        }
    }
};

// The weights as an input gradient's phase needs them: a row is c, the depth runs over the phase's taps and, inside, k.
template <int EXTENT, int V>
struct PhaseWeights {
    using Mine = Share<EXTENT, true, V>;

    const T* w;
    const Geometry g;
    int first_r, first_s, depth, first_row;
    Divisor by_K, by_taps_across;

    __device__ PhaseWeights(const T* w, const Geometry& g, int first_r, int first_s, int taps_down, int taps_across,
                            int first_row)
        : w(w), g(g), first_r(first_r), first_s(first_s), depth(taps_down * taps_across * g.K), first_row(first_row),
          by_K(g.K), by_taps_across(taps_across > 0 ? taps_across : 1) {}

    template <int PARTS, class Copy>
    __device__ void each(int step, int part, const Copy& copy) const {
        int k = step * BK + Mine::place(0);
        const int rows = k < depth ? g.C : 0;
        int s = by_K.split(k);
        const int r = first_r + by_taps_across.split(s) * g.stride_h;
        s = first_s + s * g.stride_w;
        const int pitch = across(g.K, g.groups);
        const T* tap = w + static_cast<Offset>(r * g.S + s) * g.C * pitch + k;
#pragma unroll
        for (int time = 0; time < Mine::TIMES; ++time) {
            if (!Mine::template is_in<PARTS>(part, time)) continue;
            const int c = first_row + Mine::row(time);
            copy(time, tap + static_cast<Offset>(c) * pitch, c < rows);
        }
    }
};

// ---------------------------------------------------------------------------------------------- the product

// Adds the steps [first, last) of the depth to the product: tiles arrive while earlier ones are multiplied. Copies are
// begun in parts, between multiplications, as both take their time to be issued.
template <class A, class B>
__device__ void accumulate(Product& product, A a, B b, int first, int last) {
    using MineA = typename A::Mine;
    using MineB = typename B::Mine;
    using TileA = typename MineA::Where;
    using TileB = typename MineB::Where;
    T* shared = reinterpret_cast<T*>(shared_bytes());
    a.depth = b.depth = min(a.depth, last * BK);  // beyond it zeros are copied, from nowhere
    const auto stage = [=](int step) { return shared + (step - first) % STAGES * (TileA::SIZE + TileB::SIZE); };
    const auto fetch = [&](int step, int part, auto parts) {
        constexpr int PARTS = decltype(parts)::value;
        T* to = stage(step);
        a.template each<PARTS>(step, part, [=](int time, const T* from, bool there) {
            if (MineA::exists(time)) copy_async<VA * sizeof(T)>(to + MineA::at(time), from, there);
        });
        b.template each<PARTS>(step, part, [=](int time, const T* from, bool there) {
            if (MineB::exists(time)) copy_async<VB * sizeof(T)>(to + TileA::SIZE + MineB::at(time), from, there);
        });
        if (part == PARTS - 1) close_copies();
    };
    for (int step = first; step < first + STAGES - 1; ++step) fetch(step, 0, Count<1>{});
    for (int step = first; step < last; ++step) {
        await_copies<STAGES - 2>();
        __syncthreads();  // the tile is there for all, and the one before it is no longer read
        product.template add<TileA, TileB>(stage(step), stage(step) + TileA::SIZE, [&](int part) {
            fetch(step + STAGES - 1, part, Count<Product::PARTS>{});
        });
    }
    await_copies<0>();  // of zeros: the shared memory is another block's next
}

#define FINISH_ARGUMENTS T *y, const T *bias, int biases, double slope, int add, int splits, T *parts
#define NEXT_ARGUMENTS Offset next_x, Offset next_w, Offset next_y, Offset results

// What a block does of all that is launched: grid.z counts products, in each its phases, and in each of these its parts.
struct Task {
    int product, phase, split;

    __device__ Task(int phases, int splits) {
        const int z = blockIdx.z;
        split = z % splits;
        phase = z / splits % phases;
        product = z / splits / phases;
    }
};

// The parts of a cut product are plain sums, each in an array like that of all the products' `results`. Each group has
// its own biases.
__device__ inline Finish finish_of(FINISH_ARGUMENTS, const Task& task, Offset next_y, Offset results) {
    const Offset at = task.product * next_y;
    if (splits > 1) return Finish{parts + task.split * results + at, nullptr, 0, T(1), false};
    if (GROUPED && bias != nullptr) bias += task.product * biases;
    return Finish{y + at, bias, biases, static_cast<T>(slope), add != 0};
}

// The steps of the depth that one of `splits` has to do: it is cut at multiples of 32, however deep a step is.
struct Steps {
    int first, last;

    __device__ Steps(int depth, int split, int splits) {
        const long long units = (static_cast<long long>(depth) + 31) / 32;
        first = static_cast<int>(units * split / splits) * (32 / BK);
        last = static_cast<int>(units * (split + 1) / splits) * (32 / BK);
    }
};

// The rows of a result that is a plain matrix (rows, columns), or a group's columns of one.
struct Rows {
    Finish finish;
    int rows, columns, groups, first_row, first_column;

    __device__ Offset row(int m) const {
        return first_row + m < rows ? static_cast<Offset>(first_row + m) * across(columns, groups) : -1;
    }

    template <int N>
    __device__ Columns<N> column(int n) const {
        return finish.columns<N>(first_column + n, columns);
    }

    template <int N>
    __device__ void operator()(Offset row, const Columns<N>& columns, const T* sums) const {
        if (row >= 0) finish(row, columns, sums);
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
        return ((static_cast<Offset>(n) * g.H + i) * g.W + j) * across(g.C, g.groups);
    }

    template <int N>
    __device__ Columns<N> column(int n) const {
        return finish.columns<N>(first_column + n, g.C);
    }

    template <int N>
    __device__ void operator()(Offset row, const Columns<N>& columns, const T* sums) const {
        if (row >= 0) finish(row, columns, sums);
    }
};

// ---------------------------------------------------------------------------------------------- kernels

// Grid: tiles of rows, tiles of columns, see Task. y (N, P, Q, K).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv2d(const T* x, const T* w, GEOMETRY_ARGUMENTS, NEXT_ARGUMENTS, FINISH_ARGUMENTS) {
    const Task task(1, splits);
    const int rows = N * P * Q, first_row = blockIdx.x * BM, first_column = blockIdx.y * BN;
    using Images = Windows<BM, VA, +1>;
    Images a(x + task.product * next_x, H, W, C, groups, R, S);
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
    const Matrix<BN, VB> b(w + task.product * next_w, a.depth, K, groups, first_column);
    const Steps steps(a.depth, task.split, splits);
    Product product;
    accumulate(product, a, b, steps.first, steps.last);
    const Finish finish = finish_of(y, bias, biases, slope, add, splits, parts, task, next_y, results);
    product.each(Rows{finish, rows, K, groups, first_row, first_column});
}

// Grid: tiles of a phase's pixels, tiles of columns, see Task. y (N, H, W, C) is dx; x (N, P, Q, K) is dy.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv2d_input_grad(const T* x, const T* w, GEOMETRY_ARGUMENTS, NEXT_ARGUMENTS, FINISH_ARGUMENTS) {
    const Geometry g = GEOMETRY;
    const Task task(stride_h * stride_w, splits);
    const Phase vertical(task.phase / stride_w, H, stride_h, top, R);
    const Phase horizontal(task.phase % stride_w, W, stride_w, left, S);
    const int rows = N * vertical.pixels * horizontal.pixels, first_row = blockIdx.x * BM;
    if (first_row >= rows) return;  // phases differ in their pixels
    const Divisor by_width(horizontal.pixels), by_height(vertical.pixels);
    using Images = Windows<BM, VA, -1>;
    Images a(x + task.product * next_x, P, Q, K, groups, vertical.taps, horizontal.taps);
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
    const PhaseWeights<BN, VB> b(w + task.product * next_w, g, vertical.first_tap, horizontal.first_tap, vertical.taps,
                                 horizontal.taps, first_column);
    const Steps steps(a.depth, task.split, splits);
    Product product;
    accumulate(product, a, b, steps.first, steps.last);
    const Finish finish = finish_of(y, bias, biases, slope, add, splits, parts, task, next_y, results);
    product.each(PhaseRows{finish, g, vertical, horizontal, first_row, first_column, by_width, by_height});
}

// Grid: tiles of (r, s, c), tiles of k, see Task. y (R, S, C, K) is dw; dy (N, P, Q, K) stands in for w.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv2d_weight_grad(const T* x, const T* w, GEOMETRY_ARGUMENTS, NEXT_ARGUMENTS, FINISH_ARGUMENTS) {
    const Geometry g = GEOMETRY;
    const Task task(1, splits);
    const int rows = R * S * C, depth = N * P * Q, first_row = blockIdx.x * BM, first_column = blockIdx.y * BN;
    const Taps<BM, VA> a(x + task.product * next_x, g, first_row);
    const Matrix<BN, VB> b(w + task.product * next_w, depth, K, groups, first_column);
    const Steps steps(depth, task.split, splits);
    Product product;
    accumulate(product, a, b, steps.first, steps.last);
    const Finish finish = finish_of(y, bias, biases, slope, add, splits, parts, task, next_y, results);
    product.each(Rows{finish, rows, K, groups, first_row, first_column});
}
