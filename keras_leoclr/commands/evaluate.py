"""`leoclr evaluate` evaluates a backbone and writes the results to `results.jsonl`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from keras_leoclr.commands.command import ONE, Command, workdir
from keras_leoclr.commands.flags import Flag, Given, UsageError, known
from keras_leoclr.evaluation.suite_options import ALL, EVALUATORS, SuiteOptions
from keras_leoclr.runs.folder import RunFolder

DEFAULTS = {field.name: field.default for field in dataclasses.fields(SuiteOptions)}


def _option(name: str, kind: Any, help: str, **bounds: Any) -> Flag:
    """Makes a flag from a setting of the suite."""
    return Flag(name, kind, DEFAULTS[name], help, **bounds)


TEXT = (
    "leoclr evaluate WHAT[,WHAT ...] --workdir DIR [--backbone FILE|random] [--dataset NAME] [--FLAG VALUE "
    "...]\n\nWHAT is one of\n"
    + "\n".join(f"  {name:14}{text}" for name, text in EVALUATORS.items())
    + f"""
  {"all":14}{", ".join(ALL)}

In the folder of a run (--workdir), data set, splits and normalisation are those of its recipe.json and the
backbone is its backbone.keras; flags take precedence. A backbone that normalises images itself keeps its own
numbers, as does one whose .safetensors file names them, and pictures are brought to the range of values of
the run that its file lies in. --backbone random judges the same backbone with new weights, or, in an empty
folder, one of --architecture. Results are appended to DIR/results.jsonl, the hits of single images, confusion
matrices and lists of neighbours go to DIR/evaluation/, features are kept in DIR/features/.
`leoclr compare DIR` prints the table; the model card, DIR/backbone.md, has the main ones."""
)


FLAGS = (
    workdir("folder of a run, or new folder for the results", "a folder for the results"),
    Flag(
        "backbone",
        str,
        None,
        "backbone that is judged: a .keras file, or random for new weights; by default backbone.keras in "
        "--workdir",
    ),
    Flag(
        "architecture",
        str,
        "",
        "network of --backbone random where there is no backbone.keras, such as resnet18",
    ),
    Flag(
        "subject",
        str,
        None,
        "name of the backbone in the results; by default pretrained, random or the name of the file",
    ),
    Flag("dataset", str, None, "data set: a name such as fashion_mnist, a folder, or tfds:NAME"),
    Flag("data_dir", str, None, "folder in which TensorFlow Datasets keeps its files"),
    Flag("train_split", str, None, "split that the classifiers are trained on"),
    Flag("test_split", str, None, "split that the classifiers are judged on"),
    Flag("max_images", int, 0, "largest number of images that is taken of each split; 0: all images", low=0),
    Flag(
        "image_size",
        int,
        None,
        "height and width that images are resized to, in pixels; by default as the backbone takes them",
        low=1,
    ),
    Flag(
        "mean", tuple[float, ...], None, "mean of the pixels of each channel, in [0, 1], which is subtracted"
    ),
    Flag(
        "std",
        tuple[float, ...],
        None,
        "standard deviation of the pixels of each channel, in [0, 1], which is divided by",
    ),
    Flag(
        "value_range",
        tuple[float, ...],
        None,
        "the two values that become black and white, low and high; by default those of the run that the file "
        "of the backbone lies in",
    ),
    _option(
        "batch_size",
        int,
        "number of images per call of the backbone, or per step of a training; by default 256, in finetune "
        "32 to 256, depending on the number of labels",
        low=1,
    ),
    _option(
        "precision",
        str,
        "precision in which the features are computed; by default that of the backbone",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    ),
    Flag("cache", bool, True, "keep the features in --workdir, so that they are not computed again"),
    _option("check_shared", bool, "count the test images that are in the training set as well"),
    _option("seed", int, "seed of held-out parts, crops, noise and draws of images", low=0),
    _option(
        "k",
        tuple[int, ...],
        "numbers of neighbours that vote (knn); where one number is needed, it is the second",
    ),
    _option(
        "temperature", float, "temperature of the votes: exp(cosine / temperature) is the weight of a vote"
    ),
    _option("leave_one_out", bool, "name each training image by the others as well (knn)"),
    _option("per_class", int, "number of labelled images per class (few)", low=2),
    _option("draws", int, "number of draws of these images, whose mean is taken (few)", low=1),
    _option(
        "crop_scales", tuple[float, ...], "areas of the crops, as shares of the area of the image (retrieval)"
    ),
    _option("changes", tuple[str, ...], "names of the changes; by default all (robustness)"),
    _option("fraction", float, "share of the labels that is used, in (0, 1] (finetune)"),
    _option("seeds", tuple[int, ...], "seeds; one training with each of them (finetune)"),
    _option(
        "backbone_rate",
        float,
        "learning rate of the backbone; by default 0.01, and 0.02 for 1 % of ImageNet (finetune)",
    ),
    _option(
        "head_rate",
        float,
        "learning rate of the head; by default 0.2, and 5 for 1 % of ImageNet (finetune)",
    ),
    _option(
        "epochs",
        int,
        "number of epochs; by default 100 (linear_paper), or 20 and at least 500 steps (finetune)",
        low=1,
    ),
    _option(
        "learning_rates",
        tuple[float, ...],
        "learning rates to try; that which is best on held-out images is used (linear_paper)",
    ),
    _option(
        "targets",
        tuple[str, ...],
        "data sets: names in keras_leoclr.evaluation.TARGETS, or folders; by default all of these names "
        "(transfer)",
    ),
    _option("map_images", int, "number of pictures on the map (embedding)", low=2),
    _option(
        "projection",
        str,
        "projection of the map: pca (principal components), or umap, which needs umap-learn",
        choices=("pca", "umap"),
    ),
    Flag("verbose", bool, True, "show the progress"),
    Flag("json", bool, False, "print each result as a line of JSON, and nothing else"),
)


OWN = ("workdir", "backbone", "architecture", "subject", "dataset", "data_dir", "train_split", "test_split")
OWN += ("max_images", "image_size", "mean", "std", "value_range")  # flags that `RunEvaluation` has too


def _as_the_run(given: Given, folder: RunFolder) -> bool:
    """Whether the run's own backbone is evaluated, on the images that the run itself is evaluated on."""
    recipe = folder.recipe()
    split = recipe.get("test_split" if recipe.get("evaluate", True) else "train_split")
    others = ("backbone", "dataset", "train_split", "value_range")
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
    except SettingError as error:
        raise UsageError(str(error)) from error
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
