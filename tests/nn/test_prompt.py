"""Networks and what belongs to them, as a Python prompt and a notebook show them and as lists of layers."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from minigan.errors import ConfigError, DTypeError, MiniganError, NotBuiltError, ShapeError
from minigan.nn import (
    SGD,
    Adam,
    BatchNorm,
    Clipping,
    ConcatCondition,
    ConditionalAffine,
    Constant,
    Conv2D,
    ConvTranspose2D,
    CosineDecay,
    Dense,
    ExponentialDecay,
    Flatten,
    GlorotUniform,
    HeNormal,
    InnerProduct,
    InstanceNorm,
    Layer,
    LeakyReLU,
    LinearDecay,
    Normal,
    Orthogonal,
    Parallel,
    Reshape,
    Residual,
    SelfAttention,
    Sequential,
    SkipConcat,
    SpectralNorm,
    Tanh,
)
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.optimizers import expect_optimizer

REFERENCE = {"backend": "reference"}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def discriminator() -> Sequential:
    layers = [
        Conv2D(4, 4, stride=2, padding=1),
        BatchNorm(),
        LeakyReLU(),
        Residual([Conv2D(4, 3)]),
        Flatten(),
        Dense(1),
    ]
    return Sequential(layers, name="D")


X = np.ones((2, 8, 8, 1), np.float32)


def built() -> Sequential:
    return discriminator().build((8, 8, 1), **REFERENCE, rng=rng())


# ---------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Dense(3), "Dense(3)"),
        (Conv2D(64, 3), "Conv2D(64, 3)"),
        (Conv2D(64, (3, 5), stride=2, bias=False), "Conv2D(64, (3, 5), stride=2, bias=False)"),
        (Conv2D(8, 3, dilation=2, groups=4), "Conv2D(8, 3, dilation=2, groups=4)"),
        (Conv2D(8, 3, init=Normal(0.02)), "Conv2D(8, 3, init=Normal(std=0.02))"),
        (ConvTranspose2D(3, 4, stride=2, padding=1, output_padding=(0, 1)), "output_padding=(0, 1))"),
        (SpectralNorm(Dense(1)), "SpectralNorm(Dense(1))"),
        (SelfAttention(wrap=SpectralNorm), "SelfAttention(wrap=SpectralNorm)"),
        (ConcatCondition((3,)), "ConcatCondition((3,))"),
        (InnerProduct(3), "InnerProduct(3)"),
        (ConditionalAffine(3), "ConditionalAffine(3)"),
        (LeakyReLU(0.1), "LeakyReLU(slope=0.1)"),
        (LeakyReLU(), "LeakyReLU()"),
        (InstanceNorm(), "InstanceNorm()"),
    ],
)
def test_a_layer_shows_the_call_that_makes_it(layer: Layer, text: str):
    assert repr(layer).endswith(text)
    assert eval(repr(layer)).__dict__.keys() == layer.__dict__.keys()  # it is a call that works


def test_a_built_layer_shows_its_shapes():
    assert repr(built()[0]) == "Conv2D(4, 4, stride=2, padding=1): (8, 8, 1) -> (4, 4, 4), 68 parameters"
    assert repr(built()[2]) == "LeakyReLU(): (4, 4, 4) -> (4, 4, 4)"


def test_a_network_shows_its_layers_and_whether_it_is_built():
    assert repr(discriminator()).splitlines() == [
        "Sequential 'D': not built",
        "  0 Conv2D(4, 4, stride=2, padding=1)",
        "  1 BatchNorm()",
        "  2 LeakyReLU()",
        "  3 Residual(...)",
        "    inner.0 Conv2D(4, 3)",
        "  4 Flatten()",
        "  5 Dense(1)",
    ]
    first, *rest = repr(built()).splitlines()
    assert first == "Sequential 'D': (8, 8, 1) -> (1,), 289 parameters, float32 on reference"
    assert rest[4] == "    inner.0 Conv2D(4, 3): (4, 4, 4) -> (4, 4, 4), 148 parameters"


def test_networks_in_networks_are_shown_once():
    blocks = [Parallel([[Tanh()], [Dense(2)]]), SkipConcat([Conv2D(1, 3)]), Inpainting([Conv2D(1, 3)])]
    assert [repr(block).splitlines() for block in blocks] == [
        ["Parallel(...)", "  0.0 Tanh()", "  1.0 Dense(2)"],
        ["SkipConcat(...)", "  inner.0 Conv2D(1, 3)"],
        ["Inpainting(...)", "  inner.0 Conv2D(1, 3)"],
    ]
    nested = repr(Sequential([Sequential([Residual([Sequential([Tanh()])])])]))
    assert nested.splitlines()[1:] == ["  0.0 Residual(...)", "    inner.0.0 Tanh()"]


def test_weights_gradients_tapes_and_optimizers_show_no_numbers_of_arrays():
    D = built()
    assert repr(D[0].w) == "Parameter w (4, 4, 1, 4), 64 numbers"
    assert repr(D.arena) == "Arena of 289 numbers in 8 parameters, float32 on reference, version 0"
    grads = D.gradients()
    assert repr(grads) == "Gradients of 289 numbers in 8 parameters, float32 on reference"
    _, tape = D.forward(np.ones((2, 8, 8, 1), np.float32), train=True)
    assert re.fullmatch(r"Tape of 6 layers for 2 examples, \d+\.\d kB", repr(tape))
    optimizer = Adam(D.arena, lr=2e-4, beta1=0.5, clipping=Clipping(norm=1.0))
    optimizer.step(grads)
    assert repr(optimizer) == (
        "Adam(lr=0.0002, beta1=0.5, clipping=Clipping(norm=1.0)), 1 step done, of 289 numbers "
        "in 8 parameters, float32 on reference"
    )
    assert repr(tape).endswith("stale: the weights were updated")
    tape.release()
    assert repr(tape) == "Tape, released"
    decaying = SGD(D.arena, lr=CosineDecay(0.5, 10, 20))
    assert "SGD(lr=0.5), 0 steps done, lr by CosineDecay(rate=0.5, start=10, end=20)" in repr(decaying)


class Cells(HTMLParser):
    """The text of each cell; complains of tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1].append(data.strip())


