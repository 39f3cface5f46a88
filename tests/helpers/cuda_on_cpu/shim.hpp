// CUDA on the CPU, for tests: the threads of a block as coroutines that take turns at barriers.
//
// It runs the very sources that go to the GPU. What it shows: index arithmetic, barriers, the fragments of the tensor
// cores as the PTX manual lays them out, and that no copy is used before it was waited for. It says nothing of speed,
// nor of races that happen between two barriers in an order other than the two that it tries.
//
// Unlike on a GPU, mistakes are told: a barrier that not all threads reach ends the process with a message, shared
// memory begins as NaN in every block, and an asynchronous copy arrives only when it is waited for.
#pragma once

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <math.h>  // its functions of floats, outside of std too
#include <memory>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __align__(n) alignas(n)
#define __launch_bounds__(...)
#define __shared__ static
#define __CUDA_ARCH__ 900

struct dim3 {
    unsigned x, y, z;
};

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace shim {

[[noreturn]] inline void fail(const char* message) {
    std::fprintf(stderr, "CUDA on the CPU: %s\n", message);
    std::abort();
}

constexpr int WARP = 32, SLOT = 128;
constexpr size_t STACK = 128 << 10, BEYOND = 64 << 10;

struct Copy {
    void* target;
    const void* source;
    int bytes;
    bool there;
};

struct Fiber {
    std::unique_ptr<char[]> stack{new char[STACK]};
    ucontext_t entry;
    jmp_buf place;
    bool started = false, finished, at_barrier;
    dim3 thread;
    std::vector<Copy> open;                 // copies of the group that is not closed yet
    std::deque<std::vector<Copy>> groups;   // closed, not waited for
};

struct Warp {
    int lanes, arrived;
    unsigned round;
    alignas(16) char in[WARP][SLOT];
    alignas(16) char out[WARP][SLOT];
};

inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
inline std::vector<unsigned char> shared;
inline unsigned char* shared_start;
inline jmp_buf scheduler;
inline int current;
inline std::function<void()> body;  // the kernel with its arguments

__attribute__((noinline)) inline void to_scheduler() {
    if (_setjmp(fibers[current].place) == 0) _longjmp(scheduler, 1);
}

// Does one thread after the other: to begin anew is to go on, which takes no system call, as a new context does.
inline void entry() {
    for (;;) {
        body();
        fibers[current].finished = true;
        to_scheduler();
    }
}

inline void resume(int index) {
    Fiber& fiber = fibers[index];
    current = index;
    threadIdx = fiber.thread;
    if (_setjmp(scheduler) != 0) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    getcontext(&fiber.entry);
    fiber.entry.uc_stack.ss_sp = fiber.stack.get();
    fiber.entry.uc_stack.ss_size = STACK;
    fiber.entry.uc_link = nullptr;
    makecontext(&fiber.entry, entry, 0);
    setcontext(&fiber.entry);
}

// One block: every thread runs until it waits; when all wait at the barrier it opens.
inline void run_block(int threads, bool backwards) {
    for (int i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        fiber.finished = fiber.at_barrier = false;
        fiber.open.clear();
        fiber.groups.clear();
        fiber.thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    }
    for (size_t w = 0; w < warps.size(); ++w) {
        warps[w].lanes = std::min(WARP, threads - int(w) * WARP);
        warps[w].arrived = 0;
    }
    std::memset(shared.data(), 0xff, shared.size());
    for (int idle = 0; idle < 3;) {
        bool moved = false;
        for (int turn = 0; turn < threads; ++turn) {
            const int i = backwards ? threads - 1 - turn : turn;
            if (fibers[i].finished || fibers[i].at_barrier) continue;
            resume(i);
            moved = true;
        }
        const auto first = fibers.begin(), last = fibers.begin() + threads;
        if (std::all_of(first, last, [](const Fiber& f) { return f.finished; })) return;
        if (std::all_of(first, last, [](const Fiber& f) { return f.at_barrier; })) {
            for (auto f = first; f != last; ++f) f->at_barrier = false;
            moved = true;
        }
        idle = moved ? 0 : idle + 1;
    }
    fail("some threads wait at a barrier that others never reach");
}

// All lanes of a warp together: `work(in, out)` sees what each lane brought, once all are there.
template <class In, class Out, class Work>
Out together(const In& in, Work work) {
    static_assert(sizeof(In) <= SLOT && sizeof(Out) <= SLOT, "a slot holds it");
    Warp& warp = warps[current / WARP];
    const int lane = current % WARP;
    std::memcpy(warp.in[lane], &in, sizeof in);
    const unsigned round = warp.round;
    if (++warp.arrived == warp.lanes) {
        In ins[WARP] = {};
        Out outs[WARP] = {};
        for (int l = 0; l < warp.lanes; ++l) std::memcpy(&ins[l], warp.in[l], sizeof(In));
        work(ins, outs);
        for (int l = 0; l < warp.lanes; ++l) std::memcpy(warp.out[l], &outs[l], sizeof(Out));
        warp.arrived = 0;
        ++warp.round;
    } else {
        for (long patience = 0; warp.round == round; ++patience) {
            if (patience > 1000000) fail("some lanes of a warp wait for others that never come");
            to_scheduler();
        }
    }
    Out out;
    std::memcpy(&out, warp.out[lane], sizeof out);
    return out;
}

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(arguments[I])...);
}

