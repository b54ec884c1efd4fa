"""Keeps the import path of `Results` from version 0.1; the class is in `keras_leoclr.runs.results` now."""

from keras_leoclr.runs.results import Results

__all__ = ["Results"]
