"""The one door to Pillow, an optional dependency: imported when a picture is first read, and kept quiet."""

import importlib
import warnings
from types import ModuleType

from minigan.errors import MissingExtraError

__all__ = ["load_pillow"]


def load_pillow() -> ModuleType:
    """The module `PIL.Image`."""
    try:
        module = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise MissingExtraError.of(package="Pillow", extra="images", purpose="reading image files") from error
    _hush(module.DecompressionBombWarning)
    return module


def _hush(bomb: type[Warning]) -> None:
    """Silence Pillow's warnings about odd files: what matters is checked, and raised as a DataError, by the reader.

    `warnings.catch_warnings` would do it for a while only, but it is not safe when several threads decode. Adding
    a filter is; it is added again only where somebody has since reset the filters.
    """
    if not any(kind is bomb and action == "ignore" for action, _, kind, *_ in warnings.filters):
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", bomb)
