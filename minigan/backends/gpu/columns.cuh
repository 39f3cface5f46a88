// Sums over the columns of matrices, deterministic and in double precision.
//
// Images are matrices with a row for each pixel and a column for each channel. Where channels are few, several pixels
// stand side by side in a row, so that neighboring threads always read neighboring numbers, 16 bytes each: column j
// is of channel j % channels. A batch may be one matrix, or each of its examples one.
//
// A thread stays with VECTOR columns and goes down the rows. Then the threads of a block that share columns add up
// their sums, in a tree, and each block writes one row of partial sums. The last block to do so of those that share
// columns adds up all their rows, in their order; where channels form groups, a second kernel does. The result does not
// depend on the order in which threads or blocks run.
//
// Settings: SCALAR, VECTOR (see vector.cuh).
#pragma once

#include "vector.cuh"

constexpr int RUN = 64;  // rows that are added up in T, before they join a sum in double precision

// A thread's place. Grid: parts of each example's rows, tiles of `lanes` threads along the columns.
struct Place {
    int example, column;
    Offset rows, columns, first, step;
    bool inside;

    __device__ Place(Offset rows, int columns, int lanes, int parts) : rows(rows), columns(columns) {
        const int rows_at_once = blockDim.x / lanes, row = threadIdx.x / lanes;
        example = blockIdx.x / parts;
        column = (blockIdx.y * lanes + threadIdx.x % lanes) * VECTOR;
        first = Offset(blockIdx.x % parts) * rows_at_once + row;
        step = Offset(parts) * rows_at_once;
        inside = row < rows_at_once && column < columns;
    }

    __device__ Offset at(Offset row) const { return (example * rows + row) * columns + column; }

    // The number of the thread's rows, from this one on, that are a run.
    __device__ int run(Offset row) const {
        const Offset left = (rows - row + step - 1) / step;
        return left < RUN ? static_cast<int>(left) : RUN;
    }
};

#define PLACE_ARGUMENTS Offset rows, int columns, int lanes, int parts

// The statistics that normalize a channel's numbers; channels stand in groups, and each example has statistics of its
// own.
struct Statistics {
    int channels, groups;
    const T *gamma, *mean, *var;
    T eps;

    // Divisions take longer than all the rest of a small layer's pass: most need none.
    __device__ int channel(int column) const { return column < channels ? column : column % channels; }
    __device__ int group(int example, int column) const {
        const int c = channel(column);
        return example * groups + (groups == channels ? c : c / (channels / groups));
    }
    __device__ T deviation(int group) const { return sqrt(var[group] + eps); }
};

#define STATISTICS_ARGUMENTS                                                                                       \
    int channels, int groups, const T *gamma, const T *mean, const T *var, double eps
#define STATISTICS Statistics{channels, groups, gamma, mean, var, static_cast<T>(eps)}

// ---------------------------------------------------------------------------------------------- what is added up

template <int Q>
struct Sums {
    double of[Q];

    __device__ void add(const Sums& other) {
#pragma unroll
        for (int q = 0; q < Q; ++q) of[q] += other.of[q];
    }
};

// Moments of a set of numbers: their count, their mean, the sum of their squared deviations from it.
// Source: Chan, Golub & LeVeque 1979, equation 1.5.
struct Moments {
    double count, mean, square;

    __device__ void add(const Moments& other) {
        if (other.count == 0) return;
        const double share = other.count / (count + other.count), difference = other.mean - mean;
        square += other.square + difference * (count * share) * difference;
        mean += difference * share;
        count += other.count;
    }
};

// ---------------------------------------------------------------------------------------------- adding up

