"""Features of the pictures of a source by a backbone, written so that an interrupted call goes on."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr import data
from keras_leoclr.backbones.feature_pyramid import resized
from keras_leoclr.backbones.normalization import normalization_of, without_normalization
from keras_leoclr.data.given import named
from keras_leoclr.data.source import with_unknown_labels
from keras_leoclr.embeddings.tables import Embeddings, check_output
from keras_leoclr.evaluation.batches import features_identity
from keras_leoclr.evaluation.features import checksum, extract_features
from keras_leoclr.search.encoder import raw_backbone
from keras_leoclr.views.preprocessing import Preprocessing

UNFINISHED = ".unfinished"  # follows the name of the output: the folder of what was computed so far


def embed(
    source: Any,
    backbone: Any,
    output: str | os.PathLike | None = None,
    *,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    image_size: int = 0,
    batch_size: int = 256,
    precision: str | None = None,
    devices: Sequence[str] | None = None,
    on_error: str = "raise",
    max_failures: float | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> Embeddings:
    """Features of every picture, one row each, and a file of them where a name is given.

    The rows are in the order of the source. The features are those that `evaluate` judges: of whole images,
    resized, with BatchNorm in inference mode. Interrupted in the middle, the same call goes on after the last
    batches that were kept, in a folder beside `output` which is deleted at the end.

    Args:
        source: the pictures: whatever `kl.data.load` takes, a `Source`, a `tf.data.Dataset` of images, or a
            dictionary of these by the name of their split.
        backbone: a `.keras` file, the folder of a run or a `Run`, torch weights; or a Keras model
            (B, H, W, 3) -> (B, F), also a `LeOCLR`, whose backbone is taken. One that does not normalise
            images itself is given images that are normalised by the mean and deviation of the `recipe.json`
            beside its file, else by ImageNet's.
        output: a file that ends with .npz (`features`, `path` or `number`, `label`, `class_names`, `about`;
            no pickles), .csv (a column for each feature) or .parquet (a column `features` of lists; needs
            pyarrow). None writes nothing and keeps nothing.
        split: see `kl.data.load`.
        data_dir: where TensorFlow Datasets keeps its files.
        image_size: side of the images in pixels; 0 for the backbone's own.
        batch_size: images per call of the backbone.
        precision: "float32", "mixed_bfloat16", "mixed_float16" or None for the backbone's own.
        devices: names as `keras.device` takes them, to which batches go in turn; None for all GPUs.
        on_error: at a picture that cannot be read, "raise" or "skip": it has no row.
        max_failures: with "skip", largest share of pictures that may fail, see `kl.data.load`.
        overwrite: whether an `output` that exists is replaced.
        verbose: whether to show progress.

    Returns:
        `Embeddings`: `features` (N, F) float32, `paths`, `labels`, `class_names`, `skipped`.

    Raises:
        ValueError: if `output` exists or has another ending, or a picture cannot be read.
        FileNotFoundError: if there is no such source, backbone or folder.
        ImportError: if a .parquet file is asked for and pyarrow is missing.

    Example:
        ```python
        found = kl.embed("pictures", "runs/mine", "features.npz")
        print(found.features.shape, found.paths[0])
        ```
    """
    write = None if output is None else check_output(output, overwrite)
    name, given = named(source)
    reading = {"on_error": on_error, "max_failures": max_failures}
    images = data.load(name, split, data_dir, **reading) if given is None else given.load(split, **reading)
    paths = getattr(images.images, "paths", None)
    if on_error == "skip" and paths is None:
        raise ValueError(
            '`on_error` may be "skip" only if the pictures are files: those that cannot be read are named by '
            f"their paths. Received: on_error='skip' for {name}"
        )
    about = {"source": name, "split": split}
    model, preprocessing, known = _prepared(backbone, image_size)
    about |= known | {"precision": precision or model.dtype_policy.name}
    batches = _Batches(data.image_batches(with_unknown_labels(images), preprocessing, batch_size))
    unfinished = None if output is None else pathlib.Path(f"{os.fspath(output)}{UNFINISHED}")
    identity = None if output is None else features_identity(images, name, split, preprocessing)
    features, labels = extract_features(
        model,
        batches,
        verbose,
        unfinished,
        identity,
        precision,
        devices,
    )
    if on_error == "skip" and not batches.read:
        for _ in batches:  # the features were complete; this finds the pictures that failed
            pass
    if on_error == "skip" and images.failures.count:
        # a picture that broke when it was decoded was replaced by another: its row goes
        good = np.array([os.fsencode(path) not in images.failures for path in paths])
        features, labels = features[good], labels[good]
        paths = [path for path, kept in zip(paths, good, strict=True) if kept]
    elif unfinished is not None and os.name == "nt":  # Windows deletes no file that is mapped
        features, labels = np.array(features), np.array(labels)
    found = Embeddings(
        features,
        paths,
        labels if images.labelled else None,
        tuple(map(str, images.class_names)),
        images.failures.items(),
        about,
    )
    if write is not None:
        write(pathlib.Path(output), found)
        shutil.rmtree(unfinished)
    return found


class _Batches:
    """Batches that note whether they were read."""

    def __init__(self, dataset):
        self.dataset, self.read = dataset, False

    def cardinality(self):
        return self.dataset.cardinality()

    def __iter__(self):
        self.read = True
        return iter(self.dataset)


def _prepared(backbone: Any, image_size: int) -> tuple[keras.Model, Preprocessing, dict[str, Any]]:
    """A backbone of images of one size, what prepares these for it, and what is noted of it."""
    model, size = raw_backbone(backbone, image_size)
    is_model = isinstance(backbone, keras.Model)
    about = {"backbone": backbone.name if is_model else os.path.abspath(backbone)}
    about |= {"checksum": checksum(model), "image_size": size}
    normalization = normalization_of(model)
    # as `evaluate` has it: in mixed precision, normalised images lose less than raw ones
    if normalization is not None:
        model = without_normalization(model)
    mean, std = ((0.0,) * 3, (1 / 255,) * 3) if normalization is None else normalization
    if (size, size) != tuple(model.input_shape[1:3]):
        model = resized(model, (size, size, 3))
    return model, Preprocessing(size, mean, std), about
