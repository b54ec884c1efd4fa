"""One recipe per dataset, and what they share."""

from keras_leoclr.training.pretraining import pretrain
from keras_leoclr.training.recipe import Recipe

__all__ = ["Recipe", "pretrain"]
