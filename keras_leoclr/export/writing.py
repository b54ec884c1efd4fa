"""Writes an export, and compares it with Keras on real images before it gets its final name."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_leoclr import model_card
from keras_leoclr.backbones.normalization import (
    normalization_of,
    with_normalization,
    without_normalization,
)
from keras_leoclr.backbones.pooling import check_channels_last
from keras_leoclr.backbones.torch_layout import attention_of, stem_of
from keras_leoclr.checks import PixelRange
from keras_leoclr.data.failures import shown
from keras_leoclr.evaluation.features import in_precision
from keras_leoclr.export.conversion import ExportError, first_line, hint, make, require
from keras_leoclr.export.formats import FORMATS, run_torch
from keras_leoclr.runs.files import whole_path, without_leftovers, write_json

TOLERANCE = 1e-4  # largest difference that is allowed, as a share of the largest feature


@dataclasses.dataclass(frozen=True)
class Exported:
    """Describes an export and its comparison with Keras.

    Attributes:
        path: path of the file or folder.
        format: a name in `FORMATS`.
        deviation: largest difference between a feature and Keras' feature, divided by the largest feature.
        images: number of images that were compared.
        batch_sizes: batch sizes that the exported network has accepted, of those that were tried.
        refused: batch sizes that it has not accepted.
        card: content of `NAME.json`, the model card beside the export.
    """

    path: pathlib.Path
    format: str
    deviation: float
    images: int
    batch_sizes: tuple[int, ...]
    refused: tuple[int, ...]
    card: dict[str, Any]

    def __str__(self) -> str:
        batches = "batches of any size" if not self.refused else f"batches of {self.batch_sizes[0]} only"
        return (
            f"{shown(self.path)}: {self.format}, {self.card['file']['bytes']:,} bytes\n"
            f"  features of {self.images} images, computed by {FORMATS[self.format].runtime}, deviate by "
            "at most "
            f"{self.deviation:.1e} of the largest from Keras'; {TOLERANCE:g} is allowed\n"
            f"  input: {' x '.join(map(str, self.card['input']['shape']))}, {self.card['input']['range']}; "
            f"{batches}\n  limits: {FORMATS[self.format].limits}"
        )


def write(
    backbone: keras.Model,
    path: str | os.PathLike,
    format: str,
    images: np.ndarray,
    overwrite: bool = False,
    about: dict[str, Any] | None = None,
    antialias: bool = False,
) -> Exported:
    """Exports a backbone, runs the export in its own runtime, and keeps it if the features agree with Keras'.

    A model card `NAME.json` is written beside the export. It holds what `model_card.describe` returns, the
    format, the deviation and the limits of the format. Until everything is checked, and after an error, an
    existing export at `path` stays unchanged.

    Args:
        backbone: model (B, H, W, C) -> (B, F). A model in half precision is exported in float32.
        path: path of the file, with the suffix of the format, or of the folder of a SavedModel.
        format: a name in `FORMATS`: keras, saved_model, onnx, litert, openvino, safetensors or pth.
        images: (N, H, W, C) array of real images, N >= 3, on which the features are compared. They are raw,
            in [0, 255], if the backbone normalises images itself, else normalised.
        overwrite: whether an existing file or folder, and the card, may be replaced; False by default.
        about: further entries for the card, such as `encoder`, `data` and `training`; None by default.
        antialias: whether the backbone was trained on images that were reduced with an antialiasing filter,
            which the card states; false by default.

    Returns:
        A description of the export.

    Raises:
        ExportError: if the format cannot be written on this backend, or if the features deviate by more than
            `TOLERANCE` of the largest.
        FileExistsError: if `path` or the file of its card exists and `overwrite` is False.
        ImportError: if a package is missing; the message names the extra to install.
    """
    path, images = pathlib.Path(path).expanduser(), np.asarray(images, "float32")
    _check(backbone, path, format, images, overwrite)
    kind = FORMATS[format]
    backbone = in_precision(backbone, "float32" if _is_low(backbone) else None)
    made, given, execute = backbone, images, kind.run
    if kind.run is run_torch:
        # A .pth file does not name the stem of a ResNet and the number of attention heads of a ViT.
        _, heads = attention_of(backbone) or (None, None)
        execute = functools.partial(run_torch, stem=stem_of(backbone), num_heads=heads)
        made = without_normalization(backbone)
    if made is not backbone:
        mean, std = np.asarray(normalization_of(backbone), "float32")
        given = (images / 255.0 - mean) / std
    with _whole(path, overwrite) as partial:
        make(_naming_numbers(backbone, about) if kind.run is run_torch else made, partial, format)
        card = model_card.describe(made, partial, antialias) | (about or {})
        card["normalization"] = (about or {}).get("normalization") or _numbers(backbone, made)
        deviations, refused = _compare(
            backbone, images, lambda count: execute(partial, given[:count]), format
        )
        worst = max(deviations.values())
        card["file"]["name"] = path.name
        card["export"] = {
            "format": format,
            "runtime": kind.runtime,
            "deviation": worst,
            "images": max(deviations),
            "batch_sizes_refused": refused,
            "limits": kind.limits,
        }
    write_json(_card_path(path), card)
    return Exported(path, format, worst, max(deviations), tuple(sorted(deviations)), refused, card)


def _check(backbone, path, format, images, overwrite):
    if format not in FORMATS:
        raise ValueError(f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}")
    check_channels_last(backbone)
    suffix, shape = FORMATS[format].suffix, tuple(backbone.input_shape[1:])
    others = {kind.suffix for kind in FORMATS.values()} - {suffix}
    if path.suffix != suffix if suffix else path.suffix in others:  # a name such as v1.0 has no suffix
        rule = f"end in {suffix}" if suffix else "be a folder, without the suffix of another format,"
        raise ValueError(f"`path` must {rule} for {format}. Received: path={path}")
    if images.ndim != 4 or images.shape[1:] != shape or len(images) < 3:
        raise ValueError(
            f"`images` must be (N, {', '.join(map(str, shape))}), N >= 3. Received: {images.shape}"
        )
    if normalization_of(backbone) is not None:
        seen = PixelRange("images")
        seen.see(images)
        seen.check()
    if path.exists() and not overwrite:
        raise FileExistsError(f"`path` is there already; `overwrite` replaces it. Received: path={path}")
    card = _card_path(path)
    if card.exists() and not overwrite:
        raise FileExistsError(
            f"`path` needs the name {card.name} for its card, which is there already; `overwrite` replaces "
            f"it. Received: path={path}"
        )
    for package in FORMATS[format].packages:
        require(package, format)


def _compare(backbone, images, execute, format):
    """Returns the deviation from Keras' features by batch size, and the batch sizes that were refused."""
    deviations, errors = {}, {}
    for size in (len(images), 1, 2):
        try:
            features = np.asarray(execute(size))
        except Exception as error:  # each runtime raises its own types of errors
            errors[size] = error
            continue
        expected = keras.ops.convert_to_numpy(backbone(images[:size], training=False))
        deviations[size] = _deviation(features, expected)
    if not deviations:
        raise ExportError(
            f"`format`: {format} was written, but {FORMATS[format].runtime} cannot run it; the file was "
            "removed. "
            f"{hint(format)} Received: {first_line(errors[len(images)])}"
        )
    worst = max(deviations.values())
    if not worst <= TOLERANCE:
        raise ExportError(
            f"`format`: features of {format} may deviate from Keras' by {TOLERANCE:g} of the largest; the "
            "file "
            f"was removed. {hint(format)} Received: a deviation of {worst:.1e}"
        )
    return deviations, tuple(errors)


