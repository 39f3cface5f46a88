// Passes over numbers that lie side by side: 16 bytes at once, each thread in steps of the whole grid.
//
// Settings: SCALAR; VECTOR, how many numbers lie in 16 bytes, or 1 where an array begins elsewhere than at a multiple
// of them; WIDE, whether an array holds 2^32 numbers or more.
#pragma once

#include "common.cuh"

#if WIDE
using Index = Offset;
#else
using Index = unsigned;  // its division takes a fraction of the time
#endif

// work(at, Count<N>) for the numbers at, ..., at + N - 1 of each vector, then for each number of the rest.
template <class Work>
__device__ void each_vector(Offset size, const Work& work) {
    const Offset first = Offset(blockIdx.x) * blockDim.x + threadIdx.x, step = Offset(gridDim.x) * blockDim.x;
    const Offset whole = size / VECTOR * VECTOR;
    for (Offset at = first * VECTOR; at < whole; at += step * VECTOR) work(at, Count<VECTOR>{});
    for (Offset at = whole + first; at < size; at += step) work(at, Count<1>{});
}

// The use of an array in a pass, see `each`.
struct In {
    const T* array;
};

struct Out {
    T* array;
};

struct InOut {
    T* array;
};

template <int N>
struct Reading {
    Vector<N> numbers;

    __device__ Reading(In in, Offset at) : numbers(load<N>(in.array + at)) {}
    __device__ void finish() const {}
};

template <int N>
struct Writing {
    Vector<N> numbers;
    T* to;

    __device__ Writing(Out out, Offset at) : to(out.array + at) {}
    __device__ Writing(InOut both, Offset at) : numbers(load<N>(both.array + at)), to(both.array + at) {}
    __device__ void finish() const { store<N>(to, numbers); }
};

template <int N>
__device__ inline Reading<N> opened(In in, Offset at) {
    return Reading<N>(in, at);
}

template <int N, class Writable>
__device__ inline Writing<N> opened(Writable array, Offset at) {
    return Writing<N>(array, at);
}

template <int N, class F, class... Open>
__device__ inline void apply(const F& f, Open... arrays) {
#pragma unroll
    for (int i = 0; i < N; ++i) f(arrays.numbers.at[i]...);
    (arrays.finish(), ...);
}

// f(numbers...) at each place of the arrays; it gets those of Out and InOut to change.
template <class F, class... Arrays>
__device__ void each(Offset size, const F& f, Arrays... arrays) {
    each_vector(size, [&](Offset at, auto count) {
        constexpr int N = decltype(count)::value;
        apply<N>(f, opened<N>(arrays, at)...);
    });
}
