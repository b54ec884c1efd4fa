"""What a study keeps of the results of a run."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_leoclr.evaluation.measures import either, is_usual
from keras_leoclr.evaluation.suite_options import OTHER_MEASURES
from keras_leoclr.report.studies import CHANGED, COLLECTED, RANDOM
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.monitored import KNN, NOT_MEASURED
from keras_leoclr.runs.results import Results

if TYPE_CHECKING:
    from keras_leoclr.training.studies import StudyRun

# These results of a run are collected: test accuracies or mean average precisions, and what explains them.
KEPT = (
    *(name for stem in ("knn", "knn_train", "linear", "linear_few", "finetune") for name in either(stem)),
    "retrieval/recall@1",
    CHANGED,
    "quality/alignment",
    "quality/uniformity",
    "quality/rankme",
)
PROTOCOL = ("k", "per_class", "draws", "crop_scale", "change", "fraction", "test_images", "train_images")
# Of lines that agree in these entries, the last one counts.
IDENTITY = ("subject", "name", "crop_scale", "change", *OTHER_MEASURES.values())
CURVE = (*KNN, "loss_to_chance")  # columns of history.csv
EVALUATED = "study/evaluated"  # name of the result line that says which evaluators a subject has passed


def evaluated(results: Results, subject: str = "pretrained") -> list[str]:
    """The evaluators that a subject has passed, in this order, as `SuiteOptions.named` names them."""
    lines = [line for line in results.read() if line["name"] == EVALUATED and line["subject"] == subject]
    return [what for line in lines for what in line["suite"]]


def collected(
    run: StudyRun, path: pathlib.Path, ablation: str, command: str = ""
) -> Iterator[dict[str, Any]]:
    """Yields the lines of a study about one run, as arguments of `Results.write`.

    Args:
        run: the run.
        path: folder of the run.
        ablation: name of the study.
        command: the command that started the study.
    """
    about = {"ablation": ablation, "variant": run.variant, "seed": run.recipe.seed, "run": run.key}
    folder, last = RunFolder(path), {}
    results = folder.results
    for line in results.read():
        if line["name"] in KEPT and is_usual(line):
            last[tuple(str(line.get(name)) for name in IDENTITY)] = line
    for line in last.values():
        protocol = {name: line[name] for name in PROTOCOL if name in line}
        subject = RANDOM if line["subject"] == "random" else run.variant
        yield {"name": line["name"], "value": line["value"], **about, "variant": subject, **protocol}
    with folder.history_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in CURVE:
        measured = [row for row in rows if row.get(name) not in (None, "", NOT_MEASURED)]
        points = [[int(row["epoch"]) + 1, float(row[name])] for row in measured]
        if points:
            yield {"name": f"curve/{name}", "value": points[-1][1], **about, "epochs": points}
    machine = folder.about().get("environment", {})
    about |= {"place": run.place, "command": command, "suite": evaluated(results), "recipe": run.settings}
    yield {"name": COLLECTED, "value": 1.0, **about, "environment": machine}
