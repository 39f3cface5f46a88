"""Layouts of memory: a kernel may be told to change views of any layout, and computes in contiguous memory."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from minigan.backends.base import Array

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def changes(*places: int) -> Callable[[Kernel], Kernel]:
    """Lets a compiled kernel change arrays of any layout.

    What is not contiguous and writable is copied for the kernel, and its new numbers are copied back. The backend's
    `contiguous` makes the copy; for other arrays it is no more than a look at their flags.

    Args:
        places: of the positional arguments that the kernel changes. It may also have an `add_to`, one or a tuple.
    """

    def decorated(kernel: Kernel) -> Kernel:
        @wraps(kernel)
        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            sums = options.get("add_to")
            given = [arguments[place] for place in places]
            given += sums if isinstance(sums, tuple) else [sums]
            plain = [None if array is None else self.contiguous(array) for array in given]
            if all(one is other for one, other in zip(plain, given, strict=True)):
                return kernel(self, *arguments, **options)
            changed = dict(zip(places, plain, strict=False))
            arguments = tuple(changed.get(place, argument) for place, argument in enumerate(arguments))
            if sums is not None:
                options["add_to"] = tuple(plain[len(places) :]) if isinstance(sums, tuple) else plain[-1]
            return _put_back(given, plain, kernel(self, *arguments, **options))

        return call  # type: ignore[return-value]

    return decorated


def _put_back(given: list[Array | None], plain: list[Array | None], result: Any) -> Any:
    """Copies the numbers of the copies to the arrays that were given; a result that is a copy becomes that array."""
    for array, copy in zip(given, plain, strict=True):
        if copy is not array and array is not None:
            array[...] = copy
            result = array if result is copy else result
    return result
