"""The process of one run of a study: it pretrains, and evaluates what was not evaluated yet."""

from __future__ import annotations

import dataclasses
import os
import sys
import time

import keras

from keras_leoclr import model_card
from keras_leoclr.evaluation.run_evaluation import RunEvaluation
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.pretraining import pretrain
from keras_leoclr.training.studies import EPOCH_SECONDS, StudyTask
from keras_leoclr.training.study_results import EVALUATED, evaluated
from keras_leoclr.training.tuning_parts import parts_of


def perform(task: StudyTask) -> None:
    """Trains and evaluates one run, or resumes it."""
    started = time.monotonic()
    recipe, images, splits, clock = task.recipe, None, {}, _Clock()
    if task.held_out:
        images = parts_of(recipe)
        recipe = dataclasses.replace(recipe, train_split="train", probe_split="", max_images=0)
        splits = {"train_split": "labelled", "test_split": "held_out"}
    pretrain(recipe, task.workdir, verbose=2, tensorboard="off", images=images, callbacks=[clock])
    print(f"pretraining took {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    folder = RunFolder(task.workdir)
    if len(clock.ends) > 1:
        folder.results.write(EPOCH_SECONDS, clock.ends[-1] - clock.ends[-2])
    for subject in ("pretrained", "random") if task.with_random else ("pretrained",):
        done = evaluated(folder.results, subject)
        if left := [name for name in task.suite if task.options.named(name) not in done]:
            judged = RunEvaluation(
                folder.path, backbone="random" if subject == "random" else None, images=images, **splits
            )
            judged.suite(task.options, images=left != ["transfer"], verbose=True).run(left)
            model_card.write(folder.path)  # The card is written again, with the new results.
            passed = [task.options.named(name) for name in left]
            folder.results.write(EVALUATED, 1.0, subject=subject, suite=passed)


class _Clock(keras.callbacks.Callback):
    """Notes when each epoch ends."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.monotonic())


def main(task: str) -> None:
    """Performs a task in a process group of its own: a Ctrl-C in the terminal reaches the study alone.

    The study passes it on as SIGTERM, after which this process writes a checkpoint. In the group of the study
    it would get both signals.

    Args:
        task: a `StudyTask` as JSON.
    """
    if os.name == "posix":
        os.setpgrp()
    perform(StudyTask.from_json(task))


if __name__ == "__main__":
    main(sys.argv[1])
