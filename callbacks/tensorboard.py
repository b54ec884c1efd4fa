"""What TensorBoard shows of a run."""

from __future__ import annotations

import importlib.util
import math
import os
import pathlib
from typing import Any

import keras
import numpy as np

from keras_leoclr.data import Source, as_source, image_batches
from keras_leoclr.evaluation import extract_features
from keras_leoclr.runs.files import whole_path
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import Preprocessing

THUMBNAIL = 48  # largest side in its sprite, pixels: 32 x 48 is far below the 8192 that it can show
INSTALL = 'TensorBoard is missing: pip install "keras-leoclr[tensorboard]"'


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' callback with what a contrastive run has to show.

    - scalars `epoch_NAME` of the logs of each epoch and of the learning rate, in `train/`;
    - the sheet of views, at step 0;
    - when training ends, the features of some images for the embedding projector: `features.tsv`,
      `metadata.tsv` (labels), `sprite.png`, `projector_config.pbtxt`.

    A run that is resumed adds to the existing files. The old scalars of epochs that it trains again are
    removed first, so that no scalar is written twice. Put it after the callbacks that add to the logs.

    Args:
        folder: where to write; `tensorboard --logdir` shows it.
        sheet: PNG to show as an image, or None.
        source: dictionaries `{"image", "label"}` for the projector, labels if there are any; or None.
        views: layer whose size, mean and deviation the images of `source` get.

    Raises:
        ImportError: if the package tensorboard is missing, which `tf.summary` needs.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        sheet: str | os.PathLike | None = None,
        source: Source | tf.data.Dataset | None = None,
        views: Any = None,
    ):
        self.wanted("on")
        super().__init__(str(folder), write_graph=False)
        self.folder = pathlib.Path(folder)
        self.sheet = None if sheet is None else pathlib.Path(sheet)
        self.source = None if source is None else as_source(source)
        self.views = views
        self._goes_on = False

    @staticmethod
    def wanted(setting: str) -> bool:
        """Whether to write, for "on", "off", or "auto": if the package tensorboard is there.

        Raises:
            ImportError: for "on" without the package.
            ValueError: for another word.
        """
        if setting not in ("auto", "on", "off"):
            raise ValueError(f"`tensorboard` must be auto, on or off. Received: tensorboard={setting!r}")
        there = importlib.util.find_spec("tensorboard") is not None
        if setting == "on" and not there:
            raise ImportError(INSTALL)
        return there and setting != "off"

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._goes_on = False

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        if not self._goes_on:  # the first epoch of this process
            self._goes_on = True
            for path in sorted(self.folder.rglob("*tfevents*")):
                take_out(path, epoch)
            if self.sheet is not None and self.sheet.is_file() and epoch == 0:
                with self._train_writer.as_default():
                    image = tf.io.decode_png(self.sheet.read_bytes())[None]
                    self.summary.image("views", image, step=0)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self._train_writer.flush()  # a kill loses nothing that a checkpoint counts as done

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        if self.source is not None:
            self.write_projector()

    def write_projector(self) -> None:
        """Writes the features of the images of `source`, now."""
        source, labelled = self.source, self.source.labelled
        if not labelled:
            source = source.map(lambda element: {"image": element["image"], "label": -1})
        batches = image_batches(source, self.views)
        features, labels = extract_features(self.model.backbone, batches)
        side = min(THUMBNAIL, self.views.image_size)
        thumbnails = [tf.image.resize(images, (side, side), antialias=True).numpy() for images, _ in batches]
        preprocessing = Preprocessing.of(self.views)
        pixels = np.concatenate(thumbnails) * np.array(preprocessing.std) + np.array(preprocessing.mean)
        self.folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(self.folder / "features.tsv", features, "%.5g", "\t")
        sheet = sprite(np.clip(255 * pixels, 0, 255).round().astype("uint8"))
        (self.folder / "sprite.png").write_bytes(tf.io.encode_png(sheet).numpy())
        lines = ['tensor_name: "features"', 'tensor_path: "features.tsv"']
        if labelled:
            np.savetxt(self.folder / "metadata.tsv", labels, "%d")
            lines.append('metadata_path: "metadata.tsv"')
        lines.append(f'sprite {{ image_path: "sprite.png" {f"single_image_dim: {side} " * 2}}}')
        config = "\n".join(["embeddings {", *(f"  {line}" for line in lines), "}", ""])
        (self.folder / "projector_config.pbtxt").write_text(config, encoding="utf-8")


def sprite(images: np.ndarray) -> np.ndarray:
    """Images row by row in a square sheet, as the embedding projector reads them.

    Args:
        images: (N, S, S, 3).

    Returns:
        (R * S, R * S, 3), R = ceil(sqrt(N)); unused places are 0.
    """
    count, side = images.shape[:2]
    per_row = math.ceil(math.sqrt(count))
    places = np.zeros((per_row * per_row, *images.shape[1:]), images.dtype)
    places[:count] = images
    rows = places.reshape(per_row, per_row, side, side, 3).transpose(0, 2, 1, 3, 4)
    return rows.reshape(per_row * side, per_row * side, 3)


def take_out(path: pathlib.Path, step: int) -> None:
    """Takes the events of a step and later ones out of an event file, and a half last one.

    Args:
        path: of the file.
        step: >= 0.
    """
    kept, left_out = [], 0
    records = iter(tf.data.TFRecordDataset(str(path)))
    while True:
        try:
            record = next(records).numpy()
        except StopIteration:
            break
        except tf.errors.DataLossError:  # the process died while it wrote
            left_out += 1
            break
        event = tf.compat.v1.Event.FromString(record)
        if event.HasField("summary") and event.step >= step:
            left_out += 1
        else:
            kept.append(record)
    if left_out:
        with whole_path(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
            for record in kept:
                writer.write(record)
