"""Runs the training of a detector or of a segmentation model, from settings to scores, in one folder."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import keras

from keras_leoclr import callbacks
from keras_leoclr.runs import checkpoint_paths
from keras_leoclr.runs.files import PARTIAL, write_json
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.terminal import Bar
from keras_leoclr.training.downstream import Downstream, load_splits, optimizer, silent
from keras_leoclr.training.run_data import same_place

SETTINGS = "settings.json"  # the file of an unfinished training, beside its checkpoints
PATHS = ("backbone", "dataset", "data_dir")  # settings that are paths, which can be written in several ways
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
    second call with the same settings continues from the newest checkpoint there.

    Args:
        task: the task.
        recipe: the settings.
        workdir: path of the folder.
        overwrite: whether earlier results, or an interrupted training with other settings, may be deleted;
            false by default.
        verbose: 0 is silent, 1 (the default) shows a progress bar, 2 prints one line at the end of training.

    Returns:
        The scores of the task by name.

    Raises:
        ValueError: if there are results already, or an interrupted training with other settings.
        Interrupted: (a SystemExit) after SIGTERM or SIGINT, once a checkpoint is written.
    """
    workdir = pathlib.Path(workdir)
    _check_place(task, workdir, overwrite)
    folder = RunFolder(workdir.with_name(workdir.name + PARTIAL))
    settings = dataclasses.asdict(recipe)
    goes_on = _take_up(folder, settings | {"backend": keras.backend.backend()}, overwrite)
    try:
        started = time.monotonic()
        scores = _train_and_judge(task, recipe, folder, verbose)
        protocol = {name: settings[name] for name in NOTED} | {"backend": keras.backend.backend()}
        if not goes_on:
            protocol["seconds"] = round(time.monotonic() - started, 1)
        for score, value in scores.items():
            folder.results.write(f"{task.name}/{score}", value, **protocol)
        folder.write_recipe(settings)
        shutil.rmtree(folder.checkpoints)
        shutil.rmtree(workdir, ignore_errors=True)
        os.replace(folder.path, workdir)
    except BaseException:
        if not _has_begun(folder):
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return scores


def _train_and_judge(task, recipe, folder, verbose):
    keras.utils.set_random_seed(recipe.seed)
    train, test = load_splits(recipe, task.annotations)
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
        shown = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: bar.update(batch + 1, f"loss {logs['loss']:.4g}")
        )
        checkpoint.fit(model, dataset_at, 1, [shown], verbose=2 if verbose == 2 else 0)


# === The folder ===


def _check_place(task: Task, workdir: pathlib.Path, overwrite: bool) -> None:
    """Raises an error unless the folder is new or holds only files of an earlier run of the same task."""
    run = RunFolder(workdir)
    written = {run.results_file.name, run.recipe_file.name, task.model_file, *task.files}
    present = {path.name for path in workdir.iterdir()} if workdir.exists() else set()
    others = present - written
    if others or (present and not overwrite):
        what = f"with {sorted(others)[0]}, which `overwrite` does not delete" if others else "with results"
        raise ValueError(
            "`workdir` must be a new folder or, with `overwrite`, one with results of this command. "
            f"Received: workdir={workdir}, {what}"
        )


def _has_begun(folder: RunFolder) -> bool:
    """Whether there is a checkpoint of the first step or of a later one."""
    first = checkpoint_paths.path_of(folder.checkpoints, 0)
    return any(path != first for path in checkpoint_paths.paths(folder.checkpoints))


def _take_up(folder: RunFolder, settings: dict[str, Any], overwrite: bool) -> bool:
    """Makes the folder of a training, or keeps the checkpoints of an interrupted one."""
    noted = folder.checkpoints / SETTINGS
    settings = json.loads(json.dumps(settings))
    if _has_begun(folder) and noted.is_file():
        before = json.loads(noted.read_text(encoding="utf-8"))
        changed = [
            f"{key} {before.get(key)}"
            for key in settings
            if settings[key] != before.get(key)
            and not (key in PATHS and same_place(settings[key] or "", before.get(key) or ""))
        ]
        if not changed:
            for path in folder.path.iterdir():
                if path != folder.checkpoints:
                    path.unlink()
            return True
        if not overwrite:
            raise ValueError(
                "`workdir` must not hold an interrupted training with other settings; `overwrite` deletes "
                "it. "
                f"Received: {folder.path}, with {', '.join(changed)}"
            )
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.checkpoints.mkdir(parents=True)
    write_json(noted, settings)
    return False
