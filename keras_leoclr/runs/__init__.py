"""The folder of a training run and the readers and writers of its files; Keras is not imported here."""

from keras_leoclr import lazy

__getattr__, __dir__ = lazy.attach(__name__, {"Results": "results", "RunFolder": "folder"})
__all__ = ["Results", "RunFolder"]
