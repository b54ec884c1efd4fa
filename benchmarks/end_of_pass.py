"""Epochs of `fit` as the library makes its batches, beside the same batches with tf.data's default options.

    python benchmarks/end_of_pass.py
    taskset -c 0 python benchmarks/end_of_pass.py     # one core, as each run of a study with --jobs has it

The autotuning of tf.data, which is on by default, has a thread that can hold up the end of each pass
(`keras_leoclr.tensorflow_host.untuned`). Candidates take turns; printed are medians, the medians of the
ratios within a round, and the time between the last step of an epoch and the first of the next one.
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf
from turns import rounds, table

import keras_leoclr as kl

BATCH, SIZE = 64, 32


class Epochs(keras.callbacks.Callback):
    """Measures the time between the last step of an epoch and the first of the next one."""

    def __init__(self):
        super().__init__()
        self.between = []
        self._ended = None

    def on_train_batch_begin(self, batch, logs=None):
        if self._ended is not None:
            self.between.append(time.perf_counter() - self._ended)
            self._ended = None

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.params["steps"]:
            self._ended = time.perf_counter()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, default 5")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each turn, default 4")
    parser.add_argument("--images", type=int, default=6400, help="images of an epoch, default 6,400")
    options = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (options.images, SIZE, SIZE, 3), dtype=np.uint8)
    ours = kl.data.view_dataset(kl.data.load({"image": images}), kl.LeOCLRViews(SIZE), batch_size=BATCH)
    default = tf.data.Options()
    default.autotune.enabled = True
    model = kl.LeOCLR(kl.backbones.resnet_small((SIZE, SIZE, 3)), queue_size=4096)
    model.compile(kl.optimizers.SGD(0.03))
    model.fit(ours.take(3), verbose=0)
    between = {}

    def speed_of(name, dataset):
        def speed():
            epochs = Epochs()
            started = time.perf_counter()
            model.fit(dataset, epochs=options.epochs, verbose=0, callbacks=[epochs])
            between.setdefault(name, []).extend(epochs.between)
            return options.epochs * (options.images // BATCH) * BATCH / (time.perf_counter() - started)

        return speed

    candidates = {"the library": ours, "tf.data's default options": ours.with_options(default)}
    speeds = rounds({name: speed_of(name, dataset) for name, dataset in candidates.items()}, options.rounds)
    print(table(f"{options.epochs} epochs of {options.images} images", speeds, "the library"))
    for name, seconds in between.items():
        median, longest = np.median(seconds), max(seconds)
        print(f"  between two epochs, {name}: {median:.2f} s (median), {longest:.2f} s (longest)")


if __name__ == "__main__":
    main()