// Runs a kernel over its grid. `sizes` are those of the arguments that the caller brought.
template <class... P>
int launch(void (*kernel)(P...), const unsigned* grid, const unsigned* block, size_t shared_bytes, void** arguments,
           const size_t* sizes, size_t count, int backwards) {
    const size_t expected[] = {sizeof(P)..., 0};
    if (count != sizeof...(P)) return -1;
    for (size_t i = 0; i < count; ++i)
        if (sizes[i] != expected[i]) return int(i) + 1;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const int threads = int(block[0] * block[1] * block[2]);
    if (threads > 1024) fail("more than 1024 threads in a block");
    if (fibers.size() < size_t(threads)) fibers = std::vector<Fiber>(threads);
    warps.resize((threads + WARP - 1) / WARP);
    shared.resize(shared_bytes + 16 + BEYOND);
    shared_start = shared.data() + (16 - reinterpret_cast<uintptr_t>(shared.data()) % 16) % 16;
    const unsigned char *end = shared_start + shared_bytes, *last = shared.data() + shared.size();
    body = [=] { call(kernel, arguments, std::index_sequence_for<P...>{}); };
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned turn = 0; turn < grid[0]; ++turn) {
                blockIdx = {backwards ? grid[0] - 1 - turn : turn, y, z};
                run_block(threads, backwards != 0);
                if (!std::all_of(end, last, [](unsigned char byte) { return byte == 0xff; }))
                    fail("a block wrote beyond its shared memory");
            }
    return 0;
}

inline float rounded(float x, int dropped_bits) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x;  // infinite or NaN
    bits += (1u << (dropped_bits - 1)) - 1 + (bits >> dropped_bits & 1);  // to nearest, ties to even
    bits &= ~0u << dropped_bits;
    std::memcpy(&x, &bits, 4);
    return x;
}

}  // namespace shim

// ------------------------------------------------------------------------------------------ what CUDA has

inline void __syncthreads() {
    shim::fibers[shim::current].at_barrier = true;
    shim::to_scheduler();
}

inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(x); }

inline void __threadfence() {}  // blocks run one after the other

inline unsigned atomicAdd(unsigned* at, unsigned more) { return std::exchange(*at, *at + more); }

using std::max;
using std::min;

// ------------------------------------------------------------------------------------------ common.cuh

inline unsigned char* shared_bytes() { return shim::shared_start; }

template <int BYTES>
void copy_async(void* shared, const void* global, bool there) {
    const auto misaligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % BYTES != 0; };
    if (misaligned(shared) || (there && misaligned(global))) shim::fail("cp.async on a misaligned address");
    shim::fibers[shim::current].open.push_back({shared, global, BYTES, there});
}

inline void close_copies() {
    auto& fiber = shim::fibers[shim::current];
    fiber.groups.push_back(std::move(fiber.open));
    fiber.open.clear();
}

template <int PENDING>
void await_copies() {
    auto& groups = shim::fibers[shim::current].groups;
    for (; groups.size() > PENDING; groups.pop_front())
        for (const auto& copy : groups.front()) {
            if (copy.there)
                std::memcpy(copy.target, copy.source, copy.bytes);
            else
                std::memset(copy.target, 0, copy.bytes);
        }
}

