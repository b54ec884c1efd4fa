"""`leoclr export`: a backbone in the formats of other runtimes."""

from __future__ import annotations

import pathlib
import re

from absl import flags

from keras_leoclr.commands.flags import parse

FORMATS = ("keras", "saved_model", "onnx", "litert", "openvino", "safetensors", "pth")
USAGE = """leoclr export RUN_OR_FILE [--formats onnx,...] [--FLAG VALUE ...]

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


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    values = _flags()
    dashed = [re.sub(r"^--[\w-]+", lambda flag: "--" + flag[0][2:].replace("-", "_"), a) for a in arguments]
    rest = parse(values, dashed, USAGE)
    if rest is None:
        return 0
    given = {name: values[name].value for name in values}
    if len(rest) != 1:
        raise flags.Error(
            f"`export` takes the folder of a run or a file. Received: {' '.join(rest) or 'none'}"
        )
    unknown = [name for name in given["formats"] if name not in FORMATS]
    if unknown or not given["formats"]:
        raise flags.Error(f"`--formats` must be some of {', '.join(FORMATS)}. Received: {','.join(unknown)}")
    if given["images"] < 3:
        raise flags.Error(f"`--images` must be 3 or more. Received: {given['images']}")
    return _export(pathlib.Path(rest[0]), given)


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "export"}
    flags.DEFINE_list("formats", ["keras"], f"some of {', '.join(FORMATS)}; comma-separated", **own)
    flags.DEFINE_string("output", None, "folder; by default `export` in the run, or beside the file", **own)
    flags.DEFINE_string("name", None, "of the files; by default backbone, backbone-key and so on", **own)
    flags.DEFINE_enum("encoder", "query", ["query", "key"], "which encoder; key is the moving average", **own)
    flags.DEFINE_bool("with_projection", False, "with the projection head: queries or keys come out", **own)
    flags.DEFINE_bool("without_normalization", False, "takes normalised images instead of raw ones", **own)
    flags.DEFINE_string(
        "dataset", None, "to compare on; by default the run's, or the bundled pictures", **own
    )
    flags.DEFINE_string("split", None, "of that; by default the run's test split, or test", **own)
    flags.DEFINE_string("data_dir", None, "where TensorFlow Datasets keeps its files", **own)
    flags.DEFINE_integer("images", 32, "that are compared", **own)
    flags.DEFINE_bool("overwrite", False, "replace what is there", **own)
    return values


def _export(source: pathlib.Path, given: dict) -> int:
    import json
    import sys

    from keras_leoclr import backbones, export
    from keras_leoclr.backbones.loading import FILE, read_card

    folder = source if source.is_dir() else source.parent
    settings = folder / "recipe.json"
    recipe = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    key, projection = given["encoder"] == "key", given["with_projection"]
    raw = False if given["without_normalization"] else (True if recipe else None)
    backbone = backbones.load(source, given["encoder"], projection, raw)
    card = read_card(source / FILE if source.is_dir() else source) or {}
    about = {name: card[name] for name in ("data", "training", "licence", "versions") if name in card}
    about |= {"encoder": given["encoder"], "projection": projection}
    if raw is False and recipe:
        about["normalization"] = {"included": False, "mean": recipe["mean"], "std": recipe["std"]}
    images = _images(backbone, recipe, given)
    name = given["name"] or "-".join(["backbone", *["key"] * key, *["projection"] * projection])
    output = pathlib.Path(given["output"] or folder / "export")
    failed = 0
    for format in dict.fromkeys(given["formats"]):
        path = output / f"{name}{export.FORMATS[format].suffix}"
        if format == "saved_model":
            path = output / f"{name}-saved_model"
        try:
            print(export.write(backbone, path, format, images, given["overwrite"], about), flush=True)
        except (ValueError, OSError, ImportError) as error:
            print(f"leoclr: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failed += 1
    if failed and output.is_dir() and not any(output.iterdir()):
        output.rmdir()
    return 1 if failed else 0


def _images(backbone, recipe: dict, given: dict):
    """Real images as the backbone takes them."""
    import numpy as np

    from keras_leoclr import backbones, data
    from keras_leoclr.views.preprocessing import Preprocessing
    from keras_leoclr.views.settings import IMAGENET_MEAN, IMAGENET_STD

    size = backbone.input_shape[1]
    dataset = given["dataset"] or recipe.get("dataset") or "fashion_mnist"
    split = given["split"] or (recipe.get("test_split") if not given["dataset"] else None) or "test"
    if backbones.normalization_of(backbone) is None:
        mean, std = recipe.get("mean", IMAGENET_MEAN), recipe.get("std", IMAGENET_STD)
    else:
        mean, std = (0.0,) * 3, (1 / 255,) * 3
    source = data.load(dataset, split, given["data_dir"] or recipe.get("data_dir"))
    preprocessing = Preprocessing(size, mean, std)
    images = [
        preprocessing.preprocess(element["image"][None])[0].numpy()
        for element in source.take(given["images"])
    ]
    return np.stack(images)
