// The tensor cores: products of 16x8 tiles by one warp, of numbers rounded to TF32 or bfloat16, summed in float.
//
// A lane holds a few numbers of each tile. With group = lane / 4 and place = lane % 4:
//   sums c:  c[0], c[1] at (group, 2 place + 0 and 1); c[2], c[3] eight rows below.
// Source: "PTX ISA", sections on the matrix fragments of mma.m16n8k8 (.tf32) and mma.m16n8k16 (.bf16).
#pragma once

#ifdef __CUDACC__

// x with TF32's 10 bits of mantissa, rounded to nearest.
__device__ inline unsigned to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// Two numbers as bfloat16, the first in the lower half.
__device__ inline unsigned to_bf16(float low, float high) {
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

// c += a b with a (16, 8): rows group and group + 8, columns place and place + 4; b (8, 8): the same rows as a's
// columns, column group.
__device__ inline void multiply_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// c += a b with a (16, 16) and b (16, 8): pairs of neighbours at 2 place and 2 place + 8 along the depth.
__device__ inline void multiply_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
