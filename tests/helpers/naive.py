"""Loop oracles: every kernel of the contract again, one scalar at a time.

Written from the formulas in `minigan/backends/base.py` and from nothing else, in float64 (or complex128, so
that `complex_step` can differentiate them), with no matrix product and no slicing trick. Slow, easy to believe.
"""

import cmath
import math
from collections.abc import Callable, Iterator

import numpy as np

from minigan.backends.geometry import ConvGeometry

Array = np.ndarray
Taps = Iterator[tuple[int, int, int, int, int, int]]


def complex_step(f: Callable[[Array], complex], x: Array, h: float = 1e-30) -> Array:
    """df/dx for a real-analytic scalar f: Im f(x + ih) / h, free of cancellation (Squire & Trapp 1998)."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        moved = x.astype(np.complex128)
        moved[index] += 1j * h
        gradient[index] = f(moved).imag / h
    return gradient


# --------------------------------------------------------------------------------------------- convolution


def taps(geometry: ConvGeometry) -> Taps:
    """Every (p, q, r, s, i, j) at which output pixel (p, q) sees input pixel (i, j) through tap (r, s)."""
    (top, _), (left, _) = geometry.padding
    for p, q, r, s in np.ndindex(geometry.P, geometry.Q, geometry.R, geometry.S):
        i, j = p * geometry.stride[0] + r - top, q * geometry.stride[1] + s - left
        if 0 <= i < geometry.H and 0 <= j < geometry.W:
            yield p, q, r, s, i, j


def pairs_of(geometry: ConvGeometry) -> list[tuple[int, int]]:
    """Every output channel k with every input channel c of its group."""
    wide, deep = geometry.K // geometry.groups, geometry.C // geometry.groups
    return [(k, c) for k in range(geometry.K) for c in range(geometry.C) if k // wide == c // deep]


def conv2d(x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
    y = [
        [
            [[0.0 if b is None else float(b[k]) for k in range(geometry.K)] for _ in range(geometry.Q)]
            for _ in range(geometry.P)
        ]
        for _ in range(len(x))
    ]
    images, filters = x.tolist(), w.tolist()
    for p, q, r, s, i, j in taps(geometry):
        for n in range(len(x)):
            for k, c in pairs_of(geometry):
                y[n][p][q][k] += filters[r][s][c % (geometry.C // geometry.groups)][k] * images[n][i][j][c]
    return np.array(y)


def conv2d_input_grad(dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
    dx = [
        [
            [[0.0 if b is None else float(b[c]) for c in range(geometry.C)] for _ in range(geometry.W)]
            for _ in range(geometry.H)
        ]
        for _ in range(len(dy))
    ]
    cotangents, filters = dy.tolist(), w.tolist()
    for p, q, r, s, i, j in taps(geometry):
        for n in range(len(dy)):
            for k, c in pairs_of(geometry):
                dx[n][i][j][c] += filters[r][s][c % (geometry.C // geometry.groups)][k] * cotangents[n][p][q][k]
    return np.array(dx)


def conv2d_weight_grad(x: Array, dy: Array, geometry: ConvGeometry) -> Array:
    dw = np.zeros(geometry.weight_shape).tolist()
    images, cotangents = x.tolist(), dy.tolist()
    for p, q, r, s, i, j in taps(geometry):
        for n in range(len(x)):
            for k, c in pairs_of(geometry):
                dw[r][s][c % (geometry.C // geometry.groups)][k] += images[n][i][j][c] * cotangents[n][p][q][k]
    return np.array(dw)


# --------------------------------------------------------------------------------------------------- dense


def matmul(
    a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False, bias: Array | None = None
) -> Array:
    rows, inner = (a.shape[1], a.shape[0]) if transpose_a else a.shape
    columns = b.shape[0] if transpose_b else b.shape[1]
    product = np.zeros((rows, columns))
    for i, j in np.ndindex(rows, columns):
        total = 0.0 if bias is None else float(bias[j])
        for t in range(inner):
            total += float(a[t, i] if transpose_a else a[i, t]) * float(b[j, t] if transpose_b else b[t, j])
        product[i, j] = total
    return product


def channel_sum(dy: Array) -> Array:
    sums = np.zeros(dy.shape[-1])
    for *position, k in np.ndindex(*dy.shape):
        sums[k] += float(dy[(*position, k)])
    return sums


# ------------------------------------------------------------------------------------------- normalization


def channels(x: Array) -> list[list[complex]]:
    """Channel by channel, all of its numbers."""
    return [[x[(*position, c)].item() for position in np.ndindex(*x.shape[:-1])] for c in range(x.shape[-1])]


def from_channels(values: list[list[complex]], shape: tuple[int, ...]) -> Array:
    """The inverse of `channels`."""
    result = np.zeros(shape, dtype=np.result_type(*(np.array(v).dtype for v in values)))
    for c, column in enumerate(values):
        for position, value in zip(np.ndindex(*shape[:-1]), column, strict=True):
            result[(*position, c)] = value
    return result


def average(values: list[complex]) -> complex:
    return sum(values) / len(values)


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel."""
    means, variances = [], []
    for column in channels(x):
        mean = average(column)
        means.append(mean)
        variances.append(average([(t - mean) ** 2 for t in column]))
    return np.array(means), np.array(variances)


