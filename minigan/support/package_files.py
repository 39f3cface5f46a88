"""Files that belong to a package: style sheets, scripts, C sources."""

from importlib import resources

__all__ = ["packaged"]


def packaged(package: str, name: str) -> str:
    """The text of a file.

    Args:
        package: that it lies in, such as `__package__`.
        name: of the file.
    """
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
