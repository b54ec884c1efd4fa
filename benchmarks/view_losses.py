"""Losses of a training whose views the host makes, and of one that makes the same views within its step.

    python benchmarks/view_losses.py                  # on TensorFlow, JAX and torch, a process each
    python benchmarks/view_losses.py --backends jax

Both start with the same weights and take the same images and draws of Fashion-MNIST. A third training takes
the host's views with noise as large as the largest difference of pixels between the two: its deviation is
what such differences do to the losses.
"""

import argparse
import os
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.views import device, sampling

SIZE = 32


def batches(views, images, batch_size, steps):
    """Of each step the images with the parameters of their views, and the host's views of them."""
    for step in range(steps):
        rows = images[step * batch_size : (step + 1) * batch_size]
        height, width = rows.shape[1:3]
        draws = sampling.draw_pair(views.settings, batch_size, [0, step])
        parameters = sampling.packed_pair(views.settings, draws, height, width)
        sizes = np.full((batch_size, 2), (height, width), "int32")
        of_host = views.views_of_batch(tf.constant(rows), tf.nest.map_structure(tf.constant, draws))
        yield {"image": rows, "size": sizes, **parameters}, {name: v.numpy() for name, v in of_host.items()}


def model_of(views=None):
    keras.utils.set_random_seed(0)
    backbone = kl.backbones.resnet_small((SIZE, SIZE, 3), widths=(16, 32), stem="cifar")
    model = kl.LeOCLR(backbone, queue_size=512, views=views)
    model.compile(kl.optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4))
    return model


def losses(model, data):
    """The loss of each step."""
    return np.array([float(model.train_on_batch(batch, return_dict=True)["loss"]) for batch in data])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax", "torch"])
    parser.add_argument("--here", action="store_true", help="in this process, on its own backend")
    options = parser.parse_args()
    if not options.here:
        for backend in options.backends:
            sizes = ["--steps", str(options.steps), "--batch_size", str(options.batch_size)]
            environment = {**os.environ, "KERAS_BACKEND": backend}
            subprocess.run([sys.executable, __file__, "--here", *sizes], env=environment, check=True)
        return
    views = kl.LeOCLRViews(SIZE)
    source = kl.data.load("fashion_mnist").take(options.steps * options.batch_size)
    images = np.stack([np.asarray(element["image"]) for element in source])
    made = list(batches(views, images, options.batch_size, options.steps))
    std = np.array(views.settings.keys.std)
    largest = 0.0
    for batch, of_host in made:
        tensors = {name: keras.ops.convert_to_tensor(value) for name, value in batch.items()}
        for name, view in device.views_of_batch(views.settings, tensors).items():
            difference = np.abs(keras.ops.convert_to_numpy(view) - of_host[name]) * std
            largest = max(largest, 255 * difference.max())
    rng = np.random.default_rng(0)

    def with_noise(view):
        return (view + rng.uniform(-largest, largest, view.shape) / 255 / std).astype("float32")

    noisy = [{name: with_noise(view) for name, view in of_host.items()} for _, of_host in made]
    on_host = losses(model_of(), [of_host for _, of_host in made])
    print(f"{keras.backend.backend()}, {options.steps} steps of {options.batch_size} images, means so far")
    print(f"largest difference of pixels: {largest:.4f} of 255")
    for name, other in (
        ("views within the step", losses(model_of(views), [batch for batch, _ in made])),
        ("the host's views with noise", losses(model_of(), noisy)),
    ):
        deviation = np.abs(other - on_host).max()
        print(f"{name}: losses {on_host[0]:.4f} to {on_host[-1]:.4f} deviate by at most {deviation:.1e}")


if __name__ == "__main__":
    main()
