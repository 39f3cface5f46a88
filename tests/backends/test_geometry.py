"""The integers of a convolution: sizes, paddings, and what is said about impossible ones."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigan.backends.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry, pair, resolve_padding
from minigan.errors import ShapeError

sizes = st.tuples(*[st.integers(1, 40)] * 2)
filters = st.tuples(*[st.integers(1, 7)] * 2)
strides = st.tuples(*[st.integers(1, 5)] * 2)
sides = st.tuples(*[st.integers(0, 4)] * 2)
paddings = st.one_of(st.sampled_from(["same", "valid"]), st.integers(0, 4), sides, st.tuples(sides, sides))


# ------------------------------------------------------------------------------------------------ pair


def test_pair_repeats_an_int_and_keeps_a_pair():
    assert pair(3, "filter") == (3, 3)
    assert pair((3, 5), "filter") == (3, 5)
    assert pair([3, 5], "filter") == (3, 5)


@pytest.mark.parametrize("value", [0, -1, (3, 0), (1, 2, 3), (4,), (), 2.5, (2.0, 2), "3", "34", None])
def test_pair_says_what_it_wanted_and_what_it_got(value):
    with pytest.raises(ShapeError) as caught:
        pair(value, "stride")
    assert str(caught.value) == f"stride must be a positive int or a pair of them, got {value!r}."


# ------------------------------------------------------------------------------------------------ padding


def tensorflow_same(n: int, r: int, s: int) -> tuple[int, int]:
    """TensorFlow's rule, "Notes on padding" of tf.nn: before and after."""
    total = max(r - s, 0) if n % s == 0 else max(r - n % s, 0)
    return total // 2, total - total // 2


@given(sizes, filters, strides)
def test_same_is_tensorflows_rule(size, filter, stride):
    vertical, horizontal = resolve_padding("same", size, filter, stride)
    assert vertical == tensorflow_same(size[0], filter[0], stride[0])
    assert horizontal == tensorflow_same(size[1], filter[1], stride[1])


@given(sizes, filters, strides)
def test_same_gives_the_ceiling_of_size_by_stride(size, filter, stride):
    g = conv_geometry((*size, 1), 1, filter, stride, "same")
    assert (math.ceil(size[0] / stride[0]), math.ceil(size[1] / stride[1])) == (g.P, g.Q)


@given(sizes, filters, strides)
def test_valid_uses_whole_windows_only(size, filter, stride):
    assume(filter[0] <= size[0] and filter[1] <= size[1])
    g = conv_geometry((*size, 1), 1, filter, stride, "valid")
    assert g.padding == ((0, 0), (0, 0))
    # TensorFlow: ceil((n - r + 1) / s).
    assert math.ceil((size[0] - filter[0] + 1) / stride[0]) == g.P
    assert math.ceil((size[1] - filter[1] + 1) / stride[1]) == g.Q


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((1, 2), (3, 4)), ((1, 2), (3, 4))),
        ([[1, 2], [3, 4]], ((1, 2), (3, 4))),
        ((1, (0, 2)), ((1, 1), (0, 2))),
    ],
)
def test_explicit_paddings_become_top_bottom_left_right(padding, expected):
    assert resolve_padding(padding, (8, 8), (3, 3), (1, 1)) == expected


def test_the_odd_pixel_goes_to_the_bottom_and_right():
    assert resolve_padding("same", (8, 8), (4, 5), (1, 2)) == ((1, 2), (1, 2))


@pytest.mark.parametrize(
    "padding",
    ["full", "", -1, (1, -1), ((1, 2), (3, -4)), (1, 2, 3), (), ((1, 2, 3), 1), (1.5, 2), 1.5, None, ("a", "b")],
)
def test_an_impossible_padding_is_told(padding):
    with pytest.raises(ShapeError, match=r"^padding must ") as caught:
        resolve_padding(padding, (8, 8), (3, 3), (1, 1))
    assert f"got {padding!r}." in str(caught.value)


# ------------------------------------------------------------------------------------------------ geometry


@given(sizes, filters, strides, st.tuples(sides, sides))
def test_output_sizes_are_those_of_pytorchs_formula(size, filter, stride, padding):
    expected = [
        math.floor((n + sum(p) - (r - 1) - 1) / s + 1) for n, p, r, s in zip(size, padding, filter, stride, strict=True)
    ]
    assume(min(expected) >= 1)
    g = ConvGeometry(*size, 3, 5, *filter, stride, padding)
    assert expected == [g.P, g.Q]
    assert g.input_shape == (*size, 3)
    assert g.output_shape == (*expected, 5)
    assert g.weight_shape == (*filter, 3, 5)


def test_output_sizes_are_those_that_pytorch_computes():
    torch = pytest.importorskip("torch")
    for n, r, s, p in [(28, 5, 2, 2), (7, 4, 3, 1), (5, 5, 1, 0), (9, 2, 4, 1), (1, 3, 2, 1)]:
        y = torch.nn.functional.conv2d(torch.zeros(1, 1, n, n), torch.zeros(1, 1, r, r), stride=s, padding=p)
        assert y.shape[2] == conv_geometry((n, n, 1), 1, (r, r), (s, s), p).P


