"""Says why the features of a run were not measured, and what measures them."""

from __future__ import annotations

import os
import shlex
from typing import Any

from keras_leoclr import wording
from keras_leoclr.data.splits import SET_ASIDE
from keras_leoclr.runs.folder import RunFolder

WHAT = "knn,linear,few"
_LABELS = "one sub-folder per class in `train` and in `test`"


def unmeasured(workdir: str | os.PathLike) -> str:
    """The sentences that stand in the place of the table of accuracies of a run without any.

    Args:
        workdir: folder of the run.
    """
    folder = RunFolder(workdir)
    recipe, about = folder.recipe(), folder.about()
    told = "How good the features are has not been measured"
    if recipe.get("evaluate", True):
        return f"{told}: {_measured_by(folder, {})} does it once the training is finished."
    if not about.get("labelled", recipe.get("knn_every", 1) > 0):
        by = _measured_by(folder, {"dataset": "LABELLED"})
        return f"{told}: the pictures have no labels. {by} measures it on a folder LABELLED with {_LABELS}."
    if recipe.get("train_split", "train") != "train":
        return f"{told}: {_measured_by(folder, {'test_split': 'SPLIT'})} measures it on a split with labels."
    return (
        f"{told}: no pictures were kept for it. A new run with {wording.settings(**SET_ASIDE)} keeps a tenth "
        f"and measures at its end. {_measured_by(folder, SET_ASIDE)} measures this run, on pictures that it "
        "was pretrained on."
    )


def _measured_by(folder: RunFolder, settings: dict[str, Any]) -> str:
    """The command or the call of Python that measures the features of a run."""
    if wording.of_flags():
        flags = wording.settings(**settings).strip("`") if settings else ""
        command = f"leoclr evaluate {WHAT} --workdir {shlex.quote(os.fspath(folder.path))} {flags}"
        return f"`{command.rstrip()}`"
    given = dict(settings)
    data = [f'"{given.pop("dataset")}"'] if "dataset" in given else []
    told = [f'"{os.fspath(folder.path)}"', *data]
    told += [wording.settings(**given).strip("`")] if given else []
    return f"`kl.evaluate({', '.join(told)})`"
