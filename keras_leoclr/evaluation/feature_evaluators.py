"""Evaluators of frozen features: kNN, a linear classifier, and a linear classifier with few labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from keras_leoclr.evaluation.feature_checks import check_features
from keras_leoclr.evaluation.label_kinds import LabelKind
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.linear_on_features import WEIGHT_DECAYS, fit_linear, linear_probe_few_labels
from keras_leoclr.evaluation.neighbour_votes import knn_answers
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.evaluation.statistics import mean_of_runs


@dataclasses.dataclass(eq=False, repr=False)
class FeatureEvaluator:
    """The base of the evaluators of features: it holds and checks their first four arguments.

    Args:
        train_features: (N, F) features of the training images.
        train_labels: (N,), integers >= 0; or (N, C), zeros and ones, for several labels per image.
        test_features: (M, F) features of the test images.
        test_labels: (M,), or (M, C), of the same kind as the training labels.
    """

    train_features: np.ndarray
    train_labels: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray

    def __post_init__(self):
        check_features(*self.sets)

    @property
    def sets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four arrays, in the order of the arguments."""
        return self.train_features, self.train_labels, self.test_features, self.test_labels

    @property
    def kind(self) -> LabelKind:
        """The kind of the labels, one or several per image, with the methods that depend on it."""
        return kind_of(self.train_labels)


@dataclasses.dataclass(eq=False, repr=False)
class KNN(FeatureEvaluator):
    """Accuracy of a kNN classifier, see `evaluation.knn`.

    Args:
        train_features: (N, F); these four arrays are described in `FeatureEvaluator`.
        train_labels: (N,).
        test_features: (M, F).
        test_labels: (M,).
        k: numbers of neighbours, all judged in one pass; (20,) by default. Numbers above N are clipped, and
            both numbers are recorded.
        temperature: temperature of the weights of the votes, > 0; 0.07 by default.
        leave_one_out: whether the training images are judged too, each by the others; false by default.

    `run` yields knn/top1 and knn/top5 for each k, and knn_train/top1 and knn_train/top5 for the training
    images. With several labels per image it yields knn/map and knn_train/map.
    """

    k: Sequence[int] = (20,)
    temperature: float = 0.07
    leave_one_out: bool = False

    def run(self) -> Iterator[Score]:
        count = len(self.train_features)
        yield from self._scores("knn", self.test_features, self.test_labels, count)
        if self.leave_one_out:
            yield from self._scores("knn_train", None, self.train_labels, count - 1)

    def _scores(self, name, queries, labels, most):
        votes = knn_answers(self.train_features, self.train_labels, queries, tuple(self.k), self.temperature)
        for k, answers in votes.items():
            how = {"k": min(k, most), "temperature": self.temperature}
            if k > most:
                how["k_asked"] = k
            yield from self.kind.scores(name, answers, labels, self.train_labels, **how)


@dataclasses.dataclass(eq=False, repr=False)
class Linear(FeatureEvaluator):
    """Accuracy of a linear classifier that is fitted to all features at once, see `evaluation.fit_linear`.

    The weight decay is chosen on held-out training images. The protocol of MoCo and of LeOCLR's paper, a head
    that SGD trains on random crops of the images, is `LinearProbe`.

    Args:
        train_features: (N, F); these four arrays are described in `FeatureEvaluator`.
        train_labels: (N,).
        test_features: (M, F).
        test_labels: (M,).
        weight_decays: candidates for the weight decay; 1 to 1e-6 by default.
        seed: seed of the held-out part; 0 by default.

    `run` yields linear/top1, linear/top5 and linear/mean_per_class; with several labels per image linear/map.
    """

    weight_decays: Sequence[float] = WEIGHT_DECAYS
    seed: int = 0

    def run(self) -> Iterator[Score]:
        decays = tuple(self.weight_decays)
        classifier = fit_linear(self.train_features, self.train_labels, decays, seed=self.seed)
        answers = self.kind.answers(classifier.scores(self.test_features))
        how = {
            "labels": "all",
            "solver": "lbfgs",
            "weight_decays_tried": decays,
            **classifier.choice,
            "seed": self.seed,
        }
        judged = ("linear", answers, self.test_labels, self.train_labels)
        yield from self.kind.scores(*judged, **how)
        yield from self.kind.mean_scores(*judged, **how)


@dataclasses.dataclass(eq=False, repr=False)
class FewLabels(FeatureEvaluator):
    """Linear accuracy with a few labelled images per class, see `evaluation.linear_probe_few_labels`.

    Args:
        train_features: (N, F); these four arrays are described in `FeatureEvaluator`.
        train_labels: (N,).
        test_features: (M, F).
        test_labels: (M,).
        per_class: number of labelled images of each class; 10 by default.
        draws: number of times that labelled images are drawn; 5 by default.
        seed: seed of the draws; 0 by default.

    `run` yields linear_few/top1 and linear_few/top5, means over the draws with the interval of the mean. With
    several labels per image it yields linear_few/map.
    """

    per_class: int = 10
    draws: int = 5
    seed: int = 0

    def run(self) -> Iterator[Score]:
        options = {"per_class": self.per_class, "draws": self.draws, "seed": self.seed}
        result = linear_probe_few_labels(*self.sets, **options)
        measure = self.kind.measure
        _, std, interval = mean_of_runs(result[f"{measure}_draws"])
        how = {**options, f"{measure}_std": std, "solver": "lbfgs"}
        how |= {"labelled_images": round(result["labelled_images"])}
        how |= self.kind.notes(self.test_labels, self.train_labels)
        for name in self.kind.measures:
            yield Score(f"linear_few/{name}", result[name], interval if name == measure else None, **how)
