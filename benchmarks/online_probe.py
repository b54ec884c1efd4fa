"""Share of a training step that the online linear probe takes, with its default period.

    python benchmarks/online_probe.py [--rounds 3] [--every 20] [--images 64]

The model, the views and the batch are those of the recipe fashion_mnist. Counted is the time within the
callback's hook of the steps, of the whole time of the epochs after the first; measuring on the queries, once
an epoch, is printed beside it.
"""

import argparse
import statistics
import time

import keras

import keras_leoclr as kl
from keras_leoclr.recipes import fashion_mnist
from keras_leoclr.recipes.pretrain import make_model, make_optimizer, make_views


class Timed(kl.callbacks.OnlineLinearProbe):
    """Adds up the seconds of its hooks."""

    def on_epoch_begin(self, epoch, logs=None):
        self.in_steps, self.started = 0.0, time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        started = time.perf_counter()
        super().on_train_batch_end(batch, logs)
        self.in_steps += time.perf_counter() - started

    def on_epoch_end(self, epoch, logs=None):
        whole = time.perf_counter() - self.started
        started = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.shares.append((self.in_steps / whole, (time.perf_counter() - started) / whole))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("rounds", 3), ("every", 20), ("images", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    recipe = fashion_mnist.RECIPE
    views, source = make_views(recipe), kl.data.load("fashion_mnist", "train[:6000]")
    dataset = kl.data.view_dataset(source, views, recipe.batch_size)
    model = make_model(recipe)
    model.compile(optimizer=make_optimizer(recipe, int(dataset.cardinality())))
    queries = kl.data.image_batches(kl.data.load("fashion_mnist", "train[6000:7000]"), views)
    images = kl.data.image_batches(source, views, options.images)
    probe = Timed(images, queries, 10, every=options.every)
    probe.shares = []
    model.fit(dataset, epochs=1 + options.rounds, verbose=0, shuffle=False, callbacks=[probe])
    for name, shares in zip(("steps", "measuring"), zip(*probe.shares[1:], strict=True), strict=True):
        values = [f"{100 * share:.2f} %" for share in (statistics.median(shares), min(shares), max(shares))]
        print(f"online probe, {name:10}{values[0]} of the epoch ({values[1]} to {values[2]})")
    print(f"{keras.backend.backend()}, {options.images} images every {options.every} steps")


if __name__ == "__main__":
    main()