// ------------------------------------------------------------------------------------------ tensor_core.cuh

inline unsigned to_tf32(float x) {
    x = shim::rounded(x, 13);
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline unsigned to_bf16(float low, float high) {
    const auto upper = [](float x) {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        if (std::isnan(x)) return 0x7fffu;
        return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;  // to nearest, ties to even
    };
    return upper(low) | upper(high) << 16;
}

namespace shim {

struct Fragments {
    float c[4];
    unsigned a[4], b[2];
};

struct Sums {
    float c[4];
};

inline float half_of(unsigned bits, int half) {
    const uint32_t whole = half ? bits & 0xffff0000u : bits << 16;
    float x;
    std::memcpy(&x, &whole, 4);
    return x;
}

inline float whole(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

template <int N>
struct Numbers {
    float of[N];
};

// c += a b of a warp; number(registers, place) finds a lane's numbers along the depth.
inline void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned* b, bool pairs) {
    Fragments mine;
    std::copy(c, c + 4, mine.c);
    std::copy(a, a + 4, mine.a);
    std::copy(b, b + 2, mine.b);
    const Sums sums = together<Fragments, Sums>(mine, [pairs](const Fragments* in, Sums* out) {
        const int depth = pairs ? 16 : 8;
        float A[16][16], B[16][8];
        for (int l = 0; l < WARP; ++l) {
            const int group = l / 4, place = l % 4;
            for (int i = 0; i < 4; ++i) {
                const int row = group + (i % 2 ? 8 : 0);
                if (pairs)
                    for (int h = 0; h < 2; ++h) A[row][place * 2 + h + (i / 2 ? 8 : 0)] = half_of(in[l].a[i], h);
                else
                    A[row][place + (i / 2 ? 4 : 0)] = whole(in[l].a[i]);
            }
            for (int i = 0; i < 2; ++i) {
                if (pairs)
                    for (int h = 0; h < 2; ++h) B[place * 2 + h + (i ? 8 : 0)][group] = half_of(in[l].b[i], h);
                else
                    B[place + (i ? 4 : 0)][group] = whole(in[l].b[i]);
            }
        }
        for (int l = 0; l < WARP; ++l)
            for (int i = 0; i < 4; ++i) {
                const int row = l / 4 + (i / 2 ? 8 : 0), column = l % 4 * 2 + i % 2;
                float sum = in[l].c[i];
                for (int k = 0; k < depth; ++k) sum += A[row][k] * B[k][column];
                out[l].c[i] = sum;
            }
    });
    std::copy(sums.c, sums.c + 4, c);
}

}  // namespace shim

// ldmatrix: lane l brings the address of row l % 8 of matrix l / 8.
template <int N>
void fetch_matrices(float (&to)[N], const float* row) {
    using namespace shim;
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("ldmatrix on a misaligned address");
    using Row = const float*;
    const auto fetched = together<Row, Numbers<N>>(row, [](const Row* rows, Numbers<N>* out) {
        for (int l = 0; l < WARP; ++l)
            for (int matrix = 0; matrix < N; ++matrix) out[l].of[matrix] = rows[8 * matrix + l / 4][l % 4];
    });
    std::copy(fetched.of, fetched.of + N, to);
}

inline float exchanged(float x, int bit) {
    return shim::together<float, float>(x, [bit](const float* in, float* out) {
        for (int l = 0; l < shim::WARP; ++l) out[l] = in[l ^ bit];
    });
}

inline void multiply_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned* b) {
    for (unsigned bits : {a[0], a[1], a[2], a[3], b[0], b[1]})
        if ((bits & 0x1fffu) != 0 && (bits & 0x7f800000u) != 0x7f800000u) shim::fail("a factor is not rounded to TF32");
    shim::multiply(c, a, b, false);
}

inline void multiply_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned* b) {
    shim::multiply(c, a, b, true);
}

// Makes a kernel callable by name.
#define SHIM_EXPORT(kernel)                                                                                       \
    extern "C" int shim_##kernel(const unsigned* grid, const unsigned* block, size_t shared_bytes, void** arguments, \
                                 const size_t* sizes, size_t count, int backwards) {                               \
        return shim::launch(kernel, grid, block, shared_bytes, arguments, sizes, count, backwards);                \
    }
