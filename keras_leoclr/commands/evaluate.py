"""`leoclr evaluate`: judges a backbone and writes what it finds to `results.jsonl`."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from keras_leoclr.commands.command import ONE, Command, workdir
from keras_leoclr.commands.flags import Flag, Given, UsageError, known
from keras_leoclr.evaluation.suite_options import ALL, EVALUATORS, SuiteOptions
from keras_leoclr.runs.folder import RunFolder

DEFAULTS = dataclasses.asdict(SuiteOptions())


def _option(name: str, kind: Any, help: str, **bounds: Any) -> Flag:
    """A setting of the suite as a flag."""
    return Flag(name, kind, DEFAULTS[name], help, **bounds)


TEXT = (
    "leoclr evaluate WHAT[,WHAT ...] --workdir DIR [--backbone FILE|random] [--dataset NAME] [--FLAG VALUE "
    "...]\n\nWHAT is one of\n"
    + "\n".join(f"  {name:14}{text}" for name, text in EVALUATORS.items())
    + f"""
  {"all":14}{", ".join(ALL)}

In the folder of a run (--workdir), data set, splits and normalisation are those of its recipe.json and the
backbone is its backbone.keras; flags take precedence. A backbone that normalises images itself keeps its own
numbers. --backbone random judges the same backbone with new
weights, or, in an empty folder, one of --architecture. Results are appended to DIR/results.jsonl, the hits of
single images, confusion matrices and lists of neighbours go to DIR/evaluation/, features are kept in
DIR/features/. `leoclr compare DIR` prints the table; the model card, DIR/backbone.md, has the main ones."""
)


FLAGS = (
    workdir("folder of a run, or for the results", "a folder for the results"),
    Flag("backbone", str, None, "a .keras file, or random; by default backbone.keras in the folder"),
    Flag(
        "architecture",
        str,
        "",
        "with --backbone random and no backbone.keras: such as resnet18, resnet_small",
    ),
    Flag(
        "subject",
        str,
        None,
        "name of the backbone in the results; by default pretrained, random or the file's",
    ),
    Flag("dataset", str, None, "name or path, as keras_leoclr.data.load takes it"),
    Flag("data_dir", str, None, "where TensorFlow Datasets keeps its files"),
    Flag("train_split", str, None, "split that classifiers are fitted to"),
    Flag("test_split", str, None, "split that they are judged on"),
    Flag("max_images", int, 0, "use only so many images of each split; 0 for all", low=0),
    Flag("image_size", int, None, "side of the images, pixels; by default the backbone's", low=1),
    Flag("mean", tuple[float, ...], None, "mean of the data per channel, in [0, 1]"),
    Flag("std", tuple[float, ...], None, "standard deviation of the data per channel, in [0, 1]"),
    _option("batch_size", int, "images per call of the backbone, or per step of training", low=1),
    _option(
        "precision",
        str,
        "of the features",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    ),
    Flag("cache", bool, True, "keep features in the folder"),
    _option("check_shared", bool, "count test images that are in the training set too"),
    _option("seed", int, "of held-out parts, crops, noise and draws", low=0),
    _option("k", tuple[int, ...], "neighbours that vote (knn); the second is used elsewhere"),
    _option("temperature", float, "of the votes"),
    _option("leave_one_out", bool, "judge the training images by each other too (knn)"),
    _option("per_class", int, "labelled images per class (few)", low=2),
    _option("draws", int, "of these images (few)", low=1),
    _option("crop_scales", tuple[float, ...], "areas of the crops, shares of the image (retrieval)"),
    _option("changes", tuple[str, ...], "some of the changes, by default all (robustness)"),
    _option("fraction", float, "share of the labels (finetune)"),
    _option("seeds", tuple[int, ...], "one run each (finetune)"),
    _option("backbone_rate", float, "learning rate of the backbone (finetune)"),
    _option("head_rate", float, "learning rate of the head (finetune)"),
    _option("epochs", int, "of training; by default 100 (linear_paper) or 20 (finetune)", low=1),
    _option(
        "learning_rates",
        tuple[float, ...],
        "candidates; the best on held-out images is used (linear_paper)",
    ),
    _option(
        "targets",
        tuple[str, ...],
        "names in keras_leoclr.evaluation.TARGETS, or folders; all of them (transfer)",
    ),
    _option("map_images", int, "pictures on the map (embedding)", low=2),
    _option("projection", str, "of the map; umap needs umap-learn", choices=("pca", "umap")),
    Flag("verbose", bool, True, "show progress"),
    Flag("json", bool, False, "print each result as a line of JSON, and nothing else"),
)


OWN = ("workdir", "backbone", "architecture", "subject", "dataset", "data_dir", "train_split", "test_split")
OWN += ("max_images", "image_size", "mean", "std")  # flags that are settings of `RunEvaluation`


def _as_the_run(given: Given, folder: RunFolder) -> bool:
    """Whether it is the run's own backbone that is judged, on the images that the run judges it on."""
    recipe = folder.recipe()
    split = recipe.get("test_split" if recipe.get("evaluate", True) else "train_split")
    others = ("backbone", "dataset", "train_split")
    return (
        all(given[name] is None for name in others)
        and not given["max_images"]
        and given["test_split"] in (None, split)
    )


def _run(given: Given) -> int:
    asked = [known("evaluation", what, (*EVALUATORS, "all")) for what in given.rest[0].split(",")]
    chosen = [what for one in asked for what in (ALL if one == "all" else (one,))]
    from keras_leoclr import model_card
    from keras_leoclr.evaluation.run_evaluation import RunEvaluation, SettingError

    options = SuiteOptions(**{name: given[name] for name in given if name in DEFAULTS})
    try:
        suite = RunEvaluation(**{name: given[name] for name in OWN}).suite(
            options,
            images=set(chosen) != {"transfer"},
            cache=given["cache"],
            verbose=given["verbose"] and not given["json"],
        )
    except SettingError as error:  # its settings are the flags of this command
        raise UsageError(re.sub(r"`(\w+)`", r"`--\1`", str(error))) from error
    folder = RunFolder(given["workdir"])
    for what in chosen:
        before = len(suite.results.read())
        suite.run([what])
        if _as_the_run(given, folder):
            folder.note_repeated(what)
        if given["json"]:
            for line in suite.results.read()[before:]:
                print(json.dumps(line))
        if folder.card_file.is_file():
            model_card.write(folder.path)
    return 0


COMMAND = Command(
    name="evaluate",
    arguments="WHAT --workdir DIR",
    summary="judge a backbone",
    text=TEXT,
    run=_run,
    flags=FLAGS,
    takes=f"one of {', '.join((*EVALUATORS, 'all'))}",
    count=ONE,
)
