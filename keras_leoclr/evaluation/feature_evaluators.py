"""Evaluators of frozen features: kNN, linear, linear with few labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_leoclr.evaluation.feature_checks import check_features, only_in_test
from keras_leoclr.evaluation.linear_on_features import WEIGHT_DECAYS, fit_linear, linear_probe_few_labels
from keras_leoclr.evaluation.neighbour_votes import knn_ranking
from keras_leoclr.evaluation.scores import Score, accuracy_scores
from keras_leoclr.evaluation.statistics import mean_of_runs, mean_per_class


@dataclasses.dataclass(eq=False, repr=False)
class FeatureEvaluator:
    """What the evaluators of features are given first, in this order, and check.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
    """

    train_features: np.ndarray
    train_labels: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray

    def __post_init__(self):
        check_features(*self.sets)

    @property
    def sets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four arrays."""
        return self.train_features, self.train_labels, self.test_features, self.test_labels

    @property
    def notes(self) -> dict[str, Any]:
        """What every protocol says: classes that only the test images have, if there are any."""
        unknown = only_in_test(self.train_labels, self.test_labels)
        return {"test_only_classes": unknown.tolist()} if len(unknown) else {}


@dataclasses.dataclass(eq=False, repr=False)
class KNN(FeatureEvaluator):
    """kNN accuracy, see `evaluation.knn`.

    Args:
        train_features: (N, F); these four arrays as in `FeatureEvaluator`.
        train_labels: (N,).
        test_features: (M, F).
        test_labels: (M,).
        k: numbers of neighbours, all judged in one pass; those above N are clipped, and both numbers
            written down.
        temperature: of the votes' weights, > 0.
        leave_one_out: judge the training images too, each by the others.

    `run` yields knn/top1 and knn/top5, for leave-one-out knn_train/top1 and knn_train/top5, by k.
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
        votes = knn_ranking(self.train_features, self.train_labels, queries, tuple(self.k), self.temperature)
        for k, classes in votes.items():
            how = {"k": min(k, most), "temperature": self.temperature, **self.notes}
            if k > most:
                how["k_asked"] = k
            yield from accuracy_scores(name, classes, labels, **how)


@dataclasses.dataclass(eq=False, repr=False)
class Linear(FeatureEvaluator):
    """Accuracy of softmax regression on all features at once, see `evaluation.fit_linear`.

    The weight decay is chosen on held-out training images. `LinearProbe` is the protocol of MoCo and the
    paper instead: a head that SGD trains on random crops of the images.

    Args:
        train_features: (N, F); these four arrays as in `FeatureEvaluator`.
        train_labels: (N,).
        test_features: (M, F).
        test_labels: (M,).
        weight_decays: candidates.
        seed: of the held-out part.

    `run` yields linear/top1, linear/top5 and linear/mean_per_class.
    """

    weight_decays: Sequence[float] = WEIGHT_DECAYS
    seed: int = 0

    def run(self) -> Iterator[Score]:
        decays = tuple(self.weight_decays)
        classifier = fit_linear(self.train_features, self.train_labels, decays, seed=self.seed)
        ranked = classifier.ranking(self.test_features)
        how = {
            "labels": "all",
            "solver": "lbfgs",
            "weight_decay": classifier.weight_decay,
            "weight_decays_tried": decays,
            "held_out_top1": classifier.held_out_top1,
            "seed": self.seed,
            **self.notes,
        }
        yield from accuracy_scores("linear", ranked, self.test_labels, **how)
        value, interval = mean_per_class(ranked[:, 0] == self.test_labels, self.test_labels)
        yield Score("linear/mean_per_class", value, interval, **how)


@dataclasses.dataclass(eq=False, repr=False)
class FewLabels(FeatureEvaluator):
    """Linear accuracy with a few labelled images per class, see `evaluation.linear_probe_few_labels`.

    Args:
        train_features: (N, F); these four arrays as in `FeatureEvaluator`.
        train_labels: (N,).
        test_features: (M, F).
        test_labels: (M,).
        per_class: labelled images of each class.
        draws: how many times they are drawn.
        seed: of the draws.

    `run` yields linear_few/top1 and linear_few/top5, means over the draws; the interval is of that mean.
    """

    per_class: int = 10
    draws: int = 5
    seed: int = 0

    def run(self) -> Iterator[Score]:
        options = {"per_class": self.per_class, "draws": self.draws, "seed": self.seed}
        result = linear_probe_few_labels(*self.sets, **options)
        _, std, interval = mean_of_runs(result["top1_draws"])
        how = {**options, "top1_std": std, "solver": "lbfgs", **self.notes}
        yield Score("linear_few/top1", result["top1"], interval, **how)
        yield Score("linear_few/top5", result["top5"], **how)
