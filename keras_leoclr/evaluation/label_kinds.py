"""The interface to kinds of labels that evaluators use; `OneLabel` and `SeveralLabels` implement it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_leoclr.evaluation.scores import Score


class LabelKind:
    """What evaluators need to know of a kind of labels: one label per image, or several.

    "Answers" below are what is kept of the scores (M, C) of a classifier in order to judge it.

    Attributes:
        measures: names of the measures, the main one first.
        probe: name in logs of the main measure of a classifier that is trained during pretraining.
        agreement: two phrases: what two images have in common that agree, and that do not.
        target_dtype: type of the labels that Keras trains with.
        decay_path: function that fits linear classifiers, see `softmax_regression.decay_path`.
        held_out: function (labels, share, rng) that returns a boolean mask with about `share` of each class.
    """

    measures: tuple[str, ...]
    probe: str
    agreement: tuple[str, str]
    target_dtype: str
    decay_path: Any
    held_out: Any

    @property
    def measure(self) -> str:
        """Name of the main measure, which settings are chosen by."""
        return self.measures[0]

    def check(self, name: str, labels: np.ndarray, count: int) -> None:
        """Raises ValueError unless these are the labels of `count` images; `name` is that of the argument."""
        raise NotImplementedError

    def check_trainable(self, train_labels: np.ndarray, test_labels: np.ndarray) -> None:
        """Does what `check_classes` does for classifiers that are trained on images."""
        raise NotImplementedError

    def check_classes(self, train_labels: np.ndarray, test_labels: np.ndarray) -> None:
        """Raises ValueError unless there are two classes or more; warns of classes that cannot be judged."""
        raise NotImplementedError

    def can_be_judged(self, train_labels: np.ndarray, test_labels: np.ndarray) -> bool:
        """Whether there are classes to tell apart, and test images to judge by."""
        raise NotImplementedError

    def classes(self, *labels: np.ndarray) -> int:
        """C, the number of classes of the labels."""
        raise NotImplementedError

    def counts(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes that images have, and the number of images that have each of them."""
        raise NotImplementedError

    def votes(self, neighbours: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores (M, C) by votes of rows of `labels`, `neighbours` (M, k), with their `weights` (M, k)."""
        raise NotImplementedError

    def answers(self, scores: np.ndarray) -> np.ndarray:
        """The answers, which are what is kept of scores (M, C)."""
        raise NotImplementedError

    def voted(self, votes: np.ndarray, k: int) -> np.ndarray:
        """The answers, where the scores (M, C) are the votes of k neighbours."""
        return self.answers(votes)

    def best(self, answers: np.ndarray) -> np.ndarray:
        """The class (M,) that the classifier finds most likely for each image."""
        raise NotImplementedError

    def first(self, labels: np.ndarray) -> np.ndarray:
        """One class (N,) for each image: its label, or the first of several; -1 if it has none."""
        raise NotImplementedError

    def numbers(self, labels: np.ndarray) -> list[int]:
        """The classes of one image, empty if it has none; `labels` is one element, or one row, of labels."""
        raise NotImplementedError

    def share_one(self, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether images have a class in common with others, pair by pair."""
        raise NotImplementedError

    def judged(self, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray) -> dict[str, Any]:
        """All measures, by name."""
        raise NotImplementedError

    def value(self, scores: np.ndarray, labels: np.ndarray) -> float:
        """The main measure of scores (M, C); -1 if it has no value."""
        raise NotImplementedError

    def notes(self, labels: np.ndarray, train_labels: np.ndarray) -> dict[str, Any]:
        """Entries of the protocol on classes that cannot be judged; empty if there are none."""
        raise NotImplementedError

    def scores(
        self, name: str, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """All measures, with intervals and with the arrays that a comparison on the same images needs."""
        raise NotImplementedError

    def curve(
        self, name: str, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """The main measure alone, with its interval, for a point of a curve."""
        raise NotImplementedError

    def mean_scores(
        self, name: str, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """The mean over the classes, if it is a separate measure."""
        raise NotImplementedError

    def class_scores(
        self, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """One score for each class that images have, named after the measure, with `class` and `images`."""
        raise NotImplementedError

    def confusion(self, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray) -> dict[str, Any]:
        """`{"confusion": (C, C)}`, where rows are the true classes; empty if images have several labels."""
        raise NotImplementedError

    def chance(self, labels: np.ndarray) -> tuple[float, str] | None:
        """The value that is reached without looking at the images, and how, in words; None without labels."""
        raise NotImplementedError

    def errors(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The gradient (B, C) of each image's loss with respect to its logits."""
        raise NotImplementedError

    def some(self, labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of a few images, with `per_class` images of each class."""
        raise NotImplementedError

    def keras_loss(self) -> Any:
        """The loss of logits (B, C)."""
        raise NotImplementedError
