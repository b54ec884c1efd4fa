"""Networks, batches and random numbers for all checks, equal on each backend and machine."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
import zlib

import keras
import numpy as np

import keras_leoclr as kl

REFERENCE = pathlib.Path(__file__).with_name("reference.json")


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of the checks.

    Attributes:
        name: name of the numbers in `reference.json`.
        network: a name of `kl.backbones`.
        pixels: side of the views in pixels.
        batch: number of images of a step.
        queue: number of keys in the queue.
        fast_network, fast_pixels, fast_batch, fast_queue: the same for the checks of speed and memory.
        steps: number of steps of a measurement.
    """

    name: str
    network: str
    pixels: int
    batch: int
    queue: int
    fast_network: str
    fast_pixels: int
    fast_batch: int
    fast_queue: int
    steps: int


FULL = Size("resnet18", "resnet18", 64, 16, 512, "resnet50", 224, 256, 65536, 10)
TINY = Size("tiny", "resnet_small", 16, 8, 64, "resnet_small", 16, 8, 64, 2)


class Batches(keras.utils.PyDataset):
    """Repeats the batches of a list endlessly, starting with batch `first`."""

    def __init__(self, batches, count, first=0):
        super().__init__()
        self.batches, self.count, self.first = batches, count, first

    def __len__(self):
        return self.count - self.first

    def __getitem__(self, index):
        return (self.batches[(self.first + index) % len(self.batches)],)


def drawn(shape, name):
    """Normally distributed numbers that depend only on the name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype("float32")


def batch_of(pixels, batch, number=0, dtype="float32"):
    query = drawn((batch, pixels, pixels, 3), f"query {number}")
    keys = np.stack([query[:, ::-1], query[:, :, ::-1]], axis=1) + 0.5 * drawn(
        (batch, 2, pixels, pixels, 3), f"keys {number}"
    )
    return {"query": query.astype(dtype), "keys": keys.astype(dtype)}


def model_of(network, pixels, queue, policy="float32", learning_rate=0.03, **options):
    """A compiled model whose learning rate follows a schedule, as in a recipe."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        build = getattr(kl.backbones, network)
        small = {"widths": (8, 16)} if network == "resnet_small" else {}
        model = kl.LeOCLR(build((pixels, pixels, 3), **small), queue_size=queue, **options)
    finally:
        keras.config.set_dtype_policy(before)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, 1000)
    model.compile(kl.optimizers.SGD(rate, momentum=0.9, weight_decay=1e-4))
    return model


def give_drawn_weights(model):
    """Sets weights that are the same on every backend."""
    for encoder in (model.query_encoder, model.key_encoder):
        weights = []
        for number, weight in enumerate(encoder.get_weights()):
            if weight.ndim > 1:
                scale = np.sqrt(2.0 / np.prod(weight.shape[:-1]))
                weight = scale * drawn(weight.shape, f"weight {number}")
            weights.append(weight.astype("float32"))
        encoder.set_weights(weights)
    keys = drawn(model.key_queue.keys.shape, "queue")
    model.key_queue.keys.assign(keys / np.linalg.norm(keys, axis=1, keepdims=True))


def numbers_of_five_steps(size, policy="float32"):
    """The loss of each of five steps, and numbers that represent the queue and the weights after them.

    With a learning rate of 0.03 the steps amplify differences in rounding a thousandfold: CPUs then differ as
    much from each other (2e-3) as TF32 does from float32. With 0.001 CPUs differ by 1e-5, and TF32 by 1e-3.
    """
    model = model_of(size.network, size.pixels, size.queue, policy, learning_rate=0.001)
    give_drawn_weights(model)
    losses = []
    for number in range(5):
        batch = batch_of(size.pixels, size.batch, number)
        losses.append(float(model.fit(Batches([batch], 1), verbose=0).history["loss"][0]))
    queue = keras.ops.convert_to_numpy(model.key_queue.keys)
    weights = model.query_encoder.get_weights()
    chosen = np.linspace(0, len(weights) - 1, 8).astype(int)
    return {
        "losses": losses,
        "queue": [float(np.sum(queue * drawn(queue.shape, f"direction {i}"))) for i in range(4)],
        "queue_rows": queue[: 2 * size.batch : size.batch, :4].ravel().tolist(),
        "weights": [float(np.linalg.norm(weights[number])) for number in chosen],
        "entries": [float(weights[number].ravel()[0]) for number in chosen],
    }


def deviation(found, expected):
    """The largest difference between two sets of numbers, relative to the largest number of each list.

    It is NaN if a number is, which Python's `max` would lose.
    """
    lists = ((np.asarray(found[name]), np.asarray(values)) for name, values in expected.items())
    differences = [np.abs(one - other).max() / max(np.abs(other).max(), 1e-12) for one, other in lists]
    return float(np.max(differences))


def reference():
    return json.loads(REFERENCE.read_text(encoding="utf-8"))


def seconds_of(function, count):
    """Median time of a call in seconds; `function` must return only when the device has finished."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


# === Views on the device ===


def pictures(count, pixels):
    """Smooth coloured pictures (count, pixels, pixels, 3) uint8, all of them different."""
    rows, columns = np.mgrid[:pixels, :pixels] / pixels
    phases = np.random.default_rng(3).uniform(0, 6, (count, 3, 3))
    waves = [
        np.sin(6 * a * rows[..., None] + c) * np.cos(5 * b * columns[..., None] + a)
        for a, b, c in (phase[:, None, None] for phase in phases)
    ]
    return np.clip(127.5 + 127.5 * np.stack(waves), 0, 255).astype("uint8")


def canvases_of(views, images, seed):
    """A batch of images with the parameters of their views, as `LeOCLR(views=...)` takes it."""
    from keras_leoclr.views import sampling

    draws = sampling.draw_pair(views.settings, len(images), np.asarray(seed))
    size = np.tile(np.asarray(images.shape[1:3], "int32"), (len(images), 1))
    packed = sampling.packed_pair(views.settings, draws, *(size.T.astype("float32")))
    return {"image": images, "size": size, **{name: np.asarray(value) for name, value in packed.items()}}
