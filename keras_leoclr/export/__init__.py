"""A backbone in the formats of other runtimes, each compared with Keras on real images before it is kept."""

from keras_leoclr import lazy

_PLACES = {
    **dict.fromkeys(("FORMATS", "Format"), "formats"),
    "ExportError": "conversion",
    **dict.fromkeys(("Exported", "TOLERANCE", "write"), "writing"),
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
