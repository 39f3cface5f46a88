// Tools of all kernels: exact division by a number known before the loop, copies that do not wait, shared memory.
//
// The settings of a module come as -D options; SCALAR, float or double, is what all arrays hold.
#pragma once

using T = SCALAR;
using Offset = long long;  // into arrays that may hold more than 2^31 numbers

// The tests run these sources on the CPU; there the file that stands in for CUDA defines the few functions below that
// are one instruction of the GPU.
#ifdef __CUDACC__

__device__ inline unsigned char* shared_bytes() {
    extern __shared__ __align__(16) unsigned char bytes[];
    return bytes;
}

// Starts a copy of BYTES bytes (4, 8 or 16) from global to shared memory, zeros if there is nothing to copy.
template <int BYTES>
__device__ inline void copy_async(void* shared, const void* global, bool there) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "what cp.async can copy");
#if __CUDA_ARCH__ >= 800
    const unsigned target = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int size = there ? BYTES : 0;  // what of BYTES is not read becomes zero
    if constexpr (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(global), "r"(size) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(global), "n"(BYTES), "r"(size)
                     : "memory");
#else
    for (int i = 0; i < BYTES / 4; ++i)
        static_cast<unsigned*>(shared)[i] = there ? static_cast<const unsigned*>(global)[i] : 0;
#endif
}

// Closes the group of copies that this thread started since the last call.
__device__ inline void close_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most PENDING of this thread's groups are still under way.
template <int PENDING>
__device__ inline void await_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

#endif

// Numbers that lie side by side, moved by one instruction.
template <int N>
struct alignas(N * sizeof(T)) Vector {
    T at[N];
};

template <int N>
__device__ inline Vector<N> load(const T* from) {
    return *reinterpret_cast<const Vector<N>*>(from);
}

template <int N>
__device__ inline void store(T* to, const Vector<N>& numbers) {
    *reinterpret_cast<Vector<N>*>(to) = numbers;
}

template <int N>
struct Count {
    static constexpr int value = N;
};

// slope * t, but 0 where that is 0 times infinity: a ReLU's output and gradient left of its kink.
__device__ inline T weakened(T t, T slope) {
    const T product = slope * t;
    return product == product || t != t ? product : t < 0 ? -T(0) : T(0);
}

// Exact n / divisor for 0 <= n < 2^31 by one multiplication. Source: Granlund & Montgomery 1994, section 4.
struct Divisor {
    int divisor;
    unsigned multiplier;
    int shift;

    __device__ explicit Divisor(int d) : divisor(d) {
        shift = 31 + (d > 1 ? 32 - __clz(d - 1) : 0);
        // Rounded up; a quotient of doubles, which takes a fraction of an integer one's time, may be 1 less.
        const unsigned long long power = 1ULL << shift;
        const auto quotient = static_cast<unsigned long long>(static_cast<double>(power) / d);
        multiplier = static_cast<unsigned>(quotient * d < power ? quotient + 1 : quotient);
    }

    __device__ int of(int n) const {
        return static_cast<int>((static_cast<unsigned long long>(n) * multiplier) >> shift);
    }

    // n / divisor; n becomes the remainder.
    __device__ int split(int& n) const {
        const int quotient = of(n);
        n -= quotient * divisor;
        return quotient;
    }
};
