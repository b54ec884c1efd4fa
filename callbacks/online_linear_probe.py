"""Accuracy of a linear classifier on the backbone's features during the training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_leoclr.callbacks.knn_monitor import KNNMonitor
from keras_leoclr.checks import has_backbone, number, several_passes, whole_number
from keras_leoclr.data.parts import has_label
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.runs.results import Results

MOMENTUM = 0.9
ARRAYS = ("weights", "velocity", "mean", "square")  # the state of the classifier, which checkpoints hold


class OnlineLinearProbe(keras.callbacks.Callback):
    """Adds `online_linear_top1`, the accuracy of a linear classifier trained alongside, to the logs.

    With several labels per image, the classifier has a sigmoid for each class, and its mean average precision
    is added as `probe_map` instead.

    Every `every` steps the classifier takes one step of SGD on the features of a batch of unaugmented images,
    which the backbone computes in inference mode. At the end of an epoch its accuracy on the queries is
    measured, unless it was not trained yet or all queries are of one class. The classifier is not part of the
    model: no gradient reaches the backbone, whose weights are bit for bit the same with and without it.
    Because the features change while the backbone is trained, the classifier is always a little behind. Its
    accuracy shows the trend, and is lower than what `evaluation.linear_probe` finds at the end.

    Take both datasets from the training images: this number is used to stop a run or to choose between runs,
    and the test images must not take part in such choices. The model must be on one device.

    A resumed run continues with the same classifier if this object is in `stateful` of `Checkpoint`.

    Args:
        images: batches `(images, labels)` that the classifier is trained on, repeated when they end; see
            `data.image_batches`. Small batches are cheap, such as 64 images every 20 steps.
        queries: batches `(images, labels)` that are classified; or a `KNNMonitor`, whose queries and features
            are then used in the epochs in which it measures.
        classes: C, number of classes. None, the default, for the number of classes seen so far; images with a
            negative label are then left out.
        every: >= 1, number of training steps between two steps of the classifier; 20 by default.
        learning_rate: > 0, learning rate of the classifier, for standardised features; 0.1 by default.
        results: writer of results, which gets each measurement as well; None by default.

    Raises:
        ValueError: if an option cannot be used, or `images` or `queries` can be read only once, as
            a generator. When the training begins, if `queries` is a KNNMonitor that does not take part in it.
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
        number("learning_rate", learning_rate, 0, above=True)
        for name, batches in (("images", images), ("queries", queries)):
            several_passes(name, batches)
        self.images = images
        self.queries = queries
        self.classes = classes if classes is None else whole_number("classes", classes, 2)
        self.every = whole_number("every", every, 1)
        self.learning_rate = learning_rate
        self.results = results
        # The remaining batches of this pass over `images`, and how many were taken from it.
        self._batches, self._drawn = iter(()), 0
        self._weights = self._velocity = self._mean = self._square = None
        self._epoch = self._turn = 0

    def state(self) -> dict[str, Any]:
        """Returns the state of the classifier, as `Checkpoint` saves it."""
        arrays = {name: getattr(self, f"_{name}") for name in ARRAYS if self._weights is not None}
        return {"drawn": self._drawn, "turn": self._turn, **arrays}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned; the next batch is the one that would have come next."""
        self._drawn, self._turn = state["drawn"], state["turn"]
        self._batches = itertools.islice(iter(self.images), self._drawn, None)
        for name in ARRAYS:
            setattr(self, f"_{name}", state.get(name))

    def on_train_begin(self, logs=None):
        has_backbone(self.model)
        if isinstance(self.queries, KNNMonitor) and self.queries.model is not self.model:
            raise ValueError(
                "`queries` must be a KNNMonitor that is among the callbacks of the same training. "
                "Received: one that is not"
            )

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # Computed from the number of the step, and not by counting calls: several steps may be one execution.
        turn = (self._epoch * (self.params.get("steps") or 0) + batch + 1) // self.every
        if turn == self._turn:
            return
        self._turn = turn
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # on JAX, Keras does not update the variables within an epoch
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
        # Moving averages as in BatchNorm, because the features change while the backbone is trained.
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
