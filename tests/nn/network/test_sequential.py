"""Networks: tapes, destinations, arenas, summaries, and what is refused."""

import re
import weakref

import numpy as np
import pytest

from minigan.backends import Array, Backend, get_backend
from minigan.backends.reference import ReferenceBackend
from minigan.errors import CheckpointError, ConfigError, DTypeError, NotBuiltError, ShapeError, StaleTapeError
from minigan.nn.initializers import Normal
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    SpectralNorm,
    Tanh,
)
from minigan.nn.network import Residual, Sequential, SkipConcat
from minigan.nn.optimizers import SGD

N = 5


def layers() -> list[Layer]:
    return [Conv2D(4, 3), BatchNorm(), LeakyReLU(0.2), Flatten(), Dense(2)]


def network(backend: Backend | str, *, dtype: str = "float32", seed: int = 0, name: str = "D") -> Sequential:
    net = Sequential(layers(), name=name)
    return net.build((6, 6, 3), backend=backend, dtype=dtype, rng=np.random.default_rng(seed))


def batch(backend: Backend, *, dtype: str = "float32", n: int = N, seed: int = 1):
    x = np.random.default_rng(seed).normal(size=(n, 6, 6, 3))
    return backend.asarray(x, dtype=np.dtype(dtype))


def host(backend: Backend, array) -> np.ndarray:
    return np.array(backend.to_numpy(array))


# ---------------------------------------------------------------------------------------------- the tape


def test_nbytes_counts_each_array_once(backend: Backend):
    net, x = network(backend), batch(backend)
    _, tape = net.forward(x, train=True)
    image = N * 6 * 6 * 3 * 4  # Conv2D's x
    hidden = N * 6 * 6 * 4 * 4  # BatchNorm's x; LeakyReLU's y is also Dense's x, flattened
    statistics = 4 * 4  # BatchNorm's mean, and its variance
    assert tape.nbytes == image + 2 * hidden + 2 * statistics