def _deviation(features: np.ndarray, expected: np.ndarray) -> float:
    if features.shape != expected.shape or not np.isfinite(features).all():
        return math.inf
    return float(np.abs(features - expected).max() / max(np.abs(expected).max(), 1e-30))


def _numbers(backbone, made) -> dict[str, Any]:
    """Returns mean and deviation for the card, and whether the exported network normalises by itself."""
    mean, std = normalization_of(backbone) or (None, None)
    return {"included": normalization_of(made) is not None, "mean": mean, "std": std}


def _naming_numbers(backbone, about):
    """The backbone from which `to_torch` reads mean and deviation for the metadata of its file."""
    known = (about or {}).get("normalization") or {}
    if normalization_of(backbone) is None and known.get("mean") and known.get("std"):
        return with_normalization(backbone, known["mean"], known["std"])
    return backbone


def _is_low(backbone) -> bool:
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in backbone.layers)


def _card_path(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".json") if path.suffix == ".keras" else path.with_name(f"{path.name}.json")


@contextlib.contextmanager
def _whole(path: pathlib.Path, overwrite: bool) -> Iterator[pathlib.Path]:
    """Like `whole_path`, but the card of an existing export is deleted just before the new one is renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_path(without_leftovers(path)) as partial:
        yield partial
        if overwrite:
            _card_path(path).unlink(missing_ok=True)
