"""Logs for TensorBoard: curves, the sheet of views, and features for the embedding projector."""

from __future__ import annotations

import importlib.util
import math
import os
import pathlib
from typing import Any

import keras
import numpy as np

from keras_leoclr.callbacks.history_file import last_learning_rate
from keras_leoclr.checks import has_backbone
from keras_leoclr.data import Source, as_source, image_batches
from keras_leoclr.data.channels import as_rgb
from keras_leoclr.data.source_arguments import with_unknown_labels
from keras_leoclr.evaluation import extract_features
from keras_leoclr.runs.files import whole_path
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import Preprocessing

# Largest side of an image in the projector's sprite, in pixels. The projector shows sprites of up to 8192
# pixels a side; a sprite of 1000 images has 32 x 48 = 1536.
THUMBNAIL = 48
PARTS = ("train", "validation")  # folders of the event files of a run, as Keras names them
INSTALL = 'TensorBoard is missing: pip install "keras-leoclr[tensorboard]"'


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' `TensorBoard` callback, extended for contrastive pretraining.

    It writes:

    - the scalars `epoch_NAME`, from the logs of each epoch, and the learning rate, in `train/`;
    - the sheet of views as an image, at step 0;
    - when the training ends, the features of some images for the embedding projector: `features.tsv`,
      `metadata.tsv` (labels), `sprite.png` (thumbnails) and `projector_config.pbtxt`.

    A resumed run adds to the existing files. It first removes the scalars of epochs that it trains again, so
    that no scalar is written twice. Put this callback after the callbacks that add to the logs.

    Args:
        folder: path of the folder to write to; `tensorboard --logdir FOLDER` shows it.
        sheet: path of a PNG that is shown as an image; None by default.
        source: images for the projector, as dictionaries `{"image", "label"}` or, without labels,
            `{"image"}`; None, the default, for no projector.
        views: layer of views, whose image size, mean and standard deviation are applied to the images of
            `source`; needed with `source`.

    Raises:
        ImportError: if the package tensorboard is missing, which `tf.summary` needs.
        TypeError: if `source` is given without such `views`.
        ValueError: when the training begins, if `source` is given and the model has no `backbone`.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        sheet: str | os.PathLike | None = None,
        source: Source | tf.data.Dataset | None = None,
        views: Any = None,
    ):
        self.wanted("on")
        self.folder = pathlib.Path(folder).expanduser()
        super().__init__(str(self.folder), write_graph=False)
        self.sheet = None if sheet is None else pathlib.Path(sheet)
        self.source = None if source is None else as_source(source)
        self.views = views
        if source is not None:
            Preprocessing.of(views)  # An error in the arguments must not come after the last epoch.
        self._goes_on = False

    @staticmethod
    def wanted(setting: str) -> bool:
        """Whether logs for TensorBoard are to be written.

        Args:
            setting: "on", "off", or "auto" to write them if the package tensorboard is installed.

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
        if self.source is not None:
            has_backbone(self.model)
        self._goes_on = False

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        if not self._goes_on:  # the first epoch of this process
            self._goes_on = True
            for own in PARTS:  # Other folders in `folder` may hold other runs.
                for path in sorted((self.folder / own).glob("*tfevents*")):
                    take_out(path, epoch)
            if self.sheet is not None and self.sheet.is_file() and epoch == 0:
                with self._train_writer.as_default():
                    image = tf.io.decode_png(self.sheet.read_bytes())[None]
                    self.summary.image("views", image, step=0)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        # The scalars of an epoch must be on the disk before a checkpoint counts the epoch as done: otherwise
        # a killed run would lose them.
        self._train_writer.flush()

    def _collect_learning_rate(self, logs):
        logs = super()._collect_learning_rate(logs)
        if "learning_rate" in logs:  # Keras gives that of the next step.
            logs["learning_rate"] = last_learning_rate(self.model.optimizer)
        return logs

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        if self.source is not None:
            self.write_projector()

    def write_projector(self) -> None:
        """Computes the features of the images of `source`, and writes them for the embedding projector."""
        preprocessing, labelled = Preprocessing.of(self.views), self.source.labelled
        source = with_unknown_labels(self.source.reduced(preprocessing.least_pixels))
        batches = image_batches(source, self.views)
        features, labels = extract_features(self.model.backbone, batches)
        side = min(THUMBNAIL, self.views.image_size)
        thumbnails = [tf.image.resize(images, (side, side), antialias=True).numpy() for images, _ in batches]
        pixels = np.concatenate(thumbnails) * np.array(preprocessing.std) + np.array(preprocessing.mean)
        self.folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(self.folder / "features.tsv", features, "%.5g", "\t")
        sheet = sprite(
            np.stack([as_rgb(one) for one in np.clip(255 * pixels, 0, 255).round().astype("uint8")])
        )
        (self.folder / "sprite.png").write_bytes(tf.io.encode_png(sheet).numpy())
        lines = ['tensor_name: "features"', 'tensor_path: "features.tsv"']
        if labelled:
            np.savetxt(self.folder / "metadata.tsv", labels, "%d")
            lines.append('metadata_path: "metadata.tsv"')
        lines.append(f'sprite {{ image_path: "sprite.png" {f"single_image_dim: {side} " * 2}}}')
        config = "\n".join(["embeddings {", *(f"  {line}" for line in lines), "}", ""])
        (self.folder / "projector_config.pbtxt").write_text(config, encoding="utf-8")


def sprite(images: np.ndarray) -> np.ndarray:
    """Puts images row by row into a square sheet, as the embedding projector reads them.

    Args:
        images: (N, S, S, 3) array.

    Returns:
        (R * S, R * S, 3) array with R = ceil(sqrt(N)); unused places are 0.
    """
    count, side = images.shape[:2]
    per_row = math.ceil(math.sqrt(count))
    places = np.zeros((per_row * per_row, *images.shape[1:]), images.dtype)
    places[:count] = images
    rows = places.reshape(per_row, per_row, side, side, 3).transpose(0, 2, 1, 3, 4)
    return rows.reshape(per_row * side, per_row * side, 3)


def take_out(path: pathlib.Path, step: int) -> None:
    """Removes the scalars of a step and of later steps from an event file, and an incomplete last record.

    Args:
        path: path of the event file.
        step: >= 0, first step that is removed.
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
