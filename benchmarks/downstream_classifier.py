"""A classifier on a run's backbone against the same network from scratch, with a tenth of the labels.

    python benchmarks/downstream_classifier.py runs/quickstart

Plain Keras from the loaded file on: backbone and one Dense layer are trained together with Adam, raw images
in. Both networks get the same labelled images, batches, epochs and candidates for the learning rate; each
uses the one that is best on a fifth of the labelled images of the first seed, held out of the training. The
test images are looked at once, at the end. The draw of the labelled images, the head, the order and, from
scratch, the weights depend on the seed.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.evaluation.label_draws import labelled_fraction
from keras_leoclr.evaluation.statistics import mean_of_runs

RATES = (3e-4, 1e-3, 3e-3, 1e-2)


def arrays(dataset: str, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw images (N, S, S, 3) in [0, 255] and labels (N,)."""
    views = kl.LeOCLRViews(size, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    batches = list(kl.data.image_batches(kl.data.load(dataset, split), views).as_numpy_iterator())
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return images, labels.astype("int32")


def train(
    backbone: keras.Model, pretrained: bool, images, labels, rate: float, epochs: int, seed: int
) -> keras.Model:
    """A classifier, trained."""
    keras.utils.set_random_seed(seed)
    own = copy_of(backbone, weights=pretrained)
    classifier = keras.Sequential([own, keras.layers.Dense(int(labels.max()) + 1)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = epochs * -(-len(labels) // 64)
    classifier.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)), loss)
    classifier.fit(images, labels, batch_size=64, epochs=epochs, verbose=0)
    return classifier


def accuracy(classifier: keras.Model, images, labels) -> float:
    """Share of images whose class is found."""
    return float((classifier.predict(images, 256, verbose=0).argmax(axis=1) == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run, or a .keras file of a backbone")
    parser.add_argument("--dataset", default="fashion_mnist", help="as keras_leoclr.data.load takes it")
    parser.add_argument("--fraction", type=float, default=0.1, help="share of the labels")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the labelled images")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    options = parser.parse_args()
    tf.get_logger().setLevel("ERROR")
    backbone = kl.backbones.load(options.run, normalization=True)
    size = backbone.input_shape[1]
    images, labels = arrays(options.dataset, "train", size)
    test_images, test_labels = arrays(options.dataset, "test", size)
    draws = [labelled_fraction(labels, options.fraction, seed) for seed in range(options.seeds)]
    held = labelled_fraction(labels[draws[0]], 0.2, seed=0)
    held_out, fitted = draws[0][held], np.delete(draws[0], held)
    print(f"{len(draws[0])} of {len(labels)} labels, {options.epochs} epochs, {options.seeds} seeds")
    for name in ("from scratch", "pretrained"):
        pretrained = name == "pretrained"
        found = {}
        for rate in RATES:
            trained = train(
                backbone, pretrained, images[fitted], labels[fitted], rate, options.epochs, seed=0
            )
            found[rate] = accuracy(trained, images[held_out], labels[held_out])
        best = max(found, key=found.get)
        values = []
        for seed, rows in enumerate(draws):
            trained = train(backbone, pretrained, images[rows], labels[rows], best, options.epochs, seed)
            values.append(accuracy(trained, test_images, test_labels))
        mean, std, (low, high) = mean_of_runs(values)
        tried = ", ".join(f"{rate:g}: {100 * value:.1f}" for rate, value in found.items())
        print(
            f"{name:14}{100 * mean:.1f} ± {100 * std:.1f} % on {len(test_labels)} test images "
            f"(95 % {100 * low:.1f} to {100 * high:.1f}); rate {best:g}; held out, by rate: {tried}",
            flush=True,
        )


if __name__ == "__main__":
    main()
