"""A run, or several, as one page to look at, and studies as tables and pictures."""

from keras_leoclr import lazy

_PLACES = {"studies": "studies", "table": "accuracies", "write_report": "page"}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
