"""What a training step needs to know about replicas; the identity on one device."""

from __future__ import annotations

import warnings
from typing import Any

import keras


def keep_tensorflow_off_accelerators() -> None:
    """Hides GPUs from TensorFlow where JAX or torch trains: views need the CPU only, and TensorFlow
    would reserve the memory of every GPU that it sees.
    """
    if keras.backend.backend() == "tensorflow":
        return
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:  # devices are in use already: too late, and the user's choice
        warnings.warn(f"TensorFlow keeps its GPUs: {error}", stacklevel=2)


def _replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1  # JAX sees the global batch in one program
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def scale_loss(loss: Any) -> Any:
    """Divides a replica's mean loss by the number of replicas.

    tf.distribute sums gradients over replicas; Keras scales for that only losses of its own classes.
    """
    replicas = _replicas()
    return loss if replicas == 1 else loss / replicas


def gather(values: Any) -> Any:
    """Concatenates the values of all replicas along axis 0, in the same order on each."""
    if _replicas() == 1:
        return values
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_gather(values, axis=0)
