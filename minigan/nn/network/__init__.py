"""Networks: layers in sequence, side by side and around a shortcut; and the tape between forward and backward."""

from minigan.nn.network.combinators import Parallel, Residual, SkipConcat
from minigan.nn.network.sequential import Sequential
from minigan.nn.network.tape import Tape

__all__ = ["Parallel", "Residual", "Sequential", "SkipConcat", "Tape"]
