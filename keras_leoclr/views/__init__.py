"""The views of images: what the query encoder and the key encoder are given."""

from keras_leoclr import lazy

_PLACES = {
    "IMAGENET_MEAN": "settings",
    "IMAGENET_STD": "settings",
    "LUMA": "settings",
    "PHOTOMETRICS": "settings",
    "RGB_TO_YIQ": "settings",
    "CropToOriginalViews": "pairs",
    "LeOCLRViews": "pairs",
    "MoCoV2Views": "pairs",
    "Preprocessing": "preprocessing",
    "RandomView": "host",
    "keras_cv_views": "stock",
}

__all__ = list(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
