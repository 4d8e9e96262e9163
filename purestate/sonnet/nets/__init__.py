"""Whole networks."""

from purestate._sonnet.nets.cifar10_convnet import Cifar10ConvNet
from purestate._sonnet.nets.mlp import MLP
from purestate._sonnet.nets.resnet import ResNet, ResNet50
from purestate._sonnet.nets.vqvae import VectorQuantizer, VectorQuantizerEMA
from purestate.sonnet.nets import resnet

__all__ = [
    "MLP",
    "Cifar10ConvNet",
    "ResNet",
    "ResNet50",
    "VectorQuantizer",
    "VectorQuantizerEMA",
    "resnet",
]
