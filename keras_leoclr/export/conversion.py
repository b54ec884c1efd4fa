"""Converts a backbone to another format, and explains errors of the converters."""

from __future__ import annotations

import math
import pathlib

import keras
import numpy as np

from keras_leoclr.backbones.graph import rewired
from keras_leoclr.backbones.torch_weights import to_torch
from keras_leoclr.export.formats import FORMATS


class ExportError(ValueError):
    """The export failed, or its features differ from those of Keras. The incomplete file was removed."""


def make(backbone: keras.Model, path: pathlib.Path, format: str) -> None:
    """Writes a backbone in another format.

    Args:
        backbone: a built Keras model.
        path: path of the new file or folder, which must not exist.
        format: a name in `FORMATS`.

    Raises:
        ExportError: if the format cannot be written by this version of Keras on this backend.
        ImportError: if a package is missing.
    """
    kind = FORMATS[format]
    try:
        if format == "keras":
            backbone.save(path)
        elif kind.keras_name is None:
            to_torch(backbone, path)
        else:
            network = _with_error_function(backbone) if format == "onnx" else backbone
            network(np.zeros((1, *network.input_shape[1:]), "float32"))  # Keras asks for a first call
            network.export(str(path), format=kind.keras_name, verbose=False)
    except ImportError as error:
        raise ImportError(
            f"{format} needs another package on {keras.backend.backend()}; nothing is left. {hint(format)} "
            f"Received: {first_line(error)}"
        ) from error
    except Exception as error:  # each converter raises its own kinds
        raise ExportError(
            f"Keras {keras.__version__} cannot write {format} on {keras.backend.backend()}; nothing is left. "
            f"{hint(format)} Received: {first_line(error)}"
        ) from error


@keras.saving.register_keras_serializable("keras_leoclr")
class _ErrorFunctionGELU(keras.layers.Layer):
    """GELU as `0.5 x (1 + erf(x / sqrt(2)))`: ONNX has erf, but not the erfc that TensorFlow's GELU uses."""

    def call(self, x):
        return 0.5 * x * (1.0 + keras.ops.erf(x / math.sqrt(2.0)))


def _with_error_function(backbone: keras.Model) -> keras.Model:
    """Returns a network of the same layers, in which GELU layers are replaced by `_ErrorFunctionGELU`."""

    def exchanged(layer):
        gelu = isinstance(layer, keras.layers.Activation) and layer.get_config()["activation"] == "gelu"
        return _ErrorFunctionGELU(name=layer.name) if gelu else layer

    if any(exchanged(layer) is not layer for layer in backbone.layers):
        return rewired(backbone, exchanged)
    return backbone


def require(package: str, format: str) -> None:
    """Raises ImportError if a package that a format needs is missing; it names the extra to install."""
    try:
        __import__(package)
    except ImportError as error:
        extra = "torch" if package == "torch" else "export"
        raise ImportError(
            f"`{format}` needs the package {package}: pip install 'keras-leoclr[{extra}]'"
        ) from error


def hint(format: str) -> str:
    """Returns a sentence that says where a format can be written."""
    if keras.backend.backend() == "tensorflow" or FORMATS[format].keras_name is None:
        return "docs/export.md has what works where."
    return (
        "The same file can be written on TensorFlow, from the same backbone: "
        f"KERAS_BACKEND=tensorflow leoclr export --formats {format}."
    )


def first_line(error: BaseException) -> str:
    """Returns the type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