def test_nbytes_looks_into_nested_layers(backend: Backend):
    net = Sequential(
        [Sequential([Dense(4)]), Residual([Tanh()], shortcut=[Dense(4)]), SkipConcat([Tanh(), Dropout(0.5)])]
    )
    net.build((3,), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    _, tape = net.forward(backend.asarray(np.ones((N, 3))), train=True, rng=np.random.default_rng(0))
    numbers = N * 3 + N * 4  # the first Dense's x; the shortcut Dense's x
    numbers += 2 * N * 4 + N * 4  # the two tanhs' y; Dropout's mask
    assert tape.nbytes == 8 * numbers


def test_nbytes_of_an_array_on_foreign_memory(reference: Backend):
    net = Sequential([Dense(1)]).build((3,), backend=reference, rng=np.random.default_rng(0))
    _, tape = net.forward(np.frombuffer(bytes(2 * 3 * 4), np.float32).reshape(2, 3), train=True)
    assert tape.nbytes == 2 * 3 * 4


def test_release_lets_go(backend: Backend):
    net, x = network(backend), batch(backend)
    y, tape = net.forward(x, train=True)
    tape.release()
    assert tape.nbytes == 0
    for use in (
        lambda: net.backward(y, tape, grads=net.gradients()),
        lambda: net.backward_recorded(y, tape),
        lambda: net.double_backward(x, [], tape, grads=None),
        lambda: net.commit_statistics(tape),
    ):
        with pytest.raises(StaleTapeError, match=r"D: this tape was released\. Run forward again"):
            use()
    tape.release()  # twice is fine


def test_backward_that_releases_holds_only_what_it_still_needs(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    net, x = network(backend), batch(backend)
    y, tape = net.forward(x, train=True)
    expected = net.gradients()
    net.backward(y, tape, grads=expected)

    alive: list[int] = []
    watched = [weakref.ref(array) for array in arrays_in(tape.caches(net), backend.xp.ndarray) if array is not x]
    for layer in net.layers:
        monkeypatch.setattr(layer, "backward", counting(layer.backward, watched, alive))
    grads = net.gradients()
    net.backward(y, tape, grads=grads, release=True)
    assert backend.to_numpy(grads.flat).tobytes() == backend.to_numpy(expected.flat).tobytes()
    assert alive == sorted(alive, reverse=True) and alive[-1] < alive[0] == len(watched)
    with pytest.raises(StaleTapeError, match=r"D: this tape was released\. Run forward again"):
        net.backward(y, tape, grads=grads)


def arrays_in(cache: object, ndarray: type) -> list[Array]:
    if isinstance(cache, tuple | list):
        return [array for item in cache for array in arrays_in(item, ndarray)]
    return [cache] if isinstance(cache, ndarray) else []


def counting(backward, watched, alive):
    """A layer's backward that notes how many of the watched arrays are still there when it begins."""

    def noting(*args, **settings):
        alive.append(sum(reference() is not None for reference in watched))
        return backward(*args, **settings)

    return noting


def test_a_tape_is_stale_after_the_optimizers_step(backend: Backend):
    net, x = network(backend), batch(backend)
    y, tape = net.forward(x, train=True)
    _, record = net.backward_recorded(y, tape)
    grads = net.gradients()
    net.backward(y, tape, grads=grads)
    SGD(net.arena, lr=0.1).step(grads)
    for use in (
        lambda: net.backward(y, tape, grads=net.gradients()),
        lambda: net.backward_recorded(y, tape),
        lambda: net.double_backward(x, record, tape, grads=None),
    ):
        with pytest.raises(StaleTapeError, match=r"D: .*version 0.*version 1\. Run backward before.*or forward again"):
            use()
    _, fresh = net.forward(x, train=True)
    net.backward(y, fresh, grads=grads)


def test_a_tape_is_stale_after_loading_weights(backend: Backend):
    net, x = network(backend), batch(backend)
    y, tape = net.forward(x, train=True)
    net.arena.load_dict(net.arena.to_dict())
    with pytest.raises(StaleTapeError):
        net.backward(y, tape, grads=None)


def test_tapes_of_nested_networks_go_stale_as_well(backend: Backend):
    inner = Sequential([Dense(3)])
    net = Sequential([inner], name="D").build((2,), backend=backend, rng=np.random.default_rng(0))
    y, cache = inner.forward(backend.xp.ones((1, 2), dtype=np.float32), train=True)
    SGD(net.arena, lr=0.1).step(net.gradients())
    with pytest.raises(StaleTapeError, match=r"D\.0\.Sequential: "):
        inner.backward(y, cache, grads=None)


def test_a_tape_belongs_to_the_network_that_made_it(backend: Backend):
    """Even where the other one has the same layers; and a rebuilt network is another one."""
    net, other, x = network(backend), network(backend, seed=5, name="E"), batch(backend)
    y, tape = net.forward(x, train=True)
    with pytest.raises(StaleTapeError, match=r"E: .*another network"):
        other.backward(y, tape, grads=None)
    net.build((6, 6, 3), backend=backend, rng=np.random.default_rng(7))
    with pytest.raises(StaleTapeError, match=r"D: .*another network"):
        net.backward(y, tape, grads=net.gradients())


# ---------------------------------------------------------------------------------------------- what is skipped


class Watched(Dense):
    """A Dense that notes what it is asked for."""

    def __init__(self, features: int, calls: list) -> None:
        super().__init__(features)
        self.calls = calls

    def backward(self, dy, cache, *, grads, need_dx=True):
        self.calls.append((self.path, need_dx))
        return super().backward(dy, cache, grads=grads, need_dx=need_dx)


class WatchedReshape(Reshape):
    def __init__(self, shape, calls: list) -> None:
        super().__init__(shape)
        self.calls = calls

    def backward(self, dy, cache, *, grads, need_dx=True):
        self.calls.append((self.path, need_dx))
        return super().backward(dy, cache, grads=grads, need_dx=need_dx)


@pytest.mark.parametrize("need_dx", [True, False])
def test_without_dx_the_walk_ends_at_the_first_weights(backend: Backend, need_dx: bool):
    calls = []
    net = Sequential([WatchedReshape((4,), calls), Watched(3, calls), Watched(2, calls)], name="D")
    net.build((2, 2), backend=backend, rng=np.random.default_rng(0))
    y, tape = net.forward(backend.xp.ones((1, 2, 2), dtype=np.float32), train=True)
    grads = net.gradients()
    dx = net.backward(y, tape, grads=grads, need_dx=need_dx)
    assert (dx is not None) == need_dx
    both = [("D.2.Watched", True), ("D.1.Watched", need_dx)]
    assert calls == [*both, ("D.0.WatchedReshape", True)][: 3 if need_dx else 2]
    assert host(backend, abs(grads[net.layers[1].w])).max() > 0


def test_without_dx_nested_networks_skip_theirs(backend: Backend):
    calls = []
    net = Sequential([Sequential([Watched(3, calls)]), Residual([Watched(3, calls)])], name="D")
    net.build((2,), backend=backend, rng=np.random.default_rng(0))
    y, tape = net.forward(backend.xp.ones((1, 2), dtype=np.float32), train=True)
    net.backward(y, tape, grads=net.gradients(), need_dx=False)
    assert calls == [("D.1.Residual.inner.0.Watched", True), ("D.0.Sequential.0.Watched", False)]


def test_a_network_without_weights(backend: Backend):
    net = Sequential([Tanh(), Flatten()]).build((2, 2), backend=backend, rng=np.random.default_rng(0))
    x = backend.xp.ones((3, 2, 2), dtype=np.float32)
    y, tape = net.forward(x, train=True)
    assert len(net.arena) == 0
    assert net.backward(y, tape, grads=net.gradients(), need_dx=False) is None
    assert net.backward(y, tape, grads=net.gradients()).shape == x.shape


# ---------------------------------------------------------------------------------------------- what is refused


def test_a_network_has_layers():
    with pytest.raises(ShapeError, match="G: a network needs at least one layer, got none"):
        Sequential([], name="G")


@pytest.mark.parametrize("shape", [(N, 6, 6, 1), (N, 6, 5, 3), (6, 6, 3), (N, 108), (), (N,)])
def test_x_of_another_shape(backend: Backend, shape: tuple[int, ...]):
    x = backend.xp.zeros(shape, dtype=np.float32)
    with pytest.raises(ShapeError, match=rf"D: expected x of shape \(N, 6, 6, 3\), got {re.escape(str(shape))}"):
        network(backend).forward(x, train=True)


@pytest.mark.parametrize("shape", [(N, 1), (1, 2), (2,), (N + 1, 2), (N, 2, 1)])
def test_gradients_are_not_broadcast(backend: Backend, shape: tuple[int, ...]):
    net = network(backend)
    _, tape = net.forward(batch(backend), train=True)
    dy = backend.xp.zeros(shape, dtype=np.float32)
    for use in (lambda: net.backward(dy, tape, grads=None), lambda: net.backward_recorded(dy, tape)):
        with pytest.raises(ShapeError, match=rf"D: expected dy of shape \(N, 2\) with N = {N}, got"):
            use()


def test_v_of_another_shape(backend: Backend):
    net = network(backend)
    y, tape = net.forward(batch(backend), train=True)
    _, record = net.backward_recorded(y, tape)
    with pytest.raises(ShapeError, match="D: expected v of shape"):
        net.double_backward(batch(backend, n=1), record, tape, grads=None)


def test_another_dtype(backend: Backend):
    net = network(backend)
    says = r"D: expected {} of dtype float32, got float64\. Convert with {}\.astype\('float32'\) or build"
    with pytest.raises(DTypeError, match=says.format("x", "x")):
        net.forward(batch(backend, dtype="float64"), train=True)
    y, tape = net.forward(batch(backend), train=True)
    with pytest.raises(DTypeError, match=says.format("dy", "dy")):
        net.backward(y.astype(np.float64), tape, grads=None)


@pytest.mark.parametrize(
    "array",
    [[[0.0]], None, 3.0, memoryview(b"12345678")],
    ids=["list", "None", "float", "memoryview"],
)
def test_what_is_no_array(backend: Backend, array):
    net = network(backend)
    with pytest.raises(DTypeError, match=rf"D: expected x as an array of {backend.xp.__name__}, got .*asarray"):
        net.forward(array, train=True)
    _, tape = net.forward(batch(backend), train=True)
    with pytest.raises(DTypeError, match="D: expected dy as an array"):
        net.backward(array, tape, grads=None)


def test_the_right_input_of_a_nested_network_is_checked_too(backend: Backend):
    inner = Sequential([Dense(3)])
    Sequential([Flatten(), inner], name="D").build((2, 2), backend=backend, rng=np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"D\.1\.Sequential: expected x of shape \(N, 4\)"):
        inner.forward(backend.xp.zeros((2, 2, 2), dtype=np.float32), train=True)


# ---------------------------------------------------------------------------------------------- the arena


def test_parameters_are_named_views_of_one_block(backend: Backend):
    net = network(backend)
    flat = net.arena.flat
    assert flat.ndim == 1
    assert flat.flags.c_contiguous
    assert [name for name, _ in net.arena.items()] == ["0.w", "0.b", "1.gamma", "1.beta", "4.w", "4.b"]
    assert [name for name, _ in net.state.items()] == ["1.running_mean", "1.running_var"]
    assert len(net.arena) == 3 * 3 * 3 * 4 + 4 + 4 + 4 + 144 * 2 + 2
    offset = 0
    for _, p in net.arena.items():  # noqa: PERF102 (no dict)
        assert p.value.flags.c_contiguous
        flat[offset : offset + p.size] = backend.xp.arange(p.size) + offset
        expected = np.arange(p.size, dtype=np.float32).reshape(p.shape) + offset
        assert (host(backend, p.value) == expected).all()
        offset += -(-p.size // 16) * 16
    assert flat.size == offset


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_views_start_whole_cache_lines_apart(reference: Backend, dtype: str):
    net = network(reference, dtype=dtype)
    grads = net.gradients()
    for _, p in net.named_parameters():
        assert (p.value.ctypes.data - net.arena.flat.ctypes.data) % 64 == 0
        assert (grads[p].ctypes.data - grads.flat.ctypes.data) % 64 == 0


def test_gradients_are_views_in_the_same_places(backend: Backend):
    net = network(backend)
    grads = net.gradients()
    assert grads.flat.shape == net.arena.flat.shape
    assert grads.flat.dtype == net.arena.flat.dtype
    assert not host(backend, grads.flat).any()
    for name, p in net.named_parameters():
        grads[p][...] = p.value + 1
        assert grads[p].shape == p.shape, name
    in_use = host(backend, grads.flat) != 0
    expected = np.where(in_use, host(backend, net.arena.flat) + 1, 0)
    assert (host(backend, grads.flat) == expected).all()
    assert not host(backend, net.gradients().flat).any()


def test_to_dict_gives_copies(backend: Backend):
    net = network(backend)
    arrays = net.arena.to_dict()
    before = host(backend, net.arena.flat)
    for array in arrays.values():
        assert isinstance(array, np.ndarray)
        array.fill(7)
    assert (host(backend, net.arena.flat) == before).all()


def test_load_dict_overwrites_all(backend: Backend):
    net, other = network(backend), network(backend, seed=1)
    other.arena.load_dict(net.arena.to_dict())
    assert (host(backend, net.arena.flat) == host(backend, other.arena.flat)).all()
    assert other.arena.version == 1


def misfits(good: dict[str, np.ndarray]):
    last = list(good)[-1]
    yield CheckpointError, r"missing \['4.b'\], unknown none", {k: v for k, v in good.items() if k != last}
    yield CheckpointError, r"missing none, unknown \['5.w'\]", good | {"5.w": good["4.w"]}
    yield ShapeError, r"4.b has shape \(3,\), the network expects \(2,\)", good | {last: np.zeros(3, np.float32)}
    yield DTypeError, "4.b is float64, the network is float32", good | {last: good[last].astype(np.float64)}


def test_arrays_that_do_not_fit_change_nothing(backend: Backend):
    net = network(backend)
    before = host(backend, net.arena.flat)
    # The first parameters fit and would differ; the fault is at the end.
    good = {name: array + 1 for name, array in net.arena.to_dict().items()}
    for error, says, arrays in misfits(good):
        with pytest.raises(error, match=f"a file.*{says}.*\\."):
            net.arena.load_dict(arrays, source="a file")
        assert (host(backend, net.arena.flat) == before).all()
        assert net.arena.version == 0


# ---------------------------------------------------------------------------------------------- building


def test_one_seed_gives_one_network(backend: Backend):
    flats = [host(backend, network(backend, seed=seed).arena.flat) for seed in (3, 3, 4)]
    assert flats[0].tobytes() == flats[1].tobytes()
    assert flats[0].tobytes() != flats[2].tobytes()


def test_the_same_layers_can_be_built_again(backend: Backend):
    net = network(backend)
    net.build((4, 8, 1), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    assert [name for name, _ in net.arena.items()] == ["0.w", "0.b", "1.gamma", "1.beta", "4.w", "4.b"]
    assert net.layers[0].w.shape == (3, 3, 1, 4)
    assert net.layers[-1].w.shape == (128, 2)
    assert len(net.arena) == 9 * 4 + 4 + 8 + 256 + 2
    x = backend.asarray(np.random.default_rng(1).normal(size=(2, 4, 8, 1)))
    y, tape = net.forward(x, train=True)
    fresh = Sequential(layers()).build((4, 8, 1), backend=backend, dtype="float64", rng=np.random.default_rng(0))
    expected, _ = fresh.forward(x, train=True)
    assert (host(backend, y) == host(backend, expected)).all()
    assert net.backward(y, tape, grads=net.gradients()).shape == x.shape


def test_two_backends_in_one_process(backend: Backend):
    """Networks on different engines share nothing, and can be compared."""
    engines = [backend, get_backend("reference"), backend]
    nets = [network(engine) for engine in engines]
    outputs, tapes = [], []
    for net, engine in zip(nets, engines, strict=True):
        y, tape = net.forward(batch(engine), train=True)
        outputs.append(y)
        tapes.append(tape)
    results = []
    for net, engine, y, tape in zip(nets, engines, outputs, tapes, strict=True):
        grads = net.gradients()
        dx = net.backward(y, tape, grads=grads)
        results.append([host(engine, a) for a in (y, dx, grads.flat)])
        assert net.kernels is engine
    for one, reference, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, reference, rtol=1e-3, atol=1e-4)
        assert one.tobytes() == other.tobytes()


def test_a_single_layer_is_built_like_a_network(backend: Backend):
    layer = Dense(3, init=Normal(1)).build((2,), backend=backend, rng=np.random.default_rng(0))
    assert [name for name, _ in layer.arena.items()] == ["w", "b"]
    assert layer.path == "Dense"
    assert layer.flops == 12


# ---------------------------------------------------------------------------------------------- the summary


def test_summary_and_flops():
    net = Sequential(
        [
            Conv2D(8, (4, 2), stride=2, padding=(1, 0), bias=False),
            BatchNorm(),
            LeakyReLU(),
            Residual([Conv2D(8, 3)]),
            Flatten(),
            Dense(1),
        ],
        name="D",
    ).build((28, 28, 1), backend="reference", rng=np.random.default_rng(0))
    rows = [[cell.strip() for cell in re.split(r"\s{2,}", line)] for line in net.summary().splitlines()]
    conv, inner, dense = 2 * 14 * 14 * 4 * 2 * 8, 2 * 14 * 14 * 9 * 8 * 8, 2 * 1568
    image = 14 * 14 * 8
    total = conv + 2 * image + image + image + inner + dense  # BatchNorm, LeakyReLU, the Residual's sum
    assert net.flops == total

    def mflop(flops: int) -> str:
        return f"{flops / 1e6:,.2f}"

    assert rows[0] == ["D: (28, 28, 1) -> (1,), products in fp32"]
    assert rows[1] == ["layer", "output shape", "parameters", "MFLOP"]
    assert rows[3] == ["0 Conv2D 4x2 /2", "(14, 14, 8)", "64", mflop(conv)]
    assert rows[4] == ["1 BatchNorm", "(14, 14, 8)", "16", mflop(2 * image)]
    assert rows[5] == ["2 LeakyReLU", "(14, 14, 8)", "0", mflop(image)]
    assert rows[6][1:] == ["(14, 14, 8)", "0", mflop(image)]
    assert rows[7] == ["", "inner.0 Conv2D 3x3", "(14, 14, 8)", "584", mflop(inner)]  # further to the right
    assert rows[8] == ["4 Flatten", "(1568,)", "0", mflop(0)]
    assert rows[9] == ["5 Dense", "(1,)", "1,569", mflop(dense)]
    assert rows[-1] == ["total", "2,233", mflop(total)]  # no output shape
    assert len(rows) == 12


def test_the_summary_shows_what_stands_inside_of_what():
    inside = [Conv2D(2, 3), Residual([SpectralNorm(Conv2D(2, 3)), ReLU()])]
    net = Sequential([Residual(inside), Sequential([ReLU(), Sequential([ReLU()])]), ReLU()], name="D")
    net.build((4, 4, 2), backend="reference", rng=np.random.default_rng(0))
    assert [line.partition("(")[0].rstrip() for line in net.summary().splitlines()[3:-2]] == [
        "0 Residual",
        "  inner.0 Conv2D 3x3",
        "  inner.1 Residual",
        "    inner.0 SpectralNorm",
        "      inner Conv2D 3x3",
        "    inner.1 ReLU",
        "1.0 ReLU",
        "1.1.0 ReLU",
        "2 ReLU",
    ]


def test_the_summary_tells_how_each_convolution_is_computed():
    class TwoWays(ReferenceBackend):
        """Plain for few images; else fast, but for weight gradients."""

        def algorithm(self, kernel, geometry, images, dtype):
            assert (geometry.R, dtype) == (3, np.float64)
            return "plain" if images < 8 else {"conv2d": "fast", "conv2d_input_grad": "faster"}.get(kernel, "plain")

    net = Sequential([Conv2D(4, 3), BatchNorm(), ConvTranspose2D(2, 3)], name="G")
    net.build((6, 6, 1), backend=TwoWays(), dtype="float64", rng=np.random.default_rng(0))

    def table(**options):
        return [[cell.strip() for cell in re.split(r"\s{2,}", line)] for line in net.summary(**options).splitlines()]

    rows = table()
    assert rows[0] == ["G: (6, 6, 1) -> (6, 6, 2), products in fp64, algorithms for batches of 64"]
    assert rows[1][-1] == "algorithm (or y | dx | dw)"
    assert [row[4:] for row in rows[3:6]] == [["fast | faster | plain"], [], ["faster | fast | plain"]]
    rows = table(batch_size=7)
    assert rows[0][0].endswith("algorithms for batches of 7")
    assert [row[4:] for row in rows[3:6]] == [["plain"], [], ["plain"]]


def test_a_network_that_is_not_built_says_so():
    network = Sequential([Dense(3)], name="D")
    for use in (network.summary, network.gradients, lambda: network.forward(np.zeros((1, 2)), train=True)):
        with pytest.raises(
            NotBuiltError, match=r"(D|Dense): not built, so it has no \w+\. Call build\(input_shape, rng"
        ):
            use()
    with pytest.raises(AttributeError, match="Sequential has no attribute 'nonsense'"):
        network.nonsense  # noqa: B018


def test_one_layer_object_in_two_places_is_refused():
    shared = Dense(3)
    with pytest.raises(ConfigError, match=r"the same Dense object stands at 0 and at 1\.inner\.0\. Make a layer for"):
        Sequential([shared, Residual([shared])]).build((3,), backend="reference", rng=np.random.default_rng(0))


def test_an_empty_batch_is_refused(backend):
    network = Sequential([Dense(3)], name="D").build((2,), backend=backend, rng=np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"D: expected x of shape \(N, 2\), got \(0, 2\)"):
        network.forward(backend.asarray(np.zeros((0, 2), np.float32)), train=True)
