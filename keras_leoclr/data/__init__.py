"""From names, files and arrays to batches of views."""

from keras_leoclr.data.pipeline import image_batches, view_dataset
from keras_leoclr.data.sources import load

__all__ = ["image_batches", "load", "view_dataset"]