def test_a_notebook_shows_the_summary():
    D = built()
    D.path = "<D>"
    html = D._repr_html_()
    cells = Cells()
    cells.feed(html)
    assert not cells.open
    caption = "Sequential &#x27;&lt;D&gt;&#x27;: (8, 8, 1) -&gt; (1,), 289 parameters, float32 on reference"
    assert f"<caption>{caption}</caption>" in html and "<D>" not in html
    summary = [re.split(r"\s{2,}", line.strip()) for line in D.summary().splitlines()[1:] if "---" not in line]
    assert [row[1:] for row in cells.rows[:-1]] == [row[1:] for row in summary[:-1]]
    assert cells.rows[-1] == ["total", "289", "0.01"] == summary[-1]
    calls = [line.split(":")[0].strip() for line in repr(D).splitlines()[1:]]
    assert [row[0] for row in cells.rows[1:-1]] == calls  # with the constructors' arguments


def test_a_notebook_shows_what_is_not_built_and_single_layers():
    cells = Cells()
    cells.feed(discriminator()._repr_html_())
    assert cells.rows == [["layer"], *([line.strip()] for line in repr(discriminator()).splitlines()[1:])]
    assert "not built" in discriminator()._repr_html_()
    assert built()[0]._repr_html_() == (
        "<code>Conv2D(4, 4, stride=2, padding=1): (8, 8, 1) -&gt; (4, 4, 4), 68 parameters</code>"
    )
    block = built()[3]._repr_html_()
    assert "<caption>Residual(...): (4, 4, 4) -&gt; (4, 4, 4), 148 parameters</caption>" in block
    assert "<td>inner.0 Conv2D(4, 3)</td>" in block


