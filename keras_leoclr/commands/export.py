"""`leoclr export` writes a backbone in the formats of other runtimes."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from keras_leoclr.commands.command import ONE, Command
from keras_leoclr.commands.flags import Flag, Given, UsageError
from keras_leoclr.wording import named

FORMATS = ("keras", "saved_model", "onnx", "litert", "openvino", "safetensors", "pth")
LEAST_IMAGES = 3  # The comparison of the formats needs as many.
TEXT = """leoclr export RUN_OR_FILE [--formats onnx,...] [--FLAG VALUE ...]

Writes the backbone of a run, or of a .keras or torch file, in other formats:

  keras         one file, stock layers: opens on any backend without this package
  saved_model   a folder, for TensorFlow and TensorFlow Serving
  onnx          for onnxruntime and what reads ONNX
  litert        .tflite, for phones
  openvino      .xml and .bin, for Intel's hardware
  safetensors   torchvision's or timm's layout, weights only
  pth           the same as a file of torch.save

Each is run in its own runtime and compared with Keras on real images; if a feature deviates by more than 1e-4
of the largest, or anything else fails, nothing of that format is left and the exit status is 1. Beside each
lies NAME.json, its card. Which formats can be written depends on the backend: TensorFlow has all.
--with-projection and the like may be written with dashes."""


def _run(given: Given) -> int:
    unknown = [name for name in given["formats"] if name not in FORMATS]
    if unknown or not given["formats"]:
        raise UsageError(f"`--formats` must be some of {', '.join(FORMATS)}. Received: {','.join(unknown)}")
    if given["images"] < LEAST_IMAGES:
        raise UsageError(f"`--images` must be {LEAST_IMAGES} or more. Received: {given['images']}")
    if given["output"] and pathlib.Path(given["output"]).expanduser().is_file():
        raise UsageError(f"`--output` must be a folder for the files. Received: {given['output']}, a file")
    return _export(pathlib.Path(given.rest[0]).expanduser(), given)


def _export(source: pathlib.Path, given: Given) -> int:
    from keras_leoclr import backbones, export
    from keras_leoclr.backbones.known_numbers import image_numbers
    from keras_leoclr.backbones.loading import read_card
    from keras_leoclr.runs.folder import RunFolder

    folder = source if source.is_dir() else source.parent
    run = RunFolder.around(source)
    recipe, known = run.recipe(), image_numbers(source)
    key, projection = given["encoder"] == "key", given["with_projection"]
    raw = False if given["without_normalization"] else (True if known else None)
    backbone = backbones.load(source, given["encoder"], projection, raw)
    card = read_card(run.backbone_file if source.is_dir() else source) or {}
    about = {name: card[name] for name in ("data", "training", "licence", "versions") if name in card}
    about |= {"encoder": given["encoder"], "projection": projection}
    if raw is False and known:
        about["normalization"] = {"included": False, "mean": known[0], "std": known[1]}
    images, antialias = _images(backbone, recipe, known, given), bool(recipe.get("antialias_original"))
    name = given["name"] or "-".join(["backbone", *["key"] * key, *["projection"] * projection])
    output = pathlib.Path(given["output"]).expanduser() if given["output"] else RunFolder(folder).exports
    failed = 0
    for format in dict.fromkeys(given["formats"]):
        path = output / f"{name}{export.FORMATS[format].suffix}"
        if format == "saved_model":
            path = output / f"{name}-saved_model"
        try:
            made = export.write(backbone, path, format, images, given["overwrite"], about, antialias)
            print(made, flush=True)
        except (ValueError, OSError, ImportError) as error:
            print(f"leoclr: {type(error).__name__}: {named(str(error))}", file=sys.stderr, flush=True)
            failed += 1
    if failed and output.is_dir() and not any(output.iterdir()):
        output.rmdir()
    return 1 if failed else 0


def _images(backbone: Any, recipe: dict[str, Any], known: Any, given: Given) -> Any:
    """Loads real images, preprocessed as the backbone expects; `known` is their mean and deviation."""
    import numpy as np

    from keras_leoclr import backbones, data
    from keras_leoclr.data.parts import some_of
    from keras_leoclr.runs.folder import IN_PYTHON
    from keras_leoclr.views.preprocessing import Preprocessing
    from keras_leoclr.views.settings import IMAGENET_MEAN, IMAGENET_STD

    if recipe.get("dataset") == IN_PYTHON:  # The images of such a run cannot be loaded; others are used.
        recipe = {}
    size, width, channels = backbone.input_shape[1:]
    if size is None or size != width:
        raise ValueError(
            "`RUN_OR_FILE` must hold a backbone of square images of one size, which formats have. "
            f"Received: input_shape={backbone.input_shape}"
        )
    dataset = given["dataset"] or recipe.get("dataset") or "fashion_mnist"
    if channels not in (1, 3) and not (given["dataset"] or recipe.get("dataset")):
        raise ValueError(
            f"`dataset` must name pictures of {channels} channels, as the backbone takes them: the bundled "
            "ones are grey. Received: none"
        )
    data_dir = given["data_dir"] or recipe.get("data_dir")
    if backbones.normalization_of(backbone) is None:
        # Where nothing tells them, any numbers serve to compare; ImageNet's are those of three channels.
        any_numbers = (
            (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,) * channels, (0.25,) * channels)
        )
        mean, std = known or any_numbers
    else:
        mean, std = (0.0,) * channels, (1 / 255,) * channels
    # Pictures that cannot be read are treated as in the run.
    reading = {name: recipe[name] for name in ("on_error", "max_failures", "value_range") if name in recipe}
    reading["channels"] = channels
    source = data.load(dataset, _split(dataset, recipe, given, data_dir, reading), data_dir, **reading)
    preprocessing = Preprocessing.of_recipe(recipe, size, mean, std)
    images = [
        preprocessing.preprocess(element["image"][None])[0].numpy()
        for element in some_of(source.reduced(preprocessing.least_pixels), given["images"])
    ]
    if len(images) < LEAST_IMAGES:
        raise ValueError(
            f"`dataset` must hold at least {LEAST_IMAGES} pictures to compare the formats on. "
            f"Received: {len(images)} in {dataset}"
        )
    return np.stack(images)


def _split(dataset: Any, recipe: dict, given: Given, data_dir: str | None, reading: dict) -> str:
    """The split whose images are compared: the run's test split, or its training split if it has none."""
    from keras_leoclr import data
    from keras_leoclr.data.splits import SplitError

    if given["split"]:
        return given["split"]
    of_run = {} if given["dataset"] else recipe
    if not of_run.get("evaluate", True):  # Without an evaluation, the run did not need a test split.
        return of_run.get("train_split", "train")
    test = of_run.get("test_split", "test")
    if of_run:
        return test
    try:
        data.load(dataset, test, data_dir, **reading)
    except SplitError:  # The data set has no test split.
        return "train"
    return test


