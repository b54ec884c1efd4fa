"""The model card of a backbone: `backbone.json` for programs and `backbone.md` for people."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform
from typing import Any

import keras

from keras_leoclr.backbones import loading as files
from keras_leoclr.backbones.normalization import normalization_of
from keras_leoclr.evaluation.measures import SETTINGS, is_main, kind_of_results, label_of, value_text
from keras_leoclr.evaluation.own_results import own_results
from keras_leoclr.report import rendering
from keras_leoclr.runs.files import sha256_of, write_json, write_text
from keras_leoclr.runs.folder import RunFolder

FORMAT = 1  # version of the layout of backbone.json
SUBJECTS = ("pretrained", "before", "random", "raw pixels")
KEPT = ("name", "value", "low", "high", "confidence", "dataset", "test_split", "test_images", "epoch")
NOTED = ("left_out", "left_out_names", "classes")  # fields of results that are mean average precisions
PACKAGES = ("keras-leoclr", "keras", "tensorflow", "jax", "torch", "numpy")
PAPERS = {
    "leoclr": "LeOCLR (arXiv 2403.06813)",
    "moco_v2": "MoCo v2 (arXiv 2003.04297)",
    "end_to_end": "LeOCLR, end to end (arXiv 2403.06813)",
}
DATA_LICENCES = {"fashion_mnist": "MIT, (c) 2017 Zalando SE"}
NOT_STATED = "not stated"


def write(workdir: str | os.PathLike, images: int | None = None) -> pathlib.Path:
    """Writes the model card of a run's `backbone.keras`; call it again when there are new results.

    `backbone.json` holds the name of the file, its SHA-256 and that of the weights, network, encoder, input
    (shape, range, resizing), normalisation, output, data, training and its initial weights, the recipe,
    licences, versions, and the newest value of every main result on the run's test images with its protocol.
    `backbone.md` is made from `backbone.json` alone. Licences that were filled in by hand in `backbone.json`
    are kept, also when the run goes on. Each of the two files is written whole or not at all.

    Args:
        workdir: path of the folder of a run, with `backbone.keras` and `recipe.json`.
        images: number of images that the backbone was trained on; by default that of the existing card.

    Returns:
        Path of `backbone.json`.

    Raises:
        FileNotFoundError: if `backbone.keras` or `recipe.json` is missing.
        BackboneFileError: if the file cannot be read, or is not the one that the existing card describes.
    """
    run = RunFolder(workdir)
    path = run.backbone_file
    if not path.is_file() or not run.holds_run:
        raise FileNotFoundError(
            f"`workdir` must be the folder of a run, with {path.name} and {run.recipe_file.name}. "
            f"Received: {workdir}"
        )
    before = files.read_card(path) or {}
    backbone = files.load(path, verbose=False)
    recipe = run.recipe()
    results = run.results.read()
    card = describe(backbone, path, recipe.get("antialias_original", False)) | {
        "encoder": "query",
        "projection": False,
        "data": {
            "dataset": recipe["dataset"],
            "split": recipe["train_split"],
            "images": before.get("data", {}).get("images") if images is None else images,
        },
        "training": {
            "method": PAPERS.get(recipe["method"], recipe["method"]),
            "labels": "none",
            "initial_weights": _initial_weights(run),
            "epochs": run.about().get("epochs_done", recipe["epochs"]),
            **{name: recipe[name] for name in ("batch_size", "precision", "seed")},
        },
        "licence": before.get("licence")
        or run.about().get("licence")
        or {
            "package": "Apache-2.0",
            "data": DATA_LICENCES.get(recipe["dataset"], NOT_STATED),
            "weights": NOT_STATED,
        },
        "written": before.get("written") or _now(),
        "versions": before.get("versions") or versions(),
        "results": main_results(own_results(recipe, results)),
        "recipe": recipe,
    }
    # `backbone.md` is written first: if the process ends in between, `backbone.json` still describes the
    # file. Only `backbone.json` is checked when the backbone is loaded.
    write_text(run.card_page, render(card))
    write_json(run.card_file, card)
    return run.card_file


def licence(workdir: str | os.PathLike) -> dict[str, str] | None:
    """Returns the licences that the model card of a run states; None if there is no card that can be read."""
    try:
        return (files.read_card(RunFolder(workdir).backbone_file) or {}).get("licence")
    except files.BackboneFileError:
        return None


def remove(workdir: str | os.PathLike) -> None:
    """Deletes the model card of a run, before its backbone is written again."""
    run = RunFolder(workdir)
    for path in (run.card_file, run.card_page):
        path.unlink(missing_ok=True)


def describe(backbone: keras.Model, path: str | os.PathLike, antialias: bool = False) -> dict[str, Any]:
    """Returns the part of a card that follows from the network and its file.

    Args:
        backbone: the network that the file holds.
        path: path of the file.
        antialias: whether the images are reduced with an antialiasing filter; false by default.
    """
    path = pathlib.Path(path)
    parts = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
    normalization = normalization_of(backbone)
    mean, std = normalization or (None, None)
    channels = backbone.input_shape[-1]
    kinds = "RGB" if channels == 3 else channels
    return {
        "format": FORMAT,
        "file": {
            "name": path.name,
            "bytes": sum(part.stat().st_size for part in parts),
            "sha256": sha256_of(path) if path.is_file() else None,
            "weights_sha256": files.weights_checksum(backbone),
        },
        "network": {"name": backbone.name, "parameters": backbone.count_params()},
        "input": {
            "shape": list(backbone.input_shape[1:]),
            "layout": f"batch, height, width, channels ({kinds})",
            "range": "0 to 255" if normalization else "normalised: (image / 255 - mean) / std",
            "resizing": "the whole image to this size, bilinear" + ", antialiased" * antialias,
        },
        "normalization": {"included": bool(normalization), "mean": mean, "std": std},
        "output": {"features": backbone.output_shape[-1]},
    }


def main_results(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the newest line of each main result of the pretrained backbone and of its baselines.

    Args:
        lines: lines of `results.jsonl`, as `Results.read` returns them.
    """
    found: dict[tuple, dict[str, Any]] = {}
    for line in lines:
        if line.get("subject") in SUBJECTS and is_main(line["name"]):
            kept = {key: line[key] for key in ("subject", *KEPT, *NOTED, *SETTINGS) if key in line}
            found[line["subject"], label_of(line)] = kept
    return sorted(found.values(), key=lambda line: SUBJECTS.index(line["subject"]))


