"""What is exported, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from minigan.export.graph import Activation, Graph, Scale
from minigan.export.trace import trace
from minigan.nn.network import Sequential

__all__ = ["ExportOptions", "Format", "Subject"]

Numbers = Literal["signed", "unit", "logits"]


@dataclass(frozen=True)
class Subject:
    """A network that is to leave minigan.

    Attributes:
        network: built.
        title: what it is, in words: "G of dcgan at step 4000".
        numbers: what it draws: images in [-1, 1] (or points), in [0, 1], or logits of [0, 1].
        from_noise: whether its input is drawn from N(0, 1).
        classes: of how many its condition is one; 0 where it has none, or another.
        remark: what else is to be known of it.
    """

    network: Sequential
    title: str
    numbers: Numbers = "signed"
    from_noise: bool = False
    classes: int = 0
    remark: str = ""

    def graph(self) -> Graph:
        """Its evaluation, up to images in [-1, 1]."""
        graph = trace(self.network)
        match self.numbers:
            case "unit":
                return graph.then(partial(Scale, factor=2.0, offset=-1.0))
            case "logits":  # 2 sigmoid(s) - 1
                return graph.then(partial(Scale, factor=0.5, offset=0.0)).then(partial(Activation, function="tanh"))
        return graph


@dataclass(frozen=True)
class ExportOptions:
    """What can be chosen; each format takes some of these.

    Attributes:
        prefix: of the tensors' names.
        fold: whether BatchNorm goes into the weights before it.
        opset: ONNX's version of its operators.
        layout: nchw or nhwc, of the images that go in and come out.
    """

    prefix: str = ""
    fold: bool = True
    opset: int = 17
    layout: str = "nchw"


class Format(NamedTuple):
    """A format that networks are exported to.

    Attributes:
        write: (subject, out, options) -> what to tell of it. Raises MiniganError where it cannot.
        options: the names of those that it takes.
        networks: whether it takes other networks than generators.
    """

    write: Callable[[Subject, Path, ExportOptions], str]
    options: tuple[str, ...]
    networks: bool = False
