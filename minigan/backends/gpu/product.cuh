// The product of a tile (BM, BK) and a tile (BK, BN) that lie in shared memory, by the THREADS threads of a block.
//
// Settings: PRECISION, the tile BM x BN with its WARPS_M x WARPS_N warps, and BK, the depth of a step.
#pragma once

#include "tensor_core.cuh"

#define FMA 0  // in T itself
#define TF32 1
#define BF16 2

constexpr int THREADS = WARPS_M * WARPS_N * 32;

// The layout of a tile in shared memory: EXTENT rows (or columns) of the product and BK steps of its depth. The strides
// are such that the lanes of a warp that fetch a fragment together meet different banks.
template <int EXTENT, bool DEPTH_INNER>
struct Tile {
    static constexpr bool INNER = DEPTH_INNER;
    static constexpr int STRIDE = DEPTH_INNER ? BK + 4 : EXTENT + 8;
    static constexpr int SIZE = (DEPTH_INNER ? EXTENT : BK) * STRIDE;

    static __device__ int at(int i, int k) { return DEPTH_INNER ? i * STRIDE + k : k * STRIDE + i; }
};

#if PRECISION == FMA

// Each thread sums a grid of numbers, spread over the tile so that neighbors read neighboring shared memory.
struct Product {
    static constexpr int COLUMNS = BN < 16 ? BN : 16, ROWS = THREADS / COLUMNS;
    static constexpr int DOWN = BM / ROWS, ACROSS = BN / COLUMNS;
    static constexpr int PARTS = 1;

    T sums[DOWN][ACROSS] = {};

    // between(part) is other work, called once for each of PARTS.
    template <class TileA, class TileB, class Between>
    __device__ void add(const T* a, const T* b, const Between& between) {
        between(0);
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

    // store(store.row(m), store.column(n), sum) for each sum of the thread; m, n count within the tile.
    template <class Store>
    __device__ void each(const Store& store) const {
#pragma unroll
        for (int j = 0; j < ACROSS; ++j) {
            const auto column = store.template column<1>(threadIdx.x % COLUMNS + j * COLUMNS);
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
                store(store.row(threadIdx.x / COLUMNS + i * ROWS), column, &sums[i][j]);
        }
    }
};

#else

// Each warp sums its own part of the tile on the tensor cores, of numbers that are rounded on their way from shared
// memory to registers: a warp of 64x64 numbers rounds each factor once for eight or four instructions.
//
// A fragment is 16 rows (of A) or 8 columns (of B) by 8 numbers of the depth. Where the depth runs inside, `ldmatrix`
// fetches it in halves of 4 numbers, which it takes for 8 of half the size; where it runs outside, each lane fetches
// its own numbers.
//
// The order of the depth within BK is free as long as both factors have the same. So bfloat16's pairs are made of the
// numbers that TF32's lanes hold: what the instruction calls depth 2 place and 2 place + 1 are place and place + 4.
struct Product {
    static constexpr int WM = BM / WARPS_M, WN = BN / WARPS_N;
    static constexpr int DOWN = WM / 16, ACROSS = WN / 8;
    static constexpr int HALVES = PRECISION == BF16 ? 2 : 1;  // fragments that make those of one instruction
    static constexpr int DEPTH = 8 * HALVES;                  // of one instruction
    static constexpr int PARTS = BK / DEPTH;

    float sums[DOWN][ACROSS][4] = {};

