"""TensorFlow on the host, where it reads and decodes images and makes views for every backend.

Modules that need TensorFlow import `tf` from here. All other modules of the package work without TensorFlow.
"""

from __future__ import annotations

import os
import warnings

import keras  # before TensorFlow: if Keras cannot be imported, its own error message says more

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError(
        "Reading images from files and making views on the host needs TensorFlow, which cannot be imported "
        f"here ({error}): `pip install tensorflow`. Training on arrays of views, kNN, linear probes and "
        "reports work without it."
    ) from error

__all__ = ["tf", "untuned"]


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the same data set without the autotuning of `tf.data`, which can make the end of a pass slow.

    The thread that tunes sleeps longer and longer, up to a minute. The end of a pass wakes it and waits for
    it, but TensorFlow marks the pass as ended only after the call: a thread that looks at once does not see
    it and sleeps on (`Model::OptimizeLoop` and `CancellationManager::StartCancelWithStatus` in its sources).
    A pass can then take twice as long, without anything being computed.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _keep_off_accelerators() -> None:
    """Hides the GPUs from TensorFlow if the backend is JAX or torch.

    TensorFlow then needs only the CPU, but would reserve the memory of every GPU that it sees.
    """
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:  # TensorFlow already uses its devices, so the program has chosen them
        warnings.warn(f"TensorFlow keeps its GPUs: {error}", stacklevel=2)


def _take_memory_as_needed() -> None:
    """Makes TensorFlow reserve memory of the GPUs only as it needs it, instead of all memory at the start.

    If the environment variable TF_FORCE_GPU_ALLOW_GROWTH is set, it decides instead.
    """
    if "TF_FORCE_GPU_ALLOW_GROWTH" in os.environ:
        return
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except (RuntimeError, ValueError):  # the program already uses the GPUs, or has divided them by itself
        pass


if keras.backend.backend() == "tensorflow":
    _take_memory_as_needed()
else:
    _keep_off_accelerators()
