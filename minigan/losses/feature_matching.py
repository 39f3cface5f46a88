"""Feature matching: G's images are to have D's mean features of real images."""

from minigan.backends import Array, array_module
from minigan.errors import ConfigError
from minigan.nn.layers import Dropout
from minigan.nn.network import Sequential
from minigan.nn.network.sequential import expect_network

__all__ = ["FeatureMatching"]


class FeatureMatching:
    """An additional loss of G: |mean f(fake) - mean f(real)|², where f is the input of D's last layer with weights.

    The means run over the batch, for each feature at each place.

    Source: Salimans et al. 2016, section 3.1.

    Args:
        D: a built network with at least two layers that have weights, and without Dropout.
    Raises:
        ConfigError: D has Dropout, or no hidden layer.
    """

    def __init__(self, D: Sequential) -> None:
        expect_network(D, "D")
        for _, layer in D.walk():
            if isinstance(layer, Dropout):
                raise ConfigError(f"feature matching needs a D without Dropout, got {layer.path}. Leave Dropout out.")
        weighted = [index for index, layer in enumerate(D.layers) if any(p.own_parameters for _, p in layer.walk())]
        if len(weighted) < 2:
            raise ConfigError(
                f"feature matching needs at least 2 layers with weights, but {D.path} has {len(weighted)}. "
                "Use a deeper D."
            )
        self.layers = D.layers[: weighted[-1]]
        self.path = D.path

    def __repr__(self) -> str:
        return f"FeatureMatching({self.path}), on the outputs of its first {len(self.layers)} layers"

    def __call__(self, fake: Array, real: Array) -> tuple[Array, Array]:
        """The loss on one batch.

        Args:
            fake, real: images, (N, *D.input_shape) each.
        Returns:
            The value, a scalar array, and its gradient with respect to the fake images, of their shape.
        """
        caches = []
        for layer in self.layers:
            real, _ = layer.forward(real, train=True)
        y = fake
        for layer in self.layers:
            y, cache = layer.forward(y, train=True)
            caches.append(cache)
        difference = self.layers[0].kernels.ranks.mean(y.mean(axis=0) - real.mean(axis=0))
        dy = array_module(y).empty_like(y)
        dy[...] = difference * (2 / len(y))
        for layer, cache in reversed(list(zip(self.layers, caches, strict=True))):
            dy = layer.backward(dy, cache, grads=None)
        return (difference * difference).sum(), dy
