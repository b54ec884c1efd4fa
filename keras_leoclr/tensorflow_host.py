"""TensorFlow on the host: it reads and decodes images and makes views, whatever backend trains.

Modules that cannot do without TensorFlow take `tf` from here; everything else of the package works where
TensorFlow is not installed.
"""

from __future__ import annotations

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
    if keras.backend.backend() == "tensorflow":
        return
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:  # devices are in use already: too late, and the user's choice
        warnings.warn(f"TensorFlow keeps its GPUs: {error}", stacklevel=2)


_keep_off_accelerators()
