"""Optimisers: one pass over a network's flat arena of weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from minigan.backends import Array, Number
from minigan.errors import CheckpointError, ConfigError
from minigan.nn.parameters import Arena, Gradients
from minigan.nn.schedules import Schedule, as_schedule

__all__ = ["SGD", "Adam", "AdamW", "Clipping", "Optimizer", "RMSprop", "by_kernels"]


@dataclass(frozen=True)
class Clipping:
    """The limits that a step keeps; infinity is none.

    Args:
        norm: of all gradients of the network together (Pascanu et al. 2013, algorithm 1).
        value: of each gradient.
        weights: of each weight after the step: the original WGAN's critic (Arjovsky et al. 2017, algorithm 1).
    """

    norm: float = math.inf
    value: float = math.inf
    weights: float = math.inf

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if not limit > 0:
                raise ConfigError(f"Clipping: {name} must be positive, got {limit}. Leave it out for no limit.")


NO_CLIPPING = Clipping()

Update = TypeVar("Update", bound=Callable[..., None])


def by_kernels(*names: str) -> Callable[[Update], Update]:
    """Marks an optimiser's `_update` in which only these kernels of the backend change weights and buffers.

    On a GPU nobody waits to see whether a step's numbers are finite: a guard undoes the step if they are not. For that
    weights and buffers are copied before the update, unless its kernels are known, and look at the guard themselves.
    So an `_update` without this mark is as safe, and somewhat slower there. A subclass that overrides `_update` loses
    the mark.
    """

    def marked(update: Update) -> Update:
        update.kernels = names  # type: ignore[attr-defined]
        return update

    return marked


class Optimizer(ABC):
    """Updates the weights of one arena.

    Args:
        lr: the rate, or a schedule.
        clipping: of the gradients, in place, before the update, and of the weights after it.

    Attributes:
        steps: how many steps were done.
        buffers: flat arrays of the arena's size, by name: what the optimiser remembers.
    """

    def __init__(self, arena: Arena, *, lr: float | Schedule, clipping: Clipping = NO_CLIPPING) -> None:
        if not isinstance(arena, Arena):
            raise ConfigError(f"{type(self).__name__}: expected a network's arena, got {type(arena)}. Pass net.arena.")
        self.arena = arena
        self.schedule = as_schedule(lr)
        self.clipping = clipping
        self.steps = 0
        self.buffers: dict[str, Array] = {}

    @property
    def lr(self) -> float:
        """The rate of the next step."""
        return self.schedule(self.steps)

    def step(self, grads: Gradients) -> None:
        """One update with the given gradients; tapes made before it are stale afterwards.

        Raises:
            ConfigError: the gradients are of another network.
        """
        if grads.arena is not self.arena:
            raise ConfigError(
                f"{type(self).__name__}: these gradients are of another network. Use the gradients() of the network "
                "whose arena this optimizer updates."
            )
        backend = self.arena.backend
        lr, step = backend.numbers(lambda: (self.lr, self.steps + 1))
        self._clip(grads.flat, norm=self.clipping.norm, value=self.clipping.value)
        kernels: tuple[str, ...] = getattr(self._update, "kernels", ())
        if kernels and self.clipping.weights < math.inf:
            kernels = (*kernels, "clip_value")
        with backend.optimising(self.arena.flat, *self.buffers.values(), kernels=kernels):
            self._update(grads.flat, lr, step)
            self._clip(self.arena.flat, value=self.clipping.weights)
        backend.each_step(self._count)

    def _count(self) -> None:
        self.steps += 1
        self.arena.updated()

    def _clip(self, flat: Array, *, value: float, norm: float = math.inf) -> None:
        if value < math.inf:
            self.arena.backend.clip_value(flat, limit=value)
        if norm < math.inf:
            self.arena.backend.clip_norm(flat, limit=norm)

    @abstractmethod
    def _update(self, dw: Array, lr: Number, step: Number) -> None:
        """Changes the arena's weights and the buffers in place; `step` counts from 1. See `by_kernels`."""

    def to_dict(self) -> dict[str, np.ndarray]:
        """What the optimiser remembers, in host memory."""
        to_numpy = self.arena.backend.to_numpy
        arrays = {name: np.array(to_numpy(buffer)) for name, buffer in self.buffers.items()}
        return arrays | {"steps": np.array([self.steps], np.int64)}

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Overwrites what the optimiser remembers with what `to_dict` gave.

        Raises:
            CheckpointError: the arrays are of another optimiser or network. Nothing is overwritten.
        """
        expected = {name: (buffer.shape, buffer.dtype) for name, buffer in self.buffers.items()}
        expected["steps"] = ((1,), np.dtype(np.int64))
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if found != expected:
            raise CheckpointError(
                f"{source}: expected the state of {type(self).__name__} for this network, {expected}, got {found}."
            )
        for name, buffer in self.buffers.items():
            buffer[...] = self.arena.backend.asarray(arrays[name])
        self.steps = int(arrays["steps"][0])


class Adam(Optimizer):
    """Adam with bias correction. Source: Kingma & Ba 2015, algorithm 1.

    Args:
        beta1, beta2: decay of the first and second moment; GANs use β1 = .5 (Radford et al. 2016, section 4).
        eps: added to the root of the corrected second moment.
    """

    weight_decay = 0.0

    def __init__(
        self,
        arena: Arena,
        *,
        lr: float | Schedule,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        clipping: Clipping = NO_CLIPPING,
    ) -> None:
        super().__init__(arena, lr=lr, clipping=clipping)
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1 and eps > 0):
            raise ConfigError(
                f"{type(self).__name__}: expected 0 <= beta < 1 and eps > 0, got {beta1=}, {beta2=}, {eps=}."
            )
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.buffers = {"m": arena.zeros_like(), "v": arena.zeros_like()}

    @by_kernels("adam_step")
    def _update(self, dw: Array, lr: Number, step: Number) -> None:
        self.arena.backend.adam_step(
            self.arena.flat,
            dw,
            self.buffers["m"],
            self.buffers["v"],
            lr=lr,
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps,
            step=step,
            weight_decay=self.weight_decay,
        )


class AdamW(Adam):
    """Adam whose weight decay stays out of the moments. Source: Loshchilov & Hutter 2019, algorithm 2.

    Args:
        weight_decay: w shrinks by lr * weight_decay of itself a step, whatever its gradient; of all weights alike.
    """

    def __init__(
        self,
        arena: Arena,
        *,
        lr: float | Schedule,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clipping: Clipping = NO_CLIPPING,
    ) -> None:
        super().__init__(arena, lr=lr, beta1=beta1, beta2=beta2, eps=eps, clipping=clipping)
        if not 0 <= weight_decay < math.inf:
            raise ConfigError(f"AdamW: expected weight_decay from 0 up, got {weight_decay}.")
        self.weight_decay = weight_decay


class SGD(Optimizer):
    """Gradient descent with momentum. Source: Sutskever et al. 2013, section 2.

    Args:
        momentum: 0 is plain gradient descent.
    """

    def __init__(
        self, arena: Arena, *, lr: float | Schedule, momentum: float = 0.0, clipping: Clipping = NO_CLIPPING
    ) -> None:
        super().__init__(arena, lr=lr, clipping=clipping)
        if not 0 <= momentum < 1:
            raise ConfigError(f"SGD: expected 0 <= momentum < 1, got {momentum}.")
        self.momentum = momentum
        self.buffers = {"velocity": arena.zeros_like()}

    @by_kernels("sgd_step")
    def _update(self, dw: Array, lr: Number, step: Number) -> None:  # noqa: ARG002
        self.arena.backend.sgd_step(self.arena.flat, dw, self.buffers["velocity"], lr=lr, momentum=self.momentum)


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square: without momentum, the original WGAN's choice.

    Source: Tieleman & Hinton 2012, lecture 6.5; for the critic of a WGAN Arjovsky et al. 2017, section 4.1.

    Args:
        decay: of the mean square; PyTorch's alpha.
        eps: added to the root.
    """

    def __init__(
        self,
        arena: Arena,
        *,
        lr: float | Schedule,
        decay: float = 0.99,
        eps: float = 1e-8,
        clipping: Clipping = NO_CLIPPING,
    ) -> None:
        super().__init__(arena, lr=lr, clipping=clipping)
        if not (0 <= decay < 1 and eps > 0):
            raise ConfigError(f"RMSprop: expected 0 <= decay < 1 and eps > 0, got {decay=}, {eps=}.")
        self.decay, self.eps = decay, eps
        self.buffers = {"square": arena.zeros_like()}

    @by_kernels("rmsprop_step")
    def _update(self, dw: Array, lr: Number, step: Number) -> None:  # noqa: ARG002
        square = self.buffers["square"]
        self.arena.backend.rmsprop_step(self.arena.flat, dw, square, lr=lr, decay=self.decay, eps=self.eps)
