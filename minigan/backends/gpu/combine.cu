// The passes after a matrix product: the sum of its parts, and the sum of overlapping windows.
//
// Settings: SCALAR, VECTOR, WIDE (see vector.cuh).

#include "finish.cuh"
#include "vector.cuh"

// y = activation(sum of the parts + bias), or y += it.
extern "C" __global__ void sum_parts(const T* parts, T* y, Offset size, int splits, const T* bias, int biases,
                                     double slope, int add) {
    const Finish finish{y, bias, biases, static_cast<T>(slope), add != 0};
    each_vector(size, [&](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        Vector<N> sum = load<N>(parts + at);
#pragma unroll 4
        for (int split = 1; split < splits; ++split) {
            const Vector<N> part = load<N>(parts + split * size + at);
#pragma unroll
            for (int i = 0; i < N; ++i) sum.at[i] += part.at[i];
        }
        const Vector<N> before = finish.add ? load<N>(y + at) : Vector<N>{};
        Index column = bias == nullptr ? 0 : static_cast<Index>(at) % biases;  // rows are a multiple of biases
#pragma unroll
        for (int i = 0; i < N; ++i) {
            sum.at[i] = finish.activated(sum.at[i], bias == nullptr ? T(0) : bias[column]);
            if (finish.add) sum.at[i] += before.at[i];
            column = column + 1 == static_cast<Index>(biases) ? 0 : column + 1;
        }
        store<N>(y + at, sum);
    });
}

// An input gradient with few channels: dx[n,i,j,c] = bias[c] + the sum of products[n,p,q, (r,s,c)] over all windows
// (p, q) that see the pixel, products being dy w'. A thread for each number of dx.
extern "C" __global__ void sum_overlaps(const T* products, int N, int H, int W, int C, int P, int Q, int R, int S,
                                        int stride_h, int stride_w, int top, int left, T* dx, const T* bias) {
    const Divisor by_C(C), by_W(W), by_H(H), by_stride_h(stride_h), by_stride_w(stride_w);
    const int size = N * H * W * C;
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= size) return;
    int c = at;
    int j = by_C.split(c);
    int i = by_W.split(j);
    const int n = by_H.split(i);
    T sum = bias != nullptr ? bias[c] : T(0);
    int first_r = i + top, first_s = j + left;  // as far as a window starts before the pixel
    const int last_p = by_stride_h.split(first_r), last_q = by_stride_w.split(first_s);
    for (int r = first_r, p = last_p; r < R && p >= 0; r += stride_h, --p) {
        if (p >= P) continue;
        for (int s = first_s, q = last_q; s < S && q >= 0; s += stride_w, --q) {
            if (q >= Q) continue;
            sum += products[((Offset(n) * P + p) * Q + q) * (R * S * C) + (r * S + s) * C + c];
        }
    }
    dx[at] = sum;
}
