"""Image encoders: functional models of stock Keras layers, (B, H, W, C) -> (B, features)."""

from keras_leoclr.backbones.feature_pyramid import pyramid
from keras_leoclr.backbones.loading import BackboneFileError, load
from keras_leoclr.backbones.normalization import (
    normalization_of,
    with_normalization,
    without_normalization,
)
from keras_leoclr.backbones.resnet import resnet18, resnet34, resnet50, resnet101, resnet_small
from keras_leoclr.backbones.torch_weights import (
    TorchReport,
    TorchWeightsError,
    from_torch,
    load_torch,
    to_torch,
)
from keras_leoclr.backbones.vit import vit_base, vit_small, vit_tiny

BUILDERS = {
    function.__name__: function
    for function in (resnet18, resnet34, resnet50, resnet101, resnet_small, vit_tiny, vit_small, vit_base)
}

__all__ = [
    "BUILDERS",
    "BackboneFileError",
    "TorchReport",
    "TorchWeightsError",
    "from_torch",
    "load",
    "load_torch",
    "normalization_of",
    "pyramid",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet_small",
    "to_torch",
    "vit_base",
    "vit_small",
    "vit_tiny",
    "with_normalization",
    "without_normalization",
]
