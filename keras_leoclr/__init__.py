"""Self-supervised pretraining of image encoders with LeOCLR and MoCo v2 in Keras 3.

Importing the package loads neither Keras nor TensorFlow: every name is imported when it is first used.
"""

import os

from keras_leoclr import lazy, registration

# TensorFlow reads it once, when it is imported, which Keras often does. Its cost estimator warns of every
# crop_and_resize; level 2 shows errors only.
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
    "views": "views",
}
# Not named in `__all__`, but found without an import of their own.
_MODULES = {name: name for name in ("heads", "key_queue", "model")}

__all__ = list(_PLACES)
__version__ = "0.1.0"
__getattr__, __dir__ = lazy.attach(__name__, _PLACES | _MODULES)

registration.register()
