// The kernels of group normalization in addition to those of norm.cu: the gradients of gamma and beta, which all
// examples share.
//
// Settings: SCALAR, VECTOR (see columns.cuh).

#include "columns.cuh"

// dgamma += the sum of dy (x - mean) / deviation, dbeta += that of dy, over the partial sums of all examples, `rows`
// rows each. A block a channel.
extern "C" __global__ void add_weight_gradients(const Sums<2>* partials, int examples, int rows, STATISTICS_ARGUMENTS,
                                                T* dgamma, T* dbeta) {
    const Statistics statistics = STATISTICS;
    const int channel = blockIdx.x;
    Sums<2> total[1] = {};
    for (Offset row = threadIdx.x; row < Offset(examples) * rows; row += blockDim.x) {
        Sums<2> part = partials[row * channels + channel];
        part.of[1] /= sqrt(double(var[statistics.group(static_cast<int>(row / rows), channel)]) + eps);
        total[0].add(part);
    }
    add_rows(total, 1);
    if (threadIdx.x != 0) return;
    dgamma[channel] += static_cast<T>(total[0].of[1]);
    dbeta[channel] += static_cast<T>(total[0].of[0]);
}