def test_a_gan_of_usual_networks_fits_a_line():
    D = Sequential([Flatten(), Dense(512), LeakyReLU(), Dense(1)], name="D")
    D.build((28, 28, 1), **REFERENCE, rng=rng())
    assert len(f"  D: {D.title()}; {Adam(D.arena, lr=2e-4, beta1=0.5).title()}") <= 125
    assert repr(Normal()) == "Normal(std=0.02)" and repr(Normal(0.1, mean=1.0)) == "Normal(std=0.1, mean=1.0)"


def test_the_flops_of_a_network_are_those_of_its_layers():
    D = built()
    assert D.flops == sum(layer.flops for layer in D) > D[0].flops == D[0].own_flops > 0
    assert D.own_flops == 0
    assert D[3].flops == D[3].inner.flops + D[3].own_flops


# ---------------------------------------------------------------------------------------- a list of layers


def test_a_network_is_a_list_of_its_layers():
    D = built()
    assert len(D) == 6
    assert list(D) == D.layers
    assert D[1] is D.layers[1] and D[-1] is D.layers[-1]
    with pytest.raises(IndexError):
        D[6]
    branches = Parallel([[Tanh()], [Dense(2)]])
    assert len(branches) == 2 and list(branches) == branches.branches and branches[1] is branches.branches[1]


def test_a_slice_is_a_network_with_the_same_weights():
    D = built()
    x = rng(1).normal(size=(3, 8, 8, 1)).astype(np.float32)
    features, tape = D[:-1].forward(x, train=True)
    logits, _ = D[-1:].forward(features, train=True)
    whole, whole_tape = D.forward(x, train=True)
    np.testing.assert_array_equal(logits, whole)
    dy = rng(2).normal(size=whole.shape).astype(np.float32)
    one, other = D.gradients(), D.gradients()
    dx = D.backward(dy, whole_tape, grads=one)
    dfeatures = D[-1:].backward(dy, D[-1:].forward(features, train=True)[1], grads=other)
    np.testing.assert_array_equal(D[:-1].backward(dfeatures, tape, grads=other), dx)
    np.testing.assert_array_equal(one.flat, other.flat)
    assert D[1:3].input_shape == (4, 4, 4) and len(D[1:3]) == 2
    assert [D[1:3].path, D[:-1].path, D[1:][:2].path] == ["D[1:3]", "D[:-1]", "D[1:][:2]"]
    assert D.path == "D" and discriminator()[::2].path == "D[::2]"
    with pytest.raises(ShapeError, match=r"^D\[1:3\]: expected x of shape \(N, 4, 4, 4\)"):
        D[1:3].forward(x, train=True)
    assert len(D) == 6


