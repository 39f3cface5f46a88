// The convolution family in narrow groups, straight from its sums: the products of a group of 1 channel, or of a few,
// would leave most of a tile on the tensor cores empty. All sums are in T, whatever the precision of products.
//
//                        result             each number sums over
//   conv2d               y  (N, P, Q, K)    taps, and `source` channels of x of its group
//   conv2d_input_grad    dx (N, H, W, C)    taps that reach it, and `source` channels of dy of its group
//   conv2d_weight_grad   dw (R, S, C/G, K)  pixels of dy
//
// A thread has VECTOR neighboring channels of a result; those beside it have their neighbors, so that memory is read
// and written in whole lines. It computes PIXELS pixels of a row, for which it fetches a tap's weights once; or, of dw,
// up to ROWS rows, for which it fetches dy once. The sums of dw by different threads and blocks are added in a fixed
// order: here those of a block, by `sum_parts` (combine.cu) those of all blocks.
//
// What lies outside of an image is skipped, not multiplied by 0; a group's numbers meet no other's.
//
// Settings: SCALAR; VECTOR; SHARE, which channels the VECTOR results of a thread see; FETCH, how many of them are
// fetched at once.

#include "finish.cuh"

#define OWN 0     // each its own one: groups of one channel and one filter
#define COMMON 1  // the same: they are in one group
#define MIXED 2   // VECTOR results are of several groups

constexpr int PIXELS = 4, ROWS = 9;
constexpr int FAR = 1 << 30;  // a coordinate outside of every image

#define GEOMETRY_ARGUMENTS                                                                                       \
    int N, int H, int W, int C, int P, int Q, int K, int R, int S, int stride_h, int stride_w, int top, int left

// A thread's channels: the results from `first` on, and where the channels that they see begin.
struct Channels {
    int first, source;  // of a group so many are seen
    int from[SHARE == MIXED ? VECTOR : 1];
    bool inside;

    // Groups make `result` of the `all` results each, from `source` channels. Grid.y: tiles of `lanes` threads.
    __device__ Channels(int lanes, int all, int result, int source) : source(source) {
        const int lane = threadIdx.x % lanes;
        first = (blockIdx.y * lanes + lane) * VECTOR;
        inside = threadIdx.x / lanes < blockDim.x / lanes && first < all;
#pragma unroll
        for (int i = 0; i < (SHARE == MIXED ? VECTOR : 1); ++i)
            from[i] = SHARE == OWN ? first : (first + i) / result * source;
    }
};

// sums[i] += numbers * weights, of the channels from `channel` on of those that each result sees, at one pixel.
__device__ inline void multiply(T (&sums)[VECTOR], const T* pixel, const Channels& mine, int channel,
                                const T (&weights)[FETCH][VECTOR]) {
#if SHARE == OWN
    const Vector<VECTOR> numbers = load<VECTOR>(pixel + mine.from[0]);
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) sums[i] += numbers.at[i] * weights[0][i];
#elif SHARE == COMMON
    const Vector<FETCH> numbers = load<FETCH>(pixel + mine.from[0] + channel);
#pragma unroll
    for (int f = 0; f < FETCH; ++f)
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) sums[i] += numbers.at[f] * weights[f][i];
#else
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) sums[i] += pixel[mine.from[i] + channel] * weights[0][i];
#endif
}

// The pixels of a thread: in a row of the result PIXELS columns, `apart` from each other; beside each other in memory
// are those of neighboring threads.
struct Pixels {
    int n, row, column, apart;
    bool inside;

    // Grid.x: rows of `apart` first columns, all images' one after the other, of which a block's threads take the next.
    __device__ Pixels(int lanes, int images, int height, int apart) : apart(apart) {
        const int at_once = blockDim.x / lanes;
        column = blockIdx.x * at_once + threadIdx.x / lanes;
        row = Divisor(apart).split(column);
        n = Divisor(height).split(row);
        inside = n < images;
    }
};

// The row of a source image that one row of taps meets: PIXELS places, `apart` from each other; not all are inside.
struct SourceRow {
    const T* numbers;
    int width, channels, apart;

