"""minigan: generative adversarial networks with every gradient written by hand."""

__version__ = "0.1.0"
