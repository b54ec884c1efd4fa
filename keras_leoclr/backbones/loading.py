"""Backbones from files: checked before they are used, and never able to run code."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import zipfile
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.normalization import (
    takes_raw,
    with_normalization,
    without_normalization,
)
from keras_leoclr.backbones.pooling import check_channels_last
from keras_leoclr.backbones.torch_files import TORCH_SUFFIXES
from keras_leoclr.backbones.torch_report import TorchReport
from keras_leoclr.backbones.torch_weights import from_torch
from keras_leoclr.runs.files import sha256_of
from keras_leoclr.runs.folder import RunFolder

ENCODERS = ("query", "key")
CARD_NEEDS = (
    ("file", "name"),
    ("file", "sha256"),
    ("network", "name"),
    ("network", "parameters"),
    ("input", "shape"),
    ("output", "features"),
)


class BackboneFileError(ValueError):
    """A file that is damaged, is not what its card says, or holds no backbone."""


def load(
    path: str | os.PathLike,
    encoder: str = "query",
    projection: bool = False,
    normalization: bool | None = None,
    verbose: bool = True,
) -> keras.Model:
    """Loads a backbone, and prints what became of the keys of its file.

    Where a model card lies beside the file, file and card must agree. Nothing that is read can run code:
    `.keras` files are opened in Keras' safe mode, torch files with tensors only.

    Args:
        path: the folder of a run; a `.keras` file, of a backbone or of a whole `LeOCLR`; or a torch file
            (`.safetensors`, `.pth`, ...), see `from_torch`.
        encoder: "query", or "key" for the moving average, from the folder of a finished run
            (`checkpoints/model.keras`), from the file of a `LeOCLR` or from a torch checkpoint.
        projection: whether the projection head follows, so that queries or keys (B, D) come out, not
            normalised to length 1; from the folder of a finished run or the file of a `LeOCLR`.
        normalization: True for a backbone of raw images, values in [0, 255]: it is given the mean and the
            deviation of the run's `recipe.json` where it does not normalise by itself. False for one of
            normalised images, as this package's views and evaluators make them. None for the file as it is;
            what comes from `model.keras` in the folder of a run then takes raw images.
        verbose: whether to print the report of keys.

    Returns:
        A functional model (B, H, W, C) -> (B, F), not compiled.

    Raises:
        FileNotFoundError: if there is no such file.
        BackboneFileError: if a file is damaged or truncated, is another than its card says, needs code of
            its own, or holds no backbone.
        TorchWeightsError: likewise, of a torch file.
    """
    if encoder not in ENCODERS:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    path = pathlib.Path(path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        run = RunFolder(folder)
        path = run.backbone_file if encoder == "query" and not projection else run.model_file
        if not path.is_file():
            raise FileNotFoundError(
                f"`path` must be the folder of a finished run, with {path.relative_to(folder)}. "
                f"Received: {folder}"
            )
    if path.suffix == ".safetensors" or path.suffix in TORCH_SUFFIXES:
        if projection:
            raise ValueError("`projection` needs a run or a .keras file of a LeOCLR. Received: a torch file")
        model, of_run = from_torch(path, encoder=encoder, verbose=verbose), False
    else:
        model, report = read_keras(path)
        if verbose:
            print(report)
        of_run = hasattr(model, "key_encoder")
        model = _chosen(model, encoder, projection, path)
        folder = path.parent.parent if of_run else folder
    if normalization is None:
        normalization = of_run and RunFolder(folder).holds_run
        return _normalising(model, folder) if normalization else model
    return _normalising(model, folder) if normalization else without_normalization(model)


def read_card(path: str | os.PathLike) -> dict[str, Any] | None:
    """The model card beside a file, `NAME.json` for `NAME.keras`; None if there is none.

    Raises:
        BackboneFileError: if it is not JSON of the kind that `model_card.write` writes.
    """
    path = pathlib.Path(path).with_suffix(".json")
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        for part, name in CARD_NEEDS:
            card[part][name]
        return card
    except (ValueError, KeyError, TypeError) as error:
        raise BackboneFileError(f"{path} must be a model card. Received: {error!r}") from error


def weights_checksum(model: keras.Model) -> str:
    """SHA-256 of a model's weights in their order, with shapes and types; the file format does not matter."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.dtype}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def read_keras(path: pathlib.Path) -> tuple[keras.Model, TorchReport]:
    """The model in a `.keras` file, a backbone or a `LeOCLR`, and what became of the keys of the file.

    Raises:
        FileNotFoundError, BackboneFileError: see `load`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`path`: no such file or folder. Received: {path}")
    if path.suffix != ".keras":
        raise BackboneFileError(
            f"`path` must be the folder of a run, a .keras file or a torch file. Received: {path}"
        )
    keys = _keys(path)
    card = read_card(path)
    if card is not None and card["file"]["name"] == path.name:
        found = sha256_of(path)
        if found != card["file"]["sha256"]:
            raise BackboneFileError(
                f"{path} must be the file of its card, {path.with_suffix('.json').name}. "
                f"{_difference(path, card)} Received: SHA-256 {found[:12]}..., "
                f"the card says {card['file']['sha256'][:12]}..."
            )
    model = _open(path)
    variables = [v.path for v in model.variables]
    unused = {key: "of the training" for key in keys if key.startswith(("optimizer/", "metrics/"))}
    # a LeOCLR saves the variables of its encoders under several names
    if not hasattr(model, "key_encoder") and len(keys) - len(unused) > len(variables):
        raise BackboneFileError(
            f"{path} must hold the weights of its network and no others. "
            f"Received: {len(keys) - len(unused)} arrays for {len(variables)} variables"
        )
    return model, TorchReport(str(path), tuple(variables), (), (), unused)


def _keys(path: pathlib.Path) -> list[str]:
    """Names of the arrays in a .keras file, after a check of every byte."""
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
            if bad:
                raise BackboneFileError(f"{path} must be a whole .keras file. Received: damaged in {bad}")
            names = []
            for member in archive.namelist():
                if member.endswith(".weights.h5"):
                    with h5py.File(io.BytesIO(archive.read(member)), "r") as file:
                        file.visititems(
                            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
                        )
            return names
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, RuntimeError) as error:
        raise BackboneFileError(
            f"{path} must be a whole .keras file. Received: {path.stat().st_size} bytes, {error}"
        ) from error


def _open(path: pathlib.Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for what it cannot rebuild
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackboneFileError(
            f"{path} must be a network of stock Keras layers with its weights. Received: {reason}"
        ) from error


def _difference(path: pathlib.Path, card: dict[str, Any]) -> str:
    """What a file holds that is not the file of its card."""
    try:
        model = _open(path)
    except BackboneFileError as error:
        return str(error)
    here = {"network": model.name, "input": model.input_shape, "output": model.output_shape}
    here["parameters"] = model.count_params()
    said = {
        "network": card["network"]["name"],
        "input": (None, *card["input"]["shape"]),
        "output": (None, card["output"]["features"]),
        "parameters": card["network"]["parameters"],
    }
    other = [f"{name} {here[name]}, card {said[name]}" for name in here if here[name] != said[name]]
    return f"It is another network: {'; '.join(other)}." if other else "The network is the same."


def _chosen(model: keras.Model, encoder: str, projection: bool, path: pathlib.Path) -> keras.Model:
    """One encoder of a `LeOCLR`, or a backbone itself."""
    check_channels_last(model)
    if hasattr(model, "key_encoder"):
        whole = model.query_encoder if encoder == "query" else model.key_encoder
        backbone, head = whole.layers[1], whole.layers[-1]
        if not projection:
            return backbone
        features = backbone.output
        for layer in head.layers:
            features = layer(features)
        return keras.Model(backbone.input, features, name=f"{backbone.name}_projection")
    if encoder == "key" or projection:
        wanted = '`encoder="key"`' if encoder == "key" else "`projection`"
        raise ValueError(
            f"{wanted} needs the folder of a finished run or the file of a LeOCLR. Received: {path}, "
            "a backbone alone"
        )
    shapes = getattr(model, "inputs", None) and (model.input_shape, model.output_shape)
    if (
        not shapes
        or not all(isinstance(shape, tuple) for shape in shapes)
        or [len(shape) for shape in shapes] not in ([4, 2], [4, 4])
    ):
        raise BackboneFileError(
            f"{path} must hold a network from images (B, H, W, C) to features. "
            f"Received: {model.name!r}, {shapes or 'inputs unknown'}"
        )
    return model


def _normalising(model: keras.Model, folder: pathlib.Path) -> keras.Model:
    if takes_raw(model):
        return model
    run = RunFolder(folder)
    if not run.holds_run:
        raise ValueError(
            "`normalization=True` needs a backbone that normalises, or the recipe.json of its run beside it; "
            f"`with_normalization(backbone, mean, std)` takes any numbers. Received: neither, in {folder}"
        )
    settings = run.recipe()
    return with_normalization(model, settings["mean"], settings["std"])
