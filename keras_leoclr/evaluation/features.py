"""Computes the features of a frozen backbone once and keeps them in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.backbones.normalization import takes_raw
from keras_leoclr.backbones.pooling import check_channels_last
from keras_leoclr.checks import PixelRange, finite, first_not_finite
from keras_leoclr.distribution.devices import gpus
from keras_leoclr.evaluation.labels import as_labels
from keras_leoclr.evaluation.predictors import in_turn, predicting
from keras_leoclr.runs.files import locked, whole_path, write_json
from keras_leoclr.terminal import Bar

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
FILES = ("features", "labels")  # names of the files of a cache
SAVE_EVERY = 20  # batches after which the features so far are saved


def extract_features(
    backbone: keras.Model,
    dataset: Iterable,
    verbose: bool = False,
    cache: str | os.PathLike | None = None,
    identity: dict[str, Any] | None = None,
    precision: str | None = None,
    devices: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the features of every image, with BatchNorm in inference mode.

    With `cache` the features are kept in a folder whose name is a checksum of the backbone (configuration and
    weights), of `identity` and of the precision. A second call with the same arguments maps them from there.
    After an interruption, the next call continues after the last batch that was saved. The folder gets its
    name only when it is complete.

    Args:
        backbone: (B, H, W, C) -> (B, F), or feature maps, which are averaged.
        dataset: batches `(images, labels)`, see `data.image_batches`; every pass must yield the same. The
            images are normalised, unless the backbone normalises them itself; it then takes raw pixels in
            [0, 255], see `backbones.with_normalization`.
        verbose: whether to show a progress bar; false by default.
        cache: folder of caches; None (the default) keeps nothing.
        identity: identity of `dataset`, anything that JSON can hold, such as that which
            `evaluation.features_identity` returns. Needed with `cache`.
        precision: dtype policy that the backbone computes in, such as "mixed_bfloat16"; None for its own.
        devices: names as `keras.device` takes them, such as ("gpu:0", "gpu:1"). Each device has a copy of the
            backbone, and batches go to them in turn. None for all GPUs that the backend sees.

    Returns:
        Features (N, F) float32 and labels (N,) int64, or (N, C) uint8 for several labels per image. With
        `cache` they are mapped from files and read-only.

    Raises:
        ValueError: if the dataset is empty, the images do not fit the backbone, a value is not finite, or the
            backbone normalises images itself and these are not pixels in [0, 255].
    """
    devices = gpus() if devices is None else tuple(devices)
    with predicting(backbone, _checked(precision), devices) as (backbone, predictors):
        return _extract(backbone, dataset, verbose, cache, identity, predictors)


def _extract(backbone, dataset, verbose, cache, identity, predictors):
    if cache is None:
        parts = list(_feature_batches(backbone, dataset, verbose, predictors))
        features, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return features, labels
    if not identity:
        raise ValueError(
            "`identity` must be given with `cache`: it says which images the features are of. "
            f"Received: identity={identity!r}, cache={str(cache)!r}"
        )
    about = {"identity": identity, "backend": keras.backend.backend(), "backbone": checksum(backbone)}
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    folder = pathlib.Path(cache) / key
    if not folder.is_dir():
        with locked(folder.with_suffix(".lock")):
            if not folder.is_dir():  # Another process may have made the folder in the meantime.
                _fill(folder, backbone, dataset, verbose, about, predictors)
    return tuple(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in FILES)


