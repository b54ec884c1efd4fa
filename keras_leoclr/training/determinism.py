"""The same bits every time."""

from __future__ import annotations

import importlib.util
import os

import keras


def make_deterministic() -> None:
    """Asks TensorFlow, JAX and torch for the same bits every time; must precede the first operation.

    It holds for the rest of the process, and costs speed on GPUs: TensorFlow then enqueues keys by a copy of
    the queue on the host, as of all scattered updates, and torch chooses no faster convolutions by trial. It
    cannot give the same bits on another card, with another number of devices or another version of a package:
    sums are then taken in another order. torch raises an error for an operation that has no deterministic
    form. All of this is by the packages' documentation, and was not yet run on a GPU.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        _make_tensorflow_deterministic()
    backend = keras.backend.backend()
    if backend == "jax":
        # read when JAX first looks for devices
        known = os.environ.get("XLA_FLAGS", "")
        if "xla_gpu_deterministic_ops" not in known:
            os.environ["XLA_FLAGS"] = f"{known} --xla_gpu_deterministic_ops=true".strip()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def _make_tensorflow_deterministic():
    """TensorFlow makes the views, whatever backend trains."""
    import tensorflow as tf

    # keras-cv's layers ask for a global generator, which must have a seed then; the views do not use it
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    tf.config.experimental.enable_op_determinism()