def test_slices_that_make_no_network():
    assert len(discriminator()[::2]) == 3  # not built: any layers
    with pytest.raises(ShapeError, match="D: a built network has slices of neighboring layers only"):
        built()[::2]
    for place in (99, -7):
        with pytest.raises(IndexError, match=f"D: expected the place of a layer, from 0 to 5, got {place}"):
            built()[place]
    with pytest.raises(ShapeError, match=r"D\[3:3\]: a network needs at least one layer"):
        built()[3:3]


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: Sequential([Dense, Tanh]),
            "net: expected a layer at 0, got the class Dense. Write Dense(...), an",
        ),
        (lambda: Sequential([Dense(3), Tanh]), "net: expected a layer at 1, got the class Tanh. Write Tanh(), an"),
        (lambda: Sequential([Dense(3)], name=3), 'name must be text, got 3. Write name="G"'),
        (lambda: Sequential([Dense(3)], name=""), "name must be text, got ''."),
        (lambda: Dense(3, bias="no"), "Dense: bias must be True or False, got 'no'. Write bias=True or bias=False."),
        (lambda: Conv2D(3, 3, bias=None), "Conv2D: bias must be True or False, got None."),
        (lambda: Reshape((2.0, 3)), "Reshape: shape must be a tuple of positive integers"),
        (lambda: Reshape((2.0, 3)), "got (2.0, 3). Write shape=(2, 3)."),
        (lambda: Reshape("x"), "got 'x'. Write shape=(4, 4, 256)."),
        (lambda: ConcatCondition((3.0,)), "got (3.0,). Write shape=(3,)."),
        (lambda: ConditionalAffine(3.0), "ConditionalAffine: features must be a positive integer, got 3.0. Write fea"),
        (lambda: built()["x"], "D: expected the place of a layer, a whole number, got 'x'. Write D[0]."),
        (lambda: built()[1.5], "D: expected the place of a layer, a whole number, got 1.5."),
        (lambda: Parallel([[Dense(3)]])[1:], "Parallel: expected the place of a branch, a whole number, got a slice."),
        (
            lambda: discriminator().given(3),
            "D: expected a condition as an array with a row for each example",
        ),
        (lambda: built().summary(batch_size="x"), "D: batch_size must be a positive integer, got 'x'."),
        (lambda: built().forward(X, train="yes"), "D: train must be True or False, got 'yes'."),
        (lambda: built().build((8, 8, 1), rng=rng(), fuse="no"), "D: fuse must be True or False, got 'no'."),
        (
            lambda: built().forward([[1, 2]], train=True),
            "D: expected x as an array of numpy, got a list of 1. Write x = D.kernels.asarray(x, dtype='float32').",
        ),
        (lambda: expect_optimizer(SGD, "g_optimizer", network="G"), "Write g_optimizer=SGD(G.arena, lr=2e-4)."),
        (lambda: Normal("x"), "Normal: std must be a finite number from 0 up, got 'x'."),
        (lambda: Normal(-1), "Normal: std must be a finite number from 0 up, got -1."),
        (lambda: Constant(None), "Constant: value must be a finite number, got None."),
        (lambda: GlorotUniform("2"), "GlorotUniform: gain must be a finite number from 0 up, got '2'. Write gain=2."),
        (lambda: HeNormal(slope=[]), "HeNormal: slope must be a finite number, got []."),
        (lambda: Orthogonal(np.nan), "Orthogonal: gain must be a finite number, got nan."),
        (lambda: CosineDecay(0.1, "0", 10), "CosineDecay: start must be a finite number, got '0'. Write start=0."),
        (lambda: LinearDecay(0.1, 0, None), "LinearDecay: end must be a finite number, got None."),
        (lambda: ExponentialDecay(0.1, "x", 10), "ExponentialDecay: factor must be positive, got 'x'."),
        (
            lambda: ExponentialDecay(0.1, 0.5, "10"),
            "ExponentialDecay: every must be positive, got '10'. Write every=",
        ),
        (lambda: Adam(built().arena, lr=0), "a learning rate must be positive, got 0."),
        (lambda: ExponentialDecay(0.1, 0.5, 10, staircase="no"), "staircase must be True or False, got 'no'."),
        (
            lambda: Sequential([Dense(3), None]),
            "net: expected a layer at 1, got None. Write a layer such as",
        ),
        (lambda: Sequential([np.tanh]), "net: expected a layer at 0, got the function tanh."),
        (lambda: Sequential([[Dense(3)]], name="G"), "G: expected a layer at 0, got a list of 1. Write *layers"),
        (lambda: Sequential(Dense(3)), "net: expected a list of layers, got a Dense. Write [Dense(3)]."),
        (lambda: Sequential(3), "net: expected a list of layers, got 3."),
        (lambda: Sequential("G"), "net: expected a list of layers, got 'G'."),
        (lambda: Residual([Dense]), "Residual.inner: expected a layer at 0, got the class Dense."),
        (lambda: Residual([Tanh()], shortcut=[Tanh]), "Residual.shortcut: expected a layer at 0, got the class Tanh."),
        (lambda: SkipConcat(Dense(3)), "SkipConcat.inner: expected a list of layers, got a Dense."),
        (lambda: Parallel([Dense(3)]), "Parallel.0: expected a list of layers, got a Dense. Write [Dense(3)]."),
        (lambda: Parallel(Dense(3)), "Parallel: expected a list of branches, got a Dense. Write Parallel([["),
        (lambda: discriminator().build(8, rng=rng()), "D: input_shape must be a tuple without the batch axis, got 8."),
        (lambda: discriminator().build((8, 8, 0), rng=rng()), "D: input_shape must be positive integers"),
        (lambda: discriminator().build((8, 8, 1), rng=0), "D: rng must be a numpy.random.Generator, got 0. Pass rng="),
        (
            lambda: discriminator().build((8, 8, 1), rng=rng(), dtype="real"),
            "dtype must be float32 or float64, got",
        ),
        (lambda: Adam(built(), lr=0.1), "Adam: expected a network's arena, got a Sequential. Pass net.arena."),
        (lambda: Adam(discriminator(), lr=0.1), "got a Sequential. Build it, and pass net.arena."),
        (lambda: Adam("D", lr=0.1), "Adam: expected a network's arena, got 'D'. Pass net.arena."),
        (lambda: Adam(built().arena, lr="1e-4"), "must be positive, got '1e-4'. Write lr=1e-4."),
        (lambda: Adam(built().arena, lr=CosineDecay), "got the class CosineDecay. Write lr=CosineDecay(...)."),
        (
            lambda: Adam(built().arena, lr=0.1, clipping=1.0),
            "must be a Clipping, got 1.0. Write clipping=Clip",
        ),
        (lambda: Adam(built().arena, lr=0.1).step(built()), "Adam: expected gradients, got a Sequential."),
    ],
)
def test_a_mistake_gets_one_line_that_says_what_to_write(make, says: str):
    with pytest.raises(MiniganError) as caught:
        make()
    assert says in str(caught.value)
    assert isinstance(caught.value, ConfigError | ShapeError | DTypeError)


