"""Loads images from names, files and arrays, and makes batches of views from them."""

from keras_leoclr import lazy

_PLACES = {
    "Failures": "failures",
    "ImageError": "failures",
    "Images": "images",
    "Source": "source",
    "Waiting": "waiting",
    "array_batches": "array_pipeline",
    "as_source": "source_arguments",
    "decode_dataset": "streams",
    "fashion_scenes": "readers.bundled_scenes",
    "image_batches": "pipeline",
    "load": "loading",
    "statistics": "channels",
    "view_dataset": "pipeline",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
