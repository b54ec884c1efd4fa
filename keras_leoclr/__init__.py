"""Self-supervised pretraining of image encoders with LeOCLR and MoCo v2 in Keras 3.

Importing this package imports neither Keras nor TensorFlow: each name is imported when it is first used.
"""

import os

from keras_leoclr import lazy, registration

# TensorFlow's cost estimator prints a warning for every crop_and_resize; level 2 shows errors only. The
# variable has to be set before Keras may import TensorFlow, which reads it only then.
_own_log_level = "TF_CPP_MIN_LOG_LEVEL" not in os.environ  # False if the user has set it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_PLACES = {
    "CropToOriginalViews": "views",
    "KeyQueue": "key_queue",
    "LeOCLR": "model",
    "LeOCLRViews": "views",
    "MoCoV2Views": "views",
    "RandomView": "views",
    "Run": "run_handle",
    "backbones": "backbones",
    "callbacks": "callbacks",
    "data": "data",
    "distribution": "distribution",
    "embed": "embeddings",
    "evaluate": "one_call",
    "evaluation": "evaluation",
    "export": "export",
    "keras_cv_views": "views",
    "losses": "losses",
    "model_card": "model_card",
    "optimizers": "optimizers",
    "pretrain": "one_call",
    "projection_head": "heads",
    "schedules": "schedules",
    "tune": "one_call",
    "views": "views",
}
# These modules are not in `__all__`, but `keras_leoclr.heads` works without importing the module first.
_MODULES = {name: name for name in ("heads", "key_queue", "model")}

__all__ = list(_PLACES)
__version__ = "0.2.0"
__getattr__, __dir__ = lazy.attach(__name__, _PLACES | _MODULES)

registration.register()