class Scale(Layer):
    """A layer of somebody's own, which annotates what `infer` sets."""

    w: object

    def infer(self, input_shape):
        self.w = self.add_parameter("w", input_shape, Normal())
        return input_shape

    def forward(self, x, *, train, rng=None):  # noqa: ARG002
        return x * self.w.value, None

    def backward(self, dy, cache, *, grads, need_dx=True):  # noqa: ARG002
        return dy * self.w.value

    def double_backward(self, v, record, cache, *, grads):  # noqa: ARG002
        return v * self.w.value, None


@pytest.mark.parametrize(
    "use",
    [
        lambda: Dense(3).b,
        lambda: Conv2D(3, 3).w,
        lambda: Conv2D(3, 3).geometry,
        lambda: BatchNorm().running_mean,
        lambda: SpectralNorm(Dense(3)).u,
        lambda: SelfAttention().gamma,
        lambda: ConcatCondition((3,), embedding=2).E,
        lambda: ConditionalAffine(3).gamma,
        lambda: Conv2D(3, 3).flops,
        lambda: Dense(3).forward(np.zeros((1, 2), np.float32), train=True),
        lambda: Tanh().forward(np.zeros((1, 2), np.float32), train=True),
        lambda: Scale().forward(np.zeros((1, 2), np.float32), train=True),
        lambda: discriminator().forward(np.zeros((1, 8, 8, 1), np.float32), train=True),
        lambda: discriminator().backward(np.zeros((1, 1)), built().forward(np.zeros((2, 8, 8, 1), np.float32), train=True)[1], grads=None),  # noqa: E501
        lambda: discriminator().summary(),
        lambda: discriminator().arena,
        lambda: discriminator().gradients(),
        lambda: discriminator().flops,
    ],
)  # fmt: skip
def test_what_is_not_built_says_so(use):
    with pytest.raises(
        NotBuiltError, match=r"not built, so it has no \w+\. Call build\(input_shape, rng=\.\.\.\) first"
    ):
        use()


def test_a_name_that_no_layer_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Dense has no attribute 'weights'") as caught:
        Dense(3).weights  # noqa: B018
    assert not isinstance(caught.value, NotBuiltError)


# ---------------------------------------------------------------------------------------- building again


