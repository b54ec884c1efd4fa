"""Share of the training that the online linear probe takes, as the recipes use it.

    python benchmarks/online_probe.py [--rounds 3] [--every 20] [--images 64]

The model, the views, the images and the batch are those of the recipe fashion_mnist. Counted is the time
within the callback's hook of the steps, of the whole time of the steps of the epochs after the first; and
beside it the time for measuring on the queries once an epoch, with features that are computed for the probe
alone, and with those of KNNMonitor. The first step of the classifier, which compiles, is printed in seconds.
"""

import argparse
import statistics
import time

import keras

import keras_leoclr as kl
from keras_leoclr.recipes import fashion_mnist
from keras_leoclr.training.build import make_model, make_optimizer, make_views
from keras_leoclr.training.recipe import knn_sizes


class Timed(kl.callbacks.OnlineLinearProbe):
    """Notes the seconds of its hooks, epoch by epoch."""

    def on_train_begin(self, logs=None):
        self.in_steps, self.measuring, self.first = [], [], None

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.in_steps.append(0.0)

    def on_train_batch_end(self, batch, logs=None):
        started, turn = time.perf_counter(), self._turn
        super().on_train_batch_end(batch, logs)
        seconds = time.perf_counter() - started
        self.in_steps[-1] += seconds
        if self.first is None and self._turn != turn:
            self.first = seconds

    def on_epoch_end(self, epoch, logs=None):
        started = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.measuring.append(time.perf_counter() - started)


class Clock(keras.callbacks.Callback):
    """Notes how long the steps of an epoch take; it comes first."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("rounds", 3), ("every", 20), ("images", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    recipe = fashion_mnist.RECIPE
    views, source = make_views(recipe), kl.data.load("fashion_mnist")
    dataset = kl.data.view_dataset(source, views, recipe.batch_size)
    steps = int(dataset.cardinality())
    model = make_model(recipe)
    model.compile(optimizer=make_optimizer(recipe, steps))
    count, others = knn_sizes(recipe, int(source.cardinality()))
    bank = kl.data.load("fashion_mnist", f"train[:{count}]")
    queries = kl.data.image_batches(kl.data.load("fashion_mnist", f"train[{count}:{count + others}]"), views)
    monitor = kl.callbacks.KNNMonitor(kl.data.image_batches(bank, views), queries)
    images = kl.data.image_batches(bank, views, options.images)
    clock = Clock()
    shared, alone = (Timed(images, given, every=options.every) for given in (monitor, queries))
    model.fit(
        dataset,
        epochs=1 + options.rounds,
        verbose=0,
        shuffle=False,
        callbacks=[clock, alone, monitor, shared],
    )
    print(f"{keras.backend.backend()}, {options.images} images every {options.every} of {steps} steps")
    for name, seconds in (
        ("steps", shared.in_steps),
        ("measuring, features of its own", alone.measuring),
        ("measuring, features of KNNMonitor", shared.measuring),
    ):
        shares = [100 * own / whole for own, whole in zip(seconds[1:], clock.seconds[1:], strict=True)]
        print(
            f"{name:34}{statistics.median(shares):.2f} % of the epoch "
            f"({min(shares):.2f} to {max(shares):.2f})"
        )
    print(f"first step of the classifier: {alone.first:.1f} s")


if __name__ == "__main__":
    main()
