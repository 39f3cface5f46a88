"""Copies of objects that are bound to a backend: `copy.deepcopy` makes them, pickle is refused."""

from typing import Any, NoReturn

from minigan.errors import ConfigError

__all__ = ["refuse_pickle"]


def refuse_pickle(item: Any) -> NoReturn:
    """Ends an attempt to pickle an object: for `__reduce__`.

    A pickle would tear an arena's views from it, and no other process has this one's backend.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"{type(item).__name__}: cannot be pickled, nor can a built network with it. "
        'Write minigan.save("net.safetensors", {"net": net}), or copy.deepcopy(net) for a copy.'
    )
