"""The blocks of `ResNet`."""

from purestate._sonnet.nets.resnet import BlockGroup, BottleNeckBlockV1, BottleNeckBlockV2

__all__ = ["BlockGroup", "BottleNeckBlockV1", "BottleNeckBlockV2"]