def checksum(backbone: keras.Model, weights: bool = True) -> str:
    """SHA-256 of a model's configuration and, unless told otherwise, weights; equal only if these are.

    Names, which Keras numbers as it creates layers, do not count, nor does whether layers are trainable.
    """
    config = backbone.get_config()
    names = {}
    _collect_names(config, names)
    text = json.dumps(_renamed(config, names), sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    for weight in backbone.get_weights() if weights else ():
        digest.update(f"{weight.dtype}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _collect_names(config: Any, names: dict[str, str]) -> None:
    if isinstance(config, dict):
        if isinstance(config.get("name"), str):
            names.setdefault(config["name"], f"layer {len(names)}")
        for value in config.values():
            _collect_names(value, names)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _collect_names(value, names)


def _renamed(config: Any, names: dict[str, str]) -> Any:
    """The configuration with layers named by their number, also where the connections name them."""
    if isinstance(config, dict):
        return {key: _renamed(value, names) for key, value in config.items() if key != "trainable"}
    if isinstance(config, (list, tuple)):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def in_precision(backbone: keras.Model, precision: str | None) -> keras.Model:
    """Returns the backbone itself, or a copy of it whose layers compute in another precision.

    Args:
        backbone: any Keras model.
        precision: "float32", "mixed_bfloat16", "mixed_float16", or None for the backbone's own precision.
    """
    return backbone if _checked(precision) is None else copy_of(backbone, dtype=precision)


def _checked(precision):
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision!r}")
    return precision


def _feature_batches(
    backbone, dataset, verbose, predictors, skip=0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the features and labels of each batch after the first `skip` images.

    They are counted in images, because the batches may have had another size before an interruption.
    """
    check_channels_last(backbone)
    raw = takes_raw(backbone)
    target = getattr(dataset, "cardinality", None)
    target = int(target()) if target else (len(dataset) if hasattr(dataset, "__len__") else None)
    number = rows = 0
    seen = PixelRange("dataset")

    def wanted():
        nonlocal number, rows
        for number, (images, labels) in enumerate(dataset, 1):
            _check_size(images, backbone.input_shape[1:])
            count, done = len(images), max(0, skip - rows)
            if done < count:
                images, labels = images[done:], labels[done:]
                images = np.asarray(images)  # tf.data yields TensorFlow tensors under every backend.
                finite("dataset", images, rows + done)
                if raw and images.min() < 0:
                    raise ValueError(
                        "`dataset` must yield raw images, in [0, 255], for a backbone that normalises them; "
                        "`kl.backbones.without_normalization(backbone)` takes normalised ones. "
                        f"Received: images.min()={images.min():.3g}"
                    )
                if raw:
                    seen.see(images)
                yield images, as_labels(labels)
            rows += count
            bar.update(number)
        if raw:
            seen.check()

    with Bar(target, "Features", "batches", verbose) as bar:
        given = skip
        for features, labels in in_turn(predictors, wanted()):
            _check_features(features, given)
            given += len(labels)
            yield features, labels
    if not number:
        raise ValueError("`dataset` must hold at least one batch. Received: an empty dataset")


def _check_features(features, first):
    """Raises ValueError if features (B, F) are not finite; `first` is the number of the first image."""
    if (bad := first_not_finite(features)) is not None:
        raise ValueError(
            f"`backbone` must compute finite features. Received: NaN or infinity for image {first + bad}"
        )


def _check_size(images, expected):
    if len(images.shape) != 4 or any(
        e is not None and s != e for s, e in zip(images.shape[1:], expected, strict=True)
    ):
        raise ValueError(
            f"`dataset` must yield images that fit the backbone, (B, *{expected}). "
            f"Received: images.shape={tuple(images.shape)}"
        )


def _fill(folder, backbone, dataset, verbose, about, predictors):
    """Fills the folder: raw rows and a count of them while it grows, .npy files when it is complete."""
    partial = folder.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    progress = partial / "done.json"
    done = {"rows": 0}
    if progress.is_file():
        done = json.loads(progress.read_text())
    number, rows, classes = 0, done["rows"], done.get("classes")
    width = backbone.output_shape[-1]
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context((partial / f"{name}.raw").open("ab")) for name in FILES}
        for name, file in files.items():  # Rows that were written after the last count are cut off.
            dtype, shape = _layout(name, rows, width, classes)
            file.truncate(np.dtype(dtype).itemsize * math.prod(shape))
        for features, labels in _feature_batches(backbone, dataset, verbose, predictors, skip=rows):
            classes = labels.shape[1] if labels.ndim == 2 else None
            files["features"].write(np.ascontiguousarray(features).tobytes())
            files["labels"].write(labels.tobytes())
            number, rows = number + 1, rows + len(labels)
            if number % SAVE_EVERY == 0:
                for file in files.values():
                    file.flush()
                    os.fsync(file.fileno())
                write_json(progress, {"rows": rows, "classes": classes})
    with whole_path(folder) as whole:
        whole.mkdir()
        for name in FILES:
            dtype, shape = _layout(name, rows, width, classes)
            source = np.memmap(partial / f"{name}.raw", dtype, "r", shape=shape)
            target = np.lib.format.open_memmap(whole / f"{name}.npy", "w+", dtype=dtype, shape=shape)
            for first in range(0, rows, 65536):
                target[first : first + 65536] = source[first : first + 65536]
            target.flush()
            del source, target
        write_json(whole / "about.json", {**about, "rows": rows})
    shutil.rmtree(partial)


def _layout(name, rows, width, classes):
    """Type and shape of the numbers in a file; `classes` is None for one label per image."""
    if name == "features":
        return "float32", (rows, width)
    return ("int64", (rows,)) if classes is None else ("uint8", (rows, classes))
