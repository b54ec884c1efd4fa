"""What it costs to be watched: seconds in the hooks of `Progress`, `TensorBoard` and the others of a run.

    python benchmarks/watching.py --epochs 3

A part of the quickstart's training; each callback's hooks are timed where Keras calls them.
"""

import argparse
import collections
import tempfile
import time

import keras

from keras_leoclr import data
from keras_leoclr.callbacks import Feed, Health, HistoryFile, Progress, TensorBoard
from keras_leoclr.recipes.fashion_mnist import RECIPE
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.status import StatusFile
from keras_leoclr.training.build import make_model, make_optimizer, make_views
from keras_leoclr.views.preview import write_views

HOOKS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_train") or "epoch" in name]


def timed(callback, spent):
    """The callback, whose hooks add their seconds to `spent`."""
    for name in HOOKS:
        hook = getattr(callback, name)

        def measured(*arguments, hook=hook, **options):
            began = time.perf_counter()
            hook(*arguments, **options)
            spent[type(callback).__name__] += time.perf_counter() - began

        setattr(callback, name, measured)
    return callback


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    epochs = parser.parse_args().epochs
    views, source = make_views(RECIPE), data.load(RECIPE.dataset, "train")
    waiting = data.Waiting()
    dataset = waiting.watch(data.view_dataset(source, views, RECIPE.batch_size))
    steps = int(dataset.cardinality())
    model = make_model(RECIPE, steps)
    model.compile(optimizer=make_optimizer(RECIPE, steps))
    feed = Feed(RECIPE.batch_size, views.num_key_views, steps, waiting.seconds)
    spent = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        write_views(views, source, run.views_file)
        chosen = [
            Health(feed, run.results),
            HistoryFile(run.history_file),
            TensorBoard(run.logs, run.views_file, source.take(1000), views),
            Progress(feed, StatusFile(run.status_file), verbose=2),
        ]
        began = time.perf_counter()
        model.fit(
            dataset,
            epochs=epochs,
            verbose=0,
            shuffle=False,
            callbacks=[timed(each, spent) for each in chosen],
        )
        total = time.perf_counter() - began
        size = sum(path.stat().st_size for path in run.logs.rglob("*") if path.is_file())
    print(f"{epochs} epochs of {steps} steps: {total:.1f} s, {keras.backend.backend()}")
    for name, seconds in spent.most_common():
        print(f"{name:12} {seconds:7.3f} s  {seconds / total:.2%}")
    print(f"logs: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
