"""From names, files and arrays to batches of views."""

from keras_leoclr.data.failures import Failures, ImageError
from keras_leoclr.data.images import Images
from keras_leoclr.data.loading import load
from keras_leoclr.data.pipeline import image_batches, view_dataset
from keras_leoclr.data.streams import decode_dataset
from keras_leoclr.data.waiting import Waiting

__all__ = [
    "Failures",
    "ImageError",
    "Images",
    "Waiting",
    "decode_dataset",
    "image_batches",
    "load",
    "view_dataset",
]
