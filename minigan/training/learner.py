"""Base of everything that can be trained: networks and optimizers, the guarded update, saving and restoring."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from minigan.backends import Array
from minigan.checkpoints.format import load_network, network_arrays, select
from minigan.errors import ConfigError, DivergenceError, MiniganError
from minigan.nn.network import Observer, Sequential, Tape
from minigan.nn.network.sequential import expect_network
from minigan.nn.optimizers import Optimizer, expect_optimizer
from minigan.support.arguments import whole
from minigan.support.representation import constructor_call
from minigan.training.divergence import FirstNonFinite, all_finite, is_finite, is_sound
from minigan.training.fake_pool import FakePool
from minigan.training.rank_means import mean_over_ranks

__all__ = ["Learner", "Losses", "Values", "short_names"]


class Values(Protocol):
    """Values measured in a step: a NamedTuple of scalar arrays."""

    def _asdict(self) -> dict[str, Array]: ...

    def headline(self) -> dict[str, Array]:
        """The values that a progress bar has room for, by names that people know."""


class Losses(Protocol):
    """The loss that an update minimizes."""

    def losses(self) -> Sequence[tuple[str, Array]]:
        """Its parts, each with its name in error messages: `"the loss of D's logits"`."""


def short_names(names: Iterable[str]) -> dict[str, str]:
    """The names of networks in the names of their optimizers and rates: `g_optimizer`, `g_lr` for G.

    The first letter in lower case, where no other name begins with it; else the whole name: `g_ab_lr` for G_AB.
    """
    letters = [name[0].lower() for name in names]
    return {name: name[0].lower() if letters.count(name[0].lower()) == 1 else name.lower() for name in names}


L = TypeVar("L", bound=Losses)
T = TypeVar("T")


class Learner(ABC):
    """Networks that are trained together: `AlternatingOptimizer`, `VariationalAutoencoder`, `Supervised`.

    Args:
        parts: each network, built, with its optimizer, by the network's name; its arrays in a checkpoint begin with it.
        generators: the names of the networks that draw samples; none given, those that begin with G, or the first.
        accumulate: batches whose mean gradient makes one update; a learner of your own needs not know of it.
    Attributes:
        generators: the names of the networks that draw samples.
        G: the first of them.
        n_critic: updates of D in a step; 1 in a learner without D.
        accumulate: see above.
        networks: all networks, by name.
        optimizers: all optimizers, by the short names of their networks, see `short_names`.
        grads: the gradients of each network in the last step, by the network's name.
    Raises:
        ConfigError: the networks differ in backend or dtype, or an optimizer updates another network's arena.
    """

    G: Sequential
    n_critic: int = 1

    def __init__(
        self,
        parts: Mapping[str, tuple[Sequential, Optimizer]],
        *,
        generators: Sequence[str] = (),
        accumulate: int = 1,
    ) -> None:
        self.accumulate = whole(accumulate, "accumulate")
        short = short_names(parts)
        for name, (network, optimizer) in parts.items():
            expect_network(network, name)
            argument = f"{short[name]}_optimizer" if len(parts) > 1 else "optimizer"
            expect_optimizer(optimizer, argument, network=name)
        self.networks = {name: network for name, (network, _) in parts.items()}
        self.optimizers = {short[name]: optimizer for name, (_, optimizer) in parts.items()}
        self.generators = tuple(generators) or tuple(name for name in parts if name[0] == "G") or tuple(parts)[:1]
        if unknown := [name for name in self.generators if name not in parts]:
            raise ConfigError(
                f"{type(self).__name__} has no network {unknown[0]!r} to draw samples: expected some of "
                f"{', '.join(parts)}. Name one of them in generators."
            )
        self.G = self.networks[self.generators[0]]
        self._short = short
        built = {f"{network.kernels.name} {network.dtype}" for network in self.networks.values()}
        if len(built) > 1:
            found = " and ".join(f"{n.path} with {n.kernels.name} {n.dtype}" for n in self.networks.values())
            raise ConfigError(
                f"{' and '.join(self.networks)} must be built with one backend and dtype, got {found}. Build "
                f"{'both' if len(self.networks) == 2 else 'all'} with the same backend=... and dtype=..."
            )
        for name, (network, optimizer) in parts.items():
            if optimizer.arena is not network.arena:
                raise ConfigError(
                    f"{name}'s optimizer must update {name}'s arena, got one of another network. Use "
                    f"{type(optimizer).__name__}({name}.arena, ...)."
                )
        self.grads = {name: network.gradients() for name, network in self.networks.items()}
        self._search: FirstNonFinite | None = None

    @property
    def batches_per_step(self) -> int:
        """The number of batches that a step takes."""
        return self.n_critic * self.accumulate

    @property
    def memories(self) -> Mapping[str, Optimizer | FakePool]:
        """Everything else that a step changes, by its name in a checkpoint."""
        return {f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()}

    def optimizer_of(self, name: str) -> Optimizer:
        """The optimizer of the network of that name."""
        return self.optimizers[self._short[name]]

    # ------------------------------------------------------------------------------------------ a step

    @abstractmethod
    def step(self, batches: Iterator[Any], rng: np.random.Generator) -> Values:
        """One update of each network.

        Args:
            batches: of the data; each learner says which shapes.
            rng: of everything random in the step.
        Raises:
            DivergenceError: a number became NaN or infinite; the networks are as they were before the update.
        """

    def kind(self) -> Hashable | None:
        """The kind of the next step: steps of equal kinds do the same computations on different inputs.

        A backend that captures steps replays the step of that kind. None: the next step cannot be replayed, for example
        because the host decides by numbers that the device has computed.
        """
        return None

    @abstractmethod
    def inputs(self, batch: Any, rng: np.random.Generator) -> Sequence[tuple[Sequential, Array]]:
        """Each network with its input in a step on that batch; for checking gradients."""

    def random_batch(self, n: int, rng: np.random.Generator) -> Any:
        """A batch of random numbers in the form that `step` takes, to see what a step does without any data.

        By default images (n, *G.output_shape); a learner whose batches have another form overrides it.
        """
        return rng.uniform(0.1, 0.9, (n, *self.G.output_shape)).astype(np.float32)

    def update(self, *names: str, gradients: Callable[[], L], rng: np.random.Generator) -> L:
        """One update of these networks: compute gradients, check them, then let the optimizers clip and step.

        The only place where a learner changes weights. On several ranks the gradients and values are the means of
        theirs, and so the same on each.

        Args:
            gradients: overwrites the networks' `grads`, and may commit running statistics; changes nothing else.
            rng: the generator that `gradients` draws from.
        Returns:
            The values that `gradients` returned, a NamedTuple; the means of all ranks'.
        Raises:
            DivergenceError: a value, a gradient or a running statistic is not finite; the networks are as before.
        """
        statistics = {name: self.networks[name].state.flat.copy() for name in names}
        values, search = self._attempt(gradients, rng)
        values = mean_over_ranks(self.G.kernels, [self.grads[name] for name in names], values)
        if not self._is_sound(names, values, statistics):
            raise self._diverged(names, values, statistics, search)
        for name in names:
            self.G.kernels.perform(partial(self.optimizer_of(name).step, self.grads[name]))
        return values

    def _is_sound(self, names: Sequence[str], values: Losses, statistics: Mapping[str, Array]) -> bool:
        """Whether the update may take place. On a device the guard decides, and restores the statistics itself."""
        _, parts = zip(*values.losses(), strict=True)
        total = sum(parts[1:], parts[0])
        sound = all(all_finite(total, self.grads[name], self.networks[name]) for name in names)
        for name in names:
            if (guard := self.G.kernels.guard) is not None and statistics[name].size:
                guard.keep(self.networks[name].state.flat, statistics[name])
        return sound

    def _diverged(
        self,
        names: Sequence[str],
        values: Losses,
        statistics: Mapping[str, Array],
        search: Callable[[], FirstNonFinite],
    ) -> DivergenceError:
        """Restores the statistics, and names the first number that is not finite."""
        networks = [self.networks[name] for name in names]
        wrong = [
            f"the running statistics of {network.path}" for network in networks if not is_finite(network.state.flat)
        ]
        self._restore(statistics)
        found = self._name(search(), values.losses()) or next(iter(wrong), f"a gradient of {' or '.join(names)}")
        self._restore(statistics)  # the search has changed them again
        return DivergenceError(f"{found} {'are' if found in wrong else 'is'} not finite.")

    def _name(self, found: FirstNonFinite, losses: Sequence[tuple[str, Array]] = ()) -> str | None:
        """Name of the first number that is not finite: on several ranks, of the one where it comes first."""
        of_ranks = self.G.kernels.ranks.gather([found.forward, found.place, found.first(losses)])
        names = [name for name, _, _ in sorted(of_ranks, key=lambda one: one[1])] + [first for _, _, first in of_ranks]
        return next((name for name in names if name is not None), None)

    def _restore(self, statistics: Mapping[str, Array]) -> None:
        for name, before in statistics.items():
            self.networks[name].state.flat[...] = before

    def checked_forward(self, network: Sequential, x: Array, rng: np.random.Generator) -> tuple[Array, Tape]:
        """A forward pass in training mode, whose output is checked before it is used.

        Args:
            network: one of the learner's, or a conditioned copy.
            x: (N, *network.input_shape), on the backend.
            rng: of dropout.
        Returns:
            The output (N, *network.output_shape), and the tape.
        Raises:
            DivergenceError: the output is not finite.
        """
        (y, tape), search = self._attempt(lambda: network.forward(x, train=True, rng=rng), rng)
        if network.kernels.ranks.any(not is_sound(y, network)):
            raise DivergenceError(f"{self._name(search()) or f'the output of {network.path}'} is not finite.")
        return y, tape

    def _attempt(self, compute: Callable[[], T], rng: np.random.Generator) -> tuple[T, Callable[[], FirstNonFinite]]:
        """The result, and a search for the first number that is not finite, which repeats it with the same draws.

        Args:
            compute: may draw from `rng`.
        """
        if (searching := self._search) is not None:
            searching.restart()
            return compute(), lambda: searching
        draws = rng.bit_generator.state

        def search() -> FirstNonFinite:
            rng.bit_generator.state = draws
            with self.searched() as found:
                compute()
            return found

        return compute(), search

    # ------------------------------------------------------------------------------------------ under observation

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Within this context the observer sees each pass of every network; see `Sequential.observed`."""
        with ExitStack() as stack:
            for network in self.networks.values():
                stack.enter_context(network.observed(observer))
            yield

    @property
    def is_observed(self) -> bool:
        """Whether an observer sees the networks' passes: then each step is computed, none is replayed."""
        return any(network.is_observed for network in self.networks.values())

    @contextmanager
    def searched(self) -> Iterator[FirstNonFinite]:
        """Within this context each number of a step is checked as it is computed.

        For a step that a backend repeats on the inputs that it has kept. Elsewhere, the part of a step that has failed
        is repeated.
        """
        self._search = FirstNonFinite()
        try:
            with self.observed(self._search):
                yield self._search
        finally:
            self._search = None

    # ------------------------------------------------------------------------------------------ its state

    def rates(self) -> dict[str, float]:
        """The learning rates of the next step, by their names in the log."""
        return {f"{name}_lr": optimizer.lr for name, optimizer in self.optimizers.items()}

    def measures(self) -> dict[str, float]:
        """Numbers for the log that are neither losses nor rates, by name; none by default. Waits for the device."""
        return {}

    def __repr__(self) -> str:
        parts = [*self.networks, *(f"{name}_optimizer" for name in self.optimizers), "optimizer", "noise"]
        letters = dict(zip(self.networks.values(), self.networks, strict=True))
        lines = [constructor_call(self, leave_out=parts)]
        for optimizer in self.optimizers.values():
            network = next((net for net in letters if net.arena is optimizer.arena), None)
            built = f"{letters[network]}: {network.title()}" if network else "a network that was built again since"
            lines.append(f"  {built}; {optimizer.title()}")
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
        """Restores the arrays that `to_dict` returned.

        Args:
            source: where the arrays are from, for error messages.
        Raises:
            CheckpointError, ShapeError, DTypeError: the arrays belong to other networks. Nothing is overwritten.
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
