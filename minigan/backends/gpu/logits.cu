// Functions of a batch's logits, each with its mean, by one block: they are few.
//
// Settings: SCALAR, VECTOR, WIDE (see vector.cuh).

#include "columns.cuh"

// 1 / (1 + exp(-x)) from e = exp(-|x|), which cannot overflow.
__device__ inline T probability(T x, T e) {
    return (x >= 0 ? T(1) : e) / (1 + e);
}

// The mean of term(x) over all logits x, in double precision and in one order.
template <class Term>
__device__ void write_mean(const T* logits, int size, T* mean, const Term& term) {
    Sums<1> total[1] = {};
    for (int i = threadIdx.x; i < size; i += blockDim.x) total[0].of[0] += term(i, logits[i]);
    add_rows(total, 1);
    if (threadIdx.x == 0) *mean = static_cast<T>(total[0].of[0] / size);
}

// The mean of softplus(s) - t s over all logits s, with target t, and its gradient, (sigmoid(s) - t) / size.
extern "C" __global__ void cross_entropy(const T* logits, int size, double target, T* mean, T* gradient) {
    const T t = static_cast<T>(target);
    write_mean(logits, size, mean, [=](int i, T x) {
        const T e = exp(-fabs(x)), rest = log1p(e);  // softplus(x) = max(x, 0) + rest
        gradient[i] = (probability(x, e) - t) / size;
        if (t == 1) return (x < 0 ? -x : T(0)) + rest;  // softplus(-x)
        const T softplus = (x > 0 ? x : T(0)) + rest;
        return t == 0 || x - x != 0 && x > 0 ? softplus : softplus - t * x;  // infinity costs infinity
    });
}

extern "C" __global__ void mean_probability(const T* logits, int size, T* mean) {
    write_mean(logits, size, mean, [](int, T x) { return probability(x, exp(-fabs(x))); });
}
