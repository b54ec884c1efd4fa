"""One recipe per dataset, and what they share."""

from keras_leoclr.recipes.pretrain import pretrain
from keras_leoclr.recipes.recipe import Recipe

__all__ = ["Recipe", "pretrain"]