def versions() -> dict[str, str]:
    """Returns the backend and the versions of Python and of the important packages that are installed."""
    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def render(card: dict[str, Any]) -> str:
    """Returns a card as Markdown.

    Args:
        card: content of `backbone.json`.
    """
    lines = card["results"]
    subjects = list(dict.fromkeys(line["subject"] for line in lines))
    found = {(line["subject"], label_of(line)): line for line in lines}
    labels = dict.fromkeys(label for _, label in found)
    data = {(line.get("dataset"), line.get("test_split"), line.get("test_images")) for line in lines}
    return rendering.text(
        "model_card.md",
        card=card,
        subjects=subjects,
        results=[(label, [value_text(found.get((s, label))) for s in subjects]) for label in labels],
        measured_on=sorted((one for one in data if one[0]), key=str),
        measures=shown_measures(lines),
        left_out=left_out(lines),
    )


def shown_measures(lines: list[dict[str, Any]]) -> str:
    """Says in words what the results are, such as "accuracies in percent".

    Args:
        lines: results of `backbone.json`.
    """
    several = kind_of_results(lines) == "map"
    return "mean average precisions (map) in percent" if several else "accuracies in percent"


def left_out(lines: list[dict[str, Any]]) -> list[str]:
    """Returns names, or numbers, of the classes that are left out of some mean average precision.

    Args:
        lines: results of `backbone.json`.
    """
    found = (str(name) for line in lines for name in line.get("left_out_names", line.get("left_out", ())))
    return list(dict.fromkeys(found))


def _initial_weights(run: RunFolder) -> dict[str, Any] | None:
    """Returns path, SHA-256 and kind of the initial weights of the training; None for random weights."""
    found = run.about().get("initial_weights")
    return {name: found[name] for name in ("path", "sha256", "kind")} if found else None


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
