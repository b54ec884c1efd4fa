"""What evaluators ask of the labels that they are given; `OneLabel` and `SeveralLabels` answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_leoclr.evaluation.scores import Score


class LabelKind:
    """What evaluators ask of a kind of labels.

    "Answers" below are what is kept of the scores (M, C) that a classifier gives to images, to judge it by.

    Attributes:
        measures: names of what is measured, the main one first.
        probe: what logs call the main measure of a classifier that is trained alongside.
        agreement: what two images have that agree, and that do not, in words.
        target_dtype: of the labels that Keras trains with.
        decay_path: fits linear classifiers, see `softmax_regression.decay_path`.
        held_out: (labels, share, rng) to a boolean mask of a part with about `share` of each class.
    """

    measures: tuple[str, ...]
    probe: str
    agreement: tuple[str, str]
    target_dtype: str
    decay_path: Any
    held_out: Any

    @property
    def measure(self) -> str:
        """Name of the main measure, by which settings are chosen."""
        return self.measures[0]

    def check(self, name: str, labels: np.ndarray, count: int) -> None:
        """Raises ValueError unless these are the labels of `count` images; `name` is of the argument."""
        raise NotImplementedError

    def check_trainable(self, train_labels: np.ndarray, test_labels: np.ndarray) -> None:
        """As `check_classes`, for classifiers that are trained on images."""
        raise NotImplementedError

    def check_classes(self, train_labels: np.ndarray, test_labels: np.ndarray) -> None:
        """Raises ValueError if there is nothing to tell apart; warns of classes that cannot be judged."""
        raise NotImplementedError

    def can_be_judged(self, train_labels: np.ndarray, test_labels: np.ndarray) -> bool:
        """Whether there are classes to tell apart, and images to judge by."""
        raise NotImplementedError

    def classes(self, *labels: np.ndarray) -> int:
        """C, number of the classes of some labels."""
        raise NotImplementedError

    def counts(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes that images have, and how many images have each of them."""
        raise NotImplementedError

    def votes(self, neighbours: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores (M, C) by votes: rows of `labels` (M, k), with the weights (M, k)."""
        raise NotImplementedError

    def answers(self, scores: np.ndarray) -> np.ndarray:
        """What is kept of scores (M, C)."""
        raise NotImplementedError

    def best(self, answers: np.ndarray) -> np.ndarray:
        """The class (M,) that a classifier finds most likely."""
        raise NotImplementedError

    def first(self, labels: np.ndarray) -> np.ndarray:
        """One class (N,) for each image, -1 for none: its label, or the first of several."""
        raise NotImplementedError

    def numbers(self, labels: np.ndarray) -> list[int]:
        """The classes of one image; empty if it has none. `labels` is one element or row of the others."""
        raise NotImplementedError

    def share_one(self, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether images have a class in common with others, pair by pair."""
        raise NotImplementedError

    def judged(self, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray) -> dict[str, Any]:
        """All measures by name."""
        raise NotImplementedError

    def value(self, scores: np.ndarray, labels: np.ndarray) -> float:
        """The main measure of scores (M, C), -1 where it has no value."""
        raise NotImplementedError

    def notes(self, labels: np.ndarray, train_labels: np.ndarray) -> dict[str, Any]:
        """What a protocol says of classes that cannot be judged; empty if there are none."""
        raise NotImplementedError

    def scores(
        self, name: str, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """All measures, with intervals and with what a comparison on the same images needs."""
        raise NotImplementedError

    def curve(
        self, name: str, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """The main measure alone, with its interval, for a point of a curve."""
        raise NotImplementedError

    def mean_scores(
        self, name: str, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """The mean over the classes, where this is a measure of its own."""
        raise NotImplementedError

    def class_scores(
        self, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, /, **how: Any
    ) -> Iterator[Score]:
        """One score for each class that images have, named after the measure, with `class` and `images`."""
        raise NotImplementedError

    def confusion(self, answers: np.ndarray, labels: np.ndarray, train_labels: np.ndarray) -> dict[str, Any]:
        """`{"confusion": (C, C)}`, rows the true classes; empty where images have several labels."""
        raise NotImplementedError

    def chance(self, labels: np.ndarray) -> tuple[float, str] | None:
        """What is reached without looking at the images, and how, in words; None without labels."""
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
