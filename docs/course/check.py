"""Checks of the course's exercises: right or wrong, and a hint.

    python docs/course/check.py 1 answer.py

The file holds the function that lesson 1 asks for. `check(1, scale_backward)` does the same with a function.
"""

import argparse
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Answer = Callable[..., Any]


class Wrong(Exception):
    """An answer that is not right yet; the message is the hint."""


class Exercise(NamedTuple):
    """One exercise.

    Attributes:
        name: of the function that is asked for.
        check: raises `Wrong` with a hint.
        praise: what has been shown when it is right.
    """

    name: str
    check: Callable[[Answer], None]
    praise: str


def check(lesson: int, answer: Answer) -> str:
    """Tries an answer.

    Raises:
        Wrong: with a hint.
    """
    exercise = EXERCISES[lesson]
    try:
        exercise.check(answer)
    except Wrong:
        raise
    except Exception as error:  # the learner's own code may raise anything
        raise Wrong(f"{exercise.name} raised {type(error).__name__}: {error}") from error
    return f"Right: {exercise.praise}"


# ---------------------------------------------------------------------------------------- what checks share


def near(a: Any, b: Any, *, tolerance: float = 1e-6) -> bool:
    """Whether two arrays of one shape differ by little."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=tolerance, atol=tolerance))


def numeric(function: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """Central differences along every axis."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[index] = h
        gradient[index] = (function(x + step) - function(x - step)) / (2 * h)
    return gradient


def expect(condition: bool, hint: str) -> None:
    if not condition:
        raise Wrong(hint)


def expect_pair(found: Any, names: str) -> tuple[Any, Any]:
    """The two parts of an answer."""
    expect_parts(found, 2, f"return two things, {names}")
    return found[0], found[1]


def expect_parts(found: Any, count: int, wanted: str) -> None:
    expect(found is not None, f"{wanted}; got None. Is there a `return`?")
    several = isinstance(found, tuple | list)
    got = f"{len(found)} things" if several else f"one thing, of type {type(found).__name__}"
    expect(several and len(found) == count, f"{wanted}; got {got}.")


def expect_shape(name: str, found: Any, shape: tuple[int, ...]) -> None:
    got = np.shape(found)
    expect(got == shape, f"{name} must have the shape of what it is the gradient of, {shape}; got {got}.")


# ---------------------------------------------------------------------------------------- one for each lesson


def _scale(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    x, s, dy = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=(5, 3))
    dx, ds = expect_pair(answer(dy, x, s), "dx and ds")
    expect_shape("dx", dx, x.shape)
    expect(not near(dx, dy * x), "dx is dy times what multiplied x: s, not x itself.")
    expect(near(dx, numeric(lambda t: float((t * s * dy).sum()), x)), "dx is off: y = s x, so dy/dx is s.")
    expect(np.shape(ds) != x.shape, "ds has a row for each example. s served all of them: add up over n.")
    expect_shape("ds", ds, s.shape)
    expect(not near(ds, (dy * x).mean(axis=0)), "add up over n, do not average: the mean, if any, is in dy already.")
    expect(near(ds, numeric(lambda t: float((x * t * dy).sum()), s)), "ds is off: y = s x, so dy/ds is x.")


def _cross_entropy(answer: Answer) -> None:
    s = np.array([[-2.0], [-0.5], [0.3], [4.0]])
    for t in (1, 0):
        value, ds = expect_pair(answer(s, t), "the value and its gradient")
        expect(np.ndim(value) == 0, "the value is one number, a mean over the batch; got an array.")
        exact = np.log1p(np.exp(s)) - t * s
        expect(not near(value, exact.sum()), "the value is a sum; take the mean.")
        expect(near(value, exact.mean()), f"for t = {t} the value is {float(value):.4f}, not {exact.mean():.4f}.")
        expect_shape("the gradient", ds, s.shape)
        slope = 1 / (1 + np.exp(-s)) - t
        expect(not near(ds, slope), "the gradient is that of the sum; the mean's has a 1/N.")
        expect(not near(ds, -slope / len(s)), "the gradient has the wrong sign: it is probability minus target.")
        expect(near(ds, slope / len(s)), "the gradient is off: it is (sigmoid(s) - t) / N.")
    with np.errstate(all="ignore"):
        for far in (1000.0, -1000.0):
            value, ds = answer(np.array([[far]]), 1)
            finite = np.isfinite(value) and np.isfinite(ds).all()
            expect(bool(finite), f"for a logit of {far:g} it is not finite: take exp of negative numbers only.")
            expect(near(value, max(-far, 0)), f"for a logit of {far:g} and t = 1 the value is {-min(far, 0):g}.")


