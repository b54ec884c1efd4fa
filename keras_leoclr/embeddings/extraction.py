"""Computes the features of pictures with a backbone; an interrupted call continues where it stopped."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr import data, wording
from keras_leoclr.backbones.feature_pyramid import resized
from keras_leoclr.backbones.normalization import normalization_of, without_normalization
from keras_leoclr.checks import check_value_range
from keras_leoclr.data.failures import shown
from keras_leoclr.data.given import named
from keras_leoclr.data.source_arguments import with_unknown_labels
from keras_leoclr.embeddings.tables import Embeddings, check_output
from keras_leoclr.evaluation.batches import features_identity
from keras_leoclr.evaluation.features import checksum, extract_features
from keras_leoclr.runs.files import LockHeldError, locked, without_leftovers
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.search.encoder import raw_backbone
from keras_leoclr.views.preprocessing import Preprocessing

UNFINISHED = ".unfinished"  # ending of the folder beside the output that holds the features so far
LOCK = "lock"  # file in that folder whose lock a process holds while it computes


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
    value_range: Sequence[float] | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> Embeddings:
    """Computes the features of pictures, one row for each, and writes them to a file if `output` is given.

    The rows are in the order of the source. The features are the same that `evaluate` judges: those of whole
    images, read and resized as in the run that the backbone lies in (see `Preprocessing.of_recipe`), with
    BatchNorm in inference mode. If a call with `output` was interrupted, the same call
    continues after the last batches that were saved. They are in a folder beside `output`, which is deleted
    at the end. A call on a stream that is given as an object begins anew, since nothing tells it from others.

    Args:
        source: the pictures. They can be anything that `kl.data.load` takes, a `Source`, a `tf.data.Dataset`
            of images, or a dictionary of these with the splits as keys.
        backbone: path of a `.keras` file, of the folder of a run, or of torch weights; a `Run`; a Keras model
            (B, H, W, C) -> (B, F); or a `LeOCLR`, whose backbone is used. If it does not normalise images
            itself, they are normalised with the mean and the standard deviation in the metadata of its
            `.safetensors` file, or else of the recipe of the run that it lies in, or else of ImageNet.
        output: a file that ends with .npz (`features`, `path` or `number`, `label`, `class_names`, `about`;
            no pickles), .csv (a column for each feature) or .parquet (a column `features` of lists; needs
            pyarrow). None (the default) writes no file, and an interrupted call then starts again.
        split: split of the source, see `kl.data.load`; "train" by default.
        data_dir: folder in which TensorFlow Datasets keeps its files; None for its default.
        image_size: height and width in pixels that images are resized to; 0 (the default) for those of the
            backbone.
        batch_size: number of images per call of the backbone; 256 by default.
        precision: "float32", "mixed_bfloat16" or "mixed_float16"; None (the default) for that of the
            backbone.
        devices: names of devices, as `keras.device` takes them, among which the batches are divided; None
            (the default) for all GPUs.
        on_error: what to do with a picture that cannot be read: "raise" (the default) stops, "skip" leaves it
            out.
        max_failures: with "skip", largest share of pictures that may be left out, see `kl.data.load`.
        value_range: the two values that become 0 and 255, see `kl.data.load`; None (the default) for those of
            the run that the backbone lies in.
        overwrite: whether an existing `output` may be replaced; False by default.
        verbose: whether to show progress; True by default.

    Returns:
        The features (N, F) float32 with the paths and labels of the pictures.

    Raises:
        ValueError: if `output` exists, has another ending or is being written by another process, or a
            picture cannot be read.
        FileNotFoundError: if the source, the backbone or the folder of `output` does not exist.
        ImportError: if `output` is a .parquet file and pyarrow is missing.

    Example:
        ```python
        found = kl.embed("pictures", "runs/mine", "features.npz")
        print(found.features.shape, found.paths[0])
        ```
    """
    output = None if output is None else pathlib.Path(output).expanduser()
    write = None if output is None else check_output(output, overwrite)
    name, given = named(source)
    recipe = {} if isinstance(backbone, keras.Model) else RunFolder.around(backbone).recipe()
    model, preprocessing, known = _prepared(backbone, image_size, recipe)
    if given is not None:
        given.check_value_range(value_range)
    value_range = _range_of_run(backbone) if value_range is None else check_value_range(value_range)
    if given is not None and given.arrays is None:  # The values of a Source or a stream are used unchanged.
        value_range = ()
    reading = {"on_error": on_error, "max_failures": max_failures}
    reading |= {"channels": model.input_shape[-1], "value_range": value_range}
    with wording.pictures_called("source"):
        load = functools.partial(data.load, name, data_dir=data_dir) if given is None else given.load
        images = load(split=split, **reading)
    paths = getattr(images.images, "paths", None)
    if on_error == "skip" and paths is None:
        raise ValueError(
            '`on_error` may be "skip" only if the pictures are files: those that cannot be read are named by '
            f"their paths. Received: on_error='skip' for {name}"
        )
    about = {"source": name, "split": split}
    about |= {"value_range": list(value_range)} if len(value_range) else {}
    about |= known | {"precision": precision or model.dtype_policy.name}
    labelled = with_unknown_labels(images.reduced(preprocessing.least_pixels))
    batches = _Batches(data.image_batches(labelled, preprocessing, batch_size))
    unfinished = None if output is None else output.with_name(f"{output.name}{UNFINISHED}")
    with contextlib.ExitStack() as held:
        if output is not None:
            try:
                lock = held.enter_context(locked(unfinished / LOCK, wait=False))
            except LockHeldError as error:
                raise ValueError(
                    "`output` must not be written by another process at the same time. "
                    f"Received: output={shown(str(output))}, which {error.holder} writes"
                ) from error
            try:
                check_output(output, overwrite)  # Another process may have written it in the meantime.
            except ValueError:
                if os.listdir(unfinished) == [LOCK]:
                    shutil.rmtree(unfinished)
                raise
        identity = None if output is None else features_identity(images, name, split, preprocessing)
        if output is not None and identity is None:  # The features of an interrupted call may be of others.
            _emptied(unfinished)
            identity = {"source": name}
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
            # All features were saved by an earlier call. Reading counts the failures again.
            for _ in batches:
                pass
        if on_error == "skip" and images.failures.count:
            # In the place of a picture that could not be decoded, another one was read. This row is removed.
            good = np.array([os.fsencode(path) not in images.failures for path in paths])
            features, labels = features[good], labels[good]
            paths = [path for path, kept in zip(paths, good, strict=True) if kept]
        elif unfinished is not None and os.name == "nt":  # Windows cannot delete a file that is mapped.
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
            write(without_leftovers(output), found)
            if os.name == "nt":  # Windows cannot delete a file that is open.
                lock.free()
            shutil.rmtree(unfinished)
        return found


def _emptied(unfinished: pathlib.Path) -> None:
    """Deletes what an interrupted call has left in the folder beside the output, except for the lock."""
    for each in unfinished.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        elif each.name != LOCK:
            each.unlink()


class _Batches:
    """Batches, with the note whether they were read."""

    def __init__(self, dataset):
        self.dataset, self.read = dataset, False

    def cardinality(self):
        return self.dataset.cardinality()

    def __iter__(self):
        self.read = True
        return iter(self.dataset)


def _range_of_run(backbone: Any) -> tuple[float, ...]:
    """The range of values of the run that a backbone lies in; () if there is none."""
    return () if isinstance(backbone, keras.Model) else RunFolder.around(backbone).value_range()


def _prepared(
    backbone: Any, image_size: int, recipe: dict[str, Any]
) -> tuple[keras.Model, Preprocessing, dict[str, Any]]:
    """Returns a backbone for images of one size, their preprocessing, and facts for `Embeddings.about`."""
    model, size = raw_backbone(backbone, image_size, any_channels=True)
    channels = model.input_shape[-1]
    is_model = isinstance(backbone, keras.Model)
    about = {"backbone": backbone.name if is_model else os.path.abspath(os.path.expanduser(backbone))}
    about |= {"checksum": checksum(model), "image_size": size}
    normalization = normalization_of(model)
    # `evaluate` does the same: in mixed precision, normalised images are rounded less than raw ones.
    if normalization is not None:
        model = without_normalization(model)
    mean, std = ((0.0,) * channels, (1 / 255,) * channels) if normalization is None else normalization
    if (size, size) != tuple(model.input_shape[1:3]):
        model = resized(model, (size, size, channels))
    return model, Preprocessing.of_recipe(recipe, size, mean, std), about