def batchnorm(x: Array, gamma: Array, beta: Array, *, eps: float) -> tuple[Array, Array, Array]:
    mean, var = batch_statistics(x)
    return batchnorm_frozen(x, gamma, beta, mean, var, eps=eps), mean, var


def batchnorm_frozen(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) -> Array:
    y = []
    for c, column in enumerate(channels(x)):
        std = (var[c] + eps) ** 0.5
        y.append([gamma[c] * (t - mean[c]) / std + beta[c] for t in column])
    return from_channels(y, x.shape)


def batchnorm_grad(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, *, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta."""
    dx, dgamma, dbeta = [], [], []
    for c, (cotangent, column) in enumerate(zip(channels(dy), channels(x), strict=True)):
        std = (var[c] + eps) ** 0.5
        u = [(t - mean[c]) / std for t in column]
        dy_u = [d * t for d, t in zip(cotangent, u, strict=True)]
        mean_dy, mean_dy_u = average(cotangent), average(dy_u)
        dx.append([gamma[c] / std * (d - mean_dy - t * mean_dy_u) for d, t in zip(cotangent, u, strict=True)])
        dgamma.append(sum(dy_u))
        dbeta.append(sum(cotangent))
    return from_channels(dx, x.shape), np.array(dgamma), np.array(dbeta)


def batchnorm_double_grad(v: Array, dy: Array, x: Array, gamma: Array, *, eps: float) -> tuple[Array, Array, Array]:
    """dP/d(dy), dP/dx, dP/dgamma of P = <v, dx>, by differentiating the naive dx along each number in turn.

    The batch's statistics move with x, so they are computed anew from every x.
    """

    def penalty(dy: Array, x: Array, gamma: Array) -> complex:
        dx, _, _ = batchnorm_grad(dy, x, gamma, *batch_statistics(x), eps=eps)
        return sum(v[index] * dx[index] for index in np.ndindex(*v.shape))

    return (
        complex_step(lambda t: penalty(t, x, gamma), dy),
        complex_step(lambda t: penalty(dy, t, gamma), x),
        complex_step(lambda t: penalty(dy, x, t), gamma),
    )


def batchnorm_frozen_grad(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, *, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta."""
    dx, dgamma, dbeta = [], [], []
    for c, (cotangent, column) in enumerate(zip(channels(dy), channels(x), strict=True)):
        std = (var[c] + eps) ** 0.5
        dx.append([d * gamma[c] / std for d in cotangent])
        dgamma.append(sum(d * (t - mean[c]) / std for d, t in zip(cotangent, column, strict=True)))
        dbeta.append(sum(cotangent))
    return from_channels(dx, x.shape), np.array(dgamma), np.array(dbeta)


def groups_of(x: Array, groups: int) -> list[list[tuple[int, ...]]]:
    """Where the numbers of each group stand: example by example, group by group."""
    deep = x.shape[-1] // groups
    return [
        [(n, *pixel, c) for pixel in np.ndindex(*x.shape[1:-1]) for c in range(g * deep, (g + 1) * deep)]
        for n in range(len(x))
        for g in range(groups)
    ]


def group_statistics(x: Array, groups: int) -> tuple[Array, Array]:
    """Mean and biased variance, each (N, groups)."""
    means, variances = [], []
    for places in groups_of(x, groups):
        values = [x[place].item() for place in places]
        means.append(average(values))
        variances.append(average([(t - means[-1]) ** 2 for t in values]))
    return np.array(means).reshape(len(x), groups), np.array(variances).reshape(len(x), groups)


def group_norm(x: Array, gamma: Array, beta: Array, *, groups: int, eps: float) -> tuple[Array, Array, Array]:
    mean, var = group_statistics(x, groups)
    y = np.zeros(x.shape, np.result_type(x, gamma, beta, np.float64))
    for number, places in enumerate(groups_of(x, groups)):
        for place in places:
            u = (x[place] - mean.flat[number]) / (var.flat[number] + eps) ** 0.5
            y[place] = gamma[place[-1]] * u + beta[place[-1]]
    return y, mean, var


def group_norm_grad(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, *, eps: float
) -> tuple[Array, Array, Array]:
    """dx, dgamma, dbeta."""
    kind = np.result_type(dy, x, gamma, np.float64)
    dx, dgamma, dbeta = np.zeros(x.shape, kind), np.zeros(gamma.shape, kind), np.zeros(gamma.shape, kind)
    for number, places in enumerate(groups_of(x, mean.shape[1])):
        std = (var.flat[number] + eps) ** 0.5
        u = [(x[place] - mean.flat[number]) / std for place in places]
        g = [gamma[place[-1]] * dy[place] for place in places]
        mean_g, mean_gu = average(g), average([a * b for a, b in zip(g, u, strict=True)])
        for place, u_here, g_here in zip(places, u, g, strict=True):
            dx[place] = (g_here - mean_g - u_here * mean_gu) / std
            dgamma[place[-1]] += dy[place] * u_here
            dbeta[place[-1]] += dy[place]
    return dx, dgamma, dbeta


def group_norm_double_grad(
    v: Array, dy: Array, x: Array, gamma: Array, *, groups: int, eps: float
) -> tuple[Array, Array, Array]:
    """dP/d(dy), dP/dx, dP/dgamma of P = <v, dx>, as in `batchnorm_double_grad`."""

    def penalty(dy: Array, x: Array, gamma: Array) -> complex:
        dx, _, _ = group_norm_grad(dy, x, gamma, *group_statistics(x, groups), eps=eps)
        return sum(v[index] * dx[index] for index in np.ndindex(*v.shape))

    return (
        complex_step(lambda t: penalty(t, x, gamma), dy),
        complex_step(lambda t: penalty(dy, t, gamma), x),
        complex_step(lambda t: penalty(dy, x, t), gamma),
    )


# --------------------------------------------------------------------------------------------- activations


def elementwise(f: Callable[..., float], *arrays: Array) -> Array:
    result = np.zeros(arrays[0].shape)
    for index in np.ndindex(*result.shape):
        result[index] = f(*(float(a[index]) for a in arrays))
    return result


def leaky_relu(x: Array, *, slope: float) -> Array:
    return elementwise(lambda t: t if t > 0 else slope * t, x)


def leaky_relu_grad(dy: Array, y: Array, *, slope: float) -> Array:
    return elementwise(lambda d, t: d if t > 0 else slope * d, dy, y)


def tanh(x: Array) -> Array:
    return elementwise(math.tanh, x)


def tanh_grad(dy: Array, y: Array) -> Array:
    return elementwise(lambda d, t: d * (1 - t * t), dy, y)


def logistic(t: float) -> float:
    """1 / (1 + exp(-t)); below -700 exp(-t) would overflow, and there the 1 no longer counts."""
    return math.exp(t) if t < -700 else 1 / (1 + math.exp(-t))


def sigmoid(x: Array) -> Array:
    return elementwise(logistic, x)


def sigmoid_grad(dy: Array, y: Array) -> Array:
    return elementwise(lambda d, t: d * t * (1 - t), dy, y)


def maxout(x: Array, *, pieces: int) -> Array:
    y = np.zeros((*x.shape[:-1], x.shape[-1] // pieces))
    for *where, k in np.ndindex(*y.shape):
        y[(*where, k)] = max(float(x[(*where, p * y.shape[-1] + k)]) for p in range(pieces))
    return y


def maxout_grad(dy: Array, x: Array, y: Array, *, pieces: int) -> Array:
    dx = np.zeros(x.shape)
    for *where, k in np.ndindex(*y.shape):
        group = [(*where, p * y.shape[-1] + k) for p in range(pieces)]
        dx[next(i for i in group if x[i] == y[(*where, k)])] = dy[(*where, k)]
    return dx


def complex_tanh(x: Array) -> Array:
    """For `complex_step`."""
    return np.array([cmath.tanh(t) for t in x.ravel()]).reshape(x.shape)


def complex_sigmoid(x: Array) -> Array:
    """For `complex_step`."""
    return np.array([1 / (1 + cmath.exp(-t)) for t in x.ravel()]).reshape(x.shape)


# -------------------------------------------------------------------------------------------- shape, noise


def upsample_nearest(x: Array, *, factor: tuple[int, int]) -> Array:
    N, H, W, C = x.shape
    y = np.zeros((N, H * factor[0], W * factor[1], C))
    for n, i, j, c in np.ndindex(*y.shape):
        y[n, i, j, c] = x[n, i // factor[0], j // factor[1], c]
    return y


def upsample_nearest_grad(dy: Array, *, factor: tuple[int, int]) -> Array:
    N, H, W, C = dy.shape
    dx = np.zeros((N, H // factor[0], W // factor[1], C))
    for n, i, j, c in np.ndindex(*dy.shape):
        dx[n, i // factor[0], j // factor[1], c] += dy[n, i, j, c]
    return dx


def reflect_pad(x: Array, *, padding) -> Array:
    (N, H, W, C), ((top, bottom), (left, right)) = x.shape, padding
    y = np.zeros((N, top + H + bottom, left + W + right, C))
    for n, p, q, c in np.ndindex(*y.shape):
        y[n, p, q, c] = x[n, mirror(p - top, H), mirror(q - left, W), c]
    return y


def reflect_pad_grad(dy: Array, *, padding) -> Array:
    (N, tall, wide, C), ((top, bottom), (left, right)) = dy.shape, padding
    H, W = tall - top - bottom, wide - left - right
    dx = np.zeros((N, H, W, C))
    for n, p, q, c in np.ndindex(*dy.shape):
        dx[n, mirror(p - top, H), mirror(q - left, W), c] += dy[n, p, q, c]
    return dx


def mirror(i: int, side: int) -> int:
    while not 0 <= i < side:
        i = -i if i < 0 else 2 * (side - 1) - i
    return i


def noise_leaky_relu(x: Array, n: Array, strength: Array, b: Array, *, slope: float, gain: float) -> Array:
    y = np.empty(x.shape)
    for i, h, w, c in np.ndindex(x.shape):
        t = float(x[i, h, w, c]) + float(strength[0]) * float(n[i % len(n), h, w, 0]) + float(b[c])
        y[i, h, w, c] = gain * (t if t > 0 else slope * t)
    return y


def noise_leaky_relu_grad(
    dy: Array, y: Array, n: Array, *, slope: float, gain: float
) -> tuple[Array, tuple[Array, Array]]:
    dx, dstrength, db = np.empty(y.shape), np.zeros(1), np.zeros(y.shape[-1])
    for i, h, w, c in np.ndindex(y.shape):
        dx[i, h, w, c] = gain * (1 if y[i, h, w, c] > 0 else slope) * float(dy[i, h, w, c])
        dstrength[0] += dx[i, h, w, c] * float(n[i % len(n), h, w, 0])
        db[c] += dx[i, h, w, c]
    return dx, (dstrength, db)


def scale_channels(x: Array, s: Array) -> Array:
    y = np.zeros(x.shape)
    for n, h, w, c in np.ndindex(*x.shape):
        y[n, h, w, c] = s[n, c] * x[n, h, w, c]
    return y


def scale_channels_grad(dy: Array, x: Array, s: Array) -> tuple[Array, Array]:
    dx, ds = np.zeros(x.shape), np.zeros(s.shape)
    for n, h, w, c in np.ndindex(*x.shape):
        dx[n, h, w, c] = s[n, c] * dy[n, h, w, c]
        ds[n, c] += dy[n, h, w, c] * x[n, h, w, c]
    return dx, ds


def modulated_conv(x: Array, s: Array, w: Array, geometry, *, demodulate: bool, eps: float = 1e-8) -> Array:
    """With a filter of its own for each image, as the paper writes it; w (R, S, C, K)."""
    y = []
    for image, style in zip(x, s, strict=True):
        own = w * style[:, None]
        if demodulate:
            own = own / np.sqrt((own**2).sum(axis=(0, 1, 2)) + eps)
        y.append(conv2d(image[None], own, None, geometry)[0])
    return np.array(y)


def depth_to_space(x: Array, *, factor: tuple[int, int]) -> Array:
    (a, b), (N, H, W, C) = factor, x.shape
    y = np.zeros((N, H * a, W * b, C // (a * b)))
    for n, i, j, r, s, c in np.ndindex(N, H, W, a, b, y.shape[-1]):
        y[n, i * a + r, j * b + s, c] = x[n, i, j, (r * b + s) * y.shape[-1] + c]
    return y


def space_to_depth(y: Array, *, factor: tuple[int, int]) -> Array:
    (a, b), (N, H, W, C) = factor, y.shape
    x = np.zeros((N, H // a, W // b, a * b * C))
    for n, i, j, c in np.ndindex(*y.shape):
        x[n, i // a, j // b, (i % a * b + j % b) * C + c] = y[n, i, j, c]
    return x


def dropout_mask_violations(mask: Array, *, rate: float) -> list[str]:
    """Faults of a mask: values other than 0 and 1 / (1 - rate), or 0 too often or too rarely.

    The share of zeros is binomial; five standard deviations leave one failure in a million masks.
    """
    found = []
    scale = float(mask.dtype.type(1 / (1 - rate)))
    values = [float(t) for t in mask.ravel()]
    strangers = {t for t in values if t not in (0.0, scale)}
    if strangers:
        found.append(f"values {sorted(strangers)[:5]} besides 0 and {scale}")
    zeros = sum(t == 0.0 for t in values)
    spread = 5 * math.sqrt(len(values) * rate * (1 - rate))
    if abs(zeros - rate * len(values)) > spread:
        found.append(f"{zeros} zeros of {len(values)}, expected {rate * len(values):.1f} +- {spread:.1f}")
    return found


# ---------------------------------------------------------------------------------------------- optimizers


def adam_step(
    w: Array,
    dw: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    weight_decay: float = 0.0,
) -> tuple[Array, Array, Array]:
    """The new w, m, v."""
    new_w, new_m, new_v = np.zeros(w.shape), np.zeros(w.shape), np.zeros(w.shape)
    for i in range(len(w)):
        new_m[i] = beta1 * float(m[i]) + (1 - beta1) * float(dw[i])
        new_v[i] = beta2 * float(v[i]) + (1 - beta2) * float(dw[i]) ** 2
        m_hat, v_hat = new_m[i] / (1 - beta1**step), new_v[i] / (1 - beta2**step)
        kept = float(w[i]) - lr * weight_decay * float(w[i])
        new_w[i] = kept - lr * m_hat / (math.sqrt(v_hat) + eps)
    return new_w, new_m, new_v


def sgd_step(w: Array, dw: Array, velocity: Array, *, lr: float, momentum: float) -> tuple[Array, Array]:
    """The new w and velocity."""
    new_w, new_velocity = np.zeros(w.shape), np.zeros(w.shape)
    for i in range(len(w)):
        new_velocity[i] = momentum * float(velocity[i]) + float(dw[i])
        new_w[i] = float(w[i]) - lr * new_velocity[i]
    return new_w, new_velocity


def rmsprop_step(w: Array, dw: Array, square: Array, *, lr: float, decay: float, eps: float) -> tuple[Array, Array]:
    """The new w and square."""
    new_w, new_square = np.zeros(w.shape), np.zeros(w.shape)
    for i in range(len(w)):
        new_square[i] = decay * float(square[i]) + (1 - decay) * float(dw[i]) ** 2
        new_w[i] = float(w[i]) - lr * float(dw[i]) / (math.sqrt(new_square[i]) + eps)
    return new_w, new_square


def ema_step(average: Array, w: Array, *, decay: float) -> Array:
    """The new average."""
    return np.array([decay * float(a) + (1 - decay) * float(b) for a, b in zip(average, w, strict=True)])


def clip_norm(dw: Array, *, limit: float) -> Array:
    """The new dw."""
    norm = math.sqrt(sum(float(number) ** 2 for number in dw))
    return np.array([float(number) * (limit / norm if norm > limit else 1) for number in dw])


def clip_value(x: Array, *, limit: float) -> Array:
    """The new x."""
    return np.array([min(max(float(number), -limit), limit) for number in x])


# ------------------------------------------------------------------------------------- low-pass filters and bases


def fir_down(x: Array, taps, *, factor: tuple[int, int], padding) -> Array:
    """Filter at every pixel, along both sides, and keep each `factor`-th."""
    f = [tap / sum(taps) for tap in taps]
    N, H, W, C = x.shape
    top, left = padding[0][0], padding[1][0]
    P, Q = ((n + sum(p) - len(f)) // s + 1 for n, p, s in zip((H, W), padding, factor, strict=True))
    y = np.zeros((N, P, Q, C))
    for n, p, q, c in np.ndindex(N, P, Q, C):
        for r, s in np.ndindex(len(f), len(f)):
            i, j = p * factor[0] + r - top, q * factor[1] + s - left
            if 0 <= i < H and 0 <= j < W:
                y[n, p, q, c] += f[r] * f[s] * x[n, i, j, c]
    return y


def fir_up(x: Array, taps, *, factor: tuple[int, int], before: tuple[int, int], size: tuple[int, int]) -> Array:
    """Zeros between the pixels, `before` rows and columns of zeros in front, and the filter turned round."""
    f = [tap / sum(taps) for tap in taps]
    N, H, W, C = x.shape
    y = np.zeros((N, *size, C))
    for n, p, q, c in np.ndindex(N, *size, C):
        for r, s in np.ndindex(len(f), len(f)):
            i, j = p + r - before[0], q + s - before[1]
            if 0 <= i < H * factor[0] and 0 <= j < W * factor[1] and i % factor[0] == j % factor[1] == 0:
                gain = factor[0] * factor[1] * f[-1 - r] * f[-1 - s]
                y[n, p, q, c] += gain * x[n, i // factor[0], j // factor[1], c]
    return y


def basis_drawn(a: Array, basis: Array) -> Array:
    y = np.zeros((len(a), *basis.shape))
    for n, h, w, c in np.ndindex(*y.shape):
        y[n, h, w, c] = a[n, c] * basis[h, w, c]
    return y


def basis_measured(x: Array, basis: Array) -> Array:
    y = np.zeros((len(x), x.shape[-1]))
    for n, h, w, c in np.ndindex(*x.shape):
        y[n, c] += x[n, h, w, c] * basis[h, w, c]
    return y