    // Adds what one tap gives to the thread's pixels; weights(channel, w) fetches the weights of FETCH channels.
    template <class Weights>
    __device__ void add_tap(T (&sums)[PIXELS][VECTOR], int column, const Channels& mine, const Weights& weights) const {
        for (int channel = 0; channel < mine.source; channel += FETCH) {
            T w[FETCH][VECTOR];
            weights(channel, w);
#pragma unroll
            for (int i = 0; i < PIXELS; ++i) {
                const unsigned at = column + i * apart;
                if (at < width) multiply(sums[i], numbers + Offset(at) * channels, mine, channel, w);
            }
        }
    }
};

// Finishes and writes the sums of a thread's pixels; y (images, height, width, channels).
__device__ inline void write(const Finish& finish, const T (&sums)[PIXELS][VECTOR], const Pixels& pixels,
                             const Channels& mine, int height, int width, int channels) {
    const auto columns = finish.columns<VECTOR>(mine.first, channels);
#pragma unroll
    for (int i = 0; i < PIXELS; ++i) {
        const int column = pixels.column + i * pixels.apart;
        if (column >= width) continue;
        const Offset pixel = (Offset(pixels.n) * height + pixels.row) * width + column;
        finish(pixel * channels, columns, sums[i]);
    }
}

// Grid: see Pixels, Channels. y (N, P, Q, K).
extern "C" __global__ void __launch_bounds__(256, 3)
grouped_conv2d(const T* x, const T* w, GEOMETRY_ARGUMENTS, int deep, int wide, int lanes, int apart, T* y, const T* bias,
               double slope) {
    const Channels mine(lanes, K, wide, deep);
    const Pixels pixels(lanes, N, P, apart);
    if (!mine.inside || !pixels.inside) return;
    T sums[PIXELS][VECTOR] = {};
    const int first_y = pixels.row * stride_h - top, first_x = pixels.column * stride_w - left;
    for (int r = 0; r < R; ++r) {
        const unsigned y_of_x = first_y + r;
        if (y_of_x >= H) continue;
        const SourceRow row{x + (Offset(pixels.n) * H + y_of_x) * W * C, W, C, apart * stride_w};
        for (int s = 0; s < S; ++s) {
            const T* tap = w + Offset(r * S + s) * deep * K + mine.first;
            row.add_tap(sums, first_x + s, mine, [=](int channel, T (&weights)[FETCH][VECTOR]) {
#pragma unroll
                for (int f = 0; f < FETCH; ++f) {
                    const Vector<VECTOR> those = load<VECTOR>(tap + Offset(channel + f) * K);
#pragma unroll
                    for (int i = 0; i < VECTOR; ++i) weights[f][i] = those.at[i];
                }
            });
        }
    }
    write(Finish{y, bias, K, static_cast<T>(slope), false}, sums, pixels, mine, P, Q, K);
}

// Grid: see Pixels, Channels. dx (N, H, W, C). `apart` is a multiple of stride_w, so that the same taps reach all pixels
// of a thread.
extern "C" __global__ void __launch_bounds__(256, 3)
grouped_conv2d_input_grad(const T* dy, const T* w, GEOMETRY_ARGUMENTS, int deep, int wide, int lanes, int apart, T* dx,
                          const T* bias) {
    const Channels mine(lanes, C, deep, wide);
    const Pixels pixels(lanes, N, H, apart);
    if (!mine.inside || !pixels.inside) return;
#if SHARE != OWN
    int weights_of[VECTOR];  // where each channel's begin among those of a tap
#pragma unroll
    for (int i = 0; i < VECTOR; ++i)
        weights_of[i] = (mine.first + i) % deep * K + mine.from[SHARE == MIXED ? i : 0];
#endif
    T sums[PIXELS][VECTOR] = {};
    int first_r = pixels.row + top, first_s = pixels.column + left;  // as far as a window starts before the pixel
    const int last_p = Divisor(stride_h).split(first_r), last_q = Divisor(stride_w).split(first_s);
    for (int r = first_r, p = last_p; r < R && p >= 0; r += stride_h, --p) {
        if (p >= P) continue;
        const SourceRow row{dy + (Offset(pixels.n) * P + p) * Q * K, Q, K, apart / stride_w};
        for (int s = first_s, q = last_q; s < S; s += stride_w, --q) {
            const T* tap = w + Offset(r * S + s) * deep * K;
            row.add_tap(sums, q, mine, [&](int channel, T (&weights)[FETCH][VECTOR]) {
#if SHARE == OWN
                const Vector<VECTOR> those = load<VECTOR>(tap + mine.first);
#pragma unroll
                for (int i = 0; i < VECTOR; ++i) weights[0][i] = those.at[i];
#else
#pragma unroll
                for (int i = 0; i < VECTOR; ++i) {
                    const Vector<FETCH> those = load<FETCH>(tap + weights_of[i] + channel);
#pragma unroll
                    for (int f = 0; f < FETCH; ++f) weights[f][i] = those.at[f];
                }
#endif
            });
        }
    }
    write(Finish{dx, bias, C, T(1), false}, sums, pixels, mine, H, W, C);
}

