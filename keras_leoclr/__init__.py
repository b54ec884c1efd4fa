"""Self-supervised pretraining of image encoders with LeOCLR and MoCo v2 in Keras 3."""

import os

# TensorFlow's cost estimator warns of every crop_and_resize; level 2 shows errors only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_leoclr import distribution

distribution.keep_tensorflow_off_accelerators()

from keras_leoclr import (  # noqa: E402
    backbones,
    callbacks,
    data,
    evaluation,
    export,
    losses,
    model_card,
    optimizers,
    schedules,
    views,
)
from keras_leoclr.heads import projection_head  # noqa: E402
from keras_leoclr.key_queue import KeyQueue  # noqa: E402
from keras_leoclr.model import LeOCLR  # noqa: E402
from keras_leoclr.views import (  # noqa: E402
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
