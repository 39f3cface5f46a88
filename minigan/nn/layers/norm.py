"""Normalization over the batch, and within each example."""

from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ShapeError
from minigan.nn.initializers import Constant, Initializer, expect_initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import flag, number, whole


class BatchNormCache(NamedTuple):
    x: Array  # by reference
    mean: Array  # (C,): the batch's in training, a copy of the running ones otherwise
    var: Array
    train: bool


class BatchNorm(Layer):
    """Batch normalization: y = gamma * (x - mean) / sqrt(var + eps) + beta, for each channel, over N, H and W.

    In training mean and var are the batch's, and the gradient flows through them. In evaluation they are the running
    ones, which are constants, so the backward pass differs. `forward` never updates the running statistics;
    `commit_statistics` does. So D can see real and fake as separate batches, and the trainer decides which count.

    Source: Ioffe & Szegedy 2015; section 3.2 for images.

    Args:
        momentum: running <- momentum * running + (1 - momentum) * batch, with the unbiased variance; PyTorch's
            momentum is 1 - momentum.
        eps: added to the variance.
        gamma_init: the initializer of gamma, (C,); DCGAN's is N(1, .02).
    """

    narrow: ClassVar[bool] = True

    gamma: Parameter
    beta: Parameter
    running_mean: Parameter
    running_var: Parameter

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        eps: float = 1e-5,
        gamma_init: Initializer = Constant(1),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        self.momentum = number(momentum, "momentum", of=self.path, least=0, below=1)
        self.eps = number(eps, "eps", of=self.path, above=0)
        self.gamma_init = expect_initializer(gamma_init, "gamma_init", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        channels = input_shape[-1:]
        self.gamma = self.add_parameter("gamma", channels, self.gamma_init)
        self.beta = self.add_parameter("beta", channels, Constant(0))
        self.running_mean = self.add_state("running_mean", channels, Constant(0))
        self.running_var = self.add_state("running_var", channels, Constant(1))
        return input_shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, BatchNormCache]:
        gamma, beta = self.gamma.value, self.beta.value
        if train:
            self.expect_variance(x)
            y, mean, var = self.kernels.batchnorm(x, gamma, beta, eps=self.eps)
        else:
            mean, var = self.running_statistics()
            y = self.kernels.batchnorm_frozen(x, gamma, beta, mean, var, eps=self.eps)
        return y, BatchNormCache(x, mean, var, train)

    def running_statistics(self) -> tuple[Array, Array]:
        """Copies of the running mean and variance, for the tape: the originals change later."""
        return self.running_mean.value.copy(), self.running_var.value.copy()

    def expect_variance(self, x: Array) -> None:
        """Refuses a batch of one value a channel, which has no variance."""
        if x.size * self.kernels.ranks.size == x.shape[-1]:
            raise ShapeError(
                f"{self.path}: training needs more than one value a channel, got x {x.shape}, whose "
                "variance is zero. Use a larger batch."
            )

    def backward(
        self, dy: Array, cache: BatchNormCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        if grads is None and not need_dx:
            return None
        x, mean, var, train = cache
        kernel = self.kernels.batchnorm_grad if train else self.kernels.batchnorm_frozen_grad
        add_to = (grads[self.gamma], grads[self.beta]) if grads is not None else None
        return kernel(dy, x, self.gamma.value, mean, var, eps=self.eps, add_to=add_to, need_dx=need_dx)

    def double_backward(
        self, v: Array, record: Array, cache: BatchNormCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        x, mean, var, train = cache
        add_to = grads[self.gamma] if grads is not None else None
        if train:
            return self.kernels.batchnorm_double_grad(
                v, record, x, self.gamma.value, mean, var, eps=self.eps, add_to=add_to
            )
        inv_std = (var + self.eps) ** -0.5
        wide = self.kernels.cast(v, self.dtype)
        if add_to is not None:
            self.kernels.channel_sum(wide * self.kernels.cast(record, self.dtype) * inv_std, add_to=add_to)
        return self.kernels.cast(wide * (self.gamma.value * inv_std), v.dtype), None

    def commit_statistics(self, cache: BatchNormCache) -> None:
        if not cache.train:
            return
        count = self.kernels.ranks.size * cache.x.size // cache.x.shape[-1]
        running = self.running_mean.value, self.running_var.value
        self.kernels.move_statistics(running, (cache.mean, cache.var), momentum=self.momentum, count=count)

    @property
    def own_flops(self) -> int:
        return 2 * int(np.prod(self.output_shape))


class GroupNormCache(NamedTuple):
    x: Array  # by reference
    mean: Array  # (N, groups)
    var: Array


class GroupNorm(Layer):
    """Group normalization: y = gamma * (x - mean) / sqrt(var + eps) + beta, over H, W and the channels of a group.

    No example sees another. So training and evaluation are the same, a batch may have one example, and a critic with a
    gradient penalty may use it, where BatchNorm would break the penalty (Gulrajani et al. 2017, section 4).

    Source: Wu & He 2018, section 3.

    Args:
        groups: the number of groups of neighboring channels; divides the number of channels.
        eps: added to the variance.
        gamma_init: the initializer of gamma, (C,).
    """

    narrow: ClassVar[bool] = True

    separable: ClassVar[bool] = True
    gamma: Parameter
    beta: Parameter

    def __init__(
        self,
        groups: int = 32,
        *,
        eps: float = 1e-5,
        gamma_init: Initializer = Constant(1),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        self.groups = whole(groups, "groups", of=self.path)
        self.eps = number(eps, "eps", of=self.path, above=0)
        self.gamma_init = expect_initializer(gamma_init, "gamma_init", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        channels = input_shape[-1]
        if channels % self.groups:
            raise ShapeError(
                f"{self.path}: {self.groups} groups do not divide the {channels} channels of {input_shape}. "
                "Choose a number of groups that does."
            )
        if np.prod(input_shape) == self.groups:
            raise ShapeError(
                f"{self.path}: expected more than one number in a group, whose variance is zero otherwise, got "
                f"{self.groups} groups of {input_shape}. Use fewer groups, or BatchNorm."
            )
        self.declare_affine(channels)
        return input_shape

    def declare_affine(self, channels: int) -> None:
        """Declares gamma and beta."""
        self.gamma = self.add_parameter("gamma", (channels,), self.gamma_init)
        self.beta = self.add_parameter("beta", (channels,), Constant(0))

    def sums(self, grads: Gradients | None) -> tuple[Array, Array] | None:
        """The destinations of dgamma and dbeta; None if they are not wanted."""
        return (grads[self.gamma], grads[self.beta]) if grads is not None else None

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, GroupNormCache]:
        y, mean, var = self.kernels.group_norm(x, self.gamma.value, self.beta.value, groups=self.groups, eps=self.eps)
        return y, GroupNormCache(x, mean, var)

    def backward(
        self, dy: Array, cache: GroupNormCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        add_to = self.sums(grads)
        if add_to is None and not need_dx:
            return None
        return self.kernels.group_norm_grad(
            dy, cache.x, self.gamma.value, cache.mean, cache.var, eps=self.eps, add_to=add_to, need_dx=need_dx
        )

    def double_backward(
        self, v: Array, record: Array, cache: GroupNormCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        sums = self.sums(grads)
        add_to = None if sums is None else sums[0]
        return self.kernels.group_norm_double_grad(
            v, record, cache.x, self.gamma.value, cache.mean, cache.var, eps=self.eps, add_to=add_to
        )

    @property
    def own_flops(self) -> int:
        return 2 * int(np.prod(self.output_shape))

    def describe(self) -> str:
        return f"{type(self).__name__} {self.groups}"


class LayerNorm(GroupNorm):
    """Layer normalization: each example as a whole is one group. gamma and beta have a number for each channel.

    Source: Ba et al. 2016, equation 3 with the summed inputs of one layer; for images as in WGAN-GP's critic.
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __init__(
        self,
        *,
        eps: float = 1e-5,
        gamma_init: Initializer = Constant(1),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(1, eps=eps, gamma_init=gamma_init)

    def describe(self) -> str:
        return "LayerNorm"


class InstanceNorm(GroupNorm):
    """Instance normalization: each channel of each image is a group, normalized over H and W.

    Source: Ulyanov et al. 2016, equation 3; used in generators from image to image, such as CycleGAN's.

    Args:
        eps, gamma_init: see `GroupNorm`.
        affine: learn gamma and beta; False leaves them out, as in CycleGAN: they are 1 and 0.
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __init__(
        self,
        *,
        eps: float = 1e-5,
        gamma_init: Initializer = Constant(1),  # noqa: B008 (immutable)
        affine: bool = True,
    ) -> None:
        super().__init__(eps=eps, gamma_init=gamma_init)
        self.affine = flag(affine, "affine", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        _, _, self.groups = self.expect_image(input_shape)
        return super().infer(input_shape)

    def declare_affine(self, channels: int) -> None:
        if self.affine:
            super().declare_affine(channels)
            return
        self.gamma, self.beta = (
            Parameter("gamma", (channels,), Constant(1)),
            Parameter("beta", (channels,), Constant(0)),
        )

    def plan(self, *, fuse: bool) -> None:
        if not self.affine:  # constants in no arena
            for constant, value in ((self.gamma, 1), (self.beta, 0)):
                constant.value = self.kernels.asarray(np.full(constant.shape, value, self.dtype))

    def sums(self, grads: Gradients | None) -> tuple[Array, Array] | None:
        return super().sums(grads) if self.affine else None

    def describe(self) -> str:
        return "InstanceNorm"
