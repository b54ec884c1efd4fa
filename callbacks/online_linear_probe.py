"""Linear accuracy while training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_leoclr.callbacks.knn_monitor import KNNMonitor
from keras_leoclr.checks import whole_number
from keras_leoclr.data.parts import has_label
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.runs.results import Results

MOMENTUM = 0.9
ARRAYS = ("weights", "velocity", "mean", "square")  # what has been learned


class OnlineLinearProbe(keras.callbacks.Callback):
    """Adds `online_linear_top1`, the accuracy of a linear classifier trained alongside, to the logs.

    With several labels per image the classifier has a sigmoid for each class, and `probe_map`, its mean
    average precision, is added.

    Every `every` steps the classifier takes one step of SGD on the clean features of a batch, in
    inference mode; at the end of an epoch it is judged on the queries, unless it has learned nothing yet or
    the queries are of a single class. It lives outside of the model: no
    gradient reaches the backbone, whose weights are the same to the bit with and without it. The
    features move while the backbone learns and the classifier lags behind: a curve to watch, below what
    `evaluation.linear_probe` finds at the end.

    Take both datasets from the training images: whoever stops or picks a run by this number must not
    have seen the test set. For models on one device.

    It goes on where it was if a `Checkpoint` has it among its `stateful`.

    Args:
        images: batches `(images, labels)` to learn from, repeated when they end; see
            `data.image_batches`. Small batches are cheap: 64 images every 20 steps.
        queries: batches `(images, labels)` to classify; or a `KNNMonitor`, whose queries are taken, in the
            epochs that it measures, without computing their features again.
        classes: C, number of classes; None for those that were seen so far, where images with a label < 0
            are left out.
        every: steps from one of the classifier's steps to the next.
        learning_rate: of the classifier, for standardised features, > 0.
        results: where to write each measurement as well.
    """

    def __init__(
        self,
        images: Iterable,
        queries: Iterable | KNNMonitor,
        classes: int | None = None,
        every: int = 20,
        learning_rate: float = 0.1,
        results: Results | None = None,
    ):
        super().__init__()
        if not learning_rate > 0:
            raise ValueError(f"`learning_rate` must be > 0. Received: learning_rate={learning_rate}")
        self.images = images
        self.queries = queries
        self.classes = classes if classes is None else whole_number("classes", classes, 2)
        self.every = whole_number("every", every, 1)
        self.learning_rate = learning_rate
        self.results = results
        self._batches, self._drawn = iter(()), 0  # batches of this pass
        self._weights = self._velocity = self._mean = self._square = None
        self._epoch = self._turn = 0

    def state(self) -> dict[str, Any]:
        """What `Checkpoint` keeps."""
        arrays = {name: getattr(self, f"_{name}") for name in ARRAYS if self._weights is not None}
        return {"drawn": self._drawn, "turn": self._turn, **arrays}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned, with the batch that would have come next."""
        self._drawn, self._turn = state["drawn"], state["turn"]
        self._batches = itertools.islice(iter(self.images), self._drawn, None)
        for name in ARRAYS:
            setattr(self, f"_{name}", state.get(name))

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # by the number of the step, as several may run in one execution
        turn = (self._epoch * (self.params.get("steps") or 0) + batch + 1) // self.every
        if turn == self._turn:
            return
        self._turn = turn
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # the weights are elsewhere while JAX trains
        images, labels = self._next()
        if len(labels):
            features = self.model.backbone.predict_on_batch(images)
            self._learn(np.asarray(features, "float32"), labels)

    def on_epoch_end(self, epoch, logs=None):
        shared = isinstance(self.queries, KNNMonitor)
        if self._weights is None or (shared and not self.queries.due(epoch)):
            return
        if shared:
            features, labels = self.queries.query_features()
        else:
            features, labels = extract_features(self.model.backbone, self.queries)
            features, labels = features[has_label(labels)], labels[has_label(labels)]
        kind = kind_of(labels)
        if not kind.can_be_judged(labels, labels):
            return
        value = kind.value(self._logits(features), labels)
        if logs is not None:
            logs[kind.probe] = value
        if self.results is not None:
            protocol = {"epoch": epoch + 1, "every": self.every, "learning_rate": self.learning_rate}
            protocol |= {"queries": len(labels), "split": "train"}
            self.results.write(f"monitor/{kind.probe}", value, **protocol)

    def _next(self):
        found = next(self._batches, None)
        if found is None:
            self._batches, self._drawn = iter(self.images), 0
            found = next(self._batches, None)
        if found is None:
            raise ValueError("`images` must hold at least one batch. Received: an empty dataset")
        self._drawn += 1
        images, labels = (np.asarray(part) for part in found)
        if self.classes is None:
            known = has_label(labels)
            return images[known], labels[known]
        seen = kind_of(labels).classes(labels)
        if not has_label(labels).all() or seen > self.classes:
            raise ValueError(
                f"`images` must have labels in [0, {self.classes}). Received: {labels.min()} to {seen - 1}"
            )
        return images, labels

    def _learn(self, features, labels):
        mean, square = features.mean(0), (features**2).mean(0)
        if self._weights is None:
            self._mean, self._square = mean, square
            self._weights = np.zeros((features.shape[1] + 1, self.classes or 0), "float32")
            self._velocity = np.zeros_like(self._weights)
        new = max(0, kind_of(labels).classes(labels) - self._weights.shape[1])
        self._weights, self._velocity = (
            np.pad(a, ((0, 0), (0, new))) for a in (self._weights, self._velocity)
        )
        # as BatchNorm does it: the features move
        self._mean = MOMENTUM * self._mean + (1 - MOMENTUM) * mean
        self._square = MOMENTUM * self._square + (1 - MOMENTUM) * square
        logits = self._logits(features)
        errors = kind_of(labels).errors(logits, labels)
        gradient = self._inputs(features).T @ (errors / len(labels))
        self._velocity = MOMENTUM * self._velocity + gradient
        self._weights -= self.learning_rate * self._velocity

    def _inputs(self, features):
        deviation = np.sqrt(np.maximum(self._square - self._mean**2, 1e-8))
        scaled = (features - self._mean) / deviation
        return np.concatenate([scaled, np.ones((len(features), 1), "float32")], axis=1)

    def _logits(self, features):
        return self._inputs(features) @ self._weights
