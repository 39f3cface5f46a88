// The tensor cores: products of 16x8 tiles by one warp, of numbers rounded to TF32 or bfloat16, summed in float.
//
// A lane holds a few numbers of each tile. With group = lane / 4 and place = lane % 4:
//   sums c:  c[0], c[1] at (group, 2 place + 0 and 1); c[2], c[3] eight rows below.
// Source: "PTX ISA", sections on the matrix fragments of mma.m16n8k8 (.tf32) and mma.m16n8k16 (.bf16), and on ldmatrix.
#pragma once

#include "common.cuh"

#ifdef __CUDACC__

// x rounded to TF32's 10 bits of mantissa, to nearest: one instruction from Hopper on, three before.
__device__ inline unsigned to_tf32(float x) {
    unsigned bits;
#if __CUDA_ARCH__ >= 900
    asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
    return bits;
}

// Two numbers as bfloat16, the first in the lower half.
__device__ inline unsigned to_bf16(float low, float high) {
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

// 2 or 4 matrices of 8 rows of 4 numbers: lanes 8 i to 8 i + 7 bring the addresses of matrix i's rows, and each lane
// gets of every matrix the number at row `group`, column `place`.
template <int N>
__device__ inline void fetch_matrices(float (&to)[N], const float* row) {
    static_assert(N == 2 || N == 4, "what ldmatrix fetches here");
    const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
    if constexpr (N == 4)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3]) : "r"(from) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=f"(to[0]), "=f"(to[1]) : "r"(from) : "memory");
}

// c += a b with a (16, 8): rows group and group + 8, columns place and place + 4; b (8, 8): the same rows as a's
// columns, column group.
__device__ inline void multiply_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned* b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// c += a b with a (16, 16) and b (16, 8): pairs of neighbors at 2 place and 2 place + 8 along the depth.
__device__ inline void multiply_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned* b) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// What the lane whose number differs in `bit` alone has for x.
__device__ inline float exchanged(float x, int bit) { return __shfl_xor_sync(0xffffffffu, x, bit); }

#endif
