"""Loads backbones from files, which are checked before they are used and cannot run code."""

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

from keras_leoclr.backbones.known_numbers import image_numbers
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
    """The file is damaged, does not match its model card, or holds no backbone."""


def load(
    path: str | os.PathLike,
    encoder: str = "query",
    projection: bool = False,
    normalization: bool | None = None,
    verbose: bool = True,
) -> keras.Model:
    """Loads a backbone, and prints which keys of its file were used.

    If there is a model card beside the file, file and card must agree. Nothing that is read can run code:
    `.keras` files are opened in Keras' safe mode, and from torch files only tensors are read.

    Args:
        path: path of the folder of a run; of a `.keras` file that holds a backbone or a whole `LeOCLR`; or
            of a torch file (`.safetensors`, `.pth`, ...), see `from_torch`.
        encoder: "query", the default, or "key" for the moving average. The key encoder can be loaded from
            the folder of a finished run, the file of a `LeOCLR` or a torch checkpoint.
        projection: whether the model includes the projection head and returns projections (B, D), which are
            not normalised to length 1; False by default. This needs the folder of a finished run or the file
            of a `LeOCLR`.
        normalization: True for a backbone that takes raw images, values in [0, 255]; if it does not
            normalise them by itself, it gets mean and deviation of the metadata of a `.safetensors` file that
            `to_torch` wrote, or of the recipe of the run that the file lies in. False for a
            backbone that takes normalised images, as views and evaluators of this package make them. None,
            the default, to leave the model as it is in the file, except that a model from `model.keras` in
            the folder of a run gets the normalisation.
        verbose: whether to print the report of keys; True by default.

    Returns:
        A functional model (B, H, W, C) -> (B, F), not compiled.

    Raises:
        FileNotFoundError: if the file does not exist.
        BackboneFileError: if the file is damaged or incomplete, does not match its card, needs custom code,
            or holds no backbone.
        TorchWeightsError: if a torch file is damaged, would have to run code, or does not fit.

    Example:
        ```python
        backbone = kl.backbones.load("runs/mine")
        features = backbone.predict(images)  # (N, H, W, 3) pixels in [0, 255] -> (N, F)
        ```
    """
    if encoder not in ENCODERS:
        raise ValueError(f'`encoder` must be "query" or "key". Received: encoder={encoder!r}')
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        folder, run = path, RunFolder(path)
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
        of_run = hasattr(model, "key_encoder") and RunFolder(path.absolute().parent.parent).holds_run
        model = _chosen(model, encoder, projection, path)
    if normalization is None:
        return _normalising(model, path) if of_run else model
    return _normalising(model, path) if normalization else without_normalization(model)


def read_card(path: str | os.PathLike) -> dict[str, Any] | None:
    """Reads the model card beside a file, `NAME.json` for `NAME.keras`; returns None if there is none.

    Raises:
        BackboneFileError: if the file is not a model card as `model_card.write` writes it.
    """
    path = pathlib.Path(path).with_suffix(".json")
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8-sig"))
        for part, name in CARD_NEEDS:
            card[part][name]
        return card
    except (ValueError, KeyError, TypeError) as error:
        raise BackboneFileError(f"{path} must be a model card. Received: {error!r}") from error


def weights_checksum(model: keras.Model) -> str:
    """Computes the SHA-256 of a model's weights with their shapes and types, whatever the file format."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.dtype}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def read_keras(path: pathlib.Path) -> tuple[keras.Model, TorchReport]:
    """Reads a backbone or a `LeOCLR` from a `.keras` file, and a report of the keys of the file.

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
    # A LeOCLR is left out of this check, because Keras saves the variables of its encoders several times.
    if not hasattr(model, "key_encoder") and len(keys) - len(unused) > len(variables):
        raise BackboneFileError(
            f"{path} must hold the weights of its network and no others. "
            f"Received: {len(keys) - len(unused)} arrays for {len(variables)} variables"
        )
    return model, TorchReport(str(path), tuple(variables), (), (), unused)


def _keys(path: pathlib.Path) -> list[str]:
    """Checks every byte of a .keras file, and returns the names of its arrays."""
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
    except Exception as error:  # Keras raises many types of errors for models that it cannot rebuild
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackboneFileError(
            f"{path} must be a network of stock Keras layers with its weights. Received: {reason}"
        ) from error


def _difference(path: pathlib.Path, card: dict[str, Any]) -> str:
    """Says how a file differs from its model card."""
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
    """Returns the chosen encoder of a `LeOCLR`, or a backbone itself."""
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


def _normalising(model: keras.Model, path: pathlib.Path) -> keras.Model:
    if takes_raw(model):
        return model
    known = image_numbers(path)
    if known is None:
        raise ValueError(
            "`normalization=True` needs a backbone that normalises, a .safetensors file whose metadata hold "
            "`mean` and `std`, or the recipe.json of the run that the file lies in; "
            f"`with_normalization(backbone, mean, std)` takes any numbers. Received: none of these, {path}"
        )
    return with_normalization(model, *known)
