"""How a recipe's networks are optimised: the settings that all recipes share, and what they make."""

import math
from dataclasses import dataclass
from typing import ClassVar

from minigan.errors import ConfigError
from minigan.optim import SGD, Adam, AdamW, Clipping, Optimizer, RMSprop
from minigan.parameters import Arena
from minigan.schedules import Constant, CosineDecay, ExponentialDecay, LinearDecay, Schedule

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "linear", "exponential", "cosine")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The optimisers of G and D, their rates over time, and the limits that they keep.

    Settings:
        optimizer: adam, adamw, sgd or rmsprop, for G and for D.
        lr: the learning rate of both.
        g_lr, d_lr: a rate of G's or D's own (two time scales: Heusel et al. 2017); 0 is lr.
        beta1, beta2: of adam and adamw.
        weight_decay: of adamw.
        momentum: of sgd.
        rms_decay: of rmsprop's mean square.
        schedule: of the rates: constant, linear, exponential or cosine.
        decay_from: G's step from which on linear and cosine decay.
        decay_until: G's step at which they reach 0; 0 is the last step, also of a run that --steps makes longer.
        decay_factor, decay_every: exponential multiplies by the factor over so many of G's steps.
        clip_norm, clip_value: limits of a network's gradients, together and each; 0 is none.
        clip_weights: limit of D's weights, .01 in the original WGAN; 0 is none.
    """

    name: ClassVar[str]
    steps: int
    n_critic: int

    optimizer: str = "adam"
    lr: float = 2e-4
    g_lr: float = 0.0
    d_lr: float = 0.0
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 0.01
    momentum: float = 0.0
    rms_decay: float = 0.99
    schedule: str = "constant"
    decay_from: int = 0
    decay_until: int = 0
    decay_factor: float = 0.5
    decay_every: int = 10000
    clip_norm: float = 0.0
    clip_value: float = 0.0
    clip_weights: float = 0.0

    def check_optimizers(self) -> None:
        """Raises:
        ConfigError: a setting is out of range.
        """
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{self.name}: {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}."
                )
        for name in ("lr", "decay_factor", "decay_every"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{self.name}: {name} must be positive, got {getattr(self, name)}.")
        for name in ("g_lr", "d_lr", "weight_decay", "decay_from", "clip_norm", "clip_value", "clip_weights"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{self.name}: {name} must be a number from 0 up, got {getattr(self, name)}.")
        for name in ("beta1", "beta2", "momentum", "rms_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{self.name}: {name} must be in [0, 1), got {getattr(self, name)}.")
        if self.schedule in ("linear", "cosine") and not self.decay_from < self._decay_end:
            raise ConfigError(
                f"{self.name}: decay_from must be below decay_until (0 is the last step), got decay_from="
                f"{self.decay_from}, decay_until={self.decay_until}, steps={self.steps}."
            )

    def optimizers(self, G: Arena, D: Arena) -> tuple[Optimizer, Optimizer]:
        """Those of G and of D; D's takes n_critic steps for each of G's."""
        norm, value = self.clip_norm or math.inf, self.clip_value or math.inf
        return (
            self._optimizer(G, self._schedule(self.g_lr or self.lr, 1), Clipping(norm, value)),
            self._optimizer(
                D,
                self._schedule(self.d_lr or self.lr, self.n_critic),
                Clipping(norm, value, weights=self.clip_weights or math.inf),
            ),
        )

    def _optimizer(self, arena: Arena, lr: Schedule, clipping: Clipping) -> Optimizer:
        match self.optimizer:
            case "sgd":
                return SGD(arena, lr=lr, momentum=self.momentum, clipping=clipping)
            case "rmsprop":
                return RMSprop(arena, lr=lr, decay=self.rms_decay, clipping=clipping)
            case "adamw":
                return AdamW(
                    arena,
                    lr=lr,
                    beta1=self.beta1,
                    beta2=self.beta2,
                    weight_decay=self.weight_decay,
                    clipping=clipping,
                )
            case _:
                return Adam(arena, lr=lr, beta1=self.beta1, beta2=self.beta2, clipping=clipping)

    def _schedule(self, rate: float, per_step: int) -> Schedule:
        """The rate over an optimiser's own steps, of which there are so many for each of G's."""
        start, end = self.decay_from * per_step, self._decay_end * per_step
        match self.schedule:
            case "linear":
                return LinearDecay(rate, start, end)
            case "cosine":
                return CosineDecay(rate, start, end)
            case "exponential":
                return ExponentialDecay(rate, self.decay_factor, every=self.decay_every * per_step)
            case _:
                return Constant(rate)

    @property
    def _decay_end(self) -> int:
        return self.decay_until or self.steps
