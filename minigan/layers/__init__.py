"""The layers a network is composed of; one file a family."""

from minigan.layers.activation import LeakyReLU, Maxout, ReLU, Sigmoid, Tanh
from minigan.layers.attention import SelfAttention
from minigan.layers.base import Layer
from minigan.layers.condition import ConcatCondition, ConditionalAffine, InnerProduct
from minigan.layers.conv import Conv2D, ConvTranspose2D
from minigan.layers.dense import Dense
from minigan.layers.dropout import Dropout
from minigan.layers.minibatch import MinibatchStdDev
from minigan.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from minigan.layers.pool import AveragePooling2D, GlobalAveragePooling2D, GlobalSumPooling2D
from minigan.layers.shape import Flatten, PixelShuffle, Reshape, UpSampling2D
from minigan.layers.spectral import SpectralNorm

__all__ = [
    "AveragePooling2D",
    "BatchNorm",
    "ConcatCondition",
    "ConditionalAffine",
    "Conv2D",
    "ConvTranspose2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalSumPooling2D",
    "GroupNorm",
    "InnerProduct",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Maxout",
    "MinibatchStdDev",
    "PixelShuffle",
    "ReLU",
    "Reshape",
    "SelfAttention",
    "Sigmoid",
    "SpectralNorm",
    "Tanh",
    "UpSampling2D",
]
