"""Linear accuracy while training."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.results import Results

MOMENTUM = 0.9


class OnlineLinearProbe(keras.callbacks.Callback):
    """Adds `online_linear_top1`, the accuracy of a linear classifier trained alongside, to the logs.

    Every `every` steps the classifier takes one step of SGD on the clean features of a batch, in
    inference mode; at the end of an epoch it is judged on the queries. It lives outside of the model: no
    gradient reaches the backbone, whose weights are the same to the bit with and without it. The
    features move while the backbone learns and the classifier lags behind: a curve to watch, below what
    `evaluation.linear_probe` finds at the end.

    Take both datasets from the training images: whoever stops or picks a run by this number must not
    have seen the test set.

    Args:
        images: batches `(images, labels)` to learn from, repeated when they end; see
            `data.image_batches`. Small batches are cheap: 64 images every 20 steps.
        queries: batches `(images, labels)` to classify.
        classes: C, number of classes.
        every: steps from one of the classifier's steps to the next.
        learning_rate: of the classifier, for standardised features, > 0.
        results: where to write each measurement as well.
    """

    def __init__(
        self,
        images: Iterable,
        queries: Iterable,
        classes: int,
        every: int = 20,
        learning_rate: float = 0.1,
        results: Results | None = None,
    ):
        super().__init__()
        if not learning_rate > 0:
            raise ValueError(f"`learning_rate` must be > 0. Received: learning_rate={learning_rate}")
        self.images = images
        self.queries = queries
        self.classes = whole_number("classes", classes, 2)
        self.every = whole_number("every", every, 1)
        self.learning_rate = learning_rate
        self.results = results
        self._batches = iter(())
        self._weights = self._velocity = None
        self._step = 0

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._step % self.every:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # the weights are elsewhere while JAX trains
        images, labels = self._next()
        features = self.model.backbone.predict_on_batch(images)
        self._learn(np.asarray(features, "float32"), labels)

    def on_epoch_end(self, epoch, logs=None):
        if self._weights is None:  # an epoch shorter than `every`
            return
        features, labels = extract_features(self.model.backbone, self.queries)
        accuracy = float((self._logits(features).argmax(axis=1) == labels).mean())
        if logs is not None:
            logs["online_linear_top1"] = accuracy
        if self.results is not None:
            protocol = {"epoch": epoch + 1, "every": self.every, "learning_rate": self.learning_rate}
            protocol |= {"queries": len(labels), "split": "train"}
            self.results.write("monitor/online_linear_top1", accuracy, **protocol)

    def _next(self):
        found = next(self._batches, None)
        if found is None:
            self._batches = iter(self.images)
            found = next(self._batches, None)
        if found is None:
            raise ValueError("`images` must hold at least one batch. Received: an empty dataset")
        images, labels = (np.asarray(part) for part in found)
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ValueError(
                f"`images` must have labels in [0, {self.classes}). "
                f"Received: {labels.min()} to {labels.max()}"
            )
        return images, labels

    def _learn(self, features, labels):
        mean, square = features.mean(0), (features**2).mean(0)
        if self._weights is None:
            self._mean, self._square = mean, square
            self._weights = np.zeros((features.shape[1] + 1, self.classes), "float32")
            self._velocity = np.zeros_like(self._weights)
        # as BatchNorm does it: the features move
        self._mean = MOMENTUM * self._mean + (1 - MOMENTUM) * mean
        self._square = MOMENTUM * self._square + (1 - MOMENTUM) * square
        logits = self._logits(features)
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        probabilities[np.arange(len(labels)), labels] -= 1.0
        gradient = self._inputs(features).T @ (probabilities / len(labels))
        self._velocity = MOMENTUM * self._velocity + gradient
        self._weights -= self.learning_rate * self._velocity

    def _inputs(self, features):
        deviation = np.sqrt(np.maximum(self._square - self._mean**2, 1e-8))
        scaled = (features - self._mean) / deviation
        return np.concatenate([scaled, np.ones((len(features), 1), "float32")], axis=1)

    def _logits(self, features):
        return self._inputs(features) @ self._weights
