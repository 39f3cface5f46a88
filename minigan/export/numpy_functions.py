"""Functions of a generator written out in NumPy; a file gets copies of those that it needs.

Images are (N, H, W, C) and vectors (N, F), as everywhere in minigan. Written to be read: without types, not for speed.
"""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def leaky_relu(x, slope):
    return np.maximum(x, slope * x)


def sigmoid(x):
    return 0.5 * np.tanh(0.5 * x) + 0.5  # 1 / (1 + exp(-x)), without its overflow


def rsqrt(x):
    return 1 / np.sqrt(x)


def maxout(x, pieces):
    """The largest of each output's pieces."""
    return x.reshape(*x.shape[:-1], pieces, -1).max(axis=-2)


def conv(x, w, b=0, stride=1, pad=0, groups=1):
    """Convolution: every tap (r, s) of the filter weighs the image, seen from where that tap lies.

    w is (R, S, C, K), for C channels in and K out. pad is how many rows of zeros stand above and below the image, and
    how many columns left and right of it: one number, or four. In groups, each part of the channels is convolved by
    itself, with its part of K.
    """
    if groups > 1:
        parts = zip(np.split(x, groups, axis=-1), np.split(w, groups, axis=-1), strict=True)
        return np.concatenate([conv(x, w, 0, stride, pad) for x, w in parts], axis=-1) + b
    (R, S, _, K), (down, across) = w.shape, np.broadcast_to(stride, 2)
    x = np.pad(x, [(0, 0), *np.broadcast_to(pad, 4).reshape(2, 2), (0, 0)])
    height, width = (x.shape[1] - R) // down + 1, (x.shape[2] - S) // across + 1
    y = np.zeros((len(x), height, width, K), x.dtype)
    for r in range(R):
        for s in range(S):
            seen = x[:, r : r + down * height : down, s : s + across * width : across]
            y += np.tensordot(seen, w[r, s], axes=1)
    return y + b


def conv_transpose(x, w, b=0, stride=1, cut=0, size=(1, 1), groups=1):
    """Transposed convolution: every pixel stamps the filter onto a larger image, a stride from one to the next.

    w is (R, S, K, C), for C channels in and K out. Of the stamped image `size` is kept, below and right of `cut`. In
    groups, each part of the channels is stamped by itself, with its part of K.
    """
    if groups > 1:
        parts = zip(np.split(x, groups, axis=-1), np.split(w, groups, axis=2), strict=True)
        return np.concatenate([conv_transpose(x, w, 0, stride, cut, size) for x, w in parts], axis=-1) + b
    (R, S, K, _), (down, across), (N, H, W, _) = w.shape, np.broadcast_to(stride, 2), x.shape
    y = np.zeros((N, down * H + R, across * W + S, K), x.dtype)
    for r in range(R):
        for s in range(S):
            y[:, r : r + down * H : down, s : s + across * W : across] += np.tensordot(x, w[r, s], axes=(3, 1))
    top, left = np.broadcast_to(cut, 2)
    return y[:, top : top + size[0], left : left + size[1]] + b


def depthwise(x, w, stride=1, pad=0):
    """Convolution of each channel with a filter of its own, w (R, S, C); stride and pad as in `conv`."""
    (R, S, _), (down, across) = w.shape, np.broadcast_to(stride, 2)
    x = np.pad(x, [(0, 0), *np.broadcast_to(pad, 4).reshape(2, 2), (0, 0)])
    height, width = (x.shape[1] - R) // down + 1, (x.shape[2] - S) // across + 1
    y = np.zeros((len(x), height, width, w.shape[2]), x.dtype)
    for r in range(R):
        for s in range(S):
            y += x[:, r : r + down * height : down, s : s + across * width : across] * w[r, s]
    return y


def depthwise_transpose(x, w, stride=1, cut=0, size=(1, 1)):
    """Transposed convolution of each channel with a filter of its own, w (R, S, C); cut and size as in
    `conv_transpose`.
    """
    (R, S, _), (down, across), (N, H, W, C) = w.shape, np.broadcast_to(stride, 2), x.shape
    y = np.zeros((N, down * H + R, across * W + S, C), x.dtype)
    for r in range(R):
        for s in range(S):
            y[:, r : r + down * H : down, s : s + across * W : across] += x * w[r, s]
    top, left = np.broadcast_to(cut, 2)
    return y[:, top : top + size[0], left : left + size[1]]


def depth_to_space(x, down, across):
    """Channels become pixels: (H, W, down * across * C) becomes (H * down, W * across, C)."""
    N, H, W, _ = x.shape
    blocks = x.reshape(N, H, W, down, across, -1).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(N, H * down, W * across, -1)


def average_pool(x, down, across):
    """Each block of pixels averaged."""
    N, H, W, C = x.shape
    return x.reshape(N, H // down, down, W // across, across, C).mean(axis=(2, 4))


def group_norm(x, gamma, beta, groups, eps):
    """Each group of channels of each example with mean 0 and variance 1, then a scale and a shift by channel."""
    grouped = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    grouped = grouped - grouped.mean(axis=(1, 3), keepdims=True)
    grouped = grouped / np.sqrt((grouped**2).mean(axis=(1, 3), keepdims=True) + eps)
    return grouped.reshape(x.shape) * gamma + beta


def pixel_norm(x, eps):
    """The channels of each pixel, or a vector, with a mean square of 1."""
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)


def attend(x, f, g, h, gamma):
    """Self-attention: each pixel adds the h of all pixels, weighted by how well their f fits its g."""
    f, g, h = (t.reshape(len(t), -1, t.shape[-1]) for t in (f, g, h))  # (N, pixels, channels)
    scores = g @ f.transpose(0, 2, 1)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return x + gamma * (weights @ h).reshape(x.shape)


def fill(drawn, x):
    """The drawn image in the hole, the given one elsewhere; x is the given one and a mask that is 1 in the hole."""
    image, mask = x[..., :-1], x[..., -1:]
    return mask * drawn + (1 - mask) * image


def write_picture(path, images):
    """Images (N, H, W, 1 or 3) in [-1, 1] side by side, as a PGM or PPM file."""
    row = np.concatenate(list(images), axis=1)
    pixels = (row.clip(-1, 1) * 127.5 + 128).astype(np.uint8)
    height, width, channels = pixels.shape
    with open(path, "wb") as file:
        file.write(b"P%d %d %d 255\n" % (5 if channels == 1 else 6, width, height) + pixels.tobytes())