    // between(part) is other work, called for each of PARTS before its instructions.
    template <class TileA, class TileB, class Between>
    __device__ void add(const T* a, const T* b, const Between& between) {
#pragma unroll
        for (int k = 0; k < BK; k += DEPTH) {
            unsigned left[DOWN][4], right[ACROSS][2];
#pragma unroll
            for (int i = 0; i < DOWN; ++i) {
                float at[HALVES][4];
#pragma unroll
                for (int half = 0; half < HALVES; ++half) fetch_a<TileA>(a, first_row() + i * 16, k + 8 * half, at[half]);
                round_a(at, left[i]);
            }
#pragma unroll
            for (int j = 0; j < ACROSS; j += PAIR) {
                float at[HALVES][2 * PAIR];
#pragma unroll
                for (int half = 0; half < HALVES; ++half)
                    fetch_b<TileB>(b, first_column() + j * 8, k + 8 * half, at[half]);
#pragma unroll
                for (int next = 0; next < PAIR; ++next) round_b(at, next, right[j + next]);
            }
            between(k / DEPTH);
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

    // store(store.row(m), store.column(n), sums) for all sums of the thread, four side by side if there are.
    //
    // Of two neighboring fragments a lane has two columns each, its neighbor the next two. They exchange: lanes of even
    // place get four of the first fragment's columns, those of odd place four of the second's.
    template <class Store>
    __device__ void each(const Store& store) const {
        if constexpr (PAIR == 1) {
            const auto column = store.template column<2>(first_column() + 2 * place());
#pragma unroll
            for (int i = 0; i < 2 * DOWN; ++i) store(store.row(row_of(i)), column, &sums[i / 2][0][i % 2 * 2]);
        } else {
            const int odd = place() % 2;
#pragma unroll
            for (int j = 0; j < ACROSS; j += 2) {
                const auto column = store.template column<4>(first_column() + (j + odd) * 8 + place() / 2 * 4);
#pragma unroll
                for (int i = 0; i < 2 * DOWN; ++i) {
                    const float *first = &sums[i / 2][j][i % 2 * 2], *second = &sums[i / 2][j + 1][i % 2 * 2];
                    float four[4];
#pragma unroll
                    for (int side = 0; side < 2; ++side) {
                        const float theirs = exchanged(odd ? first[side] : second[side], 1);
                        four[side] = odd ? theirs : first[side];
                        four[2 + side] = odd ? second[side] : theirs;
                    }
                    store(store.row(row_of(i)), column, four);
                }
            }
        }
    }

   private:
    static constexpr int PAIR = ACROSS % 2 == 0 ? 2 : 1;  // fragments of B that are fetched together

    static __device__ int lane() { return threadIdx.x % 32; }
    static __device__ int warp() { return threadIdx.x / 32; }
    static __device__ int group() { return lane() / 4; }
    static __device__ int place() { return lane() % 4; }
    static __device__ int first_row() { return warp() / WARPS_N * WM; }
    static __device__ int first_column() { return warp() % WARPS_N * WN; }
    static __device__ int row_of(int i) { return first_row() + i * 8 + group(); }

    // Rows m to m + 15: the upper and the lower eight at the first half of the depth, then at the second.
    template <class Where>
    static __device__ void fetch_a(const T* tile, int m, int k, float (&to)[4]) {
        if constexpr (Where::INNER) {
            fetch_matrices(to, tile + Where::at(m + lane() % 16, k + lane() / 16 * 4));
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) to[i] = tile[Where::at(m + group() + i % 2 * 8, k + place() + i / 2 * 4)];
        }
    }

    // Columns n to n + 7 at the first and the second half of the depth, then the next eight if they are a pair.
    template <class Where>
    static __device__ void fetch_b(const T* tile, int n, int k, float (&to)[2 * PAIR]) {
        if constexpr (Where::INNER) {
            const int next = PAIR == 2 ? lane() / 16 * 8 : 0;
            fetch_matrices(to, tile + Where::at(n + lane() % 8 + next, k + lane() / 8 % 2 * 4));
        } else {
#pragma unroll
            for (int i = 0; i < 2 * PAIR; ++i) to[i] = tile[Where::at(n + group() + i / 2 * 8, k + place() + i % 2 * 4)];
        }
    }

    static __device__ void round_a(const float (&at)[HALVES][4], unsigned (&to)[4]) {
#pragma unroll
        for (int row = 0; row < 2; ++row) {
#if PRECISION == BF16
            to[row] = to_bf16(at[0][row], at[0][row + 2]);
            to[row + 2] = to_bf16(at[1][row], at[1][row + 2]);
#else
            to[row] = to_tf32(at[0][row]);
            to[row + 2] = to_tf32(at[0][row + 2]);
#endif
        }
    }

    static __device__ void round_b(const float (&at)[HALVES][2 * PAIR], int next, unsigned (&to)[2]) {
#if PRECISION == BF16
        to[0] = to_bf16(at[0][2 * next], at[0][2 * next + 1]);
        to[1] = to_bf16(at[1][2 * next], at[1][2 * next + 1]);
#else
        to[0] = to_tf32(at[0][2 * next]);
        to[1] = to_tf32(at[0][2 * next + 1]);
#endif
    }
};

#endif
