"""The mathematics of layers, losses, penalties and optimizers as text, and the table that a class of your own can join.

    describe(
        Swish,
        Theory(
            "Multiplies x by its own sigmoid: a smooth relative of ReLU.",
            forward=("y = x s,  s = 1 / (1 + exp(-x))",),
            backward=("dx = dy (s + y (1 - s))",),
            double_backward=("dP/d(dy) = v (s + y (1 - s))", "dP/dx = v dy s (1 - s) (2 + x (1 - 2 s))"),
        ),
        example=lambda: LayerTrial(Swish(), (5, 5, 1), scale=3),
    )

`minigan.inspection.explain(Swish)` then explains it, as does the explanation of a network with such a layer. Without an
entry a class is explained by its docstring.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Theory", "describe", "example_of", "meaning_of", "source_of", "theory_of"]

Formula = tuple[str, ...]  # lines


class Theory(NamedTuple):
    """A sentence on a thing, and its formulas.

    Attributes:
        does: one sentence.
        forward: y of a layer, the value of a loss or penalty, the update of an optimizer.
        backward: the gradients.
        double_backward: the gradients of `backward`, for P with v = dP/d(dx); of a loss or an optimizer nothing.
        remark: more that a learner should know; "" for nothing.
        source: the paper, where the docstring has no line "Source:".
    """

    does: str
    forward: Formula
    backward: Formula = ()
    double_backward: Formula = ()
    remark: str = ""
    source: str = ""


class _Entry(NamedTuple):
    theory: Theory
    example: Callable[[], Any] | None


_TABLE: dict[Any, _Entry] = {}


def describe(thing: Any, theory: Theory, *, example: Callable[[], Any] | None = None) -> None:
    """Enters the theory of a class or function, and how to make its worked example; the last one counts.

    Args:
        thing: a class of layers, losses, penalties or optimizers, or a function of losses.
        theory: its sentence and formulas.
        example: makes the trial that is worked out, see `minigan.inspection.trials`; None for no example.
    """
    _TABLE[thing] = _Entry(theory, example)


def theory_of(thing: Any) -> Theory:
    """The theory of a class or function: its own, its base's if it computes as that does, or that of its docstring."""
    entry = _entry(thing)
    if entry is not None:
        return entry.theory
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    return Theory(text or f"{thing.__name__} has no docstring.", ())


def example_of(thing: Any) -> Callable[[], Any] | None:
    """The maker of its worked example; None if it has none."""
    entry = _entry(thing)
    return None if entry is None else entry.example


def _entry(thing: Any) -> _Entry | None:
    """The entry of the nearest base up to which nothing is computed in another way."""
    for base in thing.__mro__ if isinstance(thing, type) else (thing,):
        if base in _TABLE:
            return _TABLE[base]
        if not {"forward", "backward", "double_backward"}.isdisjoint(vars(base)):
            return None
    return None


def source_of(thing: Any) -> str:
    """The paper that a docstring names in its line "Source:", or the theory; "" if neither does."""
    text = inspect.getdoc(thing) or ""
    own_line = re.search(r"^Source: (.+?)(?:\n\s*\n|\Z)", text, re.DOTALL | re.MULTILINE)
    found = own_line or re.search(r"\. Source: (.+?)(?:\n\s*\n|\Z)", text.partition("\nArgs:")[0], re.DOTALL)
    return " ".join(found[1].split()).rstrip(".") if found else theory_of(thing).source


def meaning_of(thing: Any) -> str:
    """The whole docstring; "" under Python -OO."""
    return inspect.getdoc(thing) or ""
