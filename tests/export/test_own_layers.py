"""Layers of a user's own bring their translations, to one format or several; without one they are refused."""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from minigan.errors import ConfigError
from minigan.export import FORMATS, ExportOptions, Expression, Module, Slot, Subject, translates
from minigan.export import graph as g
from minigan.nn.initializers import Constant
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    GroupNorm,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    SpectralNorm,
    Tanh,
)
from minigan.nn.layers.augmentation import Augmentation
from minigan.nn.network import Residual, Sequential


class Own(Layer):
    """Only evaluated here."""

    def infer(self, input_shape):
        return input_shape

    def backward(self, dy, cache, *, grads, need_dx=True):
        raise NotImplementedError

    def double_backward(self, v, record, cache, *, grads):
        raise NotImplementedError


class Swish(Own):
    """y = x sigmoid(beta_c x), with a beta for each channel."""

    def infer(self, input_shape):
        self.beta = self.add_parameter("beta", (input_shape[-1],), Constant(1.3))
        return input_shape

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        return x / (1 + np.exp(-self.beta.value * x)), None


def swish(x, beta):
    """A gate."""
    return x * sigmoid(beta * x)  # noqa: F821 (the file's own)


@translates(Swish, to="numpy")
def _swish_in_numpy(layer, inputs, body):
    return Expression(f"{body.function(swish)}({inputs[0]}, {body.keep('beta', layer.beta.value)})")


@translates(Swish, to="onnx")
def _swish_in_onnx(layer, inputs, nodes):
    beta = nodes.by_channel(layer.beta.value, layer.output_shape)
    return nodes.add("Mul", [inputs[0], nodes.add("Sigmoid", [nodes.add("Mul", [inputs[0], beta])])])


@translates(Swish, to="torch")
def _swish_in_torch(layer):
    slots = (Slot("beta", layer.beta),)
    return [
        Module(f"Swish({layer.beta.size})", layer.path, slots, by_feature=True, imports=("from gates import Swish",))
    ]


class Doubled(Own):
    """y = f(x) + x, said in known operations, for all formats that write graphs."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def infer(self, input_shape):
        return self.inner.setup(input_shape, f"{self.path}.inner")

    def children(self):
        yield "inner", self.inner

    def forward(self, x, *, train, rng=None):
        return self.inner.forward(x, train=train, rng=rng)[0] + x, None


@translates(Doubled, to="graph")
def _doubled(layer, x, tracer):
    return tracer.add(g.Add(inputs=(tracer.layer(layer.inner, x), x), shape=layer.output_shape))


class Clipped(Own):
    """y = x within [-1, 1]: by an operation of one's own."""

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        return x.clip(-1, 1), None


@dataclass(frozen=True, kw_only=True)
class Clip(g.Op):
    limit: float


@translates(Clipped, to="graph")
def _clipped(layer, x, tracer):
    return tracer.add(Clip(inputs=(x,), shape=layer.output_shape, limit=1.0))


@translates(Clip, to="numpy")
def _clip_in_numpy(op, inputs, body):  # noqa: ARG001
    return f"np.clip({inputs[0]}, {-op.limit}, {op.limit})"


def built(*layers: Layer, shape: tuple[int, ...] = (4, 3, 2)) -> Sequential:
    network = Sequential(layers, name="N").build(shape, backend="reference", rng=np.random.default_rng(0))
    network.arena.flat[...] += 0.1 * np.random.default_rng(1).standard_normal(network.arena.flat.shape)
    return network


def x_of(network: Sequential) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((3, *network.input_shape), dtype=np.float32)


