// Optimizer steps: one pass over flat arrays.
//
// Numbers that change from step to step may lie on the device, so that a captured step can be replayed with others:
// where `..._at` is not null it points to the number, and the argument next to it is ignored. A step whose `sound`
// points to false changes nothing.
//
// Settings: SCALAR, VECTOR (see vector.cuh).

#include "columns.cuh"

__device__ inline double number(double value, const double* at) {
    return at == nullptr ? value : *at;
}

__device__ inline bool unsound(const bool* sound) {
    return sound != nullptr && !*sound;
}

extern "C" __global__ void adam_step(T* w, const T* dw, T* m, T* v, Offset size, double lr, const double* lr_at,
                                     double step, const double* step_at, double beta1, double beta2,
                                     const double* beta2_at, double eps, double weight_decay, const bool* sound) {
    if (unsound(sound)) return;
    T* once = reinterpret_cast<T*>(shared_bytes());  // for the block: what takes powers in double precision
    const double second = number(beta2, beta2_at);
    if (threadIdx.x == 0) {
        const double rate = number(lr, lr_at), t = number(step, step_at);
        once[0] = static_cast<T>(1 - rate * weight_decay);
        once[1] = static_cast<T>(rate / (1 - pow(beta1, t)));
        once[2] = static_cast<T>(1 / (1 - pow(second, t)));
    }
    __syncthreads();
    const T keep = once[0], rate = once[1], correction = once[2], least = static_cast<T>(eps);
    const T keep_m = static_cast<T>(beta1), rest_m = static_cast<T>(1 - beta1);
    const T keep_v = static_cast<T>(second), rest_v = static_cast<T>(1 - second);
    each(size, [=](T& w, T dw, T& m, T& v) {
        m = keep_m * m + rest_m * dw;
        v = keep_v * v + rest_v * dw * dw;
        w = keep * w - rate * m / (sqrt(v * correction) + least);
    }, InOut{w}, In{dw}, InOut{m}, InOut{v});
}

extern "C" __global__ void sgd_step(T* w, const T* dw, T* velocity, Offset size, double lr, const double* lr_at,
                                    double momentum, const bool* sound) {
    if (unsound(sound)) return;
    const T rate = static_cast<T>(number(lr, lr_at)), keep = static_cast<T>(momentum);
    each(size, [=](T& w, T dw, T& velocity) {
        velocity = keep * velocity + dw;
        w -= rate * velocity;
    }, InOut{w}, In{dw}, InOut{velocity});
}

extern "C" __global__ void rmsprop_step(T* w, const T* dw, T* square, Offset size, double lr, const double* lr_at,
                                        double decay, double eps, const bool* sound) {
    if (unsound(sound)) return;
    const T rate = static_cast<T>(number(lr, lr_at)), least = static_cast<T>(eps);
    const T keep = static_cast<T>(decay), rest = static_cast<T>(1 - decay);
    each(size, [=](T& w, T dw, T& square) {
        square = keep * square + rest * dw * dw;
        w -= rate * dw / (sqrt(square) + least);
    }, InOut{w}, In{dw}, InOut{square});
}

extern "C" __global__ void ema_step(T* average, const T* w, Offset size, double decay, const double* decay_at,
                                    const bool* sound) {
    if (unsound(sound)) return;
    const T share = static_cast<T>(1 - number(decay, decay_at));
    each(size, [=](T& average, T w) { average += share * (w - average); }, InOut{average}, In{w});
}

extern "C" __global__ void clip_value(T* x, Offset size, double limit, const bool* sound) {
    if (unsound(sound)) return;
    const T high = static_cast<T>(limit);
    each(size, [=](T& x) { x = x > high ? high : x < -high ? -high : x; }, InOut{x});
}

// The flag is not set: any thread that finds a number beyond the limit, or none at all, clears it.
extern "C" __global__ void clear_unless_below(const T* x, Offset size, double limit, bool* flag) {
    const T high = static_cast<T>(limit);
    bool below = true;
    each(size, [&](T x) { below = below && x < high && x > -high; }, In{x});
    if (!below) *flag = false;
}

// ---------------------------------------------------------------------------------------------- clip_norm

// Each block's sum of squares, in double precision: that of a number may be too large for float.
extern "C" __global__ void squares(const T* x, Offset size, Sums<1>* partials) {
    Sums<1> total[1] = {};
    each(size, [&](T x) { total[0].of[0] += double(x) * double(x); }, In{x});
    add_rows(total, 1);
    if (threadIdx.x == 0) partials[blockIdx.x] = total[0];
}

// Each block adds up all partial sums by itself, in one order. A norm that is NaN spreads.
extern "C" __global__ void shorten(T* x, Offset size, const Sums<1>* partials, int count, double limit,
                                   const bool* sound) {
    if (unsound(sound)) return;
    Sums<1> total[1] = {};
    for (int i = threadIdx.x; i < count; i += blockDim.x) total[0].add(partials[i]);
    add_rows(total, 1);
    __syncthreads();
    const double norm = sqrt(*reinterpret_cast<double*>(shared_bytes()));
    if (norm <= limit) return;
    const T factor = static_cast<T>(limit / norm);
    each(size, [=](T& x) { x *= factor; }, InOut{x});
}
