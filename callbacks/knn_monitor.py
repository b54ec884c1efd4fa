"""kNN accuracy while training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import keras
import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.data.parts import has_label
from keras_leoclr.evaluation import KNN, extract_features
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.runs.results import Results


class KNNMonitor(keras.callbacks.Callback):
    """Adds `knn_top1`, the kNN accuracy of the backbone's features, to the logs of an epoch.

    Images whose label is negative have none and are left out; images of a single class are not measured. With
    several labels per image it is `knn_map`, the mean average precision of the kNN's votes.

    Take both datasets from the training images: whoever stops or picks a run by this number must not
    have seen the test set.

    Args:
        bank: batches `(images, labels)` whose labels vote, see `data.image_batches`.
        queries: batches `(images, labels)` to classify.
        k: neighbours that vote, at most the size of the bank.
        temperature: of the votes' weights, > 0.
        every: epochs from one measurement to the next.
        results: where to write each measurement as well.
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
        self.bank = bank
        self.queries = queries
        self.k = k
        self.temperature = temperature
        self.every = whole_number("every", every, 1)
        self.results = results
        self._features = None

    def due(self, epoch: int) -> bool:
        """Whether the end of an epoch, counted from 0, is measured."""
        return (epoch + 1) % self.every == 0

    def query_features(self) -> tuple[np.ndarray, np.ndarray]:
        """Features (Q, F) and labels of labelled queries at the end of an epoch, computed once."""
        if self._features is None:
            self._features = _labelled(*extract_features(self.model.backbone, self.queries))
        return self._features

    def on_epoch_begin(self, epoch, logs=None):
        self._features = None  # the backbone moves on

    def on_epoch_end(self, epoch, logs=None):
        if not self.due(epoch):
            return
        bank, queries = _labelled(*extract_features(self.model.backbone, self.bank)), self.query_features()
        kind = kind_of(bank[1], queries[1])
        if not kind.can_be_judged(bank[1], queries[1]):  # no reason to stop a run
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
            protocol = {"epoch": epoch + 1, "k": self.k, "temperature": self.temperature, "split": "train"}
            sizes = {"bank": len(bank[1]), "queries": len(queries[1])}
            interval = dict(zip(("low", "high"), map(float, score.interval or ()), strict=False))
            self.results.write(f"monitor/{name}", score.value, **protocol, **sizes, **interval)


def _labelled(features, labels):
    known = has_label(labels)
    return features[known], labels[known]
