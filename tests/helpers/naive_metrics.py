"""The metrics once more, as slow loops straight from their definitions."""

import numpy as np
import scipy.linalg
import scipy.ndimage


def distances(x, y):
    return np.array([[np.sqrt(((a - b) ** 2).sum()) for b in y] for a in x])


def frechet(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(root))


def mmd(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def prdc(real, fake, k):
    rr, ff, rf = distances(real, real), distances(fake, fake), distances(real, fake)
    r_radius = [sorted(rr[i, j] for j in range(len(real)) if j != i)[k - 1] for i in range(len(real))]
    f_radius = [sorted(ff[i, j] for j in range(len(fake)) if j != i)[k - 1] for i in range(len(fake))]
    n, m = len(real), len(fake)
    precision = np.mean([any(rf[i, j] <= r_radius[i] for i in range(n)) for j in range(m)])
    recall = np.mean([any(rf[i, j] <= f_radius[j] for j in range(m)) for i in range(n)])
    density = sum(rf[i, j] <= r_radius[i] for i in range(n) for j in range(m)) / (k * m)
    coverage = np.mean([any(rf[i, j] <= r_radius[i] for j in range(m)) for i in range(n)])
    return precision, recall, density, coverage


def ssim(x, y, data_range):
    """SSIM of one channel (H, W): windows of scipy's Gaussian, cut to 11x11, away from the border."""

    def mean(z):
        return scipy.ndimage.gaussian_filter(z, 1.5, radius=5)[5:-5, 5:-5]

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return (((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def pyramid_level(images):
    """The next coarser image and what it leaves out, by scipy's filters."""
    taps = np.array([1, 4, 6, 4, 1]) / 16

    def blur(x):
        for axis in (1, 2):
            x = scipy.ndimage.convolve1d(x, taps, axis=axis, mode="mirror")
        return x

    coarse = blur(images)[:, ::2, ::2]
    spread = np.zeros_like(images)
    spread[:, ::2, ::2] = coarse
    return coarse, images - 4 * blur(spread)
