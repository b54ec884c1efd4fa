"""TensorFlow on the host: it reads and decodes images and makes views, whatever backend trains.

Modules that cannot do without TensorFlow take `tf` from here; everything else of the package works where
TensorFlow is not installed.
"""

from __future__ import annotations

import os
import warnings

import keras  # before TensorFlow: where Keras does not work, its error says more

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError(
        "Reading images from files and making views on the host needs TensorFlow, which cannot be imported "
        f"here ({error}): `pip install tensorflow`. Training on arrays of views, kNN, linear probes and "
        "reports work without it."
    ) from error

__all__ = ["tf"]


def _keep_off_accelerators() -> None:
    """Hides GPUs from TensorFlow where JAX or torch trains.

    TensorFlow needs the CPU only there, and it would reserve the memory of every GPU that it sees.
    """
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:  # devices are in use already: too late, and the user's choice
        warnings.warn(f"TensorFlow keeps its GPUs: {error}", stacklevel=2)


def _take_memory_as_needed() -> None:
    """Has TensorFlow take the memory of GPUs as it needs it, where it would take all of it at its start.

    The environment variable TF_FORCE_GPU_ALLOW_GROWTH, if it is set, decides instead.
    """
    if "TF_FORCE_GPU_ALLOW_GROWTH" in os.environ:
        return
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except (RuntimeError, ValueError):  # in use already, or divided into logical devices: the user's choice
        pass


if keras.backend.backend() == "tensorflow":
    _take_memory_as_needed()
else:
    _keep_off_accelerators()
