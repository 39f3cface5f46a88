// The end of a matrix product: the operations on a sum on its way to memory.
#pragma once

#include "common.cuh"

// The treatment of each sum: bias, activation and accumulation, or a part to be added up later.
struct Finish {
    T* y;            // the result, or this split's part of it
    const T* bias;   // (biases,), repeated along the columns; may be null
    int biases;
    T slope;         // of LeakyReLU; 1 changes nothing
    bool add;        // to what is in y

    template <class Column>
    __device__ void operator()(Offset at, Column column, T sum) const {
        if (bias != nullptr) sum += bias[column % biases];
        sum = sum > 0 ? sum : weakened(sum, slope);
        y[at] = add ? y[at] + sum : sum;
    }
};
