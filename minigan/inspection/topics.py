"""Everything that can be explained, by name."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from minigan import losses, nn
from minigan.backends.base import KERNELS, Backend
from minigan.errors import ConfigError
from minigan.losses import LOSSES, PENALTIES, FeatureMatching, SoftmaxMixture
from minigan.losses.adversarial import AdversarialLoss, CoupledLoss
from minigan.losses.gradient_penalties import GradientPenalty, PenaltyOfEach
from minigan.nn import Layer, Optimizer
from minigan.nn.layers.augmentation import AUGMENTATIONS, AdaptiveAugmentation, ScheduledAugmentation
from minigan.nn.layers.packing import Pack
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.mapping import MappedCondition, MappingNetwork
from minigan.nn.network.synthesis import OutputSkips
from minigan.recipes import RECIPES, Recipe
from minigan.support.arguments import kind_of, nearest_name

__all__ = ["KINDS", "Kind", "Topic", "names_by_kind", "topic_named", "topic_of", "topics"]

Kind = Literal["recipe", "layer", "loss", "penalty", "optimizer", "kernel", "guide"]
KINDS: tuple[Kind, ...] = ("recipe", "layer", "loss", "penalty", "optimizer", "kernel", "guide")
FUNCTIONS = (losses.l1, losses.mse, losses.bernoulli, losses.gaussian, losses.softmax_cross_entropy)


class Topic(NamedTuple):
    """A thing that can be explained.

    Attributes:
        kind: of the thing.
        name: as it is written in lists.
        thing: a class; of a kernel or a guide its name.
        alias: another name, of its class; "" if there is none.
    """

    kind: Kind
    name: str
    thing: Any
    alias: str = ""


def topics() -> Iterator[Topic]:
    """All topics, a kind after the other."""
    yield from (Topic("recipe", name, recipe) for name, recipe in RECIPES.items())
    yield from (Topic("layer", kind.__name__, kind) for kind in _layers())
    yield from _named("loss", LOSSES)
    yield from (Topic("loss", kind.__name__, kind) for kind in (SoftmaxMixture, FeatureMatching))
    yield from (Topic("loss", function.__name__, function) for function in FUNCTIONS)
    yield from _named("penalty", PENALTIES)
    yield Topic("penalty", PenaltyOfEach.__name__, PenaltyOfEach)
    yield from (Topic("optimizer", kind.__name__, kind) for kind in _classes(nn, Optimizer))
    yield from (Topic("kernel", name, name) for name in KERNELS)
    yield Topic("guide", "health", "health")


def _layers() -> Iterator[type]:
    yield from _classes(nn, Layer)
    yield from AUGMENTATIONS.values()
    yield from (AdaptiveAugmentation, ScheduledAugmentation)
    yield from (Pack, Inpainting, MappingNetwork, MappedCondition, OutputSkips)


def _classes(room: Any, base: type) -> Iterator[type]:
    """The public classes of a room that derive from a base and can be made."""
    for name in room.__all__:
        value = getattr(room, name)
        if isinstance(value, type) and issubclass(value, base) and not inspect.isabstract(value):
            yield value


def _named(kind: Kind, table: Mapping[str, type]) -> Iterator[Topic]:
    return (Topic(kind, name, thing, thing.__name__) for name, thing in table.items())


def topic_named(name: str) -> tuple[Topic, tuple[Topic, ...]]:
    """The topic of a name, and others that have the same name in other letters.

    A name as it is written in lists goes first, then the name of a class, then one that differs in capitals, hyphens or
    underscores; recipes go before layers, and so on.

    Raises:
        ConfigError: there is none.
    """
    known = list(topics())
    exact = [topic for topic in known if name and name in (topic.name, topic.alias)]
    plain = _plain(name)
    alike = [topic for topic in known if plain and plain in (_plain(topic.name), _plain(topic.alias))]
    found = exact + [topic for topic in alike if topic not in exact]
    # A kernel goes after the layer that it makes: conv2d after Conv2D.
    found.sort(key=lambda topic: (topic.kind == "kernel", topic not in exact, KINDS.index(topic.kind)))
    if not found:
        names = [each for topic in known for each in (topic.name, topic.alias) if each]
        lower = {each.lower(): each for each in reversed(names)}
        near = nearest_name(name, lower, likeness=0.7)
        hint = f"Did you mean {lower[near]}?" if near else "minigan explain lists them all."
        raise ConfigError(f"nothing has the name {kind_of(name)}, and no run is there. {hint}")
    return found[0], tuple(found[1:])


def topic_of(thing: Any) -> Topic | None:
    """The topic of a class, an object or a function; also of a class of the user's own. None for other things."""
    for topic in topics():
        if topic.thing is thing or (not isinstance(topic.thing, str) and topic.thing is type(thing)):
            return topic
    kind = thing if isinstance(thing, type) else type(thing)
    bases: tuple[tuple[Kind, Any], ...] = (
        ("recipe", Recipe),
        ("layer", Layer),
        ("loss", AdversarialLoss | CoupledLoss),
        ("penalty", GradientPenalty),
        ("optimizer", Optimizer),
    )
    for name, base in bases:
        if issubclass(kind, base):
            return Topic(name, kind.__name__, kind)
    return None


def names_by_kind() -> dict[str, list[str]]:
    """The names of all topics by kind."""
    return {kind: [topic.name for topic in topics() if topic.kind == kind] for kind in KINDS}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def contract_text(kernel: str) -> str:
    """The docstring of a kernel, the only one that it has."""
    return inspect.getdoc(getattr(Backend, kernel)) or "Python -OO leaves explanations out. Run it without -OO."
