"""Settings of the optimizers, which all recipes share, and the optimizers made from them."""

import math
from abc import ABC
from dataclasses import dataclass, replace

from minigan.errors import ConfigError
from minigan.nn.optimizers import SGD, Adam, AdamW, Clipping, Optimizer, RMSprop
from minigan.nn.parameters import Arena
from minigan.nn.schedules import Constant, CosineDecay, ExponentialDecay, LinearDecay, Schedule
from minigan.recipes.bases.settings import OPTIMIZERS, SCHEDULES, Settings


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Settings, ABC):
    """An optimizer, its learning rate over time, and its clipping.

    Settings:
        steps: number of steps in the whole training.
        optimizer: adam, adamw, sgd or rmsprop.
        lr: learning rate.
        beta1: decay of the first moment, for adam and adamw.
        beta2: decay of the second moment, for adam and adamw.
        weight_decay: decay of the weights, for adamw.
        momentum: decay of the velocity, for sgd.
        rms_decay: decay of the mean square, for rmsprop.
        schedule: learning rate over time: constant, linear, exponential or cosine.
        decay_from: step at which linear and cosine begin to fall; -1 is half-way to their end.
        decay_until: step at which they reach 0; 0 is the last step, also in a run that is resumed for more steps.
        decay_factor: factor by which exponential changes the rate over decay_every steps.
        decay_every: number of steps over which exponential applies decay_factor once.
        clip_norm: limit of the norm of a network's gradients; 0 is none.
        clip_value: limit of each gradient's absolute value; 0 is none.
    """

    steps: int = 2000
    optimizer: str = "adam"
    lr: float = 2e-4
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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("optimizer", OPTIMIZERS)
        self.check_choice("schedule", SCHEDULES)
        self.check_positive("steps", "lr", "decay_factor", "decay_every")
        self.check_from_zero("weight_decay", "decay_until", "clip_norm", "clip_value")
        if self.decay_from < 0 and self.decay_from != -1:
            raise ConfigError(
                f"{self.name}: decay_from must be a step from 0 up, or -1 for half-way, got decay_from="
                f"{self.decay_from}."
            )
        self.check_share("beta1", "beta2", "momentum", "rms_decay")
        if self.schedule in ("linear", "cosine") and not self._decay_start < self._decay_end:
            raise ConfigError(
                f"{self.name}: decay_from must be below decay_until (0 is the last step), got decay_from="
                f"{self.decay_from}, decay_until={self.decay_until}, steps={self.steps}."
            )

    def make_optimizer(
        self, arena: Arena, *, lr: float, updates_per_step: int = 1, limit: float = math.inf
    ) -> Optimizer:
        """The optimizer of a network's weights.

        Args:
            arena: the weights.
            lr: initial learning rate.
            updates_per_step: number of its updates in a step as the settings count them.
            limit: largest absolute value of a weight.
        """
        rate = self.rate_schedule(lr, updates_per_step)
        clipping = Clipping(self.clip_norm or math.inf, self.clip_value or math.inf, weights=limit)
        match self.optimizer:
            case "sgd":
                return SGD(arena, lr=rate, momentum=self.momentum, clipping=clipping)
            case "rmsprop":
                return RMSprop(arena, lr=rate, decay=self.rms_decay, clipping=clipping)
            case "adamw":
                return AdamW(
                    arena,
                    lr=rate,
                    beta1=self.beta1,
                    beta2=self.beta2,
                    weight_decay=self.weight_decay,
                    clipping=clipping,
                )
            case _:
                return Adam(arena, lr=rate, beta1=self.beta1, beta2=self.beta2, clipping=clipping)

    def rate_schedule(self, rate: float, per_step: int) -> Schedule:
        """Learning rate over the optimizer's own updates."""
        start, end = self._decay_start * per_step, self._decay_end * per_step
        match self.schedule:
            case "linear":
                return LinearDecay(rate, start, end)
            case "cosine":
                return CosineDecay(rate, start, end)
            case "exponential":
                return ExponentialDecay(rate, self.decay_factor, every=self.decay_every * per_step)
            case _:
                return Constant(rate)

    def schedule_before(self, schedule: Schedule, *, steps: int) -> Schedule:
        """The schedule of one of these settings' optimizers as it was when the whole training had that many steps."""
        if self.decay_until or not isinstance(schedule, LinearDecay | CosineDecay):
            return schedule
        per_step = schedule.end // self.steps
        start = schedule.start if self.decay_from >= 0 else steps // 2 * per_step
        return replace(schedule, start=start, end=per_step * steps)

    @property
    def _decay_start(self) -> int:
        return self.decay_from if self.decay_from >= 0 else self._decay_end // 2

    @property
    def _decay_end(self) -> int:
        return self.decay_until or self.steps
