"""The path of `Results` in version 0.1; it is `keras_leoclr.runs.results` now."""

from keras_leoclr.runs.results import Results

__all__ = ["Results"]
