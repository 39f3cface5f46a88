// Activations and their derivatives, one pass each.
//
// Settings: SCALAR, VECTOR, WIDE (see vector.cuh).

#include "vector.cuh"

extern "C" __global__ void leaky_relu(const T* x, T* y, Offset size, double slope) {
    const T left = static_cast<T>(slope);
    each(size, [=](T x, T& y) { y = x > 0 ? x : weakened(x, left); }, In{x}, Out{y});
}

extern "C" __global__ void leaky_relu_grad(const T* dy, const T* y, T* dx, Offset size, double slope) {
    const T left = static_cast<T>(slope);
    each(size, [=](T dy, T y, T& dx) { dx = y > 0 ? dy : weakened(dy, left); }, In{dy}, In{y}, Out{dx});
}

// `hyperbolic_tangent`, as CUDA's own functions have the names that the others would have.
extern "C" __global__ void hyperbolic_tangent(const T* x, T* y, Offset size) {
    each(size, [](T x, T& y) { y = tanh(x); }, In{x}, Out{y});
}

extern "C" __global__ void tanh_grad(const T* dy, const T* y, T* dx, Offset size) {
    each(size, [](T dy, T y, T& dx) { dx = dy * (1 - y * y); }, In{dy}, In{y}, Out{dx});
}

// exp is taken of negative numbers only, so it never overflows.
extern "C" __global__ void sigmoid(const T* x, T* y, Offset size) {
    each(size, [](T x, T& y) {
        const T e = exp(-fabs(x));
        y = (x >= 0 ? 1 : e) / (1 + e);
    }, In{x}, Out{y});
}

extern "C" __global__ void sigmoid_grad(const T* dy, const T* y, T* dx, Offset size) {
    each(size, [](T dy, T y, T& dx) { dx = dy * y * (1 - y); }, In{dy}, In{y}, Out{dx});
}

// ---------------------------------------------------------------------------------------------- maxout

// The place in x of the first piece of y's number `at`; the others follow K numbers apart.
__device__ inline Offset first_piece(Offset at, int K, int pieces) {
    return at + static_cast<Index>(at) / K * Offset(K) * (pieces - 1);
}

// VECTOR divides K, so a vector lies in one row. A NaN, once met, stays: nothing is larger.
extern "C" __global__ void maxout(const T* x, T* y, Offset size, int K, int pieces) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        const T* piece = x + first_piece(at, K, pieces);
        Vector<N> largest = load<N>(piece);
        for (int p = 1; p < pieces; ++p) {
            const Vector<N> other = load<N>(piece += K);
#pragma unroll
            for (int i = 0; i < N; ++i)
                if (other.at[i] > largest.at[i] || other.at[i] != other.at[i]) largest.at[i] = other.at[i];
        }
        store<N>(y + at, largest);
    });
}

extern "C" __global__ void maxout_grad(const T* dy, const T* x, const T* y, T* dx, Offset size, int K, int pieces) {
    each_vector(size, [=](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        const Vector<N> largest = load<N>(y + at), gradient = load<N>(dy + at);
        Offset piece = first_piece(at, K, pieces);
        bool found[N] = {};
        for (int p = 0; p < pieces; ++p, piece += K) {
            const Vector<N> here = load<N>(x + piece);
            Vector<N> share;
#pragma unroll
            for (int i = 0; i < N; ++i) {
                const bool is_first = !found[i] && here.at[i] >= largest.at[i];
                found[i] |= is_first;
                share.at[i] = is_first ? gradient.at[i] : T(0);
            }
            store<N>(dx + piece, share);
        }
    });
}
