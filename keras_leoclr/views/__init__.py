"""Images to views: what the query encoder and the key encoder see of an image."""

from keras_leoclr.views.host import (
    CropToOriginalViews,
    LeOCLRViews,
    MoCoV2Views,
    RandomView,
    keras_cv_views,
)
from keras_leoclr.views.preprocessing import Preprocessing
from keras_leoclr.views.settings import IMAGENET_MEAN, IMAGENET_STD, LUMA, PHOTOMETRICS, RGB_TO_YIQ

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LUMA",
    "PHOTOMETRICS",
    "RGB_TO_YIQ",
    "CropToOriginalViews",
    "LeOCLRViews",
    "MoCoV2Views",
    "Preprocessing",
    "RandomView",
    "keras_cv_views",
]
