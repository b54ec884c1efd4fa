"""Exports a backbone to other formats, and compares each export with Keras before it is kept."""

from keras_leoclr import lazy

_PLACES = {
    **dict.fromkeys(("FORMATS", "Format"), "formats"),
    "ExportError": "conversion",
    **dict.fromkeys(("Exported", "TOLERANCE", "write"), "writing"),
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
