"""Self-supervised pretraining of image encoders with LeOCLR and MoCo v2 in Keras 3."""

from keras_leoclr import (
    backbones,
    callbacks,
    data,
    distribution,
    evaluation,
    export,
    losses,
    model_card,
    optimizers,
    schedules,
    views,
)
from keras_leoclr.heads import projection_head
from keras_leoclr.key_queue import KeyQueue
from keras_leoclr.model import LeOCLR
from keras_leoclr.views import (
    CropToOriginalViews,
    LeOCLRViews,
    MoCoV2Views,
    RandomView,
    keras_cv_views,
)

__all__ = [
    "CropToOriginalViews",
    "KeyQueue",
    "LeOCLR",
    "LeOCLRViews",
    "MoCoV2Views",
    "RandomView",
    "backbones",
    "callbacks",
    "data",
    "distribution",
    "evaluation",
    "export",
    "keras_cv_views",
    "losses",
    "model_card",
    "optimizers",
    "projection_head",
    "schedules",
    "views",
]
__version__ = "0.1.0"
