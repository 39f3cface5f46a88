"""Modulated convolution against PyTorch's autograd of its usual form, grouped, with a filter for each image."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from minigan.backends import Backend  # noqa: E402
from minigan.nn.layers import Conv2D, ConvTranspose2D, Modulated  # noqa: E402
from minigan.nn.layers.condition import Condition  # noqa: E402


def tensor(array):
    return torch.from_numpy(np.array(array)).requires_grad_()


def grouped(x, c, w, A, b, *, up: bool, demodulate: bool):
    """x (N, C, H, W); w (K, C, R, S), of a transposed convolution (C, K, R, S)."""
    s = c @ A + b + 1
    N, C, H, W = x.shape
    inputs, outputs = (0, 1) if up else (1, 0)
    if not demodulate:
        s = s / (C * w.shape[2] * w.shape[3]) ** 0.5
    own = w[None] * s.reshape(N, *(C if axis == inputs else 1 for axis in range(2)), 1, 1)
    if demodulate:
        own = own * torch.rsqrt((own**2).sum(dim=(inputs + 1, 3, 4), keepdim=True) + 1e-8)
    filters = own.reshape(-1, *w.shape[1:])
    images = x.reshape(1, N * C, H, W)
    if up:
        y = torch.nn.functional.conv_transpose2d(images, filters, stride=2, groups=N)
    else:
        y = torch.nn.functional.conv2d(images, filters, padding=1, groups=N)
    return y.reshape(N, w.shape[outputs], *y.shape[2:])


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [False, True])
def test_all_gradients_of_both_orders(host_backend: Backend, up, demodulate):
    inner = ConvTranspose2D(3, 3, stride=2, padding=0, bias=False) if up else Conv2D(3, 3, padding=1, bias=False)
    layer = Modulated(inner, 5, demodulate=demodulate)
    layer.build((4, 3, 2), backend=host_backend, dtype="float64", rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for _, p in layer.named_parameters():
        p.value[...] = rng.normal(size=p.shape)
    layer.arena.updated()
    x, c = rng.normal(size=(3, 4, 3, 2)), rng.normal(size=(3, 5))

    dc = np.zeros_like(c)
    y, cache = layer.given(c).forward(x, train=True)
    dy, v, u = rng.normal(size=y.shape), rng.normal(size=x.shape), rng.normal(size=c.shape)
    grads, second = layer.gradients(), layer.gradients()
    dx = layer.given(Condition(c, dc)).backward(dy, cache, grads=grads)
    _, record = layer.given(Condition(c, np.zeros_like(c))).backward_recorded(dy, cache)
    ddc = np.zeros_like(c)
    ddy, ddx = layer.given(Condition(c, ddc, u)).double_backward(v, record, cache, grads=second)

    to_torch = (3, 2, 0, 1)  # (R, S, C, K) to (K, C, R, S); (R, S, K, C) to (C, K, R, S)
    image = (0, 3, 1, 2)
    X, C, DY = tensor(x.transpose(image)), tensor(c), tensor(dy.transpose(image))
    w, A, b = (p.value for _, p in layer.named_parameters())
    P = [tensor(w.transpose(to_torch)), tensor(A), tensor(b)]
    Y = grouped(X, C, *P, up=up, demodulate=demodulate)
    first = torch.autograd.grad(Y, [X, C, *P], DY, create_graph=True)
    penalty = (first[0] * torch.from_numpy(v.transpose(image))).sum() + (first[1] * torch.from_numpy(u)).sum()
    of_penalty = torch.autograd.grad(penalty, [DY, X, C, *P])

    def agree(ours, theirs):
        theirs = theirs.detach().numpy()
        if theirs.ndim == 4:
            theirs = theirs.transpose((2, 3, 1, 0) if ours.shape == w.shape else (0, 2, 3, 1))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())

    for ours, theirs in zip((y, dx, dc), (Y, *first[:2]), strict=True):
        agree(ours, theirs)
    for ours, theirs in zip((ddy, ddx, ddc), of_penalty[:3], strict=True):
        agree(ours, theirs)
    for (_, p), one, other in zip(layer.named_parameters(), first[2:], of_penalty[3:], strict=True):
        agree(grads[p], one)
        agree(second[p], other)
