"""What can be trained: networks, what else a step changes, and how all of it is saved and taken up again."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from minigan.backends import Array
from minigan.checkpoints.format import load_network, network_arrays, select
from minigan.errors import MiniganError
from minigan.nn.network import Sequential
from minigan.nn.optimizers import Optimizer
from minigan.support.representation import constructor_call
from minigan.training.fake_pool import FakePool

__all__ = ["Learner", "Values"]


class Values(Protocol):
    """What a step measured: a NamedTuple of scalar arrays."""

    def _asdict(self) -> dict[str, Array]: ...

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for, by names that people know."""


class Learner(ABC):
    """Networks that are trained together: `AlternatingOptimizer`, `VariationalAutoencoder`, `Supervised`.

    Attributes:
        G: draws the samples.
        n_critic: batches that a step takes.
    """

    G: Sequential
    n_critic: int = 1

    @property
    @abstractmethod
    def networks(self) -> Mapping[str, Sequential]:
        """All networks, by the names that their arrays have in a checkpoint."""

    @property
    @abstractmethod
    def optimizers(self) -> Mapping[str, Optimizer]:
        """All optimisers, each by the letter of its network."""

    @property
    def memories(self) -> Mapping[str, Optimizer | FakePool]:
        """What else than the networks a step changes, by the names that it has in a checkpoint."""
        return {f"{letter}_optimizer": optimizer for letter, optimizer in self.optimizers.items()}

    @abstractmethod
    def step(self, batches: Iterator[Any], rng: np.random.Generator) -> Values:
        """One update of each network.

        Args:
            batches: of the data.
            rng: of all that is random.
        Raises:
            DivergenceError: a number became NaN or infinite; the networks are as they were before the update.
        """

    def kind(self) -> Hashable | None:
        """What the course of the next step depends on beside what it is fed: steps of one kind do the same.

        None, if that cannot be told, as where the host looks at what the device has computed: then a backend that
        replays steps does this one anew.
        """
        return None

    @abstractmethod
    def inputs(self, batch: Any, rng: np.random.Generator) -> Sequence[tuple[Sequential, Array]]:
        """Each network, and what it is given in a step on that batch: for checking gradients."""

    def rates(self) -> dict[str, float]:
        """The learning rates of the next step, by the names that a log has for them."""
        return {f"{letter}_lr": optimizer.lr for letter, optimizer in self.optimizers.items()}

    def __repr__(self) -> str:
        parts = [*self.networks, *(f"{letter}_optimizer" for letter in self.optimizers), "optimizer", "noise"]
        letters = dict(zip(self.networks.values(), self.networks, strict=True))
        lines = [constructor_call(self, leave_out=parts)]
        for optimizer in self.optimizers.values():
            network = next(net for net in letters if net.arena is optimizer.arena)
            lines.append(f"  {letters[network]}: {network.title()}; {optimizer.title()}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, np.ndarray]:
        """Everything that training has changed, in host memory, by name."""
        arrays: dict[str, np.ndarray] = {}
        for prefix, network in self.networks.items():
            arrays |= network_arrays(network, prefix)
        for prefix, memory in self.memories.items():
            arrays |= {f"{prefix}.{name}": array for name, array in memory.to_dict().items()}
        return arrays

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = "the arrays") -> None:
        """Goes back to what `to_dict` gave.

        Args:
            source: where the arrays are from, for error messages.
        Raises:
            CheckpointError, ShapeError, DTypeError: the arrays are of other networks. Nothing is overwritten.
        """
        before = self.to_dict()
        try:
            self._overwrite(arrays, source)
        except MiniganError:
            self._overwrite(before, source)
            raise

    def _overwrite(self, arrays: Mapping[str, np.ndarray], source: str) -> None:
        for prefix, network in self.networks.items():
            load_network(network, arrays, prefix, source=source)
        for prefix, memory in self.memories.items():
            memory.load_dict(select(arrays, prefix), source=source)
