"""Counts of operations and bytes, against loops that count, and receptive fields against what really changes."""

import naive
import numpy as np
import pytest
from counted_oracle import counted, multiply_adds, oracle_counts, padded
from layer_cases import CASES, batch, built, cotangent

from minigan.backends import get_backend
from minigan.inspection.noted_backend import NotedBackend
from minigan.inspection.receptive_field import receptive_fields
from minigan.inspection.work import Cost, total, work_of
from minigan.nn import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    Flatten,
    GlobalSumPooling2D,
    GroupNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MinibatchStdDev,
    PixelNorm,
    ReflectionPadding2D,
    Residual,
    SelfAttention,
    Sequential,
    Sigmoid,
    SkipConcat,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.recipes import Pix2Pix

BATCH = 3


CONVOLUTIONS = [name for name in CASES if name.startswith(("Conv2D", "ConvTranspose2D"))]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolutions_count_is_the_loop_oracles(name, reference):
    """Also transposed, dilated and in groups, with every stride and padding: two for each multiply-add."""
    layer = built(CASES[name], reference)
    found, work = oracle_counts(layer, BATCH), work_of(layer, BATCH)
    assert {"y": work.y.flops, "dx": work.dx.flops, "dw": work.dw.flops} == {k: 2 * n for k, n in found.items()}
    assert work.second.flops == 2 * found["y"] + 2 * found["dw"]  # of v, and of v with dy
    assert work.y.flops == BATCH * layer.own_flops


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if "in groups" not in name and "dilated" not in name])
def test_the_oracle_on_the_padded_image_counts_the_same(name, reference):
    """Without the detour over taps."""
    layer = built(CASES[name], reference)
    g = padded(layer.geometry)
    x, dy, w = counted(BATCH, *g.input_shape), counted(BATCH, *g.output_shape), counted(*g.weight_shape)
    assert g.output_shape == layer.geometry.output_shape
    assert 2 * multiply_adds(naive.conv2d, x, w, None, g) == work_of(layer, BATCH).y.flops
    assert 2 * multiply_adds(naive.conv2d_input_grad, dy, w, g) == work_of(layer, BATCH).dx.flops
    assert 2 * multiply_adds(naive.conv2d_weight_grad, x, dy, g) == work_of(layer, BATCH).dw.flops


def test_a_dense_layers_count_is_the_loop_oracles(reference):
    layer = built(CASES["Dense"], reference)
    F, K = layer.w.shape
    x, dy, w = counted(BATCH, F), counted(BATCH, K), counted(F, K)
    work = work_of(layer, BATCH)
    assert work.y.flops == 2 * multiply_adds(naive.matmul, x, w)
    assert work.dx.flops == 2 * multiply_adds(naive.matmul, dy, w, transpose_b=True)
    assert work.dw.flops == 2 * multiply_adds(naive.matmul, x, dy, transpose_a=True)
    assert work.second.flops == 2 * (
        multiply_adds(naive.matmul, x, w) + multiply_adds(naive.matmul, x, dy, transpose_a=True)
    )


class CountingProducts(NotedBackend):
    """Counts the multiply-adds of the products that a layer asks for."""

    def __init__(self):
        super().__init__()
        self.multiply_adds = 0

    def conv2d(self, x, w, b, geometry):
        self.multiply_adds += len(x) * geometry.flops // 2
        return super().conv2d(x, w, b, geometry)

    def conv2d_input_grad(self, dy, w, geometry, *, b=None):
        self.multiply_adds += len(dy) * geometry.flops // 2
        return super().conv2d_input_grad(dy, w, geometry, b=b)

    def conv2d_weight_grad(self, x, dy, geometry, *, add_to):
        self.multiply_adds += len(x) * geometry.flops // 2
        super().conv2d_weight_grad(x, dy, geometry, add_to=add_to)

    def matmul(self, a, b, *, transpose_a=False, transpose_b=False, bias=None, add_to=None):
        self.multiply_adds += a.size * (b.shape[0] if transpose_b else b.shape[1])
        return super().matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, bias=bias, add_to=add_to)

    def batched_matmul(self, a, b, *, transpose_a=False, transpose_b=False):
        self.multiply_adds += a.size * (b.shape[1] if transpose_b else b.shape[2])
        return super().batched_matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    def spent(self):
        spent, self.multiply_adds = 2 * self.multiply_adds, 0
        return spent