// Grid: x, for each chunk of `each` rows of dw (R * S * deep, K) `parts` of the pixels; y, see Channels. A block writes
// parts[part]. Shared memory: a Vector<VECTOR> for each thread and each of ROWS.
extern "C" __global__ void __launch_bounds__(256)
grouped_conv2d_weight_grad(const T* x, const T* dy, GEOMETRY_ARGUMENTS, int deep, int wide, int lanes, int each,
                           int splits, T* parts) {
    const Channels mine(lanes, K, wide, deep);
    const int split = blockIdx.x % splits, first_row = blockIdx.x / splits * each, rows = min(each, R * S * deep - first_row);
    int r[ROWS], s[ROWS], from[ROWS];  // of each row, and where its numbers lie from the window's start
#pragma unroll
    for (int j = 0; j < ROWS; ++j) {
        int tap = (first_row + j) / deep;
        const int c = first_row + j - tap * deep;
        r[j] = j < rows ? tap / S : FAR;
        s[j] = tap % S;
        from[j] = (tap / S * W + s[j]) * C + c;
    }
    T sums[ROWS][VECTOR] = {};
    const Divisor by_Q(Q), by_P(P);
    const int at_once = blockDim.x / lanes, pixels = N * P * Q;
    const int first = static_cast<int>(Offset(pixels) * split / splits);
    const int last = static_cast<int>(Offset(pixels) * (split + 1) / splits);
    for (int pixel = first + threadIdx.x / lanes; mine.inside && pixel < last; pixel += at_once) {
        int q = pixel;
        int p = by_Q.split(q);
        const int n = by_P.split(p);
        const int y_of_x = p * stride_h - top, x_of_x = q * stride_w - left;
        const Vector<VECTOR> gradient = load<VECTOR>(dy + Offset(pixel) * K + mine.first);
        const T* window = x + ((Offset(n) * H + y_of_x) * W + x_of_x) * C;
#pragma unroll
        for (int j = 0; j < ROWS; ++j) {
            if (unsigned(y_of_x + r[j]) >= H || unsigned(x_of_x + s[j]) >= W) continue;
#if SHARE == OWN
            const Vector<VECTOR> numbers = load<VECTOR>(window + from[j] + mine.from[0]);
#else
            T numbers[SHARE == MIXED ? VECTOR : 1];
#pragma unroll
            for (int i = 0; i < (SHARE == MIXED ? VECTOR : 1); ++i) numbers[i] = window[from[j] + mine.from[i]];
#endif
#pragma unroll
            for (int i = 0; i < VECTOR; ++i) {
#if SHARE == OWN
                sums[j][i] += numbers.at[i] * gradient.at[i];
#else
                sums[j][i] += numbers[SHARE == MIXED ? i : 0] * gradient.at[i];
#endif
            }
        }
    }
    Vector<VECTOR>* shared = reinterpret_cast<Vector<VECTOR>*>(shared_bytes());
#pragma unroll
    for (int j = 0; j < ROWS; ++j)
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) shared[j * blockDim.x + threadIdx.x].at[i] = sums[j][i];
    __syncthreads();
    // Each thread adds up, in the order of the pixels, what those with the same channels have of one row.
    for (int result = threadIdx.x; result < rows * lanes; result += blockDim.x) {
        const int j = result / lanes, lane = result % lanes, k = (blockIdx.y * lanes + lane) * VECTOR;
        if (k >= K) continue;
        Vector<VECTOR> sum = {};
        for (int thread = lane; thread < at_once * lanes; thread += lanes)
#pragma unroll
            for (int i = 0; i < VECTOR; ++i) sum.at[i] += shared[j * blockDim.x + thread].at[i];
        store<VECTOR>(parts + (Offset(split) * R * S * deep + first_row + j) * K + k, sum);
    }
}
