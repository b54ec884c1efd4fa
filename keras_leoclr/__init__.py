"""Self-supervised pretraining of image encoders with LeOCLR and MoCo v2 in Keras 3."""

from keras_leoclr import backbones, losses, optimizers
from keras_leoclr.views import LeOCLRViews, MoCoV2Views, RandomView, keras_cv_views
from keras_leoclr.key_queue import KeyQueue
from keras_leoclr.model import LeOCLR
