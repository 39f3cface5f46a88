// The end of a matrix product: the operations on a sum on its way to memory.
#pragma once

#include "common.cuh"

// N columns side by side, of which `inside` are in the result, and their biases.
template <int N>
struct Columns {
    int first, inside;
    bool together;  // whether all can be stored at once
    T bias[N];
};

// The treatment of each sum: bias, activation and accumulation, or a part to be added up later.
struct Finish {
    T* y;            // the result, or this split's part of it
    const T* bias;   // (biases,), repeated along the columns; may be null
    int biases;
    T slope;         // of LeakyReLU; 1 changes nothing
    bool add;        // to what is in y

    // Columns from `first` on, of `all`; `bias_at` is a column that has the first one's bias.
    template <int N, class Index = int>
    __device__ Columns<N> columns(int first, int all, Index bias_at) const {
        Columns<N> columns = {first, all - first, N * sizeof(T) == 16 && all % N == 0 && is_aligned(y), {}};
        if (bias == nullptr) return columns;
#pragma unroll
        for (int i = 0; i < N; ++i)
            if (i < columns.inside) columns.bias[i] = bias[(bias_at + i) % biases];
        return columns;
    }

    template <int N>
    __device__ Columns<N> columns(int first, int all) const { return columns<N>(first, all, first); }

    // The sums of a row that begins at y[row].
    template <int N>
    __device__ void operator()(Offset row, const Columns<N>& columns, const T* sums) const {
        T* to = y + row + columns.first;
        Vector<N> results;
#pragma unroll
        for (int i = 0; i < N; ++i) results.at[i] = activated(sums[i], columns.bias[i]);
        if (columns.together && columns.inside > 0) {
            const Vector<N> before = add ? load<N>(to) : Vector<N>{};
#pragma unroll
            for (int i = 0; i < N; ++i) results.at[i] = add ? before.at[i] + results.at[i] : results.at[i];
            store<N>(to, results);
        } else {
#pragma unroll
            for (int i = 0; i < N; ++i)
                if (i < columns.inside) to[i] = add ? to[i] + results.at[i] : results.at[i];
        }
    }

    __device__ T activated(T sum, T bias) const {
        sum += bias;
        return sum > 0 ? sum : weakened(sum, slope);
    }

   private:
    static __device__ bool is_aligned(const T* y) { return reinterpret_cast<unsigned long long>(y) % 16 == 0; }
};
