"""kNN accuracy of the backbone's features during the training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import keras
import numpy as np

from keras_leoclr.checks import has_backbone, several_passes, whole_number
from keras_leoclr.data.parts import has_label
from keras_leoclr.evaluation import KNN, extract_features
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.neighbour_votes import check_votes
from keras_leoclr.runs.results import Results


class KNNMonitor(keras.callbacks.Callback):
    """Adds `knn_top1`, the kNN accuracy of the backbone's features, to the logs of an epoch.

    With several labels per image, it adds `knn_map` instead, the mean average precision of the kNN's votes. A
    negative label means that the label is unknown; such images are left out. If all images are of one class,
    nothing is measured, with a warning.

    Take both datasets from the training images: this number is used to stop a run or to choose between runs,
    and the test images must not take part in such choices.

    Args:
        bank: batches `(images, labels)` of the images among which neighbours are searched, see
            `data.image_batches`.
        queries: batches `(images, labels)` of the images that are classified.
        k: number of neighbours that vote, at most the number of images in `bank`; 200 by default.
        temperature: > 0, temperature of the weights exp(similarity / temperature) of the votes; 0.07 by
            default.
        every: >= 1, number of epochs between two measurements; 1 by default.
        results: writer of results, which gets each measurement as well; None by default.

    Raises:
        ValueError: if an option cannot be used, or `bank` or `queries` can be read only once, as a generator.
    """

    def __init__(
        self,
        bank: Iterable,
        queries: Iterable,
        k: int = 200,
        temperature: float = 0.07,
        every: int = 1,
        results: Results | None = None,
    ):
        super().__init__()
        check_votes((k,), temperature)
        for name, batches in (("bank", bank), ("queries", queries)):
            several_passes(name, batches)
        self.bank = bank
        self.queries = queries
        self.k = k
        self.temperature = temperature
        self.every = whole_number("every", every, 1)
        self.results = results
        self._features = None

    def due(self, epoch: int) -> bool:
        """Whether there is a measurement at the end of this epoch; epochs count from 0."""
        return (epoch + 1) % self.every == 0

    def query_features(self) -> tuple[np.ndarray, np.ndarray]:
        """Features (Q, F) and labels of the labelled queries at the end of an epoch, computed only once."""
        if self._features is None:
            self._features = _labelled(*extract_features(self.model.backbone, self.queries))
        return self._features

    def on_train_begin(self, logs=None):
        has_backbone(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self._features = None  # the features change, as the backbone is trained

    def on_epoch_end(self, epoch, logs=None):
        if not self.due(epoch):
            return
        bank, queries = _labelled(*extract_features(self.model.backbone, self.bank)), self.query_features()
        kind = kind_of(bank[1], queries[1])
        if not kind.can_be_judged(bank[1], queries[1]):  # a warning is enough: the training can continue
            classes = len(kind.counts(bank[1])[0])
            warnings.warn(
                f"kNN is not measured: the {len(bank[1])} images of `bank` that have a label are of "
                f"{classes} class(es), and {len(queries[1])} of `queries` have one.",
                stacklevel=2,
            )
            return
        name = f"knn_{kind.measure}"
        score = next(KNN(*bank, *queries, k=(self.k,), temperature=self.temperature).run())
        if logs is not None:
            logs[name] = score.value
        if self.results is not None:
            k = min(self.k, len(bank[1]))
            protocol = {"epoch": epoch + 1, "k": k, "temperature": self.temperature, "split": "train"}
            sizes = {"bank": len(bank[1]), "queries": len(queries[1])}
            interval = dict(zip(("low", "high"), map(float, score.interval or ()), strict=False))
            self.results.write(f"monitor/{name}", score.value, **protocol, **sizes, **interval)


def _labelled(features, labels):
    known = has_label(labels)
    return features[known], labels[known]