COMMAND = Command(
    name="export",
    arguments="RUN [--formats onnx,...]",
    summary="a backbone in other formats, each verified",
    text=TEXT,
    run=_run,
    flags=(
        Flag(
            "formats", tuple[str, ...], ("keras",), f"formats that are written: some of {', '.join(FORMATS)}"
        ),
        Flag("output", str, None, "folder for the files; by default `export` in the run, or beside the file"),
        Flag(
            "name",
            str,
            None,
            "name of the files without their ending; by default backbone, backbone-key and so on",
        ),
        Flag(
            "encoder",
            str,
            "query",
            "encoder that is exported: query, which is trained, or key, its moving average",
            choices=("query", "key"),
        ),
        Flag(
            "with_projection",
            bool,
            False,
            "export the projection head as well: queries or keys come out in the place of features",
        ),
        Flag(
            "without_normalization",
            bool,
            False,
            "export a model that takes normalised images in the place of raw ones",
        ),
        Flag(
            "dataset",
            str,
            None,
            "data set on which the formats are compared; by default that of the run, or the bundled pictures",
        ),
        Flag(
            "split", str, None, "split of --dataset; by default the test split, or train where there is none"
        ),
        Flag("data_dir", str, None, "folder in which TensorFlow Datasets keeps its files"),
        Flag("images", int, 32, "number of images on which the formats are compared"),
        Flag("overwrite", bool, False, "replace files that are there already"),
    ),
    takes="the folder of a run or a file",
    count=ONE,
)
