"""The only import of Pillow, an optional dependency: it happens when a picture is first read, or written."""

import importlib
import warnings
from types import ModuleType

from minigan.errors import MissingExtraError

__all__ = ["load_lettering", "load_pillow"]


def load_pillow(*, purpose: str = "reading image files") -> ModuleType:
    """The module `PIL.Image`, with its warnings silenced.

    Args:
        purpose: what needs it, for the error.
    Raises:
        MissingExtraError: Pillow is not installed.
    """
    try:
        module = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise MissingExtraError.of(package="Pillow", extra="images", purpose=purpose) from error
    _hush(module.DecompressionBombWarning)
    return module


def load_lettering() -> tuple[ModuleType, ModuleType]:
    """The modules `PIL.ImageDraw` and `PIL.ImageFont`.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    load_pillow(purpose="writing text into pictures")
    return importlib.import_module("PIL.ImageDraw"), importlib.import_module("PIL.ImageFont")


def _hush(bomb: type[Warning]) -> None:
    """Silences Pillow's warnings about odd files; the reader checks what matters and raises a DataError.

    `warnings.catch_warnings` would limit this to a block, but it is not safe when several threads decode. Adding a
    filter is. It is added again only after the filters have been reset.
    """
    if not any(kind is bomb and action == "ignore" for action, _, kind, *_ in warnings.filters):
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", bomb)
