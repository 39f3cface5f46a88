"""Networks: layers in sequence, side by side and around a shortcut; and the tape between forward and backward."""

from minigan.nn.network.combinators import Parallel, Residual, SkipConcat
from minigan.nn.network.observer import Observer, Pass
from minigan.nn.network.sequential import Sequential
from minigan.nn.network.tape import Tape

__all__ = ["Observer", "Parallel", "Pass", "Residual", "Sequential", "SkipConcat", "Tape"]
