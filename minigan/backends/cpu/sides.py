"""The arrays that a convolution in groups reads and makes, side by side."""

from typing import NamedTuple


class Sides(NamedTuple):
    """An image and outputs, in groups."""

    channels: int
    outputs: int
    groups: int

    @property
    def deep(self) -> int:
        """Channels of a group."""
        return self.channels // self.groups

    @property
    def wide(self) -> int:
        """Outputs of a group."""
        return self.outputs // self.groups
