"""A tape as HTML, for notebooks: what each layer keeps for backward, and the memory that it takes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minigan.nn.layers.base import Cache, Layer
from minigan.nn.network.summary import html_of
from minigan.support.representation import memory_size

__all__ = ["tape_table"]


def tape_table(title: str, layers: Sequence[Layer], caches: Sequence[Cache], nbytes: Callable[[Any], int]) -> str:
    """A row a layer, and the sum.

    Args:
        title: above the table.
        layers, caches: as many of both, in the order of the forward pass.
        nbytes: the bytes of all arrays in some caches, of which memory that two share counts once.
    """
    rows: list[tuple[str, ...]] = [("layer", "keeps for backward", "memory")]
    before = 0
    for index, (layer, cache) in enumerate(zip(layers, caches, strict=True)):
        # One layer's output is often the next one's input: the memory is the first's, and the second shares it.
        after = nbytes(caches[: index + 1])
        kept = list(_kept(cache))
        memory = memory_size(after - before) if after > before else "shared" if kept else "0"
        rows.append((f"{index} {layer.call_text()}", ", ".join(kept) or "nothing", memory))
        before = after
    return html_of(title, [*rows, ("total", "", memory_size(before))])


def _kept(cache: Cache, name: str = "") -> Iterator[str]:
    """The arrays in a cache with their names, "x (64, 28, 28, 1)", and the tapes of networks inside."""
    if isinstance(cache, tuple | list):
        names = getattr(cache, "_fields", None) or [""] * len(cache)
        for inner, item in zip(names, cache, strict=True):
            yield from _kept(item, inner)
    elif hasattr(cache, "shape") and cache.shape != ():
        yield f"{name or 'array'} {tuple(cache.shape)}"
    elif hasattr(cache, "release"):
        yield f"{name or 'inside'}: {cache!r}"