def test_flops_count_a_multiply_and_an_add_for_every_term():
    g = conv_geometry((6, 8, 3), 5, (2, 3), (1, 1), "valid")
    assert g.flops == 2 * (5 * 6 * 5) * (2 * 3 * 3)


def test_geometries_are_values():
    one, other = (conv_geometry((6, 8, 3), 5, (2, 3), (1, 1), "valid") for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    with pytest.raises(AttributeError):
        one.H = 7


def test_a_filter_that_does_not_fit_is_told_with_sizes_and_remedy():
    with pytest.raises(ShapeError) as caught:
        conv_geometry((3, 4, 1), 8, (5, 3), (2, 2), "valid")
    message = str(caught.value)
    assert "5x3 filter does not fit into a 3x4 image" in message
    assert "((0, 0), (0, 0))" in message
    assert message.endswith("Use a smaller filter or more padding.")


@pytest.mark.parametrize(("size", "filter"), [((4, 3), (3, 5)), ((1, 1), (2, 2)), ((2, 9), (4, 9))])
def test_filters_that_do_not_fit_never_pass(size, filter):
    for stride in ((1, 1), (2, 2), (5, 3)):
        with pytest.raises(ShapeError, match="does not fit"):
            conv_geometry((*size, 1), 1, filter, stride, 0)


@pytest.mark.parametrize(
    "sizes",
    [(0, 4, 1, 1, 3, 3), (4, 4, 0, 1, 3, 3), (4, 4, 1, 0, 3, 3), (4, 4, 1, 1, 0, 3), (4, 4, 1, -1, 3, 3)],
)
def test_sizes_below_one_are_told(sizes):
    with pytest.raises(ShapeError, match="at least 1"):
        ConvGeometry(*sizes, padding=((2, 2), (2, 2)))


# ------------------------------------------------------------------------------------------------ transposed


@given(sizes, filters, strides, paddings, st.data())
def test_a_transposed_convolution_is_a_convolution_turned_around(size, filter, stride, padding, data):
    """The geometry's convolution maps the transposed one's output back to exactly its input's size."""
    extra = (0, 0)
    if padding != "same":
        extra = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    try:
        g = conv_transpose_geometry((*size, 6), 4, filter, stride, padding, extra)
    except ShapeError as error:
        assert padding not in ("same", "valid")
        assert "leaves nothing" in str(error)
        return
    assert g.output_shape == (*size, 6)
    assert g.input_shape[2] == 4
    assert g.weight_shape == (*filter, 4, 6)
    # And building that convolution from the large image gives the same geometry.
    assert conv_geometry(g.input_shape, 6, filter, stride, padding) == g


@given(sizes, filters, strides, sides, st.data())
def test_transposed_sizes_are_those_of_pytorchs_formula(size, filter, stride, padding, data):
    extra = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    expected = [
        (n - 1) * s - 2 * p + (r - 1) + o + 1
        for n, s, p, r, o in zip(size, stride, padding, filter, extra, strict=True)
    ]
    assume(min(expected) >= 1)
    g = conv_transpose_geometry((*size, 6), 4, filter, stride, padding, extra)
    assert expected == [g.H, g.W]


def test_transposed_sizes_are_those_that_pytorch_computes():
    torch = pytest.importorskip("torch")
    for n, r, s, p, o in [(4, 4, 2, 1, 0), (1, 4, 1, 0, 0), (7, 5, 2, 2, 1), (3, 2, 3, 0, 2)]:
        x, w = torch.zeros(1, 1, n, n), torch.zeros(1, 1, r, r)
        y = torch.nn.functional.conv_transpose2d(x, w, stride=s, padding=p, output_padding=o)
        assert y.shape[2] == conv_transpose_geometry((n, n, 1), 1, (r, r), (s, s), p, (o, o)).H


@given(sizes, filters, strides)
def test_same_multiplies_by_the_stride(size, filter, stride):
    """As Keras' Conv2DTranspose, also with a filter smaller than the stride."""
    g = conv_transpose_geometry((*size, 1), 1, filter, stride, "same", (0, 0))
    assert (size[0] * stride[0], size[1] * stride[1]) == (g.H, g.W)


@pytest.mark.parametrize("extra", [(2, 0), (0, 3), (-1, 0)])
def test_an_output_padding_as_large_as_the_stride_is_told(extra):
    with pytest.raises(ShapeError) as caught:
        conv_transpose_geometry((4, 4, 1), 1, (3, 3), (2, 2), 1, extra)
    message = str(caught.value)
    assert str(extra) in message
    assert "smaller than the stride (2, 2)" in message


def test_an_output_padding_with_same_is_told_with_the_remedy():
    with pytest.raises(ShapeError, match="output_padding goes with explicit padding"):
        conv_transpose_geometry((4, 4, 1), 1, (3, 3), (2, 2), "same", (1, 1))


def test_a_padding_that_removes_the_whole_image_is_told_with_the_remedy():
    with pytest.raises(ShapeError) as caught:
        conv_transpose_geometry((1, 1, 8), 1, (2, 4), (1, 1), 1, (0, 0))
    message = str(caught.value)
    for part in ("padding 1", "1x1 image", "2x4 filter", "stride (1, 1)", "Use less padding."):
        assert part in message
