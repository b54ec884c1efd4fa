"""Computes the features of pictures, as arrays and as files that other programs read."""

from keras_leoclr import lazy

_PLACES = {"Embeddings": "tables", "embed": "extraction"}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