def many_layers() -> list[Layer]:
    """Every kind of layer that `build` changes, for images (8, 8, C) or larger ones with even sides."""
    return [
        SpectralNorm(Conv2D(8, 3)),
        InstanceNorm(),
        SelfAttention(),
        Residual([Conv2D(8, 3), BatchNorm(), LeakyReLU()], shortcut=[Conv2D(8, 1)]),
        Parallel([[Conv2D(2, 3)], [Conv2D(2, 1)]]),
        SkipConcat([Conv2D(2, 3), Sequential([BatchNorm(), LeakyReLU()])]),
        Flatten(),
        Dense(3),
    ]


class Failing(Tanh):
    """Fails to build where it is told to."""

    fails = False

    def infer(self, input_shape):
        if self.fails:
            raise ShapeError("it fails")
        return input_shape


def failing_initializer(rng, shape):  # noqa: ARG001
    raise ZeroDivisionError


@pytest.mark.parametrize("where", ["layer", "weights", "shape"])
def test_a_rebuild_that_fails_leaves_the_network_as_it_was(where: str):
    last, dense = Failing(), Dense(2)
    net = Sequential([*many_layers(), dense, last], name="D").build((8, 8, 2), **REFERENCE, rng=rng())
    x = rng(1).normal(size=(4, 8, 8, 2)).astype(np.float32)
    net.commit_statistics(net.forward(x, train=True)[1])  # running statistics are kept, too
    before, _ = net.forward(x, train=True)
    evaluated, _ = net.forward(x, train=False)
    weights, summary = net.arena.to_dict(), net.summary()
    optimizer, grads = Adam(net.arena, lr=0.1), net.gradients()
    if where == "layer":
        last.fails = True
    elif where == "weights":
        dense.init = failing_initializer
    with pytest.raises((ShapeError, ZeroDivisionError)):
        net.build((8, 8) if where == "shape" else (6, 6, 3), **REFERENCE, dtype="float64", rng=rng(2))
    assert net.summary() == summary
    after, tape = net.forward(x, train=True)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(net.forward(x, train=False)[0], evaluated)
    assert net.arena.to_dict().keys() == weights.keys()
    net.backward(np.ones_like(after), tape, grads=grads)
    optimizer.step(grads)  # still the arena that the layers read
    assert not np.array_equal(net.forward(x, train=True)[0], before)


def test_a_build_that_fails_leaves_an_unbuilt_network_unbuilt():
    net = Sequential([*many_layers(), Failing()], name="D")
    net[-1].fails = True
    with pytest.raises(ShapeError, match="it fails"):
        net.build((8, 8, 2), **REFERENCE, rng=rng())
    assert not any(layer.is_built or "input_shape" in vars(layer) for _, layer in net.walk())
    net[-1].fails = False
    net.build((8, 8, 2), **REFERENCE, rng=rng())
    assert all(layer.is_built for _, layer in net.walk())


def test_a_notebook_shows_what_a_tape_keeps():
    D = Sequential([Conv2D(4, 3, padding=1), LeakyReLU(), Flatten(), Sequential([Dense(2)]), Residual([Dense(2)])])
    D.build((4, 4, 1), backend="reference", rng=np.random.default_rng(0))
    D.layers[0].call_text = lambda: "<Conv>"
    _, tape = D.forward(np.ones((3, 4, 4, 1), np.float32), train=True)
    shown = tape._repr_html_()
    cells = Cells()
    cells.feed(shown)
    assert not cells.open
    assert f"<caption>{tape!r}</caption>" in shown
    assert cells.rows == [
        ["layer", "keeps for backward", "memory"],
        ["0 <Conv>", "x (3, 4, 4, 1)", "0.2 kB"],
        ["1 LeakyReLU()", "y (3, 4, 4, 4)", "0.8 kB"],
        ["2 Flatten()", "nothing", "0"],
        ["3 Sequential 'net.3.Sequential'", "inside: Tape of 1 layer for 3 examples, 0.8 kB", "shared"],
        ["4 Residual(...)", "inner: Tape of 1 layer for 3 examples, 0.0 kB", "0.0 kB"],
        ["total", "1.0 kB"],  # the empty cell between them has no text
    ]
    tape.release()
    assert tape._repr_html_() == "Tape, released"
