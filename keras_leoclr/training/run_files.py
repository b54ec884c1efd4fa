"""Files that a run writes besides its checkpoints, its results and its report."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_leoclr import backbones, distribution
from keras_leoclr.backbones.initial import InitialWeights
from keras_leoclr.data.failures import Failures
from keras_leoclr.runs.files import whole_path
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.session import RunSession


def save(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a Keras model; the file appears only when it is complete."""
    with whole_path(path) as partial:
        model.save(partial)


def note_initial(
    run: RunSession,
    backbone: keras.Model,
    initial: InitialWeights,
    anew: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Records the weights that the training begins with, and keeps them in the folder of the run.

    Args:
        run: the run; its recipe has the mean and the deviation of the images.
        backbone: the backbone of the model, before training.
        initial: origin of its weights.
        anew: sentences on parts that do not come from these weights and begin with new ones.
        say: function that prints a line.
    """
    run.add(initial_weights=initial.about)
    with distribution.on_one_device(backbone) as alone:
        raw = backbones.with_normalization(alone, run.recipe.mean, run.recipe.std)
        save(raw, run.folder.initial_file)
    where = f"{initial.about['path']} (SHA-256 {initial.about['sha256'][:12]}...)"
    say("\n".join([f"Both encoders begin with the weights of {where}.", *anew]))


def renamed(line: dict[str, Any], before: str, now: str) -> dict[str, Any]:
    """Returns a result with the current path of its data set."""
    return line | {"dataset": now} if line.get("dataset") == before else line


def write_skipped(failures: Failures, folder: RunFolder, say: Callable[[str], None]) -> None:
    """Writes the list of the pictures that could not be read."""
    folder.skipped_file.unlink(missing_ok=True)  # It may belong to a run that is resumed with other images.
    if failures.count:
        failures.write(folder.skipped_file)
        say(f"{failures.count} pictures could not be read and were skipped: {folder.skipped_file}")
