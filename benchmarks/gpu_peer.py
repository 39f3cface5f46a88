"""PyTorch's training step on a GPU, in each configuration that a user might choose."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.torch_peer import Gan
from minigan.recipes import Recipe


class TorchSteps:
    """A GAN's steps on one batch, whose arrays lie in pinned host memory.

    Args:
        batch: images, and for pix2pix their sources, (N, H, W, C).
        compiled: both networks by `torch.compile`.
        graph: the whole step, optimizers included, as one CUDA graph.
    """

    def __init__(
        self,
        recipe: Recipe,
        image_shape: tuple[int, ...],
        batch: Sequence[np.ndarray],
        *,
        bf16: bool,
        device: str = "cuda",
        channels_last: bool = False,
        compiled: bool = False,
        graph: bool = False,
    ) -> None:
        self.gan = Gan(
            recipe, image_shape, device=device, channels_last=channels_last, bf16=bf16, capturable=graph
        )  # fmt: skip
        if compiled:
            torch.compiler.reset()
            self.gan.G, self.gan.D = torch.compile(self.gan.G), torch.compile(self.gan.D)
        self.device, self.graph = device, graph
        self.host = [self.gan.tensor(images) for images in batch]
        if device == "cuda":
            self.host = [images.pin_memory() for images in self.host]

    def step(self) -> None:
        self.gan.update(*(images.to(self.device, non_blocking=True) for images in self.host))

    def warm_up(self, count: int) -> None:
        """Runs on a stream other than the current one, as capturing a graph requires."""
        other = torch.cuda.Stream()
        other.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(other):
            for _ in range(count):
                self.step()
        torch.cuda.current_stream().wait_stream(other)

    def ready(self) -> Callable[[], None]:
        """The function that runs one step, after the warm-up."""
        if not self.graph:
            return self.step
        images = [image.to(self.device) for image in self.host]
        for adam in (self.gan.d_adam, self.gan.g_adam):
            adam.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.gan.update(*images)

        def replay() -> None:
            for here, there in zip(self.host, images, strict=True):
                there.copy_(here, non_blocking=True)
            graph.replay()

        return replay
