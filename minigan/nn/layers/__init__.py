"""The layers a network is composed of; one file a family."""

from minigan.nn.layers.activation import LeakyReLU, Maxout, ReLU, Sigmoid, Tanh
from minigan.nn.layers.attention import SelfAttention
from minigan.nn.layers.base import Layer
from minigan.nn.layers.basis import DiscriminativeBasis, GenerativeBasis
from minigan.nn.layers.bias import Bias
from minigan.nn.layers.condition import ConcatCondition, ConditionalAffine, InnerProduct
from minigan.nn.layers.conv import Conv2D, ConvTranspose2D
from minigan.nn.layers.dense import Dense
from minigan.nn.layers.dropout import Dropout
from minigan.nn.layers.equalized import EqualizedRate
from minigan.nn.layers.fir import FIRDownSampling2D, FIRUpSampling2D
from minigan.nn.layers.learned_constant import LearnedConstant
from minigan.nn.layers.minibatch import MinibatchStdDev
from minigan.nn.layers.modulation import Modulated
from minigan.nn.layers.noise import NoiseInjection
from minigan.nn.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from minigan.nn.layers.pad import ReflectionPadding2D
from minigan.nn.layers.pixel_norm import PixelNorm
from minigan.nn.layers.pool import AveragePooling2D, GlobalAveragePooling2D, GlobalSumPooling2D
from minigan.nn.layers.shape import Flatten, PixelShuffle, Reshape, UpSampling2D
from minigan.nn.layers.spectral import SpectralNorm

__all__ = [
    "AveragePooling2D",
    "BatchNorm",
    "Bias",
    "ConcatCondition",
    "ConditionalAffine",
    "Conv2D",
    "ConvTranspose2D",
    "Dense",
    "DiscriminativeBasis",
    "Dropout",
    "EqualizedRate",
    "FIRDownSampling2D",
    "FIRUpSampling2D",
    "Flatten",
    "GenerativeBasis",
    "GlobalAveragePooling2D",
    "GlobalSumPooling2D",
    "GroupNorm",
    "InnerProduct",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LearnedConstant",
    "Maxout",
    "MinibatchStdDev",
    "Modulated",
    "NoiseInjection",
    "PixelNorm",
    "PixelShuffle",
    "ReLU",
    "ReflectionPadding2D",
    "Reshape",
    "SelfAttention",
    "Sigmoid",
    "SpectralNorm",
    "Tanh",
    "UpSampling2D",
]
