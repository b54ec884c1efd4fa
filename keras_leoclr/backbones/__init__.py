"""Backbones: image encoders (B, H, W, C) -> (B, features), functional models of stock Keras layers."""

from keras_leoclr import lazy

_PLACES = {
    "BUILDERS": "builders",
    "BackboneFileError": "loading",
    "TorchReport": "torch_report",
    "TorchWeightsError": "torch_report",
    "InitialWeights": "initial",
    "InitialWeightsError": "initial",
    "from_torch": "torch_weights",
    "load": "loading",
    "load_torch": "torch_weights",
    "named_backbone": "named",
    "normalization_of": "normalization",
    "pyramid": "feature_pyramid",
    "read_initial_weights": "initial",
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet50": "resnet",
    "resnet101": "resnet",
    "resnet_small": "resnet",
    "to_torch": "torch_weights",
    "vit_base": "vit",
    "vit_small": "vit",
    "vit_tiny": "vit",
    "with_normalization": "normalization",
    "without_normalization": "normalization",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