def in_numpy(network: Sequential, folder: Path):
    FORMATS["numpy"].write(Subject(network, "N"), folder, ExportOptions())
    spec = importlib.util.spec_from_file_location("generator", folder / "generator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NETWORKS = {
    "images": lambda: built(Conv2D(3, 3), Swish(), Doubled(Conv2D(3, 1)), Tanh()),
    "inside of others": lambda: built(Residual([Swish(), Conv2D(2, 3)]), Doubled(Doubled(Swish()))),
    "vectors": lambda: built(Dense(6), Swish(), Swish(), Dense(2), shape=(4,)),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_to_numpy(tmp_path: Path, case: str):
    network = NETWORKS[case]()
    module, x = in_numpy(network, tmp_path), x_of(network)
    np.testing.assert_allclose(module.generate(x), network.forward(x, train=False)[0], rtol=1e-5, atol=1e-6)
    source = (tmp_path / "generator.py").read_text()
    assert source.count("def swish(") == source.count("def sigmoid(") == 1


@pytest.mark.parametrize("case", NETWORKS)
def test_to_onnx(tmp_path: Path, case: str):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    network = NETWORKS[case]()
    FORMATS["onnx"].write(Subject(network, "N"), tmp_path / "n.onnx", ExportOptions(layout="nhwc"))
    session = runtime.InferenceSession(tmp_path / "n.onnx", providers=["CPUExecutionProvider"])
    x = x_of(network)
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(y, network.forward(x, train=False)[0], rtol=1e-5, atol=1e-6)


def test_to_pytorch(tmp_path: Path, monkeypatch):
    """Also between an image as a vector and the dense layer after it, where PyTorch has another order of numbers."""
    torch = pytest.importorskip("torch")
    network = built(Conv2D(3, 3), Swish(), Flatten(), Swish(), SpectralNorm(Dense(4)), Swish())
    text = FORMATS["torch"].write(Subject(network, "N"), tmp_path / "n", ExportOptions())
    (tmp_path / "gates.py").write_text(
        "import torch\n\n\nclass Swish(torch.nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
        "        self.beta = torch.nn.Parameter(torch.empty(n))\n\n    def forward(self, x):\n"
        "        beta = self.beta.reshape(-1, *[1] * (x.ndim - 2))\n        return x * torch.sigmoid(beta * x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    imports, module = text.split("into\n")[1].split("\n\n")
    assert "from gates import Swish\n" in imports
    exec(imports, names)
    module = eval(module, names)
    import safetensors.torch

    module.load_state_dict(safetensors.torch.load_file(tmp_path / "n"), strict=True)
    x = x_of(network)
    y = module.eval()(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).detach().numpy()
    np.testing.assert_allclose(y, network.forward(x, train=False)[0], rtol=1e-5, atol=1e-6)


def test_an_operation_of_ones_own_needs_a_translation_too(tmp_path: Path):
    network = built(Dense(3), Clipped(), Tanh(), Clipped(), shape=(4,))
    x = x_of(network)
    y = in_numpy(network, tmp_path).generate(x)
    np.testing.assert_allclose(y, network.forward(x, train=False)[0], rtol=1e-5, atol=1e-6)
    pytest.importorskip("onnx")
    with pytest.raises(ConfigError, match=r"^N\.1\.Clipped \(test_own_layers\.Clip\) cannot be exported to onnx: no "):
        FORMATS["onnx"].write(Subject(network, "N"), tmp_path / "n.onnx", ExportOptions())


def test_an_unclosed_expression_is_not_taken_into_a_sum(tmp_path: Path):
    class Either(Own):
        def forward(self, x, *, train, rng=None):  # noqa: ARG002
            return np.where(x > 0, 1, 0).astype(x.dtype), None

    translates(Either, to="numpy")(lambda layer, inputs, body: f"{inputs[0]} > 0")  # noqa: ARG005
    network = built(Dense(3), Residual([Dense(3), Either()]), shape=(3,))
    x = x_of(network)
    np.testing.assert_allclose(in_numpy(network, tmp_path).generate(x), network.forward(x, train=False)[0], rtol=1e-5)


# ---------------------------------------------------------------------------------------------- subclasses


class Scaled(Conv2D):
    def forward(self, x, *, train, rng=None):
        y, cache = super().forward(x, train=train, rng=rng)
        return 2 * y, cache


class Standardized(Conv2D):
    """Overrides not forward itself, but what forward works with."""

    def plain_filter(self):
        w = super().plain_filter()
        return w - w.mean()


class Steeper(Tanh):
    def apply(self, x):
        return super().apply(2 * x)


class Renamed(Conv2D):
    """Evaluates as its base does."""

    def __init__(self, channels):
        super().__init__(channels, 3, stride=2)

    def describe(self):
        return "renamed"

    def backward(self, dy, cache, *, grads, need_dx=True):
        return super().backward(0.5 * dy, cache, grads=grads, need_dx=need_dx)


class Grown(Sequential):
    def forward(self, x, *, train, rng=None):
        y, tape = super().forward(x, train=train, rng=rng)
        return y + 1, tape


class Flipped(Augmentation):
    def draw(self, rng, n):
        return rng.integers(2, size=n)

    def linear(self, x, maps):
        return np.where(maps[:, None, None, None], x[:, :, ::-1], x)


OVERRIDING = {
    "forward": (lambda: Scaled(2, 3), "Scaled", "forward of Conv2D"),
    "what it calls": (lambda: Standardized(2, 3), "Standardized", "plain_filter of Conv2D"),
    "an activation": (lambda: Steeper(), "Steeper", "apply of Tanh"),
    "a network": (lambda: Grown([Tanh()]), "Grown", "forward of Sequential"),
}


@pytest.mark.parametrize("format", ["numpy", "onnx", "torch"])
@pytest.mark.parametrize("case", OVERRIDING)
def test_a_subclass_that_overrides_what_counts_is_not_exported_as_its_base(tmp_path: Path, case: str, format: str):
    pytest.importorskip("onnx" if format == "onnx" else "numpy")
    make, name, what = OVERRIDING[case]
    message = (
        rf"N\.1\.{name} \(test_own_layers\.{name}\) cannot be exported to {format}: it overrides {what}, whose "
        rf'translation may no longer be its own\. Register .*translates\({name}, to="{format}"\), see docs/export\.md'
    )
    with pytest.raises(ConfigError, match=message) as raised:
        FORMATS[format].write(Subject(built(ReLU(), make()), "N"), tmp_path / "out", ExportOptions())
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_nor_inside_of_spectral_norm_nor_as_the_network_itself(tmp_path: Path):
    for format in ("numpy", "torch"):
        with pytest.raises(ConfigError, match=r"N\.0\.SpectralNorm\.Scaled .* it overrides forward of Conv2D"):
            FORMATS[format].write(Subject(built(SpectralNorm(Scaled(2, 3))), "N"), tmp_path / "out", ExportOptions())
        network = Grown([Tanh()], name="N").build((3,), backend="reference", rng=np.random.default_rng(0))
        with pytest.raises(ConfigError, match=r"^N \(test_own_layers\.Grown\) .* it overrides forward of Sequential"):
            FORMATS[format].write(Subject(network, "N"), tmp_path / "out", ExportOptions())


def test_nor_a_layer_whose_own_forward_was_replaced(tmp_path: Path):
    network = built(Tanh())
    network.layers[0].forward = lambda x, **_: (x, None)
    with pytest.raises(ConfigError, match=r"N\.0\.Tanh .* it overrides forward of Tanh"):
        FORMATS["numpy"].write(Subject(network, "N"), tmp_path / "out", ExportOptions())


def test_a_subclass_that_evaluates_like_its_base_is_exported_like_it(tmp_path: Path):
    network = built(Flipped(), Renamed(3), LeakyReLU(0.3))
    x = x_of(network)
    y = in_numpy(network, tmp_path).generate(x)
    np.testing.assert_allclose(y, network.forward(x, train=False)[0], rtol=1e-5, atol=1e-6)
    FORMATS["torch"].write(Subject(network, "N"), tmp_path / "n", ExportOptions())
    assert (tmp_path / "n").exists()


def test_with_a_translation_of_its_own_it_is_exported(tmp_path: Path):
    class Halved(Scaled):
        def forward(self, x, *, train, rng=None):
            y, cache = super().forward(x, train=train, rng=rng)
            return y / 4, cache

    @translates(Halved, to="graph")
    def _halved(layer, x, tracer):
        w, b = 0.5 * tracer.array(layer.plain_filter()), 0.5 * tracer.array(layer.b)
        stride, padding = layer.geometry.stride, layer.geometry.padding
        return tracer.add(g.Conv(inputs=(x,), shape=layer.output_shape, w=w, b=b, stride=stride, padding=padding))

    network = built(Halved(3, 3), BatchNorm())
    x = x_of(network)
    y = in_numpy(network, tmp_path).generate(x)
    np.testing.assert_allclose(y, network.forward(x, train=False)[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigError, match="cannot be exported to torch: it overrides forward of Conv2D"):
        FORMATS["torch"].write(Subject(network, "N"), tmp_path / "n", ExportOptions())


@pytest.mark.parametrize("format", ["numpy", "torch"])
def test_a_layer_without_a_translation_is_told_what_to_do(tmp_path: Path, format: str):
    class Odd(Own):
        def forward(self, x, *, train, rng=None):  # noqa: ARG002
            return -x, None

    message = (
        rf"^N\.0\.Sequential\.1\.Odd \(test_own_layers\.Odd\) cannot be exported to {format}: no translation of Odd to "
        rf'{format} is registered\. Register a translation with @minigan\.export\.translates\(Odd, to="{format}"\)'
    )
    with pytest.raises(ConfigError, match=message):
        FORMATS[format].write(Subject(built(Sequential([Tanh(), Odd()])), "N"), tmp_path / "out", ExportOptions())


# ---------------------------------------------------------------------------------------------- PyTorch's order


def test_features_in_pytorchs_order_are_no_business_of_groups(tmp_path: Path):
    """Groups of neighboring channels are other ones there: refused, not exported wrong."""
    network = built(Conv2D(4, 3), Flatten(), GroupNorm(4), Dense(2))
    with pytest.raises(ConfigError, match=r"^N\.2\.GroupNorm .*another order\. Export to onnx or numpy instead\.$"):
        FORMATS["torch"].write(Subject(network, "N"), tmp_path / "n", ExportOptions())


def test_a_layer_of_ones_own_is_not_trusted_with_the_order_unless_it_says_so(tmp_path: Path):
    class Shifted(Own):
        def forward(self, x, *, train, rng=None):  # noqa: ARG002
            return np.roll(x, 1, axis=-1), None

    translates(Shifted, to="torch")(lambda layer: [Module("Shifted()", layer.path)])
    for layers in ([Conv2D(4, 3), Flatten(), Shifted(), Dense(2)], [Dense(8), Shifted(), Reshape((2, 2, 2))]):
        shape = (4, 3, 2) if isinstance(layers[0], Conv2D) else (5,)
        with pytest.raises(ConfigError, match=r"Shifted .* in another order|Reshape .* where it stands"):
            FORMATS["torch"].write(Subject(built(*layers, shape=shape), "N"), tmp_path / "n", ExportOptions())


# ---------------------------------------------------------------------------------------------- any time, anywhere


def test_registering_needs_no_format(tmp_path: Path):
    """Neither its module nor its library, nor that it exists; a format that comes later finds what is there."""
    code = """
import sys
sys.modules["onnx"] = sys.modules["torch"] = None
from minigan.export.translations import translates, translation
from minigan.nn.layers import Tanh

class Mine(Tanh):
    pass

@translates(Mine, to="onnx")
def _(layer, inputs, nodes):
    return "mine"

@translates(Mine, to="c")
def _(layer):
    return "tanhf"

assert translation(Mine(), to="c").function(None) == "tanhf"
import minigan.export
assert translation(Mine(), to="onnx").function(None, None, None) == "mine"
assert translation(Mine(), to="numpy", by_way_of="graph").to == "graph"
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_function_of_a_name_that_is_taken_is_refused(tmp_path: Path):
    class Taken(Own):
        def forward(self, x, *, train, rng=None):  # noqa: ARG002
            return x, None

    def conv(x):
        return x

    translates(Taken, to="numpy")(lambda layer, inputs, body: f"{body.function(conv)}({inputs[0]})")  # noqa: ARG005
    with pytest.raises(ConfigError, match="expected a new name for the function conv, which the file already has"):
        FORMATS["numpy"].write(Subject(built(Taken()), "N"), tmp_path / "n", ExportOptions())


def test_a_function_without_a_source_is_refused(tmp_path: Path):
    class Typed(Own):
        def forward(self, x, *, train, rng=None):  # noqa: ARG002
            return x, None

    names = {}
    exec("def typed(x):\n    return x", names)
    translates(Typed, to="numpy")(lambda layer, inputs, body: f"{body.function(names['typed'])}({inputs[0]})")  # noqa: ARG005
    with pytest.raises(ConfigError, match="cannot copy the function typed into the file: its source is unknown"):
        FORMATS["numpy"].write(Subject(built(Typed()), "N"), tmp_path / "n", ExportOptions())
