"""Search for similar pictures: an index of the features of a folder's pictures, and the search in it."""

from keras_leoclr import lazy

_PLACES = {
    "Encoder": "encoder",
    **dict.fromkeys(("IndexFileError", "KINDS", "PictureIndex", "default_path"), "index_file"),
    **dict.fromkeys(("Update", "update_index"), "update"),
    **dict.fromkeys(("Hit", "as_json", "search"), "query"),
}
__all__ = sorted(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
