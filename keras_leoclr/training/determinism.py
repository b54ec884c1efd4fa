"""Makes training deterministic: repeated runs give the same bits."""

from __future__ import annotations

import importlib.util
import os

import keras


def make_deterministic() -> None:
    """Makes TensorFlow, JAX and torch deterministic; it must be called before the first operation.

    The setting holds for the rest of the process and costs speed on GPUs: TensorFlow then updates the queue
    by copying it to the host, as it does for all scattered updates, and torch does not try out faster
    convolutions. Results still differ between cards, numbers of devices and versions of a package, because
    sums are then taken in another order. torch raises an error for an operation that has no deterministic
    form. This is taken from the packages' documentation. On an H100, interrupted and resumed runs ended with
    the same bits on JAX and on torch (`tools/gpu_check.py`, check 8); TensorFlow was not yet run on a GPU.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        _make_tensorflow_deterministic()
    backend = keras.backend.backend()
    if backend == "jax":
        # JAX reads this variable when it first looks for devices.
        known = os.environ.get("XLA_FLAGS", "")
        if "xla_gpu_deterministic_ops" not in known:
            os.environ["XLA_FLAGS"] = f"{known} --xla_gpu_deterministic_ops=true".strip()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def _make_tensorflow_deterministic():
    """Makes TensorFlow deterministic, because it makes the views under every backend."""
    import tensorflow as tf

    # keras-cv's layers create a global generator, which then needs a seed; the views themselves do not use
    # it.
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    tf.config.experimental.enable_op_determinism()
