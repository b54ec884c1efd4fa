"""The networks of this package by name, as recipes and commands choose them."""

from __future__ import annotations

from keras_leoclr.backbones.resnet import resnet18, resnet34, resnet50, resnet101, resnet_small
from keras_leoclr.backbones.vit import vit_base, vit_small, vit_tiny

# CNNs, which have feature maps of several sizes.
CNNS = {f.__name__: f for f in (resnet18, resnet34, resnet50, resnet101, resnet_small)}
BUILDERS = {**CNNS, **{f.__name__: f for f in (vit_tiny, vit_small, vit_base)}}
