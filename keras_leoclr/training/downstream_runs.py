"""Runs the training of a detector or of a segmentation model, from settings to scores, in one folder."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import keras

from keras_leoclr import callbacks
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.terminal import Bar
from keras_leoclr.training.downstream import Downstream, contents, load_splits, optimizer, silent
from keras_leoclr.training.downstream_folder import Place

NOTED = ("backbone", "dataset", "train_split", "test_split", "steps", "seed")  # recorded with each result


@dataclasses.dataclass(frozen=True)
class Task:
    """The parts of a recipe that differ between detection and segmentation.

    Attributes:
        name: name of the task, which the names of its results begin with.
        annotations: annotations that the pictures need: "boxes" or "masks".
        model: function `(recipe, number of classes)` that returns a model of raw images.
        losses: arguments of the model's `compile` that name losses.
        batches: function `(training pictures, recipe, first)` that returns endless batches, see
            `training_batches`.
        judge: function `(model, test pictures, recipe, folder)` that returns scores by name; it may write
            `files` to the folder.
        model_file: name of the file for the trained model, which consists of stock Keras layers.
        files: names of the files that `judge` writes.
    """

    name: str
    annotations: str
    model: Callable[[Any, int], keras.Model]
    losses: dict[str, Any]
    batches: Callable[[Any, Any, int], tf.data.Dataset]
    judge: Callable[[keras.Model, Any, Any, pathlib.Path], dict[str, float]]
    model_file: str
    files: tuple[str, ...] = ()


def run(
    task: Task, recipe: Downstream, workdir: str | os.PathLike, overwrite: bool = False, verbose: int = 1
) -> dict[str, float]:
    """Trains and evaluates in a folder that gets its name when model, settings and results are complete.

    Until then the folder has the suffix ".partial". If the training is interrupted after its first step, a
    second call with the same settings, backbone and training pictures continues from the newest checkpoint
    there. If the complete folder cannot be renamed, it is kept, and a second call tries that again.

    Args:
        task: the task.
        recipe: the settings.
        workdir: path of the folder; of a link, the folder that it leads to is meant.
        overwrite: whether earlier results, or an interrupted training with other settings, may be deleted;
            false by default.
        verbose: 0 is silent, 1 (the default) shows a progress bar, 2 prints one line at the end of training.

    Returns:
        The scores of the task by name.

    Raises:
        ValueError: if there are results already, or an interrupted training with other settings, another
            backbone or other training pictures; or if the folder is a mounted disk.
        NonFiniteLossError: if the loss becomes NaN or infinite.
        OSError: if the complete folder cannot get its name.
        Interrupted: (a SystemExit) after SIGTERM or SIGINT, once a checkpoint is written.
    """
    place = Place(task, workdir, overwrite)
    settings = dataclasses.asdict(recipe)
    started = time.monotonic()
    train, test = load_splits(recipe, task.annotations)
    goes_on = place.take_up(settings | {"backend": keras.backend.backend()}, contents(recipe, train))
    folder = place.folder
    try:
        scores = _train_and_judge(task, recipe, folder, train, test, verbose)
        protocol = {name: settings[name] for name in NOTED} | {"backend": keras.backend.backend()}
        if not goes_on:
            protocol["seconds"] = round(time.monotonic() - started, 1)
        for score, value in scores.items():
            folder.results.write(f"{task.name}/{score}", value, **protocol)
        folder.write_recipe(settings)
    except BaseException:
        if not place.has_begun and not place.files:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    place.give_name()
    return scores


def _train_and_judge(task, recipe, folder, train, test, verbose):
    keras.utils.set_random_seed(recipe.seed)
    model = task.model(recipe, len(train.class_names))
    model.compile(optimizer=optimizer(recipe), jit_compile=False, **task.losses)
    with silent():
        _fit(model, lambda first: task.batches(train, recipe, first), recipe, folder.checkpoints, verbose)
    scores = task.judge(model, test, recipe, folder.path)
    # The losses are dropped, since they may be this package's, and so are classes that only keras-cv knows.
    keras.Model(model.input, model.output, name=model.name).save(folder.path / task.model_file)
    return scores


def _fit(model, batches_from, recipe, checkpoints, verbose):
    """Trains for the steps of the recipe, or for those that are left after the existing checkpoints."""
    checkpoint = callbacks.Checkpoint(checkpoints, keep=2, monitor=None)
    start = checkpoint.restore(model)
    if checkpoint.resumed and verbose:
        print(f"Going on after step {recipe.steps if start.epoch else start.batch} of {recipe.steps}.")

    def dataset_at(_, batch):
        left = recipe.steps - batch
        return batches_from(batch).take(left).apply(tf.data.experimental.assert_cardinality(left))

    with Bar(recipe.steps, "Training", "steps", verbose == 1) as bar:

        def after_step(batch, logs):
            loss = float(logs["loss"])  # a mean over the steps, which one step makes NaN for good
            if not math.isfinite(loss):
                raise callbacks.NonFiniteLossError(
                    "`learning_rate` must be so low, or `warmup_steps` so many, that the loss stays finite. "
                    f"Received: learning_rate={recipe.learning_rate:g}, and at step {batch + 1} "
                    f"a loss of {loss}"
                )
            bar.update(batch + 1, f"loss {loss:.4g}")

        shown = keras.callbacks.LambdaCallback(on_train_batch_end=after_step)
        checkpoint.fit(model, dataset_at, 1, [shown], verbose=2 if verbose == 2 else 0)
