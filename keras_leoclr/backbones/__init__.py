"""Image encoders: functional models of stock Keras layers, (B, H, W, C) -> (B, features)."""

from keras_leoclr.backbones.resnet import resnet18, resnet34, resnet50, resnet101, resnet_small

__all__ = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet_small"]
