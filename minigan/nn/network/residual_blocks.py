"""Residual blocks for G and D, as in SNGAN, composed of other layers.

G, here for 32x32 images (Miyato et al. 2018, appendix B.4, table 4):

    Sequential([Dense(4 * 4 * 256), Reshape((4, 4, 256)), up_block(256), up_block(256), up_block(256),
                BatchNorm(), ReLU(), Conv2D(3, 3), Tanh()], name="G")

and D, every weight spectrally normalized:

    Sequential([first_down_block(128), down_block(128), block(128), block(128),
                ReLU(), GlobalSumPooling2D(), SpectralNorm(Dense(1))], name="D")

In the shortcuts the 1x1 convolution stands on the side of the smaller image. It commutes with pooling and with the
repeating of pixels, so these are the paper's blocks at a quarter of the shortcut's cost.
"""

from collections.abc import Callable
from functools import partial

from minigan.nn.initializers import GlorotUniform
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    ConditionalAffine,
    Conv2D,
    Dense,
    InnerProduct,
    Layer,
    ReLU,
    SpectralNorm,
    UpSampling2D,
)
from minigan.nn.network import Residual, Sequential

__all__ = ["block", "conditional_batch_norm", "down_block", "first_down_block", "projection", "up_block"]

Wrap = Callable[[Conv2D | Dense], Layer]

INNER = GlorotUniform(gain=2**0.5)  # of the 3x3 convolutions, as in the authors' code


def plain(layer: Conv2D | Dense) -> Layer:
    """The layer as it is, where no `SpectralNorm` is wanted."""
    return layer


def conditional_batch_norm(classes: int) -> Layer:
    """BatchNorm over all classes, then a scale and a shift for each class (Dumoulin et al. 2017, equation 5)."""
    return Sequential([BatchNorm(), ConditionalAffine(classes)])


def projection(classes: int, *, wrap: Wrap = SpectralNorm) -> Residual:
    """The head of a class-conditional D: features h (N, F) to logits <v_c, h> + <w, h> + b, with v_c for the class c.

    Source: Miyato & Koyama 2018, "cGANs with Projection Discriminator", equation 3. The embedding V stands as the
    weight of a dense layer that scores every class, of which the inner product with the one-hot vector keeps one.
    """
    return Residual([wrap(Dense(classes, bias=False)), InnerProduct(classes)], shortcut=[wrap(Dense(1))])


def up_block(channels: int, *, classes: int = 0, wrap: Wrap = plain) -> Residual:
    """G's block: (H, W, C) becomes (2 H, 2 W, channels).

    Args:
        channels: of the output.
        classes: length of the one-hot condition that scales the channels; 0 for a G without classes.
        wrap: makes the layer around each convolution; `SpectralNorm` in SAGAN's G.
    """
    norm = partial(conditional_batch_norm, classes) if classes else BatchNorm
    return Residual(
        [
            norm(),
            ReLU(),
            UpSampling2D(2),
            wrap(Conv2D(channels, 3, init=INNER)),
            norm(),
            ReLU(),
            wrap(Conv2D(channels, 3, init=INNER)),
        ],
        shortcut=[wrap(Conv2D(channels, 1)), UpSampling2D(2)],
    )


def down_block(channels: int, *, wrap: Wrap = SpectralNorm) -> Residual:
    """D's block: (H, W, C) becomes (H / 2, W / 2, channels)."""
    return Residual(
        [
            ReLU(),
            wrap(Conv2D(channels, 3, init=INNER)),
            ReLU(),
            wrap(Conv2D(channels, 3, init=INNER)),
            AveragePooling2D(2),
        ],
        shortcut=[AveragePooling2D(2), wrap(Conv2D(channels, 1))],
    )


def first_down_block(channels: int, *, wrap: Wrap = SpectralNorm) -> Residual:
    """D's first block: without a ReLU at the front, which would cut off the image's negative numbers."""
    return Residual(
        [wrap(Conv2D(channels, 3, init=INNER)), ReLU(), wrap(Conv2D(channels, 3, init=INNER)), AveragePooling2D(2)],
        shortcut=[AveragePooling2D(2), wrap(Conv2D(channels, 1))],
    )


def block(channels: int, *, wrap: Wrap = SpectralNorm) -> Residual:
    """D's block with an identity as shortcut: the image keeps its size and number of channels."""
    return Residual(
        [ReLU(), wrap(Conv2D(channels, 3, init=INNER)), ReLU(), wrap(Conv2D(channels, 3, init=INNER))],
    )
