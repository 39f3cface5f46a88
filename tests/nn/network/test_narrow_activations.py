"""Networks whose activations are bfloat16 in memory: who is given which dtype, and how near float32 the passes stay."""

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("ml_dtypes")

import ml_dtypes
from selection import few_quick

from minigan.backends.cpu import CpuBackend
from minigan.errors import DTypeError
from minigan.nn import layers as all_layers
from minigan.nn.initializers import Normal
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    EqualizedRate,
    Flatten,
    GlobalAveragePooling2D,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Maxout,
    MinibatchStdDev,
    PixelShuffle,
    ReLU,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import augmentations
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Observer, Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.tape import arrays_in

BF16, FLOAT32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
NARROW, WIDE = CpuBackend(threads=2, precision="bf16"), CpuBackend(threads=2, precision="fp32")
INIT = Normal(0.2)


class Note(Layer):
    """A user's layer, y = x: notes the dtypes of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.dtype] = []

    def infer(self, input_shape):
        return input_shape

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        self.seen.append(x.dtype)
        return x, None

    def backward(self, dy, cache, *, grads, need_dx=True):  # noqa: ARG002
        self.seen.append(dy.dtype)
        return dy

    def double_backward(self, v, record, cache, *, grads):  # noqa: ARG002
        self.seen += [v.dtype, record.dtype]
        return v, None


class NarrowNote(Note):
    narrow = True


class HeirOfNarrowNote(NarrowNote):
    """May have passes of its own."""


def built(layers, shape, *, backend=NARROW, dtype="float32", fuse=True, seed=0):
    return Sequential(layers, name="net").build(
        shape, backend=backend, dtype=dtype, rng=np.random.default_rng(seed), fuse=fuse
    )


def numbers(net, seed=1):
    return np.random.default_rng(seed).standard_normal((8, *net.input_shape)).astype(net.dtype)


def all_passes(net, x):
    """y, dx, the gradients of a first and of a second-order pass, and what the latter passes on."""
    y, tape = net.forward(x, train=True, rng=np.random.default_rng(2))
    grads, second = net.gradients(), net.gradients()
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(y.dtype)
    dx = net.backward(dy, tape, grads=grads)
    slope, record = net.backward_recorded(dy, tape)
    ddy, ddx = net.double_backward(slope, record, tape, grads=second)
    return {"y": y, "dx": dx, "dw": grads.flat, "slope": slope, "ddy": ddy, "ddx": ddx, "second": second.flat}


# ------------------------------------------------------------------------------------------ near float32

NETWORKS = {
    "discriminator": lambda: [
        Conv2D(16, 4, stride=2, init=INIT), LeakyReLU(),
        Conv2D(24, 4, stride=2, bias=False, init=INIT), BatchNorm(), LeakyReLU(),
        Conv2D(1, 4, padding="valid", init=INIT), Flatten(),
    ],
    "generator": lambda: [
        Conv2D(16, 4, stride=4, init=INIT), BatchNorm(), ReLU(), ConvTranspose2D(12, 4, stride=2, init=INIT),
        BatchNorm(), Tanh(), ConvTranspose2D(3, 4, stride=2, init=INIT), Tanh(),
    ],
    "critic": lambda: [
        SpectralNorm(Conv2D(16, 3, stride=2, init=INIT)), LayerNorm(), LeakyReLU(),
        Conv2D(16, 3, stride=2, init=INIT), InstanceNorm(), Sigmoid(), Flatten(), Dense(30, init=INIT), Maxout(3),
        Dense(1, init=INIT),
    ],
    "equalized": lambda: [
        EqualizedRate(Conv2D(16, 3)), LeakyReLU(gain=1.5), EqualizedRate(Conv2D(8, 3, stride=2)), LeakyReLU(gain=2),
        Conv2D(8, 3, stride=2, init=INIT), LeakyReLU(gain=1.2), Flatten(), EqualizedRate(Dense(1)),
    ],
    "blocks": lambda: [
        *augmentations("color,translation,cutout"),
        Residual([Conv2D(8, 3, init=INIT), LeakyReLU(), AveragePooling2D()],
                 shortcut=[Conv2D(8, 1, init=INIT), AveragePooling2D()]),
        Residual([Conv2D(8, 3, init=INIT), Tanh()]),
        SkipConcat([Conv2D(8, 3, init=INIT), Sequential([LeakyReLU(), Dropout(0.3)])]),
        UpSampling2D(), Conv2D(16, 3, init=INIT), PixelShuffle(), Conv2D(8, 3, stride=4, init=INIT), SelfAttention(2),
        MinibatchStdDev(), Pack(2),
        Parallel([[Flatten(), Dense(2, init=INIT), LeakyReLU()], [GlobalAveragePooling2D(), Dense(1, init=INIT)]]),
    ],
    "gaps and groups": lambda: [
        Conv2D(8, 3, dilation=2, init=INIT), LeakyReLU(), Conv2D(8, 3, groups=4, init=INIT), Conv2D(4, 3, init=INIT),
    ],
    "inpainting": lambda: [Inpainting([Conv2D(8, 3, init=INIT), BatchNorm(), ReLU(), Conv2D(2, 3, init=INIT), Tanh()])],
    "one in another": lambda: [Sequential([Sequential([Conv2D(8, 3, init=INIT), BatchNorm()]), LeakyReLU()]),
                               Sequential([Conv2D(3, 3, init=INIT), Tanh()])],
    "no weights": lambda: [LeakyReLU(), Tanh()],
}  # fmt: skip


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "single"])
# Convolutions in groups compile for seconds, and round as `test_cpu_groups.py` has it.
@pytest.mark.parametrize("name", few_quick(NETWORKS, [*NETWORKS.keys() - {"gaps and groups"}]))
def test_every_pass_is_near_float32(name: str, fuse: bool):
    found, exact = (
        all_passes(net, numbers(net))
        for net in (built(NETWORKS[name](), (16, 16, 3), backend=backend, fuse=fuse) for backend in (NARROW, WIDE))
    )
    for part, expected in exact.items():
        if expected is None:
            assert found[part] is None
            continue
        assert found[part].dtype == FLOAT32, part
        assert found[part].shape == expected.shape
        distance, length = np.linalg.norm(found[part] - expected), np.linalg.norm(expected)
        # The root of some 0.3 % of numbers that are on another side of a kink.
        assert distance <= (0.01 if part == "y" else 0.1) * length, (
            f"{part} is off by {distance / max(length, 1e-30):.1%}"
        )
        assert distance > 0 or not length or name in ("no weights", "gaps and groups"), part


@pytest.mark.exhaustive  # compiles every kernel in double precision
def test_a_network_in_float64_knows_no_narrow_numbers():
    exact, found = (
        all_passes(net, numbers(net))
        for net in (
            built(NETWORKS["discriminator"](), (16, 16, 3), backend=backend, dtype="float64")
            for backend in (WIDE, NARROW)
        )
    )
    for part, expected in exact.items():
        np.testing.assert_array_equal(found[part], expected)


# ------------------------------------------------------------------------------------------ who is given which dtype


def test_half_of_the_tape():
    sizes = []
    for backend in (NARROW, WIDE):
        layers = [Conv2D(16, 4), LeakyReLU(), Conv2D(16, 4, stride=2, bias=False), BatchNorm(), LeakyReLU(), Dropout(0)]
        net = built([*layers, Conv2D(16, 4, stride=4), Conv2D(1, 4)], (32, 32, 3), backend=backend)
        _, tape = net.forward(numbers(net), train=True)
        sizes.append(tape.nbytes)
    assert 0.5 <= sizes[0] / sizes[1] < 0.52  # statistics, and the input of the layer that gives the logits


def test_a_layer_that_says_nothing_is_given_the_networks_dtype():
    notes = Note(), NarrowNote(), HeirOfNarrowNote()
    net = built([Conv2D(4, 3), *notes, Conv2D(4, 3), Conv2D(1, 3)], (8, 8, 3))
    all_passes(net, numbers(net))
    assert [set(note.seen) for note in notes] == [{FLOAT32}, {BF16}, {FLOAT32}]
    assert len(notes[0].seen) == 5


def test_logits_are_not_rounded():
    net = built([Conv2D(4, 3), LeakyReLU(), Flatten(), Dense(1)], (8, 8, 3))
    y, _ = net.forward(numbers(net), train=True)
    assert (y != y.astype(BF16).astype(np.float32)).all()


@pytest.mark.parametrize(
    ("layers", "dtypes"),
    [
        ([Conv2D(2, 3), NarrowNote(), Conv2D(2, 3), NarrowNote(), Tanh()], [BF16, FLOAT32]),  # Note has flops
        ([Conv2D(2, 3), NarrowNote(), Conv2D(2, 3), Tanh(), NarrowNote()], [BF16, FLOAT32]),
        ([Conv2D(2, 3), NarrowNote(), Residual([NarrowNote(), Conv2D(2, 3)])], [BF16, BF16]),
        ([NarrowNote(), Sequential([NarrowNote(), Conv2D(2, 3)]), Conv2D(2, 3)], [BF16, BF16]),
    ],
)
def test_the_end_alone_has_the_networks_dtype(layers, dtypes):
    net = built(layers, (4, 4, 2))
    y, tape = net.forward(numbers(net), train=True)
    net.backward(y, tape, grads=net.gradients())
    notes = [layer for _, layer in net.walk() if isinstance(layer, Note)]
    assert [set(note.seen) for note in notes] == [{dtype} for dtype in dtypes]
    assert y.dtype == FLOAT32


def test_a_slice_takes_and_gives_what_a_network_does():
    net = built([Conv2D(4, 3), LeakyReLU(), Conv2D(4, 3), Tanh(), Flatten(), Dense(1)], (8, 8, 3))
    features, tape = net[:-1].forward(numbers(net), train=True)
    assert features.dtype == FLOAT32
    assert net[:-1].backward(features, tape, grads=None).dtype == FLOAT32


def test_narrow_arrays_come_out_where_they_went_in():
    net = built([Conv2D(4, 3), LeakyReLU(), Conv2D(4, 3)], (8, 8, 3))
    x = numbers(net)
    y, tape = net.forward(x.astype(BF16), train=True)
    assert y.dtype == BF16
    assert net.backward(y, tape, grads=net.gradients()).dtype == BF16
    wide, _ = net.forward(x, train=True)
    np.testing.assert_array_equal(wide.astype(BF16), y)
    with pytest.raises(DTypeError, match="net: expected dy of dtype bfloat16, got float32"):
        net.backward(wide, tape, grads=None)


def test_other_networks_refuse_narrow_arrays():
    for backend, dtype in ((WIDE, "float32"), (NARROW, "float64")):
        net = built([Conv2D(4, 3)], (8, 8, 3), backend=backend, dtype=dtype)
        with pytest.raises(DTypeError, match=f"expected x of dtype {dtype}, got bfloat16"):
            net.forward(numbers(net).astype(BF16), train=True)


def test_a_single_layer_takes_both():
    layer = Conv2D(4, 3).build((8, 8, 3), backend=NARROW, rng=np.random.default_rng(0))
    for dtype in (BF16, FLOAT32):
        y, cache = layer.forward(np.ones((2, 8, 8, 3), dtype), train=True)
        assert y.dtype == layer.backward(y, cache, grads=layer.gradients()).dtype == dtype


def test_weights_gradients_and_statistics_are_float32():
    net = built(NETWORKS["discriminator"](), (16, 16, 3))
    _, tape = net.forward(numbers(net), train=True)
    net.commit_statistics(tape)
    assert net.arena.flat.dtype == net.state.flat.dtype == net.gradients().flat.dtype == FLOAT32
    kept = {array.dtype for array in arrays_in(tape, np.ndarray)}
    assert kept == {BF16, FLOAT32}
    assert all(array.ndim == 1 for array in arrays_in(tape._caches[3], np.ndarray) if array.dtype == FLOAT32)


class Dtypes(Observer):
    def __init__(self) -> None:
        self.seen: set[np.dtype] = set()

    def before(self, now):
        self.seen.add(now.given.dtype)

    def after(self, now):
        self.seen |= {array.dtype for array in (now.result, now.curvature) if array is not None}


class NarrowDtypes(Dtypes):
    narrow = True


def test_an_observer_is_given_numbers_that_numpy_adds_up():
    for observer, dtypes in ((Dtypes(), {FLOAT32}), (NarrowDtypes(), {BF16, FLOAT32})):
        net = built(NETWORKS["blocks"](), (16, 16, 3))
        x = numbers(net)
        expected = all_passes(net, x)
        with net.observed(observer):
            found = all_passes(net, x)
        assert observer.seen == dtypes
        for part, array in found.items():
            np.testing.assert_array_equal(array, expected[part])


def test_layers_that_compute_in_numpy_are_given_float32():
    """Minigan's own layers; each that is narrow is in a network above."""
    kinds = [getattr(all_layers, name) for name in all_layers.__all__]
    kinds = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Layer)}
    wide = {kind.__name__ for kind in kinds if not vars(kind).get("narrow")}
    assert wide == {
        "AveragePooling2D", "Bias", "ConcatCondition", "ConditionalAffine", "DiscriminativeBasis",
        "FIRDownSampling2D", "FIRUpSampling2D", "GenerativeBasis", "GlobalAveragePooling2D", "GlobalSumPooling2D",
        "InnerProduct", "Layer", "LearnedConstant", "MinibatchStdDev", "Modulated", "NoiseInjection", "PixelNorm",
        "SelfAttention",
    }  # fmt: skip
    assert not Reshape((1,)).build((1,), backend=NARROW, rng=np.random.default_rng(0)).own_flops
