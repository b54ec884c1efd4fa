"""What a study keeps of the results of a run."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from keras_leoclr.evaluation.measures import either, is_usual
from keras_leoclr.evaluation.suite_options import OTHER_MEASURES, with_setting
from keras_leoclr.report.studies import CHANGED, COLLECTED, RANDOM
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.monitored import KNN, NOT_MEASURED
from keras_leoclr.runs.results import Results

if TYPE_CHECKING:
    from keras_leoclr.training.studies import StudyRun

# These results of a run are collected, each with the evaluator that measures it: test accuracies or mean
# average precisions, and what explains them.
KEPT = {
    **dict.fromkeys((*either("knn"), *either("knn_train")), "knn"),
    **dict.fromkeys(either("linear"), "linear"),
    **dict.fromkeys(either("linear_few"), "few"),
    **dict.fromkeys(either("linear_sgd"), "linear_paper"),
    **dict.fromkeys(either("finetune"), "finetune"),
    "retrieval/recall@1": "retrieval",
    CHANGED: "robustness",
    **dict.fromkeys(("quality/alignment", "quality/uniformity", "quality/rankme"), "quality"),
}
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

    The results are those that the study itself has measured: of each evaluator the last ones before the line
    that says that it has passed. What was measured in the folder of the run besides, such as by `leoclr
    evaluate` on other images or with other settings, is no result of the study.

    Args:
        run: the run.
        path: folder of the run.
        ablation: name of the study.
        command: the command that started the study.
    """
    about = {"ablation": ablation, "variant": run.variant, "seed": run.recipe.seed, "run": run.key}
    folder = RunFolder(path)
    results = folder.results
    for line in _measured(results):
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
    about["changes"] = list(run.changes)
    yield {"name": COLLECTED, "value": 1.0, **about, "environment": machine}


def _measured(results: Results) -> Iterable[dict[str, Any]]:
    """The lines of `KEPT` that the evaluators of a study have written, the last one of each measure."""
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    measured: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in results.read():
        if line["name"] in KEPT and is_usual(line):
            last[tuple(str(line.get(name)) for name in IDENTITY)] = line
        elif line["name"] == EVALUATED:
            measured |= {
                key: one
                for key, one in last.items()
                if one.get("subject") == line["subject"]
                and with_setting(KEPT[one["name"]], one) in line["suite"]
            }
    return measured.values()
