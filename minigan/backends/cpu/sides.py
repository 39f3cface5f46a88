"""The two sides of a convolution in groups: the channels that it reads and the outputs that it makes."""

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
