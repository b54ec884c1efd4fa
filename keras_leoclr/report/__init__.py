"""Reports: a page on one or several runs, and tables and pictures of studies."""

from keras_leoclr import lazy

_PLACES = {"studies": "studies", "table": "accuracies", "write_report": "page"}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
