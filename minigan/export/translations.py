"""The table of translations: how each layer, and each operation of a graph, is said in each format.

Formats and layers meet here and nowhere else. A layer's translation to a format is a function that registers itself
with `translates`, next to the layer or anywhere else, also before the format's module is imported, and without the
format's library:

    @translates(Swish, to="numpy")
    def swish(layer, inputs, body):
        return f"{inputs[0]} / (1 + np.exp(-{inputs[0]}))"

A translation to "graph" says a layer in operations of `minigan.export.graph`, and serves every format that writes
graphs. docs/export.md has the signatures, format by format.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from minigan.errors import ConfigError
from minigan.nn.layers.base import Layer

__all__ = ["GRAPH", "Translation", "refusal", "translates", "translation"]

GRAPH = "graph"  # not a format, but on the way to several

Function = TypeVar("Function", bound=Callable[..., Any])

# Methods of a layer that play no part in its evaluation, or, as `infer`, give results that a translation reads.
_HARMLESS = frozenset(vars(Layer)) - {"forward"}


class Translation(NamedTuple):
    """A registered translation.

    Attributes:
        function: takes the layer or operation first; the format defines its other arguments and its result.
        to: the format's name, or "graph".
        rests_on: names of the methods that it puts into the format's words; None stands for `forward` and all methods
            that the type has in addition to those of every layer.
    """

    function: Callable[..., Any]
    to: str
    rests_on: frozenset[str] | None = None


_TABLE: dict[tuple[type, str], Translation] = {}


def translates(*kinds: type, to: str, rests_on: Iterable[str] | None = None) -> Callable[[Function], Function]:
    """Registers a function as the translation of types of layers, or of operations, to a format; the last one counts.

    It serves subclasses as well, unless they override what it rests on.

    Args:
        to: the format's name in `FORMATS`, or "graph".
        rests_on: names of the methods that subclasses may not override; by default `forward` and all that not every
            layer has.
    """

    def register(function: Function) -> Function:
        for kind in kinds:
            _TABLE[kind, to] = Translation(function, to, None if rests_on is None else frozenset(rests_on))
        return function

    return register


def translation(thing: Any, *, to: str, by_way_of: str = "") -> Translation:
    """The translation of a layer or operation: that of its type, or of the nearest base that it evaluates like.

    Args:
        to: the format.
        by_way_of: another one that will do: "graph".
    Raises:
        ConfigError: there is none, or only one of a base whose methods the type overrides.
    """
    for base in type(thing).__mro__:
        for name in filter(None, (to, by_way_of)):
            found = _TABLE.get((base, name))
            if found is None:
                continue
            changed = _overrides(thing, base, found.rests_on)
            if changed:
                why = (
                    f"it overrides {', '.join(changed)} of {base.__name__}, whose translation may no longer be its own"
                )
                raise refusal(thing, to=to, why=why)
            return found
    raise refusal(thing, to=to, why=f"no translation of {type(thing).__name__} to {to} is registered")


def _overrides(thing: Any, base: type, rests_on: frozenset[str] | None) -> list[str]:
    """The methods of a base that a thing's own type, or itself, has in another way, of those that count."""
    kind = type(thing)
    between = [vars(cls) for cls in kind.__mro__[: kind.__mro__.index(base)]]
    own = {name for names in (*between, {"forward": 0} if "forward" in vars(thing) else {}) for name in names}
    inherited = {name for cls in base.__mro__ for name in vars(cls) if cls is not object}
    counts = inherited - _HARMLESS if rests_on is None else rests_on
    return sorted(name for name in own & counts if not name.startswith("__"))


def refusal(thing: Any, *, to: str, why: str, remedy: str = "") -> ConfigError:
    """The error for a layer or operation that cannot be exported.

    Args:
        why: a clause without a full stop.
        remedy: a sentence; by default how to register a translation.
    """
    kind = type(thing).__name__
    by_default = (
        f'Register a translation with @minigan.export.translates({kind}, to="{to}"), see docs/export.md, or leave the '
        "layer out."
    )
    where = f"{thing.path} ({type(thing).__module__}.{kind})"
    return ConfigError(f"{where} cannot be exported to {to}: {why}. {remedy or by_default}")
