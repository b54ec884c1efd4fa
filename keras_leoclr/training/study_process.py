"""The process of one run of a study: it pretrains, and evaluates what was not evaluated yet."""

from __future__ import annotations

import sys
import time

from keras_leoclr import model_card
from keras_leoclr.evaluation.run_evaluation import RunEvaluation
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.pretraining import pretrain
from keras_leoclr.training.studies import EVALUATED, StudyTask, evaluated


def perform(task: StudyTask) -> None:
    """Trains and evaluates one run, or resumes it."""
    started = time.monotonic()
    pretrain(task.recipe, task.workdir, verbose=2, tensorboard="off")
    print(f"pretraining took {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    folder = RunFolder(task.workdir)
    for subject in ("pretrained", "random") if task.with_random else ("pretrained",):
        done = evaluated(folder.results, subject)
        if left := [name for name in task.suite if name not in done]:
            judged = RunEvaluation(folder.path, backbone="random" if subject == "random" else None)
            judged.suite(task.options, images=left != ["transfer"], verbose=True).run(left)
            model_card.write(folder.path)  # The card is written again, with the new results.
            folder.results.write(EVALUATED, 1.0, subject=subject, suite=left)


if __name__ == "__main__":
    perform(StudyTask.from_json(sys.argv[1]))
