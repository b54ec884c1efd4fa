"""The folder of a run: its files, their names, readers and writers. Needs neither Keras nor TensorFlow."""

from keras_leoclr import lazy

__getattr__, __dir__ = lazy.attach(__name__, {"Results": "results", "RunFolder": "folder"})
__all__ = ["Results", "RunFolder"]
