"""The networks of this package by name, for recipes and commands."""

from __future__ import annotations

from keras_leoclr.backbones.resnet import resnet18, resnet34, resnet50, resnet101, resnet_small
from keras_leoclr.backbones.vit import vit_base, vit_small, vit_tiny

# Only CNNs have feature maps of several sizes, which detection and segmentation need.
CNNS = {f.__name__: f for f in (resnet18, resnet34, resnet50, resnet101, resnet_small)}
BUILDERS = {**CNNS, **{f.__name__: f for f in (vit_tiny, vit_small, vit_base)}}
