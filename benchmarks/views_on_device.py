"""Views within a step, in a process of its own: what `views.py --on_device` measures on each backend.

Reads one JSON request per line and answers with images per second of processor time, which other programs on
the same cores do not change much; KERAS_BACKEND chooses the backend.
"""

import functools
import time

import keras
import numpy as np
from turns import answer

import keras_leoclr as kl
from keras_leoclr.views import device, sampling

BACKEND = keras.backend.backend()
ENTRIES = ("image", "size", "query_parameters", "key_parameters")


def batch_of(views, size, batch_size):
    """Images that fill a canvas of the size of the views, and the parameters of their views."""
    images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    sizes = np.full((batch_size, 2), size, "int32")
    draws = sampling.draw_pair(views.settings, batch_size, [0, 1])
    return {"image": images, "size": sizes, **sampling.packed_pair(views.settings, draws, size, size)}


def compiled(function):
    """The function as XLA compiles it, and on torch as torch.compile does, which takes a minute."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.compile(function, dynamic=False)


def plain(function):
    """The function as a graph of single operations on TensorFlow; on torch as it is."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


@functools.cache
def ours(size, batch_size, compile):
    views = kl.LeOCLRViews(size)
    arrays = batch_of(views, size, batch_size)
    function = (compiled if compile else plain)(lambda batch: device.views_of_batch(views.settings, batch))
    return lambda: function({name: keras.ops.convert_to_tensor(arrays[name]) for name in ENTRIES})


@functools.cache
def keras_layers(size, batch_size, compile):
    """The same three views as nearly as the layers of Keras allow.

    Their crops have a single size. JAX does not compile `RandomCrop`, a centred zoom is in its place there.
    """
    images = batch_of(kl.LeOCLRViews(size), size, batch_size)["image"]
    layers = keras.layers
    jitter = {name: 0.4 for name in ("brightness_factor", "contrast_factor", "saturation_factor")}
    kernel = 2 * min(6, size - 1) + 1

    def view(*first):
        stages = (
            layers.RandomFlip("horizontal"),
            layers.RandomColorJitter((0, 255), hue_factor=0.1, **jitter),
            layers.RandomGrayscale(0.2),
            layers.RandomGaussianBlur(0.5, kernel, (0.1, 2.0)),
            layers.Rescaling(1 / 255),
            layers.Normalization(mean=(0.485, 0.456, 0.406), variance=(0.0524, 0.0502, 0.0506)),
        )
        model = keras.Sequential([keras.Input((size, size, 3)), *first, *stages])
        return model

    side = int(0.77 * size)  # the mean side of a crop of 0.2 to 1 of the area

    def crop():
        if BACKEND == "jax":
            return view(layers.RandomZoom((-0.55, 0.0)))
        return view(layers.RandomCrop(side, side), layers.Resizing(size, size))

    views = view(), crop(), crop()
    states = [[list(map(keras.ops.convert_to_tensor, getattr(v, kind))) for v in views] for kind in STATE]

    def make(images, trainable, non_trainable):
        # the state of the generators goes in and comes out, as in a step of Keras
        images = keras.ops.cast(images, "float32")
        parts = zip(views, trainable, non_trainable, strict=True)
        made = [v.stateless_call(one, other, images, training=True) for v, one, other in parts]
        return [outputs for outputs, _ in made], [state for _, state in made]

    function = (compiled if compile else plain)(make)

    def step():
        outputs, states[1] = function(keras.ops.convert_to_tensor(images), *states)
        return outputs

    return step


STATE = ("trainable_variables", "non_trainable_variables")


@functools.cache
def on_host(size, batch_size, compile, stock=False):
    """The same views by TensorFlow in a data set: this library's layer, or stock layers of keras-cv."""
    import tensorflow as tf

    views = kl.keras_cv_views(size, num_crops=2) if stock else kl.LeOCLRViews(size)
    images = batch_of(kl.LeOCLRViews(size), size, batch_size)["image"]
    numbers = tf.data.Dataset.counter()
    made = numbers.map(lambda number: views(tf.constant(images), tf.stack([number, 0])))
    iterator = iter(made)
    return lambda: next(iterator)


KINDS = {
    "ours": ours,
    "keras.layers": keras_layers,
    "host": on_host,
    "stock": functools.partial(on_host, stock=True),
}


def images_per_second(what, size, batch_size, batches, compile=True):
    make = KINDS[what](size, batch_size, compile)
    _wait(make())
    started = time.process_time()
    for _ in range(batches):
        _wait(make())
    return batches * batch_size / (time.process_time() - started)


def _wait(made):
    for value in keras.tree.flatten(made):
        np.asarray(value[0, ..., 0])


if __name__ == "__main__":
    import torch  # its threads are those of the machine, as for the others

    context = torch.no_grad() if BACKEND == "torch" else torch.enable_grad()
    with context:
        answer({"images_per_second": images_per_second})