def test_attention_counts_the_products_that_run():
    backend = CountingProducts()
    case = CASES["SelfAttention"]
    layer, x, dy = built(case, backend), batch(case, backend), cotangent(case, backend)
    work = total([work_of(inner, len(x)) for _, inner in layer.walk()])
    backend.spent()
    _, cache = layer.forward(x, train=True)
    assert backend.spent() == work.y.flops
    layer.backward(dy, cache, grads=None)
    assert backend.spent() == work.dx.flops
    grads = layer.gradients()
    layer.backward(dy, cache, grads=grads)
    assert backend.spent() == work.dx.flops + work.dw.flops - 2 * x.size  # that of gamma is a sum
    _, record = layer.backward_recorded(dy, cache)
    backend.spent()
    layer.double_backward(x, record, cache, grads=grads)
    assert backend.spent() == work.second.flops


@pytest.mark.parametrize("iterations", [1, 2])
def test_spectral_norm_counts_the_products_that_run(iterations):
    backend = CountingProducts()
    layer = SpectralNorm(Dense(4), iterations=iterations)
    layer.build((5,), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    work, inner = work_of(layer, 2), work_of(layer.inner, 2)
    _, cache = layer.forward(np.ones((2, 5)), train=True)
    assert backend.spent() == work.y.flops - 20 + inner.y.flops  # but for the division by sigma
    layer.backward(np.ones((2, 4)), cache, grads=layer.gradients())
    assert backend.spent() == inner.dx.flops + inner.dw.flops + 2 * 20  # the outer product


class Tally(np.ndarray):
    """An array that counts the arithmetic it takes part in; comparisons and copies are none."""

    spent = 0
    FREE = frozenset(
        {"copyto", "greater", "less", "greater_equal", "less_equal", "equal", "logical_and", "bitwise_and"}
    )

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [np.asarray(i) if isinstance(i, Tally) else i for i in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(o) for o in out)
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc.__name__ == "matmul":
            Tally.spent += 2 * plain[0].size * result.shape[-1]
        elif ufunc.__name__ not in self.FREE:
            Tally.spent += plain[0].size if method == "reduce" else np.size(result)
        return result.view(Tally) if np.ndim(result) else result


def tallied(f, *arguments, **options):
    """The result, and the operations it took."""
    Tally.spent = 0
    return f(*arguments, **options), Tally.spent


ELEMENTWISE = {
    "BatchNorm": (BatchNorm(), ()),
    "GroupNorm": (GroupNorm(2), ()),
    "LayerNorm": (LayerNorm(), ()),
    "LeakyReLU": (LeakyReLU(), ()),
    "Tanh": (Tanh(), ()),
    "Sigmoid": (Sigmoid(), ("y",)),  # the reference takes one operation more, so that exp does not overflow
    "Dropout": (Dropout(0.5), ()),
    "UpSampling2D": (UpSampling2D(2), ("dx",)),  # it counts the first number of a sum, too
    "ReflectionPadding2D": (ReflectionPadding2D(1), ()),
    "AveragePooling2D": (AveragePooling2D(2), ("y", "second")),  # likewise
    "GlobalSumPooling2D": (GlobalSumPooling2D(), ()),
    "Bias": (Bias(), ()),
    "MinibatchStdDev": (MinibatchStdDev(4), ()),
    "PixelNorm": (PixelNorm(), ("y", "dx", "second")),  # few channels: the numbers of each pixel count
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_other_layers_count_what_the_reference_does(name):
    """Nearly: numbers of a channel or a group, of which there are few, are not counted."""
    layer, roughly = ELEMENTWISE[name]
    layer.build((16, 16, 8), backend="reference", dtype="float64", rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(4, 16, 16, 8)).view(Tally)
    (y, cache), forward = tallied(layer.forward, x, train=True, rng=np.random.default_rng(2))
    dy = np.random.default_rng(3).normal(size=y.shape).view(Tally)
    _, dx = tallied(layer.backward, dy, cache, grads=None)
    _, record = layer.backward_recorded(dy, cache)
    _, second = tallied(layer.double_backward, x, record, cache, grads=None)
    work = work_of(layer, 4)
    for pass_, found in {"y": forward, "dx": dx, "second": second}.items():
        told = getattr(work, pass_).flops
        assert abs(found - told) <= (0.4 if pass_ in roughly else 0.08) * told + 0.05 * x.size, (pass_, found, told)


@pytest.mark.parametrize("name", CASES)
def test_every_layer_has_its_work(name, reference):
    """Bytes that a pass reads and writes are at least those of its result, and no layer falls back on the estimate."""
    layer = built(CASES[name], reference)
    default = work_of.dispatch(Layer)
    for _, inner in layer.walk():
        assert work_of.dispatch(type(inner)) is not default
        work = work_of(inner, BATCH)
        assert all(n >= 0 for cost in work if cost is not None for n in cost)
        assert (work.dw is None) == (not inner.own_parameters) or isinstance(inner, SpectralNorm | EqualizedRate)
    assert work_of(layer, 2 * BATCH).y.flops >= work_of(layer, BATCH).y.flops


def test_bytes_are_those_of_the_arrays(reference):
    layer = Conv2D(3, 3).build((5, 4, 2), backend=reference, rng=np.random.default_rng(0))
    x, y, w, b = BATCH * 40 * 4, BATCH * 60 * 4, 54 * 4, 3 * 4
    work = work_of(layer, BATCH)
    assert work.y == Cost(2 * BATCH * 20 * 54, x + w + b, y)
    assert work.dx == Cost(2 * BATCH * 20 * 54, y + w, x)
    assert work.dw == Cost(2 * BATCH * 20 * 54, x + y + w + b, w + b)


# ---------------------------------------------------------------------------------------- receptive fields


def measured(network: Sequential) -> tuple[int, int]:
    """The box around the input pixels whose gradient is not 0, of the output pixel that has the largest."""
    x = np.ones((1, *network.input_shape))
    y, tape = network.forward(x, train=False)
    sides = np.zeros(2, int)
    for i, j in np.ndindex(*y.shape[1:3]):
        dy = np.zeros_like(y)
        dy[0, i, j, 0] = 1
        rows, columns = np.nonzero(network.backward(dy, tape, grads=None)[0].any(axis=-1))
        sides = np.maximum(sides, [np.ptp(rows) + 1, np.ptp(columns) + 1])
    return tuple(sides.tolist())


NETWORKS = {
    "low-pass": [FIRDownSampling2D(), Conv2D(2, 3), Bias(), FIRUpSampling2D(taps=(1, 2, 1))],
    "convolutions": [Conv2D(2, 3, padding="valid"), LeakyReLU(), Conv2D(1, (4, 2), stride=2, padding="valid")],
    "dilated": [Conv2D(2, 3, dilation=(2, 1), padding="valid"), Conv2D(1, 2, padding="valid")],
    "transposed": [Conv2D(2, 3, stride=2, padding=1), ConvTranspose2D(1, 4, stride=2, padding=1)],
    "transposed, odd": [ConvTranspose2D(1, 3, stride=2, padding=1), Conv2D(1, 3, padding="valid")],
    "pooled": [Conv2D(2, 3, padding="valid"), AveragePooling2D(2), UpSampling2D(2), Conv2D(1, 3)],
    "residual": [Residual([Conv2D(2, 3), Conv2D(2, 5)], shortcut=[Conv2D(2, 1)]), Conv2D(1, 3)],
    "skip": [SkipConcat([Conv2D(2, 4, stride=2, padding=1), UpSampling2D(2)]), SpectralNorm(Conv2D(1, 3))],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_receptive_field_is_what_the_gradient_reaches(name):
    network = Sequential(NETWORKS[name])
    network.build((18, 16, 1), backend="reference", dtype="float64", rng=np.random.default_rng(0))
    network.arena.flat[...] = np.abs(network.arena.flat) + 0.1  # nothing cancels
    network.arena.updated()
    assert receptive_fields(network)[network[-1].path] == measured(network)


def test_pix2pix_judges_patches_of_70_pixels():
    """Isola et al. 2017, section 6.1.2: "70x70 PatchGAN"."""
    D = Pix2Pix().discriminator((256, 256, 3))
    D.build((256, 256, 6), backend=get_backend("reference"), rng=np.random.default_rng(0))
    assert [*receptive_fields(D).values()][-1] == (70, 70)


def test_some_layers_see_all():
    network = Sequential([Conv2D(2, 3), SelfAttention(), Conv2D(1, 3), Flatten(), Dense(1)])
    network.build((8, 8, 1), backend="reference", rng=np.random.default_rng(0))
    fields = receptive_fields(network)
    assert [fields[layer.path] for layer in network] == [(3, 3), None, None, None, None]
