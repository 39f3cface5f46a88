"""Arguments of kernels that are nothing but their type: compiled code has their fields as constants."""

from typing import Any, TypeVar

from numba import types
from numba.core.datamodel import models
from numba.extending import NativeValue, register_model, typeof_impl, unbox

Kind = TypeVar("Kind", bound=type)


class Static(types.Type):
    """The type of one value; two values that print alike have the same.

    Attributes:
        value: of the argument.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__(name=repr(value))


def static(kind: Kind) -> Kind:
    """A decorator of a frozen dataclass whose objects are such arguments."""
    typeof_impl.register(kind)(lambda value, _context: Static(value))
    return kind


register_model(Static)(models.OpaqueModel)


@unbox(Static)
def _unbox(_type, _value, c):
    return NativeValue(c.context.get_dummy_value())
