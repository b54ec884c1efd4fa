"""What several tests need."""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.checkpointing import state


def small_model(size=8, channels=3, **options) -> kl.LeOCLR:
    """A compiled model with a tiny ResNet."""
    # 8 channels: with 4, torch 2.13.0 on AVX2 corrupts memory in the 1 x 1 convolution of the shortcut
    backbone = kl.backbones.resnet_small((size, size, channels), widths=(8, 16))
    options = {"projection_dim": 8, "queue_size": 24, "temperature": 0.5, "momentum": 0.9, **options}
    model = kl.LeOCLR(backbone, **options)
    model.compile(optimizer=kl.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-4))
    return model


@functools.cache
def _compiled_model():
    model = small_model(momentum=kl.schedules.CosineMomentum(0.9, 12))
    return model, state.arrays_of(model)


def fresh_model() -> kl.LeOCLR:
    """One model for many tests, whose step is compiled once, with the numbers of a new one."""
    keras.utils.set_random_seed(1)
    model, initial = _compiled_model()
    state.restore(model, initial, ("model", "optimizer", "metrics"))
    return model


def random_views(batches=2, batch_size=8, size=8, views=2, seed=0) -> dict[str, np.ndarray]:
    """Query and key views drawn from a normal distribution, for `batches` steps."""
    rng = np.random.default_rng(seed)
    count = batches * batch_size
    return {
        "query": rng.standard_normal((count, size, size, 3)).astype("float32"),
        "keys": rng.standard_normal((count, views, size, size, 3)).astype("float32"),
    }


def batched(views: dict[str, np.ndarray], batch_size=8) -> tf.data.Dataset:
    """Views as `fit` takes them."""
    return tf.data.Dataset.from_tensor_slices(views).batch(batch_size, drop_remainder=True)


def to_numpy(value) -> np.ndarray:
    """A tensor or variable of the backend as a NumPy array."""
    return keras.ops.convert_to_numpy(value)


def random_images(count=4, height=12, width=12, channels=3, seed=0) -> np.ndarray:
    """uint8 images, every pixel at random."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


class Stopped(Exception):
    """What `StopAfter` raises."""


class StopAfter(keras.callbacks.Callback):
    """A crash after some steps; put it after a checkpoint to crash when that step is saved."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Stopped
