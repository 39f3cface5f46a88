// The product of a tile (BM, BK) and a tile (BK, BN) that lie in shared memory, by the THREADS threads of a block.
//
// Settings: PRECISION, and the tile BM x BN with its WARPS_M x WARPS_N warps.
#pragma once

#include "common.cuh"
#include "tensor_core.cuh"

#define FMA 0  // in T itself
#define TF32 1
#define BF16 2

constexpr int THREADS = 256;
constexpr int BK = 16;
static_assert(WARPS_M * WARPS_N * 32 == THREADS, "a block has 8 warps");

// The layout of a tile in shared memory: EXTENT rows (or columns) of the product and BK steps of its depth. The strides
// are such that the 32 lanes of a warp that fetch a fragment meet 32 different banks.
template <int EXTENT, bool DEPTH_INNER>
struct Tile {
    static constexpr int STRIDE = DEPTH_INNER ? BK + 4 : EXTENT + 8;
    static constexpr int SIZE = (DEPTH_INNER ? EXTENT : BK) * STRIDE;

    static __device__ int at(int i, int k) { return DEPTH_INNER ? i * STRIDE + k : k * STRIDE + i; }
};

#if PRECISION == FMA

// Each thread sums a grid of numbers, spread over the tile so that neighbours read neighbouring shared memory.
struct Product {
    static constexpr int COLUMNS = BN < 16 ? BN : 16, ROWS = THREADS / COLUMNS;
    static constexpr int DOWN = BM / ROWS, ACROSS = BN / COLUMNS;

    T sums[DOWN][ACROSS] = {};

    template <class TileA, class TileB>
    __device__ void add(const T* a, const T* b) {
        const int row = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            T left[DOWN], right[ACROSS];
#pragma unroll
            for (int i = 0; i < DOWN; ++i) left[i] = a[TileA::at(row + i * ROWS, k)];
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) right[j] = b[TileB::at(column + j * COLUMNS, k)];
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int j = 0; j < ACROSS; ++j) sums[i][j] += left[i] * right[j];
        }
    }

    // store(store.row(m), n, sum) for each sum of the thread; m, n count within the tile.
    template <class Store>
    __device__ void each(const Store& store) const {
#pragma unroll
        for (int i = 0; i < DOWN; ++i) {
            const auto row = store.row(threadIdx.x / COLUMNS + i * ROWS);
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) store(row, threadIdx.x % COLUMNS + j * COLUMNS, sums[i][j]);
        }
    }
};

#else

// Each warp sums its own part of the tile on the tensor cores.
//
// The order of the depth within BK is free as long as both factors have the same. So bfloat16's pairs are made of the
// numbers that TF32's lanes hold: what the instruction calls depth 2 place and 2 place + 1 are place and place + 4.
struct Product {
    static constexpr int WM = BM / WARPS_M, WN = BN / WARPS_N;
    static constexpr int DOWN = WM / 16, ACROSS = WN / 8;
    static constexpr int DEPTH = PRECISION == BF16 ? 16 : 8;  // of one instruction

    float sums[DOWN][ACROSS][4] = {};

    template <class TileA, class TileB>
    __device__ void add(const T* a, const T* b) {
#pragma unroll
        for (int k = 0; k < BK; k += DEPTH) {
            unsigned left[DOWN][4], right[ACROSS][2];
#pragma unroll
            for (int i = 0; i < DOWN; ++i) {
                const int m = first_row() + i * 16 + group();
                pick<TileA>(a, m, k, left[i][0], left[i][2]);
                pick<TileA>(a, m + 8, k, left[i][1], left[i][3]);
            }
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
                pick<TileB>(b, first_column() + j * 8 + group(), k, right[j][0], right[j][1]);
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int j = 0; j < ACROSS; ++j) {
#if PRECISION == BF16
                    multiply_bf16(sums[i][j], left[i], right[j]);
#else
                    multiply_tf32(sums[i][j], left[i], right[j]);
#endif
                }
        }
    }

    template <class Store>
    __device__ void each(const Store& store) const {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const auto row = store.row(first_row() + i * 16 + half * 8 + group());
#pragma unroll
                for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                    for (int side = 0; side < 2; ++side)
                        store(row, first_column() + j * 8 + 2 * place() + side, sums[i][j][2 * half + side]);
            }
    }

   private:
    static __device__ int warp() { return threadIdx.x / 32; }
    static __device__ int group() { return threadIdx.x % 32 / 4; }
    static __device__ int place() { return threadIdx.x % 4; }
    static __device__ int first_row() { return warp() / WARPS_N * WM; }
    static __device__ int first_column() { return warp() % WARPS_N * WN; }

    // A lane's numbers of one row of a fragment, at the first and the second half of its depth.
    template <class Where>
    static __device__ void pick(const T* tile, int i, int k, unsigned& first, unsigned& second) {
        const int at = k + place();
#if PRECISION == BF16
        first = to_bf16(tile[Where::at(i, at)], tile[Where::at(i, at + 4)]);
        second = to_bf16(tile[Where::at(i, at + 8)], tile[Where::at(i, at + 12)]);
#else
        first = to_tf32(tile[Where::at(i, at)]);
        second = to_tf32(tile[Where::at(i, at + 4)]);
#endif
    }
};

#endif
