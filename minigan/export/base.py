"""Subjects of an export, its options, and formats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from minigan.export.graph import Activation, Graph, Scale
from minigan.export.trace import trace
from minigan.nn.network import Sequential

__all__ = ["ExportOptions", "Format", "Subject"]

Numbers = Literal["signed", "unit", "logits"]


@dataclass(frozen=True)
class Subject:
    """A network to export.

    Attributes:
        network: built.
        title: names it in words: "G of dcgan at step 4000".
        numbers: range of its output: images in [-1, 1] (or points), in [0, 1], or logits of [0, 1].
        from_noise: whether its input is drawn from N(0, 1).
        classes: number of classes, one of which is its condition; 0 where it has no condition, or another kind.
        remark: a further line to show with it.
        class_names: of the classes, in order; () where they are unknown.
        real: (count) -> up to so many of the images, or points, that it learned from; None where they are not at hand.
    """

    network: Sequential
    title: str
    numbers: Numbers = "signed"
    from_noise: bool = False
    classes: int = 0
    remark: str = ""
    class_names: tuple[str, ...] = ()
    real: Callable[[int], np.ndarray | None] | None = None

    def graph(self, *, to: str) -> Graph:
        """Its evaluation, up to images in [-1, 1], for a format that writes graphs.

        Raises:
            ConfigError: a layer cannot be exported to that format; names it.
        """
        graph = trace(self.network, to=to)
        if self.numbers == "signed":
            return graph
        factor, offset = (2.0, -1.0) if self.numbers == "unit" else (0.5, 0.0)  # 2 sigmoid(s) - 1 = tanh(s / 2)
        graph = graph.then(Scale(inputs=(graph.output,), shape=graph.output_shape, factor=factor, offset=offset))
        if self.numbers == "unit":
            return graph
        return graph.then(Activation(inputs=(graph.output,), shape=graph.output_shape, function="tanh"))


@dataclass(frozen=True)
class ExportOptions:
    """Choices of an export; each format takes some of these.

    Attributes:
        prefix: stands before the tensors' names.
        fold: whether BatchNorm goes into the weights before it.
        opset: version of ONNX's operators.
        layout: nchw or nhwc, for images that go in and come out.
        weights: fp32, fp16 or int8; "" is the format's own choice.
    """

    prefix: str = ""
    fold: bool = True
    opset: int = 17
    layout: str = "nchw"
    weights: str = ""


class Format(NamedTuple):
    """A format that networks are exported to.

    Attributes:
        write: (subject, out, options) -> a text about the files it wrote. Raises MiniganError where it cannot.
        options: names of the fields of `ExportOptions` that it takes.
        networks: whether it takes other networks than generators.
    """

    write: Callable[[Subject, Path, ExportOptions], str]
    options: tuple[str, ...]
    networks: bool = False
