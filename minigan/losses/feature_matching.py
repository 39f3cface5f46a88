"""Feature matching: G is to draw what looks right to D on average."""

from minigan.backends import Array, array_module
from minigan.errors import ConfigError
from minigan.nn.layers import Dropout
from minigan.nn.network import Sequential
from minigan.nn.network.sequential import expect_network

__all__ = ["FeatureMatching"]


class FeatureMatching:
    """An auxiliary loss of G: |mean f(fake) - mean f(real)|², with f what D's last layer with weights is given.

    The means are over the batch, for each feature at each place.

    Source: Salimans et al. 2016, section 3.1.

    Args:
        D: a built network of at least two layers with weights, without Dropout.
    """

    def __init__(self, D: Sequential) -> None:
        expect_network(D, "D")
        for _, layer in D.walk():
            if isinstance(layer, Dropout):
                raise ConfigError(f"feature matching wants the same features each time, but {layer.path} drops some.")
        weighted = [index for index, layer in enumerate(D.layers) if any(p.own_parameters for _, p in layer.walk())]
        if len(weighted) < 2:
            raise ConfigError(f"feature matching needs a hidden layer, but {D.path} has {len(weighted)} with weights.")
        self.layers = D.layers[: weighted[-1]]
        self.path = D.path

    def __repr__(self) -> str:
        return f"FeatureMatching({self.path}), on the outputs of its first {len(self.layers)} layers"

    def __call__(self, fake: Array, real: Array) -> tuple[Array, Array]:
        """The value, and its gradient with respect to the fake images; both are (N, *D.input_shape)."""
        caches = []
        for layer in self.layers:
            real, _ = layer.forward(real, train=True)
        y = fake
        for layer in self.layers:
            y, cache = layer.forward(y, train=True)
            caches.append(cache)
        difference = y.mean(axis=0) - real.mean(axis=0)
        dy = array_module(y).empty_like(y)
        dy[...] = difference * (2 / len(y))
        for layer, cache in reversed(list(zip(self.layers, caches, strict=True))):
            dy = layer.backward(dy, cache, grads=None)
        return (difference * difference).sum(), dy