def _input_grad(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    for stride, taps, length in ((1, 3, 7), (2, 4, 10), (2, 3, 8), (3, 2, 9)):
        w, outputs = rng.normal(size=taps), (length - taps) // stride + 1
        dy = rng.normal(size=outputs)

        def forward(x: np.ndarray, w: np.ndarray = w, stride: int = stride, outputs: int = outputs) -> np.ndarray:
            return np.array([x[p * stride : p * stride + len(w)] @ w for p in range(outputs)])

        dx = np.asarray(answer(dy, w, stride, length), float)
        expect(dx.shape == (length,), f"dx has as many numbers as x, {length}; got shape {dx.shape}.")
        exact = numeric(lambda x, dy=dy, forward=forward: float(forward(x) @ dy), np.zeros(length))
        if stride == 1:
            expect(not near(dx, np.convolve(dy, w[::-1])), "the filter is flipped. x[p + r] met w[r], both ways.")
        overwritten = np.zeros(length)
        for p in range(outputs):
            overwritten[p * stride : p * stride + taps] = dy[p] * w
        expect(near(dx, exact) or not near(dx, overwritten), "windows overlap: add to dx, do not overwrite it.")
        expect(near(dx, exact), f"<y, dy> and <x, dx> differ for stride {stride}, {taps} taps, length {length}.")


def _batchnorm(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    x, gamma, eps = 3 + 2 * rng.normal(size=(6, 3)), rng.normal(size=3), 0.01
    dy = rng.normal(size=x.shape) + 0.5 * x

    def loss(x: np.ndarray, gamma: np.ndarray, beta: float = 0.0) -> float:
        u = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)
        return float(((gamma * u + beta) * dy).sum())

    found = answer(dy, x, gamma, eps)
    expect_parts(found, 3, "return three things, dx, dgamma and dbeta")
    dx, dgamma, dbeta = found
    for name, part, shape in (("dx", dx, x.shape), ("dgamma", dgamma, (3,)), ("dbeta", dbeta, (3,))):
        expect_shape(name, part, shape)
    sigma = np.sqrt(x.var(axis=0) + eps)
    u, unbiased = (x - x.mean(axis=0)) / sigma, np.sqrt(x.var(axis=0, ddof=1) + eps)
    expect(near(dbeta, dy.sum(axis=0)), "dbeta is the sum of dy over the batch.")
    expect(not near(dgamma, (dy * u).sum(axis=0) * sigma / unbiased), "forward's variance divides by N, not N - 1.")
    expect(near(dgamma, numeric(lambda t: loss(x, t), gamma)), "dgamma is the sum of dy u over the batch.")
    expect(not near(dx, gamma / sigma * dy), "mean and spread depend on x, too: dx lacks two terms.")
    expect(not near(dx, gamma / sigma * (dy - dy.mean(axis=0))), "dx lacks the term through sigma: - u E[dy u].")
    expect(not near(dx, gamma / sigma * (dy - u * (dy * u).mean(axis=0))), "dx lacks the term of the mean: - E[dy].")
    sums = gamma / sigma * (dy - dy.sum(axis=0) - u * (dy * u).sum(axis=0))
    expect(not near(dx, sums), "E is the mean over the batch, not the sum.")
    expect(near(dx, numeric(lambda t: loss(t, gamma), x), tolerance=1e-5), "dx is off. Is gamma / sigma in front?")


def _softplus(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    v, dy, x = (rng.normal(size=(4, 3)) for _ in range(3))
    p = 1 / (1 + np.exp(-x))
    ddy, ddx = expect_pair(answer(v, dy, x), "dP/d(dy) and dP/dx")
    expect_shape("dP/d(dy)", ddy, dy.shape)
    expect(not near(ddy, dy * p), "dP/d(dy) is backward's derivative applied to v; dy is not in it.")
    expect(near(ddy, v * p), "dP/d(dy) is off: dx = dy f'(x), so it is v f'(x), and f' is the sigmoid.")
    expect(ddx is not None, "softplus is curved: its backward depends on x, so dP/dx is not None.")
    expect_shape("dP/dx", ddx, x.shape)
    expect(not near(ddx, v * p * (1 - p)), "dP/dx lacks a factor: dx = dy f'(x), so dy stays in front of f''.")
    expect(not near(ddx, dy * p * (1 - p)), "dP/dx lacks v.")
    exact = numeric(lambda t: float((v * dy / (1 + np.exp(-t))).sum()), x)
    expect(near(ddx, exact, tolerance=1e-5), "dP/dx is off: it is v dy f''(x), with f'' = f' (1 - f').")


def _one_sided(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    g = rng.normal(size=(5, 3))
    g *= np.array([0.3, 0.8, 1.5, 2.0, 4.0])[:, None] / np.linalg.norm(g, axis=1, keepdims=True)

    def penalty(g: np.ndarray) -> float:
        return float(7 * (np.maximum(np.linalg.norm(g, axis=1) - 1, 0) ** 2).mean())

    P, v = expect_pair(answer(g, 7.0), "P and v")
    expect(np.ndim(P) == 0, "P is one number, a mean over the examples.")
    two_sided = 7 * ((np.linalg.norm(g, axis=1) - 1) ** 2).mean()
    expect(not near(P, two_sided), "this P punishes slopes below 1 as well: that is WGAN-GP's own.")
    expect(not near(P, 5 * penalty(g)), "P is a sum over the examples; take the mean.")
    expect(near(P, penalty(g)), f"P is {float(P):.4f}, not {penalty(g):.4f}. Is the norm taken row by row?")
    expect_shape("v", v, g.shape)
    exact = numeric(penalty, g)
    for factor, hint in ((5.0, "v lacks the 1/N of the mean."), (0.5, "v lacks the 2 of the square.")):
        expect(not near(v, factor * exact), hint)
    expect(not near(v, exact / 7), "v lacks the weight.")
    expect(bool(np.allclose(np.asarray(v)[:2], 0)), "v must be 0 where the slope is below 1.")
    norms = np.linalg.norm(g, axis=1, keepdims=True)
    expect(not near(v, exact * norms), "d|g|/dg is g / |g|: v lacks the division by the norm.")
    expect(near(v, exact, tolerance=1e-5), "v is off: it is 2 weight / N (|g| - 1) g / |g| above 1.")
    with np.errstate(all="ignore"):
        _, v = answer(np.zeros((2, 3)), 7.0)
    expect(bool(np.isfinite(v).all()), "for g = 0 it is 0 / 0: put a tiny number under the root.")


def _dirac(answer: Answer) -> None:
    def step(theta: float, psi: float, lr: float, gamma: float) -> tuple[float, float]:
        on_fake = 1 / (1 + np.exp(-psi * theta))
        return theta + lr * on_fake * psi, psi - lr * (on_fake * theta + gamma * psi)

    for theta, psi in ((0.5, 0.8), (0.7, -0.4), (-1.2, 0.9)):
        for gamma in (0.0, 0.5):
            moved = expect_pair(answer(theta, psi, 0.1, gamma), "theta and psi")
            right = step(theta, psi, 0.1, gamma)
            both = np.subtract(moved, (theta, psi)), np.subtract(right, (theta, psi))
            expect(not near(both[0][0], -both[1][0]), "theta runs away from what D prefers.")
            expect(near(moved[0], right[0]), "theta: G descends log(1 - D(theta)), so it moves by lr D(theta) psi.")
            late = step(right[0], psi, 0.1, gamma)[1]
            expect(near(moved[1], right[1]) or not near(moved[1], late), "psi must see the old theta: both at once.")
            if gamma:
                expect(not near(moved[1], step(theta, psi, 0.1, 0.0)[1]), "psi lacks the penalty.")
                expect(not near(moved[1], step(theta, psi, 0.1, -gamma)[1]), "the penalty has the wrong sign.")
                half = step(theta, psi, 0.1, gamma / 2)[1]
                expect(not near(moved[1], half), "P = gamma / 2 psi²: its derivative is gamma psi.")
            expect(near(moved[1], right[1]), "psi: D descends softplus(psi theta) + P; dD/dpsi is D(theta) theta.")
    far = (1.0, 0.0)
    for _ in range(500):
        far = answer(*far, 0.1, 0.5)
    expect(float(np.hypot(*far)) < 1e-3, "with gamma = 0.5 it must come to rest at (0, 0).")


def _coverage(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    for k in (1, 3):
        real, fake = rng.normal(size=(40, 2)), rng.normal(size=(25, 2)) + 0.5
        found = answer(real, fake, k)
        expect(np.ndim(found) == 0, "coverage is one number from 0 to 1.")
        right = _covered(real, fake, k).mean()
        balls = np.sqrt(((real[:, None] - real) ** 2).sum(axis=-1))
        own = np.sqrt(((real[:, None] - fake) ** 2).sum(axis=-1)).min(axis=1)
        expect(near(found, right) or not near(found, 100 * right), "a share, not a percentage.")
        self_counted = (own <= np.sort(balls, axis=1)[:, k - 1]).mean()
        expect(near(found, right) or not near(found, self_counted), "its own nearest neighbor is itself: skip it.")
        precision = (np.sqrt(((fake[:, None] - real) ** 2).sum(axis=-1)) <= np.sort(balls, axis=1)[:, k]).any(axis=1)
        expect(near(found, right) or not near(found, precision.mean()), "that is precision: count real examples.")
        recalled = _covered(fake, real, k).mean()
        expect(near(found, right) or not near(found, recalled), "the balls are around real examples, not fakes.")
        expect(near(found, right), f"for k = {k} it is {right:.3f}, got {float(found):.3f}.")
    expect(near(answer(np.array([[0.0], [1.0], [3.0]]), np.array([[2.0]]), 1), 2 / 3), "a fake on the border counts.")


def _covered(real: np.ndarray, fake: np.ndarray, k: int) -> np.ndarray:
    """Whether there is a fake in each real example's ball."""
    radius = np.sort(np.sqrt(((real[:, None] - real) ** 2).sum(axis=-1)), axis=1)[:, k]
    return np.asarray(np.sqrt(((real[:, None] - fake) ** 2).sum(axis=-1)).min(axis=1) <= radius)


EXERCISES = {
    1: Exercise("scale_backward", _scale, "dx and ds agree with central differences."),
    2: Exercise("cross_entropy", _cross_entropy, "value and gradient, and nothing overflows."),
    3: Exercise("input_grad", _input_grad, "it is the transpose of forward, for every stride tried."),
    4: Exercise("batchnorm_backward", _batchnorm, "all three agree with central differences."),
    5: Exercise("dirac_step", _dirac, "and with gamma = 0.5 the game comes to rest."),
    6: Exercise("softplus_double_backward", _softplus, "both agree with central differences of backward."),
    7: Exercise("one_sided", _one_sided, "P and v, and no division by 0."),
    8: Exercise("coverage", _coverage, "it counts real examples, borders included."),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lesson", type=int, choices=EXERCISES, help="its number")
    parser.add_argument("file", type=Path, help="Python file with your function")
    options = parser.parse_args(arguments)
    name = EXERCISES[options.lesson].name
    if not options.file.is_file():
        parser.error(f"no file {options.file}. Write the function {name} into it.")
    try:
        answer = runpy.run_path(str(options.file)).get(name)
    except SyntaxError as error:
        parser.error(f"{options.file}, line {error.lineno}: {error.msg}.")
    if not callable(answer):
        parser.error(f"{options.file} has no function {name}, which lesson {options.lesson} asks for.")
    try:
        print(check(options.lesson, answer))
    except Wrong as wrong:
        print(f"Not yet: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