// The threads t, t + lanes, t + 2 lanes ... of a block add up their totals; the first `lanes` threads then have them.
template <int N, class Total>
__device__ void add_rows(Total (&totals)[N], int lanes) {
    Total* shared = reinterpret_cast<Total*>(shared_bytes());
    const int row = threadIdx.x / lanes;
#pragma unroll
    for (int i = 0; i < N; ++i) shared[i * blockDim.x + threadIdx.x] = totals[i];
    for (int rows = blockDim.x / lanes, half; rows > 1; rows = half) {
        half = (rows + 1) / 2;
        __syncthreads();
        if (row + half >= rows) continue;
#pragma unroll
        for (int i = 0; i < N; ++i) {
            totals[i].add(shared[i * blockDim.x + threadIdx.x + half * lanes]);
            shared[i * blockDim.x + threadIdx.x] = totals[i];
        }
    }
}

// A block's row of partial totals: one for each column.
template <class Total>
__device__ void write_partials(const Place& place, int lanes, Total (&totals)[VECTOR], Total* partials) {
    add_rows(totals, lanes);
    if (threadIdx.x >= lanes || !place.inside) return;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) partials[blockIdx.x * place.columns + place.column + i] = totals[i];
}

// Sums of Q terms each over the columns; terms(at, sums) adds those of the VECTOR numbers at `at` to sums (VECTOR, Q).
template <int Q, class Terms>
__device__ void sum_columns(const Place& place, int lanes, Sums<Q>* partials, const Terms& terms) {
    Sums<Q> totals[VECTOR] = {};
    for (Offset row = place.first; place.inside && row < place.rows; row += RUN * place.step) {
        T sums[VECTOR][Q] = {};
        const int run = place.run(row);
#pragma unroll (Q == 1 ? 4 : 2)
        for (int i = 0; i < run; ++i) terms(place.at(row + i * place.step), sums);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i)
#pragma unroll
            for (int q = 0; q < Q; ++q) totals[i].of[q] += sums[i][q];
    }
    write_partials(place, lanes, totals, partials);
}

// finish(channel, total) for the channels of this block, if it is the last of a batch's blocks with these columns.
// Columns of one channel are in one block: see `plan_columns`. `tickets`, zeros before and after, count the blocks.
template <class Total, class Finish>
__device__ void finish_channels(const Place& place, int lanes, int channels, const Total* partials, unsigned* tickets,
                                const Finish& finish) {
    bool* is_last = reinterpret_cast<bool*>(shared_bytes());
    __threadfence();  // this block's row can be seen by others
    __syncthreads();
    if (threadIdx.x == 0) *is_last = atomicAdd(tickets + blockIdx.y, 1u) == gridDim.x - 1;
    __syncthreads();
    const bool mine = *is_last;
    __syncthreads();
    if (!mine) return;
    __threadfence();  // and theirs by this one
    if (threadIdx.x == 0) tickets[blockIdx.y] = 0;
    const int fold = place.columns / channels, rows = gridDim.x * fold;
    const int first = fold > 1 ? 0 : blockIdx.y * lanes * VECTOR;
    const int count = min(channels - first, fold > 1 ? channels : lanes * VECTOR);
    const int at_once = blockDim.x / count, channel = first + threadIdx.x % count;
    Total total[1] = {};
    if (threadIdx.x < at_once * count)
#pragma unroll 4
        for (int row = threadIdx.x / count; row < rows; row += at_once) total[0].add(partials[Offset(row) * channels + channel]);
    add_rows(total, count);
    if (threadIdx.x < count) finish(channel, total[0]);
}

// The total of a group's partial sums: those of neighboring channels, in `rows` rows for each example. A block a
// group; scaled(total, channel) may change each. Only thread 0 has the result.
template <class Total, class Scaled>
__device__ Total total_of_group(const Total* partials, int rows, int channels, int groups, const Scaled& scaled) {
    const int example = blockIdx.x / groups, deep = channels / groups, first = blockIdx.x % groups * deep;
    Total total[1] = {};
    for (int entry = threadIdx.x; entry < rows * deep; entry += blockDim.x) {
        const int row = entry / deep, channel = first + entry % deep;
        total[0].add(scaled(partials[(Offset(example) * rows + row) * channels + channel], channel));
    }
    add_rows(total, 1);
    return total[0];
}
