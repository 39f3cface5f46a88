"""Optimizers: one pass over a network's flat arena of weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minigan.backends import Array, Number
from minigan.errors import CheckpointError, ConfigError
from minigan.nn.parameters import Arena, Gradients
from minigan.nn.schedules import Constant, Schedule, as_schedule
from minigan.support.arguments import instance, kind_of, number
from minigan.support.representation import brief, constructor_call

__all__ = ["SGD", "Adam", "AdamW", "Clipping", "Optimizer", "RMSprop", "by_kernels", "expect_optimizer"]


@dataclass(frozen=True)
class Clipping:
    """Limits of an optimizer's step; infinity is no limit.

    Args:
        norm: the largest norm of all gradients of the network together (Pascanu et al. 2013, algorithm 1).
        value: the largest size of each gradient.
        weights: the largest size of each weight after the step, as in the original WGAN's critic (Arjovsky et al.
            2017, algorithm 1).
    """

    norm: float = math.inf
    value: float = math.inf
    weights: float = math.inf

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if limit != math.inf:
                number(limit, name, of="Clipping", above=0, remedy="Leave it out for no limit.")

    def __repr__(self) -> str:
        return constructor_call(self)


NO_CLIPPING = Clipping()

Update = TypeVar("Update", bound=Callable[..., None])


def by_kernels(*names: str) -> Callable[[Update], Update]:
    """Marks an optimizer's `_update` in which only these kernels of the backend change weights and buffers.

    On a GPU the host does not wait to see whether a step's numbers are finite: a guard undoes the step if they are not.
    For this, weights and buffers are copied before the update, unless its kernels are known and check the guard
    themselves. An `_update` without this mark is as safe, but somewhat slower. A subclass that overrides `_update`
    loses the mark.
    """

    def marked(update: Update) -> Update:
        update.kernels = names  # type: ignore[attr-defined]
        return update

    return marked


class Optimizer(ABC):
    """Updates the weights of one arena.

    Args:
        arena: a built network's: `net.arena`.
        lr: the learning rate, or a schedule.
        clipping: limits of the gradients, in place, before the update, and of the weights after it.

    Attributes:
        steps: the number of steps done.
        buffers: the optimizer's memory, flat arrays like the arena's, by name.
        is_updating: whether a step has begun and is not done. It stays True after an error in the step: weights and
            buffers may then be those of no step.
    """

    def __init__(self, arena: Arena, *, lr: float | Schedule, clipping: Clipping = NO_CLIPPING) -> None:
        name = type(self).__name__
        if not isinstance(arena, Arena):
            raise ConfigError(f"{name}: expected a network's arena, got {kind_of(arena)}. {_arena_remedy(arena)}")
        if not isinstance(clipping, Clipping):
            raise ConfigError(
                f"{name}: clipping must be a Clipping, got {kind_of(clipping)}. Write clipping=Clipping(norm=1.0)."
            )
        self.arena = arena
        self.schedule = as_schedule(lr)
        self.clipping = clipping
        self.steps = 0
        self.is_updating = False
        self.buffers: dict[str, Array] = {}

    def __repr__(self) -> str:
        return f"{self.title()}, of {self.arena.contents()}"

    def title(self) -> str:
        """The settings, and the number of steps done."""
        settings = constructor_call(self, leave_out=("arena",))
        done = "1 step" if self.steps == 1 else f"{self.steps:,} steps"
        schedule = "" if isinstance(self.schedule, Constant) else f", lr by {brief(self.schedule)}"
        return f"{settings}, {done} done{schedule}"

    @property
    def lr(self) -> float:
        """The rate of the next step."""
        return self.schedule(self.steps)

    def step(self, grads: Gradients) -> None:
        """One update with the given gradients; tapes made before it are stale afterwards.

        Raises:
            ConfigError: the gradients are of another network.
        """
        if not isinstance(grads, Gradients):
            raise ConfigError(
                f"{type(self).__name__}: expected gradients, got {kind_of(grads)}. Pass those that backward(..., "
                "grads=grads) added to: grads = net.gradients()."
            )
        if grads.arena is not self.arena:
            raise ConfigError(
                f"{type(self).__name__}: these gradients are of another network, or the network was built again. "
                "Use the gradients() of the network whose arena this optimizer updates."
            )
        backend = self.arena.backend
        lr, step = backend.numbers(lambda: (self.lr, self.steps + 1))
        self._clip(grads.flat, norm=self.clipping.norm, value=self.clipping.value)
        kernels: tuple[str, ...] = getattr(self._update, "kernels", ())
        if kernels and self.clipping.weights < math.inf:
            kernels = (*kernels, "clip_value")
        self.is_updating = True
        with backend.optimizing(self.arena.flat, *self.buffers.values(), kernels=kernels):
            self._update(grads.flat, lr, step)
            self._clip(self.arena.flat, value=self.clipping.weights)
        backend.each_step(self._count)
        self.is_updating = False

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
        """The optimizer's memory, copied to the host."""
        to_numpy = self.arena.backend.to_numpy
        arrays = {name: np.array(to_numpy(buffer)) for name, buffer in self.buffers.items()}
        return arrays | {"steps": np.array([self.steps], np.int64)}

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Overwrites the optimizer's memory with an earlier `to_dict`.

        Raises:
            CheckpointError: the arrays are of another optimizer or network. Nothing is overwritten.
        """
        expected = {**self.buffers, "steps": np.zeros(1, np.int64)}
        if _kinds(arrays) != _kinds(expected):
            raise CheckpointError(
                f"{source}: expected the state of {type(self).__name__} for this network, {_listing(expected)}, got "
                f"{_listing(arrays)}. Name the optimizer that was saved, and build the network as it was."
            )
        for name, buffer in self.buffers.items():
            buffer[...] = self.arena.backend.asarray(arrays[name])
        self.steps = int(arrays["steps"][0])


class Adam(Optimizer):
    """Adam with bias correction. Source: Kingma & Ba 2015, algorithm 1.

    Args:
        beta1, beta2: the decay of the first and second moment; GANs use β1 = .5 (Radford et al. 2016, section 4). β2
            may be a schedule; the bias is corrected as if it had always been what it is.
        eps: added to the root of the corrected second moment.
    """

    weight_decay: float = 0.0

    def __init__(
        self,
        arena: Arena,
        *,
        lr: float | Schedule,
        beta1: float = 0.9,
        beta2: float | Schedule = 0.999,
        eps: float = 1e-8,
        clipping: Clipping = NO_CLIPPING,
    ) -> None:
        super().__init__(arena, lr=lr, clipping=clipping)
        name = type(self).__name__
        self.beta1 = number(beta1, "beta1", of=name, least=0, below=1)
        scheduled = callable(beta2) and not isinstance(beta2, type)
        self.beta2 = beta2 if scheduled else number(beta2, "beta2", of=name, least=0, below=1)
        self.eps = number(eps, "eps", of=name, above=0)
        self.buffers = {"m": arena.zeros_like(), "v": arena.zeros_like()}

    def beta2_at(self, step: int) -> float:
        """β2 of the step that follows so many others."""
        return self.beta2(step) if callable(self.beta2) else self.beta2

    @by_kernels("adam_step")
    def _update(self, dw: Array, lr: Number, step: Number) -> None:
        backend = self.arena.backend
        beta2: Number
        if callable(self.beta2):
            (beta2,) = backend.numbers(lambda: (self.beta2_at(self.steps),))
        else:
            beta2 = self.beta2
        backend.adam_step(
            self.arena.flat,
            dw,
            self.buffers["m"],
            self.buffers["v"],
            lr=lr,
            beta1=self.beta1,
            beta2=beta2,
            eps=self.eps,
            step=step,
            weight_decay=self.weight_decay,
        )


class AdamW(Adam):
    """Adam whose weight decay stays out of the moments. Source: Loshchilov & Hutter 2019, algorithm 2.

    Args:
        weight_decay: every weight shrinks by lr * weight_decay of itself a step, whatever its gradient.
    """

    def __init__(
        self,
        arena: Arena,
        *,
        lr: float | Schedule,
        beta1: float = 0.9,
        beta2: float | Schedule = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clipping: Clipping = NO_CLIPPING,
    ) -> None:
        super().__init__(arena, lr=lr, beta1=beta1, beta2=beta2, eps=eps, clipping=clipping)
        self.weight_decay = number(weight_decay, "weight_decay", of="AdamW", least=0)


class SGD(Optimizer):
    """Gradient descent with momentum. Source: Sutskever et al. 2013, section 2.

    Args:
        momentum: 0 is plain gradient descent.
    """

    def __init__(
        self, arena: Arena, *, lr: float | Schedule, momentum: float = 0.0, clipping: Clipping = NO_CLIPPING
    ) -> None:
        super().__init__(arena, lr=lr, clipping=clipping)
        self.momentum = number(momentum, "momentum", of="SGD", least=0, below=1)
        self.buffers = {"velocity": arena.zeros_like()}

    @by_kernels("sgd_step")
    def _update(self, dw: Array, lr: Number, step: Number) -> None:  # noqa: ARG002
        self.arena.backend.sgd_step(self.arena.flat, dw, self.buffers["velocity"], lr=lr, momentum=self.momentum)


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square: without momentum, the original WGAN's choice.

    Source: Tieleman & Hinton 2012, lecture 6.5; for the critic of a WGAN Arjovsky et al. 2017, section 4.1.

    Args:
        decay: the decay of the mean square; PyTorch's alpha.
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
        self.decay = number(decay, "decay", of="RMSprop", least=0, below=1)
        self.eps = number(eps, "eps", of="RMSprop", above=0)
        self.buffers = {"square": arena.zeros_like()}

    @by_kernels("rmsprop_step")
    def _update(self, dw: Array, lr: Number, step: Number) -> None:  # noqa: ARG002
        square = self.buffers["square"]
        self.arena.backend.rmsprop_step(self.arena.flat, dw, square, lr=lr, decay=self.decay, eps=self.eps)


def expect_optimizer(value: Any, name: str, *, network: str) -> Optimizer:
    """The value, if it is an optimizer.

    Args:
        name: the argument's.
        network: the name of the network whose arena it is to update.
    Raises:
        ConfigError: it is a name, a class or something else.
    """
    kind = value.__name__ if isinstance(value, type) and issubclass(value, Optimizer) else "Adam"
    example = f"{kind}({network}.arena, lr=2e-4)"
    optimizer: Optimizer = instance(value, Optimizer, name, a="an optimizer", example=example)
    return optimizer


def _kinds(arrays: Mapping[str, Array]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _listing(arrays: Mapping[str, Array]) -> str:
    """The names of arrays with their kinds, the first few: `m <float32 (80,)>, v <float32 (80,)>`."""
    shown = [f"{name} {brief(array)}" for name, array in arrays.items()]
    more = [f"{len(shown) - 3} more"] if len(shown) > 4 else []
    return ", ".join([*shown[: 3 if more else 4], *more]) or "nothing"


def _arena_remedy(found: Any) -> str:
    unbuilt = not getattr(found, "is_built", True)  # a network
    return "Build it, and pass net.arena." if unbuilt else "Pass net.arena."
