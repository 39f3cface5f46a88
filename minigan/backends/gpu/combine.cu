// The passes after a matrix product: the sum of its parts, and the sum of overlapping windows.
//
// Settings: SCALAR, VECTOR, WIDE (see vector.cuh).

#include "finish.cuh"
#include "vector.cuh"

template <int N>
__device__ inline void add_to(Vector<N>& sum, const Vector<N>& part) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum.at[i] += part.at[i];
}

// y = activation(sum of the parts + bias), or y += it. As results may be few and parts many, `groups` threads of a block
// share each result: they add up every groups-th part, and then, in a tree, each other's sums.
extern "C" __global__ void __launch_bounds__(256)
sum_parts(const T* parts, T* y, Offset size, int splits, int groups, const T* bias, int biases, double slope, int add) {
    const Finish finish{y, bias, biases, static_cast<T>(slope), add != 0};
    Vector<VECTOR>* sums = reinterpret_cast<Vector<VECTOR>*>(shared_bytes());
    const int results = blockDim.x / groups, mine = threadIdx.x % results, group = threadIdx.x / results;
    const Offset vectors = size / VECTOR;
    for (Offset first = Offset(blockIdx.x) * results; first < vectors; first += Offset(gridDim.x) * results) {
        const Offset at = (first + mine) * VECTOR;
        const bool inside = first + mine < vectors;
        Vector<VECTOR> sum = {};
        if (inside)
#pragma unroll 8
            for (int split = group; split < splits; split += groups) add_to(sum, load<VECTOR>(parts + split * size + at));
        for (int half = groups / 2; half > 0; half /= 2) {
            sums[threadIdx.x] = sum;
            __syncthreads();
            if (group < half) add_to(sum, sums[threadIdx.x + half * results]);
            __syncthreads();
        }
        if (inside && group == 0) finish(at, finish.columns<VECTOR>(0, VECTOR, static_cast<Index>(at)), sum.at);
    }
}

// An input gradient with few channels: dx[n,i,j,c] = bias[c] + the sum of products[n,p,q, (r,s,c)] over all windows
// (p, q) that see the pixel, products being dy w'. A thread for each pixel of dx, which has up to THIN channels.
constexpr int THIN = 4;

extern "C" __global__ void __launch_bounds__(256)
sum_overlaps(const T* products, int N, int H, int W, int C, int P, int Q, int R, int S, int stride_h, int stride_w,
             int top, int left, T* dx, const T* bias) {
    const Divisor by_W(W), by_H(H), by_stride_h(stride_h), by_stride_w(stride_w);
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= N * H * W) return;
    int j = pixel;
    int i = by_W.split(j);
    const int n = by_H.split(i);
    T sums[THIN];
#pragma unroll
    for (int c = 0; c < THIN; ++c) sums[c] = bias != nullptr && c < C ? bias[c] : T(0);
    int first_r = i + top, first_s = j + left;  // as far as a window starts before the pixel
    const int last_p = by_stride_h.split(first_r), last_q = by_stride_w.split(first_s);
    for (int r = first_r, p = last_p; r < R && p >= 0; r += stride_h, --p) {
        if (p >= P) continue;
        for (int s = first_s, q = last_q; s < S && q >= 0; s += stride_w, --q) {
            if (q >= Q) continue;
            const T* window = products + ((Offset(n) * P + p) * Q + q) * (R * S * C) + (r * S + s) * C;
#pragma unroll
            for (int c = 0; c < THIN; ++c)
                if (c < C) sums[c] += window[c];
        }
    }
#pragma unroll
    for (int c = 0; c < THIN; ++c)
        if (c < C) dx[Offset(pixel) * C + c] = sums[c];
}
